"""Policies without wits, for tests of what is around them."""

from collections.abc import Iterable

from forestay.model.event import Event
from forestay.model.load import LoadReport
from forestay.model.plan import Verdict


class InTurn:
    """One server after the other; notes everything that it is told."""

    def __init__(self) -> None:
        self.up: list[str] = []
        self.turn = 0
        self.events: list[Event] = []
        self.announced_at_s: list[float] = []
        self.reports: list[tuple[float, LoadReport]] = []
        self.owner: dict[str, str] = {}
        self.failures: list[str] = []
        self.hints: dict[str, str] = {}
        self.heard: list[tuple[float, str, str]] = []

    def add_endpoint(
        self,
        endpoint_id: str,
        now_s: float,
        capacity: float | None = None,
        zone: str = "",
        connections_max: int | None = None,
    ) -> None:
        self.heard.append((now_s, "add", endpoint_id))
        if endpoint_id not in self.up:
            self.up.append(endpoint_id)

    def set_health(self, endpoint_id: str, healthy: bool, now_s: float) -> None:
        self.heard.append((now_s, "healthy" if healthy else "unhealthy", endpoint_id))
        if healthy:
            self.up.append(endpoint_id)
        else:
            self.up.remove(endpoint_id)

    def drain_endpoint(self, endpoint_id: str, now_s: float) -> None:
        self.heard.append((now_s, "drain", endpoint_id))
        self.up.remove(endpoint_id)

    def remove_endpoint(self, endpoint_id: str, now_s: float) -> None:
        self.heard.append((now_s, "remove", endpoint_id))

    def report(self, report: LoadReport, now_s: float) -> bool:
        self.reports.append((now_s, report))
        return True

    def announce(self, event: Event, now_s: float) -> None:
        self.announced_at_s.append(now_s)
        self.events.append(event)

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
        self.hints[connection_id] = hint
        self.turn += 1
        up = [endpoint_id for endpoint_id in self.up if endpoint_id not in exclude]
        return Verdict("admit", connection_id, up[self.turn % len(up)])

    def poll(self, now_s: float) -> list[Verdict]:
        return []

    def opened(self, connection_id: str, endpoint_id: str, now_s: float, hint: str = "") -> None:
        assert connection_id not in self.owner
        self.owner[connection_id] = endpoint_id

    def failed(self, connection_id: str, endpoint_id: str, now_s: float) -> None:
        self.failures.append(endpoint_id)

    def closed(self, connection_id: str, now_s: float) -> None:
        del self.owner[connection_id]

    def tick(self, now_s: float, wall_s: float | None = None) -> None:
        pass
