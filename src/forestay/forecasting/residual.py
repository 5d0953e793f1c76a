"""What connections do not explain: hidden costs of those that are open, neighbours, periodic jobs.

Its periodic part is forecast by phase (`background`). The rest is a mixture of what leaves with the connections and
what wanders by itself; a pooled ridge on exponentially weighted means, with and without the survivors' share, learns
which.
"""

from typing import ClassVar

import numpy as np

from forestay.forecasting.background import Periodicity
from forestay.forecasting.correction import OnlineRidge
from forestay.forecasting.learned import Learned
from forestay.model.horizons import HORIZONS, HORIZONS_S
from forestay.model.plan import BoolArray, FloatArray, IntArray

MEMORIES = (1.0, 0.35, 0.1, 0.02)
"""Weights of the newest residual in the exponentially weighted means: the value itself, 3 s, 10 s, 50 s."""
PRIOR = np.array([0.05, 0.25, 0.4, 0.2, 0.0, 0.0])
"""Before anything is learned: mostly the last ten seconds."""
STRENGTH = 60.0


class Residual(Learned):
    """Forecast of the residual at every horizon."""

    PER_ENDPOINT: ClassVar = dict.fromkeys(("_means", "_raw", "_previous", "_seen"), 0.0)
    LEARNED = ("_means", "_raw", "_previous", "_seen", "_ridge")

    def __init__(self, endpoints: int = 0) -> None:
        self.periodicity = Periodicity(endpoints)
        self._means: FloatArray = np.zeros((len(MEMORIES), endpoints))
        self._raw: FloatArray = np.zeros(endpoints)  # last residual
        self._previous: FloatArray = np.zeros(endpoints)  # last residual less its periodic part
        self._seen: BoolArray = np.zeros(endpoints, bool)
        self._ridge = OnlineRidge(PRIOR, STRENGTH)

    def resize(self, endpoints: int) -> None:
        """Make room for more endpoints."""
        super().resize(endpoints)
        self.periodicity.resize(endpoints)

    def forget(self, endpoint: int) -> None:
        """The endpoint starts anew."""
        self.periodicity.forget(endpoint)
        self._seen[endpoint] = False

    def forget_sample(self) -> None:
        """The sample has changed."""
        self._ridge.forget_past()

    def learn(self, residual: FloatArray, fresh: BoolArray, sample: IntArray, at_s: float) -> None:
        """One round.

        Args:
            residual: reported load that connections do not explain, shape (endpoints,).
            fresh: which endpoints reported since the last round.
            sample: endpoints that the ridge learns from.
            at_s: when the reports' windows ended.
        """
        self._raw = np.where(fresh, residual, self._raw)
        self.periodicity.learn(self._raw, fresh)
        rest = self._raw - self.periodicity.ahead(0.0)
        first = fresh & ~self._seen
        rate = np.array(MEMORIES)[:, None]
        self._means += np.where(fresh, np.where(first, 1.0, rate), 0.0) * (rest - self._means)
        target = 0.5 * (rest + self._previous)[sample]  # the mean of two rounds is centred one round back
        self._ridge.learn(target, (fresh & self._seen)[sample], at_s - 1.0)
        self._previous = np.where(fresh, rest, self._previous)
        self._seen |= fresh

    def ahead(self, staying: FloatArray, known: BoolArray, delay_s: float) -> FloatArray:
        """Residual at every horizon point, shape (horizons, endpoints).

        Args:
            staying: part of the open connections' load that will still be there, shape (horizons, endpoints).
            known: endpoints with a report that still counts; the others get the mean of these.
            delay_s: age of the reports.
        """
        weights = self._ridge.weights
        rest = weights[:, :4] @ self._means + staying * (weights[:, 4:] @ self._means[1:3])
        known = known & self._seen
        rest = np.where(known, rest, rest[:, known].mean(1, keepdims=True) if known.any() else 0.0)
        for horizon, ahead_s in enumerate(HORIZONS_S.tolist()):
            # The ring's rounds are means over a second: half of it lies before the report's time.
            rest[horizon] += self.periodicity.ahead(ahead_s + delay_s + 0.5)
        return rest

    def remember(self, staying: FloatArray, sample: IntArray, now_s: float) -> None:
        """Keep what the forecast of this moment was made of, to learn from its outcome."""
        features = np.empty((HORIZONS, len(PRIOR), len(sample)))
        features[:, :4] = self._means[:, sample]
        features[:, 4:] = staying[:, None, sample] * self._means[1:3, sample]
        self._ridge.remember(now_s, np.zeros((HORIZONS, len(sample))), features, self._seen[sample])
