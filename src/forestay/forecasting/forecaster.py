"""One cluster's forecast: events and reports in, load trajectories out.

Two answers a tick. `present`: the load of what is there already, which is what a placement is priced on. `expected`:
what the next reports will say, arrivals included, which is what people and alerts look at.
"""

from array import array
from typing import ClassVar, cast

import numpy as np

from forestay.forecasting import structural
from forestay.forecasting.ages import AGE_EDGES_S, AGE_OF_COST, AGES, COSTS
from forestay.forecasting.arrivals import Arrivals
from forestay.forecasting.calibration import spread
from forestay.forecasting.correction import SAMPLE
from forestay.forecasting.cost import ACCEPTS, Cost
from forestay.forecasting.ensemble import Ensemble
from forestay.forecasting.learned import Learned
from forestay.forecasting.population import Population
from forestay.forecasting.residual import Residual
from forestay.forecasting.survival import YOUNG_S, Survival
from forestay.forecasting.window import Interval, Window
from forestay.model.horizons import HORIZONS_S
from forestay.model.outlook import Outlook
from forestay.model.plan import BoolArray, FloatArray, IntArray

MASS_CLOSE = 0.5
"""Closes of more than this part of an endpoint's connections within one tick are its death, not their age."""
MASS_CLOSE_MIN = 8
UNSEEN_SPREAD = 3.0
"""How much wider the errors of an endpoint are taken to be whose reports no longer count: nothing corrects them."""
ADOPTED_S = 5.0
"""A connection that opened longer than this before the last tick was adopted with its age: it is no arrival."""


