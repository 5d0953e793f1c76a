"""Near before far: the cheapest endpoint of a zone, by the prices of the whole cluster's planner.

Zones nest: "eu/rack-3" lies within "eu". A scope keeps a heap of its own over its endpoints and takes every price from
the planner, so a placement is counted once, wherever it was decided. As in the planner a heap entry is a lower bound
that is corrected when it comes to the top; prices that fall are pushed (see `changed`).
"""

import heapq
from collections.abc import Container, Iterable, Sequence
from functools import lru_cache
from math import inf

import numpy as np

from forestay.model.plan import IntArray
from forestay.placement.planner import Planner

SEPARATOR = "/"
QUIET_LOAD = 0.35
"""A near endpoint that stays under this wins, however idle others are: load this low costs next to nothing."""


@lru_cache(maxsize=4096)
def scopes(zone: str) -> tuple[str, ...]:
    """A zone and everything around it, nearest first: "eu/rack-3" gives "eu/rack-3" and "eu"; "" gives nothing."""
    parts = zone.split(SEPARATOR) if zone else []
    return tuple(SEPARATOR.join(parts[:depth]) for depth in range(len(parts), 0, -1))


def nearest(within: Iterable["Scope"], planner: Planner, cost: float, factor: float, exclude: Container[int]) -> int:
    """The cheapest slot of the first scope that has headroom, -1 where none has.

    Args:
        within: scopes, nearest first.
        planner: whose prices they have.
        cost: price of the cheapest slot of all.
        factor: up to this multiple of it a near slot wins; a quiet one always.
        exclude: slots that must not be chosen.
    """
    bound = max(cost * factor, planner.cost_at(QUIET_LOAD))
    for scope in within:
        cost, slot = scope.peek(exclude)
        if slot >= 0 and cost <= bound:
            return slot
    return -1


class Scope:
    """Some of a planner's slots, until its next table.

    Args:
        planner: of the whole cluster.
        slots: those of the scope.
    """

    def __init__(self, planner: Planner, slots: IntArray) -> None:
        self._planner = planner
        members = slots.tolist()
        self._value = dict(zip(members, planner.costs(slots).tolist(), strict=True))  # of the entry that counts
        self._heap = [(cost, slot) for slot, cost in self._value.items()]
        heapq.heapify(self._heap)

    def __contains__(self, slot: object) -> bool:
        return slot in self._value

    def peek(self, exclude: Container[int] = ()) -> tuple[float, int]:
        """The cheapest slot under the threshold and its price, not counted; (inf, -1) where there is none."""
        heap, value, planner = self._heap, self._value, self._planner
        skipped: list[tuple[float, int]] = []
        best = (inf, -1)
        while heap:
            cost, slot = heap[0]
            if cost != value[slot]:  # replaced by a later entry
                heapq.heappop(heap)
                continue
            now = planner.current(slot)
            if now != cost:
                value[slot] = now
                heapq.heapreplace(heap, (now, slot))
                continue
            if cost == inf:  # nobody has room
                break
            if slot not in exclude:
                best = cost, slot
                break
            skipped.append(heapq.heappop(heap))
        for entry in skipped:
            heapq.heappush(heap, entry)
        return best

    def changed(self, slot: int) -> None:
        """A slot of the scope may have become cheaper, or have room again."""
        cost = self._planner.current(slot)
        if cost != self._value[slot]:
            self._value[slot] = cost
            heapq.heappush(self._heap, (cost, slot))


class NearFirst:
    """A picker that stands in a zone: near endpoints win while they have headroom (see `nearest`).

    Args:
        planner: of the whole cluster.
        zone: the picker's.
        zones: zone by slot.
        factor: at least 1.
    """

    def __init__(self, planner: Planner, zone: str, zones: Sequence[str], factor: float) -> None:
        self._planner, self._factor = planner, factor
        inside = [[slot for slot, other in enumerate(zones) if name in scopes(other)] for name in scopes(zone)]
        self._scopes = [Scope(planner, np.array(slots, np.int64)) for slots in inside if slots]

    def pick(self, exclude: Container[int] = ()) -> int:
        """The slot for the next connection, counted at once; -1 where nobody may take it."""
        slot = self._planner.peek(exclude)
        if slot >= 0:
            near = nearest(self._scopes, self._planner, self._planner.cost(slot), self._factor, exclude)
            slot = near if near >= 0 else slot
            self._planner.count(slot)
        return slot
