"""PROXY protocol headers: v1 and v2 read, v2 written with the connection id as its unique id.

Pure: bytes in, values out. A header comes from outside, so every length is bounded and everything that is not exactly a
header is an error; whoever sends garbage must never be taken for a client of its own choosing.

Source: https://www.haproxy.org/download/3.0/doc/proxy-protocol.txt
"""

import ipaddress
import socket
import struct
from dataclasses import dataclass

from forestay.model.errors import ForestayError

SIGNATURE = b"\r\n\r\n\x00\r\nQUIT\n"
V1_PREFIX = b"PROXY "
V1_MAX = 107
"""Longest v1 line, CR and LF included (section 2.1)."""
V2_BODY_MAX = 4096
"""Addresses take up to 216 bytes; the rest are TLVs, of which certificates are the longest in use."""
HEADER_MAX = 16 + V2_BODY_MAX
UNIQUE_ID = 0x05

_IPV4 = struct.Struct("!4s4sHH")
_IPV6 = struct.Struct("!16s16sHH")


class BadHeader(ForestayError):
    """Not a PROXY header: refuse the connection."""


@dataclass(frozen=True, slots=True)
class Header:
    """A complete header.

    Attributes:
        length: bytes it takes at the start of the stream.
        source, destination: numeric address and port; None where the sender does not say (LOCAL, UNKNOWN): use the
            addresses of the connection itself.
    """

    length: int
    source: tuple[str, int] | None = None
    destination: tuple[str, int] | None = None


def parse(data: bytes) -> Header | None:
    """The header at the start of `data`.

    Returns:
        None while what is there could still become one; at `HEADER_MAX` bytes there is always an answer.

    Raises:
        BadHeader: if it cannot.
    """
    if data[:12] == SIGNATURE[: len(data)]:
        return _parse_v2(data) if len(data) >= 16 else None
    if data[:6] == V1_PREFIX[: len(data)]:
        return _parse_v1(data)
    raise BadHeader("the stream begins with neither a PROXY v1 nor a v2 signature")


def build(source: tuple[str, int], destination: tuple[str, int], unique_id: bytes) -> bytes:
    """A v2 header. LOCAL where the two addresses are not of one family; the unique id is sent either way.

    Args:
        source: numeric address and port of the client.
        destination: the same of where it connected to.
        unique_id: at most 128 bytes (section 2.2.5).
    """
    tlv = struct.pack("!BH", UNIQUE_ID, len(unique_id)) + unique_id
    for family, pack, code in ((socket.AF_INET, _IPV4, 0x11), (socket.AF_INET6, _IPV6, 0x21)):
        try:
            ends = [socket.inet_pton(family, plain(host)) for host, _ in (source, destination)]
        except OSError:
            continue
        body = pack.pack(*ends, source[1], destination[1]) + tlv
        return SIGNATURE + struct.pack("!BBH", 0x21, code, len(body)) + body
    return SIGNATURE + struct.pack("!BBH", 0x20, 0x00, len(tlv)) + tlv


def plain(host: str) -> str:
    """A numeric address without its scope, and IPv4 as such where it was mapped into IPv6."""
    return host.partition("%")[0].removeprefix("::ffff:") if "." in host else host.partition("%")[0]


def _parse_v1(data: bytes) -> Header | None:
    end = data.find(b"\r\n", 0, V1_MAX)
    if end < 0:
        if len(data) >= V1_MAX:
            raise BadHeader(f"no end of line within {V1_MAX} bytes of a PROXY v1 header")
        return None
    try:
        words = data[:end].decode("ascii").split(" ")
    except UnicodeDecodeError as error:
        raise BadHeader("a PROXY v1 header has bytes that are not ASCII") from error
    if words[1] == "UNKNOWN":
        return Header(end + 2)
    if len(words) != 6 or words[1] not in ("TCP4", "TCP6"):
        raise BadHeader("a PROXY v1 header must be: PROXY TCP4|TCP6 source destination port port")
    kind = ipaddress.IPv4Address if words[1] == "TCP4" else ipaddress.IPv6Address
    try:
        source, destination = str(kind(words[2])), str(kind(words[3]))
    except ValueError as error:
        raise BadHeader(f"a PROXY v1 header has an address that is not {words[1]}") from error
    return Header(end + 2, (source, _port(words[4])), (destination, _port(words[5])))


def _port(word: str) -> int:
    if not (word.isascii() and word.isdigit() and len(word) <= 5 and int(word) <= 65_535):
        raise BadHeader("a PROXY v1 header has a port that is not a number up to 65535")
    return int(word)


def _parse_v2(data: bytes) -> Header | None:
    version_command, family, length = struct.unpack_from("!BBH", data, 12)
    if version_command not in (0x20, 0x21):
        raise BadHeader(f"PROXY v2 version and command {version_command:#04x}: must be 0x20 (LOCAL) or 0x21 (PROXY)")
    if length > V2_BODY_MAX:
        raise BadHeader(f"a PROXY v2 header of {length} bytes: the limit is {V2_BODY_MAX}")
    if len(data) < 16 + length:
        return None
    if version_command == 0x20 or family == 0x00:
        return Header(16 + length)
    if family == 0x11:
        address_family, unpack = socket.AF_INET, _IPV4
    elif family == 0x21:
        address_family, unpack = socket.AF_INET6, _IPV6
    else:
        raise BadHeader(f"PROXY v2 address family and protocol {family:#04x}: only TCP over IPv4 and IPv6 are relayed")
    if length < unpack.size:
        raise BadHeader(f"a PROXY v2 header of {length} bytes is too short for its addresses")
    source, destination, source_port, destination_port = unpack.unpack_from(data, 16)
    return Header(
        16 + length,
        (socket.inet_ntop(address_family, source), source_port),
        (socket.inet_ntop(address_family, destination), destination_port),
    )
