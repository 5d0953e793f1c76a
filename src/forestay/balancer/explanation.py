"""Why a connection went where it went: the numbers that the decision was made on, kept and put into words."""

import math
from collections.abc import Sequence
from typing import NamedTuple

from forestay.model.horizons import HORIZONS_S
from forestay.placement.fitness import KAPPA

KEPT_MIN = 25_000
"""Decisions remembered at least, and at most twice as many: some 300 bytes each."""


class Decision(NamedTuple):
    """One placement, as it was seen at the time.

    Attributes:
        at_s: when.
        endpoint_id: the chosen endpoint.
        reason: as in the verdict.
        cost: its price.
        row: its squared price by horizon, before the placement.
        rivals: the cheapest endpoints known, the chosen one perhaps among them.
        rival_costs: their prices; lower bounds.
    """

    at_s: float
    endpoint_id: str
    reason: str
    cost: float
    row: Sequence[float]
    rivals: Sequence[str]
    rival_costs: Sequence[float]

    def words(self, connection_id: str, threshold: float) -> str:
        """The explanation for a person."""
        loads = [math.log(squared) / (2 * KAPPA) for squared in self.row]
        rivals = [pair for pair in zip(self.rivals, self.rival_costs, strict=True) if pair[0] != self.endpoint_id]
        lines = [
            f"{connection_id} was placed on {self.endpoint_id} at {self.at_s:.3f} s: {self.reason}",
            "  seconds ahead   " + "".join(f"{horizon_s:7g}" for horizon_s in HORIZONS_S.tolist()),
            "  predicted load  " + "".join(f"{load:7.3f}" for load in loads) + f"   (threshold {threshold:.2f})",
            f"  price {self.cost:.3f}" + "".join(f"; {rival}: at least {cost:.3f}" for rival, cost in rivals),
        ]
        return "\n".join(lines)


class Decisions:
    """The last few ten thousand decisions by connection: two generations, the older dropped whole."""

    def __init__(self) -> None:
        self.recent: dict[str, tuple[object, ...]] = {}
        self._older: dict[str, tuple[object, ...]] = {}

    def turn(self) -> None:
        """Begin a new generation when this one is full."""
        if len(self.recent) >= KEPT_MIN:
            self.recent, self._older = {}, self.recent

    def find(self, connection_id: str) -> Decision | None:
        """The decision about a connection, None where it is forgotten."""
        fields = self.recent.get(connection_id) or self._older.get(connection_id)
        return None if fields is None else Decision(*fields)  # type: ignore[arg-type]  # kept as plain tuples: faster
