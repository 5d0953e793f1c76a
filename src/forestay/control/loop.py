"""The asyncio shell of one cluster: turns the crank once a second and connects the balancer with the world.

Everything here runs on one thread, so the balancer needs no lock. Whatever goes wrong in a tick is logged and counted;
the data planes then keep the last plan, which is what they do when this process is gone, too.
"""

import asyncio
import math
from collections.abc import Callable, Sequence

import structlog

from forestay.balancer import Balancer
from forestay.control.clock import SYSTEM_CLOCK, Clock
from forestay.control.connections import AccessLog, ConnectionLedger
from forestay.control.counts import Counts
from forestay.control.directory import EndpointDirectory
from forestay.control.events import EventCalendar
from forestay.control.placements import PlacementDesk
from forestay.control.ports import ConnectionStore, DataPlane
from forestay.control.recovery import (
    BlobStore,
    OperatorState,
    balancer_key,
    load_operator_state,
    operator_key,
)
from forestay.control.schedule import Schedule
from forestay.control.shadow.shadow import Shadow
from forestay.model.connection import Connection
from forestay.model.errors import InvalidInput
from forestay.model.load import LoadReport
from forestay.model.plan import Plan

log = structlog.get_logger(__name__)

TICK_S = 1.0
LATE_S = 0.1
"""A tick this late is counted as late: a tenth of its period, far over the scheduling noise of an idle machine."""

ADOPTION_S = 10.0
"""Time for data planes to name the connections that they kept over a restart: ten times what a worker needs."""

POLL_S = 0.05
"""How often the queue of direct placements is polled while it is not empty: well under what a person notices."""


