"""Which endpoint a worker's next connection goes to: follows the shared table, and copes when it goes stale.

Fallbacks, each with its counter: `stale` (no table for 5 s: the control process is away; least connections over the
endpoints that were eligible in the last one, over all of them if none was), and penalties (an endpoint that just failed
a connect is left out for a moment unless nobody else is left; the control process prices the failure in with the
next table).
"""

from collections.abc import Container

import numpy as np

from forestay.dataplanes.relay.choosers import Chooser, LeastConnections, RandomChoice
from forestay.dataplanes.relay.listener import Policy
from forestay.dataplanes.relay.shared_table import Column, SharedTable, Snapshot, Target
from forestay.model.plan import UNLIMITED, BoolArray, IntArray
from forestay.placement.planner import Planner
from forestay.placement.scope import NearFirst

STALE_AFTER_S = 5.0
PENALTY_S = 1.0
"""As long as a table lives: by then the control process has heard of the failure."""
PENALTY_MAX_S = 8.0


class Picker:
    """One worker's view of the table, and its columns in it.

    Args:
        table: the file.
        column: this picker's; nobody else writes it.
        policy: see `ListenerSpec`.
        seed: order among equals; different for every picker, or they would follow each other.
        zone: the listener's; near endpoints win up to `zone_factor` of the cheapest price.
        zone_factor: at least 1.

    Attributes:
        shed: refuse rather than wait, as the last table says.
        stale_picks, penalty_picks: picks by the fallbacks of the same names.
        torn_reads: copies of the table that had to be repeated.
    """

    def __init__(
        self,
        table: SharedTable,
        column: int,
        policy: Policy = "forecast",
        seed: int = 0,
        zone: str = "",
        zone_factor: float = 1.0,
    ) -> None:
        self._table, self._column, self._policy, self._seed = table, column, policy, seed
        self._zone, self._zone_factor = zone, zone_factor
        self._header = table.header
        self._epoch = 0
        self._snapshot: Snapshot | None = None
        self._chooser: Chooser | None = None
        self._stale: LeastConnections | None = None
        self._exhausted = False
        self._held: dict[str, int] = {}
        self._slot_of: dict[str, int] = {}
        self._held_column = table.held[column]
        self._penalties: dict[str, tuple[float, float]] = {}  # endpoint id -> until, length
        self.shed = False
        self._places = 0
        self.stale_picks = self.penalty_picks = self.torn_reads = 0

    def pick(self, now_s: float, exclude: Container[int] = ()) -> int:
        """A slot outside of `exclude`, counted at once; -1 where none may take the connection."""
        if self._header[SharedTable.EPOCH] != self._epoch:
            self.refresh()
        snapshot = self._snapshot
        if snapshot is None or self._chooser is None:
            return -1
        chooser = self._chooser
        if now_s - snapshot.published_at_s > STALE_AFTER_S:
            chooser = self._stale_chooser(snapshot)
            self.stale_picks += 1
        elif self._exhausted:
            return -1
        if self._penalties:
            penalised = self._penalised(now_s)
            if penalised:
                slot = chooser.pick(_Either(penalised, exclude))
                if slot >= 0:
                    return slot
                self.penalty_picks += 1
        slot = chooser.pick(exclude)
        if slot < 0 and not exclude and chooser is not self._stale:
            self._exhausted = True  # limits are only used up until the next table: do not look again
        return slot

    def refresh(self) -> bool:
        """Follow the table to its current epoch, and to its next generation. False: nothing new."""
        if self._header[SharedTable.EPOCH] == self._epoch:
            return False
        if self._table.successor is not None and not self._move():
            return False
        snapshot = self._table.read(self._snapshot)
        if snapshot is None:
            self.torn_reads += self._header[SharedTable.EPOCH] != 0
            return False
        renamed = self._snapshot is None or snapshot.names_version != self._snapshot.names_version
        self._snapshot, self._epoch = snapshot, snapshot.epoch
        if renamed:
            self._rename(snapshot)
        self._chooser, self._stale, self._exhausted = self._choose(snapshot), None, False
        self.shed = snapshot.table.shed
        self._places = int((snapshot.table.slots + snapshot.table.paced).sum())
        return True

    def target(self, slot: int) -> Target:
        """Where to connect for a slot that `pick` returned just now."""
        assert self._snapshot is not None
        target = self._snapshot.targets[slot]
        assert target is not None, "a slot without a target is never eligible"
        return target

    def hold(self, endpoint_id: str) -> None:
        """A connection to this endpoint begins to be established."""
        count = self._held[endpoint_id] = self._held.get(endpoint_id, 0) + 1
        slot = self._slot_of.get(endpoint_id)
        if slot is not None:
            self._held_column[slot] = count

    def release(self, endpoint_id: str) -> None:
        """A held connection is gone."""
        count = self._held[endpoint_id] - 1
        if count:
            self._held[endpoint_id] = count
        else:
            del self._held[endpoint_id]
        slot = self._slot_of.get(endpoint_id)
        if slot is not None:
            self._held_column[slot] = count

    def penalise(self, endpoint_id: str, now_s: float) -> None:
        """A connect failed: leave the endpoint out for a while, longer each time in a row."""
        until_s, length_s = self._penalties.get(endpoint_id, (0.0, PENALTY_S / 2))
        if now_s >= until_s:  # further failures of the same moment do not add up
            length_s = min(2 * length_s, PENALTY_MAX_S)
        self._penalties[endpoint_id] = (now_s + length_s, length_s)

    def absolve(self, endpoint_id: str) -> None:
        """A connect succeeded."""
        if self._penalties:
            self._penalties.pop(endpoint_id, None)

    @property
    def placed(self) -> Column:
        """This picker's cumulative placements by slot."""
        return self._table.placed[self._column]

    def is_stale(self, now_s: float) -> bool:
        """Whether picks fall back to least connections."""
        return self._snapshot is not None and now_s - self._snapshot.published_at_s > STALE_AFTER_S

    def places(self, now_s: float) -> int:
        """Connections that all pickers together may place in a second; those who wait are answered no faster."""
        paced = self._policy == "forecast" and not self.shed and not self.is_stale(now_s)
        return self._places if paced else UNLIMITED

    def _penalised(self, now_s: float) -> set[int]:
        """Slots to leave out now; forgets penalties whose repetition is no longer news."""
        penalised = set()
        for endpoint_id, (until_s, length_s) in list(self._penalties.items()):
            if now_s > until_s + 2 * length_s:
                del self._penalties[endpoint_id]
            elif now_s < until_s and endpoint_id in self._slot_of:
                penalised.add(self._slot_of[endpoint_id])
        return penalised

    def _choose(self, snapshot: Snapshot) -> Chooser:
        table, columns, count = snapshot.table, self._table.placed, len(snapshot.table.slots)
        own = columns[self._column]
        if self._policy == "least_connections":
            return LeastConnections(_eligible(snapshot), own, self._held_arrays(snapshot), self._next_seed())
        if self._policy == "random":
            return RandomChoice(_eligible(snapshot), own, self._next_seed())
        others = [columns[column][:count] for column in snapshot.active if column != self._column]
        planner = Planner(table, own[:count], others, snapshot.base, self._next_seed())
        if not self._zone:
            return planner
        zones = ["" if target is None else target.zone for target in snapshot.targets]
        return NearFirst(planner, self._zone, zones, self._zone_factor)

    def _stale_chooser(self, snapshot: Snapshot) -> LeastConnections:
        if self._stale is None:
            own = self._table.placed[self._column]
            may = _eligible(snapshot)
            if not may.any():  # nobody to ask whether the overload is over: fail open
                may = np.array([target is not None for target in snapshot.targets])
            self._stale = LeastConnections(may, own, self._held_arrays(snapshot), self._next_seed())
        return self._stale

    def _held_arrays(self, snapshot: Snapshot) -> list[IntArray]:
        return [self._table.held_array(column) for column in sorted({*snapshot.active, self._column})]

    def _next_seed(self) -> int:
        self._seed += 1 << 16
        return self._seed

    def _move(self) -> bool:
        """Go on to the newest generation; the next one may be history already. False: there is none."""
        table = SharedTable.newest(self._table.path.parent, self._table.cluster)
        if table is None or table.generation <= self._table.generation:
            return False  # somebody emptied the directory: the old table goes stale, which has its fallback
        # The own columns may have grown since the writer copied them.
        for mine, theirs in ((self._table.placed, table.placed), (self._table.held, table.held)):
            theirs[self._column][: self._table.capacity] = mine[self._column]
        self._table, self._header, self._held_column = table, table.header, table.held[self._column]
        return True

    def _rename(self, snapshot: Snapshot) -> None:
        """Slots have new meanings: what is held is counted where its endpoint is now."""
        self._slot_of = {t.endpoint_id: slot for slot, t in enumerate(snapshot.targets) if t is not None}
        column = self._table.held_array(self._column)
        column[:] = 0
        for endpoint_id, count in self._held.items():
            slot = self._slot_of.get(endpoint_id)
            if slot is not None:
                column[slot] = count


class _Either:
    """Membership in one of two containers, without building their union for every pick."""

    __slots__ = ("_left", "_right")

    def __init__(self, left: Container[int], right: Container[int]) -> None:
        self._left, self._right = left, right

    def __contains__(self, slot: object) -> bool:
        return slot in self._left or slot in self._right


def _eligible(snapshot: Snapshot) -> BoolArray:
    """Slots that may take a connection at all, under the threshold or paced."""
    may: BoolArray = (snapshot.table.slots + snapshot.table.paced) > 0
    return may
