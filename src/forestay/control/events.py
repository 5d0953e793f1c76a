"""Announced events of one cluster, in Unix time: people and restarts know no monotonic clock."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

from forestay.balancer import Balancer
from forestay.control.clock import Clock
from forestay.model.errors import InvalidInput
from forestay.model.event import Event

EVENTS_MAX = 1000
"""Events known at once; a calendar has fewer, a client in a loop has more."""


@dataclass(frozen=True, slots=True)
class AnnouncedEvent:
    """An event as the operator announced it.

    Attributes:
        name: the key.
        starts_at, ends_at: Unix time, seconds; `ends_at` exclusive.
        arrival_factor: arrivals while it lasts, over what they would be without it.
    """

    name: str
    starts_at: float
    ends_at: float
    arrival_factor: float

    def __post_init__(self) -> None:
        if not self.name or len(self.name) > 128:
            raise InvalidInput(f"name = {self.name[:40]!r}: give the event a name of 1 to 128 characters")
        for field, value in (("starts_at", self.starts_at), ("ends_at", self.ends_at)):
            if not math.isfinite(value):
                raise InvalidInput(f"{field} = {value}: must be a finite Unix time in seconds")
        if self.ends_at <= self.starts_at:
            raise InvalidInput(f"ends_at = {self.ends_at}: must be later than starts_at = {self.starts_at}")
        if not 0.0 <= self.arrival_factor <= 1000.0:
            raise InvalidInput(f"arrival_factor = {self.arrival_factor}: must lie in [0, 1000]; 1 changes nothing")


class EventCalendar:
    """Events by name; announcing a name again replaces the event.

    Attributes:
        revision: grows with every change.
    """

    def __init__(self, balancer: Balancer, clock: Clock) -> None:
        self.revision = 0
        self._balancers = [balancer]
        self._clock = clock
        self._events: dict[str, AnnouncedEvent] = {}

    def __iter__(self) -> Iterator[AnnouncedEvent]:
        return iter(self._events.values())

    def tell_also(self, balancer: Balancer) -> None:
        """Tell a second balancer as well, from now on."""
        self._balancers.append(balancer)

    def announce(self, event: AnnouncedEvent) -> None:
        """Tell the balancer of an event.

        Raises:
            InvalidInput: it is over already, or there are too many.
        """
        if event.ends_at <= self._clock.wall_s():
            raise InvalidInput(f"ends_at = {event.ends_at}: is in the past; announce events before they end")
        if event.name not in self._events and len(self._events) >= EVENTS_MAX:
            raise InvalidInput(f"name = {event.name!r}: {EVENTS_MAX} events are announced already; withdraw some")
        self._events[event.name] = event
        self.revision += 1
        self._tell(event.name, event.starts_at, event.ends_at, event.arrival_factor)

    def withdraw(self, name: str) -> bool:
        """Take an event back; False: there was none of this name."""
        event = self._events.pop(name, None)
        if event is None:
            return False
        self.revision += 1
        # The balancer knows announcing only: an event of factor 1 that ends now says nothing any more.
        wall_s = self._clock.wall_s()
        self._tell(name, min(event.starts_at, wall_s - 1.0), wall_s, 1.0)
        return True

    def forget_past(self) -> None:
        """Drop the events that are over."""
        wall_s = self._clock.wall_s()
        for name in [event.name for event in self if event.ends_at <= wall_s]:
            del self._events[name]
            self.revision += 1

    def _tell(self, name: str, starts_at: float, ends_at: float, arrival_factor: float) -> None:
        to_monotonic = self._clock.monotonic
        event = Event(name, to_monotonic(starts_at), to_monotonic(ends_at), arrival_factor)
        for balancer in self._balancers:
            balancer.announce(event, self._clock.now_s())
