#!/usr/bin/env python3
"""Side-by-side bench of reverse proxies on one machine, over loopback: s3gate, nginx, nginx tuned,
nginx with the Lua configuration that s3gate replaces, HAProxy without and with splice, and no proxy
at all. README.md says how to read the figures. """

import argparse
import json
import os
import pathlib
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import time

import accounting
import proxies

HERE = pathlib.Path(__file__).resolve().parent
WORKLOADS = {  # arguments of the load generator; idle goes first and once, on fresh processes
    "idle": "mode=idle obj=1k conns=5000",
    "get-1k": "mode=get obj=1k conns=64",
    "get-64k": "mode=get obj=64k conns=32",
    "get-64m": "mode=get obj=64m conns=4",
    "put-1k": "mode=put body=1024 conns=64",
    "put-64m": "mode=put body=67108864 conns=4",
    "close-1k": "mode=close obj=1k conns=64",
    # Only when asked for:
    "get-1m": "mode=get obj=1m conns=8",
    "put-64k": "mode=put body=65536 conns=32",
    "put-1m": "mode=put body=1048576 conns=8",
    "get-chunked-64k": "mode=get obj=c64k conns=32",
    "put-chunked-64k": "mode=put body=65536 chunked=1 conns=32",
    "mixed": "mode=mixed conns=16",
}
DEFAULT_WORKLOADS = "idle get-1k get-64k get-64m put-1k put-64m close-1k".split()
HIGHER_IS_BETTER = ("rps", "mibs")
MEDIANS = (
    "rps mibs p50_us p99_us cpu_us cpu_s_gib util user_s sys_s peak_rss_kib idle_rss_kib_conn "
    "rss_before_kib ksoftirqd_us foreign steal slowed"
).split()