class ClusterLoop:
    """One cluster at run time.

    Attributes:
        name: of the cluster; label of its metrics.
        balancer: the decisions. Use it through the parts below, which keep everybody else informed.
        endpoints: which endpoints there are, and their state.
        connections: the sink for data planes.
        placements: direct placements.
        events: announced events.
        counts: what happened.
        reports: last usable report by endpoint id.
        plan: of the last tick that worked; None before the first.
        shadow: where nothing is placed and somebody else's placements are judged; None: the usual.
        on_failed: called with the id of an endpoint that did not accept a connection, e.g. `HealthChecker.suspect`.
    """

    def __init__(
        self,
        name: str,
        balancer: Balancer,
        store: ConnectionStore,
        planes: Sequence[DataPlane] = (),
        *,
        blobs: BlobStore | None = None,
        snapshot_every_s: float = 30.0,
        reservation_s: float = 10.0,
        access_log: AccessLog | None = None,
        shadow: Shadow | None = None,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        self.name = name
        self.balancer = balancer
        self.clock = clock
        self.counts = Counts()
        self.endpoints = EndpointDirectory(balancer)
        self.connections = ConnectionLedger(
            name,
            balancer=balancer,
            directory=self.endpoints,
            store=store,
            counts=self.counts,
            clock=clock,
            access_log=access_log,
        )
        self.placements = PlacementDesk(
            balancer=balancer,
            directory=self.endpoints,
            ledger=self.connections,
            counts=self.counts,
            clock=clock,
            reservation_s=reservation_s,
            placed=self._placed,
        )
        self.events = EventCalendar(balancer, clock)
        self.reports: dict[str, LoadReport] = {}
        self.endpoints.subscribe(self._forget_reports)
        self.plan: Plan | None = None
        self.on_failed: list[Callable[[str], None]] = []
        self.shadow = shadow
        self._planes = list(planes)
        if shadow is not None:
            shadow.attach(self)
            self._planes.append(shadow)
        self._blobs = blobs
        self._snapshot_every_s = snapshot_every_s
        self._snapshot_due_s = clock.now_s() + snapshot_every_s
        self._adoption_ends_s = math.inf
        self._operator_revision = (0, 0)
        self._fallbacks: frozenset[str] = frozenset()
        self._log = log.bind(cluster=name)

    # Data planes, telemetry and health checks call these.

    def opened(self, connection: Connection, at_s: float) -> None:
        """See `ConnectionSink`."""
        try:
            self.connections.opened(connection, at_s)
        except InvalidInput as error:
            self._survive("register", error)

    def failed(self, connection_id: str, endpoint_id: str, at_s: float) -> None:
        """See `ConnectionSink`."""
        self.connections.failed(connection_id, endpoint_id, at_s)
        for suspect in self.on_failed:
            suspect(endpoint_id)

    def closed(self, connection_id: str, at_s: float) -> None:
        """See `ConnectionSink`."""
        self.connections.closed(connection_id, at_s)

    def resynced(self, owner: str, live: Sequence[Connection]) -> None:
        """See `ConnectionSink`."""
        self.connections.resynced(owner, live)

    def report(self, report: LoadReport) -> bool:
        """Take one load report, in a shadow that lives behind when its moment has come; see `take_report`."""
        if self.shadow is not None and self.shadow.intake.hold(report):
            return True
        return self.take_report(report)

    @property
    def delay_s(self) -> float:
        """How far `clock` is behind the world outside, which dates load reports and announces events."""
        return self.shadow.rule.delay_s if self.shadow is not None else 0.0

    def take_report(self, report: LoadReport) -> bool:
        """Take one load report; an unusable one is counted and dropped.

        Returns:
            Whether it was taken.
        """
        if report.endpoint_id not in self.endpoints:
            self.counts.reports["unknown_endpoint"] += 1
            return False
        if not self.balancer.report(report, self.clock.now_s()):
            self.counts.reports["unusable"] += 1
            self._log.debug("report_unusable", report=report)
            return False
        self.counts.reports["taken"] += 1
        self.reports[report.endpoint_id] = report
        return True

    def __call__(self, report: LoadReport) -> None:
        """See `ReportSink`."""
        self.report(report)

    def health_changed(self, endpoint_id: str, healthy: bool, detail: str = "") -> None:
        """Take the word of a health check; on an endpoint that was removed meanwhile it is ignored."""
        if endpoint_id not in self.endpoints:
            return
        if self.endpoints.set_health(endpoint_id, healthy, self.clock.now_s(), detail):
            self._log.warning("health_changed", endpoint=endpoint_id, healthy=healthy, detail=detail)

    # Life.

    async def start(self) -> None:
        """Recover, make a first plan and start the data planes. Endpoints of the configuration are named before."""
        now_s = self.clock.now_s()
        self._recover(now_s)
        self.connections.adopt([state.endpoint.id for state in self.endpoints])
        self._forget_what_is_gone(now_s)
        self.tick(now_s)
        for plane in self._planes:
            await plane.start(self)
        self._adoption_ends_s = self.clock.now_s() + ADOPTION_S
        self._publish()

    async def add_plane(self, plane: DataPlane) -> None:
        """Start one more data plane, while running."""
        await plane.start(self)
        self._planes.append(plane)
        self._publish()

    async def remove_plane(self, plane: DataPlane, drain_s: float) -> None:
        """Stop a data plane within `drain_s`, while running."""
        self._planes.remove(plane)
        await plane.stop(drain_s)

    async def run(self) -> None:
        """Tick, and poll the queue of direct placements, until cancelled. Call `start` before."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._tick_on_schedule(), name=f"ticks of {self.name}")
            tasks.create_task(self._poll_while_waiting(), name=f"queue of {self.name}")

    async def stop(self, drain_s: float = 0.0) -> None:
        """Stop the data planes, each within `drain_s`, and keep what was learned."""
        results = await asyncio.gather(*(plane.stop(drain_s) for plane in self._planes), return_exceptions=True)
        for error in results:
            if isinstance(error, BaseException):
                self._survive("plane_stop", error)
        self._save_operator_state()
        self._save_snapshot()

    def tick(self, now_s: float) -> None:
        """One turn of the crank: expire, plan, publish, remember. Never raises."""
        began_s = self.clock.now_s()
        self.counts.ticks += 1
        try:
            self.placements.poll(now_s)
            self.events.forget_past()
            if now_s >= self._adoption_ends_s:
                self._adoption_ends_s = math.inf
                self.connections.forget_unconfirmed()
            self.endpoints.remove_empty(self.connections.open, now_s)
            self.plan = self.balancer.tick(now_s, self.clock.wall_s())
            self._note(self.plan)
        except Exception as error:  # the loop must outlive any defect of a decision
            self._survive("tick", error)
        else:
            self._publish()
        self._save_operator_state()
        if now_s >= self._snapshot_due_s:
            self._save_snapshot()
        self.counts.tick_s.observe(self.clock.now_s() - began_s)

    async def _tick_on_schedule(self) -> None:
        schedule = Schedule(self.clock.now_s() + TICK_S, TICK_S)
        while True:
            await asyncio.sleep(schedule.due_s - self.clock.now_s())
            now_s = self.clock.now_s()
            late_s, missed = schedule.begin(now_s)
            self.counts.ticks_missed += missed
            if late_s > LATE_S:
                self.counts.ticks_late += 1
                self._log.warning("tick_late", late_s=round(late_s, 3), missed=missed)
            self.tick(now_s)

    async def _poll_while_waiting(self) -> None:
        while True:
            await self.placements.waiting.wait()
            await asyncio.sleep(POLL_S)
            try:
                self.placements.poll(self.clock.now_s())
            except Exception as error:  # as in tick
                self._survive("poll", error)

    def _recover(self, now_s: float) -> None:
        """Take up again what operators said before the restart."""
        if self._blobs is None:
            return
        state = load_operator_state(self._blobs, self.name)
        for endpoint in state.endpoints:
            self.endpoints.add(endpoint, now_s, "api")
        for endpoint_id in state.draining:
            if endpoint_id in self.endpoints:
                self.endpoints.drain(endpoint_id, now_s)
        for event in state.events:
            if event.ends_at > self.clock.wall_s():
                self.events.announce(event)
        self._operator_revision = self._revision_now()

    def _forget_what_is_gone(self, now_s: float) -> None:
        """A snapshot is older than configuration and registry: what the restored balancer alone remembers is gone."""
        live = {connection.id for connection in self.connections}
        for connection_id in [each for each in self.balancer.connections if each not in live]:
            self.balancer.closed(connection_id, now_s)
        for endpoint_id in [each for each in self.balancer.endpoints if each not in self.endpoints]:
            self.balancer.remove_endpoint(endpoint_id, now_s)

    def _save_snapshot(self) -> None:
        """Keep what was learned for the next life of the process."""
        self._snapshot_due_s = self.clock.now_s() + self._snapshot_every_s
        if self._blobs is None:
            return
        try:
            self._blobs.save_blob(balancer_key(self.name), self.balancer.snapshot())
        except Exception as error:  # a full disk must not stop placing
            self._survive("save_snapshot", error)

    def _save_operator_state(self) -> None:
        """Keep what operators said for the next life of the process, where it has changed."""
        revision = self._revision_now()
        if self._blobs is None or revision == self._operator_revision:
            return
        try:
            state = OperatorState(
                endpoints=tuple(self.endpoints.named_by("api")),
                draining=tuple(state.endpoint.id for state in self.endpoints if state.draining),
                events=tuple(self.events),
            )
            self._blobs.save_blob(operator_key(self.name), state.to_bytes())
            self._operator_revision = revision
        except Exception as error:  # as above
            self._survive("save_operator_state", error)

    def _revision_now(self) -> tuple[int, int]:
        return self.endpoints.revision, self.events.revision

    def _forget_reports(self, endpoint_ids: Sequence[str]) -> None:
        """Drop the reports of endpoints that are gone."""
        known = set(endpoint_ids)
        for endpoint_id in [endpoint_id for endpoint_id in self.reports if endpoint_id not in known]:
            del self.reports[endpoint_id]

    def _publish(self) -> None:
        if self.plan is None:
            return
        for plane in self._planes:
            try:
                plane.publish(self.plan)
            except Exception as error:  # one plane must not cost the others their plan
                self._survive("publish", error)

    def _placed(self, endpoint_id: str) -> None:
        for plane in self._planes:
            plane.placed(endpoint_id)

    def _note(self, plan: Plan) -> None:
        """Count what the plan says, and log fallbacks as they begin and end."""
        self.counts.fallbacks.update(plan.fallbacks)
        self.counts.moves.update(move.reason for move in plan.moves)
        for name in sorted(plan.fallbacks - self._fallbacks):
            self._log.warning("fallback_began", fallback=name)
        for name in sorted(self._fallbacks - plan.fallbacks):
            self._log.info("fallback_ended", fallback=name)
        self._fallbacks = plan.fallbacks

    def _survive(self, where: str, error: BaseException) -> None:
        self.counts.errors[where] += 1
        self._log.error("survived", where=where, error=repr(error), exc_info=error)
