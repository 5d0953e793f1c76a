"""What the balancer decides: verdicts for single connections, and once a second a plan for everybody else."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

FloatArray: TypeAlias = npt.NDArray[np.float64]
IntArray: TypeAlias = npt.NDArray[np.int64]
BoolArray: TypeAlias = npt.NDArray[np.bool_]

UNLIMITED = 1 << 40
"""Slots of an endpoint without a bound: more than any second can fill, and still exact in a float."""
FACTOR_MAX = 1e15
"""One placement makes an endpoint dearer by no more: this is load 2.9 already."""


class Verdict(NamedTuple):
    """The answer to "where does this connection go?". A named tuple: `place` makes one in well under a microsecond.

    Attributes:
        kind: "admit" (connect to `endpoint_id` now), "queue" (wait for `poll`), "shed" (refuse).
        connection_id: the connection it is about.
        endpoint_id: only with "admit", else "".
        reason: one word for metrics and people, e.g. "fittest", "prefer", "paced", "overload", "deadline".
        retry_after_s: with "shed": when trying again may help; with "queue": how long it may wait; else 0.
    """

    kind: Literal["admit", "queue", "shed"]
    connection_id: str
    endpoint_id: str = ""
    reason: str = ""
    retry_after_s: float = 0.0


class Move(NamedTuple):
    """A connection that should live elsewhere."""

    connection_id: str
    from_endpoint_id: str
    to_endpoint_id: str
    reason: str


@dataclass(frozen=True, slots=True, eq=False)
class Table:
    """Everything a data plane needs to pick as `Balancer.place` does, until the next tick.

    Slot i belongs to `endpoint_ids[i]` and keeps it as long as the endpoint exists; a free slot has id "". The price
    of putting one more connection on slot i after k placements since this table was made:

        cost(i, k) = sum_h weight[h] * sqrt(price[i, h] * factor[i, h]**k + level[h])

    Pick the cheapest slot with k < slots[i]; if there is none, the cheapest with k < slots[i] + paced[i]; if there is
    none, the connection waits (or is refused where `shed`).

    Attributes:
        endpoint_ids: id by slot.
        price: squared price at each horizon point, shape (slots, horizons), > 0.
        factor: what one placement multiplies it by, same shape, >= 1.
        weight: weight of each horizon point, shape (horizons,), sums to 1.
        level: squared price level to which expected arrivals will fill every endpoint, shape (horizons,).
        slots: placements until the endpoint would reach the threshold, shape (slots,); 0: not eligible.
        paced: further placements this second where nobody is under the threshold, shape (slots,).
        shed: True where every endpoint is over `load_max`: waiting would not help.
        zones: zone by slot, for pickers that look near first; () where no endpoint has one.
    """

    endpoint_ids: tuple[str, ...]
    price: FloatArray
    factor: FloatArray
    weight: FloatArray
    level: FloatArray
    slots: IntArray
    paced: IntArray
    shed: bool = False
    zones: tuple[str, ...] = ()

    @property
    def eligible(self) -> BoolArray:
        """Which slots are under the threshold, shape (slots,)."""
        return self.slots > 0

    def fittest(self, size: int) -> IntArray:
        """The `size` cheapest eligible slots, cheapest first; equal prices in the order of their ids."""
        slots = np.flatnonzero(self.eligible)
        ids = np.array(self.endpoint_ids, dtype=str)[slots]
        order: IntArray = np.lexsort((ids, self.cost()[slots]))
        return slots[order[:size]]

    def shared(self, pickers: float, phase: FloatArray) -> "Table":
        """The table of one of several pickers that see nothing of each other's placements until the next table.

        To each the cheapest endpoints would look as cheap as to all others, and stay so after its own few placements: a
        herd. So one placement stands for those of all pickers, and each picker begins at another point of that step,
        lest all round the same way.

        Args:
            pickers: placements of all for each of this one's, >= 1; need not be whole.
            phase: where this picker begins, by slot, in [0, 1): spread over pickers, slots and tables, shape (slots,).
        """
        if pickers <= 1:
            return self
        with np.errstate(over="ignore"):
            factor = np.minimum(self.factor**pickers, FACTOR_MAX)
            price = self.price * factor ** phase[:, None]
        slots = (self.slots / pickers + phase).astype(np.int64)
        paced = ((self.slots + self.paced) / pickers + phase).astype(np.int64) - slots
        for part, whole in ((slots, self.slots), (paced, self.paced)):
            if not part.any() and whole.any():  # nobody is starved by rounding
                part[np.argmax(np.where(whole > 0, phase, -1.0))] = 1
        return replace(self, price=price, factor=factor, slots=slots, paced=paced)

    def cost(self) -> FloatArray:
        """Price of the next connection on each slot before any placement, shape (slots,)."""
        cost: FloatArray = np.sqrt(self.price + self.level) @ self.weight
        return cost


@dataclass(frozen=True, slots=True, eq=False)
class Forecast:
    """Predicted load: what a report of each endpoint will say `h` seconds after the tick.

    Attributes:
        endpoint_ids: the rows.
        horizons_s: the columns, seconds ahead, ascending from 0.
        mean: shape (endpoints, horizons), load.
        errors: ascending quantiles of the recent forecast error per horizon, over load's own noise scale,
            shape (horizons, levels).
        levels: the probabilities of `errors`, shape (levels,), ascending in (0, 1).
        spread: scale of the error of each endpoint, shape (endpoints, horizons), load.
    """

    endpoint_ids: tuple[str, ...]
    horizons_s: FloatArray
    mean: FloatArray
    errors: FloatArray
    levels: FloatArray
    spread: FloatArray

    def at(self, horizon_s: float) -> dict[str, float]:
        """Expected load by endpoint, `horizon_s` ahead; between horizon points by interpolation, in [0, 30] s."""
        return dict(zip(self.endpoint_ids, self._column(self.mean, horizon_s).tolist(), strict=True))

    def quantile(self, horizon_s: float, q: float) -> dict[str, float]:
        """Load by endpoint that is not exceeded with probability `q`, in (0, 1), `horizon_s` ahead."""
        row = self._column(self.errors.T, horizon_s)
        error = float(np.interp(q, self.levels, row))
        load = self._column(self.mean, horizon_s) + error * self._column(self.spread, horizon_s)
        return dict(zip(self.endpoint_ids, np.maximum(load, 0.0).tolist(), strict=True))

    def _column(self, table: FloatArray, horizon_s: float) -> FloatArray:
        """The column of `table`, shape (rows, horizons), at a horizon that may lie between the points."""
        points = self.horizons_s
        right = int(np.clip(np.searchsorted(points, horizon_s), 1, len(points) - 1))
        share = np.clip((horizon_s - points[right - 1]) / (points[right] - points[right - 1]), 0.0, 1.0)
        column: FloatArray = (1 - share) * table[:, right - 1] + share * table[:, right]
        return column


@dataclass(frozen=True, eq=False)
class Plan:
    """One tick's result.

    Attributes:
        now_s: the tick.
        table: for planes that pick themselves.
        forecast: predicted load.
        weigh: computes weights from the seconds that they will hold for; most planes never ask.
        pool_size: how many of the eligible endpoints the pool holds.
        moves: connections to move.
        fallbacks: names of the fallbacks in force, e.g. "telemetry_missing"; empty when all is well.
    """

    now_s: float
    table: Table
    forecast: Forecast
    weigh: Callable[[float], dict[str, int]]
    pool_size: int = UNLIMITED
    moves: tuple[Move, ...] = ()
    fallbacks: frozenset[str] = frozenset()

    @cached_property
    def weights(self) -> dict[str, int]:
        """For planes that only take weights: share of the next second's arrivals by endpoint id, 0 to 1000.

        0: nothing new, because the endpoint takes nothing or is not in the pool. Others have at least 1.
        """
        return self.weigh(1.0)

    def weights_for(self, seconds: float) -> dict[str, int]:
        """As `weights`, for a plane that takes new ones only so often.

        Weights that fill the valleys of one second overfill them when they hold for five.
        """
        return self.weigh(max(seconds, 1.0))

    @cached_property
    def pool(self) -> tuple[str, ...]:
        """Ids of the endpoints that newcomers should go to, fittest first: eligible ones, fewer when it is busy.

        Whoever picks by `table` need not look at it: the price keeps within it.
        """
        fittest = self.table.fittest(self.pool_size)
        return tuple(self.table.endpoint_ids[slot] for slot in fittest.tolist())
