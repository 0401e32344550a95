"""The real daemon in a folder of its own: started, watched, stopped and checked."""

import contextlib
import ctypes
import functools
import json
import os
import pathlib
import re
import resource
import shutil
import signal
import socket
import subprocess
import tempfile
import threading

from support.client import RawClient, split_address
from support.config import to_yaml
from support.waiting import DEADLINE, SCALE, wait_until

SANITIZER = re.compile(
    r"(AddressSanitizer|ThreadSanitizer|LeakSanitizer|UndefinedBehaviorSanitizer|runtime error:"
    r"|Assertion .* failed|terminate called)"
)


def binary():
    path = os.environ.get("S3GATE_BIN")
    assert path and os.access(path, os.X_OK), "S3GATE_BIN must name the s3gate program"
    return path


def run_command(*arguments, timeout=DEADLINE, env=None):
    """Runs `s3gate ARGUMENTS` to its end: CompletedProcess with texts."""
    return subprocess.run(
        [binary(), *arguments],
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
        env={**os.environ, **(env or {})},
    )


@functools.cache
def patience():
    """Seconds until a second SIGTERM. A sanitizer works for a while at the end, when the signal
    would kill the process."""
    program = pathlib.Path(binary()).read_bytes()
    is_sanitized = b"__asan_init" in program or b"__tsan_init" in program
    return (6 if is_sanitized else 1.5) * SCALE


class NotifySocket:
    """Receives the datagrams of sd_notify() in place of systemd. Descriptors that come with them go
    to `store` (support.descriptor_store), or are closed."""

    def __init__(self, path, store=None):
        self._store = store
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(path))
        os.chmod(path, 0o777)  # also for a daemon that drops to another user
        self.messages = []
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self):
        while True:
            try:
                data, descriptors, _, _ = socket.recv_fds(self._socket, 65536, 16)
            except OSError:
                return
            if not data:
                return
            self.messages.append(data.decode())
            if self._store:
                self._store.take(data.decode(), descriptors)
            else:
                for descriptor in descriptors:
                    os.close(descriptor)

    def has(self, line):
        return any(line in message.splitlines() for message in list(self.messages))

    def close(self):
        try:
            self._socket.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self._socket.close()


