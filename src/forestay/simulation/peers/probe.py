"""A question to a server, answered at once and exactly."""

from forestay.simulation.measures import UTILISATION_MAX
from forestay.simulation.servers import Servers
from forestay.simulation.world import World


class Probe:
    """Asks the servers of a run."""

    def __init__(self, world: World, servers: Servers) -> None:
        self._servers = servers
        self._request_s = world.scenario.fleet.request_s
        self._server = {endpoint_id: server for server, endpoint_id in enumerate(world.endpoint_ids)}

    def slowdown(self, endpoint_id: str, now_s: float) -> float:
        """How long a request takes there, over what it takes on an idle server: the delay that counts in the end."""
        server = self._server[endpoint_id]
        used = self._servers.utilisation_now(server, now_s)
        sharing = 1.0 / (1.0 - (used if used < UTILISATION_MAX else UTILISATION_MAX))
        return sharing + self._servers.backlog_s[server] / self._request_s

    def in_flight(self, endpoint_id: str) -> int:
        """Open connections, whoever placed them."""
        return self._servers.count[self._server[endpoint_id]]