class Forecaster(Learned):
    """Everything that is learned about one cluster, by endpoint slot."""

    PER_ENDPOINT: ClassVar = dict.fromkeys(("_opens", "_area", "_counts_before", "_accepting"), 0.0)
    LEARNED = ("survival", "cost", "arrivals", "residual", "ensemble", "_delay_s")

    def __init__(self, rng: np.random.Generator) -> None:
        self.population = Population()
        self.survival = Survival()
        self.cost = Cost()
        self.arrivals = Arrivals()
        self.residual = Residual()
        self.ensemble = Ensemble()
        self._window = Window()
        self._rng = rng
        self._endpoints = 0
        self._sample: IntArray = np.zeros(0, np.int64)
        self._now_s = 0.0
        self._counts_before: FloatArray = np.zeros((AGES, 0))
        self._delay_s = 1.0
        # Since the last tick, by endpoint: opens, and connection-seconds missing from "count now x tick".
        self._opens: FloatArray = np.zeros(0)
        self._area: FloatArray = np.zeros(0)
        self._accepting: FloatArray = np.zeros(0)  # accepts a second, before it
        self._closed = array("d")  # endpoint, when opened, when closed; flat, for it is turned into an array every tick
        self._view()

    def resize(self, endpoints: int) -> None:
        """Make room for more endpoint slots."""
        super().resize(endpoints)
        for part in (self.population, self.cost, self.arrivals, self.residual, self.ensemble):
            part.resize(endpoints)
        self._endpoints = endpoints
        self._view()
        self._window.clear()

    def forget(self, endpoint: int) -> None:
        """The slot belongs to another endpoint now."""
        self.cost.forget(endpoint)
        self.arrivals.forget(endpoint)
        self.restarted(endpoint)

    def restarted(self, endpoint: int) -> None:
        """The endpoint begins anew: what was left over of its load before means nothing now."""
        self.residual.forget(endpoint)
        self.ensemble.forget(endpoint)

    def begin(self, now_s: float) -> None:
        """Start the time of the next tick's interval here: everything before it was not observed."""
        self.population.advance(now_s)
        self._counts_before = self.population.counts.copy()
        self._opens[:] = self._area[:] = 0.0
        self._now_s = now_s

    def opened(self, endpoint: int, now_s: float) -> int:
        """A connection opened; returns its slot in the population."""
        since_s = now_s - self._now_s
        if since_s > -ADOPTED_S:
            self._opens_view[endpoint] += 1.0
            self._area_view[endpoint] -= max(since_s, 0.0)
        return self.population.open(endpoint, now_s)

    def closed(self, slot: int, now_s: float) -> tuple[int, int]:
        """A connection closed; returns its endpoint and its age bucket."""
        endpoint, bucket, opened_s = self.population.close(slot)
        self._area_view[endpoint] += now_s - self._now_s
        self._closed.extend((endpoint, opened_s, now_s))
        return endpoint, bucket

    def tick(
        self,
        now_s: float,
        load: FloatArray,
        at_s: FloatArray,
        fresh: BoolArray,
        known: BoolArray,
        takes_part: BoolArray,
    ) -> Outlook:
        """Learn from what happened since the last tick and look ahead.

        Args:
            now_s: this moment, not before the last tick.
            load: last reported load, shape (endpoints,).
            at_s: end of that report's window.
            fresh: whether the report came since the last tick.
            known: whether the report still counts.
            takes_part: endpoints that get newcomers.
        """
        self._advance(now_s)
        if known.any():
            self._learn(load, at_s, fresh, known)
        return self.look_ahead(now_s, load, known, takes_part, remember=True)

    def _advance(self, now_s: float) -> None:
        """Bring the population to this moment and note what it was in between."""
        dt_s = max(now_s - self._now_s, 1e-6)
        population = self.population
        population.advance(now_s)
        counts = population.counts
        opens = self._opens
        total = counts.sum(0)
        closed, exposure_s = self._closed_by_age(self._now_s, total)
        young_s = population.ages_since(now_s - YOUNG_S - dt_s, now_s)
        self.survival.learn(counts.sum(1), young_s, closed, exposure_s, dt_s)
        self.arrivals.learn(opens, now_s, dt_s)
        mean_total = total + self._area / dt_s
        x = np.empty((COSTS + 1, self._endpoints))
        halfway = AGE_OF_COST @ (0.5 * (counts + self._counts_before))
        x[:COSTS] = halfway * (mean_total / np.maximum(halfway.sum(0), 1e-9))
        x[ACCEPTS] = opens / dt_s
        self._accepting = x[ACCEPTS]
        born = (halfway.sum(0) <= 0) & (mean_total > 0)  # opened and closed between two ticks
        x[0, born] = mean_total[born]
        self._window.push(Interval(now_s - dt_s, now_s, x))
        self._counts_before = counts.copy()
        self._opens[:] = self._area[:] = 0.0
        self._closed = array("d")
        self._now_s = now_s

    def _handshaking(self) -> FloatArray:
        """Accepts of the last second, which are load now whatever becomes of their connections, shape (endpoints,).

        Of those before the tick, half: they leave that second one by one until the next tick.
        """
        return 0.5 * self._accepting + self._opens

    def _view(self) -> None:
        """Scalar access through a memoryview costs half of that through an array."""
        self._opens_view = cast("memoryview[float]", self._opens.data)
        self._area_view = cast("memoryview[float]", self._area.data)

    def _closed_by_age(self, tick_s: float, still_open: FloatArray) -> tuple[IntArray, FloatArray]:
        """Closes since the last tick by age, and the exposure of those that closed since then."""
        closes, exposure_s = np.zeros(AGES, np.int64), np.zeros(AGES)
        if not self._closed:
            return closes, exposure_s
        endpoint, opened_s, closed_s = np.frombuffer(self._closed).reshape(-1, 3).T
        endpoint = endpoint.astype(np.int64)
        by_endpoint = np.bincount(endpoint, minlength=self._endpoints)
        died = (by_endpoint >= MASS_CLOSE_MIN) & (by_endpoint > MASS_CLOSE * (by_endpoint + still_open))
        first = np.maximum(tick_s - opened_s, 0.0)  # age when this tick's exposure began
        last = np.maximum(closed_s - opened_s, 0.0)
        natural = ~died[endpoint]
        bucket = np.searchsorted(AGE_EDGES_S, last, side="right") - 1
        closes = np.bincount(np.minimum(bucket, AGES - 1)[natural], minlength=AGES)
        low = np.searchsorted(AGE_EDGES_S, first, side="right") - 1
        for age in range(int(low.min()), min(int(bucket.max()), AGES - 1) + 1):
            lived = np.minimum(last, AGE_EDGES_S[age + 1]) - np.maximum(first, AGE_EDGES_S[age])
            exposure_s[age] = np.maximum(lived, 0.0).sum()
        return closes, exposure_s

    def _learn(self, load: FloatArray, at_s: FloatArray, fresh: BoolArray, known: BoolArray) -> None:
        self._draw_sample(known)
        x, covered = self._window.at(at_s)
        fresh = fresh & (covered > 0.5)
        latest_s = float(np.median(at_s[fresh])) if fresh.any() else self._now_s - self._delay_s
        periodic = self.residual.periodicity.ahead(1.0)
        self.cost.learn(x, load - periodic, fresh)
        self.residual.learn(load - self.cost.structural(x), fresh, self._sample, latest_s)
        self.ensemble.learn(load, fresh, self._sample, latest_s)
        self._delay_s += 0.1 * (min(max(self._now_s - latest_s, 0.0), 10.0) - self._delay_s)

    def _draw_sample(self, known: BoolArray) -> None:
        """Keep the sample as long as all of it reports; else draw anew."""
        wanted = min(SAMPLE, int(known.sum()))
        if len(self._sample) == wanted and known[self._sample].all():
            return
        self._sample = np.sort(self._rng.permutation(np.flatnonzero(known))[:wanted])
        self.residual.forget_sample()
        self.ensemble.forget_sample()

    def look_ahead(
        self, now_s: float, load: FloatArray, known: BoolArray, takes_part: BoolArray, *, remember: bool = False
    ) -> Outlook:
        """The outlook from what is known at this moment.

        Args:
            now_s: this moment.
            load: last reported load.
            known: whether it still counts.
            takes_part: endpoints that get newcomers.
            remember: keep the forecast, to learn from its outcome.
        """
        survival, cost = self.survival, self.cost
        counts = self.population.counts
        remaining = structural.remaining(survival, cost)
        each = remaining @ counts  # at scale 1
        here = np.maximum(cost.theta[:COSTS] @ (AGE_OF_COST @ counts), 1e-12)
        present = cost.scale * each
        staying = np.minimum(each / here, 2.0)
        present += self.residual.ahead(staying, known, self._delay_s)
        np.maximum(present, 0.0, out=present)
        rate = self.arrivals.ahead(now_s)
        arriving = structural.arriving(survival, cost, rate)
        share = self.arrivals.share(np.where(takes_part, 1.0 / cost.scale, 0.0))
        accepts = np.interp(HORIZONS_S, np.arange(len(rate)), rate) * cost.per_accept
        base = present + (arriving + accepts)[:, None] * (share * cost.scale)
        present[0] += cost.scale * cost.per_accept * self._handshaking()
        expected = self.ensemble.forecast(base, load, known)
        if remember:
            self.residual.remember(staying, self._sample, now_s)
            self.ensemble.remember(base, expected, load, known, self._sample, now_s)
        newcomer = structural.newcomer(survival, cost)
        sure_newcomer = newcomer * cost.certain
        sure_newcomer[0] += cost.per_accept * (cost.certain_accept - cost.certain)
        return Outlook(
            present=present,
            sure=np.where(known, load + cost.certain * (present - load), present),
            expected=expected,
            spread=spread(expected) * np.where(known, 1.0, UNSEEN_SPREAD),
            errors=self.ensemble.calibration.quantiles,
            newcomer=newcomer,
            sure_newcomer=sure_newcomer,
            staying=survival.from_birth(HORIZONS_S),
            arriving=arriving,
            scale=cost.scale.copy(),
            remaining=remaining,
        )
