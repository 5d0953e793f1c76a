"""What load a connection brings at each age, and how large each endpoint is, learned from reports alone.

    load[i](t) = scale[i] * sum_c theta[c] * X[c, i](t) + background[i](t)

X holds the connections by cost bucket, averaged over the report's own window, and in a last row the accepts a second,
whose theta is the load-seconds of one handshake. Both factors are regressed on quasi-differences, load(t) - rho
load(t-1) with rho the pooled autocorrelation of the residual (Cochrane and Orcutt 1949): background and hidden costs
move slowly and nearly cancel, changes of the population do not. Ours differs: rho is pooled and tracked online, the
scales are shrunk to each other by their own spread (empirical Bayes), and the cost level is the plain ratio of load to
connections from the very first report, so that a placement is never thought to be nearly free.
"""

import math
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from forestay.forecasting.ages import COST_MID_S, COSTS
from forestay.forecasting.learned import Learned
from forestay.model.plan import BoolArray, FloatArray

HALF_LIFE_S = 400.0
LEVEL_HALF_LIFE_S = 70.0
LEVEL_MIN = 1e-9
"""Load per connection, at least: reports of nearly nothing must not end in divisions by it."""
STEP_PER_BUCKET = 0.2
"""Prior: neighbouring cost buckets differ by some 20 % of the level (a random walk)."""
ACCEPT_MEAN, ACCEPT_SD = 2.0, 20.0
"""Prior: an accept costs as much as two seconds of its connection, in standard deviations of twenty: token streams are
nearly all stream (5 ms against 1 s of work a second), chats nearly all handshake (a TLS handshake and a login of 5 to
10 ms against .3 to .5 ms of work a second). Not nothing: a storm may come before anything is learned."""
BACKGROUND_SD = 0.05
"""Prior: an endpoint's own constant background is about this much load."""
DECLARED_SD = 0.05
"""A declared capacity is trusted to about 5 %."""
POOLED_MAX = 1000
"""Endpoints, roughly, from whose reports theta is learned."""
SEEN_MIN = 0.01
"""However few connections are seen, the regression may still move the level by this part."""
TOLD_MUCH = 1.1
"""A round that adds a tenth to what is known of accepts is a storm."""
FULL_MARGIN, FULL_EXCESS = 0.05, 0.1
"""A report this near to 1 is that of a full server where the model says that there was this much more to do."""
ACCEPTS = COSTS  # the row of X and theta that counts accepts


