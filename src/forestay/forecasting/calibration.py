"""How wrong the forecast has been lately, as quantiles: rolling split conformal prediction.

Errors are pooled over a sample of endpoints and a few minutes, on a scale that makes them comparable: load made of
counts has noise proportional to the square root of its level.
"""

from collections import deque

import numpy as np

from forestay.forecasting.learned import Learned
from forestay.model.horizons import HORIZONS
from forestay.model.plan import FloatArray

LEVELS: FloatArray = np.array([0.005, 0.02, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.98, 0.995])
ROUNDS = 300
"""Rounds of errors kept, about as many seconds."""
ERRORS_MAX = 20_000
"""Errors looked at per horizon: more do not make a quantile better, only slower."""
EVERY = 10
"""Rounds between two looks, one horizon point at a time in between."""
LEVEL_FLOOR = 0.02
"""Added to the load under the square root: an idle endpoint still errs a little."""


def spread(load: FloatArray) -> FloatArray:
    """Scale of the forecast error at a level of load."""
    scale: FloatArray = np.sqrt(np.maximum(load, 0.0) + LEVEL_FLOOR)
    return scale


class Calibration(Learned):
    """Recent errors per horizon.

    Attributes:
        quantiles: of error over `spread`, shape (horizons, levels).
    """

    LEARNED = ("quantiles",)

    def __init__(self) -> None:
        self.quantiles: FloatArray = np.tile(np.interp(LEVELS, [0.0, 0.5, 1.0], [-0.2, 0.0, 0.2]), (HORIZONS, 1))
        self._errors: list[deque[FloatArray]] = [deque(maxlen=ROUNDS) for _ in range(HORIZONS)]
        self._rounds = 0

    def learn(self, horizon: int, error: FloatArray) -> None:
        """Errors over `spread` of forecasts for this round, any shape (n,)."""
        if error.size:
            self._errors[horizon].append(error)

    def refresh(self) -> None:
        """Once a round: recompute the quantiles of the horizon whose turn it is."""
        horizon = self._rounds % EVERY
        self._rounds += 1
        if horizon < HORIZONS and self._errors[horizon]:
            errors = np.concatenate(list(self._errors[horizon]))
            if errors.size >= 30:
                self.quantiles[horizon] = np.quantile(errors[-ERRORS_MAX:], LEVELS)
