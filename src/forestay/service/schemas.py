"""What the API takes and gives, as pydantic models: their descriptions and examples make up the OpenAPI document."""

from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints, model_validator

TEXT_BYTES_MAX = 200
"""Longest text in a record of the connection registry, bytes of UTF-8."""

ENDPOINT_EXAMPLE = "10.0.0.1:8080"
CONNECTION_EXAMPLE = "0193a0d2c4f0ffff5f8c1e0b7a9d2c44"

Identifier = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9._:@=-]{1,128}$")]
"""Of a connection: goes into paths, logs and the registry."""


def _fits_a_record(text: str) -> str:
    if len(text.encode()) > TEXT_BYTES_MAX:
        raise ValueError(f"is longer than {TEXT_BYTES_MAX} bytes: shorten it")
    return text


Word = Annotated[str, StringConstraints(pattern=r"^[^\x00-\x1f\x7f]*$"), AfterValidator(_fits_a_record)]
Label = Annotated[str, StringConstraints(pattern=r"^[^/\x00-\x1f\x7f]+$", min_length=1, max_length=128)]
Finite = Annotated[float, Field(allow_inf_nan=False)]


class Request(BaseModel):
    """A body from outside: unknown fields are errors, since a misspelt one would be ignored in silence."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class ClusterView(BaseModel):
    """One cluster in short."""

    name: str = Field(examples=["chat"])
    endpoints: int = Field(description="Endpoints, whatever their state")
    eligible: int = Field(description="Endpoints that take newcomers now")
    open_connections: int
    queued: int = Field(description="Direct placements that wait")
    reserved: int = Field(description="Direct placements that are not confirmed yet")
    load_mean: float | None = Field(description="Mean of the loads last reported; null without reports")
    fallbacks: list[str] = Field(description="Fallbacks in force", examples=[["telemetry_missing"]])
    plan_age_s: float | None = Field(description="Seconds since the last plan; null before the first")
    decisions: dict[str, int] = Field(
        description='Direct placements by "kind/reason", since the start', examples=[{"admit/fittest": 12}]
    )
    connections: dict[str, int] = Field(description="Connections by what became of them, since the start")
    ticks: int
    ticks_late: int
    ticks_missed: int
    errors: dict[str, int] = Field(description="Survived errors by where, since the start")


class ClusterList(BaseModel):
    """All clusters."""

    clusters: list[ClusterView]


class ForecastView(BaseModel):
    """Predicted load at one horizon."""

    horizon_s: float = Field(examples=[5.0])
    load: float = Field(description="Expected load", examples=[0.42])
    load_q90: float = Field(description="Load not exceeded with probability 0.9", examples=[0.55])


class ReportView(BaseModel):
    """The last load report of an endpoint."""

    age_s: float
    load: float | None
    cpu: float | None
    memory: float | None
    network: float | None
    requests_per_s: float | None
    request_bytes: float | None
    processing_s: float | None
    open_connections: int | None


class EndpointView(BaseModel):
    """One endpoint: what it is, how it is, what will become of it."""

    id: str = Field(examples=[ENDPOINT_EXAMPLE])
    capacity: float | None
    zone: str
    connections_max: int | None
    named_by: list[str] = Field(description="Who says that it belongs to the cluster", examples=[["config", "dns"]])
    healthy: bool
    health_detail: str = Field(description="The health check's words", examples=["refused"])
    draining: bool = Field(description="The operator wants nothing new on it")
    leaving: bool = Field(description="Nobody names it any more; removed when empty")
    eligible: bool = Field(description="Takes newcomers now")
    open_connections: int
    weight: int = Field(description="Share of the next second's arrivals, 0 to 1000")
    load: float | None = Field(description="Load last reported; null without reports")
    report: ReportView | None
    forecast: list[ForecastView] = Field(description="Predicted load 5, 10 and 30 s ahead")


class EndpointList(BaseModel):
    """Endpoints of a cluster, in the order in which they were named."""

    endpoints: list[EndpointView]


class EndpointRequest(Request):
    """An endpoint to add, or to change."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"id": ENDPOINT_EXAMPLE, "capacity": 2.0, "zone": "a"}]})

    id: Annotated[str, Field(max_length=300, description='Address, "host:port", IPv6 in brackets')]
    capacity: Annotated[float | None, Field(gt=0, allow_inf_nan=False, description="Relative size; null: learned")] = (
        None
    )
    zone: Annotated[Word, Field(description="Locality")] = ""
    connections_max: Annotated[
        int | None, Field(ge=1, le=10_000_000, description="Most connections at once; null: no bound of its own")
    ] = None


class SlotsView(BaseModel):
    """Room on one endpoint until the next tick."""

    slots: int | None = Field(description="Placements until the threshold; null: no bound; 0: not eligible")
    paced: int = Field(description="Further placements where nobody is under the threshold")


class MoveView(BaseModel):
    """A connection that should live elsewhere."""

    connection_id: str
    from_endpoint_id: str
    to_endpoint_id: str
    reason: str


