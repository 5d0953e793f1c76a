"""Weighted least connections: the fewest connections per capacity, the newcomer included.

Source: HAProxy `leastconn` and LVS `sed`: (connections + 1) / weight, so that of idle servers the largest goes first.
The weights are the true capacities.
"""

from forestay.simulation.peers.peer import Ranked


class LeastConnections(Ranked):
    """(connections + 1) / capacity, lowest first."""

    def gained(self, slot: int, now_s: float) -> None:
        """Up by one."""
        self.rank(slot, (self.counts[slot] + 1) / self.capacity[slot])

    lost = gained

    def changed(self, now_s: float) -> None:
        """Capacities may be others, and an endpoint that came back holds nothing."""
        for slot in self.up:
            self.gained(slot, now_s)
