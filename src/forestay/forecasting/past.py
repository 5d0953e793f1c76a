"""What was forecast, kept until the truth has come."""

from collections import deque
from typing import Generic, TypeVar

from forestay.model.horizons import HORIZONS_S

T = TypeVar("T")

ROUNDS = int(HORIZONS_S[-1]) + 12
"""Rounds kept: the longest horizon and the reports' delay."""
MATCH_S = 0.6
"""How far the time of a round may be from the one asked for: rounds are about a second apart."""


class Past(Generic[T]):
    """The last few rounds' values by time."""

    def __init__(self) -> None:
        self._rounds: deque[tuple[float, T]] = deque(maxlen=ROUNDS)

    def push(self, at_s: float, value: T) -> None:
        """Keep a value made at `at_s`, not before the last one."""
        self._rounds.append((at_s, value))

    def near(self, at_s: float) -> T | None:
        """The value made closest before `at_s` + MATCH_S, None if that is too long before."""
        for made_s, value in reversed(self._rounds):
            if made_s <= at_s + MATCH_S:
                return value if made_s >= at_s - MATCH_S else None
        return None

    def clear(self) -> None:
        """Forget all."""
        self._rounds.clear()
