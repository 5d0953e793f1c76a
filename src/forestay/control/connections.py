"""What data planes report about connections, passed on to those who must know: the balancer, the registry, the log.

The registry answers where a connection is; this module keeps only the number per endpoint, so that a million
connections are not remembered a third time.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from typing import Protocol

from forestay.balancer import Balancer
from forestay.control.clock import Clock
from forestay.control.counts import Counts
from forestay.control.directory import EndpointDirectory
from forestay.control.ports import ConnectionStore
from forestay.model.connection import Connection
from forestay.model.errors import UnknownEndpoint


class AccessLog(Protocol):
    """Where one line for every connection goes."""

    def opened(self, cluster: str, connection: Connection) -> None:
        """Established."""

    def closed(self, cluster: str, connection: Connection, duration_s: float) -> None:
        """Gone after `duration_s`."""


class ConnectionLedger:
    """Open connections of one cluster. Implements `ConnectionSink`.

    Attributes:
        open: open connections by endpoint id.
    """

    def __init__(
        self,
        cluster: str,
        *,
        balancer: Balancer,
        directory: EndpointDirectory,
        store: ConnectionStore,
        counts: Counts,
        clock: Clock,
        access_log: AccessLog | None = None,
    ) -> None:
        self.open: dict[str, int] = defaultdict(int)
        self._cluster = cluster
        self._balancer = balancer
        self._directory = directory
        self._store = store
        self._counts = counts
        self._clock = clock
        self._access_log = access_log

    def opened(self, connection: Connection, at_s: float) -> None:
        """Established at monotonic time `at_s`; on another endpoint than before: a move; repeated: nothing new.

        Raises:
            InvalidInput: the registry cannot hold such a record; nothing has changed.
        """
        known = self._store.get(connection.id)
        self._store.register(connection)
        if known is None:
            self._counts.connections["opened"] += 1
            self.open[connection.endpoint_id] += 1
        elif known.endpoint_id != connection.endpoint_id:
            self._counts.connections["moved"] += 1
            self._leave(known.endpoint_id)
            self.open[connection.endpoint_id] += 1
        self._tell_opened(connection, at_s)
        if known is None and self._access_log is not None:
            self._access_log.opened(self._cluster, connection)

    def failed(self, connection_id: str, endpoint_id: str, at_s: float) -> None:
        """The endpoint did not accept it."""
        self._counts.connections["failed"] += 1
        try:
            self._balancer.failed(connection_id, endpoint_id, at_s)
        except UnknownEndpoint:
            self._counts.errors["failed_on_unknown_endpoint"] += 1

    def closed(self, connection_id: str, at_s: float) -> None:
        """Gone at monotonic time `at_s`; unknown ids change nothing."""
        connection = self._store.get(connection_id)
        self._balancer.closed(connection_id, at_s)
        if connection is None:
            return
        self._store.unregister(connection_id)
        self._counts.connections["closed"] += 1
        self._note_closed(connection, at_s)

    def resynced(self, owner: str, live: Sequence[Connection]) -> None:
        """Take the whole truth of one owner: open what is new, close what it no longer names."""
        now_s = self._clock.now_s()
        for connection in live:
            self.opened(connection, now_s)
        self._forget(self._store.settle(owner, live), "resync_gone", now_s)

    def adopt(self, endpoint_ids: Iterable[str]) -> None:
        """Take over what the registry remembers from before the restart, on these endpoints.

        Whether those of data planes still exist, the planes must say: see `forget_unconfirmed`. Nobody but their
        clients knows about direct placements, so those stay.
        """
        now_s = self._clock.now_s()
        adopted = [connection for endpoint_id in endpoint_ids for connection in self._store.on_endpoint(endpoint_id)]
        adopted.sort(key=lambda connection: connection.opened_at)  # the balancer learns their ages
        for connection in adopted:
            self._counts.connections["adopted"] += 1
            self.open[connection.endpoint_id] += 1
            if _is_direct(connection):
                self._store.register(connection)
            self._tell_opened(connection, min(now_s, self._clock.monotonic(connection.opened_at)))

    def forget_unconfirmed(self) -> None:
        """Close what was adopted and no data plane has named since: its worker died while nobody looked."""
        self._forget(self._store.settle_rest(), "adopted_gone", self._clock.now_s())

    def get(self, connection_id: str) -> Connection | None:
        """Look one up."""
        return self._store.get(connection_id)

    def on_endpoint(self, endpoint_id: str) -> Iterable[Connection]:
        """All on one endpoint."""
        return self._store.on_endpoint(endpoint_id)

    def __iter__(self) -> Iterator[Connection]:
        """All, endpoint by endpoint; endpoints that were removed while they held connections included."""
        ids = dict.fromkeys(state.endpoint.id for state in self._directory)
        ids.update(dict.fromkeys(endpoint_id for endpoint_id, count in self.open.items() if count))
        return chain.from_iterable(self._store.on_endpoint(endpoint_id) for endpoint_id in ids)

    def _forget(self, gone: Iterable[Connection], event: str, now_s: float) -> None:
        """Account for connections that the store has just forgotten."""
        for connection in gone:
            if _is_direct(connection):
                self._store.register(connection)  # its client chose an id that looks like the owner's
                continue
            self._counts.connections[event] += 1
            self._balancer.closed(connection.id, now_s)
            self._note_closed(connection, now_s)

    def _tell_opened(self, connection: Connection, at_s: float) -> None:
        """Let the balancer know. The connection exists even where the endpoint was removed meanwhile."""
        try:
            self._balancer.opened(connection.id, connection.endpoint_id, at_s, connection.hint)
        except UnknownEndpoint:
            self._counts.errors["opened_on_unknown_endpoint"] += 1

    def _note_closed(self, connection: Connection, at_s: float) -> None:
        self._leave(connection.endpoint_id)
        if self._access_log is not None:
            duration_s = max(0.0, self._clock.unix(at_s) - connection.opened_at)
            self._access_log.closed(self._cluster, connection, duration_s)

    def _leave(self, endpoint_id: str) -> None:
        self.open[endpoint_id] -= 1
        if self.open[endpoint_id] <= 0:
            del self.open[endpoint_id]


def _is_direct(connection: Connection) -> bool:
    """Whether no data plane carries it: direct placements have no upstream socket that we know."""
    return connection.upstream is None
