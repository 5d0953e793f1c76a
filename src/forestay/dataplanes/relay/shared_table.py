"""The table of prices in shared memory: one writer, any number of workers that read without a lock.

One file per cluster holds two halves. The writer fills the half that nobody reads and then switches the epoch; a reader
copies the current half. A reader that is interrupted for two publishes would see its half change under it, so each
half carries a sequence count (odd while it is written) and a checksum, which also holds on processors that reorder
stores. Behind the halves lie two columns of counters per picker, each with a single writer: `placed`, all its picks
ever, and `held`, the connections it has now (or is establishing) per slot. Column 0 belongs to the control process.

A file has room for a number of slots, horizon points and bytes of names. Where a plan needs more, the writer makes the
next generation with the counters carried over and names it in the old file as successor; workers then move on.
The file is sparse: only what is used takes memory.
"""

import mmap
import os
import zlib
from collections.abc import MutableSequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self, TypeAlias, cast

import numpy as np

from forestay.model.errors import ForestayError
from forestay.model.plan import FloatArray, IntArray, Table

MAGIC = int.from_bytes(b"forestay", "little")
LAYOUT = 2
COLUMNS = 64
"""Pickers at once: the control process and 63 workers, predecessors that still drain included."""

SLOTS_MIN = 4096
NAME_BYTES_PER_SLOT = 96

Column: TypeAlias = MutableSequence[int]
"""One picker's counters by slot: a memoryview, which mypy does not take for a sequence."""

# Header words
_MAGIC, _LAYOUT, _CAPACITY, _HORIZONS, _NAME_BYTES, _SUCCESSOR, _EPOCH = range(7)
_HEADER_WORDS = 32
# Words at the head of each half
_SEQUENCE, _HALF_EPOCH, _COUNT, _NAMES_VERSION, _NAMES_LENGTH, _PUBLISHED_NS, _SHED, _ACTIVE, _CHECKSUM = range(9)
_META_WORDS = 16


class TableUnusable(ForestayError):
    """The file is not a table of this layout: make a new one."""


@dataclass(frozen=True, slots=True)
class Target:
    """Where to connect for one slot."""

    endpoint_id: str
    host: str
    port: int
    zone: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class Snapshot:
    """One published table.

    Attributes:
        epoch: grows with every publish.
        table: the prices and limits.
        base: per slot, how many of the placements in the `active` columns the prices contain.
        targets: by slot; None: free, or its name does not resolve.
        names_version: equal versions have equal targets.
        published_at_s: monotonic time of the plan.
        active: columns to sum.
    """

    epoch: int
    table: Table
    base: IntArray
    targets: tuple[Target | None, ...]
    names_version: int
    published_at_s: float
    active: tuple[int, ...]


class _Half:
    """Views of one half of the file."""

    def __init__(self, memory: mmap.mmap, offset: int, capacity: int, horizons: int, name_bytes: int) -> None:
        self.meta = memoryview(memory)[offset : offset + _META_WORDS * 8].cast("q")
        offset += _META_WORDS * 8

        def take(kind: type[np.float64] | type[np.int64], count: int) -> np.ndarray:
            nonlocal offset
            array = np.frombuffer(memory, kind, count, offset)
            offset += count * 8
            return array

        self.weight: FloatArray = take(np.float64, horizons)
        self.level: FloatArray = take(np.float64, horizons)
        self.slots: IntArray = take(np.int64, capacity)
        self.paced: IntArray = take(np.int64, capacity)
        self.base: IntArray = take(np.int64, capacity)
        self.price: FloatArray = take(np.float64, capacity * horizons).reshape(capacity, horizons)
        self.factor: FloatArray = take(np.float64, capacity * horizons).reshape(capacity, horizons)
        self.names = memoryview(memory)[offset : offset + name_bytes]
        self.end = offset + name_bytes


