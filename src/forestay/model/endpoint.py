"""An endpoint as the operator declares it."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Endpoint:
    """The address of one server and what is known of it beforehand.

    Attributes:
        id: "host:port", IPv6 in brackets; also its address.
        capacity: relative size (any unit, the same for all); None: learned.
        zone: locality, or "".
        connections_max: most connections at once; None: no bound of its own.
    """

    id: str
    capacity: float | None = None
    zone: str = ""
    connections_max: int | None = None
