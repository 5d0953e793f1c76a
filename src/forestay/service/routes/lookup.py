"""How routes find what their path names."""

from collections.abc import Mapping
from typing import Annotated, Any, TypeAlias

from fastapi import Depends, Path, Request

from forestay.control.loop import ClusterLoop
from forestay.service.problems import Problem, ProblemDocument

Clusters: TypeAlias = Mapping[str, ClusterLoop]

Responses: TypeAlias = dict[int | str, dict[str, Any]]

NOT_FOUND: Responses = {404: {"model": ProblemDocument, "description": "No such cluster, or no such thing in it"}}
SHADOW: Responses = {409: {"model": ProblemDocument, "description": "The cluster is in shadow mode"}}
INVALID: Responses = {422: {"model": ProblemDocument, "description": "A field is invalid"}}


def clusters_of(request: Request) -> Clusters:
    """The clusters of this process by name."""
    clusters: Clusters = request.app.state.clusters
    return clusters


def cluster_of(request: Request, cluster: Annotated[str, Path(description="Name of a cluster")]) -> ClusterLoop:
    """The cluster that the path names.

    Raises:
        Problem: 404.
    """
    clusters = clusters_of(request)
    if cluster not in clusters:
        known = ", ".join(sorted(clusters)) or "none is configured"
        raise Problem(404, f"there is no cluster {cluster[:80]!r}", f"use one of: {known}")
    return clusters[cluster]


def acting_cluster_of(cluster: Annotated[ClusterLoop, Depends(cluster_of)]) -> ClusterLoop:
    """The same, for what only makes sense where forestay places.

    Raises:
        Problem: 409: the cluster is in shadow mode.
    """
    if cluster.shadow is not None:
        raise Problem(
            409,
            f"cluster {cluster.name!r} is in shadow mode: forestay only observes, and places and drains nothing",
            "ask the live balancer, or start forestay serve without --shadow",
        )
    return cluster


ClustersDependency = Annotated[Clusters, Depends(clusters_of)]
ClusterDependency = Annotated[ClusterLoop, Depends(cluster_of)]
ActingClusterDependency = Annotated[ClusterLoop, Depends(acting_cluster_of)]
EndpointId = Annotated[str, Path(description='Endpoint, "host:port"', max_length=300)]
ConnectionId = Annotated[str, Path(description="Connection", max_length=128)]
