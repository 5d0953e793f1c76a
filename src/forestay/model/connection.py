"""One established connection, as the registry remembers it and as data planes report it."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Connection:
    """A connection and where it lives.

    Attributes:
        id: unique for ever; data planes use 32 hexadecimal digits, time-ordered.
        endpoint_id: where it is.
        client: address of the client, "host:port", or what a direct placement named.
        opened_at: Unix time of establishment, seconds: comparable after a restart.
        upstream: source address, source port, destination address and port of the connection to the endpoint, by
            which an agent beside the server finds the socket; None where no proxy is in between.
        hint: class of connection named by the placer, or "".
        state: small opaque state that travels with a move, at most 256 bytes.
    """

    id: str
    endpoint_id: str
    client: str
    opened_at: float
    upstream: tuple[str, int, str, int] | None = None
    hint: str = ""
    state: bytes = b""
