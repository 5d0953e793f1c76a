"""Turns an outlook into the table that everybody picks from until the next tick."""

import math

import numpy as np

from forestay.balancer.settings import BalancerSettings
from forestay.model.outlook import Outlook
from forestay.model.plan import UNLIMITED, BoolArray, FloatArray, IntArray, Table
from forestay.placement import fitness
from forestay.placement.admission import Pace, headroom_slots

PENALTY = 1.0
"""Load that a failed connect adds to an endpoint's price: enough to put it behind everybody who works."""
PENALTY_MAX = 2.0
PENALTY_HALF_LIFE_S = 4.0
"""After some ten seconds an endpoint that failed once is tried again when it looks idle."""

UNIT_MIN = 100.0
"""Weighted connections that count as load 1 where nothing else is known, at least: even thousands of newcomers on one
endpoint between two ticks are priced without overflow."""

GOLDEN = (math.sqrt(5) - 1) / 2
"""Multiples of it spread over [0, 1) as evenly as can be, however many there are."""


class Pricing:
    """Prices, limits, and the penalties of endpoints that refused connections.

    Args:
        settings: of the balancer.
        phase: where this picker begins among those that do not share placements, in [0, 1); see `Table.shared`.
    """

    def __init__(self, settings: BalancerSettings, phase: float) -> None:
        self._settings = settings
        self._phase = phase
        self._penalty: FloatArray = np.zeros(0)
        self._pace = Pace()
        self._tables = 0

    def configure(self, settings: BalancerSettings) -> None:
        """Take other settings; penalties and paces stay."""
        self._settings = settings

    def resize(self, endpoints: int) -> None:
        """Make room for more endpoints."""
        self._penalty = np.append(self._penalty, np.zeros(endpoints - len(self._penalty)))
        self._pace.resize(endpoints)

    def forgive(self, endpoint: int) -> None:
        """The endpoint begins anew."""
        self._penalty[endpoint] = 0.0

    def penalise(self, endpoint: int) -> None:
        """A connect to the endpoint failed."""
        self._penalty[endpoint] = min(self._penalty[endpoint] + PENALTY, PENALTY_MAX)

    def table(
        self,
        ids: tuple[str, ...],
        outlook: Outlook,
        takes_part: BoolArray,
        room: FloatArray,
        taken: IntArray,
        dt_s: float,
    ) -> Table:
        """Prices by predicted load.

        Args:
            ids: endpoint id by slot.
            outlook: this tick's forecast.
            takes_part: endpoints that may get newcomers.
            room: connections until `connections_max`, shape (slots,).
            taken: placements since the last tick.
            dt_s: since the last tick.
        """
        settings = self._settings
        self._penalty *= 0.5 ** (dt_s / PENALTY_HALF_LIFE_S)
        load, newcomer, scale = outlook.present, outlook.newcomer, outlook.scale
        each = fitness.increment(newcomer, outlook.handshake)[:, None] * scale
        price = fitness.squared_prices(load + fitness.MIDDLE * each + self._penalty)
        sure = outlook.sure, outlook.sure_newcomer, scale
        slots = np.where(takes_part, headroom_slots(*sure, settings.threshold), 0)
        at_once = headroom_slots(outlook.sure[:1], outlook.sure_newcomer[:1], scale, settings.load_max)
        staying = headroom_slots(outlook.sure[1:], outlook.sure_newcomer[1:], scale, settings.load_max)
        to_max = np.where(takes_part, np.minimum(at_once, staying), 0)
        if settings.overload == "place":  # the price alone decides: a threshold could only make a choice worse
            slots, paced = np.where(takes_part, UNLIMITED, 0), np.zeros(len(ids), np.int64)
        else:
            placed = (taken * outlook.pickers).astype(np.int64)  # by all pickers, more or less
            paced = self._pace.allow(np.where(to_max > 0, staying, 0), at_once, placed, slots > 0, dt_s)
        slots, paced = _bounded(slots, paced, room)
        table = Table(
            endpoint_ids=ids,
            price=np.ascontiguousarray(price.T),
            factor=np.ascontiguousarray(fitness.squared_prices(each).T),
            weight=fitness.horizon_weights(newcomer),
            level=fitness.squared_level(outlook, takes_part),
            slots=slots,
            paced=paced,
            shed=settings.overload == "queue" and bool(takes_part.any()) and not to_max.any(),
        )
        return table.shared(outlook.pickers, self._phases(len(ids)))

    def table_by_counts(
        self, ids: tuple[str, ...], counts: FloatArray, outlook: Outlook, takes_part: BoolArray, room: FloatArray
    ) -> Table:
        """Weighted least connections, for when no report counts: prices rise with connections over capacity.

        Args:
            ids: endpoint id by slot.
            counts: open connections of all pickers, shape (slots,).
            outlook: for the endpoints' sizes.
            takes_part: endpoints that may get newcomers.
            room: connections until `connections_max`.
        """
        scale = outlook.scale
        weighted = counts * scale
        taking = weighted[takes_part]
        unit = max(2.0 * float(taking.mean()), UNIT_MIN) if taking.size else UNIT_MIN
        price = fitness.squared_prices(weighted / unit + self._penalty)[:, None]
        factor = np.exp(2 * fitness.KAPPA * scale / unit)[:, None]
        horizons = np.ones(len(fitness.SPACING_S))
        slots, paced = _bounded(np.where(takes_part, UNLIMITED, 0), np.zeros(len(ids), np.int64), room)
        table = Table(
            endpoint_ids=ids,
            price=price * horizons,
            factor=factor * horizons,
            weight=horizons / len(horizons),
            level=np.zeros(len(horizons)),
            slots=slots,
            paced=paced,
        )
        return table.shared(outlook.pickers, self._phases(len(ids)))

    def _phases(self, slots: int) -> FloatArray:
        """Where this picker begins on each slot: evenly spread over slots, and for one slot over successive tables."""
        self._tables += 1
        steps = self._phase + GOLDEN * np.arange(slots, dtype=np.float64) + math.sqrt(2) * self._tables
        return steps - np.floor(steps)


def _bounded(slots: IntArray, paced: IntArray, room: FloatArray) -> tuple[IntArray, IntArray]:
    """Bound both by the connections an endpoint has room for."""
    bound = np.maximum(np.minimum(room, UNLIMITED), 0).astype(np.int64)
    slots = np.minimum(slots, bound).astype(np.int64)
    return slots, np.minimum(paced, bound - slots).astype(np.int64)