class SharedTable:
    """One generation of the table file of one cluster, open for reading and writing.

    Attributes:
        capacity, horizons: slots and horizon points it has room for.
        generation: counts the files of a cluster.
        header: words; `header[EPOCH]` is what readers watch.
        placed, held: counter columns, by picker and slot.
        owners: process id by column, 0: free. Written by the control process.
        incarnations: how many pickers have had the column so far.
    """

    EPOCH = _EPOCH

    def __init__(self, path: Path, memory: mmap.mmap) -> None:
        self.path = path
        self.generation = int(path.suffix[1:])
        self.header = memoryview(memory)[: _HEADER_WORDS * 8].cast("q")
        if self.header[_MAGIC] != MAGIC or self.header[_LAYOUT] != LAYOUT:
            raise TableUnusable(f"{path}: not a table of layout {LAYOUT}")
        self.capacity, self.horizons = self.header[_CAPACITY], self.header[_HORIZONS]
        self._name_bytes = self.header[_NAME_BYTES]
        if len(memory) != _size(self.capacity, self.horizons, self._name_bytes):
            raise TableUnusable(f"{path}: {len(memory)} bytes long")
        offset = _HEADER_WORDS * 8
        self.owners = memoryview(memory)[offset : offset + COLUMNS * 8].cast("q")
        offset += COLUMNS * 8
        self.incarnations = memoryview(memory)[offset : offset + COLUMNS * 8].cast("q")
        offset += COLUMNS * 8
        halves = []
        for _ in range(2):
            halves.append(_Half(memory, offset, self.capacity, self.horizons, self._name_bytes))
            offset = halves[-1].end
        self._halves = tuple(halves)
        columns: list[Column] = []
        for _ in range(2 * COLUMNS):
            columns.append(cast(Column, memoryview(memory)[offset : offset + self.capacity * 8].cast("q")))
            offset += self.capacity * 8
        self.placed, self.held = columns[:COLUMNS], columns[COLUMNS:]

    @classmethod
    def create(cls, path: Path, capacity: int = SLOTS_MIN, horizons: int = 9, name_bytes: int | None = None) -> Self:
        """A new, empty file at `path` (its suffix is the generation), readable by its owner only."""
        name_bytes = -(-(name_bytes or capacity * NAME_BYTES_PER_SLOT) // 8) * 8
        beside = path.with_name(path.name + ".new")
        descriptor = os.open(beside, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        try:
            os.ftruncate(descriptor, _size(capacity, horizons, name_bytes))
            memory = mmap.mmap(descriptor, 0)
        finally:
            os.close(descriptor)
        header = memoryview(memory)[: _HEADER_WORDS * 8].cast("q")
        header[_LAYOUT], header[_CAPACITY], header[_HORIZONS] = LAYOUT, capacity, horizons
        header[_NAME_BYTES], header[_MAGIC] = name_bytes, MAGIC
        beside.rename(path)  # whole or not at all: a crash in between leaves nothing that looks like a table
        return cls(path, memory)

    @classmethod
    def open(cls, path: Path) -> Self:
        """An existing file.

        Raises:
            TableUnusable: if it is not a table of this layout.
            FileNotFoundError: if it does not exist.
        """
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        try:
            if os.fstat(descriptor).st_size < _HEADER_WORDS * 8:
                raise TableUnusable(f"{path}: too short to be a table")
            memory = mmap.mmap(descriptor, 0)
        finally:
            os.close(descriptor)
        return cls(path, memory)

    @classmethod
    def newest(cls, directory: Path, cluster: str) -> Self | None:
        """The last generation of a cluster that can be used; None where there is none."""
        for path in reversed(cls.paths(directory, cluster)):
            try:
                return cls.open(path)
            except (TableUnusable, FileNotFoundError):
                continue
        return None

    @staticmethod
    def paths(directory: Path, cluster: str) -> list[Path]:
        """Files of a cluster, oldest generation first."""
        found = [path for path in directory.glob(f"{cluster}.table.*") if path.suffix[1:].isdigit()]
        return sorted(found, key=lambda path: int(path.suffix[1:]))

    @property
    def cluster(self) -> str:
        """Whose table it is."""
        return self.path.name.removesuffix(f".table.{self.generation}")

    def placed_array(self, column: int) -> IntArray:
        """A column of `placed` as an array."""
        return np.frombuffer(cast(memoryview, self.placed[column]), np.int64)

    def held_array(self, column: int) -> IntArray:
        """A column of `held` as an array."""
        return np.frombuffer(cast(memoryview, self.held[column]), np.int64)

    @property
    def successor(self) -> Path | None:
        """The next generation, once the writer has moved there."""
        generation = self.header[_SUCCESSOR]
        return self.path.with_suffix(f".{generation}") if generation else None

    @property
    def names_version(self) -> int:
        """Version of the targets last published."""
        return self._halves[self.header[_EPOCH] & 1].meta[_NAMES_VERSION]

    def fits(self, table: Table, names: bytes) -> bool:
        """Whether a table of this shape can be published here."""
        count, horizons = table.price.shape
        return count <= self.capacity and horizons == self.horizons and len(names) <= self._name_bytes

    def succeed(self, table: Table, names: bytes) -> "SharedTable":
        """The next generation, with room for `table` and twice its names. Publish there, then `retire` this one."""
        count, horizons = table.price.shape
        capacity = self.capacity
        while capacity < count:
            capacity *= 2
        path = self.path.with_suffix(f".{self.generation + 1}")
        new = SharedTable.create(path, capacity, horizons, max(2 * len(names), capacity * NAME_BYTES_PER_SLOT))
        for mine, theirs in (
            *zip(self.placed, new.placed, strict=True),
            *zip(self.held, new.held, strict=True),
        ):
            theirs[: self.capacity] = mine
        new.owners[:], new.incarnations[:] = self.owners, self.incarnations
        new.header[_EPOCH] = self.header[_EPOCH]
        return new

    def retire(self, successor: "SharedTable") -> None:
        """Send readers to `successor`; the file itself lives on until the last of them has left."""
        self.header[_SUCCESSOR] = successor.generation
        self.header[_EPOCH] += 2  # wakes readers and leaves them on the same half, should they look at it
        self.path.unlink(missing_ok=True)

    def publish(
        self,
        table: Table,
        base: IntArray,
        names: bytes,
        names_version: int,
        published_at_s: float,
        active: tuple[int, ...],
    ) -> None:
        """Make `table` the current one. `names` as made by `encode_targets`."""
        assert self.fits(table, names)
        epoch = self.header[_EPOCH] + 1
        half, count = self._halves[epoch & 1], len(table.endpoint_ids)
        meta = half.meta
        meta[_SEQUENCE] |= 1  # a writer that died in the middle left it odd
        meta[_HALF_EPOCH], meta[_COUNT], meta[_SHED] = epoch, count, table.shed
        meta[_NAMES_VERSION], meta[_NAMES_LENGTH] = names_version, len(names)
        meta[_PUBLISHED_NS] = int(published_at_s * 1e9)
        meta[_ACTIVE] = _to_mask(active)
        half.weight[:], half.level[:] = table.weight, table.level
        half.slots[:count], half.paced[:count], half.base[:count] = table.slots, table.paced, base
        half.price[:count], half.factor[:count] = table.price, table.factor
        half.names[: len(names)] = names
        meta[_CHECKSUM] = _checksum(
            meta, half.weight, half.level, half.slots[:count], half.paced[:count], half.base[:count],
            half.price[:count], half.factor[:count], names,
        )  # fmt: skip
        meta[_SEQUENCE] += 1
        self.header[_EPOCH] = epoch

    def read(self, previous: Snapshot | None = None) -> Snapshot | None:
        """Copy the current table.

        Args:
            previous: the last snapshot read; its targets are kept where they did not change.

        Returns:
            None if nothing was published yet, or if the copy was torn: keep the previous table and look again.
        """
        epoch = self.header[_EPOCH]
        half = self._halves[epoch & 1]
        sequence = half.meta[_SEQUENCE]
        if sequence == 0 or sequence & 1:
            return None
        meta = half.meta.tolist()
        count, length = meta[_COUNT], meta[_NAMES_LENGTH]
        if not (0 <= count <= self.capacity and 0 <= length <= self._name_bytes):
            return None
        weight, level = half.weight.copy(), half.level.copy()
        slots, paced, base = half.slots[:count].copy(), half.paced[:count].copy(), half.base[:count].copy()
        price, factor = half.price[:count].copy(), half.factor[:count].copy()
        names = bytes(half.names[:length])
        found = _checksum(meta, weight, level, slots, paced, base, price, factor, names)
        if half.meta[_SEQUENCE] != sequence or found != meta[_CHECKSUM]:
            return None
        version = meta[_NAMES_VERSION]
        if previous is not None and previous.names_version == version:
            targets = previous.targets
        else:
            targets = decode_targets(names)[:count]
        ids = tuple("" if target is None else target.endpoint_id for target in targets)
        table = Table(ids, price, factor, weight, level, slots, paced, bool(meta[_SHED]))
        return Snapshot(epoch, table, base, targets, version, meta[_PUBLISHED_NS] / 1e9, _from_mask(meta[_ACTIVE]))


def encode_targets(targets: tuple[Target | None, ...], zones: tuple[str, ...] = ()) -> bytes:
    """One line per slot: id, host, port and zone by tabs; empty where there is no target. No zones: none has one."""
    zoned = zip(targets, zones or ("",) * len(targets), strict=True)
    return "\n".join(f"{t.endpoint_id}\t{t.host}\t{t.port}\t{zone}" if t else "" for t, zone in zoned).encode()


def decode_targets(names: bytes) -> tuple[Target | None, ...]:
    """What `encode_targets` encoded."""
    targets: list[Target | None] = []
    for line in names.decode().split("\n"):
        if line:
            endpoint_id, host, port, zone = line.split("\t")
            targets.append(Target(endpoint_id, host, int(port), zone))
        else:
            targets.append(None)
    return tuple(targets)


def _size(capacity: int, horizons: int, name_bytes: int) -> int:
    half = _META_WORDS + 2 * horizons + capacity * (3 + 2 * horizons)
    return (_HEADER_WORDS + 2 * COLUMNS + 2 * half + 2 * COLUMNS * capacity) * 8 + 2 * name_bytes


def _checksum(meta: memoryview | list[int], *parts: FloatArray | IntArray | bytes) -> int:
    """CRC-32 of a half: its contents and the words that say how to read them."""
    words = np.array([meta[_HALF_EPOCH], meta[_COUNT], meta[_NAMES_VERSION], meta[_PUBLISHED_NS], meta[_ACTIVE]])
    checksum = zlib.crc32(words.data)
    for part in parts:
        checksum = zlib.crc32(part if isinstance(part, bytes) else part.data, checksum)
    return checksum


def _to_mask(columns: tuple[int, ...]) -> int:
    mask = sum(1 << column for column in columns)
    return mask - (1 << 64) if mask >> 63 else mask  # words are signed


def _from_mask(mask: int) -> tuple[int, ...]:
    return tuple(column for column in range(COLUMNS) if mask >> column & 1)
