"""PROXY headers from outside: what is valid is read exactly, everything else is one clear error."""

import ipaddress
import socket
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forestay.dataplanes.relay.proxy_protocol import (
    HEADER_MAX,
    SIGNATURE,
    V1_MAX,
    BadHeader,
    Header,
    build,
    parse,
    plain,
)

ports = st.integers(0, 65_535)
ipv4 = st.tuples(st.ip_addresses(v=4).map(str), ports)
ipv6 = st.tuples(st.ip_addresses(v=6).map(lambda address: socket.inet_ntop(socket.AF_INET6, address.packed)), ports)
rest = st.binary(max_size=200)


def unique_id(header: bytes) -> bytes:
    """The TLV of type 5 of a v2 header, found by an independent walk."""
    _, family, length = struct.unpack_from("!BBH", header, 12)
    at, end = 16 + {0x00: 0, 0x11: 12, 0x21: 36}[family], 16 + length
    while at < end:
        kind, size = struct.unpack_from("!BH", header, at)
        if kind == 0x05:
            return header[at + 3 : at + 3 + size]
        at += 3 + size
    raise AssertionError("no unique id")


@given(st.one_of(st.tuples(ipv4, ipv4), st.tuples(ipv6, ipv6)), st.binary(max_size=128), rest)
def test_what_is_built_is_parsed_again_to_the_byte(
    ends: tuple[tuple[str, int], tuple[str, int]], connection_id: bytes, following: bytes
) -> None:
    header = build(*ends, connection_id)
    same = [(plain(host), port) for host, port in ends]
    if len({":" in host for host, _ in same}) == 1:
        assert parse(header + following) == Header(len(header), *same)
    assert unique_id(header) == connection_id


@given(ipv4, ipv6)
def test_ends_of_two_families_are_sent_as_local_with_the_unique_id(v4: tuple[str, int], v6: tuple[str, int]) -> None:
    if "." in v6[0]:
        return  # mapped: really IPv4
    header = build(v4, v6, b"id")
    assert parse(header) == Header(len(header))
    assert unique_id(header) == b"id"


@given(st.one_of(st.tuples(ipv4, ipv4), st.tuples(ipv6, ipv6)), rest)
def test_version_1_is_read(ends: tuple[tuple[str, int], tuple[str, int]], following: bytes) -> None:
    (source, source_port), (destination, destination_port) = ends
    family = "TCP6" if ":" in source else "TCP4"
    line = f"PROXY {family} {source} {destination} {source_port} {destination_port}\r\n".encode()
    header = parse(line + following)
    assert header is not None
    assert header.length == len(line)
    assert header.source is not None
    assert (ipaddress.ip_address(header.source[0]), header.source[1]) == (ipaddress.ip_address(source), source_port)
    assert header.destination is not None
    assert header.destination[1] == destination_port


@pytest.mark.parametrize(
    "line", [b"PROXY UNKNOWN\r\n", b"PROXY UNKNOWN ffff:f...f:ffff ffff:f...f:ffff 65535 65535\r\n"]
)
def test_unknown_means_the_addresses_of_the_connection_itself(line: bytes) -> None:
    assert parse(line + b"GET /") == Header(len(line))


@given(st.one_of(st.tuples(ipv4, ipv4), st.tuples(ipv6, ipv6)), st.integers(0, 300))
def test_a_header_in_pieces_is_waited_for(ends: tuple[tuple[str, int], tuple[str, int]], cut: int) -> None:
    header = build(*ends, b"0123456789abcdef")
    if cut < len(header):
        assert parse(header[:cut]) is None


@given(st.binary(max_size=HEADER_MAX + 100))
def test_noise_is_an_error_or_unfinished_but_never_a_crash_nor_a_long_wait(data: bytes) -> None:
    try:
        header = parse(data)
    except BadHeader:
        return
    if header is None:
        assert len(data) < HEADER_MAX
    else:
        assert 0 < header.length <= len(data)


@given(st.binary(max_size=300))
def test_noise_behind_a_signature_likewise(data: bytes) -> None:
    for start in (SIGNATURE, b"PROXY ", b"PROXY TCP4 "):
        test_noise_is_an_error_or_unfinished_but_never_a_crash_nor_a_long_wait.hypothesis.inner_test(start + data)  # type: ignore[attr-defined] # hypothesis adds it


@pytest.mark.parametrize(
    "data",
    [
        b"GET / HTTP/1.1\r\n",
        b"PROXY TCP4 1.2.3.4 1.2.3.5 1\r\n",
        b"PROXY TCP4 1.2.3.4 1.2.3.5 1 2 3\r\n",
        b"PROXY TCP4 ::1 ::2 1 2\r\n",
        b"PROXY TCP6 1.2.3.4 1.2.3.5 1 2\r\n",
        b"PROXY TCP4 1.2.3.4 1.2.3.5 1 70000\r\n",
        b"PROXY TCP4 1.2.3.4 1.2.3.5 -1 2\r\n",
        b"PROXY TCP4  1.2.3.4 1.2.3.5 1 2\r\n",
        "PROXY TCP4 1.2.3.4 1.2.3.5 1 ٢\r\n".encode(),
        b"PROXY " + b"x" * V1_MAX,
        SIGNATURE + b"\x11\x11\x00\x0c" + bytes(12),  # version 1
        SIGNATURE + b"\x22\x11\x00\x0c" + bytes(12),  # a command that does not exist
        SIGNATURE + b"\x21\x31\x00\xd8" + bytes(216),  # a unix socket
        SIGNATURE + b"\x21\x12\x00\x0c" + bytes(12),  # UDP
        SIGNATURE + b"\x21\x11\x00\x0b" + bytes(11),  # too short for its addresses
        SIGNATURE + b"\x21\x11\xff\xff",  # too long
    ],
)
def test_a_header_that_is_not_one_is_refused(data: bytes) -> None:
    with pytest.raises(BadHeader):
        parse(data)
