"""One cluster's forecast: events and reports in, load trajectories out.

Two answers a tick. `present`: the load of what is there already, which is what a placement is priced on. `expected`:
what the next reports will say, arrivals included, which is what people and alerts look at.
"""

from array import array
from collections import deque
from collections.abc import Sequence
from typing import ClassVar, cast

import numpy as np

from forestay.forecasting import structural
from forestay.forecasting.ages import AGE_EDGES_S, AGE_OF_COST, AGES, COSTS
from forestay.forecasting.arrivals import Arrivals
from forestay.forecasting.attribution import Attribution
from forestay.forecasting.calibration import spread
from forestay.forecasting.correction import SAMPLE
from forestay.forecasting.cost import ACCEPTS, Cost
from forestay.forecasting.ensemble import Ensemble
from forestay.forecasting.kinds import Kinds
from forestay.forecasting.learned import Learned, State
from forestay.forecasting.population import Population
from forestay.forecasting.residual import Residual
from forestay.forecasting.survival import YOUNG_S, Survival
from forestay.forecasting.unseen import Unseen
from forestay.forecasting.window import INTERVALS, Cohort, Interval, Window
from forestay.model.horizons import HORIZONS_S
from forestay.model.outlook import Outlook
from forestay.model.plan import BoolArray, FloatArray, IntArray

MASS_CLOSE = 0.5
"""Closes of more than this part of an endpoint's connections within one tick are its death, not their age."""
MASS_CLOSE_MIN = 8
UNSEEN_SPREAD = 3.0
"""How much wider the errors of an endpoint are taken to be whose reports no longer count: nothing corrects them."""
LATELY_S = 2.5
"""Connections that opened or closed since then before a report's end show in the difference to the one before."""
UNSEEN_MAX = 2.0
"""Who sees less than half of all connections cannot tell who brought a step."""
HIDDEN = COSTS + 1  # row of what is observed: load at scale 1 of what single connections cost beyond their kind's mean
ADOPTED_S = 5.0
"""A connection that opened longer than this before the last tick was adopted with its age: it is no arrival."""


