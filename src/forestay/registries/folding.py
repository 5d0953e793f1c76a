"""Folding: the journal becomes segments, so that the store holds what is open and not all that ever happened.

The order makes it safe to die anywhere in between. At one moment the changed segments are captured and the journal
begins a new generation; then, one after the other: everything captured becomes durable in the journal, the segments
are written, emptied ones are deleted, the watermark moves, and the old generations are deleted. Until the watermark
moves a restart replays the whole journal over a mixture of old and new segments, which gives the same result; from
then on the segments alone say all that the old generations said.

A fold runs when the journal has grown as large as what it folds into: so each byte is written at most three times
(journal, segment, and the segment mates of a changed connection), and the store is at most twice what is open.
Source: log compaction at a doubling threshold, as Redis rewrites its append-only file.
"""

from collections.abc import Sequence
from urllib.parse import quote

from forestay.registries.index import Captured, Index
from forestay.registries.journal import Journal
from forestay.registries.records import encode_segment
from forestay.registries.store import Delete, DeletePrefix, Operation, Put, StoreCaps

FOLD_BYTES_MIN = 1 << 20
"""No fold for less journal than this: it is read in a tenth of a second."""
CONNECTION_BYTES = 46
"""Of a relayed IPv4 connection in a segment."""


def segment_key(prefix: bytes, endpoint_id: str, number: int) -> bytes:
    """Key of a segment: all of an endpoint under one prefix, oldest first."""
    return b"%s%s/%012x" % (prefix, quote(endpoint_id, safe=":[]").encode(), number)


class Folder:
    """Folds one journal into the segments of one index.

    Args:
        caps: of the store.
        segments: prefix of segment keys.
        generations: prefix of the journal's keys.
        watermark: key that holds the last folded generation.

    Attributes:
        folds: completed ones.
        journal_bytes: in the store and not folded.
        lingering: generations of earlier lives of the process, folded or not, that may still have keys.
    """

    def __init__(
        self,
        index: Index,
        journal: Journal,
        caps: StoreCaps,
        segments: bytes,
        generations: bytes,
        watermark: bytes,
    ) -> None:
        self.folds = 0
        self.journal_bytes = 0
        self.lingering: list[int] = []
        self._index = index
        self._journal = journal
        self._caps = caps
        self._segments = segments
        self._generations = generations
        self._watermark = watermark
        self._intact = True

    @property
    def due(self) -> bool:
        """Whether a fold is worth its writes."""
        return self._intact and self.journal_bytes >= max(FOLD_BYTES_MIN, len(self._index) * CONNECTION_BYTES)

    async def fold(self) -> None:
        """Fold everything up to now. Waits as long as the store is away; may be cancelled at any point."""
        # What an unfinished fold had captured only the journal still says: no other may move the watermark past it.
        assert self._intact, "an earlier fold did not finish"
        self._intact = False
        captured = self._index.capture()
        ended = self._journal.rotate()
        folded_bytes = self.journal_bytes
        await self._journal.flush()
        await self._write([c for c in captured if c.records])
        await self._delete([c for c in captured if not c.records])
        await self._journal.persist([Put(self._watermark, b"%08x" % ended)])
        await self._drop_generations([*self.lingering, ended])
        self.lingering.clear()
        self.journal_bytes = max(0, self.journal_bytes - folded_bytes)
        self.folds += 1
        self._intact = True

    async def _write(self, captured: Sequence[Captured]) -> None:
        operations: list[Operation] = []
        size = 0
        for segment in captured:
            key = segment_key(self._segments, segment.endpoint_id, segment.number)
            value = encode_segment(segment.endpoint_id, segment.records)
            if operations and (
                len(operations) == self._caps.operations_max
                or size + len(key) + len(value) > self._caps.commit_bytes_max
            ):
                await self._journal.persist(operations)
                operations, size = [], 0
            operations.append(Put(key, value))
            size += len(key) + len(value)
        if operations:
            await self._journal.persist(operations)

    async def _delete(self, captured: Sequence[Captured]) -> None:
        await self._persist_all(
            [Delete(segment_key(self._segments, segment.endpoint_id, segment.number)) for segment in captured]
        )

    async def _drop_generations(self, generations: Sequence[int]) -> None:
        await self._persist_all([DeletePrefix(b"%s%08x/" % (self._generations, number)) for number in generations])

    async def _persist_all(self, operations: Sequence[Operation]) -> None:
        step = self._caps.operations_max
        for start in range(0, len(operations), step):
            await self._journal.persist(operations[start : start + step])
