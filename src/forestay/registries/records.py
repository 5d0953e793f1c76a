"""How connections are written: compact, versioned, the same bytes in memory, in the journal and in segments.

A connection is a *key* (from its id) and a *body* (the rest but its endpoint, which a whole segment shares). A relayed
IPv4 connection takes 16 + 27 bytes, and 3 of framing in a journal batch or a segment.
"""

import socket
import struct
from collections.abc import Iterable, Iterator, Mapping

from forestay.model.connection import Connection
from forestay.model.errors import InvalidInput
from forestay.registries.store import Unusable

VERSION = 1
TEXT_BYTES_MAX = 200
"""Longest id, endpoint id, client, hint or host name, in UTF-8: lengths fit a byte, keys stay far under any store's."""
STATE_BYTES_MAX = 256
RECORD_BYTES_MAX = 2048
"""No record with its framing is larger: six texts of 201 bytes, 16 of the key, the state, and some 50 of numbers."""

_TEXT_KEY = bytes(16)
_CLIENT_V4, _CLIENT_V6 = 1, 2
_UPSTREAM_V4, _UPSTREAM_V6, _UPSTREAM_TEXT = 4, 8, 16
_HINT, _STATE = 32, 64
_HEAD = struct.Struct("!Bd")
_PORT = struct.Struct("!H")
_FRAME = struct.Struct("!BH")
_OPEN, _CLOSE = 0, 1


def connection_key(connection_id: str) -> bytes:
    """Key of a connection id: the 16 bytes that 32 hexadecimal digits stand for, else the text behind 16 zero bytes.

    Raises:
        InvalidInput: empty or too long.
    """
    if len(connection_id) == 32:
        try:
            key = bytes.fromhex(connection_id)
        except ValueError:
            pass  # 32 characters of text
        else:
            if key.hex() == connection_id:  # not so with capitals or spaces, which must come back as they were
                return key
    if not connection_id:
        raise InvalidInput("id = '': give the connection a non-empty id")
    return _TEXT_KEY + _utf8("id", connection_id)


def connection_id(key: bytes) -> str:
    """The id that `key` was made of."""
    return key.hex() if len(key) == 16 else key[16:].decode()


def encode_body(connection: Connection) -> bytes:
    """Everything of `connection` but its id and endpoint.

    Raises:
        InvalidInput: a text, the state or a port does not fit; the message names the field.
    """
    _utf8("endpoint_id", connection.endpoint_id)
    flags = 0
    client, client_flag = _encode_client(connection.client)
    upstream = b""
    if connection.upstream is not None:
        upstream, upstream_flag = _encode_upstream(connection.upstream)
        flags |= upstream_flag
    hint = state = b""
    if connection.hint:
        flags |= _HINT
        hint = _sized(_utf8("hint", connection.hint))
    if connection.state:
        if len(connection.state) > STATE_BYTES_MAX:
            raise InvalidInput(f"state of {len(connection.state)} bytes: at most {STATE_BYTES_MAX}")
        flags |= _STATE
        state = connection.state
    return b"".join((_HEAD.pack(flags | client_flag, connection.opened_at), client, upstream, hint, state))


def decode(key: bytes, endpoint_id: str, body: bytes) -> Connection:
    """The connection that was encoded."""
    flags, opened_at = _HEAD.unpack_from(body)
    at = _HEAD.size
    if flags & _CLIENT_V4:
        client = f"{socket.inet_ntop(socket.AF_INET, body[at : at + 4])}:{_PORT.unpack_from(body, at + 4)[0]}"
        at += 6
    elif flags & _CLIENT_V6:
        client = f"[{socket.inet_ntop(socket.AF_INET6, body[at : at + 16])}]:{_PORT.unpack_from(body, at + 16)[0]}"
        at += 18
    else:
        client, at = _text(body, at)
    upstream = None
    if flags & (_UPSTREAM_V4 | _UPSTREAM_V6 | _UPSTREAM_TEXT):
        ends: list[tuple[str, int]] = []
        for _ in range(2):
            if flags & _UPSTREAM_TEXT:
                host, at = _text(body, at)
            elif flags & _UPSTREAM_V4:
                host, at = socket.inet_ntop(socket.AF_INET, body[at : at + 4]), at + 4
            else:
                host, at = socket.inet_ntop(socket.AF_INET6, body[at : at + 16]), at + 16
            ends.append((host, _PORT.unpack_from(body, at)[0]))
            at += 2
        upstream = (*ends[0], *ends[1])
    hint = ""
    if flags & _HINT:
        hint, at = _text(body, at)
    state = body[at:] if flags & _STATE else b""
    return Connection(connection_id(key), endpoint_id, client, opened_at, upstream, hint, state)


def encode_segment(endpoint_id: str, records: Mapping[bytes, bytes]) -> bytes:
    """Connections of one endpoint, `records`: body by key, in order."""
    parts = [bytes([VERSION]), _sized(endpoint_id.encode())]
    for key, body in records.items():
        parts += (_FRAME.pack(len(key), len(body)), key, body)
    return b"".join(parts)


def decode_segment(where: bytes, value: bytes) -> tuple[str, dict[bytes, bytes]]:
    """Endpoint id and body by key, as encoded.

    Raises:
        Unusable: not such a value; `where`, its key, is in the message.
    """
    try:
        _check_version(where, value)
        endpoint_id, at = _text(value, 1)
        return endpoint_id, dict(_frames(value, at))
    except (IndexError, ValueError, struct.error) as error:
        raise Unusable(_damaged(where, error)) from error


