"""Weighted turns by earliest deadline first: how planes that only take weights spread newcomers."""

import heapq
from collections.abc import Callable, Collection, Mapping


class Deadlines:
    """Everybody's next turn is one over its weight after its last.

    Source: Envoy `EdfScheduler`; gRFC A58: first deadlines are drawn within the period, lest all schedules that start
    at once pick the same endpoints in the same order. Ours keeps an endpoint's place in its period when weights
    change, so that a schedule that is renewed each second does not decay to random picks.

    Args:
        random: draws from [0, 1).
    """

    def __init__(self, random: Callable[[], float]) -> None:
        self._random = random
        self._weight: dict[int, float] = {}
        self._heap: list[tuple[float, int]] = []
        self._now = 0.0

    def schedule(self, weight: Mapping[int, float]) -> None:
        """Go on with these slots and weights, all above 0."""
        remaining = {slot: (at - self._now) * self._weight[slot] for at, slot in self._heap}
        self._weight = dict(weight)
        self._heap = [
            (self._now + remaining.get(slot, self._random()) / share, slot) for slot, share in self._weight.items()
        ]
        heapq.heapify(self._heap)

    def next(self, among: Collection[int] = ()) -> int:
        """The slot whose turn it is; `among`: one of these, the others keep their turn; empty: any."""
        skipped = []
        while among and self._heap[0][1] not in among:
            skipped.append(heapq.heappop(self._heap))
        at, slot = self._heap[0]
        self._now = max(self._now, at)
        heapq.heapreplace(self._heap, (at + 1.0 / self._weight[slot], slot))
        for turn in skipped:
            heapq.heappush(self._heap, turn)
        return slot
