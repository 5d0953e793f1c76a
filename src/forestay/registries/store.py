"""The contract between the registry and whatever keeps its bytes: a small, ordered, transactional key-value store.

The idea: an engine (memory, SQLite, etcd, Consul) implements these few methods and nothing else; batching, folding,
retrying and recovery are written once, above it. `forestay.testing.check_store` checks every promise made here.

Promises every store keeps:

- *Revisions.* Each applied commit gets a revision greater than every earlier one. It is part of what the store
  remembers: it does not fall back after a restart.
- *Commits are atomic and durable.* All operations of one commit become visible together, if all guards hold, and
  survive the death of the process once `commit` has returned (as far as the engine is durable at all: `MemoryStore` is
  not). Guards see the state before the commit.
- *Reads are ordered and linearizable.* `read` returns the items under a prefix ascending by key, as of one revision
  that includes every commit that returned before the read began; `stale=True` allows an older revision.
- *Watches resume.* `watch(prefix, after)` yields every change under the prefix with a revision over `after`, ascending,
  none twice. Where the store no longer knows them all it raises `Compacted`: read again and watch from there.
- *Sessions.* Keys put under a session disappear when the session ends or is not renewed for its ttl, never before
  `Session.deadline_s`. They belong to few keys (servers, replicas, the leader), never to connections: mass expiry is
  what stores are worst at (etcd #9360, Kubernetes #96836).

Source: the shape follows etcd's Txn/Watch/Lease; Consul's transactions and sessions fit in it.
"""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeAlias

from forestay.model.errors import ForestayError, InvalidInput

COMMIT_TIMEOUT_S = 0.7
"""Long enough for a slow disk, short enough that a call to a dead member of a replicated store does not eat the two
seconds in which another member becomes leader."""


class StoreError(ForestayError):
    """Base of what a store raises."""


class Unavailable(StoreError):
    """The commit or read certainly had no effect (disk full, locked, away). Try again later."""


class Indeterminate(StoreError):
    """The commit may or may not have been applied (time ran out). Repeat it: operations are idempotent."""


class GuardFailed(StoreError):
    """A guard did not hold, nothing was applied. Read again and decide anew."""


class Compacted(StoreError):
    """The changes asked for are no longer known. Read again and watch from the revision of that read."""


class SessionLost(StoreError):
    """The session has ended and its keys are gone. Open another and put them again."""


class Unusable(StoreError):
    """The store cannot be used as it is (damaged, foreign, in use by another process). The message names the remedy."""


@dataclass(frozen=True, slots=True)
class StoreCaps:
    """What an engine can take.

    Attributes:
        durable: commits survive the death of the process.
        replicated: they survive the death of the machine.
        operations_max: most operations in a commit (etcd 128, Consul 64); guards likewise.
        value_bytes_max: largest value.
        commit_bytes_max: largest sum of keys and values in a commit.
        ttl_s_min: shortest session ttl that is honoured.
        ttl_slack_s: an unrenewed session ends between its ttl and `2 * ttl + ttl_slack_s` (Consul doubles it, an etcd
            leader change restarts it).
        delta_watch: a watch names every deleted key. Where False (Consul) a delete that happened and was undone
            between two looks is not seen.
    """

    durable: bool
    replicated: bool
    operations_max: int
    value_bytes_max: int
    commit_bytes_max: int
    ttl_s_min: float
    ttl_slack_s: float
    delta_watch: bool = True


@dataclass(frozen=True, slots=True)
class Item:
    """A key and what is there.

    Attributes:
        key, value: bytes; a key is never empty.
        revision: of the commit that last put it.
        created: revision of the commit that put it when it was absent: a fencing token that only grows.
        session: id of the session it hangs on, 0: none.
    """

    key: bytes
    value: bytes
    revision: int
    created: int
    session: int = 0


@dataclass(frozen=True, slots=True)
class Put:
    """Set `key` to `value`, under the session with id `session` (0: to stay)."""

    key: bytes
    value: bytes
    session: int = 0


@dataclass(frozen=True, slots=True)
class Delete:
    """Remove `key`; absent: nothing."""

    key: bytes


@dataclass(frozen=True, slots=True)
class DeletePrefix:
    """Remove every key that starts with `prefix`."""

    prefix: bytes


Operation: TypeAlias = Put | Delete | DeletePrefix


