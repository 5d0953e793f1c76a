"""Conformance suites for what others write for forestay: a store passes `check_store`, or it is not one.

In a test of your own (needs `pip install hypothesis`):

    def test_my_store_keeps_the_promises_of_the_contract() -> None:
        check_store(MyStore.open_empty)

The idea: a store is compared with a dict over random sequences of commits, reads and watches (a failure is shrunk and
prints the steps), then put through the situations that random steps do not reach: races, expiry, limits, reopening.
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from contextlib import aclosing
from typing import Any, cast

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule, run_state_machine_as_test

from forestay.model.errors import InvalidInput
from forestay.registries.store import (
    Compacted,
    Delete,
    DeletePrefix,
    Guard,
    GuardFailed,
    Item,
    Operation,
    Put,
    SessionLost,
    Store,
    Unavailable,
    WatchBatch,
)

OpenStore = Callable[[], Awaitable[Store]]
"""Opens a store that is empty, another one at each call."""

STEP_TIMEOUT_S = 10.0
"""No single step of a suite may take longer."""
RACERS = 16
_KEYS = (b"a", b"a/1", b"a/2", b"a\xff", b"a\xff\xff", b"b", b"\x00", b"\xff", b"\xff\xff/1")
_PREFIXES = (b"", b"a", b"a/", b"a\xff", b"b", b"\xff", b"absent")


def check_store(
    open_store: OpenStore, reopen: Callable[[Store], Awaitable[Store]] | None = None, examples: int = 30
) -> None:
    """Check every promise of `forestay.registries.store`.

    Args:
        open_store: see `OpenStore`; the suite closes what it opens.
        reopen: for a durable store: closes the one given and opens another on the same data.
        examples: random sequences of up to 50 steps; more find more and take longer.

    Raises:
        AssertionError: a promise is broken; the message says which.
    """

    class Machine(_StoreMachine):
        """The random part, bound to this store."""

        opener = staticmethod(open_store)

    run_state_machine_as_test(
        Machine,
        settings=settings(
            max_examples=examples,
            deadline=None,
            stateful_step_count=50,
            suppress_health_check=[HealthCheck.too_slow],
        ),
    )
    for situation in (
        _one_of_many_racers_wins,
        _a_running_watch_sees_what_comes,
        _a_watch_resumes_or_says_compacted_after_trim,
        _an_unrenewed_session_takes_its_keys_along,
        _an_ended_session_takes_its_keys_along,
        _limits_are_reached_and_not_exceeded,
        _senseless_commits_are_refused,
        _a_closed_store_says_so,
    ):
        _run(_with_store(open_store, situation))
    if reopen is not None:
        _run(_a_reopened_store_is_the_same(open_store, reopen))


class _StoreMachine(RuleBasedStateMachine):
    """A store beside the dict that it should be."""

    opener: OpenStore

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.store = self.run(_awaited(self.opener()))
        self.model: dict[bytes, Item] = {}
        self.revision = self.run(self.store.read(b"")).revision
        self.states: list[tuple[int, dict[bytes, Item]]] = [(self.revision, {})]
        self.changes: list[WatchBatch] = []

    def run(self, step: Coroutine[Any, Any, Any]) -> Any:
        return self.runner.run(_in_time(step))

    def teardown(self) -> None:
        self.run(self.store.close())
        self.runner.close()

    @rule(
        puts=st.dictionaries(st.sampled_from(_KEYS), st.binary(max_size=8), max_size=4),
        deletes=st.lists(st.sampled_from(_KEYS), max_size=2, unique=True),
        prefix=st.none() | st.sampled_from(_PREFIXES[1:]),
        guarded=st.lists(st.tuples(st.sampled_from(_KEYS), st.booleans(), st.booleans()), max_size=2),
    )
    def commit(
        self,
        puts: dict[bytes, bytes],
        deletes: list[bytes],
        prefix: bytes | None,
        guarded: list[tuple[bytes, bool, bool]],
    ) -> None:
        """Operations on different keys under guards of which some are made to fail."""
        operations: list[Operation] = [Put(key, value) for key, value in puts.items()]
        operations += [Delete(key) for key in deletes if key not in puts]
        if prefix is not None:
            operations = [op for op in operations if not cast("Put | Delete", op).key.startswith(prefix)]
            operations.append(DeletePrefix(prefix))
        guards = [self._guard(key, by_created, holds) for key, by_created, holds in guarded]
        if not operations:
            return
        if all(guard.holds(self.model.get(guard.key)) for guard in guards):
            self._commit(operations, guards)
            return
        refused = self.run(_refused(self.store.commit(operations, guards, timeout_s=STEP_TIMEOUT_S), GuardFailed))
        assert refused, f"commit under a guard that does not hold was applied: {guards}"

    @rule(prefix=st.sampled_from(_PREFIXES))
    def read(self, prefix: bytes) -> None:
        """What is under a prefix, in order."""
        snapshot = self.run(self.store.read(prefix))
        expected = _under(self.model, prefix)
        assert list(snapshot.items) == expected, f"read({prefix!r}) gave {snapshot.items}, not {expected}"
        assert snapshot.revision >= self.revision, "a read must include every commit that returned before"

    @rule(prefix=st.sampled_from(_PREFIXES), data=st.data())
    def resume(self, prefix: bytes, data: st.DataObject) -> None:
        """A watch from any earlier revision leads to the present."""
        after, before = data.draw(st.sampled_from(self.states))
        end = prefix + b"~end"
        self._commit([Put(end, b"")])
        expected = [batch for change in self.changes if (batch := _narrow(change, prefix)) and batch.revision > after]
        self.run(self._catch_up(prefix, after, before, expected, end))
        self._commit([Delete(end)])

    async def _catch_up(
        self, prefix: bytes, after: int, before: dict[bytes, Item], expected: list[WatchBatch], end: bytes
    ) -> None:
        state = {item.key: item for item in _under(before, prefix)}
        seen: list[WatchBatch] = []
        async with aclosing(self.store.watch(prefix, after)) as watch:
            async for batch in watch:
                assert batch.revision > (seen[-1].revision if seen else after), "revisions of a watch only grow"
                seen.append(batch)
                for key in batch.deletes:
                    state.pop(key, None)
                state.update({item.key: item for item in batch.puts})
                if batch.revision >= self.revision and end in state:
                    break
        assert sorted(state.values(), key=_key) == _under(self.model, prefix), "a watch must lead to what is there"
        if self.store.caps.delta_watch:
            assert [_normal(batch) for batch in seen] == [_normal(batch) for batch in expected], (
                "watch left changes out"
            )

    def _commit(self, operations: Sequence[Operation], guards: Sequence[Guard] = ()) -> None:
        """Do the same to the store and to the model."""
        revision = self.run(self.store.commit(operations, guards, timeout_s=STEP_TIMEOUT_S))
        batch = _apply(self.model, operations, revision)
        if batch.puts or batch.deletes:
            assert revision > self.revision, f"revision {revision} is not after {self.revision}"
            self.changes.append(batch)
        self.revision = max(self.revision, revision)
        self.states.append((self.revision, dict(self.model)))

    def _guard(self, key: bytes, by_created: bool, holds: bool) -> Guard:
        item = self.model.get(key)
        off = 0 if holds else 1
        if by_created:
            return Guard(key, created=(item.created if item else 0) + off)
        return Guard(key, revision=(item.revision if item else 0) + off)


async def _one_of_many_racers_wins(store: Store) -> None:
    async def race(racer: int) -> bool:
        try:
            await store.commit([Put(b"leader", b"%d" % racer)], [Guard(b"leader", created=0)], timeout_s=STEP_TIMEOUT_S)
        except GuardFailed:
            return False
        return True

    won = await asyncio.gather(*(race(racer) for racer in range(RACERS)))
    assert sum(won) == 1, f"{sum(won)} of {RACERS} racers for an absent key won"
    (leader,) = (await store.read(b"leader")).items
    assert leader.value == b"%d" % won.index(True), "another than the winner is there"


async def _a_running_watch_sees_what_comes(store: Store) -> None:
    start = (await store.read(b"")).revision
    seen: list[bytes] = []

    async def follow() -> None:
        async with aclosing(store.watch(b"w/", start)) as watch:
            async for batch in watch:
                seen.extend(item.value for item in batch.puts)
                if b"last" in seen:
                    return

    following = asyncio.create_task(follow())
    for value in (b"first", b"second", b"last"):
        await store.commit([Put(b"w/" + value, value), Put(b"other/" + value, value)], timeout_s=STEP_TIMEOUT_S)
        await asyncio.sleep(0)
    await following
    assert seen == [b"first", b"second", b"last"], f"a running watch saw {seen}"


async def _a_watch_resumes_or_says_compacted_after_trim(store: Store) -> None:
    first = await store.commit([Put(b"t", b"0")], timeout_s=STEP_TIMEOUT_S)
    for value in (b"1", b"2", b"3"):
        last = await store.commit([Put(b"t", value)], timeout_s=STEP_TIMEOUT_S)
    await store.trim(last)
    assert [item.value for item in (await store.read(b"t")).items] == [b"3"], "trim removed an item"
    try:
        async with aclosing(store.watch(b"t", first)) as watch:
            async for batch in watch:
                if batch.puts[-1].value == b"3":
                    break
    except Compacted:
        pass  # the usual answer; a store that still knows the changes may as well give them
    await store.commit([Put(b"t", b"4")], timeout_s=STEP_TIMEOUT_S)
    async with aclosing(store.watch(b"t", last)) as watch:
        batch = await anext(watch)
    assert [item.value for item in batch.puts] == [b"4"], "a watch from the trimmed revision on must go on"


async def _an_unrenewed_session_takes_its_keys_along(store: Store) -> None:
    ttl_s = max(store.caps.ttl_s_min, 0.2)
    now_s = asyncio.get_running_loop().time
    session = await store.session(ttl_s)
    other = await store.session(60.0)
    await store.commit(
        [Put(b"s/mine", b"", session.id), Put(b"s/other", b"", other.id), Put(b"s/stays", b"")],
        timeout_s=STEP_TIMEOUT_S,
    )
    keys = [(item.key, item.session) for item in (await store.read(b"s/")).items]
    assert keys == [(b"s/mine", session.id), (b"s/other", other.id), (b"s/stays", 0)], f"sessions of keys: {keys}"
    first_deadline_s = session.deadline_s
    await asyncio.sleep(ttl_s / 2)
    await session.renew()
    assert session.deadline_s > first_deadline_s, "a renewal must move the deadline"
    start = (await store.read(b"s/")).revision
    async with asyncio.timeout(2 * ttl_s + store.caps.ttl_slack_s), aclosing(store.watch(b"s/", start)) as watch:
        batch = await anext(watch)
    assert now_s() >= session.deadline_s, "keys vanished before the deadline of their session"
    assert list(batch.deletes) == [b"s/mine"], f"expiry removed {batch.deletes}"
    await session.lost.wait()
    late = store.commit([Put(b"s/late", b"", session.id)], timeout_s=STEP_TIMEOUT_S)
    assert await _refused(late, SessionLost), "a put under a lost session was applied"
    assert await _refused(session.renew(), SessionLost), "a lost session was renewed"
    await session.end()
    await other.end()


async def _an_ended_session_takes_its_keys_along(store: Store) -> None:
    session = await store.session(max(store.caps.ttl_s_min, 30.0))
    await store.commit([Put(b"s/mine", b"", session.id)], timeout_s=STEP_TIMEOUT_S)
    await session.end()
    assert session.lost.is_set(), "an ended session is lost"
    assert not (await store.read(b"s/")).items, "end() must remove the keys before it returns"
    await session.end()


async def _limits_are_reached_and_not_exceeded(store: Store) -> None:
    caps = store.caps
    await store.commit([Put(b"n/%06d" % n, b"") for n in range(caps.operations_max)], timeout_s=STEP_TIMEOUT_S)
    await store.commit([Put(b"big", bytes(caps.value_bytes_max))], timeout_s=STEP_TIMEOUT_S)
    (big,) = (await store.read(b"big")).items
    assert len(big.value) == caps.value_bytes_max, "a value of the largest size came back shorter"
    assert len((await store.read(b"n/")).items) == caps.operations_max, "a commit of the largest size lost operations"
    too_many = [Put(b"m/%06d" % n, b"") for n in range(caps.operations_max + 1)]
    assert await _refused(store.commit(too_many), InvalidInput), "more operations than caps.operations_max"
    too_large = [Put(b"m/big", bytes(caps.value_bytes_max + 1))]
    assert await _refused(store.commit(too_large), InvalidInput), "a larger value than caps.value_bytes_max"
    assert await _refused(store.session(caps.ttl_s_min / 2), InvalidInput), "a shorter ttl than caps.ttl_s_min"
    assert not (await store.read(b"m/")).items, "a refused commit left something"


async def _senseless_commits_are_refused(store: Store) -> None:
    senseless: Sequence[tuple[Sequence[Operation], Sequence[Guard]]] = (
        ([Put(b"d", b"1"), Put(b"d", b"2")], ()),
        ([Put(b"d", b"1"), Delete(b"d")], ()),
        ([Put(b"d/1", b"1"), DeletePrefix(b"d/")], ()),
        ([Put(b"", b"1")], ()),
        ([Put(b"d", b"1")], [Guard(b"d")]),
        ([Put(b"d", b"1")], [Guard(b"d", created=0, revision=0)]),
    )
    for operations, guards in senseless:
        assert await _refused(store.commit(operations, guards), InvalidInput), f"applied: {operations} if {guards}"
    assert not (await store.read(b"d")).items, "a refused commit left something"


async def _a_closed_store_says_so(store: Store) -> None:
    revision = await store.commit([Put(b"c", b"")], timeout_s=STEP_TIMEOUT_S)

    async def follow() -> None:
        async with aclosing(store.watch(b"", revision)) as watch:
            async for _ in watch:
                pass

    following = asyncio.create_task(_refused(follow(), Unavailable))
    await asyncio.sleep(0)
    await store.close()
    assert await following, "a watch must end with Unavailable when the store is closed"
    assert await _refused(store.read(b""), Unavailable), "read after close"
    assert await _refused(store.commit([Put(b"c", b"")]), Unavailable), "commit after close"


async def _a_reopened_store_is_the_same(open_store: OpenStore, reopen: Callable[[Store], Awaitable[Store]]) -> None:
    store = await open_store()
    await store.commit([Put(b"r/%d" % n, b"old") for n in range(3)], timeout_s=STEP_TIMEOUT_S)
    await store.commit([Put(b"r/1", b"new"), Delete(b"r/2")], timeout_s=STEP_TIMEOUT_S)
    before = await store.read(b"")
    store = await reopen(store)
    after = await store.read(b"")
    assert after.items == before.items, "items differ after reopening"
    assert after.revision >= before.revision, "the revision fell back after reopening"
    assert await store.commit([Delete(b"r/0")], timeout_s=STEP_TIMEOUT_S) > before.revision
    await store.close()


async def _with_store(open_store: OpenStore, situation: Callable[[Store], Awaitable[None]]) -> None:
    store = await open_store()
    try:
        await situation(store)
    finally:
        await store.close()


def _run(step: Coroutine[Any, Any, None]) -> None:
    with asyncio.Runner() as runner:
        runner.run(_in_time(step, 6 * STEP_TIMEOUT_S))


async def _in_time(step: Coroutine[Any, Any, Any], timeout_s: float = STEP_TIMEOUT_S) -> Any:
    async with asyncio.timeout(timeout_s):
        return await step


async def _awaited(opening: Awaitable[Store]) -> Store:
    return await opening


async def _refused(call: Awaitable[Any], expected: type[Exception]) -> bool:
    try:
        await call
    except expected:
        return True
    return False


def _apply(model: dict[bytes, Item], operations: Sequence[Operation], revision: int) -> WatchBatch:
    """What a store has to do, in a dict."""
    puts: list[Item] = []
    deletes: list[bytes] = []
    for op in operations:
        if isinstance(op, Put):
            known = model.get(op.key)
            model[op.key] = Item(op.key, op.value, revision, known.created if known else revision)
            puts.append(model[op.key])
        else:
            keys = [op.key] if isinstance(op, Delete) else [key for key in model if key.startswith(op.prefix)]
            deletes += [key for key in keys if model.pop(key, None) is not None]
    return WatchBatch(revision, puts, deletes)


def _under(model: dict[bytes, Item], prefix: bytes) -> list[Item]:
    return sorted((item for key, item in model.items() if key.startswith(prefix)), key=_key)


def _narrow(batch: WatchBatch, prefix: bytes) -> WatchBatch | None:
    puts = [item for item in batch.puts if item.key.startswith(prefix)]
    deletes = [key for key in batch.deletes if key.startswith(prefix)]
    return WatchBatch(batch.revision, puts, deletes) if puts or deletes else None


def _normal(batch: WatchBatch) -> WatchBatch:
    return WatchBatch(batch.revision, sorted(batch.puts, key=_key), sorted(batch.deletes))


def _key(item: Item) -> bytes:
    return item.key
