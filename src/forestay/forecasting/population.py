"""Open connections by endpoint and age, kept up to date by events instead of counted anew.

Connections are logged in the order in which they open, so those older than an age edge are a prefix of the log. Once
a second each edge moves up to the first younger entry, and only what it passes changes its bucket: a connection is
touched once per edge in its life, however many are open.
"""

from bisect import bisect_left
from typing import ClassVar, TypeAlias, cast

import numpy as np
import numpy.typing as npt

from forestay.forecasting.ages import AGE_EDGES_S, AGES
from forestay.forecasting.learned import Learned
from forestay.model.plan import FloatArray, IntArray

_FREE = -1

Closed: TypeAlias = tuple[int, int, int, float, float, float]
"""A connection that closed: its endpoint, kind, age bucket at the last `advance`, when it opened, what it cost beyond
its kind's mean (over that mean), and the doubt about that."""


class Population(Learned):
    """Slots of connections and their log.

    Attributes:
        by_kind: open connections, shape (kinds, ages, endpoints), as of the last `advance` plus later opens and closes.
        excess: sum of what they were found to cost beyond their kind's mean, over that mean, same shape.
    """

    PER_ENDPOINT: ClassVar = {"by_kind": 0.0, "excess": 0.0}

    def __init__(self, endpoints: int = 0) -> None:
        self.by_kind: FloatArray = np.zeros((1, AGES, endpoints))
        self.excess: FloatArray = np.zeros((1, AGES, endpoints))
        self._excess: FloatArray = np.zeros(0)  # by connection slot
        self._doubt: FloatArray = np.zeros(0)
        self._kind: npt.NDArray[np.int8] = np.zeros(0, np.int8)  # by connection slot
        self._owner: npt.NDArray[np.int32] = np.zeros(0, np.int32)  # by connection slot
        self._position: IntArray = np.zeros(0, np.int64)  # of a connection slot in the log; _FREE
        self._free: list[int] = []
        self._log: npt.NDArray[np.int32] = np.zeros(0, np.int32)  # connection slots by time of opening
        self._log_time: FloatArray = np.zeros(0)
        self._end = 0
        self._passed = [0] * AGES  # log entries that are at least as old as each edge; non-increasing
        self._passed[0] = 0
        self._bounds: list[int] = [0] * (AGES - 1)  # -passed[1:], ascending, for bisection
        self._latest = -np.inf
        self._grow(1024)

    def __len__(self) -> int:
        return len(self._owner) - len(self._free)

    @property
    def counts(self) -> FloatArray:
        """Open connections of all kinds, shape (ages, endpoints); not to be written to."""
        counts: FloatArray = self.by_kind[0] if len(self.by_kind) == 1 else self.by_kind.sum(0)
        return counts

    def open(self, endpoint: int, at_s: float, kind: int = 0) -> int:
        """A connection opens; returns its slot. Times that step back are taken as the latest time seen."""
        if not self._free:
            self._grow(2 * len(self._owner))
        if self._end == len(self._log):
            self._compact()
        self._latest = at_s = max(at_s, self._latest)
        slot, end = self._free.pop(), self._end
        self._owner_view[slot] = endpoint
        self._position_view[slot] = end
        self._log_view[end] = slot
        self._time_view[end] = at_s
        self._end = end + 1
        self._kind_view[slot] = kind
        self.by_kind[kind, 0, endpoint] += 1
        return slot

    def close(self, slot: int) -> Closed:
        """A connection closes."""
        position = self._position_view[slot]
        endpoint, opened_at = self._owner_view[slot], self._time_view[position]
        bucket = bisect_left(self._bounds, -position)
        kind = self._kind_view[slot]
        self.by_kind[kind, bucket, endpoint] -= 1
        excess, doubt = self._excess_view[slot], self._doubt_view[slot]
        if excess:
            self.excess[kind, bucket, endpoint] -= excess
            self._excess_view[slot] = 0.0
        self._doubt_view[slot] = 1.0
        self._position_view[slot] = _FREE
        self._free.append(slot)
        return endpoint, kind, bucket, opened_at, excess, doubt

    def widen(self, kinds: int) -> None:
        """Make room for more kinds."""
        more = ((0, kinds - len(self.by_kind)), (0, 0), (0, 0))
        self.by_kind, self.excess = np.pad(self.by_kind, more), np.pad(self.excess, more)

    def merge(self, kind: int) -> None:
        """The connections of a kind become some of kind 0."""
        self._kind[self._kind == kind] = 0
        for sums in (self.by_kind, self.excess):
            sums[0] += sums[kind]
            sums[kind] = 0.0

    def attribute(self, slots: IntArray, excess: FloatArray, doubt: FloatArray) -> None:
        """Open connections were found to cost so much more than was thought, over their kind's mean.

        Args:
            slots: of the connections.
            excess: to be added to each one's; none falls to less than nothing.
            doubt: that is left about it.
        """
        excess = np.maximum(excess, -1.0 - self._excess[slots])
        self._excess[slots] += excess
        self._doubt[slots] = doubt
        bucket = np.searchsorted(self._bounds, -self._position[slots])
        np.add.at(self.excess, (self._kind[slots], bucket, self._owner[slots]), excess)

    def owner(self, slot: int) -> int:
        """The endpoint of an open connection."""
        return self._owner_view[slot]

    def on_endpoint(self, endpoint: int) -> list[int]:
        """Connection slots of one endpoint, oldest first. A scan."""
        slots = self.in_order()
        mine: list[int] = slots[self._owner[slots] == endpoint].tolist()
        return mine

    def advance(self, now_s: float) -> None:
        """Move every connection to the bucket of its age at `now_s`."""
        times = self._log_time[: self._end]
        passed = np.searchsorted(times, now_s - AGE_EDGES_S[1:-1], side="right").tolist()
        for edge, (old, new) in enumerate(zip(self._passed[1:], passed, strict=True), 1):
            if new <= old:  # nothing to do, or the clock stepped back: nobody gets younger
                passed[edge - 1] = old
                continue
            slots = self._log[old:new]
            slots = slots[self._position[slots] == np.arange(old, new)]
            kinds, _, endpoints = self.by_kind.shape
            key = self._owner[slots]
            if kinds > 1:
                key = key + endpoints * self._kind[slots].astype(np.int64)
            for sums, weights in ((self.by_kind, None), (self.excess, self._excess[slots])):
                moved = np.bincount(key, weights, minlength=kinds * endpoints).reshape(kinds, endpoints)
                sums[:, edge - 1] -= moved
                sums[:, edge] += moved
        self._set_passed(passed)
        if self._end > 2 * len(self) + 4096:
            self._compact()

    def since(self, opened_after_s: float) -> IntArray:
        """Slots of open connections that opened after a moment."""
        start = int(np.searchsorted(self._log_time[: self._end], opened_after_s, side="right"))
        slots = self._log[start : self._end]
        young: IntArray = slots[self._position[slots] == np.arange(start, self._end)].astype(np.int64)
        return young

    def ages_since(self, opened_after_s: float, now_s: float) -> tuple[FloatArray, IntArray]:
        """Ages and kinds of open connections that opened after a moment, seconds."""
        slots = self.since(opened_after_s)
        ages: FloatArray = np.maximum(now_s - self.opened_at(slots), 0.0)
        return ages, self.kinds(slots)

    def in_order(self) -> IntArray:
        """Slots of all open connections by time of opening, shape (connections,)."""
        log = self._log[: self._end]
        slots: IntArray = log[self._position[log] == np.arange(self._end)].astype(np.int64)
        return slots

    def owners(self, slots: IntArray) -> IntArray:
        """Endpoints of connections, by slot."""
        return self._owner[slots].astype(np.int64)

    def kinds(self, slots: IntArray) -> IntArray:
        """Kinds of connections, by slot."""
        return self._kind[slots].astype(np.int64)

    def doubts(self, slots: IntArray) -> FloatArray:
        """What is still open about connections' costs, in [0, 1], by slot."""
        doubts: FloatArray = self._doubt[slots]
        return doubts

    def excesses(self, slots: IntArray) -> FloatArray:
        """What connections cost beyond their kind's mean, over that mean, by slot."""
        excesses: FloatArray = self._excess[slots]
        return excesses

    def opened_at(self, slots: IntArray) -> FloatArray:
        """When connections opened, seconds, by slot."""
        times: FloatArray = self._log_time[self._position[slots]]
        return times

    def _set_passed(self, passed: list[int]) -> None:
        self._passed[1:] = passed
        self._bounds = [-p for p in passed]

    def _grow(self, size: int) -> None:
        """Make room for `size` connections; the log has room for as many dead entries again."""
        old = len(self._owner)
        self._owner = np.concatenate([self._owner, np.zeros(size - old, np.int32)])
        self._excess = np.concatenate([self._excess, np.zeros(size - old)])
        self._doubt = np.concatenate([self._doubt, np.ones(size - old)])
        self._kind = np.concatenate([self._kind, np.zeros(size - old, np.int8)])
        self._position = np.concatenate([self._position, np.full(size - old, _FREE, np.int64)])
        self._log = np.concatenate([self._log, np.zeros(2 * size + 4096 - len(self._log), np.int32)])
        self._log_time = np.concatenate([self._log_time, np.zeros(len(self._log) - len(self._log_time))])
        self._free.extend(range(size - 1, old - 1, -1))
        # Scalar access through a memoryview costs half of that through an array.
        self._owner_view: memoryview[int] = self._owner.data
        self._excess_view = cast("memoryview[float]", self._excess.data)
        self._doubt_view = cast("memoryview[float]", self._doubt.data)
        self._kind_view: memoryview[int] = self._kind.data
        self._position_view: memoryview[int] = self._position.data
        self._log_view: memoryview[int] = self._log.data
        self._time_view = cast("memoryview[float]", self._log_time.data)

    def _compact(self) -> None:
        """Drop the log's dead entries."""
        log = self._log[: self._end]
        live = self._position[log] == np.arange(self._end)
        alive_before = np.concatenate([[0], np.cumsum(live)])
        kept = log[live]
        self._end = len(kept)
        self._log_time[: self._end] = self._log_time[: len(log)][live]
        self._log[: self._end] = kept
        self._position[kept] = np.arange(self._end)
        self._set_passed(alive_before[self._passed[1:]].tolist())