class Cost(Learned):
    """Learned theta and scale.

    Attributes:
        theta: load per connection by cost bucket, then load-seconds per accept, shape (costs + 1,), at scale 1.
        scale: one over capacity, geometric mean 1 over the endpoints that report, shape (endpoints,).
        certain: part of theta that is sure, in [0.1, 1]: one less its relative standard deviation.
        certain_accept: the same for what an accept costs, in [0, 1].
        noise: variance of what the quasi-differences leave unexplained.
    """

    PER_ENDPOINT: ClassVar = {
        "scale": 1.0,
        "_declared": math.nan,
        **dict.fromkeys(("_xx", "_x", "_one", "_xy", "_y", "_last_x", "_last_y", "_last_ok"), 0.0),
    }
    LEARNED = (
        *("theta", "scale", "certain", "certain_accept", "_gram", "_moment", "_load_sum", "_unit_sum", "_accept_sum"),
        *("_square", "_lagged", "noise", "_scale_sd", "_xx", "_x", "_one", "_xy", "_y", "_ticks"),
    )

    def __init__(self, endpoints: int = 0) -> None:
        self.theta: FloatArray = np.append(np.full(COSTS, 0.01), 0.01 * ACCEPT_MEAN)
        self.scale: FloatArray = np.ones(endpoints)
        self.certain, self.certain_accept = 0.1, 0.0
        self._declared: FloatArray = np.full(endpoints, np.nan)  # capacities
        self._gram: FloatArray = np.zeros((COSTS + 1, COSTS + 1))
        self._moment: FloatArray = np.zeros(COSTS + 1)
        self._load_sum = self._unit_sum = self._accept_sum = 0.0  # load, connections and accepts a second, at scale 1
        self._square = self._lagged = 1e-9  # of the residual: their ratio is rho
        self._lagged = 0.8e-9
        self.noise = 4e-4
        self._scale_sd = 0.5
        # Moments per endpoint of the regression of quasi-differenced load on structural load and a constant.
        self._xx, self._x, self._one, self._xy, self._y = (np.zeros(endpoints) for _ in range(5))
        self._last_x: FloatArray = np.zeros((COSTS + 1, endpoints))
        self._last_y: FloatArray = np.zeros(endpoints)
        self._last_ok: BoolArray = np.zeros(endpoints, bool)
        self._ticks = 0

    def declare(self, endpoint: int, capacity: float | None) -> None:
        """Take the operator's word for an endpoint's size; None: learn it."""
        if capacity == self.declared(endpoint):  # what was learned stays
            return
        self._declared[endpoint] = math.nan if capacity is None else capacity
        told = np.isfinite(self._declared)  # capacities are relative: one more word changes what all of them mean
        told[endpoint] = True
        self.scale[told] = self._prior_scale()[0][told]

    def declared(self, endpoint: int) -> float | None:
        """The operator's word for an endpoint's size, None where it is learned."""
        capacity = float(self._declared[endpoint])
        return None if math.isnan(capacity) else capacity

    def forget(self, endpoint: int) -> None:
        """The slot belongs to another endpoint now."""
        for moments in (self._xx, self._x, self._one, self._xy, self._y):
            moments[endpoint] = 0.0
        self.scale[endpoint] = 1.0
        self._declared[endpoint] = math.nan
        self._last_ok[endpoint] = False

    def at_age(self, age_s: FloatArray) -> FloatArray:
        """Load of one connection at an age, at scale 1; between bucket middles by interpolation."""
        return np.interp(age_s, COST_MID_S, self.theta[:COSTS])

    @property
    def per_accept(self) -> float:
        """Load-seconds of one handshake, at scale 1."""
        return float(self.theta[ACCEPTS])

    @property
    def rho(self) -> float:
        """Autocorrelation of the residual from report to report, in [0, 0.97]."""
        return min(max(self._lagged / self._square, 0.0), 0.97)

    def is_full(self, x: FloatArray, load: FloatArray) -> BoolArray:
        """Reports that say 1 because no server can do more, shape (endpoints,): nothing is learned of costs from them.

        Args:
            x: connections over each report's window, as for `learn`.
            load: as reported.
        """
        full: BoolArray = (np.abs(load - 1.0) < FULL_MARGIN) & (self.structural(x) > load + FULL_EXCESS)
        return full

    def structural(self, x: FloatArray) -> FloatArray:
        """Load that the connections explain, shape (endpoints,), from X, shape (costs + 1, endpoints)."""
        explained: FloatArray = self.scale * (self.theta @ x)
        return explained

    def learn(
        self, x: FloatArray, load: FloatArray, ok: BoolArray, seen: float = 1.0, *, guessed: bool = False
    ) -> None:
        """One round of reports.

        Args:
            x: connections by cost bucket and accepts a second over each report's window, shape (costs + 1, endpoints).
            load: reported load less what is known not to come from connections, shape (endpoints,).
            ok: which endpoints have a new report, shape (endpoints,).
            seen: part of the connections in X whose coming and going this picker saw itself, in (0, 1].
            guessed: whether it is guessed where the others are, rather than told.
        """
        self._ticks += 1
        seen = max(seen, SEEN_MIN)
        keep = 0.5 ** (1 / HALF_LIFE_S)
        level = self._learn_level(x, load, ok)
        both = np.flatnonzero(ok & self._last_ok)
        storm = bool(both.size) and self._learn_theta(x, load, both, keep)
        solve = level > 0 and (self._ticks % 5 == 0 or self._ticks < 20 or storm)
        if solve:
            self._solve_theta(level, x[:COSTS, ok].sum(1), seen, guessed=guessed)
        if both.size:  # by the theta that a storm has just taught; or else it is the servers that seem to have shrunk
            self._learn_scale(x, load, both, keep)
        if solve:
            self._solve_scale(ok, seen if guessed else 1.0)
        self._last_x[:, ok] = x[:, ok]
        self._last_y[ok] = load[ok]
        self._last_ok = ok.copy()

    def _learn_level(self, x: FloatArray, load: FloatArray, ok: BoolArray) -> float:
        """Load per connection over the last minutes, 0 where there is none now.

        Handshakes are left out: a fleet that fills has little but handshakes, and taking them for what connections
        cost would mislead everything else for minutes.
        """
        decay = 0.5 ** (1 / LEVEL_HALF_LIFE_S)
        first = self._unit_sum <= 0 or self._load_sum <= 0
        self._load_sum = self._load_sum * decay + max(float(load[ok].sum()), 0.0)
        connections = float((self.scale * x[:COSTS].sum(0))[ok].sum())
        self._unit_sum = self._unit_sum * decay + connections
        self._accept_sum = self._accept_sum * decay + float((self.scale * x[ACCEPTS])[ok].sum())
        if connections <= 0 or self._load_sum <= 0:
            return 0.0
        accept_s = ACCEPT_MEAN if first else self.per_accept / float(self.theta[:COSTS].mean())
        level = max(self._load_sum / (self._unit_sum + accept_s * self._accept_sum), LEVEL_MIN)
        if first:
            self.theta = np.append(np.full(COSTS, level), ACCEPT_MEAN * level)
        return level

    def _learn_theta(self, x: FloatArray, load: FloatArray, rows: npt.NDArray[np.intp], keep: float) -> bool:
        """Moments of theta, and what the residual is like; True in a storm.

        A storm's first report says more of accepts and sizes than minutes of calm, and the storm goes on: it is to be
        learned from at once. What it does beyond the model is an error of ours, not noise for the minutes after it.
        """
        last_residual = (self._last_y - self.structural(self._last_x))[rows]
        residual = (load - self.structural(x))[rows]
        self._square = self._square * keep + float(last_residual @ last_residual)
        self._lagged = self._lagged * keep + float(last_residual @ residual)
        rho = self.rho
        some = rows[:: 1 + len(rows) // POOLED_MAX]  # theta is common to all: some hundred endpoints teach it
        dx = (x[:, some] - rho * self._last_x[:, some]) * self.scale[some]
        of_accepts = self._gram[ACCEPTS, ACCEPTS]
        self._gram = self._gram * keep + dx @ dx.T
        storm = self._ticks >= 20 and bool(self._gram[ACCEPTS, ACCEPTS] > TOLD_MUCH * of_accepts)
        if not storm:
            innovation = residual - rho * last_residual
            self.noise += 0.02 * (float(innovation @ innovation) / len(rows) + 1e-7 - self.noise)
        self._moment = self._moment * keep + dx @ (load - rho * self._last_y)[some]
        return storm

    def _learn_scale(self, x: FloatArray, load: FloatArray, rows: npt.NDArray[np.intp], keep: float) -> None:
        """Moments of each endpoint's scale."""
        rho = self.rho
        du = (self.theta @ (x - rho * self._last_x))[rows]
        dy = (load - rho * self._last_y)[rows]
        one = 1.0 - rho
        for moments, value in (
            (self._xx, du * du),
            (self._x, du * one),
            (self._one, np.full(len(rows), one * one)),
            (self._xy, du * dy),
            (self._y, dy * one),
        ):
            moments[rows] = moments[rows] * keep + value

    def _solve_theta(self, level: float, counts: FloatArray, seen: float, *, guessed: bool) -> None:
        """Posterior mean of theta under a random walk around `level`, and how sure it and its mean over `counts` are.

        Other pickers follow the same reports and fill the same valleys in the same second: the regression takes what
        they place for the cost of what this one does, up to 1 / `seen` times too much; and the ages of theirs
        are a guess, which makes it find too little. The level contains them all, so it is believed the more the fewer
        are seen, and more yet where reports tell how many there are and it is exact.
        """
        trust = seen if guessed else seen**2
        walk = np.zeros((COSTS, COSTS + 1))
        index = np.arange(COSTS - 1)
        walk[index, index], walk[index, index + 1] = -1.0, 1.0
        walk[COSTS - 1, :COSTS] = 1.0 / COSTS
        precision = np.full(COSTS, (STEP_PER_BUCKET * level * trust) ** -2)
        precision[-1] = (level * trust) ** -2
        target = np.append(np.zeros(COSTS - 1), level)
        a = self._gram / self.noise + walk.T @ (precision[:, None] * walk)
        b = self._moment / self.noise + walk.T @ (precision * target)
        accept_precision = (ACCEPT_SD * level * seen) ** -2
        a[ACCEPTS, ACCEPTS] += accept_precision
        b[ACCEPTS] += ACCEPT_MEAN * level * accept_precision
        floor = np.append(np.full(COSTS, 0.02 * level), 0.0)
        covariance = np.linalg.inv(a)
        self.theta = np.maximum(covariance @ b, floor)
        mix = counts / max(counts.sum(), 1e-9)
        sd = math.sqrt(max(float(mix @ covariance[:COSTS, :COSTS] @ mix), 0.0))
        self.certain = min(max(1.0 - sd / float(mix @ self.theta[:COSTS]), 0.1), 1.0)
        sd = math.sqrt(max(float(covariance[ACCEPTS, ACCEPTS]), 0.0))
        self.certain_accept = max(1.0 - sd / self.per_accept, 0.0) if self.per_accept > 0 else 0.0

    def _prior_scale(self) -> tuple[FloatArray, FloatArray]:
        """Mean and standard deviation of what is believed of each scale before any report."""
        declared = np.isfinite(self._declared)
        mean, sd = np.ones(len(self.scale)), np.full(len(self.scale), self._scale_sd)
        if declared.any():
            inverse = 1.0 / self._declared[declared]
            mean[declared] = inverse / np.exp(np.log(inverse).mean())
            sd[declared] = DECLARED_SD * mean[declared]
        return mean, sd

    def _solve_scale(self, ok: BoolArray, seen: float) -> None:
        mean, sd = self._prior_scale()
        sd = sd * seen  # other pickers mislead it as they do theta
        weight = 1.0 / self.noise
        a11, a12, a22 = self._xx * weight + sd**-2, self._x * weight, self._one * weight + BACKGROUND_SD**-2
        b1, b2 = self._xy * weight + mean * sd**-2, self._y * weight
        determinant = a11 * a22 - a12**2
        scale = np.clip((a22 * b1 - a12 * b2) / determinant, 0.1, 10.0)
        scale = np.where(self._one > 0, scale, mean)
        learned = ok & ~np.isfinite(self._declared)
        if learned.sum() > 2:
            # EM: mean of the posterior second moments. (The spread of the estimates less their posterior variance
            # collapses to zero, and stays there: then nothing is learned any more.)
            spread = float(np.mean((scale[learned] - scale[learned].mean()) ** 2 + (a22 / determinant)[learned]))
            self._scale_sd = math.sqrt(min(max(spread, 0.05**2), 1.0))
        self.scale = scale / np.exp(np.log(scale[ok]).mean())
