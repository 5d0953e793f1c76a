"""How wide the pool is: the part of the eligible endpoints that get newcomers, the fittest first.

Wide while the cluster is quiet: everybody is about as good as anybody else. Narrow when it is busy: newcomers go to
the endpoints with most headroom, and the others come to rest as their connections leave. The pool moves one step a
tick, and only outside of a band of load, so that noise never makes it swing. It always holds the endpoints that
arrivals of the next seconds will fill, and everybody where too few are known to be well.

It binds whoever spreads connections without looking at prices: weights, and callers that keep connections to a part of
the endpoints. A pick by price needs no bound; it goes to the cheapest, which are in the pool.

Source: Finagle's LoadBand (one step per update, a band between widening and narrowing). Ours differs: it widens when
load is low, because it spreads load that lasts, not requests; and what arrivals need bounds it from below.
"""

import math
from dataclasses import replace

import numpy as np

from forestay.model.plan import Table

STEPS = 16
"""A step is this part of the eligible endpoints."""
MEMORY = 0.05
"""Weight of one tick in the smoothed load and need: some 20 s. Noise of .1 becomes .016, a quarter of a step."""
MARGIN = 4
"""Steps that the pool stays above what is needed when it narrows: far more than smoothed noise can make good."""
BUSY, QUIET = 0.9, 0.7
"""Mean predicted load over the threshold above which the pool narrows, and below which it widens."""
SIZE_MIN = 3
"""Endpoints: with fewer a single one would take all newcomers."""
NEED = 5
"""Horizon points, to 7 s, at which an endpoint below the level counts as one that arrivals will fill."""
PANIC = 0.5
"""Where fewer than this part of the endpoints are healthy and report, narrowing to the best known is not founded."""


class Pool:
    """The state: where the pool stands, up to STEPS steps.

    Attributes:
        steps: the pool is `steps` / STEPS of the eligible endpoints.
        panic: whether too few endpoints are known to be well; then it is all of them, whatever the steps say.
    """

    def __init__(self) -> None:
        self.steps = STEPS
        self.panic = False
        self._load = self._need = math.nan

    def step(self, load: float, need: float, well: float) -> None:
        """One tick.

        Args:
            load: mean predicted load of the cluster over the threshold, >= 0.
            need: part of the eligible endpoints that arrivals of the next seconds will fill, in [0, 1].
            well: part of the endpoints in service that take newcomers and whose reports count, in [0, 1].
        """
        self.panic = well < PANIC
        if math.isnan(self._load):
            self._load, self._need = load, need
        self._load += MEMORY * (load - self._load)
        self._need += MEMORY * (need - self._need)
        needed = self._need * STEPS
        if self._load < QUIET or self.steps < needed:
            self.steps = min(self.steps + 1, STEPS)
        elif self._load > BUSY and self.steps - MARGIN >= needed:
            self.steps -= 1

    def measure(self, table: Table, load: float, well: float) -> None:
        """One tick: `step` with the need that the table shows; arguments as there."""
        eligible = table.eligible
        filling = (table.price[eligible, :NEED] < table.level[:NEED]).any(1)
        self.step(load, float(filling.mean()) if filling.size else 0.0, well)

    def size(self, eligible: int) -> int:
        """Endpoints in the pool: at least SIZE_MIN where so many are eligible."""
        if self.panic:
            return eligible
        return min(max(math.ceil(eligible * self.steps / STEPS), SIZE_MIN), eligible)


def narrowed(table: Table, size: int) -> Table:
    """The table where only the pool takes newcomers; unchanged where nobody is eligible: then the pace decides."""
    keep = np.zeros(len(table.slots), bool)
    keep[table.fittest(size)] = True
    if not keep.any():
        return table
    return replace(table, slots=np.where(keep, table.slots, 0), paced=np.where(keep, table.paced, 0))
