"""The wire format of load reports: the body of `POST /v1/reports`, one report or a list of them.

A report carries no absolute time, because the clocks of two machines differ: it says how long ago its window ended
(`age_s`), and the receiver dates it on its own monotonic clock. Everything is checked here, where it enters, so that
the balancer never meets a NaN, a negative rate or a percentage taken for a fraction.
"""

import hashlib
from collections.abc import Iterable
from typing import Annotated, Any, TypeAlias

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    RootModel,
    Tag,
    ValidationError,
    model_validator,
)
from pydantic_core import PydanticCustomError

from forestay.control.address import join_address, split_address
from forestay.model.errors import InvalidInput
from forestay.model.load import LoadReport

FRACTION_MAX = 10.0
"""Ten times full is a backlog nobody sits through; 42 is a percentage sent by mistake."""

REPORTS_MAX = 1000
"""Reports in one request: a minute of 16 endpoints, or one second of a rack."""

CONNECTIONS_MAX = 200_000
"""Sockets in one report: three times the ports of one client address, about 10 MB of JSON."""


def _fraction(value: float) -> float:
    if not 0.0 <= value <= FRACTION_MAX:
        raise PydanticCustomError(
            "fraction",
            "must be a fraction of what the endpoint can do, 0 (idle) to 1 (full), at most {most}: 42 % is 0.42",
            {"most": FRACTION_MAX},
        )
    return value


def _endpoint(text: str) -> str:
    try:
        return join_address(*split_address(text))
    except ValueError as error:
        raise PydanticCustomError("endpoint", "{reason}", {"reason": str(error)}) from None


LARGEST = {
    "load": FRACTION_MAX,
    "cpu": FRACTION_MAX,
    "memory": FRACTION_MAX,
    "network": FRACTION_MAX,
    "requests_per_s": 1e9,
    "request_bytes": 1e12,
    "processing_s": 86_400.0,
    "open_connections": 10_000_000,
}
"""Measurements, the fields that a report and a `LoadReport` share, and the largest value of each that is believed."""

EndpointId = Annotated[str, Field(max_length=300), AfterValidator(_endpoint)]
"""An address in any spelling, as the endpoint id it stands for."""

Fraction = Annotated[float, Field(strict=True, allow_inf_nan=False), AfterValidator(_fraction)]
Rate = Annotated[float, Field(strict=True, allow_inf_nan=False, ge=0, le=LARGEST["requests_per_s"])]
Size = Annotated[float, Field(strict=True, allow_inf_nan=False, ge=0, le=LARGEST["request_bytes"])]
Duration = Annotated[float, Field(strict=True, allow_inf_nan=False, ge=0, le=LARGEST["processing_s"])]
Count = Annotated[int, Field(strict=True, ge=0, le=int(LARGEST["open_connections"]))]
Host = Annotated[str, Field(min_length=1, max_length=45)]
Port = Annotated[int, Field(strict=True, ge=0, le=65_535)]

Socket: TypeAlias = tuple[Host, Port, Host, Port]
"""One connection as the proxy before the server sees it: source address and port, destination address and port; the
same as `Connection.upstream`."""


class Wire(BaseModel):
    """What comes over the network. Unknown fields are errors: a misspelt one would be a measurement lost in silence."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


class OpenSockets(Wire):
    """Established connections to the server's ports, as the machine lists them."""

    count: Count
    """How many."""
    digest: Annotated[str, Field(pattern=r"^[0-9a-f]{16}$")] | None = None
    """`digest()` of them: while it stays the same, a list received before still holds."""
    listed: Annotated[list[Socket], Field(max_length=CONNECTIONS_MAX)] | None = None
    """All of them; None: not this time."""

    @model_validator(mode="after")
    def _consistent(self) -> "OpenSockets":
        if self.listed is not None and len(self.listed) != self.count:
            raise PydanticCustomError(
                "count",
                "count is {count} and listed holds {listed}: list all of them or none",
                {"count": self.count, "listed": len(self.listed)},
            )
        return self


