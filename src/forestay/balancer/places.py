"""Where places are given out between two ticks: the table of the moment, its planner, and who holds a reservation.

Every placement is counted in one array by slot, whoever made it. A table's prices contain the connections that were
open when it was made; reservations that were open then are still to be added, which is what the planner's base says.
"""

import math
from collections.abc import Callable, Collection, Sequence
from typing import cast

import numpy as np

from forestay.balancer.kind_prices import KindPrices
from forestay.balancer.pricing import PENALTY
from forestay.model.horizons import HORIZONS
from forestay.model.outlook import Outlook
from forestay.model.plan import BoolArray, IntArray, Table
from forestay.placement.fitness import KAPPA, LOAD_CAP
from forestay.placement.planner import Evidence, Planner
from forestay.placement.scope import Scope, nearest, scopes

_NOTHING = (-1, 0.0, 0)
_PENALISED = [math.exp(2 * KAPPA * PENALTY)] * HORIZONS


class Places:
    """Chooses, reserves and takes back, by endpoint slot.

    Args:
        seed: order among equal prices.

    Attributes:
        table: of the moment.
        outdated: True where endpoints changed since: `renew` before choosing.
        reserved: reservations by connection, oldest first: slot, when, and the connection's kind.
        peek: the cheapest slot, not counted yet; -1 where nobody may take one more.
        offered: places there were when the table was made.
        spare: places left until the next table, more or less; newcomers pass the queue while all fit.
    """

    def __init__(self, seed: int) -> None:
        nothing, limits = np.zeros((0, HORIZONS)), np.zeros(0, np.int64)
        self.table = Table((), nothing, nothing, np.full(HORIZONS, 1 / HORIZONS), np.zeros(HORIZONS), limits, limits)
        self.outdated = False
        self.offered = self.spare = 0
        self._seed = seed
        self._placed: IntArray = limits  # cumulative placements by slot
        self._placed_then: IntArray = limits  # when the table was made
        self.reserved: dict[str, tuple[int, float, int]] = {}
        self._scale: Sequence[float] = ()
        self._replaces: BoolArray = np.zeros(0, bool)
        # By kind and age: load of one connection at each horizon; empty: by counts.
        self._remaining: list[list[list[float]]] = []
        self._kinds: KindPrices | None = None  # None: nothing is known of any kind
        self._pick_with(Planner(self.table, self._placed.data))

    def resize(self, endpoints: int) -> None:
        """Make room for more endpoints."""
        more = np.zeros(endpoints - len(self._placed), np.int64)
        self._placed, self._placed_then = np.append(self._placed, more), np.append(self._placed_then, more)
        self.outdated = True

    @property
    def taken(self) -> IntArray:
        """Placements since the table was made, shape (slots,)."""
        return self._placed - self._placed_then

    def renew(self, table: Table, outlook: Outlook, replaces: BoolArray, *, by_load: bool) -> None:
        """Go on with another table.

        Args:
            table: of this moment.
            outlook: what its prices were made from.
            replaces: slots where a newcomer may take the place of a connection that closes, shape (slots,).
            by_load: whether the prices are predicted load; else they are connections.
        """
        reserved = np.zeros(len(self._placed), np.int64)
        for slot, _, _ in self.reserved.values():
            reserved[slot] += 1
        self.table = table
        self.offered = self.spare = int((table.slots + table.paced).sum())
        self.outdated = False
        self._placed_then = self._placed.copy()
        self._scale = cast("memoryview[float]", outlook.scale.data)
        self._remaining = np.minimum(outlook.remaining, LOAD_CAP).transpose(0, 2, 1).tolist() if by_load else []
        self._kinds = KindPrices(table, outlook) if by_load and len(outlook.newcomers) > 1 else None
        self._replaces = replaces
        self._seed += 1
        self._pick_with(Planner(table, self._placed.data, base=self._placed_then - reserved, seed=self._seed))
        for slot, _, kind in self.reserved.values():
            self._correct(slot, kind)

    def _pick_with(self, planner: Planner) -> None:
        self._planner = planner
        self.peek = planner.peek  # bound once: the hot path saves a call
        self._scopes: dict[str, Scope] = {}

    # ---- choosing

    def choose(
        self,
        without: Collection[int],
        wanted: int,
        zone: str,
        within: Callable[[str], IntArray],
        factor: float,
        zone_factor: float,
        kind: int,
    ) -> tuple[int, str]:
        """A slot and the reason for it, not counted yet; -1 where nobody may take one more.

        Args:
            without: slots that must not be chosen.
            wanted: this slot wins while it is eligible and its price within `factor` of the cheapest; -1: none.
            zone: its slots win while they are eligible and have headroom, then those of the zone around it;
                "": none.
            within: slots of a zone.
            factor: at least 1.
            zone_factor: at least 1.
            kind: of the connection.
        """
        planner = self._planner
        slot = planner.peek(without)
        if self._kinds is not None and kind in self._kinds and slot >= 0:
            candidates = planner.nearest(KindPrices.CANDIDATES, without)
            slot = self._kinds.cheapest(kind, candidates, list(map(planner.row, candidates)))
        if slot < 0 or (wanted < 0 and not zone):
            return slot, "fittest"
        cost = planner.cost(slot)
        if wanted >= 0 and wanted not in without and planner.current(wanted) <= cost * factor:
            return wanted, "prefer"
        if zone:
            around = (self._scope(name, within) for name in scopes(zone))
            near = nearest(around, planner, cost, zone_factor, without)
            if near >= 0:
                return near, "zone"
        return slot, "fittest"

    def _scope(self, zone: str, within: Callable[[str], IntArray]) -> Scope:
        """Made when first asked for after a tick."""
        scope = self._scopes.get(zone)
        if scope is None:
            scope = self._scopes[zone] = Scope(self._planner, within(zone))
        return scope

    def evidence(self, slot: int) -> Evidence:
        """What speaks for a slot right now."""
        return self._planner.evidence(slot)

    # ---- counting

    def reserve(self, connection_id: str, slot: int, now_s: float, kind: int = 0) -> Evidence:
        """Give a connection its place, counted at once; returns what spoke for it."""
        evidence = self._planner.evidence(slot)
        self._planner.count(slot)
        if kind:
            self._correct(slot, kind)
        self.spare -= 1
        self.reserved[connection_id] = (slot, now_s, kind)
        return evidence

    def reserved_on(self, connection_id: str) -> int:
        """The slot that a connection holds, -1 for none."""
        return self.reserved.get(connection_id, _NOTHING)[0]

    def kind_of(self, connection_id: str) -> int:
        """The kind that a connection was reserved as; 0: unknown."""
        return self.reserved.get(connection_id, _NOTHING)[2]

    def take_up(self, connection_id: str, slot: int) -> bool:
        """A connection opened on `slot`; False where it had no reservation there: its place is counted now."""
        if self.reserved_on(connection_id) == slot:
            del self.reserved[connection_id]
            return True
        self.release(connection_id)
        self._placed[slot] += 1
        self.spare -= 1
        return False

    def release(self, connection_id: str) -> bool:
        """Take back a reservation; False where there is none."""
        slot, _, kind = self.reserved.pop(connection_id, _NOTHING)
        if slot < 0:
            return False
        self.spare += 1
        if self.outdated:
            self._placed[slot] -= 1
        else:
            self._planner.unplace(slot)
            self._noticed(slot)
            self._correct(slot, kind, back=True)
        return True

    def expire(self, until_s: float) -> None:
        """Take back the reservations made until a moment."""
        for connection_id, (_, at_s, _) in list(self.reserved.items()):  # oldest first
            if at_s > until_s:
                break
            self.release(connection_id)

    def vacate(self, slot: int) -> None:
        """The slot's endpoint is gone, and its reservations with it."""
        for connection_id in [c for c, (reserved, _, _) in self.reserved.items() if reserved == slot]:
            del self.reserved[connection_id]
        self.outdated = True

    def gave_back(self, slot: int, kind: int, age: int, relative: float) -> None:
        """A connection closed, of this kind and age bucket: the price expected its load to go on.

        Args:
            slot: of its endpoint.
            kind: its kind.
            age: its age bucket.
            relative: its cost beside its kind's mean.
        """
        if self.outdated:  # the next table will know
            return
        room = int(self._replaces[slot])
        self.spare += room
        if kind < len(self._remaining):
            steepness = -2 * KAPPA * self._scale[slot] * relative
            factors = [math.exp(steepness * load) for load in self._remaining[kind][age]]
        else:
            factors = (1.0 / self.table.factor[slot]).tolist()
        self._reprice(slot, factors, room)

    def penalise(self, slot: int) -> None:
        """A connect to the slot's endpoint failed."""
        self._reprice(slot, _PENALISED, room=0)

    def _correct(self, slot: int, kind: int, *, back: bool = False) -> None:
        """A placement was counted, or taken back, as if nothing were known of it: put its kind's difference right."""
        if self._kinds is not None and kind in self._kinds:
            factors, slots = self._kinds.correction(kind, slot)
            if back:
                factors, slots = [1.0 / factor for factor in factors], -slots
            self._reprice(slot, factors, -slots)

    def _reprice(self, slot: int, factors: Sequence[float], room: int) -> None:
        if self.outdated:  # the next table will know
            return
        self._planner.reprice(slot, factors, room)
        self._noticed(slot)

    def _noticed(self, slot: int) -> None:
        """The scopes of a slot hear that its price may have fallen; a rise they find out."""
        for scope in self._scopes.values():
            if slot in scope:
                scope.changed(slot)
