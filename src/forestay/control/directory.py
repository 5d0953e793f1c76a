"""Which endpoints a cluster has, who says so, and what state they are in; keeps the balancer told.

An endpoint may be named by several sources (the configuration, the API, DNS). It belongs to the cluster as long as one
of them names it. One that its last source no longer names is drained, and removed when its connections are gone.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from forestay.balancer import Balancer
from forestay.model.endpoint import Endpoint
from forestay.model.errors import UnknownEndpoint

PRECEDENCE = ("api", "config", "dns")
"""Whose attributes count when several sources name the same endpoint; unlisted sources come last, by name."""


@dataclass(slots=True)
class EndpointState:
    """One endpoint of the cluster.

    Attributes:
        endpoint: attributes in force.
        named_by: attributes by source.
        healthy: last word of the health checks; True until they say otherwise.
        health_detail: why, in the checker's words.
        draining: the operator wants nothing new on it.
    """

    endpoint: Endpoint
    named_by: dict[str, Endpoint] = field(default_factory=dict)
    healthy: bool = True
    health_detail: str = ""
    draining: bool = False

    @property
    def leaving(self) -> bool:
        """No source names it any more: nothing new, removed once empty."""
        return not self.named_by


class EndpointDirectory:
    """Endpoints of one cluster by id, in the order in which they were first named.

    Attributes:
        revision: grows with every change but those of health.
    """

    def __init__(self, balancer: Balancer) -> None:
        self.revision = 0
        self._balancer = balancer
        self._states: dict[str, EndpointState] = {}
        self._leaving: dict[str, None] = {}
        self._subscribers: list[Callable[[Sequence[str]], None]] = []

    def __contains__(self, endpoint_id: str) -> bool:
        return endpoint_id in self._states

    def __iter__(self) -> Iterator[EndpointState]:
        return iter(self._states.values())

    def __len__(self) -> int:
        return len(self._states)

    def subscribe(self, callback: Callable[[Sequence[str]], None]) -> None:
        """Call `callback` with all endpoint ids now, and again whenever the set changes: health checks, scrapers."""
        self._subscribers.append(callback)
        callback(tuple(self._states))

    def get(self, endpoint_id: str) -> EndpointState:
        """State of one endpoint.

        Raises:
            UnknownEndpoint: no source ever named it, or it was removed.
        """
        try:
            return self._states[endpoint_id]
        except KeyError:
            raise UnknownEndpoint(endpoint_id) from None

    def add(self, endpoint: Endpoint, now_s: float, source: str = "api") -> EndpointState:
        """Name an endpoint, or change the attributes that `source` gives it; keeps its drain."""
        is_new = endpoint.id not in self._states
        state = self._add(endpoint, now_s, source)
        if is_new:
            self._tell_subscribers()
        return state

    def remove(self, endpoint_id: str, now_s: float) -> None:
        """Remove it at once, whoever names it. Connections on it are not cut; it returns when a source names it anew.

        Raises:
            UnknownEndpoint: it is not there.
        """
        self.get(endpoint_id)
        del self._states[endpoint_id]
        self._leaving.pop(endpoint_id, None)
        self.revision += 1
        self._balancer.remove_endpoint(endpoint_id, now_s)
        self._tell_subscribers()

    def replace(self, source: str, endpoints: Iterable[Endpoint], now_s: float) -> None:
        """Take the whole truth of one source: those it no longer names leave, unless another names them."""
        named = {endpoint.id: endpoint for endpoint in endpoints}
        count_before = len(self._states)
        for endpoint in named.values():
            self._add(endpoint, now_s, source)
        if len(self._states) > count_before:
            self._tell_subscribers()
        for endpoint_id, state in self._states.items():
            if endpoint_id not in named and state.named_by.pop(source, None) is not None:
                if not state.named_by:
                    self._leaving[endpoint_id] = None
                self._apply(state, now_s)

    def named_by(self, source: str) -> list[Endpoint]:
        """What one source names."""
        return [state.named_by[source] for state in self if source in state.named_by]

    def drain(self, endpoint_id: str, now_s: float) -> EndpointState:
        """Put nothing new on it; its connections stay.

        Raises:
            UnknownEndpoint: it is not there.
        """
        state = self.get(endpoint_id)
        state.draining = True
        self.revision += 1
        self._balancer.drain_endpoint(endpoint_id, now_s)
        return state

    def undrain(self, endpoint_id: str, now_s: float) -> EndpointState:
        """Take newcomers again.

        Raises:
            UnknownEndpoint: it is not there.
        """
        state = self.get(endpoint_id)
        state.draining = False
        self._apply(state, now_s)
        return state

    def set_health(self, endpoint_id: str, healthy: bool, now_s: float, detail: str = "") -> bool:
        """Take the word of a health check.

        Returns:
            Whether health changed.

        Raises:
            UnknownEndpoint: it is not there.
        """
        state = self.get(endpoint_id)
        changed = state.healthy != healthy
        state.healthy, state.health_detail = healthy, detail
        if changed:
            self._balancer.set_health(endpoint_id, healthy, now_s)
        return changed

    def remove_empty(self, open_connections: dict[str, int], now_s: float) -> list[str]:
        """Remove those that are leaving and hold no connection any more; returns their ids."""
        gone = [endpoint_id for endpoint_id in self._leaving if not open_connections.get(endpoint_id)]
        for endpoint_id in gone:
            self.remove(endpoint_id, now_s)
        return gone

    def _add(self, endpoint: Endpoint, now_s: float, source: str) -> EndpointState:
        state = self._states.setdefault(endpoint.id, EndpointState(endpoint))
        state.named_by[source] = endpoint
        self._leaving.pop(endpoint.id, None)
        self._apply(state, now_s)
        return state

    def _tell_subscribers(self) -> None:
        for callback in self._subscribers:
            callback(tuple(self._states))

    def _apply(self, state: EndpointState, now_s: float) -> None:
        """Tell the balancer. Adding undrains, and a restored balancer may think otherwise of health: say both again."""
        self.revision += 1
        if state.named_by:
            first = min(state.named_by, key=lambda source: (_precedence(source), source))
            state.endpoint = state.named_by[first]
        endpoint = state.endpoint
        self._balancer.add_endpoint(
            endpoint.id,
            now_s,
            capacity=endpoint.capacity,
            zone=endpoint.zone,
            connections_max=endpoint.connections_max,
        )
        if state.draining or state.leaving:
            self._balancer.drain_endpoint(endpoint.id, now_s)
        self._balancer.set_health(endpoint.id, state.healthy, now_s)


def _precedence(source: str) -> int:
    return PRECEDENCE.index(source) if source in PRECEDENCE else len(PRECEDENCE)
