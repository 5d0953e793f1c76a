"""What one simulated run came to."""

import math
from dataclasses import dataclass

from forestay.model.plan import FloatArray


@dataclass(frozen=True, slots=True)
class Cold:
    """The first two minutes, when nothing is learned yet.

    Attributes:
        delay: as of `Outcome`.
        connections_max_over_mean: mean over time of the most connections per capacity on one server over the
            cluster's, from second 5 on.
    """

    delay: float
    connections_max_over_mean: float


@dataclass(frozen=True, slots=True, eq=False)
class Series:
    """Load over time, for plots; left out of what is cached for comparisons.

    Attributes:
        times_s: middle of each interval, shape (intervals,).
        load: mean utilisation, shape (intervals, servers); NaN where a server is away.
    """

    times_s: FloatArray
    load: FloatArray


@dataclass(frozen=True, slots=True, eq=False)
class Outcome:
    """Figures of one policy on one scenario and seed, after the cold start unless said otherwise.

    Attributes:
        scenario: name.
        seed: of the world.
        policy: name.
        delay: load-weighted mean of 1 / (1 - utilisation), utilisation capped at .98; 1 is idle. With "fifo" servers
            the backlog over the time of a request comes on top, under the same cap. So does waiting for a place
            (queue, refusals) over the life of the connection, without a cap; clients that are refused for good count
            with their work and the delay of the cap, 50.
        delay_quantiles: load-weighted quantiles of 1 / (1 - utilisation) at DELAY_LEVELS, ascending.
        utilisation_p99: utilisation that 99 % of the work meets at most.
        over: part of the work above 100 % utilisation.
        max_over_mean: mean over seconds of the highest utilisation over the cluster's.
        over_70_s: server-seconds over 70 %.
        over_100_s: server-seconds over 100 %.
        storm_share: most accepts a second on one server within the ten seconds after a server died or drained, over
            its fair share (by capacity) of the accepts of the busiest of these seconds; the worst of all such
            moments; nan where nothing dies.
        storm_over_100_s: server-seconds over 100 % in the minute after each death or return.
        wait_mean_s: mean wait in the queue of those admitted.
        wait_p99_s: 99th percentile of it.
        connections: placed.
        refused: connections refused.
        cold: the first two minutes.
        place_us: median of one `place`, microseconds.
        tick_ms: mean of one `tick` with its reports, milliseconds.
        digest: of every placement in order; the same seed gives the same digest.
        return_share: as storm_share, after a server came, new or again.
        local_share: part of the connections placed in their client's zone; nan where there are no zones.
        memory_max: most memory in use on one server, as a part of its own; nan where memory is no matter.
        series: None unless asked for.
    """

    scenario: str
    seed: int
    policy: str
    delay: float
    delay_quantiles: tuple[float, ...]
    utilisation_p99: float
    over: float
    max_over_mean: float
    over_70_s: float
    over_100_s: float
    storm_share: float
    storm_over_100_s: float
    wait_mean_s: float
    wait_p99_s: float
    connections: int
    refused: int
    cold: Cold
    place_us: float
    tick_ms: float
    digest: str
    return_share: float = math.nan
    local_share: float = math.nan
    memory_max: float = math.nan
    series: Series | None = None


DELAY_LEVELS = (0.5, 0.9, 0.99, 0.999)
"""Probabilities of `Outcome.delay_quantiles`."""
