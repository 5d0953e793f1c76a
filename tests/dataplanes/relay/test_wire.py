"""Small parts: frames, the ledger, specs, endpoint ids."""

import asyncio
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from forestay.dataplanes.relay.addresses import Addresses, split
from forestay.dataplanes.relay.frames import FRAME_MAX, HEAD, BadFrame, FrameReader, Kind, encode
from forestay.dataplanes.relay.ledger import Ledger
from forestay.dataplanes.relay.listener import ListenerSpec
from forestay.dataplanes.relay.shared_table import Target
from forestay.dataplanes.relay.worker import ConnectionIds
from forestay.model.errors import InvalidInput
from tests.dataplanes.relay.world import spec

frames = st.lists(st.tuples(st.sampled_from(Kind), st.binary(max_size=100)))


@given(frames, st.integers(1, 50))
def test_frames_arrive_whole_however_the_stream_is_cut(sent: list[tuple[Kind, bytes]], size: int) -> None:
    stream = b"".join(encode(kind, payload) for kind, payload in sent)
    reader = FrameReader()
    got = [frame for at in range(0, len(stream), size) for frame in reader.feed(stream[at : at + size])]
    assert got == sent


def test_an_absurd_length_is_refused() -> None:
    with pytest.raises(BadFrame):
        list(FrameReader().feed(HEAD.pack(FRAME_MAX + 1, 1)))


def test_a_frame_whose_receiver_raised_is_not_delivered_again() -> None:
    reader = FrameReader()
    stream = reader.feed(encode(Kind.HELLO, b"1") + encode(Kind.HELLO, b"2"))
    assert next(stream) == (Kind.HELLO, b"1")
    stream.close()  # as when the loop body raises
    assert list(reader.feed(b"")) == [(Kind.HELLO, b"2")]


def test_the_base_is_what_was_delivered_at_the_last_plan() -> None:
    ledger = Ledger(4)
    ledger.deliver(1, 2)
    ledger.plan()
    ledger.deliver(1, 2)  # after the plan: still pending in its eyes
    ledger.deliver(2, 0)
    assert ledger.base((0, 1, 2), 3).tolist() == [0, 0, 1]
    ledger.plan()
    assert ledger.base((0, 1, 2), 3).tolist() == [1, 0, 2]
    assert ledger.base((0, 1), 3).tolist() == [0, 0, 2]


def test_a_picker_that_joins_between_plans_has_nothing_pending() -> None:
    ledger = Ledger(4)
    ledger.plan()
    ledger.reset(3, np.array([5, 0, 7, 0]))  # what earlier owners of the column placed
    assert ledger.base((0, 3), 4).tolist() == [0, 0, 0, 0]
    ledger.join(3)
    assert ledger.base((0, 3), 4).tolist() == [5, 0, 7, 0]


def test_a_wider_ledger_keeps_its_counts() -> None:
    ledger = Ledger(2)
    ledger.deliver(1, 1)
    ledger.widen(5)
    ledger.deliver(1, 4)
    ledger.plan()
    assert ledger.base((1,), 5).tolist() == [0, 1, 0, 0, 1]


def test_a_spec_survives_its_command_line() -> None:
    listener = spec(protocol="http", connections_max=7, proxy_in=True)
    assert ListenerSpec.from_json(listener.to_json()) == listener


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"port": 70_000}, "port = 70000"),
        ({"protocol": "udp"}, "protocol = 'udp': must be one of tcp, http"),
        ({"policy": "best"}, "policy"),
        ({"name": "a/b"}, "name = 'a/b'"),
        ({"workers": 0}, "workers = 0"),
        ({"queue_deadline_s": float("nan")}, "queue_deadline_s"),
        ({"connections_max": 0}, "connections_max"),
    ],
)
def test_a_bad_spec_is_named(changes: dict[str, object], says: str) -> None:
    with pytest.raises(InvalidInput, match=says):
        spec(**changes)


@pytest.mark.parametrize("text", ["", "[]", "{", json.dumps({"colour": "red"})])
def test_a_line_that_is_no_spec_is_refused(text: str) -> None:
    with pytest.raises(InvalidInput):
        ListenerSpec.from_json(text)


@pytest.mark.parametrize(
    ("endpoint_id", "parts"),
    [
        ("10.0.0.1:80", ("10.0.0.1", 80)),
        ("[::1]:80", ("::1", 80)),
        ("db.internal:5432", ("db.internal", 5432)),
        ("10.0.0.1", None),
        ("10.0.0.1:0", None),
        ("10.0.0.1:http", None),
        (":80", None),
        ("10.0.0.1:65536", None),
    ],
)
def test_endpoint_ids_are_split(endpoint_id: str, parts: tuple[str, int] | None) -> None:
    assert split(endpoint_id) == parts


async def test_names_are_resolved_in_the_background_and_addresses_at_once() -> None:
    addresses = Addresses()
    assert addresses.lookup("[::1]:80", 0.0) == Target("[::1]:80", "::1", 80)
    assert addresses.lookup("nonsense", 0.0) is None
    assert addresses.lookup("localhost:80", 0.0) is None
    assert await addresses.refresh(0.0)
    target = addresses.lookup("localhost:80", 0.0)
    assert target is not None
    assert target.host in ("127.0.0.1", "::1")
    assert not await addresses.refresh(0.0)


async def test_a_name_that_does_not_resolve_is_tried_again_later() -> None:
    addresses = Addresses()
    assert addresses.lookup("does-not-exist.invalid:80", 0.0) is None
    async with asyncio.timeout(20):
        assert not await addresses.refresh(0.0)
    assert addresses.lookup("does-not-exist.invalid:80", 0.0) is None


def test_connection_ids_are_unique_ordered_by_time_and_name_their_picker() -> None:
    ids = ConnectionIds(0x0102, 1_700_000_000.0)
    first, second = ids.next(), ids.next()
    ids.advance(1_700_000_000.001)
    third = ids.next()
    assert first[:12] == second[:12] < third[:12]
    assert len({first, second, third}) == 3
    assert {len(i) for i in (first, second, third)} == {32}
    assert {i[12:16] for i in (first, second, third)} == {"0102"}
