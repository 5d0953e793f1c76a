"""Settings of an agent: whom it measures, to whom it reports."""

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr, model_validator
from pydantic_core import PydanticCustomError

from forestay.telemetry.reports import EndpointId


def _http(url: str) -> str:
    if not url.startswith(("http://", "https://")):
        raise PydanticCustomError("url", 'must begin with "http://" or "https://", e.g. http://127.0.0.1:9900')
    return url.rstrip("/")


Url = Annotated[str, AfterValidator(_http)]


class AgentSettings(BaseModel):
    """Settings of one agent, which reports for one endpoint of one cluster.

    At most one of `pid`, `pid_file` and `cgroup` chooses what is measured; without them it is the whole machine.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    cluster: Annotated[str, Field(min_length=1, max_length=64)]
    """Cluster that the endpoint belongs to."""
    endpoint: EndpointId
    """Address of the server as the cluster knows it, "host:port"."""
    control_planes: Annotated[tuple[Url, ...], Field(min_length=1, max_length=16)] = ("http://127.0.0.1:9900",)
    """Where forestay's HTTP API is; every one gets every report."""
    token: SecretStr = SecretStr("")
    """Bearer token of the API; empty: none is needed."""
    interval_s: Annotated[float, Field(ge=0.1, le=60, allow_inf_nan=False)] = 1.0
    """Seconds between reports; also the window they are about."""
    timeout_s: Annotated[float, Field(gt=0, le=30, allow_inf_nan=False)] = 0.5
    """Longest wait for the control plane's answer; under interval_s."""
    buffer_max: Annotated[int, Field(ge=1, le=1000)] = 30
    """Reports kept while the control plane is away; the oldest goes first. Forecasts look no further back than 30 s."""

    pid: Annotated[int, Field(ge=1)] | None = None
    """Measure this process and its descendants; the agent ends with it."""
    pid_file: Path | None = None
    """Measure the process whose pid this file holds, and its successors after a restart."""
    cgroup: str | None = None
    """Measure this control group, e.g. /system.slice/chat.service."""
    cpu_budget: Annotated[float, Field(gt=0, le=100_000, allow_inf_nan=False)] | None = None
    """Cores that the server may use; default: its control group's quota, else all it may run on."""
    memory_limit_bytes: Annotated[int, Field(gt=0)] | None = None
    """Memory that the server may use, bytes; default: its control group's limit, else the machine's."""
    interfaces: tuple[str, ...] = ()
    """Network interfaces that count; default: all but loopback."""
    link_mbit_per_s: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None
    """Speed of interfaces whose driver does not tell, megabits a second; default: they do not count."""
    load_from: Literal["max", "cpu", "network", "server"] = "max"
    """What the load is: "max": the busier of CPU and network; "server": what the server's own status says."""

    ports: tuple[Annotated[int, Field(ge=1, le=65_535)], ...] = ()
    """Local ports whose connections count; default: the endpoint's."""
    sockets: Literal["list", "count", "none"] = "list"
    """Report connections by 4-tuple ("list"), only how many, or not at all."""
    sockets_every_s: Annotated[float, Field(ge=0.1, le=3600, allow_inf_nan=False)] = 10.0
    """A changed list is sent at most this often; its count and digest go with every report."""

    status: str | None = None
    """Small JSON status of the server: a file, or an http(s) URL; see `ServerStatus`."""
    metrics_url: Url | None = None
    """The server's Prometheus page."""
    metrics: dict[str, str] = Field(default_factory=dict)
    """Expression by field of a load report, for metrics_url: requests_per_s = "http_requests_total"."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        chosen = [name for name in ("pid", "pid_file", "cgroup") if getattr(self, name) is not None]
        if len(chosen) > 1:
            raise PydanticCustomError(
                "target", "{chosen} exclude each other: keep one", {"chosen": " and ".join(chosen)}
            )
        if self.timeout_s >= self.interval_s:
            raise PydanticCustomError(
                "timeout_s",
                "timeout_s must be under interval_s = {interval_s}: lower it or raise interval_s",
                {"interval_s": self.interval_s},
            )
        if bool(self.metrics) != (self.metrics_url is not None):
            raise PydanticCustomError("metrics", "metrics and metrics_url belong together: give both or neither")
        if self.load_from == "server" and self.status is None and "load" not in self.metrics:
            raise PydanticCustomError(
                "load_from", 'load_from = "server" needs status, or metrics_url with metrics.load'
            )
        return self