class Bench:
    """Origins, contenders and load generator of one run."""

    def __init__(self, arguments, **settings):
        self.arguments = arguments
        self.directory = pathlib.Path(arguments.dir)
        self.data = pathlib.Path(arguments.data)
        self.hold = 1.6 if arguments.quick else 4.4
        self.settings = proxies.Settings(
            self.directory,
            self.data,
            arguments.workers,
            arguments.pinned,
            not arguments.no_log,
            arguments.upstream_keepalive,
            arguments.user,
            **settings,
        )
        self.origin = None
        self.proxies = {}
        shutil.rmtree(self.directory, ignore_errors=True)
        self.directory.mkdir(parents=True)
        self.directory.chmod(0o755)
        self.settings.programs.mkdir()
        self.data.mkdir(parents=True, exist_ok=True)
        for program in ("origin", "loadgen", "floor", "coreprobe"):
            source = HERE / "src" / f"{program}.cpp"
            subprocess.check_call(
                ["g++", "-std=c++20", "-O2", "-o", self.settings.programs / program, source]
            )

    def start(self):
        self.origin = subprocess.Popen(
            [
                *proxies.pin(self.settings, 1),
                self.settings.programs / "origin",
                self.data,
                str(proxies.ORIGIN_PORT),
                str(len(self.settings.origins)),
                str(self.arguments.max_seconds),
                self.arguments.bodies,
            ],
            stdout=subprocess.PIPE,
            text=True,
        )
        if self.origin.stdout.readline().strip() != "READY":
            raise RuntimeError("the origins did not start")
        launcher = proxies.Launcher(
            self.settings,
            self.arguments.candidates,
            self.arguments.s3gates,
            self.arguments.base_port,
        )
        for name in self.arguments.only:
            self.proxies[name] = launcher.start(name)
        for proxy in self.proxies.values():
            self._wait_answers(proxy)
        time.sleep(1.0)  # start-up work and first health checks are not part of any figure

    def _wait_answers(self, proxy, timeout=15):
        request = b"GET /bucket/obj-1k HTTP/1.1\r\nHost: bench\r\nConnection: close\r\n\r\n"
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            try:
                with socket.create_connection((proxy.host, proxy.port), timeout=2) as connection:
                    connection.sendall(request)
                    if connection.recv(4096).startswith(b"HTTP/1.1 200"):
                        return
            except OSError:
                pass
            if proxy.process is not None and proxy.process.poll() is not None:
                break
            time.sleep(0.05)
        errors = self.directory / proxy.name / "errors"
        text = errors.read_text(errors="replace")[-2000:] if errors.exists() else ""
        raise RuntimeError(f"{proxy.name} does not answer 200\n{text}")

    def stop(self):
        for proxy in self.proxies.values():
            proxy.signal_stop()
        for proxy in self.proxies.values():
            proxy.wait_stopped()
        if self.origin is not None:
            self.origin.terminate()
            self.origin.wait(5)

    def truncate_logs(self):
        """The logs are in memory and must not grow without bound."""
        for log in self.data.glob("log-*"):
            os.truncate(log, 0)

    def generator(self, name, seconds, options):
        """The load generator's command for one contender."""
        proxy = self.proxies[name]
        return [
            *proxies.pin(self.settings, 1),
            self.settings.programs / "loadgen",
            f"host={proxy.host}",
            f"port={proxy.port}",
            f"secs={seconds}",
            f"snd={self.arguments.bodies}",
            f"hold={self.hold}",
            *options.split(),
        ]

    def measure(self, name, workload, seconds):
        """One run of one workload (a name of WORKLOADS, or options) through one contender."""
        proxy = self.proxies[name]
        pids = accounting.process_tree(proxy.pid) if proxy.pid else []
        command = self.generator(name, seconds, WORKLOADS.get(workload, workload))
        rss_before = accounting.memory_kib(pids, "VmRSS")
        accounting.reset_peak_memory(pids)
        running = []
        try:
            probe = self._start_probe(running)
            ours = sorted({*pids, *accounting.process_tree(os.getpid())})
            before = self._counters(pids, ours)
            generator = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
            running.append(generator)
            line = generator.stdout.readline()
            rss_idle = None
            if line.strip() == "HELD":
                time.sleep(self.hold - 0.4)
                rss_idle = accounting.memory_kib(pids, "VmRSS")
                line = generator.stdout.readline()
            generator.wait()
            after = self._counters(pids, ours)
            core = self._stop_probe(probe)
        except BaseException:
            for process in running:
                process.kill()
                process.wait()
            raise
        try:
            result = json.loads(line)
        except ValueError:
            return {"error": f"the load generator ended with {generator.returncode}: {line!r}"}
        self._derive(result, before, after)
        result.update(core)
        result["peak_rss_kib"] = accounting.memory_kib(pids, "VmHWM")
        if rss_idle is not None:
            result["rss_before_kib"] = rss_before
            result["idle_rss_kib_conn"] = (rss_idle - rss_before) / max(result["requests"], 1)
        return result

    def _start_probe(self, running):
        """Starts the probe of the contenders' core (src/coreprobe.cpp); None if they are not held
        to one core."""
        if not self.arguments.pinned:
            return None
        command = [*proxies.pin(self.settings, 0), self.settings.programs / "coreprobe"]
        probe = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        running.append(probe)
        if not probe.stdout.readline():
            raise RuntimeError("coreprobe does not start")
        return probe

    @staticmethod
    def _stop_probe(probe):
        if probe is None:
            return {}
        probe.terminate()
        figures = probe.communicate()[0].split()
        if len(figures) != 2:
            raise RuntimeError(f"coreprobe ended with {probe.returncode}: {figures}")
        return {"core_ns": float(figures[0]), "core_best_ns": float(figures[1])}

    def settle(self, seconds=10):
        """Waits until the contenders and the origins have cleaned up after the last load: thousands
        of closed connections take a while."""
        pids = [self.origin.pid]
        for proxy in self.proxies.values():
            pids += accounting.process_tree(proxy.pid) if proxy.pid else []
        end = time.monotonic() + seconds
        used = accounting.cpu_time(pids).seconds
        while time.monotonic() < end:
            time.sleep(0.2)
            now = accounting.cpu_time(pids).seconds
            if now - used < 0.004:
                return
            used = now

    @staticmethod
    def _counters(pids, ours):
        children = os.times()
        return {
            "softirq": accounting.softirq_threads(),
            "proxy": accounting.cpu_time(pids),
            "busy": accounting.machine_busy(),
            "wall": time.monotonic(),
            # Ended children (the load generator) count in their parent's times.
            "ours": accounting.cpu_time(ours).seconds
            + children.children_user
            + children.children_system,
        }

    @staticmethod
    def _derive(result, before, after):
        requests = max(result["requests"], 1)
        gib = result["bytes"] / 2**30
        cpu = after["proxy"] - before["proxy"]
        wall = after["wall"] - before["wall"]
        busy = after["busy"][0] - before["busy"][0]
        result.update(
            rps=result["requests"] / result["secs"],
            mibs=result["bytes"] / result["secs"] / 2**20,
            cpu_s=cpu.seconds,
            cpu_us=cpu.seconds * 1e6 / requests,
            cpu_s_gib=cpu.seconds / gib if gib else 0,
            user_s=cpu.user,
            sys_s=cpu.system,
            util=cpu.seconds / result["secs"],
            ksoftirqd_us=(after["softirq"] - before["softirq"]) * 1e6 / requests,
            foreign=max(0.0, (busy - (after["ours"] - before["ours"])) / wall),
            steal=(after["busy"][1] - before["busy"][1]) / wall,
        )


