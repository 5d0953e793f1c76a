"""Our balancer told the truth, one piece at a time: how much better it does says what learning that piece loses.

A `Told` balancer is the real one in which parts of the forecaster are replaced by ones that do not learn but know. It
reaches into the balancer it inherits from; nothing in the core knows of it.
"""

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Final, Literal, TypeAlias, get_args

import numpy as np

from forestay.balancer.balancer import Balancer
from forestay.balancer.settings import BalancerSettings
from forestay.forecasting.ages import COST_MID_S, COSTS
from forestay.forecasting.arrivals import Arrivals
from forestay.forecasting.background import Periodicity
from forestay.forecasting.cost import ACCEPTS, Cost
from forestay.forecasting.kinds import Kinds
from forestay.forecasting.survival import Survival
from forestay.model.horizons import HORIZONS_S
from forestay.model.load import LoadReport
from forestay.model.plan import BoolArray, FloatArray, IntArray, Plan, Verdict
from forestay.simulation.engine import connection_number
from forestay.simulation.peers.laws import Law
from forestay.simulation.servers import Servers
from forestay.simulation.steps import STEPS_PER_S
from forestay.simulation.world import World

Piece: TypeAlias = Literal["scale", "cost", "accept", "survival", "arrivals", "background", "load", "kind"]

PIECES: Final[Mapping[Piece, str]] = {
    "scale": "every server's capacity",
    "cost": "the load of a connection by age",
    "accept": "the work of an accept",
    "survival": "how long connections stay",
    "arrivals": "how many connections are expected to come",
    "background": "work that is not of connections, ahead",
    "load": "every server's load and memory, at once and without noise",
    "kind": "each connection's class",
}
"""What can be told."""


class Told(Balancer):
    """See the module.

    Args:
        world: whose truth it is.
        seed: as of the balancer.
        pieces: what it is told.
        settings: None: places always.
    """

    def __init__(
        self, world: World, seed: int = 0, pieces: Iterable[Piece] = (), settings: BalancerSettings | None = None
    ) -> None:
        super().__init__(settings or BalancerSettings(overload="place"), seed)
        self._pieces, self._world = frozenset(pieces), world
        assert self._pieces <= set(get_args(Piece)), f"{pieces}: unknown pieces"
        self._servers: Servers | None = None
        self._server_of: dict[str, int] = {endpoint_id: i for i, endpoint_id in enumerate(world.endpoint_ids)}
        self._told = _Truth(world)
        forecaster, laws = self._forecaster, _laws(world)
        if "survival" in self._pieces:
            forecaster.survival = _KnownSurvival(laws[""])
        forecaster.kinds = _KnownKinds(forecaster.survival, laws, self._pieces)
        forecaster.cost = _KnownCost(self._told, forecaster.kinds, laws, self._pieces)
        if "arrivals" in self._pieces:
            forecaster.arrivals = _KnownArrivals(world)
        if "background" in self._pieces:
            forecaster.residual.periodicity = _KnownBackground(self._told)

    def attach(self, world: World, servers: Servers) -> None:
        """See `Privileged`."""
        self._servers = servers

    def add_endpoint(
        self,
        endpoint_id: str,
        now_s: float,
        capacity: float | None = None,
        zone: str = "",
        connections_max: int | None = None,
    ) -> None:
        """Note which server is behind which slot."""
        super().add_endpoint(endpoint_id, now_s, capacity, zone, connections_max)
        slot = self._roster.slot[endpoint_id]
        self._told.place(slot, self._server_of[endpoint_id], self._roster.size)

    def report(self, report: LoadReport, now_s: float) -> bool:
        """Where the truth is known, reports are not needed."""
        return "load" in self._pieces or super().report(report, now_s)

    def place(
        self,
        connection_id: str,
        now_s: float,
        hint: str = "",
        client: str = "",
        zone: str = "",
        prefer: str | None = None,
        exclude: Iterable[str] = (),
    ) -> Verdict:
        """Say what kind of connection it is."""
        hint = hint or self._kind(connection_id)
        return super().place(connection_id, now_s, hint, client, zone, prefer, exclude)

    def opened(self, connection_id: str, endpoint_id: str, now_s: float, hint: str = "") -> None:
        """Likewise."""
        super().opened(connection_id, endpoint_id, now_s, hint or self._kind(connection_id))

    def tick(self, now_s: float, wall_s: float | None = None) -> Plan:
        """See what is true now."""
        step = round(now_s * STEPS_PER_S)
        if "load" in self._pieces and self._servers is not None and step >= STEPS_PER_S:
            load = self._servers.busy(slice(step - STEPS_PER_S, step)).tolist()
            memory = self._servers.memory if self._world.scenario.memory.load else None
            for endpoint_id in self._roster.slot:
                server = self._server_of[endpoint_id]
                part = memory[server] if memory else None
                super().report(LoadReport(endpoint_id, now_s, load=load[server], memory=part), now_s)
        fresh = self._roster.at_s[self._roster.fresh]
        self._told.look(now_s, float(np.median(fresh)) if fresh.size else now_s - 1.0)
        return super().tick(now_s, wall_s)

    def _kind(self, connection_id: str) -> str:
        """Name of its class; of those that come back nobody remembers it."""
        connections, classes = self._world.connections, self._world.scenario.classes
        connection = connection_number(connection_id)
        if "kind" not in self._pieces or not classes or connection >= len(connections.kind):
            return ""
        return classes[int(connections.kind[connection])].name


