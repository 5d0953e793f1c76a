"""What one relay listener is told to do: the part of the settings that every one of its workers needs."""

import json
import math
import re
from dataclasses import asdict, dataclass, fields
from typing import Literal, Self, get_args

from forestay.model.errors import InvalidInput

Protocol = Literal["tcp", "http"]
Policy = Literal["forecast", "least_connections", "random"]

NAME = re.compile(r"[A-Za-z0-9_.-]{1,64}")
BOUNDS: dict[str, tuple[float, float]] = {
    "port": (0, 65_535),
    "workers": (1, 32),
    "zone_factor": (1.0, 1000.0),
    "connect_timeout_s": (0.01, 600.0),
    "queue_deadline_s": (0.0, 3_600.0),
    "queue_max": (0, 1_000_000),
    "client_rate_per_s": (0.0, 1e6),
    "client_burst": (1, 1_000_000),
    "idle_timeout_s": (0.1, 30 * 86_400.0),
    "connections_max": (1, 10_000_000),
    "drain_s": (0.0, 86_400.0),
    "handover_s": (0.0, 30 * 86_400.0),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ListenerSpec:
    """One listening address and how its connections are treated.

    Attributes:
        name: unique within the cluster; labels metrics.
        cluster: whose endpoints connections go to.
        host: numeric address to listen on; "::" takes IPv4 too.
        port: 0 lets the kernel choose (see `RelayPlane.addresses`).
        protocol: how to refuse: "tcp" by RST, "http" by a 503 with Retry-After. Bytes pass untouched in both.
        policy: "forecast" is the product; the others are there to be compared with.
        zone: where the listener is: near endpoints win while they have headroom.
        zone_factor: see `BalancerSettings`.
        workers: processes, which share the listening socket.
        proxy_in: every connection must begin with a PROXY v1 or v2 header. Only where all clients are trusted proxies:
            the header is believed.
        proxy_out: send a PROXY v2 header with the connection id as its unique id to the endpoint.
        connect_timeout_s: for one attempt at one endpoint.
        queue_deadline_s: how long after its accept a connection may still wait for, or try, an endpoint.
        queue_max: connections waiting at once, all workers together; one more is refused.
        client_rate_per_s: connections a second that one client may open, all workers together; 0: no limit. A client is
            an IPv4 address or the /64 network of an IPv6 one.
        client_burst: connections a client may open at once before the rate counts.
        idle_timeout_s: a connection on which no byte moved for so long is closed.
        connections_max: relayed connections at once, all workers together; None: as many as descriptors allow.
        drain_s: how long connections may go on after SIGTERM.
        handover_s: how long those of a worker may go on that a successor has replaced; newcomers do not wait for them.
    """

    name: str
    cluster: str
    host: str
    port: int
    protocol: Protocol = "tcp"
    policy: Policy = "forecast"
    zone: str = ""
    zone_factor: float = 1.1
    workers: int = 1
    proxy_in: bool = False
    proxy_out: bool = False
    connect_timeout_s: float = 1.0
    queue_deadline_s: float = 5.0
    queue_max: int = 1024
    client_rate_per_s: float = 0.0
    client_burst: int = 10
    idle_timeout_s: float = 3600.0
    connections_max: int | None = None
    drain_s: float = 30.0
    handover_s: float = 3600.0

    def __post_init__(self) -> None:
        for field in ("name", "cluster"):
            if not NAME.fullmatch(getattr(self, field)):
                raise InvalidInput(
                    f"listener {field} = {getattr(self, field)!r}: use 1 to 64 letters, digits, '_', '.' or '-'"
                )
        for field, (low, high) in BOUNDS.items():
            value = getattr(self, field)
            if value is None and field == "connections_max":
                continue
            if not (math.isfinite(value) and low <= value <= high):
                raise InvalidInput(f"listener {self.name}: {field} = {value}: must lie in [{low:g}, {high:g}]")
        for field, choices in (("protocol", get_args(Protocol)), ("policy", get_args(Policy))):
            if getattr(self, field) not in choices:
                raise InvalidInput(
                    f"listener {self.name}: {field} = {getattr(self, field)!r}: must be one of {', '.join(choices)}"
                )

    @property
    def address(self) -> tuple[str, int]:
        """Host and port."""
        return self.host, self.port

    def to_json(self) -> str:
        """One line that `from_json` reads; equal specs give equal lines."""
        return json.dumps(asdict(self), sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> Self:
        """The spec of a `to_json` line.

        Raises:
            InvalidInput: if it is not one, or names fields that this version does not have.
        """
        try:
            values = json.loads(text)
            unknown = values.keys() - {field.name for field in fields(cls)}
        except (ValueError, AttributeError) as error:
            raise InvalidInput(f"listener spec is not a JSON object: {error}") from error
        if unknown:
            raise InvalidInput(f"listener spec has unknown fields: {', '.join(sorted(unknown))}")
        return cls(**values)
