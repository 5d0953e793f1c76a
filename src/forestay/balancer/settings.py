"""Everything that can be set about one cluster's balancer."""

import math
from dataclasses import dataclass, fields
from typing import Literal

from forestay.model.errors import InvalidInput


@dataclass(frozen=True, slots=True, kw_only=True)
class BalancerSettings:
    """Settings of one `Balancer`. Every default is meant to be right for most; loads are fractions of capacity.

    Attributes:
        threshold: predicted load at or over which an endpoint is not eligible, (0, 1].
        load_max: predicted load over which an endpoint takes nothing even when everybody is busy, (0, 2].
        memory_max: reported memory over which an endpoint is not eligible, (0, 1].
        overload: "queue" queues and sheds when nobody is eligible; "place" always takes the least bad endpoint.
        queue_max: waiting connections; one more is shed.
        queue_deadline_s: longest wait, seconds.
        reservation_s: an admitted connection that is neither opened, failed nor closed by then is forgotten, seconds.
        prefer_factor: a preferred endpoint wins up to this multiple of the cheapest price, >= 1.
        zone_factor: endpoints of the client's zone win while they stay under 0.35 load, and beyond that up to this
            multiple of the cheapest price, >= 1; 1.1 is some .016 of load, 2 some .12.
        stale_after_s: a report older than this no longer counts as knowledge, seconds.
        pickers: how many balancers place on these endpoints without sharing their placements, >= 1.
        client_rate_per_s: placements a second allowed per client key; 0: no limit.
        client_burst: placements a client may make at once before the rate counts, >= 1.
    """

    threshold: float = 0.70
    load_max: float = 0.95
    memory_max: float = 0.90
    overload: Literal["queue", "place"] = "queue"
    queue_max: int = 10_000
    queue_deadline_s: float = 5.0
    reservation_s: float = 10.0
    prefer_factor: float = 1.2
    zone_factor: float = 1.1
    stale_after_s: float = 10.0
    pickers: int = 1
    client_rate_per_s: float = 0.0
    client_burst: int = 10

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, float | int) and not math.isfinite(value):
                raise InvalidInput(f"{field.name} = {value}: must be a finite number")
        bounds = {
            "threshold": (0.01, 1.0),
            "load_max": (0.01, 2.0),
            "memory_max": (0.01, 1.0),
            "queue_max": (0, 10_000_000),
            "queue_deadline_s": (0.0, 3600.0),
            "reservation_s": (0.1, 3600.0),
            "prefer_factor": (1.0, 100.0),
            "zone_factor": (1.0, 1000.0),
            "stale_after_s": (1.5, 3600.0),
            "pickers": (1, 100_000),
            "client_rate_per_s": (0.0, 1e9),
            "client_burst": (1, 1_000_000),
        }
        for name, (low, high) in bounds.items():
            value = getattr(self, name)
            if not low <= value <= high:
                raise InvalidInput(f"{name} = {value}: must lie in [{low}, {high}]")
        if self.load_max < self.threshold:
            raise InvalidInput(
                f"load_max = {self.load_max}: must not be under threshold = {self.threshold}; raise load_max"
            )
        if self.overload not in ("queue", "place"):
            raise InvalidInput(f'overload = {self.overload!r}: must be "queue" or "place"')