class Forecaster(Learned):
    """Everything that is learned about one cluster, by endpoint slot."""

    PER_ENDPOINT: ClassVar = dict.fromkeys(("_opens", "_area", "_by_kind_before", "_accepting"), 0.0)
    LEARNED = (
        *("survival", "kinds", "cost", "attribution", "arrivals", "residual", "ensemble", "unseen"),
        "_delay_s",
    )

    def __init__(self, rng: np.random.Generator, pickers: int = 1) -> None:
        self.population = Population()
        self.survival = Survival()
        self.kinds = Kinds(self.survival)
        self.cost = Cost()
        self.attribution = Attribution()
        self.arrivals = Arrivals()
        self.residual = Residual()
        self.ensemble = Ensemble()
        self.unseen = Unseen(pickers)
        self._window = Window()
        self._rng = rng
        self._endpoints = 0
        self._sample: IntArray = np.zeros(0, np.int64)
        self._now_s = 0.0
        self._by_kind_before: FloatArray = np.zeros((1, AGES, 0))
        self._delay_s = 1.0
        # Since the last tick, by endpoint: opens, and by kind the connection-seconds missing from "count now x tick".
        self._opens: FloatArray = np.zeros(0)
        self._area: FloatArray = np.zeros((1, 0))
        self._accepting: FloatArray = np.zeros(0)  # accepts a second, before it
        # Endpoint, kind, when opened, when closed, excess, doubt; flat, for it is turned into an array every tick.
        self._closed = array("d")
        self._closed_lately: deque[FloatArray] = deque(maxlen=INTERVALS)  # the same by tick, shape (closed, 6)
        self._opened_kinds = [0]
        self._view()

    def resize(self, endpoints: int) -> None:
        """Make room for more endpoint slots."""
        super().resize(endpoints)
        for part in (
            self.population,
            self.kinds,
            self.cost,
            self.attribution,
            self.arrivals,
            self.residual,
            self.ensemble,
            self.unseen,
        ):
            part.resize(endpoints)
        self._endpoints = endpoints
        self._view()
        self._window.clear()

    def forget(self, endpoint: int) -> None:
        """The slot belongs to another endpoint now."""
        self.cost.forget(endpoint)
        self.arrivals.forget(endpoint)
        self.unseen.forget(endpoint)
        self.restarted(endpoint)

    def restarted(self, endpoint: int) -> None:
        """The endpoint begins anew: what was left over of its load before means nothing now."""
        self.attribution.forget(endpoint)
        self.residual.forget(endpoint)
        self.ensemble.forget(endpoint)

    def adopt(self, state: State, prefix: str = "", *, kinds: Sequence[str] = ("",)) -> None:
        """Take over a state; `kinds` are the hints by kind that it knows. Raises InvalidInput."""
        self.kinds.begin_with(kinds)
        self._widen()
        super().adopt(state, prefix)

    def begin(self, now_s: float) -> None:
        """Start the time of the next tick's interval here: everything before it was not observed."""
        self.population.advance(now_s)
        self._begin_interval(now_s)

    def _begin_interval(self, now_s: float) -> None:
        self._by_kind_before = self.population.by_kind.copy()
        self._opens[:] = self._area[:] = 0.0
        self._opened_kinds = [0] * len(self.kinds)
        self._closed = array("d")
        self._now_s = now_s

    def kind(self, hint: str) -> int:
        """The kind of a connection that opens with this hint; the first ones of a hint make it a kind."""
        kind = self.kinds.admit(hint)
        if kind >= len(self._opened_kinds):
            self._widen()
        return kind

    def _widen(self) -> None:
        more = len(self.kinds) - len(self._opened_kinds)
        self.population.widen(len(self.kinds))
        self._by_kind_before = np.pad(self._by_kind_before, ((0, more), (0, 0), (0, 0)))
        self._area = np.pad(self._area, ((0, more), (0, 0)))
        self._opened_kinds += [0] * more
        self._view()
        self._window.clear()  # its rows are those of fewer kinds

    def opened(self, endpoint: int, now_s: float, kind: int = 0) -> int:
        """A connection opened; returns its slot in the population."""
        since_s = now_s - self._now_s
        if since_s > -ADOPTED_S:
            self._opens_view[endpoint] += 1.0
            self._area_view[kind, endpoint] -= max(since_s, 0.0)
            self._opened_kinds[kind] += 1
        return self.population.open(endpoint, now_s, kind)

    def closed(self, slot: int, now_s: float) -> tuple[int, int, int, float]:
        """A connection closed; returns its endpoint, kind, age bucket, and its cost beside its kind's mean."""
        endpoint, kind, bucket, opened_s, excess, doubt = self.population.close(slot)
        self._area_view[kind, endpoint] += now_s - self._now_s
        self._closed.extend((endpoint, kind, opened_s, now_s, excess, doubt))
        return endpoint, kind, bucket, 1.0 + excess

    def tick(
        self,
        now_s: float,
        load: FloatArray,
        at_s: FloatArray,
        fresh: BoolArray,
        known: BoolArray,
        takes_part: BoolArray,
        open_connections: FloatArray | None = None,
    ) -> Outlook:
        """Learn from what happened since the last tick and look ahead.

        Args:
            now_s: this moment, not before the last tick.
            load: last reported load, shape (endpoints,).
            at_s: end of that report's window.
            fresh: whether the report came since the last tick.
            known: whether the report still counts.
            takes_part: endpoints that get newcomers.
            open_connections: as last reported, NaN where not told; None: nobody tells.
        """
        self._advance(now_s)
        if known.any():
            told = np.full(len(load), np.nan) if open_connections is None else open_connections
            self._learn(load, at_s, fresh, known, told)
        return self.look_ahead(now_s, load, known, takes_part, remember=True)

    def _advance(self, now_s: float) -> None:
        """Bring the population to this moment and note what it was in between."""
        dt_s = max(now_s - self._now_s, 1e-6)
        self.population.advance(now_s)
        self._closed_lately.append(np.frombuffer(self._closed).reshape(-1, 6) if self._closed else np.zeros((0, 6)))
        self._learn_survival(now_s, dt_s)
        self.arrivals.learn(self._opens, now_s, dt_s)
        self._window.push(Interval(now_s - dt_s, now_s, self._observed(dt_s)))
        self.kinds.arrived(np.array(self._opened_kinds), dt_s)
        merged = self.kinds.succession()
        if merged > 0:
            self.population.merge(merged)
            self._window.clear()
        self._begin_interval(now_s)

    def _handshaking(self) -> FloatArray:
        """Accepts of the last second, which are load now whatever becomes of their connections, shape (endpoints,).

        Of those before the tick, half: they leave that second one by one until the next tick.
        """
        return 0.5 * self._accepting + self._opens

    def _learn_survival(self, now_s: float, dt_s: float) -> None:
        by_age = self.population.by_kind.sum(2)
        closes, exposure_s = self._closed_by_age(self._now_s)
        young_s, young_kinds = self.population.ages_since(now_s - YOUNG_S - dt_s, now_s)
        self.survival.learn(by_age.sum(0), young_s, closes.sum(0), exposure_s.sum(0), dt_s)
        if len(self.kinds) > 1:
            for kind, survival in enumerate(self.kinds.survivals):
                survival.learn(by_age[kind], young_s[young_kinds == kind], closes[kind], exposure_s[kind], dt_s)

    def _observed(self, dt_s: float) -> FloatArray:
        """Mean connections since the last tick by cost bucket, in average ones; accepts a second; each kind's load."""
        by_cost = AGE_OF_COST @ (0.5 * (self.population.by_kind + self._by_kind_before))  # roughly, halfway
        halfway = by_cost.sum(1)
        exact = self.population.by_kind.sum(1) + self._area / dt_s
        by_cost *= (exact / np.maximum(halfway, 1e-9))[:, None]
        by_cost[:, 0] += np.where(halfway <= 0, exact, 0.0)  # opened and closed between two ticks
        kinds = len(self.kinds)
        x = np.empty((HIDDEN + 1 + (kinds if kinds > 1 else 0), self._endpoints))
        x[:COSTS] = self.kinds.together(by_cost)
        x[ACCEPTS] = self._accepting = self._opens / dt_s
        theta = self.cost.theta[:COSTS]
        x[HIDDEN] = (theta @ AGE_OF_COST) @ self.kinds.together(self.population.excess)
        endpoint, kind, opened_s, closed_s, excess, _ = self._closed_lately[-1].T
        gone = excess * self._unit(kind.astype(np.int64), closed_s - opened_s)
        lived = np.clip((closed_s - self._now_s) / dt_s, 0.0, 1.0)
        x[HIDDEN] += np.bincount(endpoint.astype(np.int64), gone * lived, minlength=self._endpoints)
        if kinds > 1:
            x[HIDDEN + 1 :] = theta @ by_cost
        return x

    def _unit(self, kind: IntArray, age_s: FloatArray) -> FloatArray:
        """Load at scale 1 that is expected of connections, by their kind and age, shape (connections,)."""
        return self.kinds.relative[kind] * self.cost.at_age(age_s)

    def _view(self) -> None:
        """Scalar access through a memoryview costs half of that through an array."""
        self._opens_view = cast("memoryview[float]", self._opens.data)
        self._area_view = cast("memoryview[float]", self._area.data)

    def _closed_by_age(self, tick_s: float) -> tuple[IntArray, FloatArray]:
        """Closes since the last tick, and the exposure of those that closed since then, shapes (kinds, ages)."""
        kinds = len(self.kinds)
        closes, exposure_s = np.zeros((kinds, AGES), np.int64), np.zeros((kinds, AGES))
        if not self._closed:
            return closes, exposure_s
        endpoint, kind, opened_s, closed_s, _, _ = self._closed_lately[-1].T
        endpoint, kind = endpoint.astype(np.int64), kind.astype(np.int64)
        still_open = self.population.counts.sum(0)
        by_endpoint = np.bincount(endpoint, minlength=self._endpoints)
        died = (by_endpoint >= MASS_CLOSE_MIN) & (by_endpoint > MASS_CLOSE * (by_endpoint + still_open))
        first = np.maximum(tick_s - opened_s, 0.0)  # age when this tick's exposure began
        last = np.maximum(closed_s - opened_s, 0.0)
        natural = ~died[endpoint]
        bucket = np.searchsorted(AGE_EDGES_S, last, side="right") - 1
        cell = kind * AGES + np.minimum(bucket, AGES - 1)
        closes = np.bincount(cell[natural], minlength=kinds * AGES).reshape(kinds, AGES)
        low = np.searchsorted(AGE_EDGES_S, first, side="right") - 1
        for age in range(int(low.min()), min(int(bucket.max()), AGES - 1) + 1):
            lived = np.minimum(last, AGE_EDGES_S[age + 1]) - np.maximum(first, AGE_EDGES_S[age])
            exposure_s[:, age] = np.bincount(kind, np.maximum(lived, 0.0), minlength=kinds)
        return closes, exposure_s

    def _learn(
        self,
        load: FloatArray,
        at_s: FloatArray,
        fresh: BoolArray,
        known: BoolArray,
        open_connections: FloatArray,
    ) -> None:
        self._draw_sample(known)
        x, covered = self._window.at(at_s)
        fresh = fresh & (covered > 0.5)
        latest_s = float(np.median(at_s[fresh])) if fresh.any() else self._now_s - self._delay_s
        periodic = self.residual.periodicity.ahead(1.0)
        unseen, own = self.unseen, x[:COSTS].sum(0)
        unseen.learn(own, open_connections, 1.0 / self.cost.scale, fresh, known)
        x = unseen.added(x, float(own.sum()))
        x, hidden, by_kind = x[: COSTS + 1], x[HIDDEN], x[HIDDEN + 1 :]
        telling = fresh & ~self.cost.is_full(x, load)
        self.cost.learn(x, load - periodic, telling, 1.0 / unseen.ratio, guessed=unseen.guessed > 0)
        if len(by_kind):
            accepts = self.cost.scale * self.cost.per_accept * x[ACCEPTS]
            self.kinds.learn(by_kind, load - periodic - accepts, telling, self.cost)
            self.kinds.normalise(self.population.by_kind.sum((1, 2)))
        residual = load - self.cost.structural(x) - self.cost.scale * hidden
        if unseen.ratio < UNSEEN_MAX:
            residual -= self._attribute(residual - periodic, telling, at_s, latest_s)
        self.residual.learn(residual, telling, self._sample, latest_s)
        self.ensemble.learn(load, fresh, self._sample, latest_s)
        self._delay_s += 0.1 * (min(max(self._now_s - latest_s, 0.0), 10.0) - self._delay_s)

    def _attribute(self, residual: FloatArray, fresh: BoolArray, at_s: FloatArray, latest_s: float) -> FloatArray:
        """Find out what single connections cost; the part of the residual that they explain, shape (endpoints,)."""
        since_s = latest_s - LATELY_S
        young = self.population.since(since_s)
        closed = np.concatenate(self._closed_lately)
        endpoint, kind, opened_s, ended_s, _, doubt = closed[closed[:, 3] > since_s].T
        kind = np.append(self.population.kinds(young), kind.astype(np.int64))
        opened_s = np.append(self.population.opened_at(young), opened_s)
        ended_s = np.append(np.full(len(young), np.inf), ended_s)
        cohort = Cohort(
            endpoint=np.append(self.population.owners(young), endpoint.astype(np.int64)),
            opened_s=opened_s,
            ended_s=ended_s,
            unit=self._unit(kind, np.maximum(np.minimum(ended_s, latest_s) - opened_s, 0.0)),
            doubt=np.append(self.population.doubts(young), doubt),
        )
        excess, doubt, explained = self.attribution.learn(residual, fresh, at_s, self.cost.rho, self.cost.scale, cohort)
        self.population.attribute(young, excess[: len(young)], doubt[: len(young)])
        self._window.amend(HIDDEN, cohort, excess * cohort.unit, latest_s)
        return explained

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
        cost, kinds = self.cost, self.kinds
        by_kind = self.unseen.population(self.population.by_kind, kinds.relative)
        alike = list(zip(kinds.survivals, kinds.relative.tolist(), kinds.mix.tolist(), strict=True))
        remaining = np.stack([relative * structural.remaining(survival, cost) for survival, relative, _ in alike])
        weighted = by_kind + self.population.excess
        each = (remaining @ weighted).sum(0)  # at scale 1
        here = (cost.theta[:COSTS] @ AGE_OF_COST) @ kinds.together(weighted)
        here = np.maximum(here, 1e-12)
        present = cost.scale * each
        staying = np.minimum(each / here, 2.0)
        present += self.residual.ahead(staying, known, self._delay_s)
        np.maximum(present, 0.0, out=present)
        rate = self.arrivals.ahead(now_s) * self.unseen.ratio
        arriving = np.zeros(len(HORIZONS_S))
        for survival, relative, part in alike:
            arriving += relative * structural.arriving(survival, cost, part * rate)
        share = self.arrivals.share(np.where(takes_part, 1.0 / cost.scale, 0.0))
        accepts = np.interp(HORIZONS_S, np.arange(len(rate)), rate) * cost.per_accept
        base = present + (arriving + accepts)[:, None] * (share * cost.scale)
        if not self.ensemble.skilful:  # what is there now, the last report and what came and went since, is all we know
            present[:] = present[0]
        present[0] += cost.scale * cost.per_accept * self._handshaking()
        expected = self.ensemble.forecast(base, load, known)
        if remember:
            self.residual.remember(staying, self._sample, now_s)
            self.ensemble.remember(base, expected, load, known, self._sample, now_s)
        newcomers = np.stack([structural.newcomer(survival, cost, relative) for survival, relative, _ in alike])
        sure_newcomer = newcomers[0] * cost.certain
        sure_newcomer[0] += cost.per_accept * (cost.certain_accept - cost.certain)
        return Outlook(
            present=present,
            sure=np.where(known, load + cost.certain * (present - load), present),
            expected=expected,
            spread=spread(expected) * np.where(known, 1.0, UNSEEN_SPREAD),
            errors=self.ensemble.calibration.quantiles,
            newcomers=newcomers,
            handshake=cost.per_accept,
            sure_newcomer=sure_newcomer,
            arriving=arriving,
            scale=cost.scale.copy(),
            skilful=self.ensemble.skilful,
            remaining=remaining,
            pickers=self.unseen.ratio,
        )
