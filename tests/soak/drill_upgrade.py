"""The drill with an upgrade every ten seconds, and so with several processes at a time."""

import itertools
import os
import pathlib
import re
import signal
import threading
import time

import soak
from drill import Drill
from support.ctl import ask, ctl, socket_of
from support.daemon import binary
from support.upgrade import adopt_orphans, successor_of
from support.waiting import SCALE, wait_until

LONGEST_END = 20.0 * SCALE  # seconds that an old process may take after its last client


def kill_unknown_successors():
    """Those of an upgrade that said nothing. Nobody else would end them."""
    for name in os.listdir("/proc"):
        try:
            stat = pathlib.Path(f"/proc/{name}/stat").read_text(encoding="ascii", errors="replace")
            parent = int(stat.rpartition(")")[2].split()[1])
            if parent == os.getpid() and os.path.samefile(f"/proc/{name}/exe", binary()):
                os.kill(int(name), signal.SIGKILL)
        except OSError:
            pass  # no process, or it has ended


class Watch:
    """Asks the command socket for the status every 100 ms. Each question must be answered, and
    never by an earlier process than the one before."""

    EVERY = 0.1

    def __init__(self, path):
        self.path = path
        self.answers = 0
        self.problems = []
        self.pids = []  # who answered, in turn
        self.most_old = 0
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self):
        while not self._end.wait(self.EVERY):
            try:
                code, status = ask(self.path, "GET", "/status")
                assert code == 200, f"/status says {code}"
                self._take(status)
            except Exception as error:  # noqa: BLE001 - whatever an operator may see
                self.problems.append(f"the command socket: {error!r}")

    def _take(self, status):
        self.answers += 1
        self.most_old = max(self.most_old, len(status["old_processes"]))
        pid = status["pid"]
        if not self.pids or self.pids[-1] != pid:
            if pid in self.pids:
                self.problems.append(f"process {pid} answers again after {self.pids[-1]}")
            self.pids.append(pid)

    def stop(self):
        self._end.set()
        self._thread.join(10)


class Reign:
    """What one process was, as long as it was the main one."""

    def __init__(self, process, workers):
        self.process = process
        self.workers = workers
        self.resident = 0  # at its end
        self.most_as_old = 0

    def look(self):
        """At an old process, while it lives."""
        if self.process.poll() is None:
            try:
                text = pathlib.Path(f"/proc/{self.process.pid}/status").read_text(encoding="ascii")
            except (FileNotFoundError, ProcessLookupError):
                return 0
            found = re.search(r"VmRSS:\s+(\d+)", text)  # none once it has ended
            resident = int(found[1]) * 1024 if found else 0
            self.most_as_old = max(self.most_as_old, resident)
            return resident
        return 0


