"""`forestay shadow`: what forestay would have done in the live balancer's place."""

import json
from collections.abc import Mapping
from typing import Annotated, Any

import typer
from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from forestay.cli.client import ApiClient, quoted
from forestay.cli.options import API_DEFAULT, Api, Cluster, Json, Token
from forestay.cli.watching import watch

MEASURES = (
    ("busiest server / mean", "max_over_mean", ".2f"),
    ("server-seconds over 70 %", "server_seconds_over_70", ",.0f"),
    ("server-seconds over 100 %", "server_seconds_over_100", ",.0f"),
    ("delay", "delay", ".2f"),
)
"""Row, field, and how it is written."""


def shadow(
    cluster: Cluster = "",
    again: Annotated[bool, typer.Option("--watch", "-w", help="Look again and again, until Ctrl-C.")] = False,
    as_json: Json = False,
    interval_s: Annotated[float, typer.Option("--interval", min=0.2, help="Seconds between looks.")] = 2.0,
    api: Api = API_DEFAULT,
    token: Token = "",
) -> None:
    """Show what forestay would have done beside a live balancer, and what that would have changed.

    It needs [bold]forestay serve --shadow[/bold]. A look for a script: [bold]forestay shadow --json[/bold]
    """
    console = Console()
    with ApiClient(api, token) as client:
        name = client.cluster(cluster)
        path = f"/v1/clusters/{quoted(name)}/shadow"
        if as_json:
            typer.echo(json.dumps(client.get(path)))
            return
        if again and console.is_terminal:
            watch(lambda: view(name, client.get(path)), interval_s, console)
        else:
            console.print(view(name, client.get(path)))


def view(name: str, found: Mapping[str, Any]) -> RenderableType:
    """A shadow as the API shows it."""
    parts: list[RenderableType] = [_headline(name, found)]
    parts += [Text(f"  {word}: {meaning}", style="yellow") for word, meaning in found["caveats"].items()]
    parts += [Text(), _measures(found), Text(), _choices(found), Text(), _skill(found), Text(), _servers(found)]
    return Group(*parts)


def _headline(name: str, found: Mapping[str, Any]) -> Text:
    choice, left_s = found["choice"], found["warm_up_left_s"]
    text = Text.assemble((name, "bold"), f"  shadow of a live balancer, by {found['source']}")
    if found["delay_s"]:
        text.append(f", {found['delay_s']:g} s behind")
    if left_s:
        text.append(f"; judges in {left_s:.0f} s")
    elif choice["judged"]:
        same = choice["same"] / choice["judged"]
        text.append(f"; {choice['judged']:,} connections judged, {same:.0%} on the same server")
    if found["fallbacks"]:
        text.append(f"  fallbacks: {', '.join(found['fallbacks'])}", style="yellow")
    return text


def _measures(found: Mapping[str, Any]) -> Table:
    table = _table(f"over {found['as_is']['seconds']:,.0f} s", "as it is", "as it would be (estimate)", "change")
    for label, field, form in MEASURES:
        now, then = found["as_is"][field], found["would_be"][field]
        change = f"{then / now - 1:+.0%}" if now and then is not None else "-"
        table.add_row(label, _number(now, form), _number(then, form), change)
    return table


def _choices(found: Mapping[str, Any]) -> Table:
    hindsight = found["hindsight"]
    table = _table("where forestay differs", "connections", "server chosen", "server instead")
    for label, pair in (
        (f"load predicted {hindsight['horizon_s']:g} s ahead", hindsight["predicted"]),
        (f"load {hindsight['horizon_s']:g} s later", hindsight["actual"]),
    ):
        table.add_row(
            label, f"{pair['connections']:,}", _number(pair["chosen"], ".0%"), _number(pair["instead"], ".0%")
        )
    for word, label in (("queue", "would have waited first"), ("shed", "would have been refused")):
        if found["choice"][word]:
            table.add_row(label, f"{found['choice'][word]:,}", "", "")
    return table


def _skill(found: Mapping[str, Any]) -> Table:
    table = _table("forecast", "error", "of the last value", "ratio", "under the 0.9 quantile")
    for score in found["skill"]:
        table.add_row(
            f"{score['horizon_s']:g} s ahead",
            _number(score["rmse"], ".3f"),
            _number(score["rmse_last_value"], ".3f"),
            Text(_number(score["ratio"], ".2f"), style="yellow" if (score["ratio"] or 0) >= 1 else "green"),
            _number(score["coverage_q90"], ".0%"),
        )
    return table


def _servers(found: Mapping[str, Any]) -> Table:
    table = _table("server", "load", "would be", "connections", "would be")
    for endpoint in found["endpoints"]:
        table.add_row(
            endpoint["id"],
            _number(endpoint["load"], ".0%"),
            _number(endpoint["would_be_load"], ".0%"),
            f"{endpoint['connections']:,}",
            f"{endpoint['would_be_connections']:,}",
        )
    return table


def _table(first: str, *others: str) -> Table:
    table = Table(box=None, pad_edge=False)
    table.add_column(first)
    for title in others:
        table.add_column(title, justify="right")
    return table


def _number(value: float | None, form: str) -> str:
    return "-" if value is None else format(value, form)
