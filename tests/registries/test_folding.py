"""Whatever happens while the journal is written and folded, a restart finds what was acknowledged."""

import asyncio
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forestay.registries import folding, index, journal
from forestay.registries.folding import segment_key
from forestay.registries.registry import Registry
from tests.registries.conditions import until
from tests.registries.connections import connection
from tests.registries.faults import FaultyStore

CONNECTIONS = 600
ENDPOINTS = 3


class Life:
    """One life of a registry on a store, and what may be found after it.

    Attributes:
        possible: by connection number: where it may be (None: closed), the acknowledged place and any said since.
    """

    def __init__(self, store: FaultyStore, rng: random.Random, possible: dict[int, set[int | None]]) -> None:
        self.registry = Registry(store, "chat", interval_s=0.0, rng=rng)
        self.rng = rng
        self.possible = possible
        self.now: dict[int, int | None] = {}

    async def start(self) -> None:
        await self.registry.start()
        for number, places in self.possible.items():
            found = self.registry.get(connection(number).id)
            place = None if found is None else int(found.endpoint_id.split(":")[0].rpartition(".")[2])
            assert place in places, f"connection {number} was recovered at {place}, not at one of {places}"
            self.now[number] = place
            self.possible[number] = {place}
        assert len(self.registry) == sum(place is not None for place in self.now.values())

    def change_some(self) -> None:
        """Open, move and close at random."""
        for number in self.rng.sample(range(CONNECTIONS), self.rng.randrange(200)):
            place = self.rng.choice([None, *range(ENDPOINTS)])
            if place is None:
                self.registry.unregister(connection(number).id)
            else:
                self.registry.register(connection(number, endpoint=place))
            self.now[number] = place
            self.possible.setdefault(number, {None}).add(place)

    async def acknowledge(self, timeout_s: float) -> None:
        """Flush; where that succeeds, everything is certain."""
        said = dict(self.now)
        if await self.registry.flush(timeout_s):
            for number, place in said.items():
                self.possible[number] = {place}

    async def die(self) -> None:
        await self.registry.close(timeout_s=0.0)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**32), commits=st.lists(st.integers(0, 60), min_size=1, max_size=4), flaky=st.booleans())
def test_a_death_between_any_two_commits_loses_nothing_acknowledged(seed: int, commits: list[int], flaky: bool) -> None:
    async def lives() -> None:
        rng = random.Random(seed)
        store = FaultyStore()
        store.operations_max = 4  # a fold takes many commits
        possible: dict[int, set[int | None]] = {}
        for commits_left in commits:
            store.commits_left, store.flaky = None, None
            life = Life(store, rng, possible)
            await life.start()
            store.commits_left, store.flaky = commits_left, (rng if flaky else None)
            folding_now: asyncio.Task[None] | None = None
            for _ in range(12):
                life.change_some()
                if rng.random() < 0.5 and (folding_now is None or folding_now.done()):
                    folding_now = asyncio.create_task(life.registry.fold())
                if store.commits_left == 0:
                    break
                await life.acknowledge(timeout_s=0.2 if rng.random() < 0.7 else 0.0)
            await life.die()
            if folding_now is not None:
                await asyncio.gather(folding_now, return_exceptions=True)
        store.commits_left, store.flaky = None, None
        last = Life(store, rng, possible)
        await last.start()
        await last.die()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(index, "SEGMENT_MAX", 16)
        patch.setattr(index, "MERGE_MAX", 8)
        patch.setattr(journal, "RETRY_S_MIN", 0.0005)
        patch.setattr(journal, "RETRY_S_MAX", 0.002)
        asyncio.run(lives())


async def test_a_fold_runs_by_itself_when_the_journal_has_grown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folding, "FOLD_BYTES_MIN", 10_000)
    registry = Registry(FaultyStore(), "chat", interval_s=0.0)
    await registry.start()
    for number in range(2000):
        registry.register(connection(number))
        if number % 50 == 0:
            await registry.flush()
    await until(lambda: registry.health().folds > 0)
    await registry.close()


async def test_a_fold_that_is_asked_for_after_the_end_writes_nothing_and_waits_for_nothing() -> None:
    store = FaultyStore()
    registry = Registry(store, "chat", interval_s=0.0)
    await registry.start()
    registry.register(connection(1))
    await registry.close()
    store.commits_left = 0  # away for good: a fold would try for ever
    async with asyncio.timeout(5.0):
        await registry.fold()
    assert registry.health().folds == 0


def test_segments_of_an_endpoint_are_under_one_prefix_in_order_of_age() -> None:
    keys = [segment_key(b"seg/", endpoint, n) for endpoint in ("[::1]:80", "a/b:80") for n in (1, 2, 1 << 40)]
    assert keys == sorted(keys)
    assert keys[0] == b"seg/[::1]:80/000000000001"
    assert keys[3] == b"seg/a%2Fb:80/000000000001"
