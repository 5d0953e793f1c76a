"""Shadow mode of one cluster: hears what a live balancer did, asks what forestay would have done, keeps the accounts.

To the control loop it is a data plane that carries nothing: the connections it reports are somebody else's, and the
plans it is given it only measures. It has no socket. Every connection is looked at twice: `Balancer.preview` says
where forestay would put it in the world as it is (how often is that the same server?), and the would-be world (see
there) follows what such choices would have added up to.
"""

import asyncio
import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import structlog

from forestay.balancer import Balancer
from forestay.control.clock import Clock
from forestay.control.directory import EndpointDirectory
from forestay.control.events import EventCalendar
from forestay.control.ports import ConnectionSink
from forestay.control.shadow.hindsight import HORIZON_S, Hindsight
from forestay.control.shadow.intake import Intake
from forestay.control.shadow.measures import Measures
from forestay.control.shadow.sightings import Sighting
from forestay.control.shadow.skill import Skill
from forestay.control.shadow.would_be import WouldBeWorld
from forestay.model.connection import Connection
from forestay.model.load import LoadReport
from forestay.model.plan import Plan

log = structlog.get_logger(__name__)

STEP_S = 0.1
"""How often what is due is handled, between two ticks."""
LATE_S = 2.0
"""An opening that is news from longer ago is not judged: too much has happened since."""
SUMMARY_EVERY_S = 60.0


class Host(Protocol):
    """The control loop, as far as a shadow needs it."""

    balancer: Balancer
    endpoints: EndpointDirectory
    events: EventCalendar
    reports: dict[str, LoadReport]
    clock: Clock

    def take_report(self, report: LoadReport) -> bool:
        """Take a load report whose moment has come."""


@dataclass(frozen=True, slots=True)
class ShadowRule:
    """How to observe.

    Attributes:
        source: where placements are learned from, in a word: for people, and "agents" takes their lists of sockets.
        delay_s: how far behind the shadow lives, so that connections that are known at their end only are seen in time.
        warm_up_s: from the first load report on: time to learn, in which nothing is judged.
        seed: of the would-be world.
    """

    source: str = "api"
    delay_s: float = 0.0
    warm_up_s: float = 60.0
    seed: int = 0


