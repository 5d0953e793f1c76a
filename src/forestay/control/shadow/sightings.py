"""What is seen of connections that somebody else places, and the line where it waits for its moment.

Most balancers log a connection when it ends. So that its opening is not news from the past, a shadow may live some
seconds behind: whatever it hears waits here until its clock has come to the moment when it happened, and is then
handled in the order of time.
"""

import heapq
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Generic, Literal, TypeVar

WAITING_MAX = 500_000
"""Items that wait at once: a minute of 4,000 connections and 1,000 reports a second, some 200 MB."""

Item = TypeVar("Item")


@dataclass(frozen=True, slots=True)
class Sighting:
    """Something that was seen of one connection.

    Attributes:
        event: "opened", "closed", "present" (nobody saw it open), or "lived" (all of it at once, when it is over).
        id: of the connection; "lived" may do without.
        endpoint_id: where it is; "closed" may do without.
        at: Unix time of what happened, with "lived" of the opening; None: what happened last, happened just now.
        duration_s: with "lived".
        client: its address, where known.
        hint: class of connection, where known.
    """

    event: Literal["opened", "closed", "present", "lived"]
    id: str = ""
    endpoint_id: str = ""
    at: float | None = None
    duration_s: float = 0.0
    client: str = ""
    hint: str = ""


class WaitingLine(Generic[Item]):
    """Items by the moment when their turn comes; equal moments in order of arrival."""

    def __init__(self, waiting_max: int = WAITING_MAX) -> None:
        self._heap: list[tuple[float, int, Item]] = []
        self._waiting_max = waiting_max
        self._number = 0

    def __len__(self) -> int:
        return len(self._heap)

    @property
    def full(self) -> bool:
        """Whether nothing that can be left out should join."""
        return len(self._heap) >= self._waiting_max

    def join(self, at_s: float, item: Item) -> None:
        """Wait until `at_s`."""
        self._number += 1
        heapq.heappush(self._heap, (at_s, self._number, item))

    def due(self, now_s: float) -> Iterator[tuple[float, Item]]:
        """Take those out whose moment has come, earliest first, each with its moment."""
        while self._heap and self._heap[0][0] <= now_s:
            at_s, _, item = heapq.heappop(self._heap)
            yield at_s, item