def complain(name, workload, result):
    if "error" in result:
        print(f"! {name} {workload}: {result['error']}", file=sys.stderr)
    elif result["errors"] or result["non200"] or (result["moved"] and name != "floor"):
        what = " ".join(
            f"{key}={result[key]}" for key in ("errors", "non200", "moved", "lasterr", "requests")
        )
        print(f"! {name} {workload}: {what}", file=sys.stderr)


def run_all(bench, arguments, needs_all=False):
    """Runs every workload with the contenders in turn, so drift of the machine affects all alike.
    `needs_all`: a run without a figure raises RuntimeError instead of being reported and left out.
    """
    names, workloads = arguments.only, arguments.workloads
    runs = {name: {workload: [] for workload in workloads} for name in names}
    if "idle" in workloads:
        for name in names:
            if name != "direct":
                result = bench.measure(name, "idle", arguments.seconds)
                complain(name, "idle", result)
                if "error" not in result:
                    runs[name]["idle"].append(result)
    busy_workloads = [workload for workload in workloads if workload != "idle"]
    for workload in busy_workloads:  # warm-up, not counted
        for name in names:
            bench.measure(name, workload, 0.15 if arguments.quick else 0.4)
    for turn in range(arguments.rounds):
        order = names[turn % len(names) :] + names[: turn % len(names)]
        for workload in busy_workloads:
            for name in order:
                result = bench.measure(name, workload, arguments.seconds)
                complain(name, workload, result)
                if "error" not in result:
                    runs[name][workload].append(result)
                elif needs_all:
                    raise RuntimeError(f"{name} {workload}: {result['error']}")
        bench.truncate_logs()
    return runs


def note_slowed(runs):
    """Adds `slowed` to each result: how much longer the contenders' core took for the same
    instructions than in the best moment of all results."""
    probed = [
        result
        for workloads in runs.values()
        for results in workloads.values()
        for result in results
        if "core_ns" in result
    ]
    best = min((result["core_best_ns"] for result in probed), default=None)
    for result in probed:
        result["slowed"] = result["core_ns"] / best


def by_core(runs, workload):
    """{"quietest third": (limit, {name: (median `cpu_us`, runs)}), "busiest third": ...} of a
    workload: of all its runs those in which the core was slowed least, up to `limit` times, and
    most."""
    costs = [
        (run["slowed"], name, run["cpu_us"])
        for name, results in runs.items()
        for run in results[workload]
        if name != "direct" and "slowed" in run
    ]
    if len(costs) < 3:
        return {}
    third = len(costs) // 3
    ranked = sorted(costs)
    found = {}
    for state, part, limit in (
        ("quietest third", ranked[:third], ranked[third - 1][0]),
        ("busiest third", ranked[-third:], ranked[-third][0]),
    ):
        figures = {}
        for name in runs:
            values = [cost for _, other, cost in part if other == name]
            if values:
                figures[name] = (statistics.median(values), len(values))
        found[state] = (limit, figures)
    return found


def summarise(runs):
    summary = {}
    for name, workloads in runs.items():
        for workload, results in workloads.items():
            if not results:
                continue
            medians = {
                key: statistics.median(values)
                for key in MEDIANS
                if (values := [result[key] for result in results if key in result])
            }
            costs = [result["cpu_us"] for result in results]
            medians.update(
                cpu_us_min=min(costs),
                cpu_us_max=max(costs),
                errors=sum(result["errors"] + result["non200"] for result in results),
                moved=sum(result["moved"] for result in results),
                ok=statistics.median(result["requests"] for result in results),
            )
            summary.setdefault(name, {})[workload] = medians
    return summary


