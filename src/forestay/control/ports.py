"""What the control loop needs of the world, as Protocols. Adapters implement them and never import each other."""

from collections.abc import Iterable, Sequence
from typing import Protocol

from forestay.model.connection import Connection
from forestay.model.load import LoadReport
from forestay.model.plan import Plan


class ConnectionSink(Protocol):
    """Where a data plane says what became of connections. Called on the control loop's thread; never blocks."""

    def opened(self, connection: Connection, at_s: float) -> None:
        """Established at monotonic time `at_s`: placed by the plane itself, or by `Balancer.place` before."""

    def failed(self, connection_id: str, endpoint_id: str, at_s: float) -> None:
        """The endpoint did not accept it; the plane may be trying another."""

    def closed(self, connection_id: str, at_s: float) -> None:
        """Gone."""

    def resynced(self, owner: str, live: Sequence[Connection]) -> None:
        """The whole truth of one owner (a relay worker that came back): its other connections are gone."""


class ReportSink(Protocol):
    """Where telemetry delivers load reports, `at_s` on the monotonic clock."""

    def __call__(self, report: LoadReport) -> None:
        """Take one report; unusable ones are counted and dropped, never raised."""


class DataPlane(Protocol):
    """Carries decisions out, reports opens and closes."""

    async def start(self, sink: ConnectionSink) -> None:
        """Begin to serve; adopt what a previous life of the process left behind."""

    def publish(self, plan: Plan) -> None:
        """Take the plan of this tick."""

    def placed(self, endpoint_id: str) -> None:
        """`Balancer.place` chose `endpoint_id` since the last plan: other pickers must see it at once."""

    async def stop(self, drain_s: float) -> None:
        """Accept nothing new, let connections finish for up to `drain_s`, then close the rest."""


class ConnectionStore(Protocol):
    """The registry, as the loop needs it: remembers where connections are. Calls return at once (write-behind)."""

    def register(self, connection: Connection) -> None:
        """Remember an established connection."""

    def unregister(self, connection_id: str) -> None:
        """Forget one that closed; unknown ids are ignored."""

    def get(self, connection_id: str) -> Connection | None:
        """Look one up."""

    def on_endpoint(self, endpoint_id: str) -> Iterable[Connection]:
        """All on one endpoint."""

    def settle(self, owner: str, live: Iterable[Connection]) -> Iterable[Connection]:
        """Take the whole truth of one owner: register `live`, forget and return its other connections."""

    def settle_rest(self) -> Iterable[Connection]:
        """Forget and return what a previous life of the process registered and nobody has since."""
