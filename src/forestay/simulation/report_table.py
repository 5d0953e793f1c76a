"""A comparison on a terminal of 100 columns: an overview, one scenario in detail, the verdicts."""

from collections.abc import Sequence

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from forestay.simulation.report import Report
from forestay.simulation.statistics import MEASURES, Interval, Measure, Standing
from forestay.simulation.verdicts import RATIO_MAX, Verdict

GOOD, BAD = "bold green", "bold red"

ROLE_LABELS = {
    "candidate": "us",
    "reactive": "",
    "predictive": "predicts",
    "limit": "limit",
    "clairvoyant": "future",
    "told": "told",
}

DETAILED_MAX = 3
"""Scenarios up to which each gets a table of its own."""

DETAILED = tuple(
    measure
    for measure in MEASURES
    if measure.name
    in ("slowdown_p99", "utilisation_p99", "over", "max_over_mean", "over_100_s", "cold.connections_max_over_mean")
)
"""Columns of a scenario's own table, beside the delay. All measures are in the JSON file."""


def show(report: Report, console: Console) -> None:
    """Print a report: scenario by scenario if they are few, else the overview; what was told; the verdicts."""
    if any(standing.losses for standing in report.standings):
        console.print(losses(report.standings))
    elif len(report.standings) <= DETAILED_MAX:
        for standing in report.standings:
            console.print(detail(standing))
    else:
        console.print(overview(report.standings))
    if report.verdicts:
        console.print(verdict_table(report.verdicts))
        console.print(summary(report.verdicts), soft_wrap=True)


def overview(standings: Sequence[Standing]) -> Table:
    """One row for each scenario, the greatest win first; the least delay of a row is marked."""
    table = _table("delay (1: idle servers), least marked; gap: part of the way from best reactive to limit")
    table.add_column("scenario", no_wrap=True)
    table.add_column("best reactive", no_wrap=True, max_width=17)
    for head in ("delay", "limit", "forestay", "/ best", "95 %", "gap", "util99"):
        table.add_column(head, justify="right", no_wrap=True)
    for standing in sorted(standings, key=lambda standing: standing.ratio.value if standing.ratio else 0.0):
        table.add_row(*_overview_row(standing))
    return table


def detail(standing: Standing) -> Table:
    """One row for each policy, the least delay first; the best of each column is marked."""
    seeds = len(standing.seeds)
    table = _table(
        f"{standing.scenario}, {seeds} {'seed' if seeds == 1 else 'seeds'}; best of forestay and its peers marked"
    )
    table.add_column("policy", no_wrap=True)
    table.add_column("", no_wrap=True)
    shown = [*DETAILED, *_of_this(standing)]
    for head in ("delay", "95 %", *(measure.head for measure in shown)):
        table.add_column(head, justify="right", no_wrap=True)
    policies = standing.named("candidate", "reactive")
    best = {measure.name: _best_shown(standing, measure, policies) for measure in shown}
    fastest = min(policies, key=lambda policy: standing.delay[policy].value, default=None)
    for policy, role in standing.roles.items():
        cells = [(measure.show(standing.means[policy][measure.name]), best[measure.name]) for measure in shown]
        competes = policy in policies
        table.add_row(
            Text(policy, style="bold" if role == "candidate" else ""),
            Text(role_label(standing, policy), style="dim"),
            Text(f"{standing.delay[policy].value:.3f}", style=GOOD if policy == fastest else ""),
            Text(_interval(standing.delay[policy]), style="dim"),
            *(Text(cell, style=GOOD if competes and cell == least else "") for cell, least in cells),
        )
    return table


