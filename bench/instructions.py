#!/usr/bin/python3
"""User-space instructions per 1 KiB request, counted by valgrind's callgrind on the daemon itself.

The count does not depend on how busy the machine is, which a time does: it is what to optimise by,
and what tells a change of one per cent from noise. Two runs of different length are subtracted, so
that start-up and shut-down are no part of it. Kernel work is not counted.

    bench/instructions.py --s3gate build/release/s3gate [--only get,put] [--top 40]
"""

import argparse
import json
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

import proxies
from compare import end_tidily

HERE = pathlib.Path(__file__).resolve().parent
PROXY_PORT = 18080
WORKLOADS = {
    "get": ["mode=get", "obj=1k"],
    "put": ["mode=put", "body=1024"],
    "close": ["mode=close", "obj=1k"],
}
LIFETIME = 600  # seconds after which all remaining processes end by themselves


def into_own_network(program=__file__):
    """Runs `program` again in a network namespace, where ports are free and no other program
    interferes."""
    if os.environ.get("S3GATE_BENCH_NETWORK") == str(os.getppid()):
        return
    unshare = ["unshare", "--net"] if os.geteuid() == 0 else ["unshare", "--map-root-user", "--net"]
    inner = 'ip link set lo up && S3GATE_BENCH_NETWORK=$$ "$@"; exit $?'
    os.execvp(
        "unshare",
        [*unshare, "sh", "-c", inner, "sh", sys.executable, os.path.abspath(program)]
        + sys.argv[1:],
    )


def build_programs(folder):
    for program in ("origin", "loadgen"):
        source = HERE / "src" / f"{program}.cpp"
        subprocess.check_call(["g++", "-std=c++20", "-O2", "-o", folder / program, source])


def start_origins(folder, count):
    origin = subprocess.Popen(
        [folder / "origin", folder, str(proxies.ORIGIN_PORT), str(count), str(LIFETIME), "copy"],
        stdout=subprocess.PIPE,
        text=True,
    )
    if origin.stdout.readline().strip() != "READY":
        sys.exit("the origins did not start")
    return origin


def write_configuration(folder, log, backends):
    (folder / "s3gate.yaml").write_text(
        json.dumps(
            {
                "workers": 1,
                "include": ["site.yaml"],
                "log": {"level": "warn", "target": "stderr"},
                "access_log": {"target": str(folder / "access.log") if log else "off"},
            }
        )
    )
    (folder / "site.yaml").write_text(
        json.dumps(
            {
                "name": "bench",
                "listen": [f"127.0.0.1:{PROXY_PORT}"],
                "balance": {"method": "ketama", "salt": "ZRVdfTSDRTvadFAd"},
                "backends": {"servers": proxies.origins(backends), "keepalive": 128},
                "health": "off",  # checks would add instructions per time, not per request
                "session_header": "X-Session-ID",
            }
        )
    )


def wait_listening(process):
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        if process.poll() is not None:
            sys.exit(f"s3gate ended with {process.returncode}")
        try:
            with socket.create_connection(("127.0.0.1", PROXY_PORT), timeout=5):
                return
        except OSError:
            time.sleep(0.05)
    sys.exit("s3gate does not listen")


def generate(folder, workload, requests, connections):
    line = subprocess.check_output(
        [
            folder / "loadgen",
            f"port={PROXY_PORT}",
            f"conns={connections}",
            f"requests={requests}",
            f"secs={LIFETIME}",
            *WORKLOADS[workload],
        ],
        text=True,
    )
    result = json.loads(line)
    if result["requests"] != requests or result["errors"] or result["non200"]:
        sys.exit(f"the load generator met errors: {line}")


def count(arguments, folder, workload, requests):
    """Instructions of one whole life of the daemon that serves this number of requests."""
    out = folder / f"callgrind.{workload}.{requests}"
    command = ["valgrind", "-q", "--tool=callgrind", f"--callgrind-out-file={out}"]
    command += [str(arguments.s3gate), "--config", str(folder / "s3gate.yaml")]
    with open(folder / "errors", "ab") as errors:
        process = subprocess.Popen(command, stdout=errors, stderr=errors)
    try:
        wait_listening(process)
        generate(folder, workload, requests, arguments.connections)
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(120)
    found = re.search(r"^(?:totals|summary): (\d+)", out.read_text(), re.MULTILINE)
    if found is None:
        sys.exit(f"callgrind wrote no total:\n{(folder / 'errors').read_text()[-2000:]}")
    return int(found[1]), out


def parse_arguments():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--s3gate", type=pathlib.Path, default=HERE.parent / "build/release/s3gate")
    add("--only", default="get,put", help="comma list of " + ",".join(WORKLOADS))
    add("--requests", type=int, default=10000, help="difference between the two runs")
    add("--connections", type=int, default=32)
    add("--backends", type=int, default=6)
    add("--no-log", action="store_true", help="without the access log")
    add("--top", type=int, default=0, metavar="N", help="also the N most expensive functions")
    add("--json", help="write the figures here")
    arguments = parser.parse_args()
    arguments.s3gate = arguments.s3gate.resolve()
    for program in ("valgrind", "unshare", "ip"):
        if shutil.which(program) is None:
            parser.error(f"{program} is not installed: scripts/install-deps bench")
    if not arguments.s3gate.is_file():
        parser.error(f"{arguments.s3gate} does not exist: build the release preset first")
    unknown = set(arguments.only.split(",")) - set(WORKLOADS)
    if unknown:
        parser.error(f"unknown: {', '.join(sorted(unknown))}")
    return arguments


def print_top(out, lines):
    """callgrind's own list for the longer run; it includes the start, which is small."""
    text = subprocess.check_output(
        ["callgrind_annotate", "--threshold=100", "--show-percs=yes", str(out)], text=True
    )
    rows = [line for line in text.splitlines() if re.match(r"\s*[\d,]+ \(", line)]
    print("\n".join(row[:170] for row in rows[: lines + 1]))


def main():
    arguments = parse_arguments()
    into_own_network()
    end_tidily()
    signal.alarm(LIFETIME)
    figures = {}
    with tempfile.TemporaryDirectory(prefix="s3gate-instructions-") as name:
        folder = pathlib.Path(name)
        build_programs(folder)
        write_configuration(folder, not arguments.no_log, arguments.backends)
        origin = start_origins(folder, arguments.backends)
        try:
            for workload in arguments.only.split(","):
                # All connections, to clients and to backends, are open and warm in both runs.
                least = 2000 + 8 * arguments.connections + 4 * arguments.backends
                short, _ = count(arguments, folder, workload, least)
                total, out = count(arguments, folder, workload, least + arguments.requests)
                figures[workload] = round((total - short) / arguments.requests)
                print(f"{workload}-1k: {figures[workload]} instructions per request", flush=True)
                if arguments.top:
                    print_top(out, arguments.top)
        finally:
            origin.terminate()
            origin.wait(5)
    if arguments.json:
        pathlib.Path(arguments.json).write_text(json.dumps(figures) + "\n")


if __name__ == "__main__":
    main()
