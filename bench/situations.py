"""Situations that a table of medians does not show: crowds, idle neighbours, unfair company, many
backends, a constant rate, and the spread of connections over workers. Each function returns rows
for the report: dicts with the same keys. All on loopback, bounded, and with errors counted.
"""

import collections
import json
import os
import random
import resource
import statistics
import subprocess
import time

import accounting
import compare
import proxies

PEERS = ["nginx-tuned", "haproxy-splice"]


class Stage:
    """A bench with its origins and contenders, for the time of a `with` block."""

    def __init__(self, options, names, more=(), **settings):
        arguments = compare.parse_arguments(
            [
                *("--s3gate", options.s3gate),
                *("--only", ",".join(names)),
                *("--workers", str(options.workers)),
                *("--user", options.user),
                *more,
            ]
        )
        # No part takes a third of it; afterwards the origins end by themselves.
        arguments.max_seconds = max(900, 300 * options.rounds)
        self.names = [*arguments.only]
        self.bench = compare.Bench(arguments, **settings)

    def __enter__(self):
        try:
            self.bench.start()
        except BaseException:
            self.bench.stop()
            raise
        return self.bench

    def __exit__(self, *_):
        self.bench.stop()


def run(bench, name, options, seconds):
    result = bench.measure(name, options, seconds)
    if "error" in result:
        raise RuntimeError(f"{name} {options}: {result['error']}")
    return result


def faults(result):
    return result["errors"] + result["non200"]


def crowds(options):
    """Many large bodies at once, s3gate unprivileged: pipes run out, and bodies are copied."""
    rows = []
    with Stage(options, ["s3gate"]) as bench:
        for count in (16, 64, 256, 1000):
            # An upload counts when it is complete; of many at once some must end in time.
            up = 64 if count <= 64 else 8
            loads = {
                "GET of 64 MiB": "obj=64m mode=get",
                f"PUT of {up} MiB": f"mode=put body={up << 20}",
            }
            for what, load in loads.items():
                seconds = max(options.seconds, count / 100)
                result = run(bench, "s3gate", f"{load} conns={count}", seconds)
                rows.append(
                    {
                        "bodies at once": f"{count} {what}",
                        "MiB/s": round(result["mibs"]),
                        "CPU s/GiB": round(result["cpu_s_gib"], 3),
                        "RSS MiB": round(result["peak_rss_kib"] / 1024, 1),
                        "errors": faults(result),
                    }
                )
    return rows


def beside(options, title, company, peers=PEERS, **settings):
    """p99 of small requests alone, and beside `company`: options of a second generator. Medians."""
    names = [*peers, "s3gate"]
    samples = {name: [] for name in names}
    with Stage(options, names, **settings) as bench:
        for _ in range(options.rounds):
            for name in names:
                samples[name].append(beside_once(bench, name, options.seconds, company))
    rows = []
    for name, taken in samples.items():
        row = {
            title: name,
            "p99 alone ms": round(statistics.median(s[0]["p99_us"] for s in taken) / 1000, 2),
            "p99 beside ms": round(statistics.median(s[1]["p99_us"] for s in taken) / 1000, 2),
            "req/s beside": round(statistics.median(s[1]["rps"] for s in taken)),
        }
        if "mode=idle" not in company:
            row["company MiB/s"] = round(statistics.median(s[2] for s in taken))
        row["errors"] = sum(s[3] for s in taken)
        rows.append(row)
    return rows


def beside_once(bench, name, seconds, company):
    """Small requests alone, beside the company, its MiB/s, and the errors of both generators."""
    bench.settle()
    alone = run(bench, name, "mode=get obj=1k conns=16", seconds)
    command = bench.generator(name, seconds + 4, company)
    neighbour = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        if "mode=idle" in company:
            if neighbour.stdout.readline().strip() != "HELD":
                raise RuntimeError(f"{name}: the idle connections did not come up")
        else:
            time.sleep(1)  # the streams are at full rate
        crowded = run(bench, name, "mode=get obj=1k conns=16", seconds)
    finally:
        output = neighbour.communicate(timeout=120)[0].splitlines()
    other = json.loads(output[-1])
    speed = other["bytes"] / other["secs"] / 2**20
    return alone, crowded, speed, faults(crowded) + other["errors"]


def beside_idle(options):
    # An idle connection needs one descriptor in the generator too. If descriptors are short, fewer
    # connections are used and the row says so.
    count = min(15000, resource.getrlimit(resource.RLIMIT_NOFILE)[0] - 2000)
    hold = 3 * options.seconds + 2
    return beside(
        options,
        f"beside {count} idle connections",
        f"mode=idle obj=1k conns={count} hold={hold}",
        connections=count + 5000,  # nginx closes kept connections when a sixteenth of them is left
    )


def beside_streams(options):
    # HAProxy without splice as well: its copying holds up the streams.
    peers = ["nginx-tuned", "haproxy", "haproxy-splice"]
    return beside(options, "beside eight 64 MiB streams", "mode=get obj=64m conns=8", peers)