class WithUpgrades(Drill):
    """Every ten seconds the change is an upgrade, not a reload, with another number of workers.

    An old process serves its clients to the end. One thing differs for a client: the next answer on
    a connection that an old process has says `Connection: close`, and a client that would have gone
    on opens another one. These answers are counted and printed. (Clients of an address that leaves
    in a reload get such an answer too.) Everything else is a failure, also a close between two
    requests and the end of a tunnel: with a fifth old process the first one ends its tunnels, and
    none of the drill's is so old by then."""

    WORKERS = (1, 2)  # in turn
    # What one process may hold more than the largest before it: their loads are about the same.
    SLACK = 4 << 20

    def __init__(self, options):
        super().__init__(options)
        self.every = options.upgrade_seconds
        self.CROWD = {
            **Drill.CROWD,
            "tunnel_ms": round(3000 * self.every),
            # Each process has some slow requests when it gets old.
            "slow_apart_ms": round(1000 * options.slow_seconds / Drill.CROWD["slow"]),
        }
        self.counts = itertools.cycle(self.WORKERS)
        self.workers = next(self.counts)
        self.upgrade_seconds = []
        self.reigns = []
        self.start_fds_of = {}  # by the number of workers
        self.rss_of_all = []
        self.watch = None
        self.next_upgrade = 0.0

    def run(self):
        adopt_orphans()
        try:
            return super().run()
        finally:
            if self.watch:
                self.watch.stop()
            for reign in self.reigns:
                reign.process.kill()
            kill_unknown_successors()

    def _config(self):
        return {**super()._config(), "workers": self.workers}

    def _start_daemon(self):
        super()._start_daemon()
        self._begin_reign()
        # Without clients, for what a process with so many workers has open.
        for _ in self.WORKERS:
            self._choose_workers()
            self.daemon.write(self.changes.whole)
            self._upgrade()
            self._await_old_processes()
            self._wait_all_up()
            self.start_fds_of[self.workers] = self._descriptors()
        self.watch = Watch(socket_of(self.daemon))

    def _begin_reign(self):
        self.reigns.append(Reign(self.daemon.process, self.workers))

    @property
    def _old(self):
        return self.reigns[:-1]

    def _choose_workers(self):
        self.workers = next(self.counts)
        self.changes.whole["workers"] = self.workers

    def _start_clients(self):
        super()._start_clients()
        self.next_upgrade = time.monotonic() + self.every

    def _reload_once(self):
        if time.monotonic() < self.next_upgrade:
            super()._reload_once()
            return
        self.next_upgrade += self.every
        self._choose_workers()
        self._change(self._upgrade, self.upgrade_seconds)

    def _upgrade(self):
        self.reigns[-1].resident = self.daemon.resident
        done = ctl(self.daemon, "upgrade")
        if done.returncode != 0:
            self.refused.append(done.stdout + done.stderr)
            return
        self.daemon.process = successor_of(done.stdout)
        self._begin_reign()

    def _sample(self, seconds):
        super()._sample(seconds)
        self.rss_of_all.append(self.samples[-1][1] + sum(reign.look() for reign in self._old))

    def _restore(self):
        super()._restore()
        self.watch.stop()
        self.problems += self.watch.problems[:5]
        self.reigns[-1].resident = self.daemon.resident

    def _judge_clients(self, latest, seconds):
        super()._judge_clients(latest, seconds)
        self.report["upgrades"] = len(self.upgrade_seconds)
        self.report["longest upgrade, seconds"] = round(max(self.upgrade_seconds), 3)
        self.report["answers with Connection: close on kept connections"] = latest["told_to_leave"]
        self.report["most old processes at a time"] = self.watch.most_old
        self.report["answers of the command socket"] = self.watch.answers
        if not latest["told_to_leave"]:
            self.problems.append("no client was told to leave an old process")

    def _end_daemon(self):
        begin = time.monotonic()
        self._await_old_processes()
        self.report["end of the last old process after its clients, seconds"] = round(
            time.monotonic() - begin, 1
        )
        self.start_fds = self.start_fds_of[self.workers]
        super()._end_daemon()
        served = re.findall(
            r"\[info\] served (\d+) requests? on (\d+) connections?", self.daemon.stderr
        )
        self.report["processes"] = len(self.reigns)
        self.report["requests of all processes"] = sum(int(number) for number, _ in served)
        if len(served) != len(self.reigns):
            self.problems.append(f"{len(self.reigns)} processes, {len(served)} ended in order")

    def _await_old_processes(self):
        """All end by themselves after their last client, as processes with nothing to regret."""
        for reign in self._old:
            try:
                wait_until(lambda: reign.process.poll() is not None, LONGEST_END)
            except soak.Timeout:
                self.problems.append(f"old process {reign.process.pid} does not end")
                reign.process.send_signal(signal.SIGKILL)
        codes = [reign.process.wait() for reign in self._old]
        if any(codes):
            self.problems.append(f"exit codes of old processes: {codes}")

    def _judge_memory(self):
        """Each process is a young one: what counts is that a late one is no larger than an early
        one, whatever it took over."""
        last = self.reigns[-1]
        # Those at the start had no clients.
        others = [reign.resident for reign in self.reigns[len(self.WORKERS) : -1]]
        self.report["rss"] = {
            "of the main processes at their ends": others + [last.resident],
            "largest as an old process": max(reign.most_as_old for reign in self.reigns),
            "largest of all together": max(self.rss_of_all),
        }
        if not self.is_sanitized and last.resident > max(others) + self.SLACK:
            self.problems.append(f"memory grows: {self.report['rss']}")
