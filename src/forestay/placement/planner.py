"""The cheapest endpoint without a scan: a heap of prices that is corrected lazily.

Between two ticks a price only rises by placements, and every picker counts its own in a column of cumulative counters
that the others may read. So a heap entry is a lower bound: look at the top, add what anybody placed there since, and
sink it if it rose. Nobody locks; two pickers that look within the same microsecond may both take the same slot, which
the next look corrects.

Only the cheapest few hundred endpoints are kept as tuples, whose arithmetic is several times faster than that of
short arrays; the rest stay in arrays until the cheapest of them is reached.
"""

import heapq
import struct
from collections.abc import Container, MutableSequence, Sequence
from itertools import repeat
from math import exp, inf, sqrt
from operator import add, mul
from typing import TypeAlias

import numpy as np

from forestay.model.plan import FloatArray, IntArray, Table
from forestay.placement.fitness import KAPPA

HOT = 512
"""Endpoints kept as tuples. A rebuild costs some 0.2 us per endpoint of the cluster, shared by so many picks."""
CEILING = 1e300
"""Squared prices end here, far beyond any load, lest hundreds of placements between two looks overflow a float."""

Evidence: TypeAlias = tuple[float, bytes, Sequence[float], tuple[float, int, int]]
"""What spoke for a slot: its price; its weighted squared price per horizon point as native doubles (one object instead
of ten: thousands are kept for explanations); the squared weights in it; the cheapest other entry of the heap as (price,
tie, slot), whose price is a lower bound, or the slot itself where there was no other."""


