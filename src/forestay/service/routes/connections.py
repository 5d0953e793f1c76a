"""Established connections."""

from itertools import islice
from typing import Annotated

from fastapi import APIRouter, Query

from forestay.model.errors import UnknownConnection
from forestay.service.routes.lookup import NOT_FOUND, ClusterDependency, ConnectionId
from forestay.service.schemas import ConnectionPage, ConnectionView, ExplanationView
from forestay.service.views import view_connection

router = APIRouter(prefix="/v1/clusters/{cluster}/connections", tags=["connections"], responses=NOT_FOUND)


@router.get("", summary="Connections of a cluster")
async def list_connections(
    cluster: ClusterDependency,
    endpoint: Annotated[str | None, Query(max_length=300, description="Only those on this endpoint")] = None,
    limit: Annotated[int, Query(ge=1, le=1000, description="At most that many")] = 100,
    offset: Annotated[int, Query(ge=0, le=100_000_000, description="Skip that many")] = 0,
) -> ConnectionPage:
    """Connections by endpoint, a page at a time."""
    everything = iter(cluster.connections if endpoint is None else cluster.connections.on_endpoint(endpoint))
    page = list(islice(everything, offset, offset + limit + 1))
    wall_s = cluster.clock.wall_s()
    return ConnectionPage(
        connections=[view_connection(connection, wall_s) for connection in page[:limit]],
        next_offset=offset + limit if len(page) > limit else None,
    )


@router.get("/{connection_id}", summary="One connection")
async def get_connection(cluster: ClusterDependency, connection_id: ConnectionId) -> ConnectionView:
    """Where a connection is."""
    connection = cluster.connections.get(connection_id)
    if connection is None:
        raise UnknownConnection(connection_id)
    return view_connection(connection, cluster.clock.wall_s())


@router.get("/{connection_id}/explain", summary="Why is a connection where it is?")
async def explain_connection(cluster: ClusterDependency, connection_id: ConnectionId) -> ExplanationView:
    """The scores at the time of the decision. Remembered for recent decisions only."""
    return ExplanationView(id=connection_id, explanation=cluster.balancer.explain(connection_id))
