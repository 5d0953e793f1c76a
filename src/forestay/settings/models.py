"""Every setting of `forestay serve`: its name, default, bounds and meaning, one class per TOML table.

The text under a setting is its documentation: the reference page and `examples/forestay.toml` are checked against it.
"""

import os
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Annotated, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    StringConstraints,
    field_validator,
    model_validator,
)
from pydantic_core import PydanticCustomError

from forestay.balancer import BalancerSettings
from forestay.settings.addresses import EndpointAddress, HostPort, ListenAddress, parse_host_port
from forestay.settings.directories import runtime_directory, state_directory
from forestay.telemetry.access_logs import nginx
from forestay.telemetry.access_logs.line import ServerNames
from forestay.telemetry.exposition import Meter

SOCKET_PATH_BYTES_MAX = 107
"""Of Linux: sun_path holds 108 bytes, the last one zero."""


def _not_boolean(value: object) -> object:
    if isinstance(value, bool):
        raise ValueError("must be a number, not true or false")
    return value


Seconds = Annotated[float, BeforeValidator(_not_boolean), Field(gt=0, le=86_400, allow_inf_nan=False)]
Count = Annotated[int, BeforeValidator(_not_boolean), Field(ge=1, le=10_000_000)]
Name = Annotated[
    str,
    StringConstraints(pattern=r"^[A-Za-z0-9]([A-Za-z0-9_-]{0,62}[A-Za-z0-9])?$"),
]
"""A cluster's or listener's name: it becomes a metric label, part of a URL and of a file name."""


