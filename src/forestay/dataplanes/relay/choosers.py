"""The rules by which a slot is chosen: the forecast's prices (`Planner`), and the peers it is compared with.

All of them count what they choose in the picker's own column at once, so that the other pickers see it.
"""

import random
from collections.abc import Container, MutableSequence, Sequence
from typing import Protocol

import numpy as np

from forestay.model.plan import BoolArray, IntArray


class Chooser(Protocol):
    """Picks slots until the next table."""

    def pick(self, exclude: Container[int] = ()) -> int:
        """A slot, counted; -1 where none may take the connection."""


class LeastConnections:
    """The fewest connections held by all workers together, those being established included; ties at random.

    A scan with numpy: 10 us for a few hundred endpoints, 100 us for 10,000. It serves comparisons, and a relay whose
    control process is away.

    Args:
        may: slots to choose from, shape (slots,).
        placed: this picker's cumulative placements.
        held: every picker's held connections, live views, each of shape (slots,).
        seed: of the ties.
    """

    def __init__(self, may: BoolArray, placed: MutableSequence[int], held: Sequence[IntArray], seed: int = 0) -> None:
        self._placed, self._held = placed, held
        self._slots = np.flatnonzero(may)
        self._random = random.Random(seed)

    def pick(self, exclude: Container[int] = ()) -> int:
        """A slot, counted; -1 where none may take the connection."""
        if not self._slots.size:
            return -1
        total: IntArray = np.sum([column[self._slots] for column in self._held], axis=0)
        order = self._slots[total == total.min()] if not exclude else self._slots[np.argsort(total, kind="stable")]
        if not exclude:
            slot = int(order[self._random.randrange(len(order))])
        else:
            slot = next((slot for slot in order.tolist() if slot not in exclude), -1)
        if slot >= 0:
            self._placed[slot] += 1
        return slot


class RandomChoice:
    """Every slot alike.

    Args:
        may: slots to choose from, shape (slots,).
        placed: this picker's cumulative placements.
        seed: of the choice.
    """

    def __init__(self, may: BoolArray, placed: MutableSequence[int], seed: int = 0) -> None:
        self._placed = placed
        self._slots: list[int] = np.flatnonzero(may).tolist()
        self._random = random.Random(seed)

    def pick(self, exclude: Container[int] = ()) -> int:
        """A slot, counted; -1 where none may take the connection."""
        slots = [slot for slot in self._slots if slot not in exclude] if exclude else self._slots
        if not slots:
            return -1
        slot = slots[self._random.randrange(len(slots))]
        self._placed[slot] += 1
        return slot
