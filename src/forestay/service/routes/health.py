"""Liveness and readiness, open to everybody."""

from fastapi import APIRouter, Response

from forestay.service.routes.lookup import ClustersDependency
from forestay.service.schemas import HealthView

PLAN_AGE_MAX_S = 5.0
"""Planes stop trusting a plan at this age; a process that makes none should not be asked."""

router = APIRouter(tags=["health"])


@router.get("/healthz", summary="Is the process alive?")
async def healthz() -> HealthView:
    """Always 200 while the process answers at all."""
    return HealthView(status="ok", problems=[])


@router.get(
    "/readyz",
    summary="Is the process ready?",
    responses={503: {"model": HealthView, "description": "Some cluster has no fresh plan"}},
)
async def readyz(clusters: ClustersDependency, response: Response) -> HealthView:
    """200 while every cluster has a plan of the last seconds, else 503 with the reasons."""
    problems = []
    for name, cluster in clusters.items():
        if cluster.plan is None:
            problems.append(f"cluster {name}: no plan yet")
        elif (age_s := cluster.clock.now_s() - cluster.plan.now_s) > PLAN_AGE_MAX_S:
            problems.append(f"cluster {name}: the last plan is {age_s:.0f} s old; see the log for why ticks fail")
    if problems:
        response.status_code = 503
    return HealthView(status="unready" if problems else "ok", problems=problems)
