"""Clusters, their endpoints and their plan."""

from fastapi import APIRouter

from forestay.control.address import join_address, split_address
from forestay.model.endpoint import Endpoint
from forestay.model.errors import InvalidInput
from forestay.service.problems import Problem
from forestay.service.routes.lookup import (
    INVALID,
    NOT_FOUND,
    SHADOW,
    ActingClusterDependency,
    ClusterDependency,
    ClustersDependency,
    EndpointId,
)
from forestay.service.schemas import ClusterList, EndpointList, EndpointRequest, EndpointView, PlanView
from forestay.service.views import view_cluster, view_endpoints, view_plan

router = APIRouter(prefix="/v1/clusters", tags=["clusters"], responses=NOT_FOUND)


@router.get("", summary="All clusters")
async def list_clusters(clusters: ClustersDependency) -> ClusterList:
    """Every cluster in short: size, load, queue, decisions, errors."""
    return ClusterList(clusters=[view_cluster(cluster) for cluster in clusters.values()])


@router.get("/{cluster}/endpoints", summary="Endpoints of a cluster")
async def list_endpoints(cluster: ClusterDependency) -> EndpointList:
    """State, load and predicted load of every endpoint."""
    return EndpointList(endpoints=view_endpoints(cluster, list(cluster.endpoints)))


@router.get("/{cluster}/endpoints/{endpoint_id}", summary="One endpoint")
async def get_endpoint(cluster: ClusterDependency, endpoint_id: EndpointId) -> EndpointView:
    """State, load and predicted load of one endpoint."""
    return view_endpoints(cluster, [cluster.endpoints.get(endpoint_id)])[0]


@router.post("/{cluster}/endpoints", status_code=201, summary="Add an endpoint", responses=INVALID)
async def add_endpoint(cluster: ClusterDependency, body: EndpointRequest) -> EndpointView:
    """Add an endpoint, or change its attributes. It is kept over a restart, until it is removed."""
    try:
        endpoint_id = join_address(*split_address(body.id))
    except ValueError as error:
        raise InvalidInput(f"id = {body.id[:80]!r}: {error}") from None
    endpoint = Endpoint(endpoint_id, body.capacity, body.zone, body.connections_max)
    state = cluster.endpoints.add(endpoint, cluster.clock.now_s(), "api")
    return view_endpoints(cluster, [state])[0]


@router.delete("/{cluster}/endpoints/{endpoint_id}", status_code=204, summary="Remove an endpoint")
async def remove_endpoint(cluster: ClusterDependency, endpoint_id: EndpointId) -> None:
    """Remove an endpoint at once. Its connections are not cut; drain it first to let them end.

    One that the configuration or DNS names comes back when they are read again.
    """
    cluster.endpoints.remove(endpoint_id, cluster.clock.now_s())


@router.post("/{cluster}/endpoints/{endpoint_id}/drain", summary="Put nothing new on an endpoint", responses=SHADOW)
async def drain_endpoint(cluster: ActingClusterDependency, endpoint_id: EndpointId) -> EndpointView:
    """From the next tick on the endpoint gets no newcomers. Its connections stay. Repeating it is safe."""
    return view_endpoints(cluster, [cluster.endpoints.drain(endpoint_id, cluster.clock.now_s())])[0]


@router.post("/{cluster}/endpoints/{endpoint_id}/undrain", summary="Take newcomers again", responses=SHADOW)
async def undrain_endpoint(cluster: ActingClusterDependency, endpoint_id: EndpointId) -> EndpointView:
    """End a drain. Repeating it is safe."""
    return view_endpoints(cluster, [cluster.endpoints.undrain(endpoint_id, cluster.clock.now_s())])[0]


@router.get("/{cluster}/plan", summary="The last plan")
async def get_plan(cluster: ClusterDependency) -> PlanView:
    """Who takes newcomers until the next tick, and how many."""
    if cluster.plan is None:
        raise Problem(503, "there is no plan yet", "try again in a second", headers={"Retry-After": "1"})
    return view_plan(cluster.plan, cluster.clock.now_s() - cluster.plan.now_s)
