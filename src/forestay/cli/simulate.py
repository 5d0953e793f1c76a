"""`forestay simulate`: forestay on simulated traffic, beside its peers and the limit of what can be known."""

import os
import shlex
import sys
import time
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from forestay.cli.failure import CommandFailed, ExitCode
from forestay.settings.directories import cache_directory

if TYPE_CHECKING:
    from rich.console import Console

    from forestay.simulation.cache import Cache
    from forestay.simulation.report import About
    from forestay.simulation.scenario import Scenario
    from forestay.simulation.study import Study

INTERRUPTED = 130
"""Exit code after Ctrl-C, as shells expect it."""

REPORT_COLUMNS = 100
"""That the tables need."""
SEEDS = 3
MINUTES = 10.0
"""Of a run that nobody says more about: enough for an impression. The whole matrix runs longer."""

QUICK_SEEDS, QUICK_MINUTES = 2, 6.0
"""Of --quick."""


def simulate(
    scenarios: Annotated[
        list[str] | None,
        typer.Argument(metavar="[SCENARIO]...", help="Names (see --list) or TOML files. Default: a varied handful."),
    ] = None,
    list_all: Annotated[bool, typer.Option("--list", help="List the scenarios and policies, and stop.")] = False,
    policies: Annotated[
        str, typer.Option("--policies", metavar="NAME,...", help="Who takes part. Default: everybody.")
    ] = "",
    seeds: Annotated[
        int | None, typer.Option("--seeds", min=1, max=10_000, help=f"Runs of each scenario; default {SEEDS}.")
    ] = None,
    minutes: Annotated[
        float | None,
        typer.Option("--minutes", min=0.1, max=1440.0, help=f"Simulated length of a run; default {MINUTES:g}."),
    ] = None,
    random: Annotated[
        int,
        typer.Option("--random", metavar="N", min=0, max=100_000, help="Draw N scenarios from the space of worlds."),
    ] = 0,
    first: Annotated[
        int, typer.Option("--first", metavar="K", min=0, help="Number of the first one drawn: others are other worlds.")
    ] = 0,
    trace: Annotated[
        Path | None,
        typer.Option("--trace", metavar="FILE", help="Replay recorded arrivals: CSV or parquet with a time column."),
    ] = None,
    ablate: Annotated[
        bool, typer.Option("--ablate", help="Tell forestay the truth piece by piece: what does each piece lose?")
    ] = False,
    quick: Annotated[
        bool, typer.Option("--quick", help="Fewer and shorter runs: under five minutes on two cores.")
    ] = False,
    everything: Annotated[
        bool, typer.Option("--all", help="The whole matrix: every scenario and 100 drawn ones, many seeds. Hours.")
    ] = False,
    json_path: Annotated[
        Path | None, typer.Option("--json", metavar="FILE", help="Write everything there, as JSON.")
    ] = None,
    html_path: Annotated[
        Path | None,
        typer.Option("--html", metavar="FILE", help="Write a page with plots there (needs the extra: plots)."),
    ] = None,
    jobs: Annotated[
        int | None, typer.Option("--jobs", min=1, max=256, help="Processes; default: one per core.")
    ] = None,
    no_cache: Annotated[bool, typer.Option("--no-cache", help="Compute everything anew, and keep nothing.")] = False,
) -> None:
    """Judge placement rules on simulated traffic: forestay, its peers, and the limit of what can be known.

    Every policy meets the same arrivals. The same command gives the same figures, on any machine; results are kept, so
    that a run that was stopped goes on where it was and a second one is instant.

    [bold]Examples[/bold]

    A first look: [bold]forestay simulate --quick[/bold]

    One scenario, and a page of plots: [bold]forestay simulate periodic15 --seeds 10 --html page.html[/bold]

    A scenario of your own: [bold]forestay simulate mine.toml --policies forestay,least_connections[/bold]

    Your recorded traffic: [bold]forestay simulate --trace arrivals.csv[/bold]

    Worlds that nobody has seen: [bold]forestay simulate --random 10 --first 1000[/bold]

    What is left to learn: [bold]forestay simulate ramp10 --ablate[/bold]
    """
    for library in ("OPENBLAS", "OMP", "MKL"):
        os.environ.setdefault(f"{library}_NUM_THREADS", "1")  # one process per core: threads would only wait
    from rich.console import Console

    from forestay.simulation.cache import Cache
    from forestay.simulation.contenders import ABLATED, STANDARD
    from forestay.simulation.study import PILOT, Study, shortened, whole

    # Into a file or a pipe nobody can widen the tables afterwards: as wide as they are made for.
    console = Console(highlight=False, width=None if sys.stdout.isatty() else REPORT_COLUMNS)
    if list_all:
        _list(console)
        return
    _check_paths(json_path, html_path)
    if first and not random:
        raise CommandFailed("--first: say with --random N how many to draw", ExitCode.USAGE)
    if everything and (scenarios or trace or first or quick):
        raise CommandFailed(
            "--all: leave out scenarios, --trace, --first and --quick; it runs them all", ExitCode.USAGE
        )
    if everything:
        chosen, length = whole(seeds, random or None), minutes
    else:
        worlds = _worlds(scenarios or [], random, first, trace)
        chosen = dict.fromkeys(worlds, seeds or (QUICK_SEEDS if quick else SEEDS))
        length = minutes or (QUICK_MINUTES if quick else MINUTES)
    named = tuple(name.strip() for name in policies.split(",")) if policies else ABLATED if ablate else STANDARD
    study = Study(shortened(chosen, length), named, PILOT if everything else None)
    cache = None if no_cache else Cache(cache_directory(os.environ) / "simulations")
    _run(study, console, cache, jobs or len(os.sched_getaffinity(0)), json_path, html_path)


