"""What forestay says about itself while the demo runs, asked over its HTTP API as any dashboard would."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Self

import httpx
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

CLUSTER = "demo"
"""Name of the cluster in the demo's settings."""

TIMEOUT_S = 0.5
"""A late answer is no answer: the view goes on with what it has."""

HORIZON_S = 10
"""How far ahead the forecasts shown are."""


@dataclass(frozen=True, slots=True)
class EndpointStatus:
    """One endpoint: load of its last report, load predicted `HORIZON_S` ahead, open connections, eligibility."""

    load: float | None = None
    predicted: float | None = None
    connections: int = 0
    eligible: bool = False


@dataclass(frozen=True, slots=True)
class Status:
    """Endpoints by id, connections placed since the start, and how many wait for a server with room now."""

    endpoints: Mapping[str, EndpointStatus] = field(default_factory=dict)
    placements: float = 0.0
    queued: float = 0.0


class StatusClient:
    """Asks one forestay; a context manager."""

    def __init__(self, api: str) -> None:
        self._http = httpx.Client(base_url=f"http://{api}", timeout=TIMEOUT_S, trust_env=False)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._http.close()

    def status(self) -> Status | None:
        """What it says now; None: no answer in time."""
        try:
            endpoints = self._http.get(f"/v1/clusters/{CLUSTER}/endpoints").raise_for_status().json()["endpoints"]
            metrics = self._http.get("/metrics").raise_for_status().text
        except httpx.HTTPError:
            return None
        samples = [sample for family in text_string_to_metric_families(metrics) for sample in family.samples]
        return Status(
            endpoints={raw["id"]: _endpoint(raw) for raw in endpoints},
            placements=_sum(samples, "forestay_connections_total", event="opened"),
            queued=_sum(samples, "forestay_relay", statistic="waiting"),
        )


def _endpoint(raw: Mapping[str, Any]) -> EndpointStatus:
    ahead = [forecast["load"] for forecast in raw["forecast"] if forecast["horizon_s"] == HORIZON_S]
    return EndpointStatus(raw["load"], ahead[0] if ahead else None, raw["open_connections"], raw["eligible"])


def _sum(samples: Iterable[Sample], name: str, **labels: str) -> float:
    """Sum of the samples with that name and at least those labels."""
    return sum(s.value for s in samples if s.name == name and labels.items() <= s.labels.items())
