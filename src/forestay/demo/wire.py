"""What client and server of the demo say to each other over their WebSocket."""

import struct

_REQUEST = struct.Struct("!Id")
_REPLY = struct.Struct("!I")


def request(sequence: int, cost_s: float) -> bytes:
    """One message: answer `sequence` after burning `cost_s` CPU seconds."""
    return _REQUEST.pack(sequence, cost_s)


def parse_request(data: bytes | str) -> tuple[int, float]:
    """Sequence and CPU seconds of a request.

    Raises:
        ValueError: not one of ours, or a cost outside [0, 1] s.
    """
    if isinstance(data, str) or len(data) != _REQUEST.size:
        raise ValueError(f"a request has {_REQUEST.size} bytes, this one {len(data)}")
    sequence, cost_s = _REQUEST.unpack(data)
    if not 0.0 <= cost_s <= 1.0:
        raise ValueError(f"cost_s = {cost_s}: must lie in [0, 1]")
    return sequence, cost_s


def reply(sequence: int) -> bytes:
    """The answer to the request with that number."""
    return _REPLY.pack(sequence)


def parse_reply(data: bytes | str) -> int:
    """Sequence of an answer.

    Raises:
        ValueError: not one of ours.
    """
    if isinstance(data, str) or len(data) != _REPLY.size:
        raise ValueError(f"a reply has {_REPLY.size} bytes, this one {len(data)}")
    (sequence,) = _REPLY.unpack(data)
    return int(sequence)
