"""Who waits, in which order they are served, and how fast.

The order is fair among clients: each has a turn after the other, however many connections it lets wait (start-time fair
queueing with connections of equal size, Goyal, Vin and Cheng 1996). Connections without a client count as clients of
their own, so without any keys it is first come, first served.

A second's places become free at its tick, all at once. Handing them out at once too would meet every endpoint with a
second's handshakes in one moment; `Drip` hands them out over the second.
"""

import heapq
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Generic, TypeVar

T = TypeVar("T")

BURST_S = 0.1
"""Places of this part of a second may go at once: less than a handshake lasts (`fitness.HANDSHAKE_S`), so that the
first moment of a second is hardly fuller than the rest of it."""
TURNS_KEPT = 64
"""Turns of this many clients of whom nobody waits any more may be remembered."""


@dataclass(frozen=True, slots=True)
class Waiting:
    """One connection that waits in a balancer: what `place` was asked, and until when it waits."""

    connection_id: str
    deadline_s: float
    zone: str
    prefer: str | None
    exclude: frozenset[str]
    kind: int


class Queue(Generic[T]):
    """Connections that wait for an endpoint, by their ids; bounded.

    Iterating gives them in order of arrival; none may be taken out meanwhile.

    Attributes:
        waiting: by id the number of its arrival, what was put in, and its client.
        size_max: one more is not taken; those that wait already may stay when it falls.
    """

    def __init__(self, size_max: int) -> None:
        self.size_max = size_max
        self.waiting: dict[str, tuple[int, T, str]] = {}
        self._order: list[tuple[int, int, str]] = []  # heap of turn, arrival, id; may hold some that have left
        self._last_turn: dict[str, int] = {}  # by client
        self._arrivals = 0

    def __len__(self) -> int:
        return len(self.waiting)

    def __contains__(self, connection_id: object) -> bool:
        return connection_id in self.waiting

    def __iter__(self) -> Iterator[T]:
        return (item for _, item, _ in self.waiting.values())

    @property
    def full(self) -> bool:
        """Whether nobody else may wait."""
        return len(self.waiting) >= self.size_max

    def push(self, connection_id: str, item: T, client: str = "") -> None:
        """Queue one that does not wait yet, at the end of its client's line."""
        assert not self.full
        assert connection_id not in self.waiting
        turn = self._turn()
        if client:
            turn = self._last_turn[client] = max(turn, self._last_turn.get(client, -1) + 1)
        self._arrivals += 1
        self.waiting[connection_id] = self._arrivals, item, client
        heapq.heappush(self._order, (turn, self._arrivals, connection_id))
        if len(self._last_turn) > 2 * len(self.waiting) + TURNS_KEPT:
            self._forget_turns()

    def remove(self, connection_id: str) -> bool:
        """Take one out; False where it was not waiting."""
        return self.waiting.pop(connection_id, None) is not None

    def first(self, count: int) -> list[T]:
        """Those whose turn it is, at most `count`, in order; they go on waiting."""
        entries: list[tuple[int, int, str]] = []
        while len(entries) < count and self._drop_gone():
            entries.append(heapq.heappop(self._order))
        for entry in entries:
            heapq.heappush(self._order, entry)
        return [self.waiting[connection_id][1] for _, _, connection_id in entries]

    def _drop_gone(self) -> bool:
        """Bring one that still waits to the top of the heap; False where nobody does."""
        order = self._order
        while order:
            _, arrival, connection_id = order[0]
            if self.waiting.get(connection_id, (0,))[0] == arrival:
                return True
            heapq.heappop(order)
        return False

    def _turn(self) -> int:
        """Whose turn it is; a client that comes only now does not catch up on turns before it."""
        if self._drop_gone():
            return self._order[0][0]
        self._last_turn.clear()
        return 0

    def _forget_turns(self) -> None:
        """Clients of whom nobody waits begin anew, behind those who have the present turn already."""
        present = {client for _, _, client in self.waiting.values()}
        self._last_turn = {client: last for client, last in self._last_turn.items() if client in present}


class Drip:
    """How many of those who wait may be served now: a second's places, over that second."""

    def __init__(self) -> None:
        self._credit = 0.0
        self._then_s = float("-inf")

    def allow(self, places: int, now_s: float) -> int:
        """Placements that may be made now.

        Args:
            places: there are in a second.
            now_s: this moment. Who asks rarely gets more at once: what has become due since, up to a second's.
        """
        since_s = min(max(now_s - self._then_s, 0.0), 1.0)
        self._then_s = max(now_s, self._then_s)
        per_s = max(places, 1)  # so that the first place to become free after a while is given at once
        most = per_s * max(since_s, BURST_S) + 1.0  # one more, lest fractions be lost
        self._credit = min(self._credit + per_s * since_s, most)
        return int(self._credit)

    def take(self) -> None:
        """One was made."""
        self._credit -= 1.0
