import contextlib
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forestay.model.connection import Connection
from forestay.model.errors import InvalidInput
from forestay.registries.records import (
    RECORD_BYTES_MAX,
    BatchEncoder,
    connection_id,
    connection_key,
    decode,
    decode_batch,
    decode_segment,
    encode_body,
    encode_segment,
)
from forestay.registries.store import Unusable
from tests.registries.connections import connection

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=50)
ipv4 = st.ip_addresses(v=4).map(str)
ipv6 = st.ip_addresses(v=6).map(str)
ports = st.integers(0, 65535)
ids = st.one_of(
    st.binary(min_size=16, max_size=16).map(bytes.hex),
    st.binary(min_size=16, max_size=16).map(lambda raw: raw.hex().upper()),
    st.text("0123456789abcdef ", min_size=32, max_size=32),
    texts.filter(bool),
)
clients = st.one_of(
    st.builds("{}:{}".format, ipv4, ports),
    st.builds("[{}]:{}".format, ipv6, ports),
    st.sampled_from(["", ":", "1.2.3.4:080", "1.2.3.4:65536", "01.2.3.4:80", "[::0]:80", "1.2.3.4:٣", "[::1%lo]:1"]),
    texts,
)
upstreams = st.none() | st.one_of(
    *(st.tuples(hosts, ports, hosts, ports) for hosts in (ipv4, ipv6, texts, ipv4 | ipv6 | texts))
)
connections = st.builds(
    Connection,
    id=ids,
    endpoint_id=texts,
    client=clients,
    opened_at=st.floats(allow_nan=False),
    upstream=upstreams,
    hint=texts,
    state=st.binary(max_size=256),
)


@given(connections)
def test_a_connection_comes_back_as_it_was(original: Connection) -> None:
    key, body = connection_key(original.id), encode_body(original)
    assert decode(key, original.endpoint_id, body) == original


@given(st.lists(ids, unique=True))
def test_different_ids_have_different_keys(some: list[str]) -> None:
    keys = [connection_key(one) for one in some]
    assert len(set(keys)) == len(some)
    assert [connection_id(key) for key in keys] == some


@given(st.lists(st.tuples(connections, st.booleans())))
def test_a_batch_comes_back_as_it_was(changes: list[tuple[Connection, bool]]) -> None:
    batch = BatchEncoder()
    expected: list[tuple[bytes, str, bytes | None]] = []
    for one, opened in changes:
        key, body = connection_key(one.id), encode_body(one)
        if opened:
            batch.open(key, one.endpoint_id, body)
            expected.append((key, one.endpoint_id, body))
        else:
            batch.close(key)
            expected.append((key, "", None))
    value = batch.finish()
    assert list(decode_batch(b"where", value)) == expected
    assert batch.size == len(value)
    assert batch.count == len(changes)


@given(texts, st.lists(connections))
def test_a_segment_comes_back_as_it_was(endpoint_id: str, some: list[Connection]) -> None:
    records = {connection_key(one.id): encode_body(one) for one in some}
    endpoint, back = decode_segment(b"where", encode_segment(endpoint_id, records))
    assert endpoint == endpoint_id
    assert list(back.items()) == list(records.items())


@given(st.binary())
def test_any_bytes_are_read_or_refused(value: bytes) -> None:
    for read in (decode_batch, decode_segment):
        with contextlib.suppress(Unusable):
            read(b"/j/17", value)


@pytest.mark.parametrize("read", [decode_batch, decode_segment])
@pytest.mark.parametrize("value", [b"", b"\x02", b"\x01\x05", b"\x01\x01\xff", b"\x01\x00\x10"])
def test_an_unreadable_value_is_refused_with_its_key_named(
    read: Callable[[bytes, bytes], object], value: bytes
) -> None:
    with pytest.raises(Unusable, match="/j/17"):
        read(b"/j/17", value)


@given(connections, st.data())
def test_a_value_that_was_cut_off_is_refused(one: Connection, data: st.DataObject) -> None:
    value = encode_segment(one.endpoint_id, {connection_key(one.id): encode_body(one)})
    shortest = 2 + len(one.endpoint_id.encode())  # an empty segment is whole
    cut = value[: data.draw(st.integers(0, len(value) - 1).filter(lambda size: size != shortest))]
    with pytest.raises(Unusable, match="where"):
        decode_segment(b"where", cut)


def test_a_relayed_ipv4_connection_takes_46_bytes_in_a_segment() -> None:
    one = connection(1)
    empty = encode_segment(one.endpoint_id, {})
    assert len(encode_segment(one.endpoint_id, {connection_key(one.id): encode_body(one)})) - len(empty) == 46


def test_the_largest_record_fits_the_room_that_batches_leave() -> None:
    text = "x" * 200
    one = Connection(text, text, text, 1.0, (text, 1, text, 1), text, bytes(256))
    batch = BatchEncoder()
    batch.open(connection_key(one.id), one.endpoint_id, encode_body(one))
    assert batch.size <= RECORD_BYTES_MAX


@pytest.mark.parametrize(
    ("field", "bad"),
    [
        ("client", Connection("a", "e", "x" * 201, 0.0)),
        ("hint", Connection("a", "e", "", 0.0, hint="x" * 201)),
        ("hint", Connection("a", "e", "", 0.0, hint="\ud800")),
        ("state", Connection("a", "e", "", 0.0, state=bytes(257))),
        ("endpoint_id", Connection("a", "e" * 201, "", 0.0)),
        ("upstream", Connection("a", "e", "", 0.0, upstream=("1.1.1.1", 65536, "1.1.1.1", 1))),
        ("upstream", Connection("a", "e", "", 0.0, upstream=("x" * 201, 1, "1.1.1.1", 1))),
    ],
)
def test_what_does_not_fit_is_refused_with_its_field_named(field: str, bad: Connection) -> None:
    with pytest.raises(InvalidInput, match=field):
        encode_body(bad)


@pytest.mark.parametrize("bad", ["", "x" * 201, "\udfff"])
def test_an_id_that_does_not_fit_is_refused(bad: str) -> None:
    with pytest.raises(InvalidInput, match="id"):
        connection_key(bad)
