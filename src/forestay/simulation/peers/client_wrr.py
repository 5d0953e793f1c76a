"""Client-side weighted round robin: turns in proportion to throughput over utilisation.

Source: gRFC A58 and Envoy `client_side_weighted_round_robin`, whose defaults these are, with gRPC's static stride
scheduler. An endpoint's throughput is its requests a second where it reports them; else the connections it holds, which
is the same for connections that all make requests at one rate.
"""

import math
from collections.abc import Sequence

from forestay.model.load import LoadReport
from forestay.simulation.peers.peer import Peer

BLACKOUT_S = 10.0
"""A weight counts only once reports have come for this long."""
EXPIRY_S = 180.0
"""A weight without a report for this long is forgotten."""
UPDATE_S = 1.0
ERROR_PENALTY = 1.0
WEIGHT_MAX = 65535
RATIO_MAX = 10.0
"""Weights over this multiple of the mean are cut."""
RATIO_MIN = 0.01


def weight(queries_per_s: float, utilisation: float, errors_per_s: float = 0.0) -> float:
    """What an endpoint is worth: queries a second per unit of utilisation; 0: not known."""
    if queries_per_s <= 0 or utilisation <= 0:
        return 0.0
    return queries_per_s / (utilisation + errors_per_s / queries_per_s * ERROR_PENALTY)


class Stride:
    """Goes round all endpoints and skips each in proportion to what its weight lacks of the greatest.

    Source: gRPC `StaticStrideScheduler`.

    Args:
        weights: 0: not known, taken as the mean of the known ones.
        sequence: where to begin.
    """

    def __init__(self, weights: Sequence[float], sequence: int = 0) -> None:
        known = [value for value in weights if value > 0]
        self._sequence = sequence
        if len(known) < 2:  # plain round robin
            self._weights = [WEIGHT_MAX] * len(weights)
            return
        mean = sum(known) / len(known)
        top = min(max(known), RATIO_MAX * mean)
        factor = WEIGHT_MAX / top
        least = max(1, round(factor * mean * RATIO_MIN))
        self._weights = [max(round(min(value or mean, top) * factor), least) for value in weights]

    def next(self) -> int:
        """Index of the next pick."""
        weights, count = self._weights, len(self._weights)
        while True:
            generation, index = divmod(self._sequence, count)
            self._sequence += 1
            share = weights[index]
            if (share * generation + index * (WEIGHT_MAX // 2)) % WEIGHT_MAX >= WEIGHT_MAX - share:
                return index


class ClientWrr(Peer):
    """See the module."""

    def __init__(self, seed: int = 0) -> None:
        super().__init__(seed)
        self._weight: list[float] = []
        self._since_s: list[float] = []  # first report of those that keep coming; inf: none
        self._updated_s: list[float] = []
        self._renewed_s = -math.inf
        self._stride = Stride(())

    def began(self, slot: int, now_s: float) -> None:
        """Blackout."""
        if slot == len(self._weight):
            for values in (self._weight, self._since_s, self._updated_s):
                values.append(0.0)
        self._since_s[slot] = math.inf

    def changed(self, now_s: float) -> None:
        """A new picker, at a random place of the round."""
        self._renew(now_s)

    def heard(self, slot: int, report: LoadReport, now_s: float) -> None:
        """Note the endpoint's weight."""
        rate = self.counts[slot] if report.requests_per_s is None else report.requests_per_s
        value = weight(rate, self.load[slot])
        if value <= 0:
            return
        if self._since_s[slot] == math.inf:
            self._since_s[slot] = now_s
        self._updated_s[slot] = now_s
        self._weight[slot] = value

    def tick(self, now_s: float, wall_s: float | None = None) -> object:
        """Take the newest weights."""
        if now_s - self._renewed_s >= UPDATE_S:
            self._renew(now_s)
        return None

    def weights(self, now_s: float) -> list[float]:
        """By slot; 0: in blackout, expired or never heard of."""
        return [self._usable(slot, now_s) for slot in range(len(self.ids))]

    def pick(self, candidates: Sequence[int], now_s: float) -> int:
        """The next in turn that may be picked."""
        while True:
            slot = self.up[self._stride.next()]
            if candidates is self.up or slot in candidates:
                return slot

    def _usable(self, slot: int, now_s: float) -> float:
        if self._since_s[slot] == math.inf:
            return 0.0
        if now_s - self._updated_s[slot] >= EXPIRY_S:
            self._since_s[slot] = math.inf
            return 0.0
        return self._weight[slot] if now_s - self._since_s[slot] >= BLACKOUT_S else 0.0

    def _renew(self, now_s: float) -> None:
        self._renewed_s = now_s
        self._stride = Stride([self._usable(slot, now_s) for slot in self.up], self.rng.getrandbits(32))
