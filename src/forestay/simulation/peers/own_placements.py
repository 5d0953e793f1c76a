"""Lowest reported load, and what has to be added to it: own placements since.

Source: argmin over a bulletin board herds, worse than random once it is a few services old (Mitzenmacher, "How useful
is old information?", 2000); to count what one did oneself since is the remedy, and the peer to beat. The cost of a
connection and the capacities are the true ones.
"""

from collections import deque
from collections.abc import Sequence

from forestay.model.load import LoadReport
from forestay.simulation.peers.peer import Peer, Ranked
from forestay.simulation.servers import Servers
from forestay.simulation.world import World


class LowestLoad(Peer):
    """The lowest last reported load, whatever was placed since; of equals any, drawn anew for each newcomer."""

    def pick(self, candidates: Sequence[int], now_s: float) -> int:
        """Take reports at face value."""
        load = self.load
        lowest = min([load[slot] for slot in candidates])
        equals = [slot for slot in candidates if load[slot] == lowest]
        return equals[0] if len(equals) == 1 else self.rng.choice(equals)


class LoadAndOwnPlacements(Ranked):
    """Lowest last reported load plus own placements since.

    Args:
        seed: of ties.
        cost: load of a connection at capacity 1, where no world tells it.
        window_s: what reports average over; of the placements within that time the later half is taken not to be in
            the report.
        pickers: how many like it place side by side: each own placement stands for one of every picker.
    """

    def __init__(self, seed: int = 0, cost: float = 1.0, window_s: float = 1.0, pickers: int = 1) -> None:
        super().__init__(seed)
        self._cost, self._pickers = cost, pickers
        self._half_window_s = window_s / 2
        self._placed_s: list[deque[float]] = []

    def attach(self, world: World, servers: Servers) -> None:
        """Take the true mean cost."""
        super().attach(world, servers)
        self._cost, self._pickers = world.mean_cost, world.scenario.candidate.pickers

    def began(self, slot: int, now_s: float) -> None:
        """Nothing is placed there."""
        super().began(slot, now_s)
        if slot == len(self._placed_s):
            self._placed_s.append(deque())
        self._placed_s[slot].clear()
        self._rank(slot)

    def gained(self, slot: int, connection_id: str, now_s: float) -> None:
        """One more."""
        self._placed_s[slot].append(now_s)
        self._rank(slot)

    def heard(self, slot: int, report: LoadReport, now_s: float) -> None:
        """What the report has seen counts no longer."""
        placed_s, seen_s = self._placed_s[slot], report.at_s - self._half_window_s
        while placed_s and placed_s[0] <= seen_s:
            placed_s.popleft()
        self._rank(slot)

    def _rank(self, slot: int) -> None:
        # The newcomer included: it weighs more on a small endpoint.
        own = len(self._placed_s[slot]) * self._pickers + 1
        self.rank(slot, self.load[slot] + own * self._cost / self.capacity[slot])
