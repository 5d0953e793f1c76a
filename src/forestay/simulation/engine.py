"""Drives a policy through a world, step by step of 0.1 s.

Within a step what happens to connections is ordered by time; servers change, reports arrive and the policy ticks at the
start of a step. A policy hears exactly what a live one would: verdicts are asked for, opens, closes and failures told,
reports come late, noisy or not at all.
"""

import hashlib
import math
from array import array
from bisect import insort
from collections import defaultdict, deque
from collections.abc import Callable
from time import perf_counter_ns
from typing import Protocol, TypeAlias, runtime_checkable

import numpy as np

from forestay.model.event import Event
from forestay.model.plan import Verdict
from forestay.simulation import measures
from forestay.simulation.faults import Change
from forestay.simulation.outcome import Outcome
from forestay.simulation.policy import Policy
from forestay.simulation.reporting import Reporter
from forestay.simulation.servers import Servers
from forestay.simulation.steps import COLD_S, STEP_S, STEPS_PER_S
from forestay.simulation.world import World

CLOSE, ASK, LEAVE = range(3)
"""What a connection does at a moment: ends; its client asks for a place; its client is thrown off a draining server."""

Moment: TypeAlias = tuple[float, int, int]
"""When, which connection, what it does. A plain tuple: half a million of them are made in a run."""

TIMED_EVERY = 16
"""One `place` in so many is timed: the clock costs as much as a cheap policy does."""

CONNECTS_MAX = 4
"""Servers that a client tries one after the other before it gives up, as the relay does."""

SERVER_BITS = 16
"""A placement in the digest: number of the connection, then so many bits for the server."""

RETRY_S = 1.0
"""When a client comes back that could connect nowhere."""


@runtime_checkable
class Privileged(Protocol):
    """A policy that may see the truth: the limits, and peers that probe servers."""

    def attach(self, world: World, servers: Servers) -> None:
        """Called once, before the run."""


@runtime_checkable
class Stepping(Protocol):
    """A policy that does something at every step."""

    def step(self, now_s: float) -> None:
        """Called at the start of each step, before anything else happens in it."""


def connection_number(name: str) -> int:
    """The connection that the policy knows by this name: index into the columns of `Servers`."""
    return int(name[1:])


def run(world: World, policy: Policy, name: str, keep_series: bool = False) -> Outcome:
    """Drive `policy` through `world` from its beginning to its end.

    Args:
        world: is not changed.
        policy: a fresh one.
        name: of the policy, for the outcome.
        keep_series: whether to keep load over time, for plots.
    """
    return _Run(world, policy).play(name, keep_series)


