"""WALKING SKELETON: least connections behind the final interface; the planner replaces it."""

from collections.abc import Iterable, Sequence

import numpy as np

from forestay.balancer.settings import BalancerSettings
from forestay.model.errors import UnknownConnection, UnknownEndpoint
from forestay.model.event import Event
from forestay.model.load import LoadReport
from forestay.model.plan import UNLIMITED, Forecast, Plan, Table, Verdict


class Balancer:
    def __init__(self, settings: BalancerSettings | None = None, seed: int = 0) -> None:
        self.settings = settings or BalancerSettings()
        self.ids: list[str] = []
        self.slot: dict[str, int] = {}
        self.count: list[int] = []
        self.up: list[bool] = []
        self.load: dict[str, float] = {}
        self.where: dict[str, str] = {}

    def add_endpoint(
        self, endpoint_id: str, now_s: float, capacity: float | None = None, zone: str = "",
        connections_max: int | None = None,
    ) -> None:
        if endpoint_id not in self.slot:
            self.slot[endpoint_id] = len(self.ids)
            self.ids.append(endpoint_id)
            self.count.append(0)
            self.up.append(True)
        self.up[self.slot[endpoint_id]] = True

    def set_health(self, endpoint_id: str, healthy: bool, now_s: float) -> None:
        self.up[self._slot(endpoint_id)] = healthy

    def drain_endpoint(self, endpoint_id: str, now_s: float) -> None:
        self.up[self._slot(endpoint_id)] = False

    def remove_endpoint(self, endpoint_id: str, now_s: float) -> None:
        self.up[self._slot(endpoint_id)] = False
        self.ids[self.slot.pop(endpoint_id)] = ""

    def report(self, report: LoadReport, now_s: float) -> None:
        self._slot(report.endpoint_id)
        self.load[report.endpoint_id] = report.load or 0.0

    def place(
        self, connection_id: str, now_s: float, hint: str = "", client: str = "", zone: str = "",
        prefer: str | None = None, exclude: Iterable[str] = (),
    ) -> Verdict:
        verdict = self.preview(connection_id, now_s, hint, client, zone, prefer, exclude)
        if verdict.kind == "admit":
            self.opened(connection_id, verdict.endpoint_id, now_s, hint)
        return verdict

    def preview(
        self, connection_id: str, now_s: float, hint: str = "", client: str = "", zone: str = "",
        prefer: str | None = None, exclude: Iterable[str] = (),
    ) -> Verdict:
        free = [(c, i) for i, c in enumerate(self.count) if self.up[i] and self.ids[i] not in exclude]
        if not free:
            return Verdict("queue", connection_id, reason="overload", retry_after_s=5.0)
        return Verdict("admit", connection_id, self.ids[min(free)[1]], "fittest")

    def poll(self, now_s: float) -> list[Verdict]:
        return []

    def opened(self, connection_id: str, endpoint_id: str, now_s: float, hint: str = "") -> None:
        if connection_id in self.where:
            self.closed(connection_id, now_s)
        self.where[connection_id] = endpoint_id
        self.count[self._slot(endpoint_id)] += 1

    def failed(self, connection_id: str, endpoint_id: str, now_s: float) -> None:
        self.closed(connection_id, now_s)

    def closed(self, connection_id: str, now_s: float) -> None:
        endpoint_id = self.where.pop(connection_id, None)
        if endpoint_id in self.slot:
            self.count[self.slot[endpoint_id]] -= 1

    def tick(self, now_s: float, wall_s: float | None = None) -> Plan:
        n, horizons = len(self.ids), np.array([0.0, 1, 2, 4, 7, 11, 16, 22, 30])
        ones = np.ones((n, 9))
        price = ones * (1.0 + np.array(self.count, float))[:, None]
        table = Table(
            tuple(self.ids), price, ones * 1.01, np.full(9, 1 / 9), np.zeros(9),
            np.where(self.up, UNLIMITED, 0), np.zeros(n, np.int64),
        )
        mean = ones * np.array([self.load.get(i, 0.0) for i in self.ids])[:, None]
        levels = np.array([0.1, 0.5, 0.9])
        forecast = Forecast(tuple(self.ids), horizons, mean, np.zeros((9, 3)), levels, ones * 0)
        pool: Sequence[str] = [i for i, up in zip(self.ids, self.up, strict=True) if up and i]
        return Plan(now_s, table, forecast, lambda: dict.fromkeys(pool, 100))

    def announce(self, event: Event, now_s: float) -> None: ...

    def explain(self, connection_id: str) -> str:
        if connection_id not in self.where:
            raise UnknownConnection(connection_id)
        return f"{connection_id} is on {self.where[connection_id]}"

    def snapshot(self) -> bytes:
        return b""

    @classmethod
    def restore(cls, data: bytes, settings: BalancerSettings | None = None, seed: int = 0, now_s: float = 0.0) -> "Balancer":
        return cls(settings, seed)

    def _slot(self, endpoint_id: str) -> int:
        try:
            return self.slot[endpoint_id]
        except KeyError:
            raise UnknownEndpoint(endpoint_id) from None
