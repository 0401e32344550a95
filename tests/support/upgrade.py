"""A daemon whose binary can be replaced, and the processes that take over from it.

A successor is a child of this test process: it adopts orphans, as a service manager does.
"""

import contextlib
import ctypes
import os
import re
import shutil
import signal
import subprocess
import threading

from support.ctl import ctl, socket_of, status_of
from support.daemon import SANITIZER, binary, patience
from support.waiting import DEADLINE, Timeout, wait_until

PR_SET_CHILD_SUBREAPER = 36

# Of a site.
TUNNELS = {"type": "http", "balance": {"method": "least_conn"}, "upgrade": True}
UPGRADE = [("Connection", "Upgrade"), ("Upgrade", "websocket")]
SWITCH = (
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n"
)


def open_tunnel(daemon):
    """A client in a tunnel whose other end echoes."""
    client = daemon.client()
    client.send(client.head("GET", "/b/tunnel", UPGRADE))
    assert client.read_head().status == 101
    return client


def assert_echo(tunnel):
    tunnel.send(b"ping")
    assert tunnel.reader.exactly(4, "tunnel") == b"ping"


def adopt_orphans():
    assert ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0


def successor_of(text):
    """Of a text that says who serves now."""
    return Successor(int(re.search(r"upgraded: process (\d+) serves", text)[1]))


class Successor:
    """A process that an upgrade started. It can be the `process` of a Daemon."""

    def __init__(self, pid):
        self.pid = pid
        self.code = None

    def poll(self):
        """Its exit status; None while it runs."""
        if self.code is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid != 0:
                self.code = os.waitstatus_to_exitcode(status)
        return self.code

    def wait_exit(self):
        wait_until(lambda: self.poll() is not None, what=f"the end of process {self.pid}")
        return self.code

    def signal(self, number):
        os.kill(self.pid, number)

    # As of subprocess.Popen

    @property
    def returncode(self):
        return self.code

    def wait(self, timeout=None):
        try:
            wait_until(lambda: self.poll() is not None, timeout)
        except Timeout:
            raise subprocess.TimeoutExpired(f"process {self.pid}", timeout) from None
        return self.code

    def send_signal(self, number):
        if self.poll() is None:
            self.signal(number)

    def kill(self):
        self.send_signal(signal.SIGKILL)

    def stop(self):
        for _ in range(2):
            if self.poll() is None:
                self.signal(signal.SIGTERM)
                try:
                    wait_until(lambda: self.poll() is not None, patience())
                except AssertionError:
                    pass
        return self.wait_exit()


class Line:
    """Processes in turn at the same addresses: `daemon` is the first one."""

    def __init__(self, start, folder):
        self._start = start
        self.program = folder / "s3gate"
        shutil.copy2(binary(), self.program)
        self.daemon = None
        self.begun = None
        self.successors = []

    def start(self, config, **more):
        before = os.environ["S3GATE_BIN"]
        os.environ["S3GATE_BIN"] = str(self.program)
        try:
            self.daemon = self._start(config, **more)
        finally:
            os.environ["S3GATE_BIN"] = before
        return self.daemon

    @property
    def present(self):
        """The number of the process that serves new clients."""
        return self.successors[-1].pid if self.successors else self.daemon.process.pid

    def adopt(self, text):
        """Of a text that says who serves now."""
        self.successors.append(successor_of(text))
        return self.successors[-1]

    def upgrade(self):
        done = ctl(self.daemon, "upgrade")
        assert done.returncode == 0, f"{done.stderr}\n{self.daemon.stderr}"
        return self.adopt(done.stdout)

    def failing_upgrade(self):
        """Returns what is said."""
        done = ctl(self.daemon, "upgrade")
        assert done.returncode == 1, (done.returncode, done.stdout, done.stderr)
        return done.stderr

    def replace_program(self, text):
        """A script stands at the program's path from now on."""
        self.program.unlink(missing_ok=True)
        self.program.write_text("#!/bin/sh\n" + text + "\n")
        self.program.chmod(0o755)

    def restore_program(self):
        self.program.unlink(missing_ok=True)
        shutil.copy2(binary(), self.program)

    def finish(self):
        if self.daemon is None:  # the test was skipped
            return
        codes = [successor.stop() for successor in reversed(self.successors)]
        assert all(code in (0, 3) for code in codes), f"{codes}\n{self.daemon.stderr}"
        assert not SANITIZER.search(self.daemon.stderr), self.daemon.stderr

    def begin_upgrade(self):
        """The command, which waits for the outcome."""
        self.begun = subprocess.Popen(
            [binary(), "ctl", "--socket", socket_of(self.daemon), "upgrade"],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        wait_until(lambda: status_of(self.daemon)["config"]["upgrade_running"])

    def end_upgrade(self):
        """Its exit status and what it says."""
        out, err = self.begun.communicate(timeout=DEADLINE)
        if self.begun.returncode == 0:
            self.adopt(out)
        return self.begun.returncode, out + err

    def starting(self):
        """The process that has been started, has another parent and does not serve yet."""

        def is_it(pid):
            try:
                with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as stat:
                    parent = int(stat.read().rpartition(")")[2].split()[1])
                return parent == os.getpid() and os.readlink(f"/proc/{pid}/exe") == str(
                    self.program
                )
            except OSError:
                return False  # it has ended, or is another user's

        def found():
            for pid in (int(name) for name in os.listdir("/proc") if name.isdigit()):
                if pid not in self._known() and is_it(pid):
                    return Successor(pid)
            return None

        return wait_until(found, what="a process that starts")

    def _known(self):
        return {self.daemon.process.pid, *(successor.pid for successor in self.successors)}


def pid_of(daemon):
    return status_of(daemon)["pid"]


def old_of(daemon):
    return status_of(daemon)["old_processes"]


class Held:
    """A backend handler that answers `/held` in two halves, the second when told, and echoes in a
    tunnel."""

    def __init__(self):
        self.go = threading.Event()
        self.backend = None  # whose handler it is

    def __call__(self, exchange):
        if exchange.request.target.startswith("/b/tunnel"):
            self.echo(exchange)
            return
        exchange.read_body()
        if not exchange.request.target.startswith("/b/held"):
            exchange.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
            return
        exchange.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf ")
        exchange.wait(self.go)
        exchange.send(b"whole")

    @staticmethod
    def echo(exchange):
        exchange._body_read = True
        exchange.send(SWITCH)
        reader = exchange.reader
        while reader.buffer or reader.fill(timeout=30):
            exchange.send(reader.take(len(reader.buffer)))
        exchange.close()


@contextlib.contextmanager
def holding(serve, **more):
    """A daemon that has answered half of a request: (daemon, its client, Held)."""
    held = Held()
    daemon, held.backend = serve(held, **more)
    with daemon.client() as client:
        client.send(client.head("GET", "/b/held"))
        wait_until(lambda: held.backend.requests)
        yield daemon, client, held
