"""Placement in simulation: forestay beside its peers and the causal limit, and what is asked of it.

    python -m benchmarks.placement [SCENARIO ...] [--seeds 20] [--random 100] [--minutes M] [--policies NAME,...]
                                   [--jobs N] [--no-cache] [--results DIR]

Without SCENARIOs: every named scenario, and as many drawn ones with five seeds at most. Results of runs are cached, so
that it goes on where it was stopped, and runs again only what an edit can have changed. Writes placement.json and
placement.md into DIR. Exit code 0 only if every figure holds; the last line says in words which ones do not.
"""

import os

for _library in ("OPENBLAS", "OMP", "MKL"):
    os.environ.setdefault(f"{_library}_NUM_THREADS", "1")  # before numpy is loaded: one process per core is enough

# ruff: noqa: E402 # the imports below load numpy
import argparse
import json
import shlex
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

from benchmarks.verdicts import console
from forestay.settings.directories import cache_directory
from forestay.simulation.cache import Cache
from forestay.simulation.contenders import CANDIDATE, STANDARD
from forestay.simulation.progress import ProgressBar
from forestay.simulation.report import About, Report
from forestay.simulation.report_table import show, summary
from forestay.simulation.scenario import Scenario
from forestay.simulation.study import PILOT, Study, shortened, whole
from forestay.simulation.verdicts import Verdict

RESULTS = Path(__file__).parent / "results"

DIGEST_MINUTES = 2.0
"""Of the runs that are compared under two PYTHONHASHSEEDs."""


def main() -> int:
    options = parse()
    out = console()
    seeds = whole(options.seeds, options.random)
    if options.scenarios:
        seeds = dict.fromkeys(map(Scenario.named, options.scenarios), options.seeds)
    study = Study(shortened(seeds, options.minutes), options.policies, pilot=PILOT)
    cache = None if options.no_cache else Cache(cache_directory(os.environ) / "simulations")
    try:
        with ProgressBar(out) as bar:
            report = study.run(about(study), cache, options.jobs, bar)
        hashed = hash_seed_verdict([scenario.name for scenario in seeds if not scenario.name.startswith("random:")])
    except KeyboardInterrupt:
        out.print("interrupted; what is done is kept, the same command goes on from there")
        return 130
    report = replace(report, verdicts=(*report.verdicts, hashed))
    show(report, out)
    options.results.mkdir(parents=True, exist_ok=True)
    (options.results / "placement.json").write_text(report.as_json(runs=False), encoding="utf-8")
    (options.results / "placement.md").write_text(markdown(report), encoding="utf-8")
    return 0 if all(verdict.holds is not False for verdict in report.verdicts) else 1


def parse() -> argparse.Namespace:
    assert __doc__ is not None
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("scenarios", nargs="*", metavar="SCENARIO", help="only these")
    parser.add_argument("--seeds", type=int, default=20, help="of each named scenario")
    parser.add_argument("--random", type=int, default=100, help="scenarios drawn")
    parser.add_argument("--minutes", type=float, help="of a run; default: as each scenario says")
    parser.add_argument("--policies", type=names, default=STANDARD, metavar="NAME,...", help="default: everybody")
    parser.add_argument("--jobs", type=int, default=len(os.sched_getaffinity(0)), help="processes")
    parser.add_argument("--no-cache", action="store_true", help="compute everything anew")
    parser.add_argument("--results", type=Path, default=RESULTS, help="directory for placement.json and placement.md")
    return parser.parse_args()


def names(policies: str) -> tuple[str, ...]:
    return tuple(policies.split(","))


def about(study: Study) -> About:
    return About(
        command=shlex.join(["python", "-m", "benchmarks.placement", *sys.argv[1:]]),
        version=version("forestay"),
        date=time.strftime("%Y-%m-%d"),
        seeds=study.seeds_range,
        minutes=study.minutes_range,
    )


def hash_seed_verdict(names: Sequence[str]) -> Verdict:
    """Whether forestay places alike whatever order Python's sets have."""
    first, second = (digests(names, hash_seed) for hash_seed in ("1", "2"))
    differing = tuple(name for name in names if first[name] != second[name])
    measured = f"differ: {', '.join(differing)}" if differing else f"{len(names)} scenarios: equal"
    return Verdict("digest under two PYTHONHASHSEEDs", "equal", measured, not differing, differing)


def digests(names: Sequence[str], hash_seed: str) -> dict[str, dict[str, str]]:
    """Of forestay's placements by scenario and seed, from a process of its own."""
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory, "runs.json")
        subprocess.run(
            [sys.executable, "-m", "forestay", "simulate", *names, "--policies", CANDIDATE, "--seeds", "1",
             "--minutes", str(DIGEST_MINUTES), "--no-cache", "--json", str(path)],
            env={**os.environ, "PYTHONHASHSEED": hash_seed}, stdout=subprocess.DEVNULL, check=True,
        )  # fmt: skip
        found: dict[str, dict[str, str]] = json.loads(path.read_text(encoding="utf-8"))["digests"]
        return found


def markdown(report: Report) -> str:
    """The figures for people who read the repository."""
    words = {True: "holds", False: "**short**", None: "not judged"}
    lines = ["# Placement in simulation", "", f"Made by `{report.about.command}`: {report.about.circumstances()}.", ""]
    lines += ["| Figure | Asked | | Measured |", "| --- | --- | --- | --- |"]
    lines += [f"| {v.what} | {v.asked} | {words[v.holds]} | {v.measured} |" for v in report.verdicts]
    lines += ["", summary(report.verdicts), ""]
    lines += ["| Scenario | Best reactive | Its delay | Limit | forestay | / best (95 %) | Gap closed (95 %) |"]
    lines += ["| --- | --- | --- | --- | --- | --- | --- |"]
    for standing in report.standings:
        delays = (f"{standing.delay[name].value:.3f}" if name else "-" for name in
                  (standing.best, standing.limit, standing.candidate))  # fmt: skip
        estimates = (
            "-" if interval is None else f"{interval.value:.3f} ({interval.low:.3f} to {interval.high:.3f})"
            for interval in (standing.ratio, standing.gap)
        )  # fmt: skip
        lines.append(f"| {' | '.join([standing.scenario, standing.best or '-', *delays, *estimates])} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(main())
