"""Announced events."""

from dataclasses import asdict
from typing import Annotated

from fastapi import APIRouter, Path

from forestay.control.events import AnnouncedEvent
from forestay.service.problems import Problem
from forestay.service.routes.lookup import INVALID, NOT_FOUND, ClusterDependency
from forestay.service.schemas import EventList, EventRequest, EventView

router = APIRouter(prefix="/v1/clusters/{cluster}/events", tags=["events"], responses=NOT_FOUND)


@router.post("", status_code=201, summary="Announce an event", responses=INVALID)
async def announce_event(cluster: ClusterDependency, body: EventRequest) -> EventView:
    """Say beforehand that more (or fewer) connections will arrive: a campaign, a broadcast, a maintenance window."""
    wall_s = cluster.clock.wall_s() + cluster.delay_s
    starts_at = body.starts_at if body.starts_at is not None else wall_s + (body.in_s or 0.0)
    ends_at = body.ends_at if body.ends_at is not None else starts_at + (body.for_s or 0.0)
    event = AnnouncedEvent(body.name, starts_at, ends_at, body.arrival_factor)
    cluster.events.announce(event)
    return EventView(**asdict(event))


@router.get("", summary="Announced events")
async def list_events(cluster: ClusterDependency) -> EventList:
    """Events that are not over yet."""
    return EventList(events=[EventView(**asdict(event)) for event in cluster.events])


@router.delete("/{name}", status_code=204, summary="Withdraw an event")
async def withdraw_event(cluster: ClusterDependency, name: Annotated[str, Path(max_length=128)]) -> None:
    """Take an announcement back, also of an event that has begun."""
    if not cluster.events.withdraw(name):
        raise Problem(404, f"no event {name!r} is announced", "list the events to see which are")