def _laws(world: World) -> dict[str, Law]:
    """By name of the class; "": of all connections."""
    laws = {"": Law(world, np.ones(len(world.law.cost), dtype=bool))}
    for kind, each in enumerate(world.scenario.classes):
        laws[each.name] = Law(world, world.law.kind == kind)
    return laws


class _Truth:
    """The truth of this moment by slot.

    Attributes:
        now_s: this moment.
        reported_s: end of the window that the last reports are about.
    """

    def __init__(self, world: World) -> None:
        self.world = world
        self.now_s = self.reported_s = 0.0
        self._server: IntArray = np.zeros(0, np.int64)

    def place(self, slot: int, server: int, slots: int) -> None:
        """A server is behind a slot; slots nobody is behind are taken for the first server."""
        self._server = np.append(self._server, np.zeros(slots - len(self._server), np.int64))
        self._server[slot] = server

    def look(self, now_s: float, reported_s: float) -> None:
        """Time has gone on."""
        self.now_s, self.reported_s = now_s, reported_s

    def scale(self) -> FloatArray:
        """One over capacity."""
        step = min(round(self.now_s * STEPS_PER_S), self.world.steps)
        return np.asarray(1.0 / self.world.capacity[step, self._server])

    def background(self, at_s: float) -> FloatArray:
        """Mean over the second around a moment."""
        first = max(round((at_s - 0.5) * STEPS_PER_S), 0)
        span = self.world.background[first : first + STEPS_PER_S]
        return np.asarray((span if len(span) else self.world.background[-1:]).mean(0)[self._server])


class _KnownSurvival(Survival):
    """The law."""

    def __init__(self, law: Law) -> None:
        super().__init__()
        self._law = law

    def cumulative_hazard(self, age_s: FloatArray) -> FloatArray:
        """By the law."""
        return np.asarray(-np.log(self._law.is_open(age_s)))


class _KnownKinds(Kinds):
    """Knows each kind's survival and cost, as far as it is told.

    Attributes:
        open: connections by kind at the last round.
    """

    def __init__(self, pooled: Survival, laws: Mapping[str, Law], pieces: frozenset[Piece]) -> None:
        super().__init__(pooled)
        self._laws, self._pieces = laws, pieces
        self.open: FloatArray = np.ones(1)

    def admit(self, hint: str) -> int:
        """A new kind's survival is known from its first connection on."""
        known = len(self)
        kind = super().admit(hint)
        if len(self) > known and "survival" in self._pieces:
            self.survivals = [_KnownSurvival(self._laws[name]) for name in self.names]
        return kind

    def learn(self, unit: FloatArray, load: FloatArray, ok: BoolArray, cost: Cost) -> None:
        """One round; what it learns of costs is forgotten."""
        super().learn(unit, load, ok, cost)
        if "cost" in self._pieces:
            self.relative = np.array([self._laws[name].cost for name in self.names])  # normalised next

    def normalise(self, counts: FloatArray) -> None:
        """Note how many of each kind are open."""
        super().normalise(counts)
        self.open = counts


