"""The table in shared memory: what is read was published, whole."""

import multiprocessing
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from forestay.dataplanes.relay.shared_table import (
    COLUMNS,
    SharedTable,
    TableUnusable,
    Target,
    decode_targets,
    encode_targets,
)
from forestay.model.plan import Table
from tests.dataplanes.relay.world import HORIZONS, table_of

ENDPOINTS = 300


def targets_of(table: Table) -> tuple[Target | None, ...]:
    return tuple(Target(i, "192.0.2.1", 80) if i else None for i in table.endpoint_ids)


def publish(shared: SharedTable, table: Table, version: int = 1, at_s: float = 1.0) -> None:
    base = np.arange(len(table.endpoint_ids), dtype=np.int64)
    shared.publish(table, base, encode_targets(targets_of(table)), version, at_s, (0, 5, COLUMNS - 1))


def test_a_reader_finds_what_was_published(tmp_path: Path) -> None:
    shared = SharedTable.create(tmp_path / "t.1", capacity=8, horizons=HORIZONS)
    reader = SharedTable.open(tmp_path / "t.1")
    assert reader.read() is None
    table = table_of(["a:1", "", "b:2"], slots=[1, 0, 3], paced=[4, 0, 6], shed=True, prices=[1, 2, 3], growth=1.5)
    publish(shared, table, at_s=12.5)
    snapshot = reader.read()
    assert snapshot is not None
    assert (snapshot.epoch, snapshot.names_version, snapshot.published_at_s) == (1, 1, 12.5)
    assert snapshot.active == (0, 5, COLUMNS - 1)
    assert snapshot.targets == targets_of(table)
    assert snapshot.base.tolist() == [0, 1, 2]
    for name in ("price", "factor", "weight", "level", "slots", "paced"):
        np.testing.assert_array_equal(getattr(snapshot.table, name), getattr(table, name))
    assert snapshot.table.endpoint_ids == table.endpoint_ids
    assert snapshot.table.shed


def test_a_table_of_no_endpoints_is_a_table(tmp_path: Path) -> None:
    shared = SharedTable.create(tmp_path / "t.1", capacity=8, horizons=HORIZONS)
    publish(shared, table_of([]))
    snapshot = shared.read()
    assert snapshot is not None
    assert snapshot.targets == ()


def test_a_half_written_table_is_never_taken_for_a_whole_one(tmp_path: Path) -> None:
    shared = SharedTable.create(tmp_path / "t.1", capacity=8, horizons=HORIZONS)
    for _ in range(2):
        publish(shared, table_of(["a:1"]))
    half = shared._halves[0]  # the current one: epoch 2
    half.meta[0] += 1  # as if the writer had come round to it again
    assert shared.read() is None
    half.meta[0] += 1
    assert shared.read() is not None
    half.price[0, 1] = 7.0  # as if its stores had overtaken the sequence count
    assert shared.read() is None


def test_a_writer_that_died_in_the_middle_leaves_the_current_table_intact_and_its_successor_goes_on(
    tmp_path: Path,
) -> None:
    shared = SharedTable.create(tmp_path / "t.1", capacity=8, horizons=HORIZONS)
    publish(shared, table_of(["a:1"]))
    other = shared._halves[0]
    other.meta[0] |= 1
    other.price[:] = np.nan
    snapshot = shared.read()
    assert snapshot is not None
    assert snapshot.epoch == 1
    reopened = SharedTable.open(tmp_path / "t.1")
    publish(reopened, table_of(["b:1"]))
    snapshot = shared.read()
    assert snapshot is not None
    assert snapshot.table.endpoint_ids == ("b:1",)


def write_for(path: Path, seconds: float) -> None:
    """Publish as fast as possible tables that are the same number everywhere."""
    shared = SharedTable.open(path)
    names = encode_targets((Target("a:1", "192.0.2.1", 80),) * ENDPOINTS)
    stop_s, number = time.monotonic() + seconds, 0
    while time.monotonic() < stop_s:
        number += 1
        table = table_of(["a:1"] * ENDPOINTS, slots=number, prices=[float(number)] * ENDPOINTS)
        shared.publish(table, np.full(ENDPOINTS, number), names, 1, float(number), (0,))


