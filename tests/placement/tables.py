"""Tables as a tick makes them, drawn at random; and the rule of `Table`, carried out by looking at everybody."""

from collections.abc import Container

import numpy as np

from forestay.model.plan import UNLIMITED, FloatArray, IntArray, Table
from forestay.placement.fitness import KAPPA

HORIZONS = 9


def random_table(endpoints: int, rng: np.random.Generator, *, slots_max: int = UNLIMITED, paced_max: int = 0) -> Table:
    """Loads from .1 to .9 that wander over the horizons, connections of 0 to 5 % load, up to `slots_max` slots."""
    load = rng.uniform(0.1, 0.9, (endpoints, 1)) + rng.normal(0, 0.05, (endpoints, HORIZONS))
    own = rng.uniform(0.0, 0.05, (endpoints, 1)) * rng.uniform(0.0, 1.0, HORIZONS)
    weight = rng.uniform(0.1, 1.0, HORIZONS)
    return Table(
        endpoint_ids=tuple(f"10.0.{slot // 250}.{slot % 250}:80" for slot in range(endpoints)),
        price=np.exp(2 * KAPPA * load),
        factor=np.exp(2 * KAPPA * own),
        weight=weight / weight.sum(),
        level=np.exp(2 * KAPPA * rng.uniform(0.1, 0.6, HORIZONS)),
        slots=rng.integers(0, slots_max, endpoints, endpoint=True),
        paced=rng.integers(0, paced_max, endpoints, endpoint=True),
    )


class Rule:
    """What a planner is to do, without a heap.

    Attributes:
        placed: by everybody since the table was made, shape (slots,).
    """

    def __init__(self, table: Table) -> None:
        self.table = table
        self.price = table.price.copy()
        self.limits: list[IntArray] = [table.slots.copy(), table.slots + table.paced]
        self.placed: IntArray = np.zeros(len(table.slots), np.int64)

    def costs(self) -> FloatArray:
        """Price of the next connection on each slot, shape (slots,)."""
        squared = self.price * self.table.factor ** self.placed[:, None]
        costs: FloatArray = np.sqrt(squared + self.table.level) @ self.table.weight
        return costs

    def allows(self, slot: int, exclude: Container[int] = (), *, wide: bool = False) -> bool:
        """Whether `slot` is a right answer: the cheapest there is, but for rounding; -1: nobody may take it.

        `wide`: slots and paced ones alike, as from the moment on when nobody had slots left.
        """
        costs = self.costs()
        for limit in self.limits[wide:]:
            open_slots = [other for other in np.flatnonzero(self.placed < limit).tolist() if other not in exclude]
            if open_slots:
                return slot in open_slots and bool(costs[slot] <= costs[open_slots].min() * (1 + 1e-9))
        return slot == -1
