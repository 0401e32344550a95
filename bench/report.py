#!/usr/bin/python3
"""Everything that docs/bench-tables.md shows, in one go: a side-by-side table, two workers, and
the situations of situations.py. Writes the tables between the markers of docs/bench-tables.md and
plots below docs/img/. Run it through scripts/bench, which builds first and gives it a network of
its own.
"""

import argparse
import datetime
import functools
import json
import os
import pathlib
import subprocess
import sys
import tempfile

import situations
from compare import end_tidily

HERE = pathlib.Path(__file__).resolve().parent
PAGE = HERE.parent / "docs" / "bench-tables.md"
IMAGES = HERE.parent / "docs" / "img"
BEGIN, END = "<!-- scripts/bench: begin -->", "<!-- scripts/bench: end -->"
CONTENDERS = ["nginx", "nginx-tuned", "haproxy-splice", "s3gate"]
WORKLOADS = (
    "idle get-1k get-64k get-1m get-64m put-1k put-64k put-1m put-64m get-chunked-64k "
    "put-chunked-64k close-1k mixed"
).split()
COLOURS = ["#9aa5b1", "#52606d", "#d9822b", "#1f7a8c"]
CURVES = {  # columns of the tables by backends and by connections
    "nginx-tuned": ("nginx-tuned", COLOURS[1]),
    "CPU us/req": ("s3gate", COLOURS[3]),
    "floor": ("kernel's floor", COLOURS[2]),
}


def svg(width, height, parts):
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
        f'width="{width}" height="{height}" font-family="sans-serif" font-size="12">'
        f'<rect width="{width}" height="{height}" fill="white"/>'
    )
    return head + "".join(parts) + "</svg>\n"


def text(x, y, words, anchor="start", more=""):
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" {more}>{words}</text>'


def plot_bars(title, groups, names):
    """groups: {workload: {name: value}}; one bar each, in units of the first name."""
    width, left, top, bar = 760, 130, 60, 13
    step = bar * len(names) + 12
    height = top + step * len(groups) + 20
    most = max(max(values.values()) for values in groups.values())
    scale = (width - left - 60) / most
    parts = [text(10, 22, title, more='font-size="15"')]
    for index, name in enumerate(names):
        x = left + index * 150
        parts.append(f'<rect x="{x}" y="34" width="12" height="12" fill="{COLOURS[index]}"/>')
        parts.append(text(x + 17, 45, name))
    for row, (workload, values) in enumerate(groups.items()):
        y = top + row * step
        parts.append(text(left - 8, y + step / 2, workload, "end"))
        for index, name in enumerate(names):
            if name not in values:
                continue
            length = values[name] * scale
            at = y + index * bar
            parts.append(
                f'<rect x="{left}" y="{at:.1f}" width="{length:.1f}" height="{bar - 2}" '
                f'fill="{COLOURS[index]}"/>'
            )
            parts.append(text(left + length + 4, at + bar - 3, f"{values[name]:.2f}"))
    return svg(width, height, parts)


def plot_lines(title, rows, label, columns):
    """rows of a table; `label`: the column with the counts, a factor of ten apart; `columns`:
    {column: (name, colour)}."""
    width, height, left, bottom = 640, 300, 60, 260
    most = 1.15 * max(row[column] for row in rows for column in columns)
    xs = [left + 40 + i * (width - left - 190) / (len(rows) - 1) for i in range(len(rows))]
    parts = [
        text(10, 22, title, more='font-size="15"'),
        f'<path d="M{left} 45V{bottom}H{width - 130}" stroke="#52606d" fill="none"/>',
        text((left + width - 130) / 2, height - 6, label, "middle"),
    ]
    parts += [text(x, bottom + 17, f"{row[label]:,}", "middle") for row, x in zip(rows, xs)]
    for column, (name, colour) in columns.items():
        ys = [bottom - row[column] / most * (bottom - 50) for row in rows]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in zip(xs, ys))
        parts.append(f'<polyline points="{path}" stroke="{colour}" stroke-width="2" fill="none"/>')
        for row, x, y in zip(rows, xs, ys):
            parts.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3.5" fill="{colour}"/>')
            parts.append(text(x, y - 9, f"{row[column]:.1f}", "middle"))
        parts.append(text(xs[-1] + 12, ys[-1] + 4, name, more=f'fill="{colour}"'))
    return svg(width, height, parts)


def table(rows):
    names = list(rows[0])
    lines = ["| " + " | ".join(names) + " |", "|" + "---|" * len(names)]
    lines += ["| " + " | ".join(str(row.get(name, "")) for name in names) + " |" for row in rows]
    return "\n".join(lines)


def compare(options, workers, workloads, contenders):
    """One run of compare.py: its summary."""
    with tempfile.NamedTemporaryFile(suffix=".json") as file:
        command = [HERE / "compare.py", "--json", file.name, "--s3gate", options.s3gate]
        command += ["--only", ",".join(contenders), "--workloads", ",".join(workloads)]
        command += ["--rounds", str(options.rounds), "--secs", str(options.seconds)]
        command += ["--workers", str(workers), "--user", options.user]
        bench = subprocess.Popen(list(map(str, command)), stdout=subprocess.PIPE, text=True)
        try:
            output = bench.communicate()[0]
        except BaseException:
            bench.terminate()  # not killed: it must end its contenders
            bench.wait()
            raise
        if bench.returncode != 0:
            raise RuntimeError(f"compare.py ended with {bench.returncode}\n{output}")
        return json.load(open(file.name, encoding="utf-8"))


