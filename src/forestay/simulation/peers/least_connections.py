"""Weighted least connections: the fewest connections per capacity, the newcomer included.

Source: HAProxy `leastconn` and LVS `sed`: (connections + 1) / weight, so that of idle servers the largest goes first.
The weights are the true capacities.
"""

from forestay.simulation.peers.peer import Ranked


class LeastConnections(Ranked):
    """(connections + 1) / capacity, lowest first."""

    def gained(self, slot: int, connection_id: str, now_s: float) -> None:
        """Up by one."""
        self._rank(slot)

    def lost(self, slot: int, connection_id: str, now_s: float) -> None:
        """Down by one."""
        self._rank(slot)

    def changed(self, now_s: float) -> None:
        """Capacities may be others."""
        for slot in self.up:
            self._rank(slot)

    def _rank(self, slot: int) -> None:
        self.rank(slot, (self.counts[slot] + 1) / self.capacity[slot])
