#!/usr/bin/env python3
"""What s3gate does when more is asked than its servers can carry: goodput at twice the peak, with
limits and without, and well-behaved clients beside an aggressor. One command, loopback only:

    bench/overload.py --s3gate build/release/s3gate

Six nodes of known capacity (src/slownode.c) stand behind it, so that the figures depend on the
limits and hardly on this machine; src/openload.c offers the load at a constant rate. Good is a 2xx
within the deadline, counted from when the request was due. Exit status 1 when goodput at twice the
peak is below 90 % of the peak, or a well-behaved client fails. """

import argparse
import json
import pathlib
import re
import socket
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
NODES, SLOTS, SERVICE_US = 6, 4, 12_000
DEADLINE_MS = 1000

LIMITS = """\
      max_connections: 8
      queue: 400
      queue_timeout: 250ms
    limits: {connections: 4000}
"""
CLIENT_LIMITS = """\
      max_connections: 8
      queue: 400
      queue_timeout: 250ms
    limits: {connections: 4000, per_client: 100, requests_per_client: 200/s}
"""


def free_port():
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


def build(folder):
    for program in ("openload", "slownode"):
        source = HERE / "src" / f"{program}.c"
        subprocess.check_call(
            ["gcc", "-std=gnu11", "-O2", "-Wall", "-Wextra", "-o", folder / program, source]
        )


class Stage:
    """The nodes and one s3gate before them, for one measurement, without state of earlier ones."""

    def __init__(self, arguments, folder, name, limits):
        self.folder, self.name = folder, name
        self.port, node_port = free_port(), free_port()
        self.nodes = subprocess.Popen(
            [folder / "slownode", str(node_port), str(NODES), str(SLOTS), str(SERVICE_US), "120"],
            stdout=subprocess.PIPE,
            text=True,
        )
        if self.nodes.stdout.readline().strip() != "READY":
            sys.exit("the nodes did not start")
        servers = "".join(f'        - "127.0.2.{i}:{node_port}"\n' for i in range(1, NODES + 1))
        config = folder / f"{name}.yaml"
        config.write_text(
            f"workers: {arguments.workers}\n"
            f'access_log: {{target: "{folder}/{name}.log"}}\n'
            "sites:\n"
            "  - name: bench\n"
            f'    listen: ["127.0.0.1:{self.port}"]\n'
            "    balance: {salt: bench}\n"
            "    backends:\n"
            f"      servers:\n{servers}{limits}"
        )
        self.errors = open(folder / f"{name}.err", "w+", encoding="utf-8")
        self.gate = subprocess.Popen(
            [arguments.s3gate, "--config", config], stdout=self.errors, stderr=self.errors
        )
        deadline = time.monotonic() + 20
        while "ready:" not in (folder / f"{name}.err").read_text():
            if time.monotonic() > deadline or self.gate.poll() is not None:
                self.stop()
                sys.exit((folder / f"{name}.err").read_text())
            time.sleep(0.05)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()

    def stop(self):
        self.gate.terminate()
        try:
            self.gate.wait(5)
        except subprocess.TimeoutExpired:
            self.gate.kill()
            self.gate.wait()
        self.nodes.terminate()
        self.nodes.wait()
        self.nodes.stdout.close()
        self.errors.close()

    def begin(self, **options):
        options = {"port": self.port, "deadline_ms": DEADLINE_MS, **options}
        return subprocess.Popen(
            [self.folder / "openload", *(f"{key}={value}" for key, value in options.items())],
            stdout=subprocess.PIPE,
            text=True,
        )

    def load(self, **options):
        return result_of(self.begin(**options))


def result_of(process):
    out, _ = process.communicate(timeout=120)
    if process.returncode != 0:
        sys.exit(f"openload: exit status {process.returncode}")
    return json.loads(out)


def show(label, result):
    print(
        f"{label:<34}{result['offered'] / result['seconds']:>9.0f}{result['goodput']:>9.0f}"
        f"{result['refused']:>9}{result['late'] + result['unanswered']:>7}{result['failed']:>7}"
        f"{result['p50_us'] / 1000:>9.1f}{result['p99_us'] / 1000:>9.1f}"
        f"{result['refused_p50_us'] / 1000:>9.1f}{result['refused_p99_us'] / 1000:>9.1f}",
        flush=True,
    )


