"""One worker's picks: by the table, by the fallbacks, and beside other pickers."""

from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from forestay.dataplanes.relay.listener import Policy
from forestay.dataplanes.relay.picker import PENALTY_MAX_S, PENALTY_S, STALE_AFTER_S, Picker
from forestay.dataplanes.relay.shared_table import SharedTable, Target, encode_targets
from forestay.model.plan import Table
from tests.dataplanes.relay.world import HORIZONS, table_of

ME, OTHER = 1, 2
IDS = ["a:1", "b:1", "c:1"]


class World:
    """A table, and time."""

    def __init__(self, directory: Path) -> None:
        self.shared = SharedTable.create(directory / "chat.table.1", capacity=8, horizons=HORIZONS)
        self.version = 0

    def publish(self, table: Table, base: list[int] | None = None, at_s: float = 0.0) -> None:
        targets = tuple(Target(i, "192.0.2.1", 80) if i else None for i in table.endpoint_ids)
        names = encode_targets(targets, table.zones)
        self.version += 1
        counts = np.array(base or [0] * len(targets), np.int64)
        if not self.shared.fits(table, names):
            new = self.shared.succeed(table, names)
            new.publish(table, counts, names, self.version, at_s, (0, ME, OTHER))
            self.shared.retire(new)
            self.shared = new
            return
        self.shared.publish(table, counts, names, self.version, at_s, (0, ME, OTHER))

    def picker(self, policy: Policy = "forecast", column: int = ME, zone: str = "") -> Picker:
        return Picker(self.shared, column, policy, seed=column, zone=zone, zone_factor=2.0)


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def test_before_the_first_table_nobody_is_picked(world: World) -> None:
    assert world.picker().pick(0.0) == -1


def test_the_cheapest_is_picked_until_its_placements_make_it_dear(world: World) -> None:
    world.publish(table_of(IDS, prices=[1.0, 3.0, 1000.0], growth=2.0))
    picker = world.picker()
    assert [picker.pick(0.0) for _ in range(4)] == [0, 0, 1, 0]
    assert list(picker.placed[:3]) == [3, 1, 0]


def test_a_picker_in_a_zone_looks_near_first_and_passes_on_what_is_too_much(world: World) -> None:
    table = table_of(
        IDS, prices=[10.0**2, 15.0**2, 19.0**2], growth=1.21
    )  # prices are squared: one placement costs a tenth
    world.publish(replace(table, zones=("us", "eu/1", "eu/2")))
    near, everywhere = world.picker(zone="eu/2"), world.picker(column=OTHER, zone="asia")
    assert near.pick(0.0) == 2
    assert near.pick(0.0) == 1, "dearer than twice the cheapest by now: the zone around it"
    assert near.pick(0.0, exclude={1}) == 0, "and then the world"
    assert everywhere.pick(0.0) == 0
    assert list(near.placed[:3]) == [1, 1, 1]


def test_placements_of_another_picker_count_at_once(world: World) -> None:
    world.publish(table_of(IDS, prices=[1.0, 3.0, 1000.0], growth=2.0))
    one, other = world.picker(), world.picker(column=OTHER)
    assert [one.pick(0.0), other.pick(0.0), other.pick(0.0), one.pick(0.0)] == [0, 0, 1, 0]


def test_placements_that_the_table_knows_are_not_counted_twice(world: World) -> None:
    world.publish(table_of(IDS, slots=[2, 0, 0]))
    picker = world.picker()
    assert [picker.pick(0.0) for _ in range(3)] == [0, 0, -1]
    world.publish(table_of(IDS, slots=[2, 0, 0]), base=[1, 0, 0])  # the outcome of the other is yet unknown
    assert [picker.pick(0.0) for _ in range(2)] == [0, -1]


def test_the_excluded_are_left_out(world: World) -> None:
    world.publish(table_of(IDS, prices=[1.0, 2.0, 3.0]))
    picker = world.picker()
    assert picker.pick(0.0, (0,)) == 1
    assert picker.pick(0.0, (0, 1)) == 2
    assert picker.pick(0.0, (0, 1, 2)) == -1
    assert picker.pick(0.0) == 0


def test_what_a_table_has_used_up_opens_with_the_next(world: World) -> None:
    world.publish(table_of(IDS, slots=0), at_s=0.0)
    picker = world.picker()
    assert picker.pick(0.0) == picker.pick(0.0) == -1
    world.publish(table_of(IDS, slots=0, paced=[0, 1, 0]), at_s=1.0)
    assert [picker.pick(1.0) for _ in range(2)] == [1, -1]


def test_shed_is_the_tables_word(world: World) -> None:
    world.publish(table_of(IDS, slots=0, shed=True))
    picker = world.picker()
    assert picker.pick(0.0) == -1
    assert picker.shed


