"""Direct placement: clients ask where to connect, and say when they are connected and when they are gone."""

import asyncio
import math
from contextlib import suppress
from typing import Annotated

from fastapi import APIRouter, Query, Request, Response

from forestay.control.loop import ClusterLoop
from forestay.control.placements import Placement, PlacementRequest
from forestay.service.problems import Problem, ProblemDocument
from forestay.service.routes.lookup import INVALID, NOT_FOUND, SHADOW, ActingClusterDependency, ConnectionId
from forestay.service.schemas import ConfirmationRequest, ConnectionView, PlacementRequestBody, PlacementView
from forestay.service.views import view_connection

router = APIRouter(prefix="/v1/clusters/{cluster}/placements", tags=["placements"], responses={**NOT_FOUND, **SHADOW})


@router.post(
    "",
    status_code=201,
    summary="Ask which endpoint to connect to",
    responses={
        201: {"model": PlacementView, "description": "Connect to endpoint_id, then confirm"},
        202: {"model": PlacementView, "description": "Queued: ask again with the same id"},
        503: {"model": ProblemDocument, "description": "No room now; see Retry-After"},
        **INVALID,
    },
)
async def ask(
    cluster: ActingClusterDependency, body: PlacementRequestBody, request: Request, response: Response
) -> PlacementView:
    """The endpoint where this connection will fit for as long as it stays.

    The place is kept for 10 s (a setting): connect, then confirm with PUT, and DELETE when the connection ends. When
    nobody has room, the request waits for a turn up to `wait_s`, or with `wait_s` = 0 is answered 202 at once and
    keeps its place in the queue; ask again with the same id.
    """
    placement: Placement | None = cluster.placements.ask(
        PlacementRequest(
            id=body.id or "",
            client=body.client,
            hint=body.hint,
            zone=body.zone,
            prefer=body.prefer,
            exclude=tuple(body.exclude),
        )
    )
    assert placement is not None
    if placement.state == "queued" and body.wait_s > 0:
        queued = placement
        placement = await _wait(cluster, queued.id, body.wait_s, request)
        if placement is None or placement.state == "queued":
            cluster.placements.close(queued.id)
            raise _no_room(placement or queued)
    if placement.state == "shed":
        raise _no_room(placement)
    if placement.state == "queued":
        response.status_code = 202
        response.headers["Retry-After"] = _whole_seconds(placement.retry_after_s)
    return _view(placement)


@router.get("/{connection_id}", summary="Where a placement stands")
async def get_placement(cluster: ActingClusterDependency, connection_id: ConnectionId) -> PlacementView:
    """Its state. 404: never asked for, refused, expired or closed."""
    placement = cluster.placements.find(connection_id)
    if placement is None:
        raise Problem(404, f"nothing is remembered of placement {connection_id!r}", "ask for a placement anew")
    return _view(placement)


@router.put("/{connection_id}", summary="Confirm: the client is connected", responses=INVALID)
async def confirm(
    cluster: ActingClusterDependency, connection_id: ConnectionId, body: ConfirmationRequest | None = None
) -> ConnectionView:
    """Register the connection. Repeating it is safe; naming another endpoint says that the connection moved there."""
    body = body or ConfirmationRequest()
    connection = cluster.placements.confirm(connection_id, body.endpoint_id or "", body.client)
    return view_connection(connection, cluster.clock.wall_s())


@router.delete("/{connection_id}", status_code=204, summary="End a placement", responses=INVALID)
async def close(
    cluster: ActingClusterDependency,
    connection_id: ConnectionId,
    failed: Annotated[
        bool, Query(description="The endpoint did not accept the connection: hold it against it")
    ] = False,
) -> None:
    """The connection is gone, or will not be made. Repeating it is safe."""
    cluster.placements.close(connection_id, failed)


async def _wait(cluster: ClusterLoop, connection_id: str, wait_s: float, request: Request) -> Placement | None:
    """Wait for a turn, but only as long as the client does (None: it hung up), so that nobody holds a place in vain."""
    turn = asyncio.create_task(cluster.placements.wait(connection_id, wait_s))
    hung_up = asyncio.create_task(_disconnected(request))
    try:
        await asyncio.wait((turn, hung_up), return_when=asyncio.FIRST_COMPLETED)
        return turn.result() if turn.done() else None
    finally:
        for task in (turn, hung_up):
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task


async def _disconnected(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        continue


def _no_room(placement: Placement) -> Problem:
    retry_after = _whole_seconds(placement.retry_after_s)
    return Problem(
        503,
        f"no endpoint has room now ({placement.reason or 'withdrawn'})",
        f"try again in {retry_after} s, or wait longer with wait_s",
        headers={"Retry-After": retry_after},
    )


def _whole_seconds(seconds: float) -> str:
    return str(max(1, math.ceil(seconds)))


def _view(placement: Placement) -> PlacementView:
    assert placement.state != "shed"
    return PlacementView(
        id=placement.id,
        state=placement.state,
        endpoint_id=placement.endpoint_id,
        reason=placement.reason,
        expires_in_s=placement.expires_in_s,
        retry_after_s=placement.retry_after_s,
    )