def peak_of(arguments, folder):
    """The best goodput of a closed loop: (requests a second, connections)."""
    best, best_connections = 0.0, 0
    for connections in (16, 32, 48, 96):
        with Stage(arguments, folder, f"peak-{connections}", LIMITS) as stage:
            result = stage.load(closed=connections, secs=arguments.secs)
        show(f"closed loop, {connections} connections", result)
        if result["goodput"] > best:
            best, best_connections = result["goodput"], connections
    return best, best_connections


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--s3gate", required=True, type=pathlib.Path)
    parser.add_argument("--secs", type=float, default=5)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--json", type=pathlib.Path, help="the figures, for later comparison")
    return parser.parse_args()


def machine_busy():
    """Seconds of processor time that the machine has used so far, without idle and waiting time."""
    fields = pathlib.Path("/proc/stat").read_text(encoding="ascii").split("\n")[0].split()[1:]
    return (sum(map(int, fields)) - int(fields[3]) - int(fields[4])) / 100


def measure(arguments, folder):
    capacity = NODES * SLOTS * 1e6 / SERVICE_US
    print(
        f"# {NODES} nodes of {SLOTS} slots, {SERVICE_US / 1000:.0f} ms each: {capacity:.0f}/s; "
        f"workers={arguments.workers} secs={arguments.secs} deadline={DEADLINE_MS} ms "
        f"load average {pathlib.Path('/proc/loadavg').read_text(encoding='ascii').split()[0]}"
    )
    print(
        f"{'':<34}{'offered':>9}{'goodput':>9}{'refused':>9}{'late':>7}{'failed':>7}"
        f"{'p50 ms':>9}{'p99 ms':>9}{'503 p50':>9}{'503 p99':>9}"
    )
    out = {"capacity": capacity}
    out["peak"], connections = peak_of(arguments, folder)
    twice = 2 * out["peak"]
    for name, limits in (("limits", LIMITS), ("none", "")):
        with Stage(arguments, folder, f"twice-{name}", limits) as stage:
            out[f"twice_{name}"] = stage.load(rate=twice, secs=arguments.secs, conns=2000)
        show(f"twice the peak, {'limits on' if limits else 'no limits'}", out[f"twice_{name}"])
    with Stage(arguments, folder, "fresh", LIMITS) as stage:
        out["fresh"] = stage.load(rate=twice, secs=arguments.secs, conns=2000, fresh=1)
    show("  a connection for each request", out["fresh"])
    with Stage(arguments, folder, "clients", CLIENT_LIMITS) as stage:
        aggressor = stage.begin(
            rate=twice, secs=arguments.secs + 1, conns=300, source="127.0.9.1", sources=1
        )
        time.sleep(0.5)
        out["well"] = stage.load(
            rate=out["peak"] * 0.4, secs=arguments.secs, conns=200, source="127.0.8.1", sources=8
        )
        out["aggressor"] = result_of(aggressor)
    show("aggressor, per-client limits", out["aggressor"])
    show("  8 clients beside it", out["well"])
    out["connections"] = connections
    return out


def main():
    arguments = parse_arguments()
    busy, began = machine_busy(), time.monotonic()
    with tempfile.TemporaryDirectory(prefix="s3gate-overload-") as name:
        folder = pathlib.Path(name)
        build(folder)
        out = measure(arguments, folder)
    out["busy_cores"] = (machine_busy() - busy) / (time.monotonic() - began)
    bad = []
    for name in ("twice_limits", "fresh"):
        share = out[name]["goodput"] / out["peak"]
        print(f"{re.sub('_', ' ', name)}: {share:.1%} of the peak")
        if share < 0.9:
            bad.append(name)
    well = out["well"]
    if well["good"] != well["offered"]:
        bad.append("well-behaved clients failed")
    print(f"cores busy in all, this bench included: {out['busy_cores']:.2f}")
    if arguments.json:
        arguments.json.write_text(json.dumps(out, indent=1), encoding="utf-8")
    if bad:
        sys.exit("below what is promised: " + ", ".join(bad))


if __name__ == "__main__":
    main()
