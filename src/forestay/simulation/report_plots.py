"""The pictures of a report, as inline SVG: load per server over time, its maximum, delay quantiles, overload, regret.

Text takes the colour of the page around it, so that one picture is readable on light and on dark. matplotlib comes with
the extra `plots` and is imported only here, only when a page is asked for.
"""

import io
from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

import numpy as np

from forestay.model.errors import InvalidInput
from forestay.model.plan import FloatArray
from forestay.simulation.contenders import Role
from forestay.simulation.outcome import DELAY_LEVELS, Outcome, Series
from forestay.simulation.statistics import Standing

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.colors import Colormap
    from matplotlib.figure import Figure

INK = "#010203"
"""Stands for the page's own text colour until the picture is written."""

COLOURS: dict[Role, str] = {
    "candidate": "#2a7fbf",
    "reactive": "#e07b39",
    "predictive": "#999999",
    "limit": "#3a9d5d",
    "clairvoyant": "#8e5ea2",
    "told": "#8e5ea2",
}

OTHER = "#999999"
"""Of reactive peers that are not the best one."""

LOAD_SHOWN_MAX = 1.4

COLUMNS_MAX = 240
"""Moments of a picture of load over time; what is between is averaged."""

POLICIES_MAX = 12
"""Bars of a picture: the best ones."""

PLAIN: dict[Any, Any] = {
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "axes.titlecolor": INK,
    "axes.titlesize": 9,
    "axes.labelsize": 8,
    "font.size": 8,
    "figure.facecolor": "none",
    "axes.facecolor": "none",
    "legend.facecolor": "none",
    "legend.labelcolor": INK,
    "savefig.facecolor": "none",
    "svg.fonttype": "none",
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
}


def require() -> None:
    """Raise `InvalidInput` with the remedy when matplotlib is not installed: before the runs, not after them."""
    try:
        import matplotlib  # noqa: F401, PLC0415 - an optional extra
    except ImportError:
        raise InvalidInput("--html needs matplotlib: pip install 'forestay[plots]'") from None


def draw_scenario(standing: Standing, outcomes: Sequence[Outcome], with_series: Sequence[Outcome]) -> str:
    """Everything about one scenario.

    Args:
        standing: of it.
        outcomes: all of it.
        with_series: outcomes to show over time; may be empty.
    """
    timed = [(outcome, outcome.series) for outcome in with_series if outcome.series is not None]
    with _style(standing.scenario):
        figure = _figure(11.0, 6.4 if timed else 3.0)
        rows = figure.subfigures(2, 1, height_ratios=(1.1, 1.0), squeeze=False)[:, 0] if timed else [figure]
        if timed:
            _draw_loads(rows[0].subplots(1, len(timed), sharey=True, squeeze=False)[0], standing, timed)
        axes = rows[-1].subplots(1, 4 if timed else 3, squeeze=False)[0]
        if timed:
            _draw_busiest(axes[0], standing, timed)
        _draw_quantiles(axes[-3], standing, outcomes)
        _draw_bars(axes[-2], standing, {name: m["over_100_s"] for name, m in standing.means.items()})
        axes[-2].set(title="server-seconds over 100 %")
        _draw_bars(axes[-1], standing, _regrets(standing))
        axes[-1].set(title="delay above the limit, %" if standing.limit else "delay above the best, %")
        return _svg(figure)


def draw_overview(standings: Sequence[Standing]) -> str:
    """Regret to the limit of forestay and of the best reactive peer, scenario by scenario, the widest room first."""
    shown = [standing for standing in standings if standing.limit and standing.best and standing.candidate]
    shown.sort(key=lambda standing: standing.room or 0.0)
    if not shown:
        return ""
    with _style("overview"):
        figure = _figure(11.0, 1.2 + 0.17 * len(shown))
        axis = figure.subplots()
        rows = range(len(shown))
        regrets = [_regrets(standing) for standing in shown]
        best = [regret[standing.best or ""] for regret, standing in zip(regrets, shown, strict=True)]
        own = [regret[standing.candidate or ""] for regret, standing in zip(regrets, shown, strict=True)]
        axis.plot(best, rows, "o", color=COLOURS["reactive"], markersize=4, label="best reactive peer")
        axis.plot(own, rows, "o", color=COLOURS["candidate"], markersize=4, label="forestay")
        axis.axvline(0.0, color=COLOURS["limit"], linewidth=1.0, label="causal limit")
        axis.set_xscale("symlog", linthresh=1.0)
        axis.xaxis.set_major_formatter("{x:g}")
        axis.set_yticks(rows, [standing.scenario for standing in shown], fontsize=7)
        axis.set(xlabel="delay above the causal limit, %", ylim=(-0.7, len(shown) - 0.3))
        axis.grid(axis="y", color=OTHER, alpha=0.25)
        axis.legend(loc="lower right")
        return _svg(figure)


