"""How much each endpoint may take: under the threshold freely, above it at a pace, over the maximum not at all.

The pace lets an endpoint between threshold and maximum replace what leaves it and approach the maximum slowly, so
that overload is met by waiting first and by refusing last.
"""

from collections import OrderedDict

import numpy as np

from forestay.model.plan import UNLIMITED, BoolArray, FloatArray, IntArray

APPROACH_S = 3.0
"""An endpoint at a pace uses up the rest of its headroom in about this time: waiting costs latency now."""
HANDSHAKES_PART = 0.5
"""Part of a second's room that handshakes may fill on average: they come unevenly, and the other half is for that."""
CREDIT_S = 2.0
"""Unused pace is kept this long, so that rates under one a second work."""


def headroom_slots(load: FloatArray, newcomer: FloatArray, scale: FloatArray, bound: float) -> IntArray:
    """Connections that fit until the predicted load reaches `bound` at any horizon.

    Args:
        load: predicted load, shape (horizons, endpoints).
        newcomer: load of one new connection at scale 1, shape (horizons,).
        scale: one over capacity, shape (endpoints,).
        bound: load.

    Returns:
        Shape (endpoints,), 0 where the bound is already reached; the last one may cross it.
    """
    room = (bound - load) / np.maximum(newcomer[:, None] * scale, 1e-12)
    slots: IntArray = np.ceil(np.clip(room.min(0), 0, UNLIMITED)).astype(np.int64)
    return slots


class Pace:
    """Credits of endpoints between threshold and maximum, in connections."""

    def __init__(self, endpoints: int = 0) -> None:
        self._credit: FloatArray = np.zeros(endpoints)

    def resize(self, endpoints: int) -> None:
        """Make room for more endpoints."""
        self._credit = np.append(self._credit, np.zeros(endpoints - len(self._credit)))

    def allow(self, room: IntArray, per_s: IntArray, taken: IntArray, eligible: BoolArray, dt_s: float) -> IntArray:
        """Connections each endpoint may take until the next tick.

        Room that connections stay in is used up slowly: it does not come back soon. Room for handshakes is there anew
        every second.

        Args:
            room: connections that may stay until `load_max` is reached, shape (endpoints,).
            per_s: connections whose handshakes fit under `load_max` within a second, shape (endpoints,).
            taken: what was taken since the last tick, shape (endpoints,).
            eligible: endpoints under the threshold: what they took does not count.
            dt_s: since the last tick.
        """
        most = per_s * HANDSHAKES_PART
        rate = np.minimum(room / APPROACH_S, most)
        credit = np.maximum(self._credit - np.where(eligible, 0, taken), 0.0) + rate * dt_s
        self._credit = np.minimum(credit, np.where(room > 0, np.maximum(np.minimum(rate * CREDIT_S, most), 1.0), 0.0))
        return self._credit.astype(np.int64)


class ClientRates:
    """A token bucket per client key."""

    CLIENTS_MAX = 100_000

    def __init__(self, rate_per_s: float, burst: int) -> None:
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()  # tokens, and when
        self.configure(rate_per_s, burst)

    def configure(self, rate_per_s: float, burst: int) -> None:
        """Take another rate; buckets keep their tokens, up to the new burst."""
        self._rate_per_s, self._burst = rate_per_s, float(burst)

    def take(self, client: str, now_s: float) -> float:
        """Take a token: 0, or the seconds until there will be one."""
        if self._rate_per_s <= 0 or not client:
            return 0.0
        tokens, then_s = self._buckets.pop(client, (self._burst, now_s))
        tokens = min(self._burst, tokens + max(now_s - then_s, 0.0) * self._rate_per_s)
        wait_s = 0.0 if tokens >= 1 else (1 - tokens) / self._rate_per_s
        self._buckets[client] = (tokens if wait_s else tokens - 1, now_s)
        if len(self._buckets) > self.CLIENTS_MAX:
            self._buckets.popitem(last=False)  # the one that was silent longest; its bucket is full by now, or soon
        return wait_s
