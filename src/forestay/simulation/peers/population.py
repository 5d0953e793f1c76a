"""Open connections by kind, age and server, counted anew whenever they are asked for."""

import numpy as np

from forestay.model.plan import FloatArray, IntArray

AGES = 240
AGE_FIRST_S = 0.1
AGE_LAST_S = 4 * 3600.0
_STEP = float(np.log1p(AGE_LAST_S / AGE_FIRST_S)) / (AGES - 1)

AGES_S: FloatArray = AGE_FIRST_S * np.expm1(np.arange(AGES) * _STEP)
"""Ages that are told apart: evenly where connections are young, each 5 % older than the one before later on."""


class Population:
    """See the module.

    Args:
        kinds: how many there are.
        servers: likewise.
    """

    def __init__(self, kinds: int, servers: int) -> None:
        self._kinds, self._servers = kinds, servers
        self._slot: dict[str, int] = {}
        self._free: list[int] = []
        self._end = 0
        self._opened_s: FloatArray = np.zeros(1024)
        self._cell: IntArray = np.full(1024, kinds * servers)  # kind and server in one; the last one: free

    def open(self, connection_id: str, server: int, kind: int, now_s: float) -> None:
        """One more."""
        if self._free:
            slot = self._free.pop()
        else:
            slot = self._end
            self._end += 1
            if slot == len(self._cell):
                self._opened_s = np.concatenate([self._opened_s, np.zeros(slot)])
                self._cell = np.concatenate([self._cell, np.full(slot, self._kinds * self._servers)])
        self._slot[connection_id] = slot
        self._opened_s[slot] = now_s
        self._cell[slot] = kind * self._servers + server

    def close(self, connection_id: str) -> None:
        """One less."""
        slot = self._slot.pop(connection_id)
        self._free.append(slot)
        self._cell[slot] = self._kinds * self._servers

    def counts(self, now_s: float) -> FloatArray:
        """Connections by kind, age and server, shape (kinds, ages, servers)."""
        cells = self._kinds * self._servers + 1
        index = np.log1p((now_s - self._opened_s[: self._end]) / AGE_FIRST_S)
        index /= _STEP
        index += 0.5
        age = np.minimum(index.astype(np.int64), AGES - 1)
        counts = np.bincount(age * cells + self._cell[: self._end], minlength=AGES * cells)
        table = counts.reshape(AGES, cells)[:, :-1].reshape(AGES, self._kinds, self._servers)
        return np.asarray(table.transpose(1, 0, 2), np.float64)
