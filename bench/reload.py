#!/usr/bin/python3
"""What a reload adds to the latency of requests: 100 sites with 100 servers each, which are host
names, and a constant rate of GETs of 1 KiB on one site. Needs root, for namespaces of its own.

    bench/reload.py --s3gate build/release/s3gate [--rounds 5] [--secs 10] [--rate 4000] [--checks]

Each round has three parts of --secs: no reload; `s3gate ctl reload` each second; and
`s3gate ctl reload --confirm 1s` each three seconds, which nobody confirms, so that each of them is
undone. Each reload changes a weight in every site, so no ring of the generation before serves
again. The load is an open loop: latency counts from when a request is due. Meanwhile the control
socket is asked for /healthz every 20 ms. A figure is the median of the rounds, what is added is the
median of the differences within the rounds. `foreign` is the number of processors that other
programs used; above 0.2 the figures are theirs. With --quiet a round begins when they use less, and
rounds in which they used more are left out. With --protect all threads of the bench precede those
of other programs (SCHED_RR). Ends with 1 when a reload or an undo adds more than --limit ms to p99,
or when a request fails.
"""

import argparse
import json
import os
import pathlib
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time

import accounting
from compare import end_tidily
from instructions import LIFETIME, PROXY_PORT, build_programs, into_own_network, start_origins
from instructions import wait_listening
from proxies import ORIGIN_PORT, origins

SITES = SERVERS = 100
PARTS = ("no reload", "a reload each second", "an undo each three seconds")
EVERY = {PARTS[1]: 1.0, PARTS[2]: 3.0}
HEALTH_EVERY = 0.02
FOREIGN = 0.2  # processors


