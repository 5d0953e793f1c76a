"""The clairvoyant: the same rule, knowing how long every connection stays and what it costs, the new one included.

Greedy: each connection goes where it costs least, by what it will itself do and all open ones will; of those to come it
knows no more than the causal limit does.
"""

from collections.abc import Sequence

import numpy as np

from forestay.model.plan import FloatArray
from forestay.placement.fitness import KAPPA
from forestay.simulation.engine import connection_number
from forestay.simulation.peers.limit import HORIZONS_S, SPACING_S, CausalLimit
from forestay.simulation.servers import Servers
from forestay.simulation.steps import AHEAD_STEPS, STEP_S, STEPS_PER_S
from forestay.simulation.world import ACCEPT_S, World

OWN = 0.5
"""The price is that of the middle of what the newcomer adds: its mean, for it is known."""


class Clairvoyant(CausalLimit):
    """See the module."""

    def attach(self, world: World, servers: Servers) -> None:
        """Take the truth, the future included."""
        self._future: FloatArray = np.zeros((len(world.endpoint_ids), world.steps + AHEAD_STEPS))  # work a second
        self._opened_s: dict[str, float] = {}
        ramp_s = world.scenario.traffic.ramp_s
        self._ramp_ages_s: FloatArray = np.arange(0.0, ramp_s + STEP_S, STEP_S) if ramp_s else np.zeros(0)
        self._accept_rate = world.accept_work / ACCEPT_S
        super().attach(world, servers)

    def costs(self, now_s: float) -> Sequence[float]:
        """Over its own stay, by its own load."""
        load = self._load(connection_number(self._connection_id))
        weight = load * SPACING_S
        weight[0] += self.world.accept_work + 1e-12
        own = np.exp(2 * KAPPA * OWN * load / self._capacity)
        costs: list[float] = (self._priced(self._price[0] * own) @ weight).tolist()
        return costs

    def gained(self, slot: int, connection_id: str, now_s: float) -> None:
        """Its future is the server's."""
        connection, server = connection_number(connection_id), self._of[slot]
        self._opened_s[connection_id] = now_s
        self._book(connection, server, now_s, now_s, 1.0)
        self._price[0, server] *= np.exp(2 * KAPPA * self._load(connection) / self._capacity[server])

    def lost(self, slot: int, connection_id: str, now_s: float) -> None:
        """Nothing, where it ends as it was to; else what was left of it is not to come."""
        opened_s = self._opened_s.pop(connection_id)
        self._book(connection_number(connection_id), self._of[slot], opened_s, now_s, -1.0)

    def trajectory(self, now_s: float) -> FloatArray:
        """As it will be."""
        return self._future[:, round(now_s * STEPS_PER_S) + self._ahead]

    def _load(self, connection: int) -> FloatArray:
        """Load of a connection that is accepted now, by horizon, at capacity 1."""
        servers, traffic, hot = self.servers, self.world.scenario.traffic, self.world.scenario.hot
        cost, hot_s = servers.cost[connection], servers.hot_s[connection]
        load = np.full(len(HORIZONS_S), cost)
        if traffic.ramp_s:
            load *= np.minimum(traffic.ramp_start + (1 - traffic.ramp_start) * HORIZONS_S / traffic.ramp_s, 1.0)
        if hot_s < HORIZONS_S[-1]:
            load[(hot_s <= HORIZONS_S) & (hot_s + hot.length_s > HORIZONS_S)] += cost * (hot.factor - 1)
        load[servers.duration_s[connection] <= HORIZONS_S] = 0.0
        load[0] += self._accept_rate / 2
        return load

    def _book(self, connection: int, server: int, opened_s: float, from_s: float, sign: float) -> None:
        """Add to a server what a connection does from the next step on."""
        servers, future = self.servers, self._future[server]
        cost, duration_s, hot_s = servers.cost[connection], servers.duration_s[connection], servers.hot_s[connection]
        opened, first = _step(opened_s), _step(from_s)
        end = min(_step(opened_s + duration_s), len(future))
        if first >= end:
            return
        future[first:end] += sign * cost
        ramping = min(end, opened + len(self._ramp_ages_s))
        if first < ramping:
            traffic = self.world.scenario.traffic
            ages_s = self._ramp_ages_s[first - opened : ramping - opened] + (opened / STEPS_PER_S - opened_s)
            missing = (1 - traffic.ramp_start) * np.maximum(1 - ages_s / traffic.ramp_s, 0.0)
            future[first:ramping] -= sign * cost * missing
        if self._accept_rate:
            future[first : min(end, _step(opened_s + ACCEPT_S))] += sign * self._accept_rate
        if hot_s < duration_s:
            hot = self.world.scenario.hot
            begin, over = _step(opened_s + hot_s), _step(opened_s + hot_s + hot.length_s)
            future[max(begin, first) : min(over, end)] += sign * cost * (hot.factor - 1)


def _step(at_s: float) -> int:
    """The first step that begins after a moment."""
    return int(at_s * STEPS_PER_S) + 1
