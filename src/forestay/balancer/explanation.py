"""Why a connection went where it went: the numbers that the decision was made on, kept and put into words."""

import math
from collections.abc import Sequence
from typing import NamedTuple

from forestay.model.horizons import HORIZONS_S
from forestay.placement.fitness import KAPPA

KEPT_MAX = 50_000
"""Decisions remembered; the oldest goes first. One costs some 300 bytes."""


class Decision(NamedTuple):
    """One placement, as it was seen at the time.

    Attributes:
        at_s: when.
        endpoint_id: the chosen endpoint.
        reason: as in the verdict.
        cost: its price.
        row: its squared price by horizon, before the placement.
        rivals: the next cheapest known, as (endpoint id, price, squared price by horizon); prices are lower bounds.
    """

    at_s: float
    endpoint_id: str
    reason: str
    cost: float
    row: Sequence[float]
    rivals: tuple[tuple[str, float, Sequence[float]], ...]

    def words(self, connection_id: str, threshold: float) -> str:
        """The explanation for a person."""
        lines = [
            f"{connection_id} -> {self.endpoint_id} at {self.at_s:.3f} s ({self.reason}; threshold {threshold:.2f})",
            "predicted load in      " + "".join(f"{h:>6g} s" for h in HORIZONS_S) + "    price",
            self._line("chosen ", self.endpoint_id, self.row, self.cost),
        ]
        lines += [self._line("instead", endpoint_id, row, cost) for endpoint_id, cost, row in self.rivals]
        return "\n".join(lines)

    @staticmethod
    def _line(role: str, endpoint_id: str, row: Sequence[float], cost: float) -> str:
        loads = "".join(f"{math.log(squared) / (2 * KAPPA):8.3f}" for squared in row)
        return f"{role} {endpoint_id:<14} {loads} {cost:8.3f}"
