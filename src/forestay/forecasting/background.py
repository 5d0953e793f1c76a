"""Periodic background work: cron, garbage collection, batch jobs.

Autocorrelation of the residual proposes a period; the skill of forecasting with it out of sample decides how far it is
believed, because autocorrelation alone finds periods in noise. The forecast is the mean of the last one to three
periods at the same phase.
"""

from typing import ClassVar

import numpy as np

from forestay.forecasting.learned import Learned
from forestay.model.plan import BoolArray, FloatArray, IntArray

MEMORY = 900
"""Rounds of residual kept, about as many seconds."""
PERIOD_MIN, PERIOD_MAX = 10, 320
"""Rounds. Shorter ones are within what the correction follows anyway; longer ones are seen too rarely."""
DETREND = 120
"""Rounds on either side of the moving mean that is taken off first."""
SEARCHED_PER_ROUND = 16
"""Endpoints whose period is sought in one round: a Fourier transform of 2,048 points twice, some 0.1 ms each."""
SEARCH_EVERY = 20
"""Rounds between two searches of one endpoint, at least."""
SKILL_RATE = 0.012
"""Weight of one round in the running skill: some 80 rounds."""
NEARLY = 0.9
"""A peak of the autocorrelation that is this part of the highest one is as good: noise decides between them."""
BELIEVED = 0.05
"""Gates under this are treated as closed."""


