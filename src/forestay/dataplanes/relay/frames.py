"""The wire between workers and the control process: length, kind, payload, over a unix socket.

Both ends belong to one user on one machine (the socket is 0600 and the peer's uid is checked), so journal batches are
`marshal`: a third of the cost of JSON, and only understood where both ends have the same `WIRE`. What all versions must
understand, to hand over to each other, is JSON: HELLO and DRAIN.
"""

import functools
import hashlib
import json
import struct
import sys
from collections.abc import Generator
from dataclasses import asdict, dataclass
from enum import IntEnum
from pathlib import Path
from typing import Final, Self, TypeAlias

from forestay.model.errors import ForestayError

WIRE = f"1-{sys.version_info.major}.{sys.version_info.minor}"
"""Version of frames and records, with that of `marshal`; raise it with the layout of either. A control process takes
over the connections of workers that run other code, but cannot read those of another wire."""

HEAD = struct.Struct("<IB")
FRAME_MAX = 64 << 20


class Kind(IntEnum):
    """Kinds of frames; the first group goes to the control process."""

    HELLO = 1  # JSON: see `Hello`; the listening socket travels with it
    RESOLVED = 2  # int64 by slot: picks that this resync covers
    LIVE = 3  # marshal: OPENED records of live connections, a part of the resync
    RESYNCED = 4  # the resync is complete
    JOURNAL = 5  # marshal: list of records
    COUNTERS = 6  # marshal: numbers by name
    DRAIN = 64  # JSON: see `Drain`


class Record:
    """First item of a journal record. Every pick ends in exactly one OPENED, FAILED or ABORTED.

    Plain numbers, which `marshal` knows.
    """

    OPENED: Final = 1  # id, slot, endpoint id, client (host, port), upstream 4-tuple, Unix time, monotonic time
    FAILED: Final = 2  # id, slot, endpoint id, monotonic time
    ABORTED: Final = 3  # slot
    CLOSED: Final = 4  # id, monotonic time


Opened: TypeAlias = tuple[int, str, int, str, tuple[str, int], tuple[str, int, str, int], float, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Hello:
    """How a worker introduces itself. Fields are added and never removed or changed: any two versions understand it.

    Attributes:
        column: its column in the shared table.
        name: of its listener.
        address: host and port that the listener was told to listen on.
        spec: `ListenerSpec.to_json`, as the worker's version writes it.
        version: its `code_version`.
        wire: its `WIRE`.
        draining: it does not accept any more.
    """

    column: int
    name: str
    address: tuple[str, int]
    spec: str
    version: str
    wire: str
    draining: bool

    def encode(self) -> bytes:
        """The frame."""
        return encode(Kind.HELLO, json.dumps(asdict(self)).encode())

    @classmethod
    def decode(cls, payload: bytes) -> Self:
        """Read one of any version.

        Raises:
            BadFrame: if something is missing.
        """
        try:
            values = json.loads(payload)
            host, port = values["address"]
            return cls(
                column=int(values["column"]),
                name=str(values["name"]),
                address=(str(host), int(port)),
                spec=str(values["spec"]),
                version=str(values["version"]),
                wire=str(values["wire"]),
                draining=bool(values["draining"]),
            )
        except (ValueError, KeyError, TypeError) as error:
            raise BadFrame(f"HELLO is incomplete: {error!r}") from error


@dataclass(frozen=True, slots=True)
class Drain:
    """The control process tells a worker to stop accepting. Like `Hello`, understood by any version.

    Attributes:
        drain_s: how long open connections may go on.
        accept_rest: take what waits in the listening socket first; no successor will.
    """

    drain_s: float
    accept_rest: bool

    def encode(self) -> bytes:
        """The frame."""
        return encode(Kind.DRAIN, json.dumps(asdict(self)).encode())

    @classmethod
    def decode(cls, payload: bytes) -> Self:
        """Read one of any version.

        Raises:
            BadFrame: if something is missing.
        """
        try:
            values = json.loads(payload)
            return cls(float(values["drain_s"]), bool(values["accept_rest"]))
        except (ValueError, KeyError, TypeError) as error:
            raise BadFrame(f"DRAIN is incomplete: {error!r}") from error


class BadFrame(ForestayError):
    """The peer does not speak this protocol: drop the link."""


def encode(kind: Kind, payload: bytes = b"") -> bytes:
    """One frame."""
    return HEAD.pack(len(payload), kind) + payload


class FrameReader:
    """Cuts a byte stream into frames."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> Generator[tuple[int, bytes], None, None]:
        """Kind and payload of every frame that is complete by now.

        Raises:
            BadFrame: if one claims to be longer than `FRAME_MAX`.
        """
        buffer = self._buffer
        buffer += data
        start = 0
        try:
            while len(buffer) - start >= HEAD.size:
                length, kind = HEAD.unpack_from(buffer, start)
                if length > FRAME_MAX:
                    raise BadFrame(f"a frame of {length} bytes: the limit is {FRAME_MAX}")
                end = start + HEAD.size + length
                if len(buffer) < end:
                    break
                payload = bytes(buffer[start + HEAD.size : end])
                start = end  # first: a receiver that raises must not meet the frame again
                yield kind, payload
        finally:
            del buffer[:start]


@functools.cache
def code_version() -> str:
    """Changes whenever the code that workers run changes, so that an upgraded control process replaces them."""
    digest = hashlib.sha256(sys.version.encode())
    package = Path(__file__).parents[2]
    picking = [package / name for name in ("placement/planner.py", "placement/waiting.py", "model/plan.py")]
    for path in [*sorted(Path(__file__).parent.glob("*.py")), *picking]:
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]
