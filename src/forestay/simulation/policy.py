"""What the engine drives: the public interface of `forestay.Balancer`, which every peer implements as well."""

from collections.abc import Iterable
from typing import Protocol

from forestay.model.event import Event
from forestay.model.load import LoadReport
from forestay.model.plan import Verdict


class Policy(Protocol):
    """A rule that places connections. `Balancer` is one as it stands; see there for what the calls mean."""

    def add_endpoint(
        self,
        endpoint_id: str,
        now_s: float,
        capacity: float | None = None,
        zone: str = "",
        connections_max: int | None = None,
    ) -> None:
        """See `Balancer.add_endpoint`."""
        ...

    def set_health(self, endpoint_id: str, healthy: bool, now_s: float) -> None:
        """See `Balancer.set_health`."""
        ...

    def drain_endpoint(self, endpoint_id: str, now_s: float) -> None:
        """See `Balancer.drain_endpoint`."""
        ...

    def remove_endpoint(self, endpoint_id: str, now_s: float) -> None:
        """See `Balancer.remove_endpoint`."""
        ...

    def report(self, report: LoadReport, now_s: float) -> bool:
        """See `Balancer.report`."""
        ...

    def announce(self, event: Event, now_s: float) -> None:
        """See `Balancer.announce`."""
        ...

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
        """See `Balancer.place`."""
        ...

    def poll(self, now_s: float) -> list[Verdict]:
        """See `Balancer.poll`."""
        ...

    def opened(self, connection_id: str, endpoint_id: str, now_s: float, hint: str = "") -> None:
        """See `Balancer.opened`."""
        ...

    def failed(self, connection_id: str, endpoint_id: str, now_s: float) -> None:
        """See `Balancer.failed`."""
        ...

    def closed(self, connection_id: str, now_s: float) -> None:
        """See `Balancer.closed`."""
        ...

    def tick(self, now_s: float, wall_s: float | None = None) -> object:
        """See `Balancer.tick`."""
        ...
