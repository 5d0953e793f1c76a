"""How many of each picker's placements the balancer knows of: the `base` of the next table.

A worker counts a pick in shared memory at once; the balancer hears of its outcome some 10 ms later. Only picks whose
outcome has been delivered are in the prices of the next plan, so only they may be in its base: a pick under way when
the table changes is then still counted against its endpoint by everybody.
"""

import numpy as np

from forestay.dataplanes.relay.shared_table import COLUMNS
from forestay.model.plan import IntArray


class Ledger:
    """Delivered outcomes by column and slot, and what they were at the last plan."""

    def __init__(self, capacity: int) -> None:
        self._delivered = np.zeros((COLUMNS, capacity), np.int64)
        self._planned = self._delivered.copy()
        self._cells = [row.data for row in self._delivered]

    def deliver(self, column: int, slot: int) -> None:
        """The balancer was told what became of one pick."""
        self._cells[column][slot] += 1

    def reset(self, column: int, delivered: IntArray) -> None:
        """Everything of a column that is accounted for: at a resync, or when its picker is gone."""
        width = min(len(delivered), self._delivered.shape[1])
        self._delivered[column, :width] = delivered[:width]

    def join(self, column: int) -> None:
        """A picker starts in the middle of a second: nothing it did before is pending."""
        self._planned[column] = self._delivered[column]

    def plan(self) -> None:
        """A plan was made from all that was delivered."""
        self._planned[:] = self._delivered

    def base(self, active: tuple[int, ...], count: int) -> IntArray:
        """Placements of the active columns that the last plan's prices contain, by slot."""
        base: IntArray = self._planned[list(active), :count].sum(axis=0)
        return base

    def widen(self, capacity: int) -> None:
        """More slots; all counts stay."""
        more = ((0, 0), (0, capacity - self._delivered.shape[1]))
        self._delivered, self._planned = np.pad(self._delivered, more), np.pad(self._planned, more)
        self._cells = [row.data for row in self._delivered]
