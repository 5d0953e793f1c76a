"""Which endpoints there are and what they last said, by slot.

A slot is an index into every array of the balancer and a row of `Table`. It stays with its endpoint; when the endpoint
is removed the slot rests, so that an endpoint that comes back under the same id finds what was learned of its size,
and goes to a newcomer only when nothing else is free.
"""

import math
from collections import OrderedDict
from typing import ClassVar

import numpy as np

from forestay.forecasting.learned import Learned
from forestay.model.errors import UnknownEndpoint
from forestay.model.load import LoadReport
from forestay.model.plan import BoolArray, FloatArray, IntArray
from forestay.placement.scope import scopes

LOAD_CLIP = 10.0
"""A report of more than this is taken as this: ten times overloaded is as bad as it gets."""
RESTING_MAX = 64
"""Slots of removed endpoints that wait for their return."""


class Roster(Learned):
    """Slots, what the operator and the health checks say, and the last report of each.

    Attributes:
        size: slots, free ones included.
    """

    PER_ENDPOINT: ClassVar = {
        **dict.fromkeys(("healthy", "draining", "present", "fresh", "load", "memory"), 0.0),
        "connections_max": math.inf,
        "at_s": -math.inf,
        "open_connections": math.nan,
    }
    LEARNED = ("connections_max", "healthy", "draining", "load", "memory", "at_s")

    def __init__(self) -> None:
        self.size = 0
        self.ids: list[str] = []
        self._table_ids: tuple[str, ...] | None = None
        self._table_zones: tuple[str, ...] | None = None
        self.slot: dict[str, int] = {}
        self.zones: list[str] = []
        self._within: dict[str, list[int]] | None = None  # slots by zone; None: to be gathered
        self._resting: OrderedDict[str, int] = OrderedDict()
        self._free: list[int] = []
        self.connections_max: FloatArray = np.zeros(0)  # inf: no bound
        self.healthy: BoolArray = np.zeros(0, bool)
        self.draining: BoolArray = np.zeros(0, bool)
        self.present: BoolArray = np.zeros(0, bool)
        self.load: FloatArray = np.zeros(0)
        self.memory: FloatArray = np.zeros(0)
        self.open_connections: FloatArray = np.zeros(0)  # as last reported; NaN: not told
        self.at_s: FloatArray = np.zeros(0)  # end of the last report's window; -inf: none yet
        self.fresh: BoolArray = np.zeros(0, bool)  # reported since the last tick

    def find(self, endpoint_id: str) -> int:
        """The slot of an endpoint; raises UnknownEndpoint."""
        try:
            return self.slot[endpoint_id]
        except KeyError:
            raise UnknownEndpoint(endpoint_id) from None

    def add(self, endpoint_id: str) -> tuple[int, bool]:
        """Give an endpoint a slot; returns it, and whether what was learned in it is another endpoint's."""
        returning = endpoint_id in self._resting
        if returning:
            slot = self._resting.pop(endpoint_id)
        elif self._free:
            slot = self._free.pop()
        else:
            slot = self._resting.popitem(last=False)[1]
        self.slot[endpoint_id] = slot
        self.ids[slot] = endpoint_id
        self._table_ids = self._table_zones = None
        self.present[slot] = self.healthy[slot] = True
        self._within = None
        self.draining[slot] = self.fresh[slot] = False
        self.at_s[slot] = -math.inf
        self.load[slot] = self.memory[slot] = 0.0
        self.open_connections[slot] = math.nan
        return slot, not returning

    @property
    def full(self) -> bool:
        """Whether the next new endpoint needs `grow` first."""
        return not self._free and len(self._resting) <= RESTING_MAX

    def grow(self) -> int:
        """Add a quarter more slots: free ones cost time in every tick. Returns the number of slots."""
        size = self.size + self.size // 4 + 8
        more = size - self.size
        self.ids += [""] * more
        self._table_ids = self._table_zones = None
        self.zones += [""] * more
        self._free += range(size - 1, self.size - 1, -1)
        self.resize(size)
        self.size = size
        return size

    def set_zone(self, slot: int, zone: str) -> None:
        """Say where an endpoint is."""
        if zone != self.zones[slot]:
            self.zones[slot] = zone
            self._within = self._table_zones = None

    def within(self, zone: str) -> IntArray:
        """Slots of the endpoints in a zone or in one that lies within it, ascending."""
        if self._within is None:
            self._within = {}
            for slot in self.slots().tolist():
                for scope in scopes(self.zones[slot]):
                    self._within.setdefault(scope, []).append(slot)
        return np.array(self._within.get(zone, ()), np.int64)

    def remove(self, endpoint_id: str) -> int:
        """Let an endpoint go; returns its slot, which rests."""
        slot = self.find(endpoint_id)
        del self.slot[endpoint_id]
        self._resting[endpoint_id] = slot
        self.ids[slot] = ""
        self._table_ids = self._table_zones = None
        self.present[slot] = False
        self._within = None
        return slot

    def take_report(self, report: LoadReport, now_s: float) -> bool:
        """Note a report; False where it is unusable: unknown endpoint, NaN, negative, or older than the last one."""
        slot = self.slot.get(report.endpoint_id, -1)
        if slot < 0 or not math.isfinite(report.at_s):
            return False
        at_s = min(report.at_s, now_s)
        parts = (report.load, report.cpu, report.network, report.memory)
        if any(part is not None and not (math.isfinite(part) and part >= 0) for part in parts):
            return False
        if at_s < self.at_s[slot]:
            return False
        if report.memory is not None:
            self.memory[slot] = report.memory
        load = report.stated_load
        if load is None:
            return report.memory is not None
        self.load[slot] = min(load, LOAD_CLIP)
        told = report.open_connections
        self.open_connections[slot] = math.nan if told is None or told < 0 else told
        self.at_s[slot] = at_s
        self.fresh[slot] = True
        return True

    def takes_part(self, memory_max: float) -> BoolArray:
        """Endpoints that may get newcomers: present, healthy, not draining, memory to spare."""
        return self.present & self.healthy & ~self.draining & (self.memory < memory_max)

    def known(self, now_s: float, stale_after_s: float) -> BoolArray:
        """Endpoints whose last report still counts."""
        return self.present & (now_s - self.at_s <= stale_after_s)

    def table_ids(self) -> tuple[str, ...]:
        """Id by slot, "" for free ones; the same object until an endpoint comes or goes."""
        if self._table_ids is None:
            self._table_ids = tuple(self.ids)
        return self._table_ids

    def table_zones(self) -> tuple[str, ...]:
        """Zone by slot, () where nobody has one; the same object until something changes."""
        if self._table_zones is None:
            zones = tuple(zone if here else "" for zone, here in zip(self.zones, self.present.tolist(), strict=True))
            self._table_zones = zones if any(zones) else ()
        return self._table_zones

    def slots(self) -> IntArray:
        """Slots in use, ascending."""
        return np.flatnonzero(self.present)
