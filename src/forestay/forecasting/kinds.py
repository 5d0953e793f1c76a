"""What a hint tells: connections of one kind live and cost alike.

A kind is a hint (class, tenant, client) that enough connections carry; kind 0 is everybody else. Each learns its own
survival, shrunk to the pooled one, and how dear its connections are beside the average: a regression of load on the
kinds' loads in quasi-differences, as `cost` does it for ages, shrunk to 1. What a connection costs by age is learned
together: theta(kind, age) = relative(kind) * theta(age).
"""

from collections import Counter
from collections.abc import Sequence
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from forestay.forecasting.ages import AGES
from forestay.forecasting.cost import HALF_LIFE_S, Cost
from forestay.forecasting.learned import Learned, State
from forestay.forecasting.survival import Survival
from forestay.model.plan import BoolArray, FloatArray, IntArray

KINDS_MAX = 32
KINDS_TIMES_ENDPOINTS_MAX = 64_000
"""Each kind costs the tick as much again as everybody's population does: on large clusters there are fewer."""
STRANGERS_MAX = 1000
"""Hints without a kind whose arrivals are counted; beyond it the counting starts anew."""
OUTGROWS = 2.0
"""A stranger takes over the row of the rarest kind when it came this many times as often: no ping-pong."""
RECENT_HALF_LIFE_S = 300.0
RELATIVE_SD = 1.0
"""Prior: a kind is about as dear as the average, give or take as much again."""
RELATIVE_MIN = 0.02
MIX_PER_S = 0.02
"""Weight of one second's arrivals in the mix of kinds that are expected."""


