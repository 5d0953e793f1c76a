"""How many connections will come, and who gets them.

The cluster's rate is one exponentially weighted mean: pooled over endpoints it is within a few per cent of knowing the
true rate, and no model of the series does better at these horizons. Announced events multiply it.
"""

from typing import ClassVar

import numpy as np

from forestay.forecasting.learned import Learned
from forestay.model.errors import InvalidInput
from forestay.model.event import Event
from forestay.model.horizons import HORIZONS_S
from forestay.model.plan import FloatArray

RATE_PER_S = 0.05
"""Weight of one second's arrivals in the rate: some 20 s of memory."""
SHARE_PER_S = 0.03
"""Weight of one second in the shares: they change with the plan, more slowly than the rate."""
EVENTS_MAX = 1000
FACTOR_MIN = 0.01
"""Under this, arrivals tell nothing about what they would be without the event."""
FACTOR_MAX = 1000.0


class Arrivals(Learned):
    """Cluster arrival rate ahead and each endpoint's share of it.

    Attributes:
        rate_per_s: arrivals a second, as if no event were on.
    """

    PER_ENDPOINT: ClassVar = {"_recent": 0.0}
    LEARNED = ("rate_per_s", "_recent")

    def __init__(self, endpoints: int = 0) -> None:
        self.rate_per_s = 0.0
        self._recent: FloatArray = np.zeros(endpoints)
        self._events: dict[str, Event] = {}

    def forget(self, endpoint: int) -> None:
        """The slot belongs to another endpoint now."""
        self._recent[endpoint] = 0.0

    def announce(self, event: Event, now_s: float) -> None:
        """Take notice of an event; the same name again replaces it, past ones are dropped.

        Raises:
            InvalidInput: if there are too many events already.
        """
        self._events = {name: other for name, other in self._events.items() if other.ends_s > now_s}
        if len(self._events) >= EVENTS_MAX and event.name not in self._events:
            raise InvalidInput(f"event {event.name!r}: {EVENTS_MAX} are announced already: wait until some are over")
        self._events[event.name] = event

    @property
    def events(self) -> tuple[Event, ...]:
        """The announced events that were not over at the last announcement."""
        return tuple(self._events.values())

    def learn(self, opens: FloatArray, now_s: float, dt_s: float) -> None:
        """One tick's opens by endpoint, shape (endpoints,)."""
        factor = self.factor(now_s)
        if factor >= FACTOR_MIN:
            weight = 1.0 - (1.0 - RATE_PER_S) ** dt_s
            self.rate_per_s += weight * (float(opens.sum()) / dt_s / factor - self.rate_per_s)
        self._recent += (1.0 - (1.0 - SHARE_PER_S) ** dt_s) * (opens / dt_s - self._recent)

    def factor(self, at_s: float) -> float:
        """Product of the factors of all events at a moment, at most FACTOR_MAX."""
        product = 1.0
        for event in self._events.values():
            if event.starts_s <= at_s < event.ends_s:
                product *= event.arrival_factor
        return min(product, FACTOR_MAX)

    def ahead(self, now_s: float) -> FloatArray:
        """Arrivals a second at each whole second from now to the last horizon, shape (31,)."""
        seconds = int(HORIZONS_S[-1]) + 1
        if not self._events:
            return np.full(seconds, self.rate_per_s)
        return self.rate_per_s * np.array([self.factor(now_s + second) for second in range(seconds)])

    def share(self, takes_part: FloatArray) -> FloatArray:
        """Each endpoint's expected share of arrivals, summing to 1; shape (endpoints,).

        Args:
            takes_part: what each endpoint would get if nothing were known (its capacity where it takes newcomers, 0
                where it does not), shape (endpoints,).
        """
        equal = takes_part / max(float(takes_part.sum()), 1e-9)
        recent = np.where(takes_part > 0, self._recent, 0.0)
        # One arrival a second over the memory of the shares weighs as much as believing in equal shares.
        shrunk = recent + equal * SHARE_PER_S * np.count_nonzero(takes_part)
        total = float(shrunk.sum())
        return shrunk / total if total > 0 else equal
