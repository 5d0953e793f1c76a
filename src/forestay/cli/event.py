"""`forestay event`: tell forestay beforehand what will change arrivals."""

import json
import re
import time
from datetime import UTC, datetime
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from forestay.cli.client import ApiClient, quoted
from forestay.cli.failure import CommandFailed, ExitCode
from forestay.cli.options import API_DEFAULT, Api, Cluster, Json, Token

HELP = """
Announce what will bring more connections: a campaign, a broadcast.

Example: [bold]forestay event add final --in 10m --for 15m --factor 3[/bold]
"""

app = typer.Typer(no_args_is_help=True, help=HELP, rich_markup_mode="rich")

Name = Annotated[str, typer.Argument(metavar="NAME", help="For people; announcing it again replaces the event.")]

_UNITS_S = {"": 1.0, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}


@app.command()
def add(
    name: Name,
    lasts: Annotated[str, typer.Option("--for", metavar="DURATION", help='How long: seconds, or "90s", "15m", "2h".')],
    factor: Annotated[float, typer.Option("--factor", min=0.0, max=1000.0, help="Arrivals, over what is usual.")],
    begins_in: Annotated[str, typer.Option("--in", metavar="DURATION", help="Until it begins.")] = "0",
    at: Annotated[str, typer.Option("--at", metavar="TIME", help='Or when: "2030-06-01T20:15", local time.')] = "",
    cluster: Cluster = "",
    api: Api = API_DEFAULT,
    token: Token = "",
) -> None:
    """Announce an event.

    In ten minutes, for a quarter of an hour, three times as many: [bold]forestay event add final --in 10m --for 15m
    --factor 3[/bold]
    """
    if at and begins_in != "0":
        raise CommandFailed("--at and --in exclude each other: give one", ExitCode.USAGE)
    event: dict[str, str | float] = {"name": name, "arrival_factor": factor, "for_s": seconds("--for", lasts)}
    if at:
        event["starts_at"] = _unix_time(at)
    else:
        event["in_s"] = seconds("--in", begins_in)
    with ApiClient(api, token) as client:
        answer = client.request("POST", f"/v1/clusters/{quoted(client.cluster(cluster))}/events", event)
    typer.echo(f"{name}: from {_local(answer['starts_at'])} to {_local(answer['ends_at'])}, arrivals x {factor:g}")


@app.command("list")
def list_events(cluster: Cluster = "", as_json: Json = False, api: Api = API_DEFAULT, token: Token = "") -> None:
    """Show the events that are not over."""
    with ApiClient(api, token) as client:
        events = client.get(f"/v1/clusters/{quoted(client.cluster(cluster))}/events")["events"]
    if as_json:
        typer.echo(json.dumps(events))
        return
    if not events:
        typer.echo("no event is announced; announce one with: forestay event add NAME --in 10m --for 15m --factor 3")
        return
    table = Table("event", "from", "to", "arrivals", box=None)
    for event in events:
        table.add_row(
            event["name"], _local(event["starts_at"]), _local(event["ends_at"]), f"x {event['arrival_factor']:g}"
        )
    Console().print(table)


@app.command()
def remove(name: Name, cluster: Cluster = "", api: Api = API_DEFAULT, token: Token = "") -> None:
    """Take an announcement back."""
    with ApiClient(api, token) as client:
        client.request("DELETE", f"/v1/clusters/{quoted(client.cluster(cluster))}/events/{quoted(name)}")
    typer.echo(f"{name}: withdrawn")


def seconds(option: str, text: str) -> float:
    """A duration as people write it.

    Raises:
        CommandFailed: it is none; the message names `option`.
    """
    match = re.fullmatch(r"(\d{1,9}(?:\.\d{1,9})?)([smhd]?)", text.strip(), re.ASCII)
    if match is None:
        raise CommandFailed(f'{option} {text}: write seconds, or e.g. "90s", "15m", "2h", "1d"', ExitCode.USAGE)
    return float(match[1]) * _UNITS_S[match[2]]


def _unix_time(text: str) -> float:
    try:
        return datetime.fromisoformat(text).astimezone().timestamp()
    except (ValueError, OverflowError, OSError):
        raise CommandFailed(f'--at {text}: write e.g. "2030-06-01T20:15"', ExitCode.USAGE) from None


def _local(unix_s: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", datetime.fromtimestamp(unix_s, UTC).astimezone().timetuple())
