"""The literal rule: lowest predicted load under 70 %, by our own forecast at one horizon, own placements not counted.

The lowest is under 70 % wherever anybody is, so that the threshold decides nothing where all are placed.
"""

from collections.abc import Sequence

from forestay.balancer.balancer import Balancer
from forestay.balancer.settings import BalancerSettings
from forestay.model.event import Event
from forestay.model.load import LoadReport
from forestay.simulation.peers.peer import Peer

HORIZON_S = 7.0


class LowestPredicted(Peer):
    """See the module. Within a second all newcomers go to the same endpoint, which is what is wrong with it."""

    def __init__(self, seed: int = 0, horizon_s: float = HORIZON_S) -> None:
        super().__init__(seed)
        self._horizon_s = horizon_s
        self._balancer = Balancer(BalancerSettings(overload="place"), seed)
        self._predicted: dict[str, float] = {}

    def add_endpoint(
        self,
        endpoint_id: str,
        now_s: float,
        capacity: float | None = None,
        zone: str = "",
        connections_max: int | None = None,
    ) -> None:
        """Add it to the forecast as well."""
        super().add_endpoint(endpoint_id, now_s, capacity, zone, connections_max)
        self._balancer.add_endpoint(endpoint_id, now_s, capacity, zone, connections_max)

    def set_health(self, endpoint_id: str, healthy: bool, now_s: float) -> None:
        """Likewise."""
        super().set_health(endpoint_id, healthy, now_s)
        self._balancer.set_health(endpoint_id, healthy, now_s)

    def drain_endpoint(self, endpoint_id: str, now_s: float) -> None:
        """Likewise."""
        super().drain_endpoint(endpoint_id, now_s)
        self._balancer.drain_endpoint(endpoint_id, now_s)

    def remove_endpoint(self, endpoint_id: str, now_s: float) -> None:
        """Likewise."""
        super().remove_endpoint(endpoint_id, now_s)
        self._balancer.remove_endpoint(endpoint_id, now_s)

    def report(self, report: LoadReport, now_s: float) -> bool:
        """Likewise."""
        super().report(report, now_s)
        return self._balancer.report(report, now_s)

    def announce(self, event: Event, now_s: float) -> None:
        """Likewise."""
        self._balancer.announce(event, now_s)

    def opened(self, connection_id: str, endpoint_id: str, now_s: float, hint: str = "") -> None:
        """Likewise."""
        super().opened(connection_id, endpoint_id, now_s, hint)
        self._balancer.opened(connection_id, endpoint_id, now_s, hint)

    def closed(self, connection_id: str, now_s: float) -> None:
        """Likewise."""
        super().closed(connection_id, now_s)
        self._balancer.closed(connection_id, now_s)

    def tick(self, now_s: float, wall_s: float | None = None) -> object:
        """Look ahead."""
        self._predicted = self._balancer.tick(now_s, wall_s).forecast.at(self._horizon_s)
        return None

    def pick(self, candidates: Sequence[int], now_s: float) -> int:
        """The lowest."""
        return min(candidates, key=lambda slot: self._predicted.get(self.ids[slot], 0.0))
