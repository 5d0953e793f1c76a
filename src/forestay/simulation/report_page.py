"""A comparison as one HTML page that needs nothing else: no network, no script; light and dark as the reader has it."""

from collections.abc import Iterable, Mapping, Sequence
from html import escape

from forestay.simulation.outcome import Outcome
from forestay.simulation.report import Report
from forestay.simulation.report_plots import draw_overview, draw_scenario
from forestay.simulation.report_table import role_label, summary
from forestay.simulation.statistics import MEASURES, Interval, Measure, Standing

PICTURES_MAX = 60
"""Scenarios with pictures; of more, those farthest from the limit. A picture takes some 100 KB and half a second."""

OPEN_MAX = 3
"""Scenarios up to which all are unfolded."""

STYLE = """
:root { color-scheme: light dark; --line: #8884; --good: #1a7f37; --bad: #c0392b; }
@media (prefers-color-scheme: dark) { :root { --good: #57c272; --bad: #ff7b6b; } }
body { font: 15px/1.5 system-ui, sans-serif; max-width: 1120px; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.15rem; margin-top: 2rem; }
table { border-collapse: collapse; font-size: .85rem; display: block; overflow-x: auto; margin: .8rem 0; }
th, td { padding: .2rem .6rem; border-bottom: 1px solid var(--line); text-align: right; white-space: nowrap; }
th { text-align: right; font-weight: 600; }
th:first-child, td:first-child, td.words { text-align: left; }
td.words { white-space: normal; }
.best { color: var(--good); font-weight: 700; } .bad { color: var(--bad); font-weight: 700; }
.dim { opacity: .65; } code { font-size: .85rem; overflow-wrap: anywhere; }
details { border-top: 1px solid var(--line); padding: .4rem 0; } summary { cursor: pointer; font-weight: 600; }
summary .dim { font-weight: 400; } svg { width: 100%; height: auto; } svg image { image-rendering: pixelated; }
"""

MEANINGS = """
<dl>
<dt>delay</dt><dd>Mean of 1 / (1 - utilisation) over all work, utilisation capped at .98; 1 is an idle server.
Waits in a queue count. The first 120 s are left out and shown as "cold".</dd>
<dt>best reactive</dt><dd>The peer without forecast that has the least delay in that scenario.</dd>
<dt>limit</dt><dd>The causal limit: forestay's rule, told capacities, loads, background ahead and the laws of cost and
lifetime, but not the future of the connection it places. The best of its variants.</dd>
<dt>gap</dt><dd>Part of the way from the best reactive peer to the limit that forestay covers, where that way is more
than 5 % of the delay.</dd>
<dt>95 %</dt><dd>Confidence interval from drawing the seeds again; policies are compared seed by seed.</dd>
</dl>
"""

Cell = tuple[str, str]
"""Text and CSS classes."""


def page(report: Report, timed: Mapping[str, Sequence[Outcome]]) -> str:
    """The page.

    Args:
        report: what to show.
        timed: by scenario, outcomes with the load over time; scenarios may be missing.
    """
    drawn = {standing.scenario for standing in pictured(report.standings)}
    by_scenario: dict[str, list[Outcome]] = {}
    for outcome in report.outcomes:
        by_scenario.setdefault(outcome.scenario, []).append(outcome)
    parts = [
        "<h1>forestay in simulation, beside its peers and its limit</h1>",
        f"<p>Made by <code>{escape(report.about.command)}</code> ({escape(report.about.circumstances())}); "
        "the same command gives the same figures.</p>",
        _verdicts(report),
        "<h2>Scenarios</h2>",
        _overview(report.standings),
        draw_overview(report.standings) if len(report.standings) > 1 else "",
        f"<details><summary>What the figures mean</summary>{MEANINGS}</details>",
    ]
    for standing in report.standings:
        picture = ""
        if standing.scenario in drawn:
            shown = timed.get(standing.scenario, ())
            picture = draw_scenario(standing, by_scenario[standing.scenario], shown)
        description = report.scenarios[standing.scenario].description
        parts.append(_scenario(standing, description, picture, unfolded=len(report.standings) <= OPEN_MAX))
    body = "\n".join(parts)
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>forestay in simulation</title><style>{STYLE}</style></head>\n<body>\n{body}\n</body></html>\n"
    )