class BatchEncoder:
    """Builds one journal batch: records in order, each endpoint named once.

    Attributes:
        size: bytes so far.
        count: records so far.
    """

    def __init__(self) -> None:
        self._parts = [bytes([VERSION])]
        self._endpoints: dict[str, int] = {}
        self.size = 1
        self.count = 0

    def open(self, key: bytes, endpoint_id: str, body: bytes) -> None:
        """The connection is on the endpoint, wherever it was before."""
        number = self._endpoints.get(endpoint_id)
        if number is None:
            number = self._endpoints[endpoint_id] = len(self._endpoints)
            named = _sized(endpoint_id.encode())
        else:
            named = b""
        # The first record of an endpoint carries its name: the reader numbers them as it meets them.
        self._add(bytes([_OPEN]) + _PORT.pack(number) + named + _FRAME.pack(len(key), len(body)) + key + body)

    def close(self, key: bytes) -> None:
        """The connection is gone."""
        self._add(bytes([_CLOSE, len(key)]) + key)

    def finish(self) -> bytes:
        """The batch."""
        return b"".join(self._parts)

    def _add(self, record: bytes) -> None:
        self._parts.append(record)
        self.size += len(record)
        self.count += 1


def decode_batch(where: bytes, value: bytes) -> Iterable[tuple[bytes, str, bytes | None]]:
    """Records of a journal batch in order: key, endpoint id and body; closed: "" and None.

    Raises:
        Unusable: not such a value; `where`, its key, is in the message.
    """
    try:
        _check_version(where, value)
        return list(_records(value))
    except (IndexError, ValueError, struct.error) as error:
        raise Unusable(_damaged(where, error)) from error


def _records(value: bytes) -> Iterator[tuple[bytes, str, bytes | None]]:
    endpoints: list[str] = []
    at = 1
    while at < len(value):
        kind = value[at]
        at += 1
        if kind == _CLOSE:
            key, at = _take(value, at + 1, value[at])
            yield key, "", None
            continue
        if kind != _OPEN:
            raise ValueError(f"record of kind {kind}")
        (number,) = _PORT.unpack_from(value, at)
        at += _PORT.size
        if number == len(endpoints):
            endpoint_id, at = _text(value, at)
            endpoints.append(endpoint_id)
        key_size, body_size = _FRAME.unpack_from(value, at)
        key, at = _take(value, at + _FRAME.size, key_size)
        body, at = _take(value, at, body_size)
        yield key, endpoints[number], body


def _frames(value: bytes, at: int) -> Iterator[tuple[bytes, bytes]]:
    while at < len(value):
        key_size, body_size = _FRAME.unpack_from(value, at)
        key, at = _take(value, at + _FRAME.size, key_size)
        body, at = _take(value, at, body_size)
        yield key, body


def _encode_client(client: str) -> tuple[bytes, int]:
    host, _, port = client.rpartition(":")
    if port.isdecimal() and port.isascii() and str(int(port)) == port and int(port) <= 0xFFFF:
        packed = _packed(socket.AF_INET, host)
        if packed is not None:
            return packed + _PORT.pack(int(port)), _CLIENT_V4
        if host.startswith("[") and host.endswith("]"):
            packed = _packed(socket.AF_INET6, host[1:-1])
            if packed is not None:
                return packed + _PORT.pack(int(port)), _CLIENT_V6
    return _sized(_utf8("client", client)), 0


def _encode_upstream(upstream: tuple[str, int, str, int]) -> tuple[bytes, int]:
    source, source_port, destination, destination_port = upstream
    try:
        ports = _PORT.pack(source_port), _PORT.pack(destination_port)
    except struct.error:
        raise InvalidInput(f"upstream = {upstream}: ports are integers from 0 to 65535") from None
    for family, flag in ((socket.AF_INET, _UPSTREAM_V4), (socket.AF_INET6, _UPSTREAM_V6)):
        first, second = _packed(family, source), _packed(family, destination)
        if first is not None and second is not None:
            return first + ports[0] + second + ports[1], flag
    hosts = _sized(_utf8("upstream", source)), _sized(_utf8("upstream", destination))
    return hosts[0] + ports[0] + hosts[1] + ports[1], _UPSTREAM_TEXT


def _packed(family: socket.AddressFamily, host: str) -> bytes | None:
    """The address in binary, where that gives back the same text ("::0" would come back as "::")."""
    try:
        packed = socket.inet_pton(family, host)
    except (OSError, ValueError):  # ValueError: a NUL character
        return None
    return packed if socket.inet_ntop(family, packed) == host else None


def _utf8(name: str, text: str) -> bytes:
    try:
        data = text.encode()
    except UnicodeEncodeError:
        raise InvalidInput(f"{name} = {text!r}: not valid text, remove the lone surrogates") from None
    if len(data) > TEXT_BYTES_MAX:
        raise InvalidInput(f"{name} of {len(data)} bytes: at most {TEXT_BYTES_MAX}")
    return data


def _sized(data: bytes) -> bytes:
    return bytes([len(data)]) + data


def _text(value: bytes, at: int) -> tuple[str, int]:
    data, at = _take(value, at + 1, value[at])
    return data.decode(), at


def _take(value: bytes, at: int, size: int) -> tuple[bytes, int]:
    if at + size > len(value):
        raise ValueError("ends too early")
    return value[at : at + size], at + size


def _check_version(where: bytes, value: bytes) -> None:
    if value[0] != VERSION:
        raise Unusable(f"{where!r} has format {value[0]}, this forestay reads {VERSION}: run the version that wrote it")


def _damaged(where: bytes, error: Exception) -> str:
    return f"{where!r} is not readable ({error}): delete this key, relays that still run report its connections anew"