def print_tables(summary, workloads, base):
    def ratio(figures, workload, key):
        other = summary.get(base, {}).get(workload, {}).get(key)
        return f"{figures[key] / other:.2f}" if other else "-"

    def slowed(figures):
        return f"{figures['slowed']:.2f}" if "slowed" in figures else "-"

    for workload in workloads:
        print(f"\n== {workload}")
        if workload == "idle":
            print(f"{'proxy':<16}{'RSS KiB/conn':>14}{'RSS before MiB':>16}{'ok conns':>10}")
        else:
            print(
                f"{'proxy':<16}{'req/s':>9}{'x':>6}{'MiB/s':>8}{'p50 us':>10}{'p99 us':>10}"
                f"{'CPU us/req':>12}{'x':>6}{'CPU s/GiB':>11}{'x':>6}{'util':>6}{'user%':>6}"
                f"{'RSS MiB':>9}{'err':>5}{'foreign':>8}{'slowed':>8}"
            )
        for name, results in summary.items():
            figures = results.get(workload)
            if figures is None:
                continue
            if workload == "idle":
                print(
                    f"{name:<16}{figures['idle_rss_kib_conn']:>14.2f}"
                    f"{figures['rss_before_kib'] / 1024:>16.1f}{figures['ok']:>10.0f}"
                )
                continue
            total = max(figures["user_s"] + figures["sys_s"], 1e-9)
            print(
                f"{name:<16}{figures['rps']:>9.0f}{ratio(figures, workload, 'rps'):>6}"
                f"{figures['mibs']:>8.0f}{figures['p50_us']:>10.0f}{figures['p99_us']:>10.0f}"
                f"{figures['cpu_us']:>12.2f}{ratio(figures, workload, 'cpu_us'):>6}"
                f"{figures['cpu_s_gib']:>11.3f}{ratio(figures, workload, 'cpu_s_gib'):>6}"
                f"{figures['util']:>6.2f}{100 * figures['user_s'] / total:>6.0f}"
                f"{figures['peak_rss_kib'] / 1024:>9.1f}{figures['errors']:>5}"
                f"{figures['foreign']:>8.2f}{slowed(figures):>8}"
            )


def print_states(runs, workloads):
    """Prints the cost of a request when the core had least other work and when it had most."""
    for workload in workloads:
        if workload == "idle":  # one run each, without a cost per request
            continue
        for state, (limit, figures) in by_core(runs, workload).items():
            print(f"\n== {workload}, {state} of the runs by `slowed` (limit {limit:.2f})")
            for name, (cost, count) in figures.items():
                print(f"{name:<16}{cost:>8.2f} CPU us/req in {count} runs")


def check_requirements(summary, requirements):
    """Number of requirements not met; each is NAME:WORKLOAD:METRIC:BASE:RATIO."""
    failed = 0
    for requirement in requirements:
        name, workload, metric, base, ratio = requirement.split(":")
        try:
            value, other = summary[name][workload][metric], summary[base][workload][metric]
        except KeyError as missing:
            print(f"require {requirement}: no figure for {missing} FAILED")
            failed += 1
            continue
        limit = float(ratio) * other
        met = value >= limit if metric in HIGHER_IS_BETTER else value <= limit
        failed += not met
        verdict = "ok" if met else "FAILED"
        quotient = value / other if other else float("nan")
        print(f"require {requirement}: {value:.3f} vs {other:.3f} = {quotient:.3f} {verdict}")
    return failed


def split_candidate(text, number):
    """([NAME[:PORT]=]CMD) → name, port or None, command."""
    head, equals, rest = text.partition("=")
    if equals and " " not in head and "/" not in head:
        name, _, port = head.partition(":")
        return name, int(port) if port else None, rest
    return "candidate" if number == 0 else f"candidate{number}", None, text


def split_s3gate(text):
    """[NAME=]PATH → name, absolute path."""
    head, equals, rest = text.partition("=")
    name, path = (head, rest) if equals and "/" not in head else ("s3gate", text)
    return name, str(pathlib.Path(path).resolve())


