"""The relay beside HAProxy, nginx and Envoy: cost per request, connection and megabyte, memory, added latency.

    python -m benchmarks.relay [--quick] [--repeats 5] [--json FILE]

Every proxy has one process or one worker thread, relays TCP without splice to the same four ports, and is measured in
turn, several times over, so that what else the machine does hits all alike. Placement and registration are on in
forestay (a real `forestay serve`, registry on SQLite), whose control process is counted apart.

CPU per operation is user and system time of the proxy's processes over the whole of a run. Rates say what came through
on this machine: the proxy has a core of its own, load and servers (and forestay's control process) share the others.
Where "busy", the share of its core that a proxy used, is well under 100 %, they were the bottleneck and not the proxy.
"""

import argparse
import statistics
import sys
import tempfile
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from benchmarks.contenders import contenders
from benchmarks.processes import BenchmarkFailed, end_on_sigterm, machine
from benchmarks.relay_runs import (
    CONNECTIONS,
    DOWNLOAD,
    KEEP_ALIVE,
    LATENCY,
    PHASES,
    UPLOAD,
    Bench,
    Idle,
    Phase,
    Sample,
    Samples,
    divide_cpus,
)
from benchmarks.verdicts import Verdict, console, print_verdicts, write_json

PEER = "haproxy"
"""Whom the verdicts are about."""