def _draw_loads(axes: Sequence["Axes"], standing: Standing, timed: Sequence[tuple[Outcome, Series]]) -> None:
    """Load per server over time, one picture for each policy."""
    for axis, (outcome, series) in zip(axes, timed, strict=True):
        times_s, load = _thinned(series)
        image = axis.imshow(
            load.T,
            aspect="auto",
            interpolation="none",
            cmap=_load_colours(),
            vmin=0.0,
            vmax=LOAD_SHOWN_MAX,
            extent=(times_s[0], times_s[-1], load.shape[1] - 0.5, -0.5),
        )
        axis.set(title=f"{_label(standing, outcome.policy)}: load, seed {outcome.seed}", xlabel="s")
    axes[0].set_ylabel("server")
    bar = axes[-1].figure.colorbar(image, ax=list(axes), ticks=[0, 0.35, 0.7, 1.0, LOAD_SHOWN_MAX], pad=0.01)
    bar.outline.set_visible(False)


def _draw_busiest(axis: "Axes", standing: Standing, timed: Sequence[tuple[Outcome, Series]]) -> None:
    for outcome, series in timed:
        times_s, load = _thinned(series)
        axis.plot(times_s, np.nanmax(load, axis=1), color=_colour(standing, outcome.policy), linewidth=0.9)
    axis.axhline(1.0, color=INK, linewidth=0.6)
    axis.set(title="busiest server's load", xlabel="s", ylim=(0, None))


def _draw_quantiles(axis: "Axes", standing: Standing, outcomes: Sequence[Outcome]) -> None:
    """Slowdown that all but a part of the work stays under, mean over seeds."""
    for policy in _chosen(standing):
        values = np.mean([outcome.delay_quantiles for outcome in outcomes if outcome.policy == policy], axis=0)
        colour = _colour(standing, policy)
        axis.plot(range(len(values)), values, "o-", color=colour, markersize=3, linewidth=1.2, label=policy)
    axis.set_xticks(range(len(DELAY_LEVELS)), [f"{100 * level:g} %" for level in DELAY_LEVELS])
    axis.set(title="slowdown, by part of the work", yscale="log")
    axis.legend(fontsize=7, frameon=False)


def _draw_bars(axis: "Axes", standing: Standing, values: dict[str, float]) -> None:
    names = [policy for policy in standing.roles if policy in values][:POLICIES_MAX]
    axis.barh(names, [values[name] for name in names], color=[_colour(standing, name) for name in names])
    axis.invert_yaxis()
    axis.tick_params(axis="y", labelsize=7)


def _regrets(standing: Standing) -> dict[str, float]:
    """Delay above that of the limit (else of the best policy) by policy, in per cent."""
    least = standing.delay[standing.limit or next(iter(standing.roles))].value
    return {policy: 100.0 * (interval.value / least - 1.0) for policy, interval in standing.delay.items()}


def _chosen(standing: Standing) -> list[str]:
    """Policies that are worth a line: the candidate, the best of its peers, the limit."""
    return [policy for policy in (standing.candidate, standing.best, standing.limit) if policy]


def _label(standing: Standing, policy: str) -> str:
    return f"{policy} (best reactive)" if policy == standing.best else policy


def _colour(standing: Standing, policy: str) -> str:
    role = standing.roles[policy]
    return OTHER if role == "reactive" and policy != standing.best else COLOURS[role]


def _thinned(series: Series) -> tuple[FloatArray, FloatArray]:
    """Times and loads, at most `COLUMNS_MAX` of them, means of so many neighbours."""
    step = max(1, -(-len(series.times_s) // COLUMNS_MAX))
    length = len(series.times_s) // step * step
    servers = series.load.shape[1]
    return (
        series.times_s[:length].reshape(-1, step).mean(axis=1),
        series.load[:length].reshape(-1, step, servers).mean(axis=1),
    )


def _load_colours() -> "Colormap":
    """Blue up to capacity, red above; servers that are away are left out."""
    from matplotlib.colors import LinearSegmentedColormap  # noqa: PLC0415 - an optional extra

    stops = ((0.0, "#eef3f7"), (0.7, "#86b8d9"), (0.99, "#174a6e"), (1.0, "#f0a35e"), (LOAD_SHOWN_MAX, "#b3261e"))
    colours = [(load / LOAD_SHOWN_MAX, colour) for load, colour in stops]
    return LinearSegmentedColormap.from_list("load", colours).with_extremes(bad=(0, 0, 0, 0))


def _style(salt: str) -> AbstractContextManager[None]:
    """Settings of a picture; ids in it are made from `salt`, so that pictures of one page do not mix."""
    import matplotlib as mpl  # noqa: PLC0415 - an optional extra

    return mpl.rc_context({**PLAIN, "svg.hashsalt": salt})


def _figure(width: float, height: float) -> "Figure":
    from matplotlib.figure import Figure  # noqa: PLC0415 - an optional extra

    return Figure(figsize=(width, height), layout="constrained")


def _svg(figure: "Figure") -> str:
    written = io.StringIO()
    figure.savefig(written, format="svg", metadata=dict.fromkeys(("Creator", "Date", "Format", "Type")))
    svg = written.getvalue()
    return svg[svg.index("<svg") :].replace(INK, "currentColor")