class PlanView(BaseModel):
    """The last plan."""

    age_s: float = Field(description="Seconds since it was made")
    pool: list[str] = Field(description="Eligible endpoints, fittest first")
    weights: dict[str, int]
    slots: dict[str, SlotsView]
    shed: bool = Field(description="Everybody is over load_max: newcomers are refused")
    fallbacks: list[str]
    moves: list[MoveView]


class ConnectionView(BaseModel):
    """One established connection."""

    id: str = Field(examples=[CONNECTION_EXAMPLE])
    endpoint_id: str = Field(examples=[ENDPOINT_EXAMPLE])
    client: str = Field(description="Address or name of the client", examples=["192.0.2.7:51324"])
    opened_at: float = Field(description="Unix time, seconds")
    age_s: float
    hint: str
    upstream: tuple[str, int, str, int] | None = Field(
        description="Source and destination of the connection to the endpoint; null for direct placements"
    )


class ConnectionPage(BaseModel):
    """Some connections. Pages shift as connections come and go in between."""

    connections: list[ConnectionView]
    next_offset: int | None = Field(description="`offset` of the next page; null: this was the last")


class ExplanationView(BaseModel):
    """Why a connection went where it is."""

    id: str = Field(examples=[CONNECTION_EXAMPLE])
    explanation: str = Field(description="For people; several lines")


class EventRequest(Request):
    """An event to announce, in Unix time (`starts_at`, `ends_at`) or from now on (`in_s`, `for_s`)."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"name": "final", "in_s": 60, "for_s": 900, "arrival_factor": 3.0}]}
    )

    name: Annotated[Label, Field(description="The key: announcing it again replaces the event")]
    arrival_factor: Annotated[float, Field(ge=0, le=1000, description="Arrivals, over what they would be without it")]
    starts_at: Annotated[Finite | None, Field(description="Unix time, seconds")] = None
    in_s: Annotated[float | None, Field(ge=0, le=31_536_000, description="Starts that many seconds from now")] = None
    ends_at: Annotated[Finite | None, Field(description="Unix time, seconds")] = None
    for_s: Annotated[float | None, Field(gt=0, le=31_536_000, description="Lasts that many seconds")] = None

    @model_validator(mode="after")
    def _times_are_given_once(self) -> "EventRequest":
        if self.starts_at is not None and self.in_s is not None:
            raise ValueError("starts_at and in_s exclude each other: give one, or neither to start now")
        if (self.ends_at is None) == (self.for_s is None):
            raise ValueError("give the end as either ends_at or for_s")
        return self


class EventView(BaseModel):
    """An announced event."""

    name: str
    starts_at: float = Field(description="Unix time, seconds")
    ends_at: float = Field(description="Unix time, seconds")
    arrival_factor: float


class EventList(BaseModel):
    """Announced events that are not over."""

    events: list[EventView]


class PlacementRequestBody(Request):
    """A client that asks which endpoint to connect to."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"client": "player-17", "hint": "match", "wait_s": 2.0}]})

    id: Annotated[Identifier | None, Field(description="Of the connection; null: made up. Repeating it is safe")] = None
    client: Annotated[Word, Field(description="Who: address or name, also the key of rate limits")] = ""
    hint: Annotated[Word, Field(description="Class of connection, if some live longer or cost more than others")] = ""
    zone: Annotated[Word, Field(description="Where the client is")] = ""
    prefer: Annotated[str | None, Field(max_length=300, description="Endpoint to take while it is about as fit")] = None
    exclude: Annotated[
        list[Annotated[str, Field(max_length=300)]], Field(max_length=1000, description="Endpoints not to take")
    ] = []
    wait_s: Annotated[
        float, Field(ge=0, le=60, description="How long to wait here for a turn; 0: answer 202 and ask again")
    ] = 0.0


class PlacementView(BaseModel):
    """Where a placement stands."""

    id: str = Field(examples=[CONNECTION_EXAMPLE])
    state: Literal["reserved", "queued", "confirmed"] = Field(
        description="reserved: connect to endpoint_id, then confirm; queued: ask again; confirmed: connected"
    )
    endpoint_id: str = Field(description="Where to connect", examples=[ENDPOINT_EXAMPLE])
    reason: str = Field(description="One word on why", examples=["fittest"])
    expires_in_s: float = Field(description="reserved: seconds left to confirm")
    retry_after_s: float = Field(description="queued: when asking again makes sense")


class ConfirmationRequest(Request):
    """The client is connected. All fields may be left out."""

    endpoint_id: Annotated[
        str | None,
        Field(max_length=300, description="Where, if the placement may have expired, or the connection moved"),
    ] = None
    client: Annotated[Word, Field(description="Its address, unless named before")] = ""


class ReportsAnswer(BaseModel):
    """What became of load reports."""

    taken: int
    unknown: list[str] = Field(
        description='"cluster/endpoint" of reports for no endpoint of ours: add it first',
        examples=[["chat/10.0.0.9:80"]],
    )
    unusable: list[str] = Field(description='"cluster/endpoint" of reports that the balancer refused; see the log')


class HealthView(BaseModel):
    """Whether the process lives, and serves."""

    status: Literal["ok", "unready"]
    problems: list[str] = Field([], description="What keeps it from being ready")
