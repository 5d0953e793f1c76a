"""Online ridge regression, one per horizon, pooled over a sample of endpoints.

It learns how a forecast that was made `h` seconds ago should have been corrected, from features of that time and the
truth that has come since. It always regresses *differences to a base forecast* and shrinks to a prior: a ridge that
shrinks levels to zero loses even to the last value.
"""

import numpy as np

from forestay.forecasting.learned import Learned
from forestay.forecasting.past import Past
from forestay.model.horizons import HORIZONS, HORIZONS_S
from forestay.model.plan import BoolArray, FloatArray

FORGET = 0.998
"""Per round; half-life 350 rounds."""
SAMPLE = 256
"""Endpoints learned from. The weights are common to all; more endpoints only make the tick dearer."""


class OnlineRidge(Learned):
    """Correction of a base forecast: truth ~ base + features . weights.

    Args:
        prior: weights before anything is learned, shape (features,).
        strength: what the prior counts for, in observations of the difference's own variance.

    Attributes:
        weights: shape (horizons, features).
    """

    LEARNED = ("weights", "_gram", "_moment", "_variance", "_rounds")

    def __init__(self, prior: FloatArray, strength: float) -> None:
        features = len(prior)
        self.weights: FloatArray = np.tile(prior, (HORIZONS, 1))
        self._prior, self._strength = prior, strength
        self._gram: FloatArray = np.zeros((HORIZONS, features, features))
        self._moment: FloatArray = np.zeros((HORIZONS, features))
        self._variance: FloatArray = np.full(HORIZONS, 1e-3)  # running, of truth - base
        self._past: Past[tuple[FloatArray, FloatArray, BoolArray]] = Past()
        self._rounds = 0

    def remember(self, now_s: float, base: FloatArray, features: FloatArray, ok: BoolArray) -> None:
        """Keep what a forecast made now was made of.

        Args:
            now_s: this moment.
            base: shape (horizons, sample).
            features: shape (horizons, features, sample).
            ok: which endpoints of the sample count, shape (sample,).
        """
        self._past.push(now_s, (base, features, ok))

    def forget_past(self) -> None:
        """The sample has changed: what waits for its truth is void; the weights stay."""
        self._past.clear()

    def learn(self, truth: FloatArray, ok: BoolArray, at_s: float) -> None:
        """The truth of `at_s` has come, shape (sample,)."""
        self._rounds += 1
        for horizon, ahead_s in enumerate(HORIZONS_S.tolist()):
            made = self._past.near(at_s - ahead_s)
            if made is None:
                continue
            base, features, made_ok = made
            both = ok & made_ok
            if not both.any():
                continue
            target = truth[both] - base[horizon, both]
            x = features[horizon][:, both]
            self._variance[horizon] += 0.02 * (float(np.mean(target**2)) + 1e-7 - self._variance[horizon])
            self._gram[horizon] = self._gram[horizon] * FORGET + x @ x.T
            self._moment[horizon] = self._moment[horizon] * FORGET + x @ target
        if self._rounds % 5 == 0:
            ridge = self._strength * self._variance[:, None]
            a = self._gram + ridge[:, :, None] * np.eye(len(self._prior))
            b = self._moment + ridge * self._prior
            self.weights = np.linalg.solve(a, b[:, :, None])[:, :, 0].astype(np.float64)
