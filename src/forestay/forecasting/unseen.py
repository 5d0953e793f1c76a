"""Connections that other pickers placed on the same endpoints: this balancer sees their load, but not them.

Reports that tell how many connections are open say how many these are. Where reports do not tell, the number of pickers
does, and they are taken to be spread by capacity, which is what all pickers together make of them. (The own few show
more noise than truth, and load itself would explain itself.) Either way they are as old as the known ones.

Without them load over *known* connections would make each look as many times too dear as there are pickers, and nobody
would expect the arrivals that the others bring.
"""

from typing import ClassVar

import numpy as np

from forestay.forecasting.ages import AGE_EDGES_S
from forestay.forecasting.learned import Learned
from forestay.model.plan import BoolArray, FloatArray

MEMORY = 0.05
"""Weight of one round of reports in the ratio: some 20 s of memory."""
PRIOR_CONNECTIONS = 5.0
"""So many known connections weigh as much as the belief that all pickers have equally many."""
RATIO_MAX = 1e5
NEWBORN = int(np.searchsorted(AGE_EDGES_S, 2.0))
"""Age buckets of connections that are not among the `open_connections` of reports yet."""
OLDER_MAX = 2.0
"""The guess of how many older connections an endpoint has is corrected by no more than this."""


class Unseen(Learned):
    """How many connections there are beside those of this balancer.

    Args:
        pickers: how many there are, this one included; 1: everything is seen, whatever reports tell.

    Attributes:
        counts: unseen connections by endpoint, shape (endpoints,).
        guessed: part of all connections that is guessed, not told by reports, in [0, 1).
    """

    PER_ENDPOINT: ClassVar = {"counts": 0.0, "_told": 0.0, "_own_then": 0.0, "_known": 0.0}
    LEARNED = ("_all", "_own", "counts", "guessed")

    def __init__(self, pickers: int = 1) -> None:
        self._pickers = pickers
        self._all = self._own = 0.0
        self.counts: FloatArray = np.zeros(0)
        self._told: BoolArray = np.zeros(0, bool)
        self._own_then: FloatArray = np.zeros(0)  # at the time of the last report
        self._known: BoolArray = np.zeros(0, bool)
        self.guessed = 0.0

    def configure(self, pickers: int) -> None:
        """Take another number of pickers; what reports told stays, unless everything is seen now."""
        self._pickers = pickers
        if pickers == 1:
            self.counts[:] = self.guessed = 0.0

    @property
    def ratio(self) -> float:
        """Connections of all pickers over those of this one, >= 1: uneven pickers learn their part from reports."""
        if self._pickers == 1:
            return 1.0
        ratio = (self._all + PRIOR_CONNECTIONS * self._pickers) / (self._own + PRIOR_CONNECTIONS)
        return min(max(ratio, 1.0), RATIO_MAX)

    def forget(self, endpoint: int) -> None:
        """The endpoint begins anew."""
        self.counts[endpoint], self._told[endpoint] = 0.0, False

    def learn(
        self, own: FloatArray, open_connections: FloatArray, capacity: FloatArray, fresh: BoolArray, known: BoolArray
    ) -> None:
        """One round of reports.

        Args:
            own: known connections over each report's window, shape (endpoints,).
            open_connections: as reported, NaN where the report did not tell, shape (endpoints,).
            capacity: sizes relative to each other, shape (endpoints,).
            fresh: which endpoints have a new report.
            known: which endpoints have a report that still counts.
        """
        if self._pickers == 1:
            return
        self._own_then = np.where(fresh, own, self._own_then)
        self._known = known
        told = fresh & np.isfinite(open_connections)
        if told.any():
            self._all += MEMORY * (float(open_connections[told].sum()) - self._all)
            self._own += MEMORY * (float(own[told].sum()) - self._own)
            self.counts[told] = np.maximum(open_connections - own, 0.0)[told]
        self._told = np.where(fresh, told, self._told)
        guess = known & ~self._told
        if guess.any():
            weight = capacity[guess] / float(capacity[guess].sum())
            self.counts[guess] = (self.ratio - 1.0) * float(own[guess].sum()) * weight
        everybody = float(own[known].sum() + self.counts[known].sum())
        self.guessed = float(self.counts[guess].sum()) / max(everybody, 1e-12)

    def added(self, seen: FloatArray, connections: float) -> FloatArray:
        """What this picker saw over the reports' windows and what it did not: the unseen are taken to be like the seen.

        Args:
            seen: anything that adds up over connections (by age, accepts), shape (..., endpoints).
            connections: known ones, all endpoints together. Where there are none nothing can be told of the others:
                their load stays in the residual.

        Returns:
            The same for the connections of all pickers, same shape.
        """
        if self._pickers == 1 or connections <= 0:
            return seen
        each = seen.sum(-1, keepdims=True) / connections
        everybody: FloatArray = seen + each * self.counts
        return everybody

    def population(self, seen: FloatArray, relative: FloatArray) -> FloatArray:
        """Open connections of all pickers now, by kind and age.

        What this picker has done since the last report, the others did as well: they follow the same rule and saw the
        same reports. Or all would fill the same valley until a report tells them that it is full.

        Args:
            seen: known connections, shape (kinds, ages, endpoints).
            relative: cost by kind beside the average, in which `learn` counts them, shape (kinds,).

        Returns:
            The same for all pickers, same shape.
        """
        if self._pickers == 1 or not seen.any():
            return seen
        by_age = seen.sum(-1, keepdims=True)
        own = relative @ seen.sum(1)
        others = self.ratio - 1.0
        counts = np.maximum(self.counts + others * np.where(self._known, own - self._own_then, 0.0), 0.0)
        unseen = by_age / by_age.sum() * counts
        if self.guessed == 0.0:  # told how many they are: the newborn are where ours are, the older make up the rest
            young, older = others * seen[:, :NEWBORN], unseen[:, NEWBORN:]
            rest = counts - young.sum((0, 1))
            older *= np.clip(rest / np.maximum(older.sum((0, 1)), 1e-9), 0.0, OLDER_MAX)
            unseen[:, :NEWBORN] = young
        everybody: FloatArray = seen + unseen
        return everybody

    def totals(self, own: FloatArray) -> FloatArray:
        """Connections of all pickers by endpoint from the own ones, both of shape (endpoints,)."""
        totals: FloatArray = own + self.counts
        return totals