class Daemon:
    """`config` is a mapping (see support.config) or YAML text. `{dir}` in texts is the daemon's
    folder. `prefix` is a command that becomes the daemon (by exec: the process stays). `store`
    keeps its sockets, and passes it those of earlier daemons."""

    def __init__(
        self,
        config,
        arguments=(),
        env=None,
        nofile=None,
        access_log=True,
        wait_ready=True,
        notify=True,
        prefix=(),
        store=None,
    ):
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix="s3gate-e2e-", dir="/tmp"))
        self.dir.chmod(0o755)
        self.access_log = self.dir / "access.log"
        self.expected_exit = 0
        self.process = None
        self._stopped = False
        if isinstance(config, dict):
            if access_log and "access_log" not in config:
                config = {**config, "access_log": {"target": str(self.access_log)}}
            self.config = config
            text = to_yaml(config)
        else:
            self.config = None
            text = config
        self.file = self.dir / "s3gate.yaml"
        self.file.write_text(text.replace("{dir}", str(self.dir)))
        self.stderr_file = self.dir / "stderr"
        self.stdout_file = self.dir / "stdout"
        self.notify = NotifySocket(self.dir / "notify", store) if notify else None
        inherited = {name: os.environ[name] for name in os.environ if name != "RUNTIME_DIRECTORY"}
        environment = {**inherited, **(env or {})}
        environment.pop("NOTIFY_SOCKET", None)
        if notify:
            environment["NOTIFY_SOCKET"] = str(self.dir / "notify")

        passing, descriptors = store.passing() if store else ((), ())
        libc = ctypes.CDLL(None)

        def limits():
            # When a test run is killed, its daemons end too (PR_SET_PDEATHSIG).
            libc.prctl(1, signal.SIGKILL)
            if nofile:
                resource.setrlimit(resource.RLIMIT_NOFILE, (nofile, nofile))

        with open(self.stderr_file, "wb") as stderr, open(self.stdout_file, "wb") as stdout:
            self.process = subprocess.Popen(
                [*prefix, *passing, binary(), "--config", str(self.file), *arguments],
                stdin=subprocess.DEVNULL,
                stdout=stdout,
                stderr=stderr,
                env=environment,
                preexec_fn=limits,
                pass_fds=descriptors,
            )
        if wait_ready:
            try:
                self.wait_ready()
            except BaseException:
                self.print_log()
                self.process.kill()
                self.process.wait()
                raise

    # Where it listens

    @property
    def address(self):
        return self.address_of(0)

    def address_of(self, site):
        item = self.config["sites"][site]["listen"][0]
        return item["address"] if isinstance(item, dict) else item

    def client(self, site=0, **more):
        return RawClient(self.address_of(site), **more)

    # Life

    def wait_ready(self):
        def ready():
            assert (
                self.process.poll() is None
            ), f"exited with {self.process.returncode}:\n{self.stderr}"
            return self.notify.has("READY=1")

        wait_until(ready, what="READY=1")
        for site in range(len(self.config["sites"]) if self.config else 0):
            socket.create_connection(split_address(self.address_of(site)), DEADLINE).close()

    def signal(self, number):
        self.process.send_signal(number)

    def write(self, config):
        """Writes another configuration, a mapping or a text; the daemon goes on with its own."""
        if isinstance(config, dict):
            if "access_log" not in config:
                config = {**config, "access_log": {"target": str(self.access_log)}}
            self.config = config
            config = to_yaml(config)
        self.file.write_text(config.replace("{dir}", str(self.dir)))

    def reload(self, config=None):
        """SIGHUP, once `config` is written if there is one. Returns what became of it, the line of
        the log: "reloaded: generation 2"."""
        ends = re.compile(r"\] ((?:reloaded: |reload refused: |reload failed: ).*)")
        before = len(ends.findall(self.stderr))
        if config is not None:
            self.write(config)
        self.signal(signal.SIGHUP)
        return wait_until(
            lambda: ends.findall(self.stderr)[before:], what="the end of the reload"
        )[0]

    @contextlib.contextmanager
    def frozen(self):
        """The daemon sees everything that happens inside at once."""

        def stands_still():
            with open(f"/proc/{self.process.pid}/stat", encoding="ascii") as stat:
                return stat.read().rpartition(")")[2].split()[0] == "T"

        self.signal(signal.SIGSTOP)
        try:
            wait_until(stands_still, what="the daemon stands still")
            yield
        finally:
            self.signal(signal.SIGCONT)

    def wait_exit(self, timeout=DEADLINE):
        code = self.process.wait(timeout)
        self._stopped = True
        return code

    def stop(self):
        """Ends the process and returns its exit status. (SIGTERM twice; tests of the drain end it
        themselves.)"""
        if self.process.poll() is None:
            self.signal(signal.SIGTERM)
            try:
                self.process.wait(patience())
            except subprocess.TimeoutExpired:
                self.signal(signal.SIGTERM)
                try:
                    self.process.wait(DEADLINE)
                except subprocess.TimeoutExpired:
                    self.process.kill()
                    self.process.wait()
                    raise AssertionError(f"did not end after two SIGTERM:\n{self.stderr}") from None
        return self.process.returncode

    def finish(self, failed=False):
        """Stops and checks; called by the fixture after every test."""
        try:
            code = self.stop()
            assert not SANITIZER.search(
                self.stderr
            ), f"sanitizer or assertion report:\n{self.stderr}"
            assert "still counted as in flight" not in self.stderr, self.stderr
            assert code == self.expected_exit, f"exit status {code}:\n{self.stderr}"
        except AssertionError:
            failed = True
            raise
        finally:
            if failed:
                self.print_log()
            if self.notify:
                self.notify.close()
            if not os.environ.get("S3GATE_KEEP"):
                shutil.rmtree(self.dir, ignore_errors=True)

    def print_log(self):
        print(f"--- config\n{self.file.read_text()}--- stderr\n{self.stderr[-8000:]}")
        if self.access_log.is_file():
            print(f"--- access log\n{self.access_log.read_text(errors='replace')[-8000:]}")

    # What it says

    @property
    def stderr(self):
        return self.stderr_file.read_text(errors="replace")

    def wait_stderr(self, pattern, deadline=None):
        return wait_until(
            lambda: re.search(pattern, self.stderr), deadline, what=f"stderr matching {pattern!r}"
        )

    def log_lines(self, path=None):
        """All complete access log lines so far, each parsed strictly as JSON."""
        path = path or self.access_log
        if not path.exists():
            return []
        text = path.read_bytes().decode("utf-8")
        lines = text[: text.rfind("\n") + 1].splitlines()

        def unique(pairs):
            names = [name for name, _ in pairs]
            assert len(names) == len(set(names)), f"repeated field: {names}"
            return dict(pairs)

        return [json.loads(line, object_pairs_hook=unique) for line in lines]

    def wait_log(self, mark, number=1, path=None):
        """The `number`-th line whose request contains `mark`."""

        def found():
            lines = [line for line in self.log_lines(path) if mark in str(line.get("request"))]
            return lines[number - 1] if len(lines) >= number else None

        return wait_until(found, what=f"access log line {number} with {mark!r}")

    def totals(self):
        """Ends the daemon and returns what its last line counted: {"client head timeout": 1, …},
        with "requests" and "connections"."""
        self.stop()
        found = re.search(
            r"\[info\] served (\d+) requests? on (\d+) connections?(?:; in all: (.*))?$",
            self.stderr,
            re.MULTILINE,
        )
        assert found, self.stderr
        items = [item.partition(" ") for item in (found[3] or "").split(", ") if item]
        return {
            "requests": int(found[1]),
            "connections": int(found[2]),
            **{words: int(number) for number, _, words in items},
        }

    # What it holds

    @property
    def descriptors(self):
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))

    @property
    def sockets(self):
        """Open sockets: connections and listeners, without pooled pipes."""
        folder, count = f"/proc/{self.process.pid}/fd", 0
        for name in os.listdir(folder):
            try:
                count += os.readlink(f"{folder}/{name}").startswith("socket:")
            except FileNotFoundError:
                pass
        return count

    @property
    def resident(self):
        """Bytes of resident memory."""
        with open(f"/proc/{self.process.pid}/status", encoding="ascii") as status:
            for line in status:
                if line.startswith("VmRSS:"):
                    return int(line.split()[1]) * 1024
        raise AssertionError("no VmRSS")

    @property
    def cpu_seconds(self):
        with open(f"/proc/{self.process.pid}/stat", encoding="ascii") as stat:
            fields = stat.read().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    @property
    def is_sanitized(self):
        """True for address and thread sanitizer builds, where figures of memory and time mean
        nothing."""
        with open(f"/proc/{self.process.pid}/maps", encoding="utf-8") as maps:
            text = maps.read()
        return "libasan" in text or "libtsan" in text