def main() -> None:
    """Measure, print, judge."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=5, help="interleaved; medians are of these (default 5)")
    parser.add_argument("--idle", type=int, default=4000, help="idle connections to measure memory with")
    parser.add_argument("--quick", action="store_true", help="short runs, two repeats: to see that it works")
    parser.add_argument("--json", type=Path, help="write everything measured here")
    options = parser.parse_args()
    if options.quick:
        options.repeats, options.idle = min(options.repeats, 2), min(options.idle, 1000)
    if options.repeats < 1 or not 100 <= options.idle <= 8000:
        parser.error("--repeats: at least 1; --idle: 100 to 8000")
    out = console()
    end_on_sigterm()
    try:
        measure_and_report(out, options.repeats, options.idle, options.quick, options.json)
    except BenchmarkFailed as error:
        sys.exit(f"benchmarks.relay: {error}")
    except KeyboardInterrupt:
        sys.exit("benchmarks.relay: interrupted; all processes were ended")


def measure_and_report(out: Console, repeats: int, idle: int, quick: bool, file: Path | None) -> None:
    """Measure every contender that is installed."""
    about = machine()
    cpus = divide_cpus()
    pinned = (
        f"proxy on core {cpus.proxy[0]}, everything else on {list(cpus.rest)}" if cpus.proxy else "one core for all"
    )
    out.print(f"{about}\n{pinned}; {repeats} interleaved repeats, medians; 64-byte messages, bulk by 8 MB")
    present = []
    for contender in contenders():
        if contender.missing:
            out.print(f"[bold red]{contender.name} IS NOT INSTALLED AND LEFT OUT[/]; to have it: {contender.missing}")
        else:
            present.append(contender)
    with (
        tempfile.TemporaryDirectory(prefix="forestay-bench-") as name,
        Progress(console=out, transient=True) as progress,
    ):
        bench = Bench(Path(name), cpus, quick, progress)
        samples = bench.throughput(present, repeats)
        memory = bench.memory(present, idle, min(repeats, 3))
    print_samples(out, samples)
    print_memory(out, memory, idle)
    verdicts = judge(samples, memory)
    print_verdicts(out, verdicts)
    write_json(
        file,
        verdicts,
        machine=about,
        samples=[
            {"contender": key[0], "phase": key[1], "runs": [asdict(s) for s in runs]} for key, runs in samples.items()
        ],
        idle={contender: [asdict(one) for one in runs] for contender, runs in memory.items()},
    )


def print_samples(out: Console, samples: Samples) -> None:
    """Medians, one table for each phase."""
    for phase in PHASES:
        unit = phase.unit
        if not any(title == phase.title for _, title in samples):
            continue
        table = Table(
            "", f"{unit}s/s" if unit != "MB" else "MB/s", f"us/{unit}", "lowest..highest", "control us", "busy",
            "p50 us", "p99 us", "errors", title=phase.title, title_justify="left",
        )  # fmt: skip
        for (name, title), runs in samples.items():
            if title == phase.title:
                cpu = [run.cpu_us for run in runs]
                proxy = name != "direct"
                table.add_row(
                    name,
                    f"{median(runs, lambda run: run.rate):,.0f}",
                    f"{statistics.median(cpu):.1f}" if proxy else "",
                    f"{min(cpu):.1f}..{max(cpu):.1f}" if proxy else "",
                    f"{median(runs, lambda run: run.control_us):.1f}" if name == "forestay" else "",
                    f"{median(runs, lambda run: run.busy):.0%}" if proxy else "",
                    f"{median(runs, lambda run: run.p50_us):,.0f}",
                    f"{median(runs, lambda run: run.p99_us):,.0f}",
                    str(sum(run.errors for run in runs)),
                )
        out.print(table)


def print_memory(out: Console, memory: dict[str, list[Idle]], connections: int) -> None:
    """Medians."""
    title = f"private memory per connection, {connections:,} idle ones, proxy just started"
    table = Table("", "KiB", "lowest..highest", "control KiB", title=title, title_justify="left")
    for name, runs in memory.items():
        carriers = [run.carriers_kib for run in runs]
        control = statistics.median(run.control_kib for run in runs)
        table.add_row(
            name,
            f"{statistics.median(carriers):.2f}",
            f"{min(carriers):.2f}..{max(carriers):.2f}",
            f"{control:.2f}" if name == "forestay" else "",
        )
    out.print(table)


def judge(samples: Samples, memory: dict[str, list[Idle]]) -> list[Verdict]:
    """What was asked of the relay: ratios of medians, then the lowest and highest ratio within one repeat."""

    def compare(what: str, phase: Phase, value: Callable[[Sample], float], limit: str, bound: float) -> Verdict:
        ours, theirs = samples["forestay", phase.title], samples.get((PEER, phase.title))
        asked = f"{limit} {bound:g} x HAProxy"
        if not theirs:
            return Verdict(what, asked, "HAProxy is not installed", None)
        ratio = median(ours, value) / median(theirs, value)
        within = sorted(value(a) / value(b) for a, b in zip(ours, theirs, strict=True))
        measured = f"{ratio:.2f} x ({median(ours, value):,.1f} / {median(theirs, value):,.1f})"
        measured += f", repeats {within[0]:.2f}..{within[-1]:.2f}"
        return Verdict(what, asked, measured, ratio <= bound if limit == "<=" else ratio >= bound)

    def carried(sample: Sample) -> float:
        return sample.cpu_us

    def everything(sample: Sample) -> float:
        return sample.cpu_us + sample.control_us

    def rate(sample: Sample) -> float:
        return sample.rate

    idle = statistics.median(one.carriers_kib for one in memory["forestay"])
    with_control = statistics.median(one.carriers_kib + one.control_kib for one in memory["forestay"])
    ours, alone = samples["forestay", LATENCY.title], samples["direct", LATENCY.title]
    added = [median(ours, quantile) - median(alone, quantile) for quantile in (lambda s: s.p50_us, lambda s: s.p99_us)]
    errors = sum(run.errors for phase in PHASES for run in samples["forestay", phase.title])
    return [
        compare("CPU per keep-alive request", KEEP_ALIVE, carried, "<=", 1.05),
        compare("the same with the control process", KEEP_ALIVE, everything, "<=", 1.05),
        compare("keep-alive requests/s, goal", KEEP_ALIVE, rate, ">=", 0.95),
        compare("keep-alive requests/s, floor", KEEP_ALIVE, rate, ">=", 0.85),
        compare("connections/s", CONNECTIONS, rate, ">=", 0.7),
        compare("download MB/s", DOWNLOAD, rate, ">=", 1.5),
        compare("upload MB/s", UPLOAD, rate, ">=", 1.5),
        compare("CPU per MB downloaded", DOWNLOAD, carried, "<=", round(1 / 1.5, 3)),
        compare("CPU per MB uploaded", UPLOAD, carried, "<=", round(1 / 1.5, 3)),
        Verdict("memory per idle connection, worker", "<= 4 KiB", f"{idle:.2f} KiB", idle <= 4),
        Verdict("the same with the control process", "<= 4 KiB", f"{with_control:.2f} KiB", with_control <= 4),
        Verdict("refused, reset or cut by forestay", "0", str(errors), errors == 0),
        Verdict("added latency, one client", "(to be told)", f"p50 {added[0]:.0f} us, p99 {added[1]:.0f} us", None),
    ]


def median(runs: list[Sample], value: Callable[[Sample], float]) -> float:
    """Of one figure over the repeats."""
    return statistics.median(value(run) for run in runs)


if __name__ == "__main__":
    main()