class Curve:
    """s3gate, nginx and the kernel's floor (src/floor.cpp) measured in turn, round by round over
    all rows: a slow minute of the machine affects every row."""

    NAMES = ("nginx-tuned", "s3gate", "floor")

    def __init__(self):
        self._found = collections.defaultdict(list)

    def measure(self, bench, key, load, seconds):
        for name in self.NAMES:
            # The first thread of s3gate does the checks and serves no request.
            pid = bench.proxies[name].pid
            before = accounting.thread_time(pid, pid)
            result = run(bench, name, f"mode=get obj=1k {load}", seconds)
            used = accounting.thread_time(pid, pid) - before
            result["first_thread_us"] = used / 1000 / max(result["requests"], 1)
            self._found[key, name].append(result)

    def row(self, key):
        results = {name: self._found[key, name] for name in self.NAMES}

        def median(name, figure="cpu_us"):
            return statistics.median(result[figure] for result in results[name])

        serving = [
            result["cpu_us"] - result["first_thread_us"] - least["cpu_us"]
            for result, least in zip(results["s3gate"], results["floor"])
        ]
        return {
            "CPU us/req": round(median("s3gate"), 2),
            "nginx-tuned": round(median("nginx-tuned"), 2),
            "ratio": round(median("s3gate") / median("nginx-tuned"), 2),
            "floor": round(median("floor"), 2),
            "health checks": round(median("s3gate", "first_thread_us"), 2),
            "the rest above the floor": round(statistics.median(serving), 2),
            "p50 us": round(median("s3gate", "p50_us")),
            "errors": sum(map(faults, results["s3gate"])),
            "nginx's": sum(map(faults, results["nginx-tuned"])),
            "floor's": sum(map(faults, results["floor"])),
        }


def backends(options):
    """Cost per request for a ring of 1 … 1,000 backends."""
    counts = (1, 10, 100, 1000)
    costs = Curve()
    for _ in range(options.rounds):
        for count in counts:
            with Stage(options, Curve.NAMES, origins=proxies.origins(count)) as bench:
                for name in Curve.NAMES:
                    run(bench, name, "mode=get obj=1k conns=64", 1)
                costs.measure(bench, count, "conns=64", options.seconds)
    return [{"backends": count, **costs.row(count)} for count in counts]


def connections(options):
    """Cost per request for 10 … 10,000 client connections that are all busy."""
    # Each busy connection has one to an origin.
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[0] // 2 - 300
    counts = (10, 100, 1000, min(10000, most))
    costs = Curve()
    with Stage(options, Curve.NAMES, connections=20000) as bench:
        for _ in range(options.rounds):
            for count in counts:
                # Long enough that connects are no part of the cost.
                seconds = max(options.seconds, 6 if count > 1000 else 0)
                costs.measure(bench, count, f"conns={count}", seconds)
    return [{"connections": count, **costs.row(count)} for count in counts]


def core_states(options):
    """Cost of small requests by the load of other programs on the contenders' core
    (src/coreprobe.cpp)."""
    names = ["nginx-tuned", "nginx-lua", "haproxy-splice", "floor", "s3gate"]
    names = [name for name in names if name != "nginx-lua" or not proxies.why_missing(name)]
    more = ["--workloads", "get-1k,put-1k", "--rounds", str(8 * options.rounds)]
    more += ["--secs", str(min(options.seconds, 0.5))]
    more += ["--workers", "1"]  # a worker that is not pinned has no core to measure
    with Stage(options, names, more) as bench:
        runs = compare.run_all(bench, bench.arguments, needs_all=True)
    compare.note_slowed(runs)
    rows = []
    for workload in bench.arguments.workloads:
        for state, (limit, figures) in compare.by_core(runs, workload).items():
            for name, (cost, count) in figures.items():
                ours = figures.get("s3gate")
                rows.append(
                    {
                        "workload": workload,
                        "runs by `slowed`": f"{state}, limit {limit:.2f}",
                        "proxy": name,
                        "CPU us/req": round(cost, 1),
                        "s3gate / this": round(ours[0] / cost, 3) if ours else "-",
                        "runs": count,
                        "errors in all": sum(map(faults, runs[name][workload])),
                    }
                )
    return rows


def tasks_that_work(bench, name):
    """Threads that serve: those that use processor time under a small load."""
    tasks = [
        (pid, int(tid))
        for pid in accounting.process_tree(bench.proxies[name].pid)
        for tid in os.listdir(f"/proc/{pid}/task")
    ]
    before = {task: accounting.thread_time(*task) for task in tasks}
    run(bench, name, "mode=get obj=1k conns=64", 0.5)
    used = {task: accounting.thread_time(*task) - before[task] for task in tasks}
    return [tid for (_, tid), time_used in used.items() if time_used > sum(used.values()) / 20]