class _Run:
    """One run; see `run`."""

    def __init__(self, world: World, policy: Policy) -> None:
        self.world, self.policy, self.servers = world, policy, Servers(world)
        connections, servers = world.connections, len(world.endpoint_ids)
        self.server_of = {endpoint_id: server for server, endpoint_id in enumerate(world.endpoint_ids)}
        self.arrives_s: list[float] = [*connections.arrives_s.tolist(), math.inf]
        self.hint_of: list[str] = []  # by connection; empty where there are no hints
        if any(world.hints):
            self.hint_of = [world.hints[kind] for kind in connections.kind.tolist()]
        self.zone_of: list[str] = []
        if world.scenario.fleet.zones:
            self.zone_of = [f"z{zone}" for zone in connections.zone.tolist()]
        self.jitter: list[float] = world.jitter.tolist()
        # time
        self.step, self.end_s = 0, 0.0
        self.newcomer = 0  # the next of `arrives_s`
        self.due: defaultdict[int, list[Moment]] = defaultdict(list)  # by step
        self.moments: list[Moment] = []  # of the running step
        # clients without a place
        self.asked_s: dict[int, float] = {}  # of those that wait or were refused: since when
        self.refusals: dict[int, int] = {}
        self.waiting: set[int] = set()  # in the policy's queue
        # servers that come and go
        self.reporter = Reporter(world, self.servers)
        self.unhealthy: set[int] = set()  # to the policy's knowledge
        self.out: set[int] = set()  # drained, removed or not yet added
        self.losses: list[int] = []  # steps at which servers died or drained
        self.returns: list[int] = []  # and came
        # what is counted
        self.placed = array("q")
        self.accepts = [0] * ((world.steps // STEPS_PER_S + 1) * servers)
        self.second = 0  # where the running second begins in `accepts`
        self.counts: list[list[int]] = []  # open connections by second
        self.waits_s: list[float] = []
        self.waited_work = self.refused_work = 0.0  # after the cold start
        self.refused = self.local = 0
        self.place_ns: list[int] = []
        self.tick_ns = self.ticks = 0

    def play(self, name: str, keep_series: bool) -> Outcome:
        world, policy, servers = self.world, self.policy, self.servers
        if isinstance(policy, Privileged):
            policy.attach(world, servers)
        on_step: Callable[[float], None] | None = policy.step if isinstance(policy, Stepping) else None
        self.out = {change.server for change in world.changes if change.kind == "join"}
        for server in range(len(world.endpoint_ids)):
            servers.alive[server] = server not in self.out
            if servers.alive[server]:
                self._add(server, 0.0)
        changes, announcements = deque(world.changes), deque(_announcements(world))
        for step in range(world.steps):
            now_s = step / STEPS_PER_S
            self.step, self.end_s = step, (step + 1) / STEPS_PER_S
            self.moments = self.due.pop(step, [])
            if step % STEPS_PER_S == 0:
                self._count()
            self._report(now_s)
            if step % STEPS_PER_S == 0 and step:
                self._tick(now_s)
            while announcements and announcements[0][0] <= now_s:
                policy.announce(announcements.popleft()[1], now_s)
            if on_step:
                on_step(now_s)
            servers.begin(step)
            while changes and changes[0].step <= step:
                servers.absorb()
                self._change(changes.popleft(), now_s)
            if self.waiting:
                for verdict in policy.poll(now_s):
                    self._answer(verdict, now_s)
            self._play_step()
            servers.finish()
        servers.absorb()
        return self._outcome(name, keep_series)

    # ---- connections

    def _play_step(self) -> None:
        """Connections that come and go within the running step, in order of time."""
        moments, arrives_s, owner = self.moments, self.arrives_s, self.servers.owner
        close, closed, end_s = self.servers.close, self.policy.closed, self.end_s
        moments.sort()
        done, newcomer = 0, self.newcomer
        next_s = arrives_s[newcomer]
        while True:
            if done < len(moments) and moments[done][0] <= next_s:  # more of them may come in while we go
                at_s, connection, what = moments[done]
                done += 1
                if what == ASK:
                    self._ask(connection, at_s)
                elif owner[connection] < 0:  # lost with its server, or left before
                    continue
                elif what == CLOSE:
                    close(connection)
                    closed(f"c{connection}", at_s)
                else:
                    self._leave(connection, at_s)
            elif next_s < end_s:
                self._ask(newcomer, next_s)
                newcomer += 1
                next_s = arrives_s[newcomer]
            else:
                break
        self.newcomer = newcomer

    def _ask(self, connection: int, at_s: float, tried: tuple[str, ...] = ()) -> None:
        """A client asks where to connect; `tried`: endpoints where it just could not."""
        place, name = self.policy.place, f"c{connection}"
        started = 0 if connection % TIMED_EVERY else perf_counter_ns()
        if self.hint_of or self.zone_of or tried:
            hint = self.hint_of[connection] if self.hint_of else ""
            zone = self.zone_of[connection] if self.zone_of else ""
            verdict = place(name, at_s, hint=hint, zone=zone, exclude=tried)
        else:
            verdict = place(name, at_s)
        if started:
            self.place_ns.append(perf_counter_ns() - started)
        if verdict[0] == "admit":
            self._connect(connection, verdict[2], at_s, tried)
        else:
            self._answer(verdict, at_s)

    def _connect(self, connection: int, endpoint_id: str, at_s: float, tried: tuple[str, ...] = ()) -> None:
        servers = self.servers
        server = self.server_of[endpoint_id]
        if not servers.alive[server]:
            self._fail(connection, endpoint_id, at_s, tried)
            return
        if self.hint_of:
            self.policy.opened(f"c{connection}", endpoint_id, at_s, self.hint_of[connection])
        else:
            self.policy.opened(f"c{connection}", endpoint_id, at_s)
        servers.open(connection, server, at_s)
        self.placed.append(connection << SERVER_BITS | server)
        self.accepts[self.second + server] += 1
        self._schedule(at_s + servers.duration_s[connection], connection, CLOSE)
        if self.zone_of:
            self.local += self.zone_of[connection] == self.world.zones[server]
        if self.asked_s:
            self._waited(connection, at_s)

    def _fail(self, connection: int, endpoint_id: str, at_s: float, tried: tuple[str, ...]) -> None:
        """The server does not answer: the client tries the next."""
        self.policy.failed(f"c{connection}", endpoint_id, at_s)
        tried = (*tried, endpoint_id)
        if len(tried) < CONNECTS_MAX:
            self._ask(connection, at_s, tried)
        else:
            self._refuse(connection, at_s, RETRY_S)

    def _answer(self, verdict: Verdict, at_s: float) -> None:
        """A verdict that may be any."""
        connection = connection_number(verdict.connection_id)
        self.waiting.discard(connection)
        if verdict.kind == "admit":
            self._connect(connection, verdict.endpoint_id, at_s)
        elif verdict.kind == "queue":
            self.waiting.add(connection)
            self.asked_s.setdefault(connection, at_s)
        else:
            self._refuse(connection, at_s, verdict.retry_after_s)

    def _refuse(self, connection: int, at_s: float, retry_after_s: float) -> None:
        """A client is told to come back later, and does so unless it has been told too often."""
        self.asked_s.setdefault(connection, at_s)
        refusals = self.refusals[connection] = self.refusals.get(connection, 0) + 1
        if refusals <= self.world.scenario.traffic.retries:
            self._schedule(at_s + max(retry_after_s, STEP_S), connection, ASK)
        else:
            self.refused += 1
            if self.asked_s.pop(connection) >= COLD_S:
                self.refused_work += self.servers.cost[connection] * self.servers.duration_s[connection]
            del self.refusals[connection]

    def _waited(self, connection: int, at_s: float) -> None:
        """A client got its place: if it did not at once, its wait counts."""
        asked_s = self.asked_s.pop(connection, at_s)
        self.refusals.pop(connection, None)
        if asked_s < at_s:
            self.waits_s.append(at_s - asked_s)
            if asked_s >= COLD_S:
                self.waited_work += (at_s - asked_s) * self.servers.cost[connection]

    def _leave(self, connection: int, at_s: float) -> None:
        """The client of a draining server is thrown off, and connects anew."""
        self.servers.cut(connection, at_s)
        self.policy.closed(f"c{connection}", at_s)
        self._ask(self._again(connection, at_s), at_s)

    def _again(self, connection: int, at_s: float) -> int:
        """The number under which a client comes back whose connection is lost at `at_s`."""
        servers = self.servers
        for column in (self.hint_of, self.zone_of):
            if column:
                column.append(column[connection])
        left_s = servers.opened_s[connection] + servers.duration_s[connection] - at_s
        return servers.again(connection, left_s)

    def _schedule(self, at_s: float, connection: int, what: int) -> None:
        """Something later than now, in this step or another."""
        step = int(at_s * STEPS_PER_S)
        if step > self.step:
            if step < self.world.steps:
                self.due[step].append((at_s, connection, what))
        else:
            insort(self.moments, (at_s, connection, what))

    # ---- servers

    def _change(self, change: Change, now_s: float) -> None:
        """A server dies, drains, goes or comes. What does not fit its state, as faults may overlap, is left out."""
        server, alive = change.server, self.servers.alive
        match change.kind:
            case "back" | "join" if not alive[server]:
                self._revive(server, now_s)
            case "notice" if not alive[server] and server not in self.out:
                self._mark_unhealthy(server, now_s)
            case "drain" if alive[server] and sum(alive) > 1:
                self._drain(server, change, now_s)
            case "die" if alive[server] and sum(alive) > 1:
                self.losses.append(self.step)
                lost = self._kill(server)
                if not change.fault.detect_s:
                    self._mark_unhealthy(server, now_s)
                self._throw_off(lost, change, now_s)
            case "stop" if alive[server] and server in self.out:
                lost = self._kill(server)  # what the policy placed there against its orders
                self._throw_off(lost, change, now_s)
                self.policy.remove_endpoint(self.world.endpoint_ids[server], now_s)
            case _:
                pass

    def _drain(self, server: int, change: Change, now_s: float) -> None:
        """Nothing new for a server; its clients leave by and by."""
        self.losses.append(self.step)
        self.out.add(server)
        self.policy.drain_endpoint(self.world.endpoint_ids[server], now_s)
        for connection in self.servers.on_server(server):
            self._schedule(self._return_s(connection, change, now_s), connection, LEAVE)

    def _kill(self, server: int) -> list[int]:
        """A server goes away; returns the connections that are lost with it."""
        lost = self.servers.on_server(server)
        self.servers.alive[server] = False
        self.servers.vacate(server)
        return lost

    def _throw_off(self, lost: list[int], change: Change, now_s: float) -> None:
        """Connections are gone; their clients come back by and by."""
        for connection in lost:
            self.policy.closed(f"c{connection}", now_s)
            self._schedule(self._return_s(connection, change, now_s), self._again(connection, now_s), ASK)

    def _revive(self, server: int, now_s: float) -> None:
        """A server comes, empty: for the first time, from a restart, or as it was deployed anew."""
        self.returns.append(self.step)
        self.servers.alive[server] = True
        self.reporter.born[server] = self.step
        if server in self.out:
            self._add(server, now_s)
        if server in self.unhealthy:
            self.unhealthy.remove(server)
            self.policy.set_health(self.world.endpoint_ids[server], True, now_s)

    def _mark_unhealthy(self, server: int, now_s: float) -> None:
        if server not in self.unhealthy:
            self.unhealthy.add(server)
            self.policy.set_health(self.world.endpoint_ids[server], False, now_s)

    def _add(self, server: int, now_s: float) -> None:
        world = self.world
        self.out.discard(server)
        capacity = float(world.capacity[0, server]) if world.scenario.fleet.declared else None
        self.policy.add_endpoint(world.endpoint_ids[server], now_s, capacity=capacity, zone=world.zones[server])

    def _return_s(self, connection: int, change: Change, now_s: float) -> float:
        """When a client that is thrown off comes back."""
        return now_s + self.jitter[connection % len(self.jitter)] * change.fault.jitter_s

    # ---- once a second

    def _count(self) -> None:
        """Note what the figures and reports need of the second that begins."""
        servers = self.servers
        servers.absorb()
        self.second = len(self.counts) * len(servers.count)
        self.counts.append(servers.count.copy())
        self.reporter.note_second()

    def _report(self, now_s: float) -> None:
        """The reports of this moment arrive."""
        reports, report = self.reporter.arriving(self.step), self.policy.report
        started = perf_counter_ns()
        for each in reports:
            report(each, now_s)
        self.tick_ns += perf_counter_ns() - started

    def _tick(self, now_s: float) -> None:
        started = perf_counter_ns()
        self.policy.tick(now_s)
        self.tick_ns += perf_counter_ns() - started
        self.ticks += 1

    # ---- the end

    def _outcome(self, name: str, keep_series: bool) -> Outcome:
        world, servers = self.world, self.servers
        loads = measures.after_cold_start(world, servers, self.waited_work, self.refused_work)
        accepts = np.array(self.accepts, dtype=np.int64).reshape(-1, len(servers.count))
        placed = len(self.placed)
        return Outcome(
            scenario=world.scenario.name,
            seed=world.seed,
            policy=name,
            delay=loads.delay,
            delay_quantiles=loads.delay_quantiles,
            utilisation_p99=loads.utilisation_p99,
            over=loads.over,
            max_over_mean=loads.max_over_mean,
            over_70_s=loads.over_70_s,
            over_100_s=loads.over_100_s,
            storm_share=measures.storm_share(world, servers, accepts, self.losses),
            storm_over_100_s=measures.storm_over_s(servers, self.losses + self.returns),
            wait_mean_s=sum(self.waits_s) / max(placed, 1),
            wait_p99_s=measures.wait_p99_s(self.waits_s, placed),
            connections=placed,
            refused=self.refused,
            cold=measures.cold_start(world, servers, np.array(self.counts, dtype=np.float64)),
            place_us=float(np.median(self.place_ns)) / 1e3 if self.place_ns else math.nan,
            tick_ms=self.tick_ns / max(self.ticks, 1) / 1e6,
            digest=hashlib.blake2b(self.placed.tobytes(), digest_size=16).hexdigest(),
            return_share=measures.storm_share(world, servers, accepts, self.returns),
            local_share=self.local / placed if self.zone_of and placed else math.nan,
            memory_max=float(np.max(self.reporter.memory)) if self.reporter.memory else math.nan,
            series=measures.series(servers) if keep_series else None,
        )


def _announcements(world: World) -> list[tuple[float, Event]]:
    """What the policy is told beforehand, and when, in order."""
    announcements = []
    for index, surge in enumerate(world.scenario.surges):
        if surge.announced_s:
            for start_s in surge.starts_s(COLD_S, world.steps * STEP_S):
                event = Event(f"surge {index} at {start_s:g} s", start_s, start_s + surge.length_s, surge.factor)
                announcements.append((max(start_s - surge.announced_s, 0.0), event))
    return sorted(announcements, key=lambda announcement: announcement[0])
