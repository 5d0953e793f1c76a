"""Where forestay would have chosen another server: what was predicted of both, and what became of both.

Both are watched in the world as it is, where the connection is on the server that was chosen.
"""

from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

HORIZON_S = 10.0
"""How much later the two are compared."""


@dataclass(slots=True)
class _Sum:
    """Loads summed over connections."""

    connections: int = 0
    chosen: float = 0.0
    instead: float = 0.0

    def add(self, chosen: float, instead: float, connections: int) -> None:
        self.connections += connections
        self.chosen += connections * chosen
        self.instead += connections * instead

    def means(self) -> dict[str, Any]:
        """Connections, and the mean load of the server that was chosen and of that instead; None without any."""
        count = self.connections
        return {
            "connections": count,
            "chosen": self.chosen / count if count else None,
            "instead": self.instead / count if count else None,
        }


class Hindsight:
    """Chosen server against the one that forestay would have chosen, over all connections where they differ.

    Attributes:
        predicted: loads `HORIZON_S` ahead, as the plan in force said.
        actual: loads reported `HORIZON_S` later.
    """

    def __init__(self) -> None:
        self.predicted = _Sum()
        self.actual = _Sum()
        self._pairs: Counter[tuple[str, str]] = Counter()  # since the last tick
        self._waiting: deque[tuple[float, Counter[tuple[str, str]]]] = deque()
        self._forecast: Mapping[str, float] = {}

    def differ(self, chosen: str, instead: str) -> None:
        """A connection opened on `chosen`; forestay would have taken `instead`."""
        self._pairs[chosen, instead] += 1

    def tick(self, now_s: float, loads: Mapping[str, float], forecast: Mapping[str, float]) -> None:
        """Sum up.

        Args:
            now_s: this moment.
            loads: as reported last.
            forecast: loads `HORIZON_S` ahead, as this tick says.
        """
        _sum_up(self.predicted, self._pairs, self._forecast)
        if self._pairs:
            self._waiting.append((now_s + HORIZON_S, self._pairs))
            self._pairs = Counter()
        while self._waiting and self._waiting[0][0] <= now_s:
            _sum_up(self.actual, self._waiting.popleft()[1], loads)
        self._forecast = forecast


def _sum_up(total: _Sum, pairs: Mapping[tuple[str, str], int], loads: Mapping[str, float]) -> None:
    for (chosen, instead), connections in pairs.items():
        if chosen in loads and instead in loads:
            total.add(loads[chosen], loads[instead], connections)
