"""`forestay status`: every server's load now and soon, at a glance."""

import json
from collections.abc import Mapping
from typing import Annotated, Any

import typer
from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from forestay.cli.client import ApiClient, quoted
from forestay.cli.failure import CommandFailed
from forestay.cli.options import API_DEFAULT, Api, Cluster, Json, Token
from forestay.cli.watching import watch

BUSY, FULL = 0.70, 0.95
"""Loads from which a figure turns yellow and red: the default threshold and the default load_max."""


def status(
    cluster: Cluster = "",
    once: Annotated[bool, typer.Option("--once", help="Print one table and end.")] = False,
    as_json: Json = False,
    interval_s: Annotated[float, typer.Option("--interval", min=0.2, help="Seconds between looks.")] = 1.0,
    api: Api = API_DEFAULT,
    token: Token = "",
) -> None:
    """Show every server's state, load, predicted load and connections, live until Ctrl-C.

    A look at one cluster, for a script: [bold]forestay status --cluster chat --json[/bold]
    """
    console = Console()
    with ApiClient(api, token) as client:
        if as_json:
            typer.echo(json.dumps(_look(client, cluster)))
        elif once or not console.is_terminal:
            console.print(view(_look(client, cluster)))
        else:
            watch(lambda: view(_look(client, cluster)), interval_s, console)


def _look(client: ApiClient, named: str) -> list[dict[str, Any]]:
    """Clusters as the API shows them, each with its endpoints; all, or the named one."""
    clusters = client.get("/v1/clusters")["clusters"]
    if named:
        known = [cluster["name"] for cluster in clusters]
        clusters = [cluster for cluster in clusters if cluster["name"] == named]
        if not clusters:
            raise CommandFailed(f"there is no cluster {named!r}; there are: {', '.join(known) or 'none'}")
    return [{**cluster, **client.get(f"/v1/clusters/{quoted(cluster['name'])}/endpoints")} for cluster in clusters]


def view(clusters: list[dict[str, Any]]) -> RenderableType:
    """Tables of clusters as the API shows them."""
    if not clusters:
        return Text("no cluster is configured")
    return Group(*(part for cluster in clusters for part in (_headline(cluster), _table(cluster), Text())))


def _headline(cluster: Mapping[str, Any]) -> Text:
    text = Text.assemble(
        (cluster["name"], "bold"),
        f"  {cluster['eligible']} of {len(cluster['endpoints'])} servers take newcomers",
        f", {cluster['open_connections']} connections, {cluster['queued']} waiting",
    )
    if cluster["fallbacks"]:
        text.append(f"  fallbacks: {', '.join(cluster['fallbacks'])}", style="yellow")
    return text


def _table(cluster: Mapping[str, Any]) -> Table:
    table = Table(box=None, pad_edge=False)
    table.add_column("server")
    table.add_column("state")
    for title in ("load", "in 5 s", "in 10 s", "in 30 s", "connections"):
        table.add_column(title, justify="right")
    for endpoint in cluster["endpoints"]:
        forecast = {point["horizon_s"]: point["load"] for point in endpoint["forecast"]}
        table.add_row(
            endpoint["id"],
            _state(endpoint),
            _load(endpoint["load"]),
            *(_load(forecast.get(horizon_s)) for horizon_s in (5.0, 10.0, 30.0)),
            str(endpoint["open_connections"]),
        )
    return table


def _state(endpoint: Mapping[str, Any]) -> Text:
    if not endpoint["healthy"]:
        return Text(f"down ({endpoint['health_detail'] or 'health check'})", style="red")
    for flag, word in (("leaving", "leaving"), ("draining", "draining")):
        if endpoint[flag]:
            return Text(word, style="yellow")
    return Text("takes newcomers", style="green") if endpoint["eligible"] else Text("busy", style="yellow")


def _load(load: float | None) -> Text:
    if load is None:
        return Text("-", style="dim")
    style = "red" if load >= FULL else "yellow" if load >= BUSY else ""
    return Text(f"{load:.0%}", style=style)
