"""What a peer may look at of the world it runs in, be it the engine's or a test's small model of queues."""

from collections.abc import Sequence
from typing import Protocol

from forestay.model.plan import FloatArray


class World(Protocol):
    """What is drawn once, the same for all policies."""

    @property
    def endpoint_ids(self) -> Sequence[str]:
        """Of the servers, in order."""
        ...

    @property
    def capacity(self) -> FloatArray:
        """By step and server."""
        ...

    @property
    def mean_cost(self) -> float:
        """Mean load of a connection on a server of capacity 1."""
        ...


class Servers(Protocol):
    """The servers at this moment."""

    def utilisation_now(self, server: int, now_s: float) -> float:
        """Of its capacity, background included; above 1 where more is asked than there is."""
        ...


UTILISATION_MAX = 0.98
"""Where latencies end, as the delay that policies are judged by."""


class Probe:
    """Asks servers at this moment."""

    def __init__(self, world: World, servers: Servers) -> None:
        self._utilisation = servers.utilisation_now
        self._server = {endpoint_id: server for server, endpoint_id in enumerate(world.endpoint_ids)}

    def slowdown(self, endpoint_id: str, now_s: float) -> float:
        """How long a request takes there, over what it takes on an idle server."""
        return 1.0 / (1.0 - min(self._utilisation(self._server[endpoint_id], now_s), UTILISATION_MAX))
