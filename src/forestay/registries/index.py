"""Connections in memory, by id and by endpoint, laid out as they are stored.

The idea: the list of an endpoint's connections *is* its segments, dicts of up to 256 bodies by key in order of age.
One more dict says in which segment a key is. So a connection costs its key, its body and two dict entries, and folding
the journal means writing out the segments that changed.
"""

from collections.abc import Iterator
from dataclasses import dataclass

SEGMENT_MAX = 256
"""Connections in a segment: 256 x 46 bytes is 12 kB, a hundredth of a large etcd request; larger ones are rewritten
for too little, smaller ones make too many keys."""
MERGE_MAX = SEGMENT_MAX // 2
"""Neighbours that have shrunk to this many together become one: two neighbours always hold more, so there are at most
four times as many segments as if all were full, and each move of a connection is paid by one that closed."""


class Segment:
    """Some connections of one endpoint.

    Attributes:
        endpoint_id: the endpoint.
        number: grows with age of creation; part of its key in the store.
        records: body by key, oldest first.
        written: there is something under its key in the store.
    """

    __slots__ = ("endpoint_id", "number", "records", "written")

    def __init__(self, endpoint_id: str, number: int) -> None:
        self.endpoint_id = endpoint_id
        self.number = number
        self.records: dict[bytes, bytes] = {}
        self.written = False


@dataclass(frozen=True, slots=True, eq=False)
class Captured:
    """A segment as it was at one moment, to be written; without records: to be deleted."""

    endpoint_id: str
    number: int
    records: dict[bytes, bytes]


class Index:
    """All connections of one registry."""

    def __init__(self) -> None:
        self._segment_of: dict[bytes, Segment] = {}
        self._shelves: dict[str, list[Segment]] = {}  # by endpoint; only the last segment takes newcomers
        self._changed: dict[Segment, None] = {}  # a dict for its order
        self._number = 0

    def __len__(self) -> int:
        return len(self._segment_of)

    def __contains__(self, key: bytes) -> bool:
        return key in self._segment_of

    def get(self, key: bytes) -> tuple[str, bytes] | None:
        """Endpoint id and body, or None."""
        segment = self._segment_of.get(key)
        return (segment.endpoint_id, segment.records[key]) if segment else None

    def put(self, key: bytes, endpoint_id: str, body: bytes) -> bool:
        """Set a connection; False: it was there just so."""
        segment = self._segment_of.get(key)
        if segment is not None:
            if segment.endpoint_id == endpoint_id:
                if segment.records[key] == body:
                    return False
                segment.records[key] = body
                self._changed[segment] = None
                return True
            self.pop(key)
        segment = self._youngest(endpoint_id)
        segment.records[key] = body
        self._segment_of[key] = segment
        self._changed[segment] = None
        return True

    def pop(self, key: bytes) -> tuple[str, bytes] | None:
        """Remove a connection; returns endpoint id and body, or None where there was none."""
        segment = self._segment_of.pop(key, None)
        if segment is None:
            return None
        self._changed[segment] = None
        return segment.endpoint_id, segment.records.pop(key)

    def on_endpoint(self, endpoint_id: str) -> Iterator[tuple[bytes, bytes]]:
        """Key and body of each connection on the endpoint, oldest first; the index must not change meanwhile."""
        for segment in self._shelves.get(endpoint_id, ()):
            yield from segment.records.items()

    def count(self, endpoint_id: str) -> int:
        """Connections on the endpoint."""
        return sum(len(segment.records) for segment in self._shelves.get(endpoint_id, ()))

    def __iter__(self) -> Iterator[tuple[bytes, str, bytes]]:
        """Key, endpoint id and body of each, endpoint by endpoint; the index must not change meanwhile."""
        for endpoint_id, shelf in self._shelves.items():
            for segment in shelf:
                for key, body in segment.records.items():
                    yield key, endpoint_id, body

    def load(self, endpoint_id: str, number: int, records: dict[bytes, bytes]) -> None:
        """Add a segment as read from the store; segments come in ascending number.

        A connection that another segment has (a fold was interrupted between writing its new place and its old one)
        is where it was read last; journal records that follow have the last word.
        """
        segment = Segment(endpoint_id, number)
        segment.written = True
        self._number = max(self._number, number)
        for key in records:
            self.pop(key)
            self._segment_of[key] = segment
        segment.records = records
        self._shelves.setdefault(endpoint_id, []).append(segment)

    def capture(self) -> list[Captured]:
        """The segments that changed since the last capture, as they are now, and those to be deleted.

        Shrunken neighbours are merged first. Written ones come before deleted ones, so that a connection that changed
        segments is always in one of the two while they are written in this order.
        """
        for endpoint_id in dict.fromkeys(segment.endpoint_id for segment in self._changed):
            self._tidy(endpoint_id)
        puts: list[Captured] = []
        deletes: list[Captured] = []
        for segment in self._changed:
            if segment.records:
                puts.append(Captured(segment.endpoint_id, segment.number, segment.records.copy()))
                segment.written = True
            elif segment.written:
                deletes.append(Captured(segment.endpoint_id, segment.number, {}))
                segment.written = False
        self._changed.clear()
        return puts + deletes

    def _youngest(self, endpoint_id: str) -> Segment:
        """The segment that takes the endpoint's next connection."""
        shelf = self._shelves.setdefault(endpoint_id, [])
        if not shelf or len(shelf[-1].records) >= SEGMENT_MAX:
            self._number += 1
            shelf.append(Segment(endpoint_id, self._number))
        return shelf[-1]

    def _tidy(self, endpoint_id: str) -> None:
        """Merge shrunken neighbours and take empty segments off the shelf (they stay in `_changed` until captured)."""
        kept: list[Segment] = []
        for segment in self._shelves.pop(endpoint_id, ()):
            if not segment.records:
                self._changed[segment] = None
            elif kept and len(kept[-1].records) + len(segment.records) <= MERGE_MAX:
                elder = kept[-1]
                elder.records.update(segment.records)
                for key in segment.records:
                    self._segment_of[key] = elder
                segment.records = {}
                self._changed[segment] = self._changed[elder] = None
            else:
                kept.append(segment)
        if kept:
            self._shelves[endpoint_id] = kept