@dataclass(frozen=True, slots=True)
class Guard:
    """A condition on `key` for a commit to be applied: exactly one of the two is given.

    Attributes:
        key: of the item.
        created: the item was created at this revision; 0: it is absent.
        revision: the item was last put at this revision; 0: it is absent.
    """

    key: bytes
    created: int | None = None
    revision: int | None = None

    def holds(self, item: Item | None) -> bool:
        """Whether `item`, what is at the key now, satisfies it."""
        if self.created is not None:
            return self.created == (item.created if item else 0)
        return self.revision == (item.revision if item else 0)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Items under a prefix, ascending by key, as of `revision`."""

    revision: int
    items: Sequence[Item]


@dataclass(frozen=True, slots=True)
class WatchBatch:
    """What changed under a prefix at `revision`. A key is in `puts` or in `deletes`, never in both."""

    revision: int
    puts: Sequence[Item]
    deletes: Sequence[bytes]


class Session(Protocol):
    """A lease that keys can hang on.

    Attributes:
        id: over 0.
        ttl_s: it ends when not renewed for this long (and `StoreCaps.ttl_slack_s`).
        lost: set when it has ended.
        deadline_s: monotonic time until which it certainly lives: the moment the last successful renewal was *sent*,
            plus ttl. Who acts on the strength of a session (a leader) stops here without asking anybody.
    """

    id: int
    ttl_s: float
    lost: asyncio.Event

    @property
    def deadline_s(self) -> float:
        """See the class."""

    async def renew(self) -> None:
        """Let it live for another ttl.

        Raises:
            SessionLost: too late.
            Unavailable: the store is away; the session lives until `deadline_s`.
        """

    async def end(self) -> None:
        """End it now, its keys with it; ended: nothing."""


class Store(Protocol):
    """An ordered, transactional key-value store. The promises are in the module's docstring. Not thread-safe."""

    @property
    def caps(self) -> StoreCaps:
        """What it can take."""

    async def read(self, prefix: bytes, *, stale: bool = False) -> Snapshot:
        """Everything under `prefix` (b"": everything), ascending by key.

        Raises:
            Unavailable: try again.
        """

    async def commit(
        self,
        operations: Sequence[Operation],
        guards: Sequence[Guard] = (),
        *,
        timeout_s: float = COMMIT_TIMEOUT_S,
    ) -> int:
        """Apply all operations if all guards hold, durably; returns the revision.

        A commit names every key once; one that changes nothing may return an earlier revision.

        Raises:
            InvalidInput: outside of `caps`, a key named twice, an empty key.
            GuardFailed, SessionLost, Unavailable: nothing was applied.
            Indeterminate: perhaps it was.
        """

    def watch(self, prefix: bytes, after: int) -> AsyncGenerator[WatchBatch, None]:
        """Changes under `prefix` with revisions over `after`, for ever; close it (`contextlib.aclosing`) to stop.

        Raises (while iterating):
            Compacted: not all of them are known any more.
            Unavailable: the store was closed, or is away.
        """

    async def session(self, ttl_s: float) -> Session:
        """Open a session.

        Raises:
            InvalidInput: `ttl_s` under `caps.ttl_s_min`.
            Unavailable: try again.
        """

    async def trim(self, through: int) -> None:
        """Forget the history of changes up to revision `through`, never an item: watches cannot resume before it."""

    async def close(self) -> None:
        """Let go of everything; sessions end, watches raise `Unavailable`."""


def check_commit(operations: Sequence[Operation], guards: Sequence[Guard], caps: StoreCaps) -> None:
    """Refuse a commit that some engine could not take as one: for implementations of `Store`.

    Raises:
        InvalidInput: what is wrong and what to do.
    """
    if max(len(operations), len(guards)) > caps.operations_max:
        raise InvalidInput(
            f"commit of {len(operations)} operations and {len(guards)} guards: at most {caps.operations_max} of each, "
            "split it"
        )
    prefixes = [op.prefix for op in operations if isinstance(op, DeletePrefix)]
    named: set[bytes] = set()
    size = 0
    for op in operations:
        key = op.prefix if isinstance(op, DeletePrefix) else op.key
        if not key:
            raise InvalidInput("an operation names the empty key: name a key of at least one byte")
        covered = any(key.startswith(prefix) for prefix in prefixes if op != DeletePrefix(prefix))
        if key in named or covered:
            raise InvalidInput(f"key {key!r} is named twice in one commit: name each once, or use two commits")
        named.add(key)
        size += len(key)
        if isinstance(op, Put):
            size += len(op.value)
            if len(op.value) > caps.value_bytes_max:
                raise InvalidInput(
                    f"value of {len(op.value)} bytes at {key!r}: at most {caps.value_bytes_max}, split it over keys"
                )
    if size > caps.commit_bytes_max:
        raise InvalidInput(f"commit of {size} bytes: at most {caps.commit_bytes_max}, split it")
    for guard in guards:
        if (guard.created is None) == (guard.revision is None):
            raise InvalidInput(f"guard on {guard.key!r}: give exactly one of created and revision")
