"""Hidden costs told apart: when load steps as a connection comes, that connection brought the step.

Reports see sums, but most of what changes between two of them are the connections that opened or closed meanwhile.
Each connection's cost is one plus an excess over its kind's mean, and a report's innovation (the residual less what its
autocorrelation expects) is divided among the newest by their variances: the best linear predictor (a Kalman step that
keeps the diagonal). When a dear connection closes, its whole load is then taken off the forecast, not an average one's,
a second or two before the next report says so. The variance of costs and each endpoint's own noise are learned by
expectation maximisation, so where reports are too coarse to tell anybody apart nothing is attributed.
"""

from typing import ClassVar

import numpy as np

from forestay.forecasting.learned import Learned
from forestay.forecasting.window import REPORT_WINDOW_S, Cohort
from forestay.model.plan import BoolArray, FloatArray

HALF_LIFE_S = 400.0
VARIANCE_0, NOISE_0 = 0.1, 4e-4
"""Before anything is learned: costs spread by a third, reports by two hundredths of a server."""
PRIOR_REPORTS = 30.0
"""Reports that an endpoint's own noise needs to speak for itself beside the pooled one."""


class Attribution(Learned):
    """Divides innovations among connections.

    Attributes:
        variance: of costs about their mean, over the mean's square.
        noise: variance of a report's innovation by endpoint, shape (endpoints,).
    """

    PER_ENDPOINT: ClassVar = {"noise": NOISE_0, **dict.fromkeys(("_noise_sum", "_reports", "_last", "_last_at_s"), 0.0)}
    LEARNED = ("variance", "noise", "_variance_sum", "_steps", "_noise_sum", "_reports")

    def __init__(self, endpoints: int = 0) -> None:
        self.variance = VARIANCE_0
        self.noise: FloatArray = np.full(endpoints, NOISE_0)
        self._variance_sum, self._steps = VARIANCE_0 * PRIOR_REPORTS, PRIOR_REPORTS
        self._noise_sum, self._reports, self._last = (np.zeros(endpoints) for _ in range(3))
        self._last_at_s: FloatArray = np.zeros(endpoints)  # 0: no report yet

    def forget(self, endpoint: int) -> None:
        """The endpoint begins anew."""
        self._last_at_s[endpoint] = 0.0
        self._noise_sum[endpoint] = self._reports[endpoint] = 0.0

    def learn(
        self, residual: FloatArray, fresh: BoolArray, at_s: FloatArray, rho: float, scale: FloatArray, cohort: Cohort
    ) -> tuple[FloatArray, FloatArray, FloatArray]:
        """One round of reports.

        Args:
            residual: reported load less what is expected of the connections, shape (endpoints,).
            fresh: which endpoints reported since the last round.
            at_s: end of each report's window.
            rho: autocorrelation of the residual.
            scale: one over capacity.
            cohort: everybody who opened or closed since the window of the last report began.

        Returns:
            What each connection of the cohort costs more than was thought, over its expected cost, and the doubt that
            is left about it, shapes (connections,); the part of the residual that this explains, shape (endpoints,).
        """
        at_s = np.where(fresh, at_s, 0.0)
        both = fresh & (self._last_at_s > 0) & (at_s > self._last_at_s)
        innovation = np.where(both, residual - rho * self._last, 0.0)
        i = cohort.endpoint
        now = cohort.within(at_s[i] - REPORT_WINDOW_S, at_s[i]) / REPORT_WINDOW_S
        before = cohort.within(self._last_at_s[i] - REPORT_WINDOW_S, self._last_at_s[i]) / REPORT_WINDOW_S
        load = scale[i] * cohort.unit
        step = np.where(both[i], load * (now - rho * before), 0.0)
        unsure = np.bincount(i, cohort.doubt * step**2, minlength=len(residual)).astype(np.float64)
        total = self.noise + self.variance * unsure
        gain = self.variance * cohort.doubt * step / total[i]
        excess = gain * innovation[i]
        self._learn_variances(innovation, unsure, total, both)
        explained = scale * cohort.mean(excess * cohort.unit, at_s - REPORT_WINDOW_S, at_s)
        self._last = np.where(fresh, residual - explained, self._last)
        self._last_at_s = np.where(fresh, at_s, self._last_at_s)
        return excess, cohort.doubt * (1.0 - gain * step), explained

    def _learn_variances(self, innovation: FloatArray, unsure: FloatArray, total: FloatArray, both: BoolArray) -> None:
        """One step of expectation maximisation on what innovations consist of: costs of connections, and noise."""
        keep = 0.5 ** (1.0 / HALF_LIFE_S)
        by_cost = self.variance * unsure
        stepped = both & (unsure > 0)
        second_moment = (by_cost / total * innovation) ** 2 + by_cost * self.noise / total
        self._variance_sum = self._variance_sum * keep + float((second_moment[stepped] / unsure[stepped]).sum())
        self._steps = self._steps * keep + np.count_nonzero(stepped)
        self.variance = self._variance_sum / self._steps
        of_noise = (self.noise / total * innovation) ** 2 + self.noise * by_cost / total
        forget = np.where(both, keep, 1.0)
        self._noise_sum = self._noise_sum * forget + np.where(both, of_noise, 0.0)
        self._reports = self._reports * forget + both
        reports = float(self._reports.sum())
        pooled = (float(self._noise_sum.sum()) + NOISE_0 * PRIOR_REPORTS) / (reports + PRIOR_REPORTS)
        self.noise = (self._noise_sum + pooled * PRIOR_REPORTS) / (self._reports + PRIOR_REPORTS)