class Kinds(Learned):
    """Learned differences between kinds of connections.

    Attributes:
        names: hint by kind; kind 0 is "".
        survivals: by kind.
        relative: cost beside the average connection's, by kind, shape (kinds,); its mean over open connections is 1.
        mix: part of the arrivals by kind, shape (kinds,), sums to 1.
    """

    PER_ENDPOINT: ClassVar = {"_last_unit": 0.0, "_last_load": 0.0, "_last_ok": 0.0}
    LEARNED = ("relative", "mix", "_gram", "_moment", "_recent", "_last_unit", "_last_load", "_last_ok")

    def __init__(self, pooled: Survival) -> None:
        self.names: list[str] = [""]
        self._row = {"": 0}
        self._pooled = pooled
        self.survivals = [pooled]
        self.relative: FloatArray = np.ones(1)
        self.mix: FloatArray = np.ones(1)
        self._gram: FloatArray = np.zeros((1, 1))
        self._moment: FloatArray = np.zeros(1)
        self._recent: FloatArray = np.zeros(1)  # arrivals, forgotten exponentially
        self._strangers: Counter[str] = Counter()
        self._last_unit: FloatArray = np.zeros((1, 0))
        self._last_load: FloatArray = np.zeros(0)
        self._last_ok: BoolArray = np.zeros(0, bool)
        self._ticks = 0

    def __len__(self) -> int:
        return len(self.names)

    def together(self, by_kind: FloatArray) -> FloatArray:
        """Something that counts connections by kind, shape (kinds, ...), in average connections, shape (...)."""
        if len(self) == 1:
            alone: FloatArray = by_kind[0]
            return alone
        together: FloatArray = np.tensordot(self.relative, by_kind, 1)
        return together

    def find(self, hint: str) -> int:
        """The kind of a hint; 0: nothing is known about it."""
        return self._row.get(hint, 0)

    def admit(self, hint: str) -> int:
        """The kind of a connection that opens with this hint; a new hint becomes a kind while there is room."""
        kind = self._row.get(hint)
        if kind is not None:
            return kind
        if len(self) < min(KINDS_MAX, max(2, KINDS_TIMES_ENDPOINTS_MAX // max(len(self._last_ok), 1))):
            self._add(hint)
            return len(self) - 1
        if len(self._strangers) >= STRANGERS_MAX and hint not in self._strangers:
            self._strangers.clear()
        self._strangers[hint] += 1
        return 0

    def _add(self, hint: str) -> None:
        if len(self) == 1:  # from now on the connections without a hint are a kind of their own
            self.survivals = [Survival(self._pooled)]
        self._row[hint] = len(self)
        self.names.append(hint)
        self.survivals.append(Survival(self._pooled))
        self.relative = np.append(self.relative, 1.0)
        self.mix = np.append(self.mix, 0.0)
        self._recent = np.append(self._recent, 0.0)
        self._moment = np.append(self._moment, 0.0)
        self._gram = np.pad(self._gram, (0, 1))
        self._last_unit = np.pad(self._last_unit, ((0, 1), (0, 0)))

    def succession(self) -> int:
        """Give the rarest kind's row to a stranger that outgrew it; the row whose connections become kind 0, or -1."""
        if not self._strangers:
            return -1
        (stranger, arrivals), rarest = self._strangers.most_common(1)[0], 1 + int(self._recent[1:].argmin())
        if arrivals <= OUTGROWS * self._recent[rarest] + OUTGROWS:
            return -1
        del self._strangers[stranger], self._row[self.names[rarest]]
        self._row[stranger], self.names[rarest] = rarest, stranger
        self.survivals[rarest] = Survival(self._pooled)
        self.relative[rarest], self._recent[rarest], self.mix[rarest] = 1.0, float(arrivals), 0.0
        self._gram[rarest] = self._gram[:, rarest] = self._moment[rarest] = 0.0
        self._last_ok[:] = False
        return rarest

    def arrived(self, opens: IntArray, dt_s: float) -> None:
        """One tick's opens by kind, shape (kinds,)."""
        self._recent = self._recent * 0.5 ** (dt_s / RECENT_HALF_LIFE_S) + opens
        total = int(opens.sum())
        if total:
            self.mix += (1.0 - (1.0 - MIX_PER_S) ** dt_s) * (opens / total - self.mix)
        elif not self.mix.any():
            self.mix[0] = 1.0

    def learn(self, unit: FloatArray, load: FloatArray, ok: BoolArray, cost: Cost) -> None:
        """One round of reports.

        Args:
            unit: load at scale 1 that each kind would bring if it were as dear as the average, over each report's
                window, shape (kinds, endpoints).
            load: reported load less handshakes and what is known not to come from connections, shape (endpoints,).
            ok: which endpoints have a new report, shape (endpoints,).
            cost: whose scale, autocorrelation and noise are used.
        """
        both = ok & self._last_ok
        if both.any():
            keep, rho = 0.5 ** (1 / HALF_LIFE_S), cost.rho
            step = ((unit - rho * self._last_unit) * cost.scale)[:, both]
            self._gram = self._gram * keep + step @ step.T
            self._moment = self._moment * keep + step @ (load - rho * self._last_load)[both]
        self._last_unit[:, ok], self._last_load[ok] = unit[:, ok], load[ok]
        self._last_ok = ok.copy()
        self._ticks += 1
        if self._ticks % 5 == 0 or self._ticks < 20:
            prior = RELATIVE_SD**-2 * np.eye(len(self))
            relative = np.linalg.solve(self._gram / cost.noise + prior, self._moment / cost.noise + prior.sum(1))
            self.relative = np.maximum(relative, RELATIVE_MIN)

    def normalise(self, counts: FloatArray) -> None:
        """Make the average open connection's relative cost 1 again; `counts` by kind, shape (kinds,)."""
        total = float(counts.sum())
        if total > 0:
            self.relative = self.relative * (total / float(self.relative @ counts))

    def state(self, slots: npt.NDArray[np.int64]) -> State:
        """What was learned, of these endpoints only."""
        closes = np.array([survival.closes for survival in self.survivals])
        exposure_s = np.array([survival.exposure_s for survival in self.survivals])
        return super().state(slots) | {"closes": closes, "exposure_s": exposure_s}

    def begin_with(self, names: Sequence[str]) -> None:
        """Make the kinds of a state that is about to be adopted; `names` by kind."""
        for name in names[1:]:
            self._add(name)

    def adopt(self, state: State, prefix: str = "") -> None:
        """Take over a state; see `Learned`. Raises InvalidInput."""
        super().adopt(state, prefix)
        if len(self) > 1:
            shape = (len(self), AGES)
            kept = state[prefix + "closes"].reshape(shape), state[prefix + "exposure_s"].reshape(shape)
            for survival, closes, exposure_s in zip(self.survivals, *kept, strict=True):
                survival.resume(closes, exposure_s)