def test_a_failed_endpoint_is_left_out_for_longer_and_longer(world: World) -> None:
    world.publish(table_of(IDS, prices=[1.0, 1e6, 1e6]), at_s=100.0)
    picker = world.picker()
    assert picker.pick(0.0) == 0
    picker.penalise("a:1", 0.0)
    picker.penalise("a:1", 0.1)  # another one of the same moment
    assert picker.pick(0.2) != 0
    assert picker.pick(0.1 + PENALTY_S) == 0
    picker.penalise("a:1", 2.0)
    assert picker.pick(2.0 + 1.9 * PENALTY_S) != 0
    assert picker.pick(2.0 + 2 * PENALTY_S) == 0
    picker.absolve("a:1")
    assert picker.pick(2.1) == 0


def test_penalties_are_bounded_and_forgotten(world: World) -> None:
    world.publish(table_of(IDS, prices=[1.0, 1e6, 1e6]), at_s=1000.0)
    picker = world.picker()
    now_s = 0.0
    for _ in range(10):
        picker.penalise("a:1", now_s)
        now_s += PENALTY_MAX_S
    assert picker.pick(now_s - 0.1) != 0
    assert picker.pick(now_s + 0.1) == 0
    now_s += 3 * PENALTY_MAX_S
    assert picker.pick(now_s) == 0
    picker.penalise("a:1", now_s)
    assert picker.pick(now_s + PENALTY_S) == 0  # the first again


def test_an_endpoint_that_failed_is_better_than_none(world: World) -> None:
    world.publish(table_of(["a:1"]))
    picker = world.picker()
    picker.refresh()
    picker.penalise("a:1", 0.0)
    assert picker.pick(0.1) == 0
    assert picker.penalty_picks == 1


def test_a_stale_table_turns_to_least_connections_over_what_was_eligible(world: World) -> None:
    world.publish(table_of(IDS, slots=[1, 0, 1], prices=[1.0, 1.0, 1e9]), at_s=0.0)
    picker, other = world.picker(), world.picker(column=OTHER)
    later_s = STALE_AFTER_S + 0.1
    other.refresh()
    for _ in range(5):
        other.hold("a:1")
    placed = Counter[int]()
    for _ in range(9):
        slot = picker.pick(later_s)
        picker.hold(IDS[slot])
        placed[slot] += 1
    assert placed == {0: 2, 2: 7}  # both are at 7 now, wherever the price was and whatever the slots were
    assert picker.is_stale(later_s)
    assert picker.stale_picks == 9


def test_a_stale_table_without_anybody_eligible_fails_open(world: World) -> None:
    world.publish(table_of(["a:1", ""], slots=0), at_s=0.0)
    assert world.picker().pick(STALE_AFTER_S + 0.1) == 0


def test_least_connections_counts_what_all_hold(world: World) -> None:
    world.publish(table_of(IDS))
    one, other = world.picker("least_connections"), world.picker("least_connections", OTHER)
    for _ in range(30):
        for picker in (one, other):
            picker.hold(IDS[picker.pick(0.0)])
    held = [one._table.held[ME][slot] + one._table.held[OTHER][slot] for slot in range(3)]
    assert held == [20, 20, 20]
    one.release("a:1")
    assert other.pick(0.0) == 0


def test_random_reaches_every_eligible_endpoint(world: World) -> None:
    world.publish(table_of(IDS, slots=[1, 0, 1]))
    picker = world.picker("random")
    placed = Counter(picker.pick(0.0) for _ in range(200))
    assert placed[1] == 0
    assert min(placed[0], placed[2]) > 50
    assert picker.pick(0.0, (0, 2)) == -1


def test_held_connections_follow_their_endpoint_to_another_slot(world: World) -> None:
    world.publish(table_of(["a:1", "b:1"]))
    picker = world.picker()
    picker.refresh()
    for endpoint_id in ("a:1", "a:1", "b:1"):
        picker.hold(endpoint_id)
    world.publish(table_of(["b:1", "c:1", "a:1"]))
    picker.refresh()
    assert list(world.shared.held[ME][:3]) == [1, 0, 2]
    picker.release("a:1")
    world.publish(table_of(["b:1"]))
    picker.refresh()
    picker.release("a:1")  # an endpoint that is gone, with its last connection
    assert list(world.shared.held[ME][:3]) == [1, 0, 0]


def test_a_picker_moves_to_the_next_generation_with_its_counts(world: World) -> None:
    world.publish(table_of(IDS, prices=[1.0, 1e6, 1e6]))
    picker = world.picker()
    picker.pick(0.0)
    picker.hold("a:1")
    old = world.shared
    many = [f"a:{i}" for i in range(1, 101)]
    world.publish(table_of(many, slots=[2] + [0] * 99), base=[0] * 100)
    assert world.shared is not old
    old.placed[ME][0] += 1  # it had not looked yet when the counters were copied
    more = [f"a:{i}" for i in range(1, 301)]
    world.publish(table_of(more, slots=[2] + [0] * 299), base=[0] * 300)  # and misses a generation
    assert picker.pick(0.0) == -1
    assert world.shared.placed[ME][0] == 2
    assert world.shared.held[ME][0] == 1