class Report(Wire):
    """Load of one endpoint over a window of about a second. Fractions: 0 idle, 1 full; above 1 is a backlog."""

    cluster: Annotated[str, Field(min_length=1, max_length=64)]
    """Name of the cluster."""
    endpoint: EndpointId
    """The server's address as the cluster knows it, "host:port"."""
    load: Fraction | None = None
    """Mean load over the window; without it, the larger of `cpu` and `network` counts."""
    cpu: Fraction | None = None
    """CPU use over the quota."""
    memory: Fraction | None = None
    """Memory in use over the limit."""
    network: Fraction | None = None
    """Traffic over link speed, the busier direction."""
    requests_per_s: Rate | None = None
    """Requests (messages) handled a second."""
    request_bytes: Size | None = None
    """Mean request size, bytes."""
    processing_s: Duration | None = None
    """Mean time to handle one request, seconds."""
    open_connections: Count | None = None
    """Open connections as the server counts them."""
    age_s: Annotated[float, Field(strict=True, allow_inf_nan=False, ge=0, le=3600)] = 0.0
    """How long ago the window ended, seconds."""
    connections: OpenSockets | None = None
    """Open connections as the machine lists them; counts where `open_connections` is missing."""

    @model_validator(mode="after")
    def _says_something(self) -> "Report":
        if all(getattr(self, name) is None for name in (*LARGEST, "connections")):
            raise PydanticCustomError(
                "empty", "says nothing: give at least one of {names}", {"names": ", ".join(LARGEST)}
            )
        return self

    def to_load_report(self, now_s: float) -> LoadReport:
        """The report as the balancer takes it, dated on the clock of `now_s` (the moment it was received)."""
        measured = {name: getattr(self, name) for name in LARGEST}
        if self.connections is not None and self.open_connections is None:
            measured["open_connections"] = self.connections.count
        return LoadReport(self.endpoint, now_s - self.age_s, **measured)


def _shape(body: Any) -> str:
    return "list" if isinstance(body, list | tuple) else "one"


class Reports(
    RootModel[
        Annotated[
            Annotated[Report, Tag("one")]
            | Annotated[list[Report], Field(min_length=1, max_length=REPORTS_MAX), Tag("list")],
            Discriminator(_shape),
        ]
    ]
):
    """The body of `POST /v1/reports`: one report or a list of them; one bad report refuses the whole list."""

    @property
    def each(self) -> list[Report]:
        """The reports, as a list in either case."""
        return self.root if isinstance(self.root, list) else [self.root]


def parse_reports(body: bytes | str) -> list[Report]:
    """Read a request body.

    Raises:
        InvalidInput: not JSON, or not reports; the message names the field, the value and the remedy.
    """
    try:
        return Reports.model_validate_json(body).each
    except ValidationError as error:
        raise InvalidInput(describe(error)) from None


def describe(error: ValidationError, most: int = 5) -> str:
    """The first `most` errors of a validation, one clause each: where, what is wrong, what was given."""
    clauses = []
    for detail in error.errors(include_url=False)[:most]:
        where = ".".join(str(part) for part in detail["loc"] if part not in ("one", "list"))
        given = repr(detail["input"])
        shown = given if len(given) <= 60 else f"{given[:57]}..."
        clauses.append(f"{where or 'report'}: {detail['msg']} (given: {shown})")
    if (left := error.error_count() - most) > 0:
        clauses.append(f"and {left} more")
    return "; ".join(clauses)


def digest(sockets: Iterable[Socket]) -> str:
    """16 hex digits that depend on the set of sockets, not on their order."""
    lines = sorted(f"{source} {source_port} {to} {port}\n" for source, source_port, to, port in sockets)
    return hashlib.blake2b("".join(lines).encode(), digest_size=8).hexdigest()
