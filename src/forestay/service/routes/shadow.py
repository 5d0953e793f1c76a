"""Shadow mode: what a live balancer did, and what forestay would have done instead."""

from typing import Annotated, Literal

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field, model_validator

from forestay.control.shadow.shadow import Shadow
from forestay.control.shadow.sightings import Sighting
from forestay.service.problems import Problem, ProblemDocument
from forestay.service.routes.lookup import INVALID, NOT_FOUND, ClusterDependency
from forestay.service.schemas import ENDPOINT_EXAMPLE, Finite, Identifier, Request, Word
from forestay.service.shadow_views import ShadowView, view_shadow
from forestay.telemetry.reports import EndpointId

OBSERVATIONS_MAX = 10_000
"""In one request: seconds of the busiest balancer."""

router = APIRouter(
    prefix="/v1/clusters/{cluster}",
    tags=["shadow"],
    responses={**NOT_FOUND, 409: {"model": ProblemDocument, "description": "The cluster is not in shadow mode"}},
)


class Observation(Request):
    """Something that a live balancer did."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"event": "opened", "id": "a1", "endpoint": ENDPOINT_EXAMPLE}]}
    )

    event: Annotated[Literal["opened", "closed"], Field(description="What happened to the connection")]
    id: Annotated[Identifier, Field(description="Of the connection")]
    endpoint: Annotated[EndpointId | None, Field(description="Where it was placed; needed with opened")] = None
    at: Annotated[Finite | None, Field(ge=0, le=1e11, description="Unix time, seconds; null: just now")] = None
    client: Annotated[Word, Field(description="Who: address or name")] = ""
    hint: Annotated[Word, Field(description="Class of connection")] = ""

    @model_validator(mode="after")
    def _opened_somewhere(self) -> "Observation":
        if self.event == "opened" and self.endpoint is None:
            raise ValueError("endpoint is missing: say where the connection opened")
        return self


class Observations(Request):
    """What a live balancer did, in any order."""

    observations: Annotated[list[Observation], Field(min_length=1, max_length=OBSERVATIONS_MAX)]


class ObservationsAnswer(BaseModel):
    """What became of observations."""

    taken: int
    unknown: list[str] = Field(description="Endpoints that are not of the cluster; nothing was noted of those")


@router.get("/shadow", summary="What forestay would have done")
async def get_shadow(cluster: ClusterDependency) -> ShadowView:
    """Totals since the start: choices, what they would have changed, the forecast's skill."""
    return view_shadow(cluster, _shadow(cluster.name, cluster.shadow))


@router.post("/observations", summary="Say what a live balancer did", responses=INVALID)
async def post_observations(cluster: ClusterDependency, body: Observations) -> ObservationsAnswer:
    """Tell a shadow of connections that opened and closed. Repeating an observation is safe."""
    shadow = _shadow(cluster.name, cluster.shadow)
    answer = ObservationsAnswer(taken=0, unknown=[])
    for seen in body.observations:
        endpoint_id = seen.endpoint or ""
        if seen.event == "opened" and endpoint_id not in cluster.endpoints:
            answer.unknown.append(endpoint_id)
            continue
        shadow.intake.observe(Sighting(seen.event, seen.id, endpoint_id, seen.at, client=seen.client, hint=seen.hint))
        answer.taken += 1
    return answer


def _shadow(name: str, shadow: Shadow | None) -> Shadow:
    if shadow is None:
        raise Problem(409, f"cluster {name!r} is not in shadow mode", "start it with forestay serve --shadow")
    return shadow
