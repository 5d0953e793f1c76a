"""How good the forecast was lately: what each tick said of 5, 10 and 30 s ahead, against what the reports then said.

The yardstick is the last value known when the forecast was made. A ratio under 1 means skill, one over 1 that the last
value would have been the better forecast.
"""

import math
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from forestay.model.plan import FloatArray, Forecast

HORIZONS_S = (5.0, 10.0, 30.0)
QUANTILE = 0.9
HALF_LIFE_S = 300.0
"""Of what was scored: the last minutes count."""
OUTCOME_WITHIN_S = 0.75
"""A report this near to the moment that was forecast is its outcome."""
WAIT_S = 3.0
"""How long after the moment its report may arrive."""
ENDPOINTS_MAX = 256
"""Endpoints that are scored: enough for any figure here, and a bound on the work of a tick."""
REPORTS_KEPT = 8
"""Of each endpoint: those of `WAIT_S` and a little more, at two a second."""


@dataclass(frozen=True, slots=True)
class SkillScore:
    """How one horizon did.

    Attributes:
        horizon_s: seconds ahead.
        rmse: of the forecast, load.
        rmse_last_value: of the last value, load.
        covered: share of outcomes at or under the forecast's 0.9 quantile.
        samples: outcomes scored, ever.
    """

    horizon_s: float
    rmse: float
    rmse_last_value: float
    covered: float
    samples: int

    @property
    def ratio(self) -> float:
        """RMSE over that of the last value; NaN where load never changed."""
        return self.rmse / self.rmse_last_value if self.rmse_last_value > 0 else math.nan


@dataclass(frozen=True, slots=True, eq=False)
class _Claim:
    """A forecast that waits for its outcome."""

    at_s: float
    endpoint_ids: tuple[str, ...]
    mean: FloatArray
    high: FloatArray
    last: FloatArray


class Skill:
    """Scores of all horizons in a window that fades."""

    def __init__(self) -> None:
        self._claims: dict[float, deque[_Claim]] = {horizon_s: deque() for horizon_s in HORIZONS_S}
        self._sums: dict[float, FloatArray] = {horizon_s: np.zeros(4) for horizon_s in HORIZONS_S}
        self._samples = dict.fromkeys(HORIZONS_S, 0)
        self._reports: dict[str, deque[tuple[float, float]]] = {}
        self._now_s = -math.inf

    def tick(self, now_s: float, forecast: Forecast, reports: Mapping[str, tuple[float, float]]) -> None:
        """Score what has come due, and note what is said now.

        Args:
            now_s: of the plan that the forecast belongs to.
            forecast: of that plan.
            reports: the last report of each endpoint that has one: its time and load.
        """
        self._note_reports(reports)
        fade = 0.5 ** (max(now_s - self._now_s, 0.0) / HALF_LIFE_S) if math.isfinite(self._now_s) else 1.0
        self._now_s = now_s
        claimed = tuple(i for i in forecast.endpoint_ids if i in self._reports)[:ENDPOINTS_MAX]
        last = np.array([self._reports[endpoint_id][-1][1] for endpoint_id in claimed])
        for horizon_s, claims in self._claims.items():
            self._sums[horizon_s] *= fade
            while claims and claims[0].at_s + WAIT_S <= now_s:
                self._score(horizon_s, claims.popleft())
            if claimed:
                mean, high = forecast.at(horizon_s), forecast.quantile(horizon_s, QUANTILE)
                claims.append(
                    _Claim(
                        now_s + horizon_s,
                        claimed,
                        np.array([mean[endpoint_id] for endpoint_id in claimed]),
                        np.array([high[endpoint_id] for endpoint_id in claimed]),
                        last,
                    )
                )

    def scores(self) -> list[SkillScore]:
        """Of every horizon that has outcomes."""
        found = []
        for horizon_s, sums in self._sums.items():
            count, square, square_last, covered = sums.tolist()
            if count > 0:
                found.append(
                    SkillScore(
                        horizon_s,
                        math.sqrt(square / count),
                        math.sqrt(square_last / count),
                        covered / count,
                        self._samples[horizon_s],
                    )
                )
        return found

    def _note_reports(self, reports: Mapping[str, tuple[float, float]]) -> None:
        for endpoint_id in [endpoint_id for endpoint_id in self._reports if endpoint_id not in reports]:
            del self._reports[endpoint_id]
        for endpoint_id, report in reports.items():
            kept = self._reports.get(endpoint_id)
            if kept is None:
                kept = self._reports[endpoint_id] = deque(maxlen=REPORTS_KEPT)
            if not kept or kept[-1][0] < report[0]:
                kept.append(report)

    def _score(self, horizon_s: float, claim: _Claim) -> None:
        actual = np.array([self._outcome(endpoint_id, claim.at_s) for endpoint_id in claim.endpoint_ids])
        seen = np.isfinite(actual)
        if not seen.any():
            return
        actual = actual[seen]
        count = len(actual)
        self._samples[horizon_s] += count
        self._sums[horizon_s] += (
            count,
            float(np.square(claim.mean[seen] - actual).sum()),
            float(np.square(claim.last[seen] - actual).sum()),
            float((actual <= claim.high[seen]).sum()),
        )

    def _outcome(self, endpoint_id: str, at_s: float) -> float:
        """Load reported nearest to a moment; NaN where nothing near was."""
        reports = self._reports.get(endpoint_id)
        if not reports:
            return math.nan
        nearest_s, load = min(reports, key=lambda report: abs(report[0] - at_s))
        return load if abs(nearest_s - at_s) <= OUTCOME_WITHIN_S else math.nan