class Planner:
    """Picks by the rule of `Table` until the next table.

    Args:
        table: prices, factors and limits.
        own: this picker's cumulative placements by slot; it is their only writer.
        others: the other pickers' columns, read only.
        base: how many placements of all columns together the table's prices already contain, by slot.
        seed: order among equal prices; different for every picker, or they would follow each other.
    """

    def __init__(
        self,
        table: Table,
        own: "MutableSequence[int] | memoryview[int]",
        others: Sequence[Sequence[int]] = (),
        base: Sequence[int] | IntArray | None = None,
        seed: int = 0,
    ) -> None:
        self._factor = table.factor
        # A weight inside the root is one multiplication less in every price: w sqrt(p + l) = sqrt(w^2 p + w^2 l).
        squares = table.weight**2
        self._squares = tuple(squares.tolist())
        self._level = tuple((table.level * squares).tolist())
        self._own, self._others = own, others
        self._base = self._counted() if base is None else np.asarray(base, np.int64)
        self._price = table.price * squares
        self._seen = np.zeros(len(self._base), np.int64)  # placements that _price contains
        self._limits = (table.slots.copy(), table.slots + table.paced)
        self._wide = False  # True once nobody has slots left: the paced ones count as well
        self._pack = struct.Struct(f"{len(self._level)}d").pack
        self._seed = seed * 0x9E3779B1
        self._rows: dict[int, Sequence[float]] = {}  # squared prices of the hot slots; see _warm
        self._rebuild()

    def pick(self, exclude: Container[int] = ()) -> int:
        """The slot for the next connection, counted at once; -1 where nobody may take it."""
        slot = self.peek(exclude)
        if slot >= 0:
            self.count(slot)
        return slot

    def count(self, slot: int) -> None:
        """Count a placement on `slot`: this picker's next pick, or the caller's own choice, must see it."""
        self._own[slot] += 1
        if self._heap and self._heap[0][2] == slot and slot in self._value:
            self._settle(slot, self._hot_seen[slot] + 1)
        else:
            self._follow(slot)

    def peek(self, exclude: Container[int] = ()) -> int:
        """The slot that `pick` would choose, not counted."""
        heap, value, seen, own, base = self._heap, self._value, self._hot_seen, self._own, self._hot_base
        skipped: list[tuple[float, int, int]] = []
        while True:
            if not heap or heap[0][0] > self._bound:
                if skipped:  # whoever is cheap is excluded
                    slot = self._scan(exclude)
                    break
                if not self._extend():
                    slot = -1
                    break
                heap, value, seen, base = self._heap, self._value, self._hot_seen, self._hot_base
                continue
            cost, _, slot = heap[0]
            if cost != value.get(slot):  # replaced by a later entry
                heapq.heappop(heap)
                continue
            placed = own[slot] - base[slot]
            for column in self._others:
                placed += column[slot]
            if placed != seen[slot]:
                self._settle(slot, placed)
                continue
            if slot not in exclude:
                break
            skipped.append(heapq.heappop(heap))
        for entry in skipped:
            if value.get(entry[2]) == entry[0]:
                heapq.heappush(heap, entry)
        return slot

    def nearest(self, most: int, exclude: Container[int] = ()) -> list[int]:
        """Some of the cheapest slots, the cheapest first; others' latest placements may be missed."""
        first = self.peek(exclude)
        slots = [first] if first >= 0 else []
        heap, value = self._heap, self._value
        frontier = [(heap[0], 0)] if heap else []  # a heap's cheapest entries hang together from its root
        while frontier and len(slots) < most:
            (cost, _, slot), index = heapq.heappop(frontier)
            if cost == value.get(slot) and slot not in exclude and slot not in slots:
                slots.append(slot)
            for child in (2 * index + 1, 2 * index + 2):
                if child < len(heap):
                    heapq.heappush(frontier, (heap[child], child))
        return slots

    def unplace(self, slot: int) -> None:
        """Take back a pick that came to nothing."""
        self._own[slot] -= 1
        self._follow(slot)

    def reprice(self, slot: int, factors: Sequence[float], room: int = 0) -> None:
        """Change one endpoint's price outside of the usual rise: a connection closed there, a connect failed.

        Args:
            slot: whose.
            factors: what its squared price is multiplied by, per horizon point.
            room: connections it may take more than before.
        """
        for limit in self._limits if room else ():
            limit[slot] += room
        if slot in self._rows:
            self._hot_limit[slot] += room
            self._rows[slot] = tuple(map(mul, self._rows[slot], factors))
            self._push(slot)
            return
        price = tuple(map(mul, self._price[slot].tolist(), factors))
        if self._cost(price) < self._bound:  # it may be the cheapest now
            self._warm_one(slot, price)
            self._follow(slot)
        else:
            self._price[slot] = price

    def cost(self, slot: int) -> float:
        """Price of one more connection on `slot`, by all placements known so far."""
        return self._cost(self.row(slot))

    def placed(self, slot: int) -> int:
        """Placements on `slot` since the table was made, by all pickers."""
        return int(self._own[slot] + sum(column[slot] for column in self._others) - self._base[slot])

    def evidence(self, slot: int) -> Evidence:
        """What speaks for `slot` right now."""
        row, cost, heap = self.row(slot), self._value.get(slot, -1.0), self._heap
        if cost < 0:  # not in the heap
            cost = self._cost(row)
        if len(heap) > 1 and heap[0][2] == slot:  # the next cheapest is one of the root's children
            other = heap[1] if len(heap) == 2 or heap[1] < heap[2] else heap[2]
        else:
            other = heap[0] if heap else (cost, 0, slot)
        return cost, self._pack(*row), self._squares, other

    def row(self, slot: int) -> Sequence[float]:
        """Weighted squared price of `slot` per horizon point; a row is replaced, never changed, so it may be kept."""
        if slot not in self._rows:
            self._warm_one(slot, tuple(self._price[slot].tolist()))
        return self._rows[slot]

    def current(self, slot: int) -> float:
        """Price of one more connection on `slot` with everybody's placements; inf where it has no slots left."""
        if slot not in self._rows:
            self._warm_one(slot, tuple(self._price[slot].tolist()))
        placed = self.placed(slot)
        if placed != self._hot_seen[slot]:
            self._follow(slot)
        if placed >= self._limits[0][slot]:
            return inf
        cost = self._value.get(slot, -1.0)
        return cost if cost >= 0 else self._cost(self._rows[slot])

    def cost_at(self, load: float) -> float:
        """Price of one more connection on an endpoint that stays at this load."""
        squared = exp(2 * KAPPA * load)
        return self._cost([square * squared for square in self._squares])

    def costs(self, slots: IntArray) -> FloatArray:
        """Prices of slots, by the placements known so far; their limits do not count here."""
        costs: FloatArray = np.sqrt(self._price[slots] + self._level).sum(1)
        for index, slot in enumerate(slots.tolist()):
            if slot in self._rows:
                costs[index] = self._cost(self._rows[slot])
        return costs

    def _tie(self, slot: int) -> int:
        """Order among equal prices: a permutation of the slots that depends on the seed (multiplicative hashing)."""
        return ((slot + 1) * 0x9E3779B1 ^ self._seed) & 0xFFFFFFFF

    def _cost(self, row: Sequence[float]) -> float:
        cost: float = sum(map(sqrt, map(add, row, self._level)))
        return cost

    def _settle(self, slot: int, placed: int) -> None:
        """Bring the heap's top, which is `slot`, up to `placed` placements."""
        more = placed - self._hot_seen[slot]
        if more == 1:
            row = self._rows[slot] = tuple(map(mul, self._rows[slot], self._factors[slot]))
        else:
            row = self._rows[slot] = self._raised(slot, more)
        self._hot_seen[slot] = placed
        if placed >= self._hot_limit[slot]:
            heapq.heappop(self._heap)
            self._value[slot] = -1.0  # no entry
            return
        cost = self._value[slot] = self._cost(row)
        heapq.heapreplace(self._heap, (cost, self._heap[0][1], slot))

    def _follow(self, slot: int) -> None:
        """Bring any slot up to the counters, wherever it is in the heap."""
        if slot not in self._rows:
            self._warm_one(slot, tuple(self._price[slot].tolist()))
        placed = self.placed(slot)
        self._rows[slot] = self._raised(slot, placed - self._hot_seen[slot])
        self._hot_seen[slot] = placed
        self._push(slot)

    def _raised(self, slot: int, more: int) -> tuple[float, ...]:
        """The hot slot's squared prices after `more` placements; negative: before them."""
        row = self._rows[slot]
        try:
            return tuple(map(mul, row, map(pow, self._factors[slot], repeat(more))))
        except OverflowError:
            return (CEILING,) * len(row)

    def _push(self, slot: int) -> None:
        if self._hot_seen[slot] < self._hot_limit[slot]:
            cost = self._value[slot] = self._cost(self._rows[slot])
            heapq.heappush(self._heap, (cost, self._tie(slot), slot))
        else:
            self._value[slot] = -1.0  # no entry

    def _extend(self) -> bool:
        """The heap ran out of cheap entries: look at everybody again, the second time with paced slots."""
        if self._heap or self._bound != np.inf:
            self._rebuild()
        if not self._heap and not self._wide:
            self._wide = True
            self._rebuild()
        return bool(self._heap)

    def _scan(self, exclude: Container[int]) -> int:
        """What `peek` is to answer, by looking at everybody; changes nothing."""
        placed, cost = self._survey()
        order = np.argsort(cost, kind="stable")
        for limit in self._limits[self._wide :]:
            for slot in order[(placed < limit)[order]].tolist():
                if slot not in exclude:
                    return int(slot)
        return -1

    def _counted(self) -> IntArray:
        total = np.array(self._own, np.int64)
        for column in self._others:
            total += np.array(column, np.int64)
        return total

    def _survey(self) -> tuple[IntArray, FloatArray]:
        """Bring the arrays up to date: placements and price of every slot, shapes (slots,)."""
        self._cool()
        placed = self._counted() - self._base
        risen = np.flatnonzero(placed != self._seen)
        with np.errstate(over="ignore"):
            self._price[risen] *= self._factor[risen] ** (placed - self._seen)[risen, None]
        np.minimum(self._price, CEILING, out=self._price)
        self._seen[risen] = placed[risen]
        return placed, np.sqrt(self._price + self._level).sum(1)

    def _rebuild(self) -> None:
        """Keep the cheapest as tuples."""
        placed, cost = self._survey()
        cost[placed >= self._limits[self._wide]] = np.inf
        self._bound = np.inf
        if len(cost) > HOT:
            nearest = np.argpartition(cost, HOT)
            # Nobody outside the tuples is cheaper, but for the rounding in which arrays and tuples differ.
            self._bound = float(cost[nearest[HOT]]) * (1 + 1e-9)
            cheap = nearest[:HOT]
            cheap = cheap[np.isfinite(cost[cheap])]
        else:
            cheap = np.flatnonzero(np.isfinite(cost))
        self._rows = {}
        self._factors: dict[int, Sequence[float]] = {}
        self._value: dict[int, float] = {}
        self._hot_seen: dict[int, int] = {}
        self._hot_base: dict[int, int] = {}
        self._hot_limit: dict[int, int] = {}
        slots = cheap.tolist()
        self._warm(slots)
        self._value.update(zip(slots, cost[cheap].tolist(), strict=True))
        self._heap = [(self._value[slot], self._tie(slot), slot) for slot in slots]
        heapq.heapify(self._heap)

    def _warm(self, slots: list[int]) -> None:
        """Move endpoints from the arrays to tuples, which the garbage collector soon stops looking at."""
        self._rows.update(zip(slots, map(tuple, self._price[slots].tolist()), strict=True))
        self._factors.update(zip(slots, map(tuple, self._factor[slots].tolist()), strict=True))
        self._hot_seen.update(zip(slots, self._seen[slots].tolist(), strict=True))
        self._hot_base.update(zip(slots, self._base[slots].tolist(), strict=True))
        self._hot_limit.update(zip(slots, self._limits[self._wide][slots].tolist(), strict=True))

    def _warm_one(self, slot: int, row: Sequence[float]) -> None:
        """The same for a single slot at a fifth of the cost: with thousands of endpoints every other close needs it."""
        self._rows[slot] = row
        self._factors[slot] = tuple(self._factor[slot].tolist())
        self._hot_seen[slot] = int(self._seen[slot])
        self._hot_base[slot] = int(self._base[slot])
        self._hot_limit[slot] = int(self._limits[self._wide][slot])

    def _cool(self) -> None:
        """Write the tuples back to the arrays."""
        slots = list(self._rows)
        if slots:
            self._price[slots] = list(self._rows.values())
            self._seen[slots] = [self._hot_seen[slot] for slot in slots]
