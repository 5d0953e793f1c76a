"""A balancer whose endpoints report once a second what a test says."""

from collections import Counter
from collections.abc import Iterable, Mapping

from forestay import Balancer, BalancerSettings, LoadReport, Plan, Verdict

A, B, C, D = (f"10.0.0.{number}:80" for number in range(1, 5))


class Cluster:
    """Endpoints, a clock, and a name for every connection.

    Attributes:
        now_s: this moment; a second passes with `second`.
        plan: the last one.
    """

    def __init__(
        self, endpoints: Iterable[str] = (A, B), settings: BalancerSettings | None = None, seed: int = 0
    ) -> None:
        self.balancer = Balancer(settings, seed=seed)
        self.now_s = 100.0
        self.ids = list(endpoints)
        for endpoint_id in self.ids:
            self.balancer.add_endpoint(endpoint_id, self.now_s)
        self.plan = self.balancer.tick(self.now_s)
        self._named = 0

    def second(self, load: float | Mapping[str, float] | None = None, memory: float | None = None) -> Plan:
        """A second passes, at whose end everybody reports `load`; a mapping: those in it; None: nobody."""
        self.now_s += 1.0
        for endpoint_id in self.ids:
            value = load.get(endpoint_id) if isinstance(load, Mapping) else load
            if value is not None:
                report = LoadReport(endpoint_id, at_s=self.now_s, load=value, memory=memory)
                taken = self.balancer.report(report, self.now_s)
                assert taken or self.now_s < self.plan.now_s  # a clock that jumped back
        self.plan = self.balancer.tick(self.now_s)
        return self.plan

    def seconds(self, count: int, load: float | Mapping[str, float] | None = None) -> Plan:
        """Several of them."""
        for _ in range(count):
            self.second(load)
        return self.plan

    def open(self, endpoint_id: str, count: int = 1) -> list[str]:
        """Connections that are there, placed by somebody else; their ids."""
        ids = [self._name() for _ in range(count)]
        for connection_id in ids:
            self.balancer.opened(connection_id, endpoint_id, self.now_s)
        return ids

    def place(
        self, zone: str = "", prefer: str | None = None, exclude: Iterable[str] = (), client: str = ""
    ) -> Verdict:
        """Place a new connection now."""
        return self.balancer.place(self._name(), self.now_s, zone=zone, prefer=prefer, exclude=exclude, client=client)

    def admit(self, count: int) -> Counter[str]:
        """Place and open that many; how many each endpoint got."""
        got: Counter[str] = Counter()
        for _ in range(count):
            verdict = self.place()
            if verdict.kind == "admit":
                self.balancer.opened(verdict.connection_id, verdict.endpoint_id, self.now_s)
                got[verdict.endpoint_id] += 1
        return got

    def _name(self) -> str:
        self._named += 1
        return f"conn-{self._named}"
