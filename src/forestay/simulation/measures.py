"""What a run came to, from utilisation by step. All means over load are weighted by work: what a request meets."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from forestay.model.plan import BoolArray, FloatArray, IntArray
from forestay.simulation.outcome import DELAY_LEVELS, Cold, Series
from forestay.simulation.servers import Servers
from forestay.simulation.steps import COLD_S, STEP_S, STEPS_PER_S
from forestay.simulation.world import World

UTILISATION_MAX = 0.98
DELAY_MAX = 1 / (1 - UTILISATION_MAX)
"""Delay is capped there: 50 times that of an idle server, backlogs included."""

STORM_S = 10
"""Seconds after a server died or came whose accepts count as the storm's."""

STORM_LOAD_S = 60
"""Seconds after a server's death or return whose overload counts as the storm's."""

QUIET = 0.02
"""Below this mean utilisation the ratio of the highest to the mean says nothing."""

SERIES_MAX = 600
"""Intervals of a series."""


@dataclass(frozen=True, slots=True)
class Loads:
    """Figures of utilisation over a part of the run; see `Outcome` for their meaning."""

    delay: float
    delay_quantiles: tuple[float, ...]
    utilisation_p99: float
    over: float
    max_over_mean: float
    over_70_s: float
    over_100_s: float


def after_cold_start(world: World, servers: Servers, waited_work: float, refused_work: float) -> Loads:
    """Figures after the cold start.

    Args:
        world: of the run.
        servers: at its end.
        waited_work: sum over connections of cost times wait before they opened: to a connection that waits as long
            as it stays, everything takes twice as long.
        refused_work: that nobody did because its client was refused for good: it has the delay of the cap.
    """
    first = min(round(COLD_S * STEPS_PER_S), world.steps // 2)
    return _loads(world, servers, slice(first, world.steps), waited_work, refused_work)


def cold_start(world: World, servers: Servers, counts: FloatArray) -> Cold:
    """Figures of the cold start.

    Args:
        world: of the run.
        servers: at its end.
        counts: open connections at each second, shape (seconds, servers).
    """
    last = min(round(COLD_S * STEPS_PER_S), world.steps // 2)
    part = slice(0, last)
    seconds = counts[5 : last // STEPS_PER_S + 1]
    capacity = world.capacity[: last + 1 : STEPS_PER_S][5 : 5 + len(seconds)]
    alive = servers.existed[: last + 1 : STEPS_PER_S][5 : 5 + len(seconds)]
    capacity = np.where(alive, capacity, np.nan)
    cluster = seconds.sum(1) / np.maximum(np.nansum(capacity, 1), 1e-12)
    busy = cluster > 0
    ratio = math.nan
    if busy.any():
        ratio = float((np.nanmax(seconds[busy] / capacity[busy], 1) / cluster[busy]).mean())
    return Cold(delay=_loads(world, servers, part).delay, connections_max_over_mean=ratio)


def storm_share(world: World, servers: Servers, accepts: IntArray, moments: Sequence[int]) -> float:
    """See `Outcome.storm_share`; the highest of all moments.

    Args:
        world: of the run.
        servers: at its end.
        accepts: connections accepted in each second, shape (seconds, servers).
        moments: steps at which servers died, or came.
    """
    shares = []
    for moment in moments:
        second = moment // STEPS_PER_S
        alive = servers.existed[moment : moment + STORM_S * STEPS_PER_S].any(0)
        storm = accepts[second : second + STORM_S, alive]
        if storm.any():
            capacity = world.capacity[moment, alive]
            fair = storm.sum(1).max() * capacity / capacity.sum()
            shares.append(float((storm / fair).max()))
    return max(shares, default=math.nan)


def storm_over_s(servers: Servers, moments: Sequence[int]) -> float:
    """Server-seconds over 100 % in the minute after each death or return."""
    stormy = np.zeros(len(servers.utilisation), dtype=bool)
    for moment in moments:
        stormy[moment : moment + STORM_LOAD_S * STEPS_PER_S] = True
    return float((servers.utilisation[stormy] > 1.0).sum()) * STEP_S


def wait_p99_s(waits_s: Sequence[float], placed: int) -> float:
    """99th percentile of the wait of `placed` connections, of which all but those in `waits_s` waited not at all."""
    longer = placed // 100
    return sorted(waits_s)[-longer - 1] if longer < len(waits_s) else 0.0


def series(servers: Servers) -> Series:
    """Utilisation over time, averaged over enough steps to leave few points."""
    steps = len(servers.utilisation)
    width = max(math.ceil(steps / SERIES_MAX), 1)
    used = np.where(servers.existed, servers.utilisation, np.nan)[: steps // width * width]
    pieces = used.reshape(-1, width, used.shape[1])
    load = pieces.mean(1)
    return Series(times_s=np.arange(0.5, len(load)) * (width * STEP_S), load=load)


def _loads(world: World, servers: Servers, part: slice, waited_work: float = 0.0, refused_work: float = 0.0) -> Loads:
    used, alive = servers.utilisation[part], servers.existed[part]
    capacity = world.capacity[: world.steps][part] * alive
    work = used * capacity
    total = max(float(work.sum()), 1e-12)
    delay = 1 / (1 - np.minimum(used, UTILISATION_MAX))
    if len(servers.backlog) == world.steps:
        delay += servers.backlog[part] / world.scenario.fleet.request_s
        np.minimum(delay, DELAY_MAX, out=delay)
    refused, asked = refused_work / STEP_S, total + refused_work / STEP_S
    by_used = _Weighted(used, work)
    by_delay = _Weighted(delay, work)
    return Loads(
        delay=(float((delay * work).sum()) + waited_work / STEP_S + DELAY_MAX * refused) / asked,
        delay_quantiles=tuple(by_delay.quantile(level) for level in DELAY_LEVELS),
        utilisation_p99=by_used.quantile(0.99),
        over=float((np.maximum(used - 1, 0.0) * capacity).sum()) / total,
        max_over_mean=_max_over_mean(used, capacity, alive),
        over_70_s=float((used > 0.7).sum()) * STEP_S,
        over_100_s=float((used > 1.0).sum()) * STEP_S,
    )


class _Weighted:
    """Quantiles of `values` by `weight`."""

    def __init__(self, values: FloatArray, weight: FloatArray) -> None:
        order = np.argsort(values, axis=None)
        self._values = values.ravel()[order]
        self._cumulated = np.cumsum(weight.ravel()[order])

    def quantile(self, level: float) -> float:
        index = int(np.searchsorted(self._cumulated, level * self._cumulated[-1]))
        return float(self._values[min(index, len(self._values) - 1)])


def _max_over_mean(used: FloatArray, capacity: FloatArray, alive: BoolArray) -> float:
    steps = len(used) // STEPS_PER_S * STEPS_PER_S
    seconds = used[:steps].reshape(-1, STEPS_PER_S, used.shape[1]).mean(1)
    size = capacity[:steps:STEPS_PER_S]
    mean = (seconds * size).sum(1) / np.maximum(size.sum(1), 1e-12)
    busy = mean > QUIET
    return float((seconds[busy].max(1) / mean[busy]).mean()) if busy.any() else math.nan
