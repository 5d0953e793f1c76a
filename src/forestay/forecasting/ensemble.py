"""Which forecast to believe: experts weighted by how right they have been, the last value always among them.

Fixed share (Herbster and Warmuth 1998) on squared error, per horizon. Ours differs: losses are divided by the last
value's running loss, so that the learning rate has the same meaning at every load and horizon.
"""

from typing import ClassVar

import numpy as np

from forestay.forecasting.calibration import Calibration, spread
from forestay.forecasting.correction import OnlineRidge
from forestay.forecasting.learned import Learned
from forestay.forecasting.past import Past
from forestay.model.horizons import HORIZONS, HORIZONS_S
from forestay.model.plan import BoolArray, FloatArray, IntArray

EXPERTS = ("corrected", "structural", "last_value")
LEARNING_RATE = 0.3
"""An expert that is a tenth better than another overtakes it by a factor e in half a minute."""
SHARE = 0.005
"""Weight that goes round per round: an expert that was useless for long comes back within a minute."""
MEMORIES = (0.5, 0.1, 0.03)
"""Weights of the newest report in the means that the correction sees."""
LOSS_MEMORY = 0.02
"""Weight of one round in the running losses: some 50 s of memory."""
SKILL_LOST, SKILL_FOUND = 2.0, 1.5
"""Structural squared error over the last value's from which the forecast counts as without skill, and under which as
skilful again. Not nearer to 1: where placements fill the valleys of periodic load, the last value guesses well what
comes of them, and still the trajectory is what they are made by (1.2 there; giving it up costs a tenth in delay)."""
SMALL_LOSS = 0.02**2
"""Errors of some hundredths are no lack of skill, even where the last value makes none."""
WARM_UP_ROUNDS = 60
"""Rounds of reports before skill is judged: everything is still being learned."""
NEAR_S, FAR_S = 2.0, 16.0
"""Horizons that skill is judged by: placements are priced mostly there."""
FEATURES = 2 + len(MEMORIES)
"""What the correction sees: the last value's and the recent means' distances, and the base itself, whose level drifts
from the truth where lifetimes or arrivals change faster than they are learned."""
STRENGTH = 60.0


class Ensemble(Learned):
    """Forecast of what reports will say.

    Attributes:
        weights: of each expert per horizon, shape (experts, horizons), columns sum to 1.
        calibration: quantiles of the combined forecast's errors.
        skilful: whether the structural forecast has lately been about as good as the last value, or better.
    """

    PER_ENDPOINT: ClassVar = dict.fromkeys(("_means", "_seen"), 0.0)
    LEARNED = ("weights", "calibration", "skilful", "_means", "_seen", "_ridge", "_loss", "_judged_losses", "_rounds")

    def __init__(self, endpoints: int = 0) -> None:
        self.weights: FloatArray = np.tile(np.array([[0.4], [0.2], [0.4]]), (1, HORIZONS))
        self.calibration = Calibration()
        self._means: FloatArray = np.zeros((len(MEMORIES), endpoints))
        self._seen: BoolArray = np.zeros(endpoints, bool)
        self._ridge = OnlineRidge(np.zeros(FEATURES), STRENGTH)
        self._loss: FloatArray = np.full(HORIZONS, 1e-4)  # of the last value, running
        self._judged_losses: FloatArray = np.full((2, HORIZONS), SMALL_LOSS)  # structural, last value
        self._rounds = 0
        self.skilful = True
        self._past: Past[tuple[FloatArray, FloatArray, BoolArray]] = Past()

    def forget(self, endpoint: int) -> None:
        """The endpoint starts anew."""
        self._seen[endpoint] = False

    def forget_sample(self) -> None:
        """The sample has changed."""
        self._past.clear()
        self._ridge.forget_past()

    def learn(self, load: FloatArray, fresh: BoolArray, sample: IntArray, at_s: float) -> None:
        """Score what was forecast for the reports that have come, windows ending at `at_s`; load (endpoints,)."""
        first = fresh & ~self._seen
        rate = np.array(MEMORIES)[:, None]
        self._means += np.where(fresh, np.where(first, 1.0, rate), 0.0) * (load - self._means)
        ok = (fresh & self._seen)[sample]
        self._seen |= fresh
        truth = load[sample]
        self._ridge.learn(truth, ok, at_s)
        for horizon, ahead_s in enumerate(HORIZONS_S.tolist()):
            made = self._past.near(at_s - ahead_s)
            if made is None:
                continue
            experts, combined, made_ok = made
            both = ok & made_ok
            if not both.any():
                continue
            error = truth[both] - combined[horizon, both]
            self.calibration.learn(horizon, error / spread(combined[horizon, both]))
            self._weigh(horizon, np.mean((truth[both] - experts[:, horizon, both]) ** 2, axis=1))
        self.calibration.refresh()
        self._rounds += 1
        judged = (HORIZONS_S >= NEAR_S) & (HORIZONS_S <= FAR_S)
        structural, last = self._judged_losses[:, judged] + SMALL_LOSS
        ratio = float(np.exp(np.log(structural / last).mean()))
        self.skilful = ratio < (SKILL_LOST if self.skilful else SKILL_FOUND)

    def forecast(self, base: FloatArray, load: FloatArray, known: BoolArray) -> FloatArray:
        """Expected reports, shape (horizons, endpoints).

        Args:
            base: the structural forecast, same shape.
            load: last report, shape (endpoints,).
            known: endpoints with a report that still counts; the others get the base.
        """
        corrected, structural, last = self._experts(base, load, slice(None))
        share = self.weights[:, :, None]
        combined = share[0] * corrected + share[1] * structural + share[2] * last
        return np.where(known & self._seen, combined, base)

    def remember(
        self, base: FloatArray, expected: FloatArray, load: FloatArray, known: BoolArray, sample: IntArray, now_s: float
    ) -> None:
        """Keep what was forecast at this moment, to be scored by its outcome."""
        counts = (known & self._seen)[sample]
        experts = np.stack(self._experts(base, load, sample))
        self._past.push(now_s, (experts, expected[:, sample], counts))
        features = np.empty((HORIZONS, FEATURES, len(sample)))
        features[:, 0] = load[sample] - base[:, sample]
        features[:, 1:-1] = load[sample] - self._means[:, sample]
        features[:, -1] = base[:, sample]
        self._ridge.remember(now_s, base[:, sample], features, counts)

    def _experts(
        self, base: FloatArray, load: FloatArray, rows: IntArray | slice
    ) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Corrected, structural and last value for some endpoints, each of shape (horizons, rows)."""
        base, load = base[:, rows], load[rows]
        weights = self._ridge.weights
        recent = load - self._means[:, rows]
        corrected = base + weights[:, :1] * (load - base) + weights[:, 1:-1] @ recent + weights[:, -1:] * base
        return np.maximum(corrected, 0.0), base, np.broadcast_to(load, base.shape)

    def _weigh(self, horizon: int, losses: FloatArray) -> None:
        self._loss[horizon] += LOSS_MEMORY * (losses[-1] + 1e-9 - self._loss[horizon])
        if self._rounds > WARM_UP_ROUNDS:
            self._judged_losses[:, horizon] += LOSS_MEMORY * (losses[1:] - self._judged_losses[:, horizon])
        relative = np.minimum(losses / self._loss[horizon], 10.0)
        weights = self.weights[:, horizon] * np.exp(-LEARNING_RATE * (relative - relative.min()))
        self.weights[:, horizon] = (1 - SHARE) * weights / weights.sum() + SHARE / len(EXPERTS)