def parse_arguments(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__)
    add = parser.add_argument
    add("--quick", action="store_true", help="1 round of 0.7 s each: about a minute")
    add("--rounds", type=int)
    add("--secs", type=float, dest="seconds")
    add(
        "--workers",
        type=int,
        default=1,
        help="workers of every proxy; 1 = pinned to core 0 (origins and generator on core 1)",
    )
    add("--unpinned", action="store_true")
    add("--no-log", action="store_true", help="access logs off everywhere")
    known = [*proxies.BUILT_IN, *proxies.WHEN_ASKED]
    add("--only", help="comma list of " + ",".join(known) + " and given names")
    add("--workloads", default=",".join(DEFAULT_WORKLOADS), help=",".join(WORKLOADS))
    add(
        "--s3gate",
        action="append",
        default=[],
        metavar="[NAME=]PATH",
        help="a daemon of this project; its configuration is made; may be given many times",
    )
    add("--user", default=proxies.DEFAULT_USER, help="user s3gate runs as when started as root")
    add(
        "--candidate",
        action="append",
        default=[],
        metavar="[NAME[:PORT]=]CMD",
        help="any proxy; {port} {workers} {config} {log} {origins} {dir} are filled in",
    )
    add("--candidate-port", type=int, help="port that the first candidate's configuration fixes")
    add("--candidate-config", default="", help="path put in place of {config}")
    add("--bodies", choices=["copy", "sendfile"], default="copy", help="how big bodies are sent")
    add("--upstream-keepalive", type=int, default=32, help="of nginx; tuned always has 128")
    add("--base-port", type=int, default=18080)
    add("--dir", default="/tmp/s3gate-bench")
    add("--data", default="/dev/shm/s3gate-bench")
    add("--json", help="write all figures here")
    add(
        "--require",
        action="append",
        default=[],
        metavar="NAME:WORKLOAD:METRIC:BASE:RATIO",
        help="exit 1 unless NAME's median is at most RATIO times BASE's (at least: rps, mibs)",
    )
    arguments = parser.parse_args(arguments)
    arguments.pinned = arguments.workers == 1 and not arguments.unpinned
    arguments.rounds = arguments.rounds or (1 if arguments.quick else 5)
    arguments.seconds = arguments.seconds or (0.7 if arguments.quick else 1.5)
    arguments.s3gates = dict(split_s3gate(text) for text in arguments.s3gate)
    arguments.candidates = {}
    for number, text in enumerate(arguments.candidate):
        name, port, command = split_candidate(text, number)
        port = port or (arguments.candidate_port if number == 0 else None)
        arguments.candidates[name] = proxies.Candidate(command, port, arguments.candidate_config)
    given = [*arguments.s3gates, *arguments.candidates]
    if arguments.only:
        arguments.only = arguments.only.split(",")
    else:
        arguments.only = [*proxies.BUILT_IN, *given]
        for name in proxies.BUILT_IN:
            if reason := proxies.why_missing(name):
                print(f"! without {name}: {reason}", file=sys.stderr)
                arguments.only.remove(name)
    arguments.only += [name for name in given if name not in arguments.only]
    arguments.workloads = arguments.workloads.split(",")
    unknown = [name for name in arguments.workloads if name not in WORKLOADS]
    unknown += [name for name in arguments.only if name not in [*known, *given]]
    if unknown:
        parser.error(f"unknown: {', '.join(unknown)}")
    return arguments


def end_tidily():
    """SIGTERM and SIGALRM end the program like an error, so its children end too."""

    def leave(number, _):
        sys.exit(f"ended by {signal.Signals(number).name}")

    signal.signal(signal.SIGTERM, leave)
    signal.signal(signal.SIGALRM, leave)


def main():
    arguments = parse_arguments()
    end_tidily()
    try:
        os.nice(-10)  # reduces disturbance by other work on the machine
    except OSError:
        pass
    begun = time.monotonic()
    runs_planned = len(arguments.only) * len(arguments.workloads) * arguments.rounds
    arguments.max_seconds = int(2 * runs_planned * (arguments.seconds + 0.5) + 240)
    signal.alarm(arguments.max_seconds)
    bench = Bench(arguments)
    try:
        bench.start()
        runs = run_all(bench, arguments)
    except RuntimeError as error:
        sys.exit(str(error))
    finally:
        bench.stop()
    note_slowed(runs)
    summary = summarise(runs)
    base = "nginx" if "nginx" in arguments.only else arguments.only[0]
    meta = {
        "workers": arguments.workers,
        "pinned": arguments.pinned,
        "log": not arguments.no_log,
        "rounds": arguments.rounds,
        "secs": arguments.seconds,
        "bodies": arguments.bodies,
        "user": arguments.user,
        "kernel": os.uname().release,
        "wall_s": round(time.monotonic() - begun, 1),
    }
    print("\n# " + " ".join(f"{key}={value}" for key, value in meta.items()))
    print(f"# medians; x = ratio to {base}")
    print_tables(summary, arguments.workloads, base)
    print_states(runs, arguments.workloads)
    if arguments.json:
        document = {"meta": meta, "summary": summary, "runs": runs}
        pathlib.Path(arguments.json).write_text(json.dumps(document, indent=1) + "\n")
    sys.exit(1 if check_requirements(summary, arguments.require) else 0)


if __name__ == "__main__":
    main()
