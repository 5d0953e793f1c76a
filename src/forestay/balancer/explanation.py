"""Why a connection went where it went: the numbers that the decision was made on, kept and put into words."""

import math
import struct
from collections import deque
from collections.abc import Sequence
from typing import NamedTuple, TypeAlias

from forestay.model.horizons import HORIZONS, HORIZONS_S
from forestay.placement.fitness import KAPPA
from forestay.placement.planner import Evidence

GENERATION = 4_000
GENERATIONS = 8
"""Decisions are dropped a generation at a time: some 30,000 are remembered, at some 400 bytes each."""


Fields: TypeAlias = tuple[float, str, str, Evidence, Sequence[str]]
"""The fields of a `Decision`: a plain tuple is made in a tenth of the time."""


class Decision(NamedTuple):
    """One placement, as it was seen at the time.

    Attributes:
        at_s: when.
        endpoint_id: the chosen endpoint.
        reason: as in the verdict.
        evidence: what spoke for it.
        ids: endpoint id by slot, at the time.
    """

    at_s: float
    endpoint_id: str
    reason: str
    evidence: Evidence
    ids: Sequence[str]

    def words(self, connection_id: str, threshold: float, now_s: float) -> str:
        """The explanation for a person."""
        cost, row, squares, (rival_cost, _, rival_slot) = self.evidence
        priced = zip(struct.unpack(f"{HORIZONS}d", row), squares, strict=True)
        loads = [math.log(squared / square) / (2 * KAPPA) for squared, square in priced]
        rival = self.ids[rival_slot]
        instead = "" if rival == self.endpoint_id else f"; the next, {rival}: at least {rival_cost:.3f}"
        lines = [
            f"{connection_id} was placed on {self.endpoint_id} {now_s - self.at_s:.1f} s ago: {self.reason}",
            "  seconds ahead   " + "".join(f"{horizon_s:7g}" for horizon_s in HORIZONS_S.tolist()),
            "  predicted load  " + "".join(f"{load:7.3f}" for load in loads) + f"   (threshold {threshold:.2f})",
            f"  price {cost:.3f}{instead}",
        ]
        return "\n".join(lines)


class Decisions:
    """The last few ten thousand decisions by connection.

    Attributes:
        newest: the generation that is being filled.
    """

    def __init__(self) -> None:
        self.newest: dict[str, Fields] = {}
        self._older: deque[dict[str, Fields]] = deque(maxlen=GENERATIONS - 1)

    def turn(self) -> None:
        """Begin a new generation when this one is full."""
        if len(self.newest) >= GENERATION:
            self._older.append(self.newest)
            self.newest = {}

    def find(self, connection_id: str) -> Decision | None:
        """The decision about a connection, None where it is forgotten."""
        for generation in (self.newest, *reversed(self._older)):
            if connection_id in generation:
                return Decision(*generation[connection_id])
        return None
