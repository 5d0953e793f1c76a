"""How long connections stay, learned from opens and closes.

A piecewise constant hazard: closes over exposure (connection-seconds) per age bucket, which is the Kaplan-Meier
estimator in buckets, exponentially forgotten. Where an age has seen few closes, its neighbours' hazard fills in; for
one kind of connections that of all kinds, times one factor for the kind (proportional hazards, Cox 1972).
"""

import numpy as np

from forestay.forecasting.ages import AGE_EDGES_S, AGE_MID_S, AGES
from forestay.forecasting.learned import Learned
from forestay.model.plan import FloatArray, IntArray

HALF_LIFE_S = 900.0
"""Long enough for a few hundred closes on a small cluster, short enough to follow a change of clientele."""

PRIOR_CLOSES = 3.0
"""Weight of the neighbours' hazard, in closes: an age with ten closes of its own mostly speaks for itself."""

PRIOR_KIND = 3.0
"""Closes that a kind's own factor needs to speak for itself."""

_NEIGHBOURS: FloatArray = np.exp(-np.abs(np.subtract.outer(np.arange(AGES), np.arange(AGES))) / 1.5)
_YOUNG = int(np.searchsorted(AGE_EDGES_S, 3.0))  # buckets narrower than a few ticks: exposure is counted exactly


class Survival(Learned):
    """P(still open), pooled over endpoints.

    Args:
        pooled: of all kinds, where this is one kind's: what its own closes do not tell yet.
    """

    LEARNED = ("closes", "exposure_s", "_cumulative")

    def __init__(self, pooled: "Survival | None" = None) -> None:
        self._pooled = pooled
        self._hazard: FloatArray = np.zeros(AGES)  # closes a second
        self.closes: FloatArray = np.zeros(AGES)
        self.exposure_s: FloatArray = np.zeros(AGES)
        self._cumulative: FloatArray = np.zeros(AGES + 1)
        self._refresh()

    def learn(
        self, counts: FloatArray, young_s: FloatArray, closed: IntArray, closed_exposure_s: FloatArray, dt_s: float
    ) -> None:
        """One tick.

        Args:
            counts: open connections by age, shape (ages,).
            young_s: ages of the open connections younger than the first few seconds, any order.
            closed: closes since the last tick by age, shape (ages,).
            closed_exposure_s: what those that closed lived since the last tick, by age, shape (ages,).
            dt_s: since the last tick.
        """
        exposure = counts * dt_s
        before = np.maximum(young_s - dt_s, 0.0)
        for bucket in range(_YOUNG):
            low, high = AGE_EDGES_S[bucket], AGE_EDGES_S[bucket + 1]
            exposure[bucket] = (np.clip(young_s, low, high) - np.clip(before, low, high)).sum()
        keep = 0.5 ** (dt_s / HALF_LIFE_S)
        self.closes = self.closes * keep + closed
        self.exposure_s = self.exposure_s * keep + exposure + closed_exposure_s
        self._refresh()

    def cumulative_hazard(self, age_s: FloatArray) -> FloatArray:
        """-log P(open at `age_s`)."""
        return np.interp(age_s, AGE_EDGES_S, self._cumulative)

    def staying(self, horizon_s: float) -> FloatArray:
        """P(still open `horizon_s` later) by present age, shape (ages,)."""
        at_mid = self.cumulative_hazard(AGE_MID_S)
        stay: FloatArray = np.exp(at_mid - self.cumulative_hazard(AGE_MID_S + horizon_s))
        return stay

    def from_birth(self, age_s: FloatArray) -> FloatArray:
        """P(a new connection is still open at `age_s`)."""
        stay: FloatArray = np.exp(-self.cumulative_hazard(age_s))
        return stay

    def resume(self, closes: FloatArray, exposure_s: FloatArray) -> None:
        """Go on from what was counted before, shapes (ages,)."""
        self.closes, self.exposure_s = closes.astype(np.float64), exposure_s.astype(np.float64)
        self._refresh()

    def _refresh(self) -> None:
        if self._pooled is None:
            overall = self.closes.sum() / max(self.exposure_s.sum(), 1e-9)
            around = (_NEIGHBOURS @ self.closes + 1.0) / (_NEIGHBOURS @ self.exposure_s + 1.0 / max(overall, 1e-4))
        else:
            pooled = self._pooled._hazard
            expected = float(self.exposure_s @ pooled)
            around = pooled * ((self.closes.sum() + PRIOR_KIND) / (expected + PRIOR_KIND))
        self._hazard = (self.closes + PRIOR_CLOSES) / (self.exposure_s + PRIOR_CLOSES / np.maximum(around, 1e-6))
        self._cumulative = np.concatenate([[0.0], np.cumsum(self._hazard * np.diff(AGE_EDGES_S))])


YOUNG_S = float(AGE_EDGES_S[_YOUNG])
"""Connections opened later than this before a tick are handed to `Survival.learn` one by one."""