class Section(BaseModel):
    """A TOML table: unknown keys are errors, values never change after loading."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


class ServiceSettings(Section):
    """The HTTP API: status, placement by request, load reports, metrics."""

    listen: ListenAddress = "127.0.0.1:9900"
    """Address of the API. Anything but a loopback address needs a token."""
    token: SecretStr = SecretStr("")
    """Bearer token that every request must carry (health and readiness excepted); empty: none is asked for."""

    @model_validator(mode="after")
    def _token_where_others_can_connect(self) -> "ServiceSettings":
        if not parse_host_port(self.listen, listen=True).is_loopback and not self.token.get_secret_value():
            raise PydanticCustomError(
                "listen",
                "is reachable from other machines and has no token: set service.token"
                " (or FORESTAY_SERVICE__TOKEN), or listen on 127.0.0.1",
            )
        return self


class RegistrySettings(Section):
    """Where established connections are remembered."""

    store: Literal["memory", "sqlite"] = "sqlite"
    """"sqlite" survives a restart; "memory" does not."""
    path: Path | None = None
    """The SQLite file; default: registry.sqlite in process.state_dir."""


class ProcessSettings(Section):
    """The control process itself."""

    state_dir: Path = Field(default_factory=lambda: state_directory(os.environ))
    """For what outlives a reboot. Default: systemd's StateDirectory, else /var/lib/forestay for root, else
    ~/.local/state/forestay."""
    runtime_dir: Path = Field(default_factory=lambda: runtime_directory(os.environ))
    """For what a restarted control process must find again (workers' sockets and tables). Default: systemd's
    RuntimeDirectory, else /run/forestay for root, else $XDG_RUNTIME_DIR/forestay. One forestay each."""
    seed: Annotated[int, BeforeValidator(_not_boolean), Field(ge=0, lt=1 << 63)] = 0
    """Seed of every random choice."""
    shadow: bool = False
    """Observe a live balancer and touch nothing: no listener is opened, nothing is placed, [clusters.NAME.shadow] says
    where placements are learned from. The same as `serve --shadow`."""


class LogSettings(Section):
    """What is written to standard error, and about every connection."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    """Least severe level that is written."""
    format: Literal["auto", "console", "json"] = "auto"
    """"auto": for people on a terminal, else JSON, one object a line."""
    access: bool = False
    """One line per connection that closed: where it was, for how long."""


class EndpointSettings(Section):
    """One server. Its address alone may stand as a string."""

    address: EndpointAddress
    """"host:port"; also its id."""
    capacity: Annotated[float, BeforeValidator(_not_boolean), Field(gt=0, allow_inf_nan=False)] | None = None
    """Size relative to the others (cores, say); default: learned from its load reports."""
    zone: Annotated[str, StringConstraints(max_length=128)] = ""
    """Locality."""
    connections_max: Count | None = None
    """Most connections at once; default: no bound of its own."""


class DnsSettings(Section):
    """Endpoints from DNS: every address of a name, looked up again and again."""

    name: Annotated[str, StringConstraints(min_length=1, max_length=253)]
    """Host name whose A and AAAA records are the servers."""

    @field_validator("name")
    @classmethod
    def _can_be_looked_up(cls, name: str) -> str:
        try:
            name.encode("idna")
        except UnicodeError:
            raise ValueError('is not a host name: write e.g. "chat.internal"') from None
        return name

    port: Annotated[int, BeforeValidator(_not_boolean), Field(ge=1, le=65_535)]
    """Port of every server."""
    refresh_s: Annotated[Seconds, Field(ge=1)] = 10.0
    """Seconds between look-ups."""


class HealthSettings(Section):
    """How forestay asks a server whether it is alive."""

    type: Literal["tcp", "http", "none"] = "tcp"
    """"tcp": it accepts a connection; "http": it answers GET `path` with 2xx or 3xx; "none": never asked."""
    interval_s: Annotated[Seconds, Field(ge=0.1)] = 1.0
    """Seconds between checks of one server."""
    timeout_s: Seconds = 0.5
    """A check that takes longer has failed; at most interval_s."""
    rise: Count = 2
    """Successful checks in a row until an unhealthy server is healthy."""
    fall: Count = 2
    """Failed checks in a row until a healthy server is unhealthy."""
    retry_s: Annotated[Seconds, Field(ge=0.01)] = 0.1
    """Seconds until the second look at a healthy server after the first sign of trouble."""
    path: Annotated[str, StringConstraints(pattern=r"^/[!-~]*$", max_length=2048)] = "/"
    """Path that an "http" check asks for."""

    @model_validator(mode="after")
    def _timeout_within_interval(self) -> "HealthSettings":
        if self.timeout_s > self.interval_s:
            raise PydanticCustomError("timeout_s", "must not exceed interval_s: lower timeout_s or raise interval_s")
        return self


class ScrapeSettings(Section):
    """Load from a Prometheus page of every server (pull), for servers without an agent."""

    port: Annotated[int, BeforeValidator(_not_boolean), Field(ge=1, le=65_535)] | None = None
    """Port of the page; default: the endpoint's own."""
    url_path: Annotated[str, StringConstraints(pattern=r"^/[!-~]*$", max_length=2048)] = "/metrics"
    """Path of the page."""
    metrics: dict[str, str]
    """What is what: a field of a load report = an expression over the page's metrics, e.g.
    cpu = "rate(process_cpu_seconds_total) / 4" on four cores."""
    interval_s: Annotated[Seconds, Field(ge=0.1)] = 1.0
    """Seconds between looks at one server."""
    timeout_s: Seconds = 0.8
    """A look that takes longer has failed."""

    @field_validator("metrics")
    @classmethod
    def _can_be_measured(cls, metrics: dict[str, str]) -> dict[str, str]:
        Meter(metrics)
        return metrics


class ListenerSettings(Section):
    """An address where clients connect; the relay carries their connections to the cluster's servers."""

    listen: ListenAddress
    """Where clients connect; ":8080" for every address of the machine."""
    protocol: Literal["tcp", "http"] = "tcp"
    """"tcp" relays anything; "http" does too, but refuses with a 503 and Retry-After instead of a reset."""
    zone: Annotated[str, StringConstraints(max_length=128)] = ""
    """Where the listener is: servers of this zone win while they have headroom (balancer.zone_factor), then those of
    the zone around it ("eu/rack-3" lies within "eu")."""
    workers: Annotated[Count, Field(le=32)] = 1
    """Relay processes of this listener; one fills one core."""
    proxy_in: bool = False
    """Clients begin with a PROXY protocol header (v1 or v2): the balancer in front names the true client."""
    proxy_out: bool = False
    """Begin connections to servers with a PROXY v2 header: the true client, and the connection's id."""
    connect_timeout_s: Annotated[Seconds, Field(ge=0.01, le=600)] = 1.0
    """A server that has not accepted by then has failed; the next fittest is tried."""
    queue_deadline_s: Annotated[float, BeforeValidator(_not_boolean), Field(ge=0, le=3600)] = 5.0
    """Longest wait for a server with room before the client is refused."""
    queue_max: Annotated[int, BeforeValidator(_not_boolean), Field(ge=0, le=1_000_000)] = 1024
    """Clients that may wait at once, all workers together; one more is refused."""
    client_rate_per_s: Annotated[float, BeforeValidator(_not_boolean), Field(ge=0, le=1e6)] = 0.0
    """Connections a second that one client may open, all workers together; 0: no limit. A client is an IPv4 address, or
    the /64 network of an IPv6 one."""
    client_burst: Annotated[Count, Field(ge=1, le=1_000_000)] = 10
    """Connections that a client may open at once before its rate counts."""
    idle_timeout_s: Annotated[float, BeforeValidator(_not_boolean), Field(ge=0.1, le=30 * 86_400.0)] = 3600.0
    """A connection on which no byte moved for so long is closed."""
    connections_max: Count | None = None
    """Most connections at once, all workers together; default: what the descriptor limit allows."""
    drain_s: Annotated[float, BeforeValidator(_not_boolean), Field(ge=0, le=86_400)] = 30.0
    """On shutdown: how long connections may finish before they are closed."""
    handover_s: Annotated[float, BeforeValidator(_not_boolean), Field(ge=0, le=30 * 86_400.0)] = 3600.0
    """On upgrade or a change of the listener: how long those of the old workers may go on beside the new ones."""


class ShadowSettings(Section):
    """How to observe a live balancer, with `serve --shadow`; without, this table means nothing."""

    source: Literal["api", "agents", "log"] = "api"
    """Where placements are learned from: what is posted to the API, the lists of sockets in agents' reports, or an
    access log. What is posted counts in any case."""
    path: Path | None = None
    """The access log; followed through rotation."""
    format: Literal["haproxy", "nginx", "envoy", "json"] = "json"
    """Whose log: HAProxy with option tcplog or httplog, nginx, Envoy's default or JSON, or JSON lines of our own."""
    log_format: str = ""
    """The log_format of nginx's configuration, without the quotes around its parts; default: the one in the guide."""
    servers: dict[str, EndpointAddress] = Field(default_factory=dict)
    """Address by name, for logs that name servers ("srv1" or "backend/srv1")."""
    delay_s: Annotated[float, BeforeValidator(_not_boolean), Field(ge=0, le=86_400, allow_inf_nan=False)] | None = None
    """How far the shadow lives behind: connections that are logged when they end are seen in time if they are shorter.
    Default: 60 for the logs of HAProxy, nginx and Envoy, else 0."""
    warm_up_s: Annotated[float, BeforeValidator(_not_boolean), Field(ge=0, le=86_400, allow_inf_nan=False)] = 60.0
    """Time to learn from the first load report on; nothing is judged in it."""

    @model_validator(mode="after")
    def _log_has_a_path(self) -> "ShadowSettings":
        if (self.source == "log") != (self.path is not None):
            raise PydanticCustomError("at_key", 'goes with source = "log": give both or neither', {"key": "path"})
        return self

    @field_validator("log_format")
    @classmethod
    def _can_be_read_back(cls, log_format: str) -> str:
        nginx.parser(ServerNames({}), log_format)
        return log_format

    @property
    def delay_in_force_s(self) -> float:
        """`delay_s`, or its default."""
        if self.delay_s is not None:
            return self.delay_s
        return 60.0 if self.source == "log" and self.format != "json" else 0.0


def _known_balancer_fields(value: object) -> object:
    if isinstance(value, Mapping):
        known = {field.name for field in fields(BalancerSettings)}
        for key, item in value.items():
            if key not in known:
                raise PydanticCustomError("unknown_key", "unknown setting", {"key": str(key), "known": sorted(known)})
            if isinstance(item, bool):
                raise PydanticCustomError("at_key", "must be a number, not true or false", {"key": key})
    return value


class ClusterSettings(Section):
    """Interchangeable servers, who balances them and how clients reach them."""

    policy: Literal["forecast", "least_connections", "random"] = "forecast"
    """Who places: the forecast, or, for comparison, what other balancers do."""
    balancer: Annotated[BalancerSettings, BeforeValidator(_known_balancer_fields)] = BalancerSettings()
    """Threshold, queue, rate limits: any field of forestay.BalancerSettings."""
    endpoints: tuple[EndpointSettings, ...] = ()
    """The servers: "host:port" or a table each. More may come from dns and from the API."""
    dns: DnsSettings | None = None
    """Servers from DNS."""
    health: HealthSettings = HealthSettings()
    """Health checks."""
    scrape: ScrapeSettings | None = None
    """Load reports by pull."""
    listeners: dict[Name, ListenerSettings] = Field(default_factory=dict)
    """Where clients connect. None is legal: clients ask the API for a server and connect themselves."""
    shadow: ShadowSettings = ShadowSettings()
    """What `serve --shadow` observes."""

    @field_validator("endpoints", mode="before")
    @classmethod
    def _addresses_alone(cls, value: object) -> object:
        """Accept a string in place of a table."""
        if isinstance(value, list | tuple):
            return tuple({"address": item} if isinstance(item, str) else item for item in value)
        return value

    @field_validator("endpoints")
    @classmethod
    def _each_once(cls, endpoints: tuple[EndpointSettings, ...]) -> tuple[EndpointSettings, ...]:
        seen: set[str] = set()
        for endpoint in endpoints:
            if endpoint.address in seen:
                raise ValueError(f"{endpoint.address} stands twice: remove one")
            seen.add(endpoint.address)
        return endpoints


class Settings(Section):
    """Everything that `forestay serve` can be told."""

    service: ServiceSettings = ServiceSettings()
    registry: RegistrySettings = RegistrySettings()
    process: ProcessSettings = Field(default_factory=ProcessSettings)
    log: LogSettings = LogSettings()
    clusters: dict[Name, ClusterSettings] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _sockets_fit_their_addresses(self) -> "Settings":
        for name in self.clusters:
            spare = SOCKET_PATH_BYTES_MAX - len(os.fsencode(self.process.runtime_dir.resolve() / f"{name}.sock"))
            if spare < 0:
                raise PydanticCustomError(
                    "at_path",
                    "is too long for the Unix sockets inside it: choose one that is {bytes} bytes shorter",
                    {"path": "process.runtime_dir", "bytes": -spare},
                )
        return self

    @model_validator(mode="after")
    def _every_address_once(self) -> "Settings":
        taken: list[tuple[str, HostPort]] = [("service.listen", parse_host_port(self.service.listen, listen=True))]
        for cluster_name, cluster in self.clusters.items():
            for listener_name, listener in cluster.listeners.items():
                path = f"clusters.{cluster_name}.listeners.{listener_name}.listen"
                address = parse_host_port(listener.listen, listen=True)
                for other_path, other in taken:
                    if address.collides_with(other):
                        raise PydanticCustomError(
                            "at_path",
                            "collides with {other}: give one of them another port",
                            {"path": path, "other": f"{other_path} = {str(other)!r}"},
                        )
                taken.append((path, address))
        return self

    @property
    def registry_path(self) -> Path:
        """Where the SQLite file is."""
        return self.registry.path or self.process.state_dir / "registry.sqlite"