def pictured(standings: Sequence[Standing]) -> list[Standing]:
    """Those that get pictures: in which forestay's delay is farthest above the limit's, or the best policy's."""

    def above(standing: Standing) -> float:
        own = standing.candidate and standing.delay[standing.candidate].value
        least = standing.delay[standing.limit or next(iter(standing.roles))].value
        return own / least if own else 0.0

    return sorted(standings, key=above, reverse=True)[:PICTURES_MAX]


def _verdicts(report: Report) -> str:
    if not report.verdicts:
        return ""
    words = {True: ("holds", "best"), False: ("short", "bad"), None: ("not judged", "dim")}
    rows = [
        [(verdict.what, ""), (verdict.asked, ""), words[verdict.holds], (verdict.measured, "words")]
        for verdict in report.verdicts
    ]
    return f"<h2>Asked and measured</h2><p>{escape(summary(report.verdicts))}</p>" + _table(
        ("figure", "asked", "", "measured"), rows
    )


def _overview(standings: Sequence[Standing]) -> str:
    heads = (
        "scenario",
        "best reactive",
        "its delay",
        "limit",
        "forestay",
        "forestay / best",
        "95 %",
        "worst seed",
        "gap",
        "95 %",
    )
    rows = []
    for standing in sorted(standings, key=lambda standing: standing.ratio.value if standing.ratio else 0.0):
        named = (standing.best, standing.limit, standing.candidate)
        delays = [standing.delay[policy].value if policy else float("inf") for policy in named]
        rows.append(
            [
                (standing.scenario, ""),
                (standing.best or "-", ""),
                *(
                    (f"{delay:.3f}" if policy else "-", "best" if delay == min(delays) else "")
                    for policy, delay in zip(named, delays, strict=True)
                ),
                *_estimate(standing.ratio, ".3f"),
                (f"{standing.ratio_worst:.3f}" if standing.ratio_worst else "-", ""),
                *_estimate(standing.gap, ".2f"),
            ]
        )
    return _table(heads, rows)


def _scenario(standing: Standing, description: str, picture: str, unfolded: bool) -> str:
    competing = standing.named("candidate", "reactive")
    shown = [m for m in MEASURES if m.name != "delay" and any(means[m.name] > 0 for means in standing.means.values())]
    least = {measure.name: _least(standing, measure, competing) for measure in (MEASURES[0], *shown)}
    rows = []
    for policy in standing.roles:
        means = standing.means[policy]
        row: list[Cell] = [
            (policy, ""),
            (role_label(standing, policy), "dim"),
            *_estimate(standing.delay[policy], ".3f"),
        ]
        row += [(measure.show(means[measure.name]), "") for measure in shown]
        marked = ("", "", "delay", "", *(measure.name for measure in shown))
        rows.append(
            [
                (text, "best" if name and policy in competing and text == least[name] else css)
                for (text, css), name in zip(row, marked, strict=True)
            ]
        )
    heads = ("policy", "", "delay", "95 %", *(measure.label for measure in shown))
    seeds = f"seeds {', '.join(map(str, standing.seeds))}"
    return (
        f"<details{' open' if unfolded else ''}><summary>{escape(standing.scenario)} "
        f'<span class="dim">{escape(description)}</span></summary>\n'
        f'{_table(heads, rows)}<p class="dim">Means over {escape(seeds)}.</p>\n{picture}</details>'
    )


def _least(standing: Standing, measure: Measure, policies: Iterable[str]) -> str:
    return measure.show(min((standing.means[policy][measure.name] for policy in policies), default=float("nan")))


def _estimate(interval: Interval | None, form: str) -> tuple[Cell, Cell]:
    if interval is None:
        return ("-", ""), ("", "")
    ends = f"{interval.low:{form}} to {interval.high:{form}}" if interval.low < interval.high else ""
    return (f"{interval.value:{form}}", ""), (ends, "dim")


def _table(heads: Sequence[str], rows: Iterable[Sequence[Cell]]) -> str:
    head = "".join(f"<th>{escape(text)}</th>" for text in heads)
    body = "\n".join("<tr>" + "".join(map(_cell, row)) + "</tr>" for row in rows)
    return f"<table><thead><tr>{head}</tr></thead><tbody>\n{body}\n</tbody></table>"


def _cell(cell: Cell) -> str:
    text, css = cell
    return f'<td class="{css}">{escape(text)}</td>' if css else f"<td>{escape(text)}</td>"