@pytest.mark.process
def test_reads_that_race_with_a_frantic_writer_are_whole_or_recognised_as_torn(tmp_path: Path) -> None:
    path = tmp_path / "t.1"
    shared = SharedTable.create(path, capacity=ENDPOINTS, horizons=HORIZONS)
    writer = multiprocessing.get_context("spawn").Process(target=write_for, args=(path, 1.5))
    writer.start()
    whole = torn = 0
    while writer.is_alive():
        snapshot = shared.read()
        if snapshot is None:
            torn += bool(whole)
            continue
        whole += 1
        number = snapshot.table.slots[0]
        assert (snapshot.table.price == number).all()
        assert (snapshot.table.slots == number).all()
        assert (snapshot.base == number).all()
        assert snapshot.published_at_s == number
    writer.join()
    assert whole > 100
    assert writer.exitcode == 0


def test_the_next_generation_has_more_room_and_all_counts(tmp_path: Path) -> None:
    shared = SharedTable.create(tmp_path / "t.1", capacity=2, horizons=HORIZONS)
    publish(shared, table_of(["a:1"]))
    shared.placed[3][1], shared.held[4][0] = 7, 8
    shared.owners[3], shared.incarnations[3] = 123, 2
    big = table_of([f"a:{i}" for i in range(1, 6)])
    names = encode_targets(targets_of(big))
    assert not shared.fits(big, names)
    new = shared.succeed(big, names)
    publish(new, big)
    shared.retire(new)
    assert shared.successor == tmp_path / "t.2" == new.path
    assert not (tmp_path / "t.1").exists()
    assert (new.placed[3][1], new.held[4][0], new.owners[3], new.incarnations[3]) == (7, 8, 123, 2)
    assert shared.read() is not None  # whoever has not moved yet still sees its last table
    snapshot = new.read()
    assert snapshot is not None
    assert len(snapshot.targets) == 5


def test_other_horizons_and_longer_names_do_not_fit(tmp_path: Path) -> None:
    shared = SharedTable.create(tmp_path / "t.1", capacity=4, horizons=HORIZONS + 1, name_bytes=16)
    table = table_of(["a:1"])
    assert not shared.fits(table, b"")
    shared = SharedTable.create(tmp_path / "t.2", capacity=4, horizons=HORIZONS, name_bytes=16)
    assert not shared.fits(table, b"x" * 17)
    new = shared.succeed(table, b"x" * 1000)
    assert new.fits(table, b"x" * 1000)


@pytest.mark.parametrize("content", [b"", b"x" * 5000])
def test_a_file_that_is_no_table_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "t.1").write_bytes(content)
    with pytest.raises(TableUnusable):
        SharedTable.open(tmp_path / "t.1")


def test_a_truncated_table_is_refused(tmp_path: Path) -> None:
    SharedTable.create(tmp_path / "t.1", capacity=4, horizons=HORIZONS)
    with (tmp_path / "t.1").open("r+b") as file:
        file.truncate(1000)
    with pytest.raises(TableUnusable):
        SharedTable.open(tmp_path / "t.1")


def test_the_file_is_its_owners_only_and_sparse(tmp_path: Path) -> None:
    SharedTable.create(tmp_path / "t.1")
    status = (tmp_path / "t.1").stat()
    assert status.st_mode & 0o777 == 0o600
    assert status.st_blocks * 512 < 100_000 < status.st_size


names = st.text(st.characters(codec="utf-8", exclude_characters="\t\n\r"), min_size=1, max_size=50)


@given(st.lists(st.one_of(st.none(), st.builds(Target, names, names, st.integers(1, 65_535))), min_size=1))
def test_targets_survive_encoding(targets: list[Target | None]) -> None:
    assert decode_targets(encode_targets(tuple(targets))) == tuple(targets)
    zones = tuple(f"z/{slot}" for slot in range(len(targets)))
    zoned = [target and replace(target, zone=zone) for target, zone in zip(targets, zones, strict=True)]
    assert decode_targets(encode_targets(tuple(targets), zones)) == tuple(zoned)