class _KnownCost(Cost):
    """Puts the truth in the place of what it has learned, as far as it is told."""

    def __init__(self, truth: _Truth, kinds: _KnownKinds, laws: Mapping[str, Law], pieces: frozenset[Piece]) -> None:
        super().__init__()
        self._truth, self._kinds, self._pieces = truth, kinds, pieces
        self._by_age = {name: law.load(COST_MID_S) / law.is_open(COST_MID_S) for name, law in laws.items()}

    def learn(
        self, x: FloatArray, load: FloatArray, ok: BoolArray, seen: float = 1.0, *, guessed: bool = False
    ) -> None:
        """One round; what it learns is forgotten."""
        super().learn(x, load, ok, seen, guessed=guessed)
        if not ok.any():
            return
        scale = self._truth.scale()
        unit = float(np.exp(np.log(scale[ok]).mean()))  # of a server whose scale is 1
        if "scale" in self._pieces:
            self.scale = scale / unit
        if "cost" in self._pieces:
            self.theta[:COSTS] = self._of_the_average() * unit
            self.certain = 1.0
        if "accept" in self._pieces:
            self.theta[ACCEPTS] = self._truth.world.accept_work * unit
            self.certain_accept = 1.0

    def _of_the_average(self) -> FloatArray:
        """Load by age of the average open connection, at capacity 1."""
        names, counts = self._kinds.names, self._kinds.open
        if len(names) == 1 or len(counts) < len(names) or not counts.any():
            return self._by_age[""]
        return np.asarray(np.average([self._by_age[name] for name in names], axis=0, weights=counts))


class _KnownArrivals(Arrivals):
    """The expected rate, surges included."""

    def __init__(self, world: World) -> None:
        super().__init__()
        seconds = world.rate_per_s[: world.steps // STEPS_PER_S * STEPS_PER_S].reshape(-1, STEPS_PER_S).mean(1)
        self._rate = np.append(seconds, np.full(int(HORIZONS_S[-1]) + 1, seconds[-1]))

    def learn(self, opens: FloatArray, now_s: float, dt_s: float) -> None:
        """Only the shares are learned."""
        super().learn(opens, now_s, dt_s)
        self.rate_per_s = float(self._rate[min(int(now_s), len(self._rate) - 1)])

    def ahead(self, now_s: float) -> FloatArray:
        """At each whole second from now on."""
        first = min(int(now_s), len(self._rate) - int(HORIZONS_S[-1]) - 1)
        return self._rate[first : first + int(HORIZONS_S[-1]) + 1]


class _KnownBackground(Periodicity):
    """The true background in the place of its periodic part."""

    def __init__(self, truth: _Truth) -> None:
        super().__init__()
        self._truth = truth
        self._round_s = 0.0

    def learn(self, residual: FloatArray, seen: BoolArray) -> None:
        """The round that the last reports are about."""
        self._round_s = self._truth.reported_s

    def ahead(self, rounds: float) -> FloatArray:
        """Rounds are about the second that ended when they were reported."""
        return self._truth.background(self._round_s - 0.5 + rounds)


def _of(*pieces: Piece) -> Callable[[World, int], Told]:
    return partial(Told, pieces=pieces)


ABLATIONS: Final[Mapping[str, Callable[[World, int], Told]]] = {
    **{piece: _of(piece) for piece in PIECES},
    "all": _of(*PIECES),
}
"""By name, from a world and a seed: the balancer told one piece, or all of them."""
