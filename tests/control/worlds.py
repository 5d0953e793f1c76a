"""The world around a loop under test: a place to remember connections and blobs, a data plane that writes down."""

from collections.abc import Iterable

from forestay.control.clock import Clock
from forestay.control.ports import ConnectionSink
from forestay.model.connection import Connection
from forestay.model.plan import Plan

A, B = "10.0.0.1:80", "10.0.0.2:80"


class DictStore:
    """A `ConnectionStore` and a `BlobStore` on dictionaries, for worlds without a registry's background work."""

    def __init__(self) -> None:
        self.connections: dict[str, Connection] = {}
        self.blobs: dict[str, bytes] = {}
        self.recovered: set[str] = set()

    def restarted(self) -> "DictStore":
        """What the next life of the process finds."""
        successor = DictStore()
        successor.connections, successor.blobs = dict(self.connections), dict(self.blobs)
        successor.recovered = set(self.connections)
        return successor

    def register(self, connection: Connection) -> None:
        self.connections[connection.id] = connection
        self.recovered.discard(connection.id)

    def unregister(self, connection_id: str) -> None:
        self.connections.pop(connection_id, None)
        self.recovered.discard(connection_id)

    def settle(self, owner: str, live: Iterable[Connection]) -> list[Connection]:
        alive = {connection.id for connection in live}
        return self._forget([i for i in self.connections if i[12:16] == owner and len(i) == 32 and i not in alive])

    def settle_rest(self) -> list[Connection]:
        return self._forget([i for i in self.connections if i in self.recovered])

    def get(self, connection_id: str) -> Connection | None:
        return self.connections.get(connection_id)

    def on_endpoint(self, endpoint_id: str) -> Iterable[Connection]:
        return [c for c in self.connections.values() if c.endpoint_id == endpoint_id]

    def _forget(self, ids: list[str]) -> list[Connection]:
        self.recovered.difference_update(ids)
        return [self.connections.pop(connection_id) for connection_id in ids]

    def load_blob(self, key: str) -> bytes | None:
        return self.blobs.get(key)

    def save_blob(self, key: str, data: bytes) -> None:
        self.blobs[key] = data


class WritingPlane:
    """A `DataPlane` that writes down what it is told."""

    def __init__(self, clock: Clock) -> None:
        self.plans: list[Plan] = []
        self.published_s: list[float] = []
        self.placements: list[str] = []
        self.sink: ConnectionSink | None = None
        self.stopped_within_s: float | None = None
        self._clock = clock

    async def start(self, sink: ConnectionSink) -> None:
        self.sink = sink

    def publish(self, plan: Plan) -> None:
        self.plans.append(plan)
        self.published_s.append(self._clock.now_s())

    def placed(self, endpoint_id: str) -> None:
        self.placements.append(endpoint_id)

    async def stop(self, drain_s: float) -> None:
        self.stopped_within_s = drain_s


class BrokenPlane(WritingPlane):
    """Fails at everything that can fail."""

    def publish(self, plan: Plan) -> None:
        raise OSError("no space left on device")

    async def stop(self, drain_s: float) -> None:
        raise OSError("broken pipe")


def relayed(connection_id: str, endpoint_id: str, opened_at: float = 1_700_000_000.0) -> Connection:
    """A connection that a data plane carries."""
    return Connection(
        connection_id, endpoint_id, "192.0.2.1:5555", opened_at, upstream=("10.9.0.1", 40_000, "10.0.0.1", 80)
    )


def relay_id(picker: int, number: int) -> str:
    """An id as pickers make them."""
    return f"{1_700_000_000_000:012x}{picker:04x}{number:016x}"