def cost_of(figures, workload):
    """(value, unit): per byte if bodies cause the cost."""
    if workload == "idle":
        return figures["idle_rss_kib_conn"], "KiB/conn"
    if workload.endswith("m") or workload == "mixed":
        return figures["cpu_s_gib"], "CPU s/GiB"
    return figures["cpu_us"], "CPU us/req"


def side_by_side(summary, workloads, contenders):
    rows, ratios = [], {}
    for workload in workloads:
        base = summary["s3gate"].get(workload)
        if base is None:
            continue
        for name in contenders:
            figures = summary.get(name, {}).get(workload)
            if figures is None:
                continue
            value, unit = cost_of(figures, workload)
            ours = cost_of(base, workload)[0]
            ratios.setdefault(workload, {})[name] = value / ours if ours else 0
            row = {"workload": workload, "proxy": name, "cost": f"{value:.3f} {unit}"}
            row["s3gate / this"] = f"{ours / value:.2f}" if value else "-"
            if workload != "idle":
                row.update(
                    {
                        "req/s": f"{figures['rps']:.0f}",
                        "p50 us": f"{figures['p50_us']:.0f}",
                        "p99 us": f"{figures['p99_us']:.0f}",
                        "util": f"{figures['util']:.2f}",
                        "foreign": f"{figures['foreign']:.2f}",
                    }
                )
            row["errors"] = figures["errors"]
            rows.append(row)
    order = "workload,proxy,cost,s3gate / this,req/s,p50 us,p99 us,util,foreign,errors".split(",")
    return [{key: row.get(key, "") for key in order} for row in rows], ratios


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__)
    add = parser.add_argument
    add("--s3gate", required=True)
    add("--quick", action="store_true", help="one short round: does it all work?")
    add("--rounds", type=int)
    add("--secs", type=float, dest="seconds")
    add("--workers", type=int, default=1)
    add("--user", default="nobody")
    add("--only", help="comma list of table,workers," + ",".join(situations.ALL))
    add("--workloads", default=",".join(WORKLOADS))
    add("--stdout", action="store_true", help="print the section instead of writing the page")
    options = parser.parse_args()
    options.rounds = options.rounds or (1 if options.quick else 5)
    options.seconds = options.seconds or (0.3 if options.quick else 1.5)
    options.only = options.only.split(",") if options.only else list(PARTS)
    unknown = set(options.only) - set(PARTS)
    if unknown:
        parser.error(f"unknown: {', '.join(sorted(unknown))}")
    return options


def side_by_side_part(options):
    workloads = options.workloads.split(",")
    document = compare(options, 1, workloads, CONTENDERS)
    rows, ratios = side_by_side(document["summary"], workloads, CONTENDERS)
    plot = plot_bars("Cost, in units of s3gate's", ratios, CONTENDERS)
    lines = ["![cost beside others](img/side-by-side.svg)\n", table(rows), ""]
    return lines, {"side-by-side": plot}


def workers_part(options):
    workloads = options.workloads.split(",")
    some = [name for name in ("get-1k", "put-1k", "get-64m") if name in workloads]
    document = compare(options, 2, some, CONTENDERS)
    rows, _ = side_by_side(document["summary"], some, CONTENDERS)
    return ["Two workers, nothing pinned:\n", table(rows), ""], {}


def situation_part(name, options):
    rows = situations.ALL[name](options)
    if name not in ("backends", "connections"):
        return [table(rows), ""], {}
    plot = plot_lines(f"CPU us per 1 KiB GET by {name}", rows, name, CURVES)
    return [f"![cost by {name}](img/{name}.svg)\n", table(rows), ""], {name: plot}


PARTS = {"table": side_by_side_part, "workers": workers_part} | {
    name: functools.partial(situation_part, name) for name in situations.ALL
}


def measure(options):
    """The section's lines, the plots by name, and the parts that failed."""
    lines, plots, failed = [], {}, []
    begun = datetime.datetime.now().strftime("%Y-%m-%d")
    lines.append(
        f"Taken on {begun} with `scripts/bench`: Linux {os.uname().release}, {os.cpu_count()} "
        f"cores, one worker pinned to core 0, origins and generator on core 1, access log on, "
        f"s3gate as `{options.user}`, medians of {options.rounds} rounds of {options.seconds} s.\n"
    )
    for name, part in PARTS.items():
        if name not in options.only:
            continue
        print(f"{name} …", file=sys.stderr, flush=True)
        try:
            part_lines, part_plots = part(options)
        except (RuntimeError, OSError, ValueError, subprocess.SubprocessError) as error:
            # The results of the other parts are kept.
            print(f"! {name}: {error}", file=sys.stderr)
            lines.append(f"**{name}: no figures**\n")
            failed.append(name)
            continue
        lines += part_lines
        plots |= part_plots
    return lines, plots, failed


def write_page(section, plots):
    IMAGES.mkdir(exist_ok=True)
    for name, drawing in plots.items():
        (IMAGES / f"{name}.svg").write_text(drawing)
    page = PAGE.read_text()
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    PAGE.write_text(f"{before}{BEGIN}\n{section}{END}{after}")


def main():
    options = parse_arguments()
    end_tidily()
    lines, plots, failed = measure(options)
    section = "\n".join(lines).rstrip() + "\n"
    if options.stdout:
        print(section)
    else:
        write_page(section, plots)
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
