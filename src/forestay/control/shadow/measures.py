"""What a distribution of load over servers is worth, summed up over time."""

from dataclasses import dataclass

import numpy as np

from forestay.model.plan import FloatArray

BUSY, FULL = 0.7, 1.0
DELAY_LOAD_MAX = 0.98
"""Utilisation at which the delay of a server no longer grows: a queue of 50 is as bad as anybody waits for."""


@dataclass(slots=True)
class Measures:
    """Sums over time.

    Attributes:
        seconds: observed.
        over_busy_s: server-seconds over 70 % load.
        over_full_s: server-seconds over 100 % load.
    """

    seconds: float = 0.0
    over_busy_s: float = 0.0
    over_full_s: float = 0.0
    _uneven_s: float = 0.0  # max over mean, times seconds
    _uneven_seconds: float = 0.0
    _work: float = 0.0
    _delayed: float = 0.0

    def add(self, load: FloatArray, dt_s: float) -> None:
        """For `dt_s` seconds the servers had these loads, shape (servers,), >= 0."""
        if not load.size:
            return
        self.seconds += dt_s
        self.over_busy_s += dt_s * float((load > BUSY).sum())
        self.over_full_s += dt_s * float((load > FULL).sum())
        mean = float(load.mean())
        if mean > 0:
            self._uneven_s += dt_s * float(load.max()) / mean
            self._uneven_seconds += dt_s
        self._work += dt_s * float(load.sum())
        self._delayed += dt_s * float((load / (1.0 - np.minimum(load, DELAY_LOAD_MAX))).sum())

    @property
    def max_over_mean(self) -> float | None:
        """Load of the busiest server over the mean, averaged over time; None: there was no load yet."""
        return self._uneven_s / self._uneven_seconds if self._uneven_seconds else None

    @property
    def delay(self) -> float | None:
        """Load-weighted mean of 1 / (1 - load): 1 on idle servers; None: there was no load yet."""
        return self._delayed / self._work if self._work else None