class Daemon:
    """s3gate with SITES sites, and the files that it reads."""

    def __init__(self, arguments, folder):
        self.program = arguments.s3gate
        self.folder = folder
        self.socket = folder / "ctl.sock"
        self.has_checks = arguments.checks
        self.reloads = 0
        (folder / "s3gate.yaml").write_text(
            json.dumps(
                {
                    "workers": 2,
                    "include": ["sites/*.yaml"],
                    "log": {"level": "warn", "target": "stderr"},
                    "access_log": {"target": str(folder / "access.log")},
                    "admin": {"socket": str(self.socket)},
                }
            )
        )
        hosts = [address.rpartition(":")[0] for address in origins(SERVERS)]
        (folder / "hosts").write_text(
            "".join(f"{host} node{number}.bench.test\n" for number, host in enumerate(hosts, 1))
        )
        (folder / "sites").mkdir()
        self.write_sites()
        # The names are those of a file in a mount namespace of the daemon's own.
        mount = f'mount --bind {folder}/hosts /etc/hosts; exec "$@"'
        command = ["unshare", "--mount", "--propagation", "private", "sh", "-ec", mount, "sh"]
        self.errors = folder / "errors"
        with open(self.errors, "ab") as errors:
            self.process = subprocess.Popen(
                [*command, self.program, "--config", str(folder / "s3gate.yaml")],
                stdout=errors,
                stderr=errors,
            )
        wait_listening(self.process)

    def write_sites(self):
        """The next configuration: one weight in every site is another one."""
        heavy = self.reloads % SERVERS
        names = [f"node{number}.bench.test:{ORIGIN_PORT}" for number in range(1, SERVERS + 1)]
        servers = [
            {"address": name, "weight": 1 + (number == heavy)} for number, name in enumerate(names)
        ]
        health = {"path": "/minio/health/ready", "interval": "30s"} if self.has_checks else "off"
        for number in range(SITES):
            site = {
                "name": f"site{number}",
                "listen": [f"127.0.0.1:{PROXY_PORT + number}"],
                "balance": {"method": "ketama", "salt": "ZRVdfTSDRTvadFAd"},
                "backends": {"servers": servers},
                "health": health,
            }
            (self.folder / "sites" / f"site{number}.yaml").write_text(json.dumps(site))

    def reload(self, *words):
        """Reloads through the command, as operators do; returns the seconds that it took."""
        self.reloads += 1
        self.write_sites()
        begin = time.monotonic()
        done = subprocess.run(
            [self.program, "ctl", "--socket", self.socket, "reload", *words],
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            sys.exit(f"a reload failed: {done.stdout}{done.stderr}")
        return time.monotonic() - begin

    def ask_health(self):
        """Seconds until the answer to /healthz."""
        begin = time.monotonic()
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(30)
            connection.connect(str(self.socket))
            connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            answer = connection.recv(4096)
        if not answer.startswith(b"HTTP/1.1 200"):
            sys.exit(f"/healthz: {answer!r}")
        return time.monotonic() - begin

    def stop(self):
        self.process.terminate()
        if self.process.wait(60) != 0:
            sys.exit(f"s3gate ended with {self.process.returncode}: {self.errors.read_text()}")


class HealthWatch:
    """Asks for /healthz all the time; `slowest` is the longest wait for an answer, in seconds."""

    def __init__(self, daemon):
        self.slowest = 0.0
        self._daemon = daemon
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def _run(self):
        while not self._end.wait(HEALTH_EVERY):
            self.slowest = max(self.slowest, self._daemon.ask_health())

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._end.set()
        self._thread.join()


def busy_times(pids):
    """(seconds that all processors were busy, those of this bench) so far."""
    used = accounting.cpu_time([*pids, os.getpid()])
    children = os.times()
    ours = used.user + used.system + children.children_user + children.children_system
    return accounting.machine_busy()[0], ours


def wait_quiet():
    """Until other programs used less than FOREIGN for a second."""
    while True:
        before = busy_times([])
        time.sleep(1)
        busy, ours = (b - a for a, b in zip(before, busy_times([])))
        if busy - ours < FOREIGN:
            return


def measure(daemon, origin, folder, arguments, part):
    """One part of a round: the generator's figures, and those of the reloads meanwhile."""
    command = [folder / "loadgen", f"port={PROXY_PORT}", "mode=get", "obj=1k", "conns=64"]
    command += [f"rate={arguments.rate}", f"secs={arguments.secs}"]
    pids = [daemon.process.pid, origin.pid]
    before = busy_times(pids)
    begin = time.monotonic()
    took = []
    with HealthWatch(daemon) as health:
        generator = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        if part in EVERY:
            words = ["--confirm", "1s"] if part == PARTS[2] else []
            # The last undo ends within the load.
            while time.monotonic() - begin < arguments.secs - EVERY[part]:
                due = time.monotonic() + EVERY[part]
                took.append(daemon.reload(*words))
                time.sleep(max(0.0, due - time.monotonic()))
        figures = json.loads(generator.communicate()[0])
    busy, ours = (b - a for a, b in zip(before, busy_times(pids)))
    figures["foreign"] = max(0.0, busy - ours) / (time.monotonic() - begin)
    if figures["errors"] or figures["non200"]:
        sys.exit(f"{part}: requests failed: {figures}")
    figures["healthz_ms"] = health.slowest * 1000
    figures["reloads"] = len(took)
    figures["reload_ms"] = max(took, default=0) * 1000
    return figures


def measure_round(folder, arguments):
    """All parts, with a daemon and origins of its own; None if other programs were in the way."""
    signal.alarm(LIFETIME)
    daemon = None
    origin = start_origins(folder, SERVERS)
    try:
        with tempfile.TemporaryDirectory(dir=folder) as name:
            daemon = Daemon(arguments, pathlib.Path(name))
            time.sleep(2)  # the start, and the first checks, are no part of any figure
            one = {part: measure(daemon, origin, folder, arguments, part) for part in PARTS}
            daemon.stop()
    finally:
        if daemon:
            daemon.process.kill()
        origin.terminate()
        origin.wait(5)
        signal.alarm(0)
    is_foreign = max(figures["foreign"] for figures in one.values()) >= FOREIGN
    return None if arguments.quiet and is_foreign else one


def measure_rounds(folder, arguments):
    rounds = []
    while len(rounds) < arguments.rounds:
        if arguments.quiet:
            wait_quiet()
        if (one := measure_round(folder, arguments)) is not None:
            rounds.append(one)
    return rounds


def report(rounds):
    """Prints a table and returns the medians of what is added to p99, in ms."""
    print(
        f"{'':<28}{'p50 ms':>9}{'p99 ms':>9}{'added':>9}{'p99.9 ms':>10}{'max ms':>9}"
        f"{'/healthz':>10}{'reloads':>9}{'longest':>9}{'foreign':>9}"
    )
    added = {}
    for part in PARTS:
        results = [one[part] for one in rounds]

        def median(name, scale, results=results):
            return statistics.median(result[name] for result in results) / scale

        added[part] = statistics.median(
            one[part]["p99_us"] - one[PARTS[0]]["p99_us"] for one in rounds
        )
        added[part] /= 1000
        print(
            f"{part:<28}{median('p50_us', 1000):>9.2f}{median('p99_us', 1000):>9.2f}"
            f"{added[part]:>9.2f}{median('p999_us', 1000):>10.2f}{median('max_us', 1000):>9.2f}"
            f"{median('healthz_ms', 1):>10.1f}{sum(result['reloads'] for result in results):>9}"
            f"{median('reload_ms', 1):>9.0f}{median('foreign', 1):>9.2f}",
            flush=True,
        )
    return added


def parse_arguments():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--s3gate", type=pathlib.Path, default=pathlib.Path("build/release/s3gate"))
    add("--rounds", type=int, default=5)
    add("--secs", type=float, default=10.0, help="of each part of a round")
    add("--rate", type=int, default=4000, help="requests a second")
    add("--checks", action="store_true", help="every server of every site is checked, each 30 s")
    add("--quiet", action="store_true", help="only rounds without other programs' work")
    add("--protect", action="store_true", help="run before all other programs")
    add("--limit", type=float, default=5.0, help="ms that a reload may add to p99")
    add("--json", help="write all figures here")
    arguments = parser.parse_args()
    arguments.s3gate = arguments.s3gate.resolve()
    if os.geteuid() != 0:
        parser.error("run it as root: it needs namespaces of its own")
    if not arguments.s3gate.is_file():
        parser.error(f"{arguments.s3gate} does not exist: build the release preset first")
    return arguments


def main():
    arguments = parse_arguments()
    into_own_network(__file__)
    end_tidily()
    with tempfile.TemporaryDirectory(prefix="s3gate-reload-") as name:
        folder = pathlib.Path(name)
        build_programs(folder)
        if arguments.protect:
            os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(1))  # and all that it starts
        rounds = measure_rounds(folder, arguments)
    if arguments.json:
        pathlib.Path(arguments.json).write_text(json.dumps(rounds))
    added = report(rounds)
    if max(added.values()) > arguments.limit:
        sys.exit(f"more than {arguments.limit} ms are added to p99")


if __name__ == "__main__":
    main()
