"""The world as it would have been: a second balancer that lives with its own choices.

Asking "where would forestay put this one connection, in the world as it is?" again and again and adding up the answers
would send everybody to the one server that the live balancer neglects. So a second balancer places every connection in
a world of its own: what its servers report is what the real ones did, plus the expected load of the connections it has
moved there, less that of those it has moved away. Expected loads are those that the first balancer, which sees the real
world, has learned.
"""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping

from forestay.balancer import Balancer, BalancerSettings
from forestay.control.directory import EndpointState
from forestay.model.cost import ConnectionCost
from forestay.model.load import LoadReport
from forestay.model.plan import FloatArray, Verdict


class WouldBeWorld:
    """See the module.

    Attributes:
        balancer: that places there.
        shift: load that its choices have moved to each endpoint, less what they have moved away.
    """

    def __init__(self, settings: BalancerSettings, seed: int) -> None:
        self.balancer = Balancer(settings, seed)
        self.shift: dict[str, float] = {}
        self._told: dict[str, tuple[object, ...]] = {}  # what the balancer knows of each endpoint
        self._accepts: Counter[str] = Counter()  # moved there less moved away, since the last tick

    def configure(self, settings: BalancerSettings) -> None:
        """Take the settings of the first balancer, which may have changed."""
        if self.balancer.settings is not settings:
            self.balancer.configure(settings)

    def set_endpoints(self, states: Iterable[EndpointState], now_s: float) -> None:
        """Tell the balancer what has changed about the endpoints."""
        balancer, seen = self.balancer, set()
        for state in states:
            endpoint, leaving = state.endpoint, state.draining or state.leaving
            seen.add(endpoint.id)
            told = (endpoint, leaving, state.healthy)
            if self._told.get(endpoint.id) == told:
                continue
            self._told[endpoint.id] = told
            balancer.add_endpoint(endpoint.id, now_s, endpoint.capacity, endpoint.zone, endpoint.connections_max)
            if leaving:
                balancer.drain_endpoint(endpoint.id, now_s)
            balancer.set_health(endpoint.id, state.healthy, now_s)
        for endpoint_id in sorted(self._told.keys() - seen):
            del self._told[endpoint_id]
            balancer.remove_endpoint(endpoint_id, now_s)

    def place(self, connection_id: str, chosen: str, now_s: float, hint: str, exclude: Collection[str]) -> Verdict:
        """Place a connection that really opened on `chosen`; where it would have had to wait, it stays there."""
        verdict = self.balancer.place(connection_id, now_s, hint=hint, exclude=exclude)
        if verdict.kind != "admit":
            self.follow(connection_id, chosen, now_s, hint)
        else:
            self.balancer.opened(connection_id, verdict.endpoint_id, now_s, hint)
            if verdict.endpoint_id != chosen:
                self._accepts[verdict.endpoint_id] += 1
                self._accepts[chosen] -= 1
        return verdict

    def follow(self, connection_id: str, chosen: str, now_s: float, hint: str) -> None:
        """Take a connection over as it is: it was there before, or nothing is known yet to decide by."""
        self.balancer.opened(connection_id, chosen, now_s, hint)

    def load(self, endpoint_id: str, load: float) -> float:
        """What the load of an endpoint would be that really is `load`."""
        return max(0.0, load + self.shift.get(endpoint_id, 0.0))

    def report(self, report: LoadReport, load: float) -> None:
        """Let the balancer hear what a server would have reported that really reported `load`."""
        endpoint_id, at_s = report.endpoint_id, report.at_s
        would_be = LoadReport(endpoint_id, at_s, load=self.load(endpoint_id, load), memory=report.memory)
        self.balancer.report(would_be, at_s)

    def tick(
        self,
        now_s: float,
        dt_s: float,
        wall_s: float,
        cost: ConnectionCost,
        really: Mapping[str, FloatArray],
        certainty: float,
    ) -> None:
        """Plan the next second, and see what has moved.

        Args:
            now_s: this moment.
            dt_s: since the last tick.
            wall_s: Unix time, for the calendar.
            cost: of connections, as learned from the real world.
            really: open connections by endpoint and age in the real world, weighted by their hints.
            certainty: part of the real connections that is known, in (0, 1]. What was learned of their cost is too
                much by as much: few have been given the load of all.
        """
        self.balancer.tick(now_s, wall_s)
        here = self.balancer.connections_by_age(cost.by_hint)
        accepts, self._accepts = self._accepts, Counter()
        self.shift = {
            endpoint_id: certainty
            * cost.scale[endpoint_id]
            * (
                float(cost.by_age @ (here[endpoint_id] - counts))
                + cost.per_accept * accepts.get(endpoint_id, 0) / max(dt_s, 1e-3)
            )
            for endpoint_id, counts in really.items()
            if endpoint_id in here
        }
