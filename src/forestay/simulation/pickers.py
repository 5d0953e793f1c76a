"""Several policies that do not share their placements, as one: relay hosts or replicas side by side.

Each connection asks one of them, by its name, the same one whatever the policy. All hear every report and everything
about servers; of connections each hears of its own only.
"""

import zlib
from collections.abc import Callable, Iterable

from forestay.model.event import Event
from forestay.model.load import LoadReport
from forestay.model.plan import Verdict
from forestay.simulation.engine import Privileged, Stepping
from forestay.simulation.policy import Policy
from forestay.simulation.servers import Servers
from forestay.simulation.world import World


class Pickers:
    """See the module.

    Args:
        make: makes the policy of one picker from its seed.
        count: how many there are.
        seed: of the first; the others follow.
    """

    def __init__(self, make: Callable[[int], Policy], count: int, seed: int = 0) -> None:
        self._policies = [make(seed + picker) for picker in range(count)]

    def attach(self, world: World, servers: Servers) -> None:
        """See `Privileged`."""
        for policy in self._policies:
            if isinstance(policy, Privileged):
                policy.attach(world, servers)

    def step(self, now_s: float) -> None:
        """See `Stepping`."""
        for policy in self._policies:
            if isinstance(policy, Stepping):
                policy.step(now_s)

    def add_endpoint(
        self,
        endpoint_id: str,
        now_s: float,
        capacity: float | None = None,
        zone: str = "",
        connections_max: int | None = None,
    ) -> None:
        """See `Policy`, likewise below."""
        for policy in self._policies:
            policy.add_endpoint(endpoint_id, now_s, capacity, zone, connections_max)

    def set_health(self, endpoint_id: str, healthy: bool, now_s: float) -> None:
        """To all."""
        for policy in self._policies:
            policy.set_health(endpoint_id, healthy, now_s)

    def drain_endpoint(self, endpoint_id: str, now_s: float) -> None:
        """To all."""
        for policy in self._policies:
            policy.drain_endpoint(endpoint_id, now_s)

    def remove_endpoint(self, endpoint_id: str, now_s: float) -> None:
        """To all."""
        for policy in self._policies:
            policy.remove_endpoint(endpoint_id, now_s)

    def report(self, report: LoadReport, now_s: float) -> bool:
        """To all; whether any could use it."""
        usable = [policy.report(report, now_s) for policy in self._policies]
        return any(usable)

    def announce(self, event: Event, now_s: float) -> None:
        """To all."""
        for policy in self._policies:
            policy.announce(event, now_s)

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
        """To one."""
        return self._of(connection_id).place(connection_id, now_s, hint, client, zone, prefer, exclude)

    def poll(self, now_s: float) -> list[Verdict]:
        """Of all, in order."""
        return [verdict for policy in self._policies for verdict in policy.poll(now_s)]

    def opened(self, connection_id: str, endpoint_id: str, now_s: float, hint: str = "") -> None:
        """To one."""
        self._of(connection_id).opened(connection_id, endpoint_id, now_s, hint)

    def failed(self, connection_id: str, endpoint_id: str, now_s: float) -> None:
        """To one."""
        self._of(connection_id).failed(connection_id, endpoint_id, now_s)

    def closed(self, connection_id: str, now_s: float) -> None:
        """To one."""
        self._of(connection_id).closed(connection_id, now_s)

    def tick(self, now_s: float, wall_s: float | None = None) -> None:
        """To all."""
        for policy in self._policies:
            policy.tick(now_s, wall_s)

    def _of(self, connection_id: str) -> Policy:
        return self._policies[zlib.crc32(connection_id.encode()) % len(self._policies)]
