"""`forestay demo`: the main job on real connections, beside what other balancers do."""

from pathlib import Path
from typing import Annotated

import typer

from forestay.cli.failure import CommandFailed, ExitCode

POLICIES = ("forecast", "least_connections", "random")


def demo(
    quick: Annotated[bool, typer.Option("--quick", help="Only the beginning: half a minute for each policy.")] = False,
    policy: Annotated[
        list[str] | None,
        typer.Option("--policy", metavar="NAME", help=f"Repeatable; default: {', '.join(POLICIES)}."),
    ] = None,
    seed: Annotated[
        int | None, typer.Option("--seed", min=0, help="Other arrivals, drawn by the law of the committed ones.")
    ] = None,
    json_path: Annotated[
        Path | None, typer.Option("--json", metavar="FILE", help="Write the figures there, as JSON.")
    ] = None,
    plot_path: Annotated[
        Path | None, typer.Option("--plot", metavar="FILE", help="Write the picture there (needs the extra: plots).")
    ] = None,
    results: Annotated[
        Path | None, typer.Option("--results", metavar="DIR", help="Keep logs and records there.")
    ] = None,
) -> None:
    """Four real servers of unequal capacity, a storm of WebSocket clients, a kill: forestay against two others.

    Needs no network and no root; takes less than four minutes.

    A first look: [bold]forestay demo --quick --policy forecast[/bold]
    """
    from forestay.demo.arrivals import SEED
    from forestay.demo.main import run_demo

    for name in policy or ():
        if name not in POLICIES:
            raise CommandFailed(f"--policy {name}: choose from {', '.join(POLICIES)}", ExitCode.USAGE)
    code = run_demo(
        quick=quick,
        seed=SEED if seed is None else seed,
        json_path=json_path,
        plot_path=plot_path,
        results=results,
        policies=tuple(policy or POLICIES),
    )
    raise typer.Exit(code)
