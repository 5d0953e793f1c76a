"""What becomes of connections when something dies, is replaced, or ten thousand come: seen from the clients' side.

    python -m benchmarks.faults [control] [server] [crowds] [handover] [--quick] [--json FILE]

    control    kill -9 of the control process under 500 connections/s, and its restart
    server     kill -9 of a server, placement by forecast beside least connections
    crowds     10,000 connections at once, 8,000 of them in one worker, twice
    handover   restarts of the relay under 1,000 connections/s

Everything is real: `forestay serve` with its workers and its registry on SQLite, server processes, clients on loopback.
All of it takes some five minutes, and is ended when this command ends.
"""

import argparse
import resource
import sys
import tempfile
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import structlog
from rich.console import Console

from benchmarks import crowds, fault_control, fault_server, handover
from benchmarks.processes import BenchmarkFailed, end_on_sigterm, machine
from benchmarks.verdicts import Verdict, console, print_verdicts, write_json

EXPERIMENTS: dict[str, Any] = {
    "control": fault_control,
    "server": fault_server,
    "crowds": crowds,
    "handover": handover,
}
"""By name: a module with `run(directory, sizes)`, `Sizes` and `QUICK`."""


def main() -> None:
    """Run, print, judge."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("which", nargs="*", choices=[[], *EXPERIMENTS], help="default: all", metavar="experiment")
    parser.add_argument("--quick", action="store_true", help="smaller and shorter: to see that it works")
    parser.add_argument("--json", type=Path, help="write everything measured here")
    options = parser.parse_args()
    out = console()
    end_on_sigterm()
    raise_descriptor_limit()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(30))
    try:
        run(out, options.which or list(EXPERIMENTS), options.quick, options.json)
    except BenchmarkFailed as error:
        sys.exit(f"benchmarks.faults: {error}")
    except KeyboardInterrupt:
        sys.exit("benchmarks.faults: interrupted; all processes were ended")


def run(out: Console, names: list[str], quick: bool, file: Path | None) -> None:
    """The experiments of these names, one after the other."""
    about = machine()
    out.print(about)
    verdicts: list[Verdict] = []
    results = {}
    for name in names:
        module = EXPERIMENTS[name]
        summary = module.__doc__.splitlines()[0]
        sizes = module.QUICK if quick else module.Sizes()
        with (
            tempfile.TemporaryDirectory(prefix="forestay-bench-") as directory,
            out.status(f"{name}: {summary}"),
        ):
            started_s = time.monotonic()
            result = module.run(Path(directory), sizes)
        out.print(f"\n[bold]{name}[/]: {summary} ({time.monotonic() - started_s:.0f} s)\n{sizes}")
        print_verdicts(out, result.verdicts())
        verdicts += result.verdicts()
        results[name] = asdict(result)
    write_json(file, verdicts, machine=about, results=results)


def raise_descriptor_limit() -> None:
    """Clients need one each."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


if __name__ == "__main__":
    main()
