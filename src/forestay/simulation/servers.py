"""The servers of a run: what their connections cost them, exactly, as connections come and go.

The work a connection does is piecewise linear in time. On opening, all its pieces are known: those to come are booked
in the step where they fall due, so that nothing has to be looked up when it ends, and the work of every step is the
exact integral. Within a step `a` and `b` already lack what ends before it is over; the integral does not.
"""

import math
from typing import TypeAlias

import numpy as np

from forestay.model.plan import BoolArray, FloatArray
from forestay.simulation.steps import STEP_S, STEPS_PER_S
from forestay.simulation.traffic import LIFE_MIN_S
from forestay.simulation.world import ACCEPT_S, World

BACKLOG_MAX_S = 10.0
"""Work that would wait longer is given up: its client does not wait for the answer."""

PAGING = 20.0
"""Work costs this much more per unit of memory in use over the limit."""


Piece: TypeAlias = tuple[float, float, float, float]
"""(at_s, a, b, accept): from `at_s` on a server's load changes by `a + b * t`, of which `accept` is accept work."""


class Servers:
    """Truth about servers and open connections; privileged policies may read it.

    Attributes:
        world: that they live in.
        a, b: work a second at time t is `a[i] + b[i] * t`, exact at the start of each step; background is not in it.
        accept: the part of `a` that is accept work.
        count: open connections of each server.
        alive: which servers exist.
        backlog_s: seconds of work that wait, at the start of the step; only with "fifo".
        memory: in use, as a part of each server's own.
        owner: server by connection number; -1: not open.
        opened_s, cost, duration_s, hot_s: by connection number; they grow with clients that come back.
        utilisation: mean over each finished step, background included, shape (steps, servers); above 1 where more
            is asked than there is.
        existed: whether the server was alive, same shape.
        backlog: seconds of work that waited at the end of the step, same shape; with "sharing" one row of zeros.
    """

    def __init__(self, world: World) -> None:
        servers, self._steps = len(world.endpoint_ids), world.steps
        connections = world.connections
        self.world = world
        self.a = [0.0] * servers
        self.b = [0.0] * servers
        self.accept = [0.0] * servers
        self.count = [0] * servers
        self.alive = [True] * servers
        self.backlog_s = [0.0] * servers
        self.memory = [0.0] * servers
        self.cost: list[float] = connections.cost.tolist()
        self.duration_s: list[float] = connections.duration_s.tolist()
        self.hot_s: list[float] = connections.hot_s.tolist()
        self.opened_s = [0.0] * len(self.cost)
        self.owner = [-1] * len(self.cost)
        traffic, hot = world.scenario.traffic, world.scenario.hot
        self._n, self._step, self._start_s = servers, 0, 0.0
        self._ramp_s, self._ramp_start = traffic.ramp_s, traffic.ramp_start
        self._accept_rate = world.accept_work / ACCEPT_S
        self._hot_extra, self._hot_length_s = hot.factor - 1.0, hot.length_s
        self._plain = not (self._ramp_s or self._accept_rate or hot.share)
        self._part = [0.0] * servers  # corrects a + b t to the exact work of the running step
        size = servers * world.steps
        self._due_a, self._due_part = [0.0] * size, [0.0] * size
        self._due_b = [0.0] * size if self._ramp_s else []
        self._due_accept = [0.0] * size if self._accept_rate else []
        self._work: list[list[float]] = []  # finished steps that are not yet in `utilisation`
        self._backlogs: list[list[float]] | None = None
        self._absorbed = 0
        self._memory_of: list[float] = connections.memory.tolist() if world.scenario.memory.load else []
        self._memory_size: list[float] = world.memory_size.tolist()
        self.utilisation: FloatArray = np.zeros((world.steps, servers))
        self.existed: BoolArray = np.ones((world.steps, servers), dtype=bool)
        self.backlog: FloatArray = np.zeros((1, servers))
        if world.scenario.fleet.discipline == "fifo":
            self._backlogs, self.backlog = [], np.zeros((world.steps, servers))

    def utilisation_now(self, server: int, now_s: float) -> float:
        """Utilisation at this moment, background included; above 1 where more is asked than there is."""
        step = min(int(now_s * STEPS_PER_S), self._steps - 1)
        work = self.a[server] + self.b[server] * now_s
        world = self.world
        return max(work / float(world.capacity[step, server]) + float(world.background[step, server]), 0.0)

    # ---- connections

    def open(self, connection: int, server: int, at_s: float) -> None:
        """A connection opens within the running step."""
        self.owner[connection] = server
        self.opened_s[connection] = at_s
        self.count[server] += 1
        if self._memory_of:
            self.memory[server] += self._memory_of[connection] / self._memory_size[server]
        if self._plain:
            cost = self.cost[connection]
            self.a[server] += cost
            self._part[server] -= cost * (at_s - self._start_s)
            end_s = at_s + self.duration_s[connection]
            step = int(end_s * STEPS_PER_S)
            if self._step < step < self._steps:
                index = step * self._n + server
                self._due_a[index] -= cost
                self._due_part[index] += cost * (end_s - step / STEPS_PER_S)
            elif step <= self._step:
                self._book(server, [(end_s, -cost, 0.0, 0.0)])
            return
        self._book(server, self._pieces(connection))

    def close(self, connection: int) -> int:
        """A connection ends at its natural end, which was booked when it opened. Returns its server."""
        server = self.owner[connection]
        self.owner[connection] = -1
        self.count[server] -= 1
        if self._memory_of:
            self.memory[server] -= self._memory_of[connection] / self._memory_size[server]
        return server

    def cut(self, connection: int, at_s: float) -> int:
        """A connection ends early, within the running step. Returns its server."""
        server = self.close(connection)
        a = b = accept = 0.0
        undone = []
        for piece_s, piece_a, piece_b, piece_accept in self._pieces(connection):
            if piece_s <= at_s:
                a, b, accept = a + piece_a, b + piece_b, accept + piece_accept
            else:
                undone.append((piece_s, -piece_a, -piece_b, -piece_accept))
        self._book(server, [(at_s, -a, -b, -accept), *undone])
        return server

    def again(self, connection: int, duration_s: float) -> int:
        """The client of a lost connection wants one anew, for what was left of its life. Returns its number."""
        self.cost.append(self.cost[connection])
        self.duration_s.append(max(duration_s, LIFE_MIN_S))
        self.hot_s.append(math.inf)
        self.opened_s.append(0.0)
        self.owner.append(-1)
        if self._memory_of:
            self._memory_of.append(self._memory_of[connection])
        return len(self.owner) - 1

    def on_server(self, server: int) -> list[int]:
        """Numbers of its open connections, ascending."""
        return [connection for connection, owner in enumerate(self.owner) if owner == server]

    def _pieces(self, connection: int) -> list[Piece]:
        """The load of an open connection from its opening to its natural end."""
        at_s, cost, ramp_s = self.opened_s[connection], self.cost[connection], self._ramp_s
        end_s = at_s + self.duration_s[connection]
        if ramp_s:
            b = cost * (1 - self._ramp_start) / ramp_s
            a = cost * self._ramp_start - b * at_s
            pieces = [(at_s, a, b, 0.0)]
            if at_s + ramp_s < end_s:
                pieces += [(at_s + ramp_s, cost - a, -b, 0.0), (end_s, -cost, 0.0, 0.0)]
            else:
                pieces.append((end_s, -a, -b, 0.0))
        else:
            pieces = [(at_s, cost, 0.0, 0.0), (end_s, -cost, 0.0, 0.0)]
        if rate := self._accept_rate:
            pieces += [(at_s, rate, 0.0, rate), (min(at_s + ACCEPT_S, end_s), -rate, 0.0, -rate)]
        hot_s = at_s + self.hot_s[connection]
        if hot_s < end_s:
            extra = cost * self._hot_extra
            pieces += [(hot_s, extra, 0.0, 0.0), (min(hot_s + self._hot_length_s, end_s), -extra, 0.0, 0.0)]
        return pieces

    def _book(self, server: int, pieces: list[Piece]) -> None:
        """Let pieces take effect, now or in the step where they fall due."""
        running, start_s = self._step, self._start_s
        for at_s, a, b, accept in pieces:
            step = int(at_s * STEPS_PER_S)
            if step <= running:
                self.a[server] += a
                self.b[server] += b
                self.accept[server] += accept
                self._part[server] -= a * (at_s - start_s) + b * (at_s * at_s - start_s * start_s) * 0.5
            elif step < self._steps:
                due_s = step / STEPS_PER_S
                index = step * self._n + server
                self._due_a[index] += a
                self._due_part[index] -= a * (at_s - due_s) + b * (at_s * at_s - due_s * due_s) * 0.5
                if b:
                    self._due_b[index] += b
                if accept:
                    self._due_accept[index] += accept

    # ---- steps

    def begin(self, step: int) -> None:
        """Let what falls due within this step take effect."""
        self._step, self._start_s = step, step / STEPS_PER_S
        span = slice(step * self._n, (step + 1) * self._n)
        self._part = self._due_part[span]
        self.a = [x + y for x, y in zip(self.a, self._due_a[span], strict=True)]
        if self._due_b:
            self.b = [x + y for x, y in zip(self.b, self._due_b[span], strict=True)]
        if self._due_accept:
            self.accept = [x + y for x, y in zip(self.accept, self._due_accept[span], strict=True)]

    def finish(self) -> None:
        """The running step is over: its work is what it is."""
        if not self._due_b:
            work = [a * STEP_S + part for a, part in zip(self.a, self._part, strict=True)]
        else:
            end_s = (self._step + 1) / STEPS_PER_S
            slope = (end_s * end_s - self._start_s * self._start_s) * 0.5
            work = [a * STEP_S + b * slope + part for a, b, part in zip(self.a, self.b, self._part, strict=True)]
        self._work.append(work)
        if self._backlogs is not None:
            self._queue_up(work)
            self._backlogs.append(self.backlog_s.copy())

    def absorb(self) -> None:
        """Bring `utilisation` up to the steps that are finished; to be called before servers come or go."""
        if not self._work:
            return
        span = slice(self._absorbed, self._absorbed + len(self._work))
        used = np.array(self._work) / (STEP_S * self.world.capacity[span])
        np.maximum(used, 0.0, out=used)
        used += self.world.background[span]
        if max(self.memory) > 1.0:
            used *= 1 + PAGING * np.maximum(np.array(self.memory) - 1.0, 0.0)
        if not all(self.alive):
            used[:, [not alive for alive in self.alive]] = 0.0
            self.existed[span] = self.alive
        self.utilisation[span] = used
        if self._backlogs is not None:
            self.backlog[span] = self._backlogs
            self._backlogs.clear()
        self._work.clear()
        self._absorbed = span.stop

    def busy(self, window: slice) -> FloatArray:
        """Load that each server would report of these steps, shape (servers,): with "fifo" it ends at 1."""
        used = self.utilisation[window]
        if self._backlogs is not None:
            used = np.where(self.backlog[window] > 0, 1.0, used)
        return np.asarray(used.mean(0))

    def vacate(self, server: int) -> None:
        """All connections of a server are gone since the start of the running step, with all that they would cost."""
        for connection in self.on_server(server):
            self.owner[connection] = -1
        self.a[server] = self.b[server] = self.accept[server] = self._part[server] = 0.0
        self.count[server] = 0
        self.memory[server] = self.backlog_s[server] = 0.0
        coming = slice((self._step + 1) * self._n + server, None, self._n)
        for due in (self._due_a, self._due_b, self._due_part, self._due_accept):
            due[coming] = [0.0] * len(due[coming])

    def _queue_up(self, work: list[float]) -> None:
        """First in, first out: what could not be done in this step waits for the next."""
        capacity = self.world.capacity[self._step].tolist()
        background = self.world.background[self._step].tolist()
        for server, backlog_s in enumerate(self.backlog_s):
            asked_s = work[server] / capacity[server] + (background[server] - 1.0) * STEP_S
            self.backlog_s[server] = min(max(backlog_s + asked_s, 0.0), BACKLOG_MAX_S)
