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
    ) -> None: ...

    def set_health(self, endpoint_id: str, healthy: bool, now_s: float) -> None: ...

    def drain_endpoint(self, endpoint_id: str, now_s: float) -> None: ...

    def remove_endpoint(self, endpoint_id: str, now_s: float) -> None: ...

    def report(self, report: LoadReport, now_s: float) -> bool: ...

    def announce(self, event: Event, now_s: float) -> None: ...

    def place(
        self,
        connection_id: str,
        now_s: float,
        hint: str = "",
        client: str = "",
        zone: str = "",
        prefer: str | None = None,
        exclude: Iterable[str] = (),
    ) -> Verdict: ...

    def poll(self, now_s: float) -> list[Verdict]: ...

    def opened(self, connection_id: str, endpoint_id: str, now_s: float, hint: str = "") -> None: ...

    def failed(self, connection_id: str, endpoint_id: str, now_s: float) -> None: ...

    def closed(self, connection_id: str, now_s: float) -> None: ...

    def tick(self, now_s: float, wall_s: float | None = None) -> object: ...
