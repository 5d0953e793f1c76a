"""`forestay demo`: the scenario under each policy, the table, the verdict, and on request a JSON file and a picture."""

import json
import signal
import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from types import FrameType

from rich.console import Console

from forestay.demo import plot
from forestay.demo.arrivals import SEED, Arrival, committed, draw, write
from forestay.demo.children import ChildFailed
from forestay.demo.records import Run
from forestay.demo.run import run_policy
from forestay.demo.scenario import FULL, POLICIES, QUICK, Scenario
from forestay.demo.summary import Figures, figures, table, verdict
from forestay.demo.view import View
from forestay.model.errors import InvalidInput

STARVED_MAX_S = 5.0
"""Server-seconds without their CPU from which the figures are called in question: two in a hundred of a run."""

INTERRUPTED = 130
"""Exit code after Ctrl-C, as shells expect it."""


def run_demo(
    *,
    quick: bool = False,
    seed: int = SEED,
    json_path: Path | None = None,
    plot_path: Path | None = None,
    results: Path | None = None,
    policies: Sequence[str] = POLICIES,
    scenario: Scenario | None = None,
    console: Console | None = None,
) -> int:
    """Run the demo and return its exit code: 0 done, 1 a process failed, 130 interrupted.

    Args:
        quick: the first half minute of the arrivals instead of the whole minute.
        seed: of the arrivals (other than the default: drawn anew by the same law) and of forestay's choices.
        json_path: file that gets the figures.
        plot_path: file that gets the picture.
        results: directory for logs and records, must not exist or be empty; default: a new temporary one.
        policies: to run, in this order; the first is compared with the rest.
        scenario: what happens; default: as `quick` says.
        console: where to write; default: standard output.

    Raises:
        InvalidInput: a path cannot be used, or a picture is asked for without matplotlib; nothing was started.
    """
    console = console or Console()
    _check_paths(json_path, plot_path, results)
    directory = results or Path(tempfile.mkdtemp(prefix="forestay-demo-"))
    scenario = scenario or (QUICK if quick else FULL)
    previous = {number: signal.signal(number, _interrupt) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        runs = _run_all(scenario, _arrivals(seed), directory, seed, policies, console)
    except KeyboardInterrupt:
        console.print("interrupted; every process of the demo has been ended")
        return INTERRUPTED
    except ChildFailed as failure:
        console.print(f"the demo failed: {failure}", style="red", markup=False, highlight=False, soft_wrap=True)
        return 1
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
        console.print(f"logs and records: {directory}", highlight=False, soft_wrap=True)
    results_by_policy = [figures(run, scenario) for run in runs]
    _report(results_by_policy, console)
    if json_path is not None:
        json_path.write_text(_as_json(results_by_policy, scenario, seed), encoding="utf-8")
    if plot_path is not None:
        plot.draw(runs, scenario, plot_path)
    return 0


def _check_paths(json_path: Path | None, plot_path: Path | None, results: Path | None) -> None:
    """Find out before four minutes have passed, not after."""
    for option, path in (("--json", json_path), ("--plot", plot_path)):
        if path is not None and not path.absolute().parent.is_dir():
            raise InvalidInput(f"{option} {path}: there is no directory {path.absolute().parent}; make it first")
    if plot_path is not None:
        plot.require()
    if results is not None and results.exists() and (not results.is_dir() or any(results.iterdir())):
        raise InvalidInput(f"--results {results}: exists already; name a new or an empty directory")


def _run_all(
    scenario: Scenario, arrivals: list[Arrival], directory: Path, seed: int, policies: Sequence[str], console: Console
) -> list[Run]:
    directory.mkdir(parents=True, exist_ok=True)
    arrivals_path = directory / "arrivals.csv"
    with arrivals_path.open("w", encoding="utf-8") as out:
        write(arrivals, out)
    runs = []
    with View(console) as view:
        for number, policy in enumerate(policies, start=1):
            view.begin()
            run = run_policy(
                policy, scenario, arrivals_path, directory / policy, seed, view.show, (number, len(policies))
            )
            view.note(f"{policy}: done, {len(run.books.messages)} messages")
            runs.append(run)
    return runs


def _arrivals(seed: int) -> list[Arrival]:
    return committed() if seed == SEED else draw(seed)


def _report(results: Sequence[Figures], console: Console) -> None:
    console.print(table(results))
    loads = ", ".join(f"{result.policy} {result.load_mean:.2f}" for result in results)
    console.print(
        f"mean load of the living servers: {loads}; {results[0].messages} messages each",
        highlight=False,
        soft_wrap=True,
    )
    starved_s = max(result.starved_s for result in results)
    if starved_s > STARVED_MAX_S:
        console.print(
            f"this machine was too busy to give the servers their CPU for {starved_s:.0f} server-seconds of a run: "
            "the figures say little; close other programs and try again",
            style="yellow",
            soft_wrap=True,
        )
    if len(results) > 1:
        console.print(verdict(results), markup=False, highlight=False, soft_wrap=True)


def _as_json(results: Sequence[Figures], scenario: Scenario, seed: int) -> str:
    return json.dumps(
        {"seed": seed, "scenario": asdict(scenario), "policies": [asdict(result) for result in results]}, indent=2
    )


def _interrupt(signum: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt
