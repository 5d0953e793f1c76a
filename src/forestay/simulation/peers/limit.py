"""The causal limit: our own rule with nothing left to learn.

It prices a newcomer as `placement.fitness` does, and knows what a learner can only estimate: capacities and the present
load of every server, background and capacity ahead, and the laws by which connections arrive, stay and cost, per hint
where the world gives hints. It does not know what the one connection will do that it places, nor what each of the open
ones costs: each server's load is shared out by law. No learner can be expected to beat it; it is a rule though, not a
bound, so it comes in variants, and the best of them is the limit.
"""

from collections.abc import Iterable, Sequence
from math import inf

import numpy as np

from forestay.model.plan import FloatArray, Verdict
from forestay.placement.fitness import KAPPA, fill_level, squared_prices
from forestay.simulation.peers.laws import Law
from forestay.simulation.peers.peer import Peer
from forestay.simulation.peers.population import AGES_S, Population
from forestay.simulation.servers import Servers
from forestay.simulation.steps import STEP_S, STEPS_PER_S
from forestay.simulation.world import ACCEPT_S, World

HORIZONS_S: FloatArray = np.concatenate([[0.0, 0.5], np.arange(1.0, 11.0), np.arange(12.0, 31.0, 2.0)])
"""Finer than the balancer's: what it loses by its own grid is its loss."""

SPACING_S: FloatArray = np.gradient(HORIZONS_S)
"""Seconds that each horizon stands for."""

LEVEL_EVERY = 5
"""Steps from one level of arrivals to the next."""

MEMORY_MAX = 0.95
"""Servers with more memory in use get nothing while there are others; else the one with the least in use."""


class CausalLimit(Peer):
    """See the module.

    Args:
        seed: of nothing; there is no chance in it.
        level: whether idleness that arrivals will fill anyhow is worth nothing.
        own: which part of the newcomer's own load counts in its price: 0: the first bit of it, .5: its middle, 1: all.
        hard: whether the level bounds prices below rather than softly.
    """

    def __init__(self, seed: int = 0, level: bool = True, own: float = 0.0, hard: bool = False) -> None:
        super().__init__(seed)
        self._with_level, self._own, self._hard = level, own, hard
        self._hint = self._connection_id = ""
        self._of: list[int] = []  # server by slot

    def attach(self, world: World, servers: Servers) -> None:
        """Take the truth."""
        super().attach(world, servers)
        self.world, self.servers = world, servers
        self._server = {endpoint_id: server for server, endpoint_id in enumerate(world.endpoint_ids)}
        self._kinds = {hint: kind for kind, hint in enumerate(dict.fromkeys(world.hints))}
        kinds = np.array([self._kinds[hint] for hint in world.hints])[world.law.kind]
        laws = [Law(world, kinds == kind) for kind in range(len(self._kinds))]
        share = np.bincount(kinds, minlength=len(laws)) / len(kinds)
        self._population = Population(len(laws), len(world.endpoint_ids))
        accept_rate = world.accept_work / ACCEPT_S
        newcomer = np.stack([law.load(HORIZONS_S) for law in laws])
        weight = newcomer * SPACING_S
        weight[:, 0] += world.accept_work
        newcomer[:, 0] += accept_rate / 2  # it will be over before the next horizon
        self._newcomer = newcomer  # by kind and horizon, at capacity 1
        self._weight = weight / weight.sum(1, keepdims=True)
        ages_s = AGES_S[:, None] + HORIZONS_S
        # By kind, age and horizon: expected load of a connection that is open at that age.
        self._each = np.stack([law.load(ages_s) / law.is_open(AGES_S)[:, None] for law in laws])
        fine_s = np.arange(STEP_S / 2, HORIZONS_S[-1], STEP_S)
        coming = np.cumsum(share @ np.stack([law.load(fine_s) for law in laws])) * STEP_S
        self._per_rate = np.interp(HORIZONS_S, fine_s + STEP_S / 2, coming, left=0.0)
        self._per_rate += np.where(HORIZONS_S >= ACCEPT_S, world.accept_work, 0.0)
        self._ahead = np.rint(HORIZONS_S * STEPS_PER_S).astype(np.int64)
        self._level: FloatArray = np.zeros(len(HORIZONS_S))
        self._capacity: FloatArray = world.capacity[self._ahead].T
        self._renew(0, 0.0)

    # ---- Policy

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
        """Remember what it is about."""
        self._hint, self._connection_id = hint, connection_id
        return super().place(connection_id, now_s, hint, client, zone, prefer, exclude)

    def pick(self, candidates: Sequence[int], now_s: float) -> int:
        """The cheapest, of those that are up and have memory left."""
        servers = self.servers
        if False in servers.alive:
            candidates = [slot for slot in candidates if servers.alive[self._of[slot]]] or candidates
        if self.world.scenario.memory.load:
            memory = servers.memory
            roomy = [slot for slot in candidates if memory[self._of[slot]] < MEMORY_MAX]
            candidates = roomy or [min(candidates, key=lambda slot: memory[self._of[slot]])]
        cost = self.costs(now_s)
        best, slot = inf, candidates[0]
        for candidate in candidates:
            price = cost[self._of[candidate]]
            if price < best:
                best, slot = price, candidate
        return slot

    def began(self, slot: int, now_s: float) -> None:
        """Which server it is."""
        if slot == len(self._of):
            self._of.append(self._server[self.ids[slot]])

    def gained(self, slot: int, connection_id: str, now_s: float) -> None:
        """Its law is part of the server's load."""
        server, kind = self._of[slot], self._kinds[self._hint]
        self._population.open(connection_id, server, kind, now_s)
        self._reprice(server, self._factor[kind, server])

    def lost(self, slot: int, connection_id: str, now_s: float) -> None:
        """Prices learn of it within a tenth of a second, which costs nothing measurable."""
        self._population.close(connection_id)

    def step(self, now_s: float) -> None:
        """Look at the servers again."""
        self._renew(round(now_s * STEPS_PER_S), now_s)

    # ---- prices

    def costs(self, now_s: float) -> Sequence[float]:
        """Price of the connection that is being placed, by server."""
        return self._cost[self._kinds[self._hint]]

    def trajectory(self, now_s: float) -> FloatArray:
        """Work a second that open connections will ask for, shape (servers, horizons)."""
        servers = self.servers
        counts = self._population.counts(now_s)
        expected = np.tensordot(counts, self._each, ((0, 1), (0, 1)))
        accept = np.array(servers.accept)
        present = np.array(servers.a) + np.array(servers.b) * now_s - accept
        here = expected[:, 0].copy()
        expected *= (np.where(here > 1e-12, present, 0.0) / np.maximum(here, 1e-12))[:, None]
        expected[:, 0] += accept
        return np.asarray(expected)

    def _renew(self, step: int, now_s: float) -> None:
        world, ahead = self.world, step + self._ahead
        self._capacity = world.capacity[ahead].T
        load = self.trajectory(now_s) / self._capacity + world.background[ahead].T
        np.maximum(load, 0.0, out=load)
        if world.scenario.fleet.discipline == "fifo":
            load += self._backlog(load)
        if self._with_level and step % LEVEL_EVERY == 0:
            self._level = self._arrivals(step, load)
        own = self._newcomer[:, None] / self._capacity
        self._factor = np.exp(2 * KAPPA * own)  # what one newcomer multiplies squared prices by
        self._price = squared_prices(load) * (self._factor**self._own if self._own else np.ones_like(self._factor))
        cost = (self._priced(self._price) * self._weight[:, None]).sum(2)
        self._cost: list[list[float]] = cost.tolist()

    def _arrivals(self, step: int, load: FloatArray) -> FloatArray:
        """Squared price of the level that arrivals will fill, shape (horizons,)."""
        servers = [self._of[slot] for slot in self.up]
        if not servers:
            return np.zeros(len(HORIZONS_S))
        arriving = self.world.rate_per_s[min(step, self.world.steps - 1)] * self._per_rate
        level = squared_prices(fill_level(load[servers].T, self._capacity[servers, 0], arriving))
        return np.where(arriving > 0, level, 0.0)

    def _priced(self, price: FloatArray) -> FloatArray:
        """Prices with the level in them, from squared ones; the last axis is the horizon."""
        return np.sqrt(np.maximum(price, self._level) if self._hard else price + self._level)

    def _reprice(self, server: int, factor: FloatArray) -> None:
        """A server has more or less to do than when it was looked at: its squared prices change by this, by horizon."""
        price = self._price[:, server]
        price *= factor
        priced = self._priced(price)
        for kind, cost in enumerate(self._cost):
            cost[server] = float(priced[kind] @ self._weight[kind])

    def _backlog(self, load: FloatArray) -> FloatArray:
        """Load that work is worth which waits at each horizon: seconds of work, taken as due within one."""
        waiting = np.empty_like(load)
        waiting[:, 0] = self.servers.backlog_s
        for horizon, length_s in enumerate(np.diff(HORIZONS_S).tolist()):
            grown = waiting[:, horizon] + (load[:, horizon] - 1.0) * length_s
            waiting[:, horizon + 1] = np.maximum(grown, 0.0)
        return waiting