def scale(options):
    """Requests a second with one worker and with two, each limited to a quarter of a processor, so
    origins and load generator never limit them. One after the other on one machine."""
    period = 10_000_000  # ns
    names = [*PEERS, "s3gate"]
    found = collections.defaultdict(list)
    for _ in range(options.rounds):
        for name in names:
            for workers in (1, 2):
                few = type(options)(**{**vars(options), "workers": workers})
                with Stage(few, [name], more=["--unpinned"]) as bench:
                    tasks = tasks_that_work(bench, name)
                    if len(tasks) != workers:
                        raise RuntimeError(f"{name}: {len(tasks)} threads work, not {workers}")
                    for task in tasks:
                        command = ["chrt", "--deadline", "--sched-runtime", period // 4]
                        command += ["--sched-deadline", period, "--sched-period", period]
                        subprocess.check_call(list(map(str, [*command, "--pid", 0, task])))
                    load = "mode=get obj=1k conns=64"
                    found[name, workers].append(run(bench, name, load, 2 * options.seconds))
    rows = []
    for name in names:
        one, two = (
            {
                key: statistics.median(result[key] for result in found[name, workers])
                for key in ("rps", "cpu_us")
            }
            for workers in (1, 2)
        )
        ratios = [b["rps"] / a["rps"] for a, b in zip(found[name, 1], found[name, 2])]
        rows.append(
            {
                "each worker a quarter of a core": name,
                "req/s, one": round(one["rps"]),
                "req/s, two": round(two["rps"]),
                "two / one": round(statistics.median(ratios), 2),
                "CPU us/req, one": round(one["cpu_us"], 2),
                "CPU us/req, two": round(two["cpu_us"], 2),
                "errors": sum(faults(result) for w in (1, 2) for result in found[name, w]),
            }
        )
    return rows


def constant_rate(options):
    """Latency that a proxy adds, in open loop: at half the rate of the slowest contender, and at
    half the rate of s3gate."""
    names = [*PEERS, "s3gate"]
    rows = []
    with Stage(options, [*names, "direct"]) as bench:
        peaks = {
            name: statistics.median(
                run(bench, name, "mode=get obj=1k conns=64", options.seconds)["rps"]
                for _ in range(3)
            )
            for name in names
        }
        for rate in (int(min(peaks.values()) / 2), int(peaks["s3gate"] / 2)):
            rows += at_constant_rate(bench, ["direct", *names], rate, options)
    return rows


def at_constant_rate(bench, names, rate, options):
    load = f"mode=get obj=1k conns=256 rate={rate}"
    rounds = collections.defaultdict(list)
    for _ in range(options.rounds):
        for name in names:
            bench.settle()
            # Enough samples beyond the last of the percentiles.
            rounds[name].append(run(bench, name, load, 4 * options.seconds))
    results = {
        name: {key: statistics.median(one[key] for one in found) for key in found[0]}
        for name, found in rounds.items()
    }
    rows = []
    for name, result in results.items():
        row = {"requests/s": rate, "proxy": name}
        for key, title in (("p50_us", "p50 us"), ("p99_us", "p99 us"), ("p999_us", "p99.9 us")):
            added = result[key] - results["direct"][key]
            row[title] = round(result[key]) if name == "direct" else f"{round(added):+d}"
        row["errors"] = faults(result)
        rows.append(row)
    return rows


def fullest_of_simulation(workers, count, seed):
    """The kernel spreads at random; a worker above 25 % + 4 hands over to the least loaded one."""
    chance = random.Random(seed)
    held = [0] * workers
    for _ in range(count):
        worker = chance.randrange(workers)
        mean = sum(held) // workers
        if held[worker] + 1 > mean + mean // 4 + 4:
            worker = held.index(min(held))
        held[worker] += 1
    return max(held)


def balance(options):
    """Long-lived connections over workers: the real ones on two, a simulation on sixteen."""
    rows = []
    options = type(options)(**{**vars(options), "workers": 2})
    with Stage(options, ["s3gate"]) as bench:
        command = bench.generator("s3gate", 1, "mode=idle obj=1k conns=64 hold=3")
        generator = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        generator.stdout.readline()
        proxy = bench.proxies["s3gate"]
        root = [
            pid
            for pid in accounting.process_tree(proxy.pid)
            if os.readlink(f"/proc/{pid}/exe").endswith("s3gate")
        ][0]
        counts = accounting.connections_of_workers(root, proxy.port)
        generator.communicate(timeout=60)
        mean = sum(counts) / 2
        rows.append(
            {
                "connections on workers": "64 on 2, measured",
                "fullest": max(counts),
                "mean": round(mean, 1),
                "allowed": round(1.25 * mean + 4, 1),
            }
        )
    for count in (64, 256, 1024, 10000):
        mean = count / 16
        rows.append(
            {
                "connections on workers": f"{count} on 16, worst of 1,000 simulations",
                "fullest": max(fullest_of_simulation(16, count, seed) for seed in range(1000)),
                "mean": round(mean, 1),
                "allowed": round(1.25 * mean + 4, 1),
            }
        )
    return rows


ALL = collections.OrderedDict(
    core=core_states,
    crowds=crowds,
    idle=beside_idle,
    streams=beside_streams,
    backends=backends,
    connections=connections,
    scale=scale,
    rate=constant_rate,
    balance=balance,
)