class Shadow:
    """See the module. Implements `control.ports.DataPlane`.

    Attributes:
        rule: how it observes.
        intake: takes what is seen. Its outcomes: "judged", "warm_up", "present", "late", "closed", "unknown_endpoint",
            "unknown_connection", "repeated", "refused", "overflow".
        sources: what became of what each source read, by its name; its owner counts.
        verdicts: of judged connections: "same", "other", "queue", "shed".
        as_is: the world as it is.
        would_be: the world as it would have been, over the same seconds.
        skill: of the forecast.
        hindsight: of connections where the choice differs.
    """

    def __init__(self, cluster: str, rule: ShadowRule) -> None:
        self.rule = rule
        self.intake = Intake(cluster, rule.delay_s)
        self.sources: dict[str, Counter[str]] = {}
        self.verdicts: Counter[str] = Counter()
        self.as_is, self.would_be = Measures(), Measures()
        self.skill, self.hindsight = Skill(), Hindsight()
        self._host: Host
        self._sink: ConnectionSink
        self._world: WouldBeWorld
        self._revision = -1  # of the directory that the would-be world knows
        self._open: dict[str, str] = {}  # id -> endpoint
        self._count: Counter[str] = Counter()  # of these, by endpoint
        self._judges_from_s = math.inf
        self._ticked_s = -math.inf
        self._summary_due_s = math.inf
        self._retold_s: dict[str, float] = {}  # time of the last report that the would-be world has heard, by endpoint
        self._silent: frozenset[str] = frozenset()
        self._log = log.bind(cluster=cluster)

    def attach(self, host: Host) -> None:
        """Belong to a control loop, before it starts."""
        self._host = host
        self.intake.clock = host.clock
        self._world = WouldBeWorld(host.balancer.settings, self.rule.seed)
        host.events.tell_also(self._world.balancer)

    async def start(self, sink: ConnectionSink) -> None:
        """See `DataPlane`."""
        self._sink = sink
        self._summary_due_s = self._host.clock.now_s() + SUMMARY_EVERY_S

    def placed(self, endpoint_id: str) -> None:
        """See `DataPlane`; nobody is placed here."""

    async def stop(self, drain_s: float) -> None:
        """See `DataPlane`."""
        self._summarise()

    async def run(self) -> None:
        """Handle what is due, until cancelled."""
        while True:
            self.step(self._host.clock.now_s())
            await asyncio.sleep(STEP_S)

    def step(self, now_s: float) -> None:
        """Handle what is due at `now_s`."""
        for at_s, item in self.intake.due(now_s):
            if isinstance(item, LoadReport):
                self._host.take_report(item)
            elif item.event == "closed":
                self._closed(item, at_s)
            else:
                self._opened(item, at_s, now_s)

    def publish(self, plan: Plan) -> None:
        """See `DataPlane`: a second is over, and is accounted for."""
        now_s = plan.now_s
        if now_s <= self._ticked_s:
            return
        dt_s = min(now_s - self._ticked_s, 10.0)
        self._ticked_s = now_s
        reported = self._reported(now_s)
        loads = {endpoint_id: load for endpoint_id, (_, load) in reported.items()}
        if loads and math.isinf(self._judges_from_s):
            self._judges_from_s = now_s + self.rule.warm_up_s
        self.skill.tick(now_s, plan.forecast, reported)
        self.hindsight.tick(now_s, loads, plan.forecast.at(HORIZON_S))
        if self.judging:
            self._measure(loads, dt_s)
        self._turn_would_be_world(reported, now_s, dt_s)
        if now_s >= self._summary_due_s:
            self._summary_due_s = now_s + SUMMARY_EVERY_S
            self._summarise()

    # What is shown.

    @property
    def judging(self) -> bool:
        """Whether the warm-up is over."""
        return self._ticked_s >= self._judges_from_s

    @property
    def warm_up_left_s(self) -> float | None:
        """Seconds until the first judgement; None: the warm-up has not begun, since nobody has reported load."""
        return None if math.isinf(self._judges_from_s) else max(0.0, self._judges_from_s - self._ticked_s)

    @property
    def coverage(self) -> float | None:
        """Connections known over those that the servers count themselves; None: none of them does."""
        counted = {
            endpoint_id: report.open_connections
            for endpoint_id, report in self._host.reports.items()
            if report.open_connections is not None
        }
        if not sum(counted.values()):
            return None
        return sum(self._count[endpoint_id] for endpoint_id in counted) / sum(counted.values())

    @property
    def connections_as_is(self) -> dict[str, int]:
        """Open connections by endpoint."""
        return {state.endpoint.id: self._count[state.endpoint.id] for state in self._host.endpoints}

    @property
    def connections_would_be(self) -> dict[str, int]:
        """Open connections by endpoint as they would have been."""
        by_age = self._world.balancer.connections_by_age()
        return {endpoint_id: round(float(counts.sum())) for endpoint_id, counts in by_age.items()}

    @property
    def loads(self) -> dict[str, tuple[float, float]]:
        """Load by endpoint as last reported, and as it would have been."""
        reported = self._reported(self._ticked_s)
        return {endpoint_id: (load, self._world.load(endpoint_id, load)) for endpoint_id, (_, load) in reported.items()}

    # Inside.

    def _opened(self, sighting: Sighting, at_s: float, now_s: float) -> None:
        connection_id, endpoint_id = sighting.id, sighting.endpoint_id
        outcomes = self.intake.outcomes
        if endpoint_id not in self._host.endpoints:
            self.intake.count("unknown_endpoint", sighting, "name it in clusters.NAME.endpoints or in shadow.servers")
        elif self._open.get(connection_id) == endpoint_id:
            outcomes["repeated"] += 1
        else:
            self._forget(connection_id, at_s)  # open elsewhere until now: it has moved
            self._sync_endpoints(at_s)
            if sighting.event == "present":
                self._follow(sighting, at_s, "present")
            elif not self.judging:
                self._follow(sighting, at_s, "warm_up")
            elif at_s < now_s - LATE_S:
                self._follow(sighting, at_s, "late")
            else:
                self._judge(sighting, at_s)

    def _judge(self, sighting: Sighting, at_s: float) -> None:
        """Ask what forestay would do, before it knows what was done."""
        chosen, exclude = sighting.endpoint_id, self._silent - {sighting.endpoint_id}
        verdict = self._host.balancer.preview(sighting.id, at_s, hint=sighting.hint, exclude=exclude)
        if not self._register(sighting, at_s):
            return
        self._world.place(sighting.id, chosen, at_s, sighting.hint, exclude)
        self.intake.outcomes["judged"] += 1
        if verdict.kind != "admit":
            self.verdicts[verdict.kind] += 1
        elif verdict.endpoint_id == chosen:
            self.verdicts["same"] += 1
        else:
            self.verdicts["other"] += 1
            self.hindsight.differ(chosen, verdict.endpoint_id)

    def _follow(self, sighting: Sighting, at_s: float, outcome: str) -> None:
        """Know of a connection from now on, in both worlds, without judging where it is."""
        if self._register(sighting, at_s):
            self._world.follow(sighting.id, sighting.endpoint_id, at_s, sighting.hint)
            self.intake.outcomes[outcome] += 1

    def _register(self, sighting: Sighting, at_s: float) -> bool:
        """Let loop and balancer know; False: they would not have it."""
        opened_at = self._host.clock.unix(at_s)
        connection = Connection(
            sighting.id, sighting.endpoint_id, sighting.client, opened_at=opened_at, hint=sighting.hint
        )
        self._sink.opened(connection, at_s)
        if sighting.id not in self._host.balancer.connections:
            self.intake.count("refused", sighting, "shorten its id, client or hint")
            return False
        self._open[sighting.id] = sighting.endpoint_id
        self._count[sighting.endpoint_id] += 1
        return True

    def _closed(self, sighting: Sighting, at_s: float) -> None:
        self.intake.outcomes["closed" if self._forget(sighting.id, at_s) else "unknown_connection"] += 1

    def _forget(self, connection_id: str, at_s: float) -> bool:
        endpoint_id = self._open.pop(connection_id, None)
        if endpoint_id is None:
            return False
        self._count[endpoint_id] -= 1
        if not self._count[endpoint_id]:
            del self._count[endpoint_id]
        self._sink.closed(connection_id, at_s)
        self._world.balancer.closed(connection_id, at_s)
        return True

    def _reported(self, now_s: float) -> dict[str, tuple[float, float]]:
        """Time and load of every report that counts."""
        stale_after_s = self._host.balancer.settings.stale_after_s
        return {
            endpoint_id: (report.at_s, load)
            for endpoint_id, report in self._host.reports.items()
            if (load := report.stated_load) is not None and now_s - report.at_s <= stale_after_s
        }

    def _measure(self, loads: Mapping[str, float], dt_s: float) -> None:
        self.as_is.add(np.array(list(loads.values())), dt_s)
        self.would_be.add(np.array([self._world.load(endpoint_id, load) for endpoint_id, load in loads.items()]), dt_s)

    def _turn_would_be_world(self, reported: Mapping[str, tuple[float, float]], now_s: float, dt_s: float) -> None:
        self._sync_endpoints(now_s, always=True)
        for endpoint_id, (at_s, load) in reported.items():
            if self._retold_s.get(endpoint_id) != at_s:
                self._retold_s[endpoint_id] = at_s
                self._world.report(self._host.reports[endpoint_id], load)
        for endpoint_id in [each for each in self._retold_s if each not in self._host.endpoints]:
            del self._retold_s[endpoint_id]
            self.intake.forget_endpoint(endpoint_id)
        # Who has reported before and is silent now is probably down; the live balancer's health checks know, we do not.
        self._silent = frozenset(self._retold_s.keys() - reported.keys()) if reported else frozenset()
        balancer, coverage = self._host.balancer, self.coverage
        self._world.configure(balancer.settings)
        cost = balancer.connection_cost()
        self._world.tick(
            now_s,
            dt_s,
            self._host.clock.wall_s(),
            cost,
            balancer.connections_by_age(cost.by_hint),
            1.0 if coverage is None else min(coverage, 1.0),
        )

    def _sync_endpoints(self, now_s: float, always: bool = False) -> None:
        """Let the would-be world know the endpoints of now; their health, which has no revision, once a second."""
        directory = self._host.endpoints
        if always or directory.revision != self._revision:
            self._revision = directory.revision
            self._world.set_endpoints(directory, now_s)

    def _summarise(self) -> None:
        """One line for the log."""
        self._log.info(
            "shadow",
            judged=sum(self.verdicts.values()),
            same=self.verdicts["same"],
            max_over_mean=_rounded(self.as_is.max_over_mean),
            would_be_max_over_mean=_rounded(self.would_be.max_over_mean),
            delay=_rounded(self.as_is.delay),
            would_be_delay=_rounded(self.would_be.delay),
            over_busy_s=round(self.as_is.over_busy_s),
            would_be_over_busy_s=round(self.would_be.over_busy_s),
            over_full_s=round(self.as_is.over_full_s),
            would_be_over_full_s=round(self.would_be.over_full_s),
            skill={f"{score.horizon_s:g}": _rounded(score.ratio) for score in self.skill.scores()},
        )


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 3)