def _worlds(scenarios: Sequence[str], random: int, first: int, trace: Path | None) -> "list[Scenario]":
    """What is named, drawn and recorded; a handful where nothing is."""
    from forestay.simulation.scenario import Replay, Scenario
    from forestay.simulation.study import QUICK, drawn

    found = [Scenario.load(name) if name.endswith(".toml") else Scenario.named(name) for name in scenarios]
    if trace is not None:
        if len(found) > 1:
            raise CommandFailed("--trace: name one scenario at most, for the servers it is replayed on", ExitCode.USAGE)
        servers = found[0] if found else Scenario(name=trace.stem)
        found = [servers.model_copy(update={"name": trace.stem, "replay": Replay(path=str(trace))})]
    found += drawn(random, first)
    return found or [Scenario.named(name) for name in QUICK]


def _run(
    study: "Study",
    console: "Console",
    cache: "Cache | None",
    jobs: int,
    json_path: Path | None,
    html_path: Path | None,
) -> None:
    from forestay.simulation.progress import ProgressBar
    from forestay.simulation.report_page import page, pictured
    from forestay.simulation.report_table import show

    bar = ProgressBar(console)
    try:
        with bar:
            report = study.run(_about(study), cache, jobs, bar)
            timed = study.run_timed(pictured(report.standings), cache, jobs, bar) if html_path else {}
    except KeyboardInterrupt:
        kept = f"kept in {cache.directory}: the same command goes on from there" if cache else "not kept"
        console.print(f"interrupted; {bar.ended} runs have ended and are {kept}", soft_wrap=True)
        raise typer.Exit(INTERRUPTED) from None
    show(report, console)
    if json_path is not None:
        json_path.write_text(report.as_json(), encoding="utf-8")
    if html_path is not None:
        html_path.write_text(page(report, timed), encoding="utf-8")
        console.print(f"page: {html_path}", soft_wrap=True)


def _about(study: "Study") -> "About":
    from forestay.simulation.report import About

    return About(
        command=shlex.join(["forestay", *sys.argv[1:]]),
        version=version("forestay"),
        date=time.strftime("%Y-%m-%d"),
        seeds=study.seeds_range,
        minutes=study.minutes_range,
    )


def _list(console: "Console") -> None:
    """Scenarios with their descriptions, then policies."""
    from rich.table import Table

    from forestay.simulation.contenders import CONTENDERS
    from forestay.simulation.report_table import ROLE_LABELS
    from forestay.simulation.scenario import Scenario, names

    table = Table("scenario", "what is hard there", box=None, padding=(0, 2, 0, 0))
    for name in names():
        table.add_row(name, Scenario.named(name).description)
    console.print(table)
    console.print()
    table = Table("policy", "", "what it does", box=None, padding=(0, 2, 0, 0))
    for contender in CONTENDERS.values():
        table.add_row(contender.name, ROLE_LABELS[contender.role], contender.about)
    console.print(table)


def _check_paths(json_path: Path | None, html_path: Path | None) -> None:
    """Find out before the runs, not after them."""
    for option, path in (("--json", json_path), ("--html", html_path)):
        if path is not None and not path.absolute().parent.is_dir():
            raise CommandFailed(
                f"{option} {path}: there is no directory {path.absolute().parent}; make it first", ExitCode.USAGE
            )
    if html_path is not None:
        from forestay.simulation.report_plots import require

        require()
