"""The picture of a demo: load per server over time under each policy, and the latencies that clients felt.

matplotlib comes with the extra `plots` and is imported only here, only when a picture is asked for.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from forestay.demo.records import Run
from forestay.demo.scenario import Scenario, ServerSpec
from forestay.demo.status import HORIZON_S
from forestay.model.errors import InvalidInput

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLOURS = ("#1b6ca8", "#e07b39", "#3a9d5d", "#8e5ea2")
"""One per server, readable beside each other in print and for most colour-blind readers."""

POLICY_COLOURS = ("#1b6ca8", "#777777", "#c0392b")
DEMAND_SHOWN_MAX = 2.0
"""A server that falls behind for good would hide the others: its line runs along the top from here."""


def require() -> None:
    """Raise `InvalidInput` with the remedy when matplotlib is not installed: before the run, not after it."""
    try:
        import matplotlib  # noqa: F401, PLC0415 - an optional extra
    except ImportError:
        raise InvalidInput("--plot needs matplotlib: pip install 'forestay[plots]'") from None


def draw(runs: Sequence[Run], scenario: Scenario, path: Path) -> None:
    """Write the picture to `path`; its suffix names the format."""
    require()
    from matplotlib.backends.backend_agg import FigureCanvasAgg  # noqa: PLC0415 - an optional extra
    from matplotlib.figure import Figure  # noqa: PLC0415 - an optional extra

    figure = Figure(figsize=(12, 7.2), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    upper, lower = figure.subfigures(2, 1, height_ratios=(1.2, 1.0), squeeze=False)[:, 0]
    load_axes = upper.subplots(1, len(runs), sharey=True, squeeze=False)[0]
    for axis, run in zip(load_axes, runs, strict=True):
        _draw_loads(axis, run, scenario)
    load_axes[0].set_ylabel("CPU demanded over CPU budget, cut at 2")
    load_axes[0].legend(loc="upper left", fontsize=8, ncols=2)
    forecast_axis, latency_axis = lower.subplots(1, 2, width_ratios=(1.6, 1.0))
    _draw_forecast(forecast_axis, runs[0], scenario)
    _draw_latencies(latency_axis, runs)
    figure.savefig(path)


def _draw_loads(axis: "Axes", run: Run, scenario: Scenario) -> None:
    """Demand per server over time, one policy."""
    for spec, colour in zip(scenario.servers, COLOURS, strict=False):
        times_s, demands = _gaps_where_dead(run, spec)
        axis.plot(times_s, demands, color=colour, linewidth=1.4, label=f"{spec.name} ({spec.budget:.2f} cores)")
    axis.axhline(1.0, color="black", linewidth=0.8)
    axis.axhline(0.7, color="black", linewidth=0.8, linestyle=":")
    axis.axvspan(scenario.kill_at_s, scenario.back_at_s, color="#f2d7d5", zorder=0)
    axis.text(scenario.kill_at_s + 0.3, 0.03, f"{scenario.killed} dead", fontsize=8)
    axis.set(
        title=run.policy.replace("_", " "), ylim=(0, 1.02 * DEMAND_SHOWN_MAX), xlim=(0, scenario.length_s), xlabel="s"
    )


def _gaps_where_dead(run: Run, spec: ServerSpec) -> tuple[list[float], list[float]]:
    """Times and demands of one server, with a gap where there are no samples for more than two seconds."""
    times_s: list[float] = []
    demands: list[float] = []
    for sample in run.samples[spec.name]:
        if times_s and sample.at_s - times_s[-1] > 2.0:
            times_s.append(times_s[-1])
            demands.append(float("nan"))
        times_s.append(sample.at_s)
        demands.append(min(sample.demand, DEMAND_SHOWN_MAX))
    return times_s, demands


def _draw_forecast(axis: "Axes", run: Run, scenario: Scenario) -> None:
    """What was reported, and what had been predicted for that moment, of the server with the background job."""
    spec = next(server for server in scenario.servers if server.has_job)
    said = run.forecasts.get(spec.name, [])
    reported = [(sample.at_s, sample.load) for sample in said if sample.load is not None]
    predicted = [(s.at_s + HORIZON_S, s.predicted) for s in said if s.predicted is not None]
    axis.plot(*zip(*reported, strict=True) if reported else ([], []), color="#333333", label="reported")
    axis.plot(
        *zip(*predicted, strict=True) if predicted else ([], []),
        color=COLOURS[0],
        linestyle="--",
        label=f"predicted {HORIZON_S} s before",
    )
    axis.set(
        title=f"{run.policy}: server {spec.name}, with the periodic background job",
        xlim=(0, scenario.length_s),
        ylim=(0, 1.3),
        xlabel="s",
        ylabel="load",
    )
    axis.legend(loc="upper left", fontsize=8)


def _draw_latencies(axis: "Axes", runs: Sequence[Run]) -> None:
    """Share of messages that took longer, on logarithmic axes: the tail is what clients remember."""
    for run, colour in zip(runs, POLICY_COLOURS, strict=False):
        latencies_ms = sorted(max(1.0, 1000 * latency_s) for _, latency_s, _ in run.books.messages)
        longer = [1.0 - i / len(latencies_ms) for i in range(len(latencies_ms))]
        axis.step(latencies_ms, longer, color=colour, label=run.policy.replace("_", " "))
    axis.axhline(0.01, color="black", linewidth=0.8, linestyle=":")
    axis.set(
        title="message latency, waits counted",
        xscale="log",
        yscale="log",
        ylim=(1e-3, 1.0),
        xlabel="ms",
        ylabel="share that took longer",
    )
    axis.legend(loc="lower left", fontsize=8)