class Periodicity(Learned):
    """Ring of residuals, and the period of each endpoint.

    Attributes:
        gate: how far each endpoint's period is believed, in [0, 1], shape (endpoints,).
        period: rounds, 0 for none, shape (endpoints,).
    """

    PER_ENDPOINT: ClassVar = dict.fromkeys(
        ("period", "gate", "_proposed", "_variance", "_error", "_ring", "_since"), 0.0
    )

    def __init__(self, endpoints: int = 0) -> None:
        self.period: IntArray = np.zeros(endpoints, np.int64)
        self.gate: FloatArray = np.zeros(endpoints)
        self._proposed: FloatArray = np.zeros(endpoints)  # the gate by autocorrelation alone
        self._variance: FloatArray = np.zeros(endpoints)  # running, of the deviation from the mean
        self._error: FloatArray = np.zeros(endpoints)  # running, of the deviation from the periodic forecast
        self._ring: FloatArray = np.zeros((MEMORY, endpoints))
        self._since: IntArray = np.zeros(endpoints, np.int64)  # rounds that are an endpoint's own
        self._round = 0
        self._next = 0  # endpoint to be searched next

    def forget(self, endpoint: int) -> None:
        """The endpoint starts anew: its past says nothing about it."""
        for array in (self.period, self.gate, self._proposed, self._since):
            array[endpoint] = 0

    def learn(self, residual: FloatArray, seen: BoolArray) -> None:
        """One round of residuals, shape (endpoints,)."""
        rows = np.flatnonzero((self._proposed > 0) & seen)
        if rows.size:
            mean = self._mean(rows)
            deviation = residual[rows] - mean
            error = deviation - self._at_phase(rows, mean, 1.0)
            self._variance[rows] += SKILL_RATE * (deviation**2 - self._variance[rows])
            self._error[rows] += SKILL_RATE * (error**2 - self._error[rows])
            self._open_gates(rows)
        self._ring[self._round % MEMORY] = residual
        self._round += 1
        self._since += 1
        self._search()

    def ahead(self, rounds: float) -> FloatArray:
        """Periodic part of the residual `rounds` after the last one, zero mean, shape (endpoints,)."""
        periodic = np.zeros(len(self.gate))
        rows = np.flatnonzero(self.gate > BELIEVED)
        if rows.size:
            periodic[rows] = self.gate[rows] * self._at_phase(rows, self._mean(rows), rounds)
        return periodic

    def _mean(self, rows: IntArray) -> FloatArray:
        """Mean of the last few minutes, shape (rows,)."""
        back = min(self._round, 2 * DETREND)
        index = (self._round - 1 - np.arange(back)) % MEMORY
        mean: FloatArray = self._ring[np.ix_(index, rows)].mean(0)
        return mean

    def _at_phase(self, rows: IntArray, mean: FloatArray, rounds: float) -> FloatArray:
        """Mean deviation at the same phase in the last three periods, `rounds` after the last round."""
        period = self.period[rows]
        kept = np.minimum(self._since[rows], MEMORY) - 5
        whole = int(np.floor(rounds))
        total, weights = np.zeros(len(rows)), np.zeros(len(rows))
        for ahead, weight in ((whole, 1.0 - (rounds - whole)), (whole + 1, rounds - whole)):
            if weight == 0.0:
                continue
            for periods in (1, 2, 3):
                back = (periods + (ahead - 1) // np.maximum(period, 1)) * period - ahead
                usable = (back >= 0) & (back < kept)
                value = self._ring[(self._round - 1 - back) % MEMORY, rows] - mean
                total += np.where(usable, weight * value, 0.0)
                weights += np.where(usable, weight, 0.0)
        return total / np.maximum(weights, 1e-9)

    def _search(self) -> None:
        """Look for periods in the next few endpoints, in turn."""
        endpoints = len(self.gate)
        if self._round < 60 or not endpoints:
            return
        due = max(1, min(SEARCHED_PER_ROUND, -(-endpoints // SEARCH_EVERY)))
        rows = (self._next + np.arange(due)) % endpoints
        self._next = int(rows[-1] + 1) % endpoints
        rows = rows[self._since[rows] >= 60]
        if not rows.size:
            return
        rounds = int(min(self._since[rows].min(), MEMORY))
        index = (self._round - rounds + np.arange(rounds)) % MEMORY
        residual = self._ring[np.ix_(index, rows)].T
        sums = np.cumsum(np.pad(residual, ((0, 0), (1, 0))), axis=1)
        low = np.maximum(np.arange(rounds) - DETREND, 0)
        high = np.minimum(np.arange(rounds) + DETREND, rounds)
        deviation = residual - (sums[:, high] - sums[:, low]) / (high - low)
        points = 1 << (2 * rounds - 1).bit_length()
        spectrum = np.fft.rfft(deviation, points)
        correlation = np.fft.irfft(np.abs(spectrum) ** 2, points)[:, :rounds]
        correlation /= np.maximum(correlation[:, :1], 1e-9)
        correlation *= rounds / np.maximum(rounds - np.arange(rounds), rounds * 0.2)  # fewer pairs at long lags
        top = min(int(rounds * 0.6), PERIOD_MAX)
        lags = correlation[:, :top]
        below = lags < 0.1
        past_main_lobe = below.any(1)  # the peak at zero lag is no period: begin where it has fallen away
        start = np.maximum(below.argmax(1), PERIOD_MIN)
        lags = np.where(np.arange(top) < start[:, None], -1.0, lags)
        # Every multiple of a period is one, too: take the top of the first peak that is nearly the highest.
        first = (lags >= NEARLY * lags.max(1, keepdims=True)).argmax(1)
        around = np.minimum(first[:, None] + np.arange(PERIOD_MIN), top - 1)
        period = first + np.take_along_axis(lags, around, 1).argmax(1)
        peak = np.take_along_axis(lags, period[:, None], 1)[:, 0]
        repeats = np.clip(rounds // np.maximum(period, 1), 1, 3)
        noise = max(0.25, 2.5 / np.sqrt(rounds / 10))  # of the autocorrelation of a series that wanders
        found = past_main_lobe & (peak > noise) & (deviation.std(1) > 0.005)
        # Spearman-Brown: the mean of `repeats` noisy periods correlates better with the next than one does.
        gate = repeats * peak / (1 + (repeats - 1) * peak) * np.clip((peak - 0.3) / 0.25, 0.0, 1.0)
        period = np.where(found, period, 0)
        fresh = rows[np.abs(period - self.period[rows]) > 1]
        variance = deviation.var(1)
        is_fresh = np.isin(rows, fresh)
        self._variance[fresh] = variance[is_fresh]
        self._error[fresh] = (variance * (1 - np.clip(peak, 0, 1)))[is_fresh]  # its autocorrelation's benefit of doubt
        self.period[rows] = period
        self._proposed[rows] = np.clip(np.where(found, gate, 0.0), 0.0, 1.0)
        self._open_gates(rows)

    def _open_gates(self, rows: IntArray) -> None:
        skill = 1.0 - self._error[rows] / np.maximum(self._variance[rows], 1e-9)
        self.gate[rows] = self._proposed[rows] * np.clip(skill / 0.3, 0.0, 1.0)