def losses(standings: Sequence[Standing]) -> Table:
    """What forestay loses by not knowing: its delay above that when it is told, in per cent."""
    table = _table("delay that forestay could save if it were told, %; marked: more than chance")
    table.add_column("scenario", no_wrap=True)
    told = list(
        dict.fromkeys(policy for standing in standings for policy in standing.roles if policy in standing.losses)
    )
    for policy in told:
        table.add_column(policy.removeprefix("told_"), justify="right", no_wrap=True)
    table.add_column("limit", justify="right", no_wrap=True)
    for standing in standings:
        cells = [_loss(standing.losses.get(policy)) for policy in told]
        table.add_row(standing.scenario, *cells, _loss(standing.above_limit))
    return table


def verdict_table(verdicts: Sequence[Verdict]) -> Table:
    """What is asked, what was measured."""
    table = _table("asked and measured")
    for head in ("figure", "asked", "", "measured"):
        table.add_column(head)
    words = {True: Text("holds", GOOD), False: Text("SHORT", BAD), None: Text("-", "dim")}
    for verdict in verdicts:
        table.add_row(verdict.what, verdict.asked, words[verdict.holds], verdict.measured)
    return table


def summary(verdicts: Sequence[Verdict]) -> str:
    """One line."""
    judged = [verdict for verdict in verdicts if verdict.holds is not None]
    short = [verdict for verdict in judged if not verdict.holds]
    if not short:
        return f"all {len(judged)} figures that apply hold"
    return f"{len(judged) - len(short)} of {len(judged)} figures hold; short: " + "; ".join(
        f"{verdict.what} (asked {verdict.asked}, {verdict.measured})" for verdict in short
    )


def role_label(standing: Standing, policy: str) -> str:
    """What it is, or that it is out of the running."""
    whole = standing.runs[policy] == len(standing.seeds)
    return ROLE_LABELS[standing.roles[policy]] if whole else f"{standing.runs[policy]} seeds"


def _table(title: str) -> Table:
    return Table(title=title, title_justify="left", box=SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)


def _overview_row(standing: Standing) -> list[Text]:
    named = (standing.best, standing.limit, standing.candidate)
    delays = [standing.delay[policy].value if policy else float("inf") for policy in named]
    ratio = standing.ratio
    return [
        Text(standing.scenario),
        Text(standing.best or "-"),
        *(
            Text(f"{delay:.3f}" if policy else "-", style=GOOD if policy and delay == min(delays) else "")
            for policy, delay in zip(named, delays, strict=True)
        ),
        Text("-") if ratio is None else Text(f"{ratio.value:.3f}", _judged(ratio.value)),
        Text("-" if ratio is None else _interval(ratio), style="dim"),
        Text("-" if standing.gap is None else f"{standing.gap.value:.2f}", style=_closed(standing.gap)),
        Text("-" if standing.candidate is None else f"{standing.means[standing.candidate]['utilisation_p99']:.2f}"),
    ]


def _of_this(standing: Standing) -> list[Measure]:
    """Measures that only some scenarios have."""
    names = [
        name for name in ("storm_share", "refused")
        if any(means[name] > 0 for means in standing.means.values())
    ]  # fmt: skip
    return [measure for measure in MEASURES if measure.name in names]


def _best_shown(standing: Standing, measure: Measure, policies: Sequence[str]) -> str:
    """The best value as it is shown; "" where all look the same."""
    shown = {measure.show(standing.means[policy][measure.name]) for policy in policies}
    if len(shown) < 2:
        return ""
    return measure.show(min(standing.means[policy][measure.name] for policy in policies))


def _loss(ratio: Interval | None) -> Text:
    if ratio is None:
        return Text("-")
    return Text(f"{100 * (ratio.value - 1):.1f}", style=GOOD if ratio.low > 1 else BAD if ratio.high < 1 else "")


def _interval(interval: Interval) -> str:
    return f"{interval.low:.3f}-{interval.high:.3f}" if interval.low < interval.high else ""


def _judged(ratio: float) -> str:
    return GOOD if ratio <= 1.0 else BAD if ratio > RATIO_MAX else ""


def _closed(gap: Interval | None) -> str:
    return BAD if gap and gap.value < 0 else ""
