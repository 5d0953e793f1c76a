"""Announced external events: a campaign, a broadcast, a maintenance window."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Event:
    """Something known beforehand that changes how many connections arrive.

    Attributes:
        name: for people, and the key: announcing the name again replaces the event.
        starts_s, ends_s: seconds on the clock that `now_s` is on; `ends_s` exclusive.
        arrival_factor: arrivals while it lasts, over what they would be without it; 3.0: three times as many.
    """

    name: str
    starts_s: float
    ends_s: float
    arrival_factor: float = 1.0
