"""Where every connection is: an index in memory, written behind to a store, whole again after a restart.

Calls about connections return at once; what they said is durable some 10-20 ms later (`flush` waits for it). While the
store is away everything goes on from memory, `health` says "degraded", and what changed is written when it returns:
as a set of changed connections, so memory for it is bounded by the connections the store knows plus those open now.
Lost are, at most, the changes not yet durable when the process dies as well; whoever holds the connections (a relay
worker that survived) then names them anew.

After a restart the connections of the previous life are *recovered*: remembered and found by all look-ups, but perhaps
gone. Their owners settle it: `settle(owner, live)` keeps what is live and forgets the owner's others, `settle_rest`
forgets what no owner has claimed.

Source: two layers and the journal as in log-structured stores; why not one key per connection: etcd takes some 7,000
single puts a second and its leases block when many expire (etcd #9360), journal batches carry 30 times that.
"""

import asyncio
import random
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal
from urllib.parse import quote

import structlog

from forestay.model.connection import Connection
from forestay.model.errors import InvalidInput
from forestay.registries.blobs import Blobs
from forestay.registries.folding import Folder
from forestay.registries.index import Index
from forestay.registries.journal import KEY_BYTES, Journal
from forestay.registries.records import connection_key, decode, decode_batch, decode_segment, encode_body
from forestay.registries.store import Item, Store

INTERVAL_S = 0.01
"""Gathering time of a batch: 100 commits a second at most, and as much delay as one slow fdatasync."""
LAG_S_MAX = 1.0
"""A change that waits longer to be durable makes the mode "degraded", whether or not a commit has failed."""
WRITER = "local"
"""Name of the journal; replicas that share a store will each have their own."""

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class RegistryHealth:
    """How the registry is.

    Attributes:
        mode: "normal", or "degraded": the store is away or slow, changes wait in memory.
        connections: remembered.
        unsettled: of these, recovered from a previous life and not confirmed yet.
        pending: changes not durable yet.
        oldest_pending_s: how long the oldest of them has waited.
        revision: of the store, at the last commit.
        retries: commits repeated since the start.
        annihilated: opens that closed before they were written, since the start.
        journal_bytes: in the store, not folded yet.
        folds: since the start.
        error: the last one while degraded, else "".
    """

    mode: Literal["normal", "degraded"]
    connections: int
    unsettled: int
    pending: int
    oldest_pending_s: float
    revision: int
    retries: int
    annihilated: int
    journal_bytes: int
    folds: int
    error: str


