"""`forestay config`: check a configuration before it is used, and see what is in force and why."""

import json
from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text

from forestay.cli.options import Json
from forestay.cli.serve import Assignment, Config, Listen, To, config_file, flag_values
from forestay.settings import load_configuration
from forestay.settings.presentation import effective

HELP = """
Check a configuration, or show what is in force and where it came from.

Example: [bold]forestay config show --config forestay.toml --set-only[/bold]
"""

app = typer.Typer(no_args_is_help=True, help=HELP, rich_markup_mode="rich")


@app.command()
def check(config: Config = None, listen: Listen = None, to: To = None, assignment: Assignment = None) -> None:
    """Say whether `forestay serve` with the same options would accept its settings (exit code 2: no).

    Example, before a reload: [bold]forestay config check -f forestay.toml && systemctl reload forestay[/bold]
    """
    configuration = load_configuration(
        config_file(config, listen, to), flag_values(listen or [], to or [], assignment or [])
    )
    clusters = configuration.settings.clusters
    listeners = sum(len(cluster.listeners) for cluster in clusters.values())
    endpoints = sum(len(cluster.endpoints) for cluster in clusters.values())
    typer.echo(
        f"{configuration.file or 'settings'}: good: {len(clusters)} cluster(s), {listeners} listener(s), "
        f"{endpoints} endpoint(s)"
    )


@app.command()
def show(
    config: Config = None,
    listen: Listen = None,
    to: To = None,
    assignment: Assignment = None,
    as_json: Json = False,
    only_set: Annotated[bool, typer.Option("--set-only", help="Leave out what has its default.")] = False,
) -> None:
    """Print every setting in force and its source. The output is TOML; secrets are starred out.

    Example: [bold]FORESTAY_LOG__LEVEL=debug forestay config show --set-only[/bold]
    """
    configuration = load_configuration(
        config_file(config, listen, to), flag_values(listen or [], to or [], assignment or [])
    )
    lines = [line for line in effective(configuration) if not (only_set and line[2] == "default")]
    if as_json:
        typer.echo(json.dumps([{"key": key, "toml": value or None, "source": source} for key, value, source in lines]))
        return
    console = Console(soft_wrap=True, highlight=False)
    width = min(60, max((len(f"{key} = {value}") for key, value, _ in lines), default=0))
    for key, value, source in lines:
        setting = f"{key} = {value}" if value else f"# {key} is not set"
        console.print(Text(f"{setting:<{width}}  "), Text(f"# {source}", style="dim"), sep="")