class Registry:
    """Connections of one cluster. Implements `control.ports.ConnectionStore`. Made on the event loop that uses it.

    Args:
        store: shared by any number of registries; the caller closes it after them.
        cluster: its name, the namespace within the store.
        interval_s: how long changes are gathered before they are written, seconds.
        rng: for the jitter of retries.
    """

    def __init__(
        self, store: Store, cluster: str, interval_s: float = INTERVAL_S, rng: random.Random | None = None
    ) -> None:
        self._store = store
        self._prefix = b"/forestay/v1/%s/" % quote(cluster, safe="").encode()
        generations = self._prefix + b"j/%s/" % WRITER.encode()
        watermark = self._prefix + b"fold/%s" % WRITER.encode()
        segments = self._prefix + b"seg/"
        self._generations, self._watermark, self._segments = generations, watermark, segments
        self._index = Index()
        self._journal = Journal(store, generations, self._index, interval_s, self._on_written, rng or random.Random())
        self._folder = Folder(self._index, self._journal, store.caps, segments, generations, watermark)
        self._blobs = Blobs(store, self._prefix + b"blob/")
        self._unsettled: set[bytes] = set()  # membership only, never iterated
        self._folding: asyncio.Task[None] | None = None
        self._running = False

    async def start(self) -> None:
        """Read what the store remembers and begin to write. Everything found counts as recovered.

        Raises:
            Unavailable: the store is away; try again.
            Unusable: what it holds cannot be read; the message says what to do.
        """
        snapshot = await self._store.read(self._prefix)
        items = [item for item in snapshot.items if not item.key.startswith(self._prefix + b"blob/")]
        folded = next((int(item.value, 16) for item in items if item.key == self._watermark), -1)
        for item in items:
            if item.key.startswith(self._segments):
                number = int(item.key.rpartition(b"/")[2], 16)
                endpoint_id, records = decode_segment(item.key, item.value)
                self._index.load(endpoint_id, number, records)
        self._replay([item for item in items if item.key.startswith(self._generations)], folded)
        self._journal.revision = snapshot.revision
        self._unsettled = {key for key, _, _ in self._index}
        self._running = True
        self._journal.start()
        _log.info("registry_started", connections=len(self._index), revision=snapshot.revision)

    def register(self, connection: Connection) -> None:
        """Remember an established connection; known: it has moved or its state has changed; recovered: it lives.

        Raises:
            InvalidInput: a field does not fit (texts 200 bytes, state 256); the message names it.
        """
        assert self._running, "start() first"
        key = connection_key(connection.id)
        body = encode_body(connection)
        known = key in self._index
        if self._index.put(key, connection.endpoint_id, body):
            self._journal.changed(key, known)
        self._unsettled.discard(key)

    def unregister(self, connection_id: str) -> None:
        """Forget one that closed; unknown ids are ignored."""
        assert self._running, "start() first"
        key = _known_key(connection_id)
        if key is not None:
            self._forget(key)

    def get(self, connection_id: str) -> Connection | None:
        """Look one up."""
        key = _known_key(connection_id)
        found = self._index.get(key) if key is not None else None
        return decode(key, *found) if key is not None and found is not None else None

    def on_endpoint(self, endpoint_id: str) -> list[Connection]:
        """All on one endpoint, oldest first (one that moved here counts from then)."""
        return [decode(key, endpoint_id, body) for key, body in self._index.on_endpoint(endpoint_id)]

    def count(self, endpoint_id: str) -> int:
        """How many are on one endpoint."""
        return self._index.count(endpoint_id)

    def __len__(self) -> int:
        return len(self._index)

    def recovered(self) -> list[Connection]:
        """Connections of a previous life of this process that nobody has confirmed yet, endpoint by endpoint."""
        return [decode(*record) for record in self._index if record[0] in self._unsettled]

    def settle(self, owner: str, live: Iterable[Connection]) -> list[Connection]:
        """Take the whole truth of one owner: `live` are its connections, it has no others.

        Args:
            owner: digits 13 to 16 of the ids it gives (the picker); "": ids of another form (direct placements).
            live: registered, hence confirmed.

        Returns:
            The owner's other connections, recovered or not: gone, and forgotten now.
        """
        alive: set[bytes] = set()
        for connection in live:
            self.register(connection)
            alive.add(connection_key(connection.id))
        return self._forget_all(
            [record for record in self._index if _owner(record[0]) == owner and record[0] not in alive]
        )

    def settle_rest(self) -> list[Connection]:
        """Whatever is recovered and not confirmed by now is gone: forget and return it."""
        gone = self._forget_all([record for record in self._index if record[0] in self._unsettled])
        self._unsettled = set()
        return gone

    async def flush(self, timeout_s: float | None = None) -> bool:
        """Wait until everything said before is durable; False: not within `timeout_s`."""
        try:
            async with asyncio.timeout(timeout_s):
                await self._journal.flush()
        except TimeoutError:
            return False
        return True

    async def fold(self) -> None:
        """Fold the journal now, rather than when it has grown: for maintenance and tests. After `close`: nothing."""
        if self._running:
            await asyncio.shield(self._start_fold())

    async def put_blob(self, name: str, data: bytes) -> None:
        """Keep `data` under `name`, durably on return.

        Raises:
            InvalidInput: over 64 MiB.
            StoreError: the store is away; the old version stays, just repeat later.
        """
        await self._blobs.put(name, data)

    async def get_blob(self, name: str) -> bytes | None:
        """What was put under `name`, or None.

        Raises:
            Unavailable: the store is away.
            Unusable: damaged; go on without it, and put it anew.
        """
        return await self._blobs.get(name)

    def health(self) -> RegistryHealth:
        """How it is; cheap."""
        journal = self._journal
        lag_s = journal.oldest_pending_s
        degraded = journal.failing_since_s is not None or lag_s > LAG_S_MAX
        return RegistryHealth(
            mode="degraded" if degraded else "normal",
            connections=len(self._index),
            unsettled=len(self._unsettled),
            pending=journal.pending,
            oldest_pending_s=lag_s,
            revision=journal.revision,
            retries=journal.retries,
            annihilated=journal.annihilated,
            journal_bytes=self._folder.journal_bytes,
            folds=self._folder.folds,
            error=journal.error,
        )

    async def close(self, timeout_s: float = 5.0) -> bool:
        """Write what is pending, for up to `timeout_s`, and stop; False: some of it is lost."""
        if not self._running:
            return True
        written = await self.flush(timeout_s)
        self._running = False
        if not written:
            _log.error("registry_closed_with_pending", pending=self._journal.pending, error=self._journal.error)
        if self._folding is not None:
            self._folding.cancel()
            await asyncio.gather(self._folding, return_exceptions=True)
        await self._journal.stop()
        return written

    def _replay(self, items: Iterable[Item], folded: int) -> None:
        """Apply the journal behind generation `folded` to the index; go on with a generation of our own."""
        last = folded
        for item in items:
            generation = int(item.key[len(self._generations) :].partition(b"/")[0], 16)
            last = max(last, generation)
            if generation not in self._folder.lingering:
                self._folder.lingering.append(generation)
            if generation <= folded:
                continue  # a late repetition of a batch that was folded long ago
            for key, endpoint_id, body in decode_batch(item.key, item.value):
                if body is not None:
                    self._index.put(key, endpoint_id, body)
                else:
                    self._index.pop(key)
            self._folder.journal_bytes += len(item.value) + KEY_BYTES
        self._journal.generation = last + 1

    def _forget(self, key: bytes) -> None:
        if self._index.pop(key) is not None:
            self._journal.changed(key, known_before=True)
            self._unsettled.discard(key)

    def _forget_all(self, records: list[tuple[bytes, str, bytes]]) -> list[Connection]:
        for key, _, _ in records:
            self._forget(key)
        return [decode(*record) for record in records]

    def _on_written(self, size: int) -> None:
        self._folder.journal_bytes += size
        if self._running and self._folder.due:
            self._start_fold()

    def _start_fold(self) -> asyncio.Task[None]:
        """The fold that is under way; one begins where there is none."""
        if self._folding is None or self._folding.done():
            self._folding = asyncio.get_running_loop().create_task(self._folder.fold())
        return self._folding


def _known_key(connection_id: str) -> bytes | None:
    """Key of an id that may be remembered; None: it cannot be."""
    try:
        return connection_key(connection_id)
    except InvalidInput:
        return None


def _owner(key: bytes) -> str:
    """Who gave the id: the picker in it, "" where there is none."""
    return key[6:8].hex() if len(key) == 16 else ""
