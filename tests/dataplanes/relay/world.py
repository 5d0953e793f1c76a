"""What the relay's tests share: a sink that remembers, plans made by hand, servers with a will of their own."""

import asyncio
import socket
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np

from forestay.dataplanes.relay.listener import ListenerSpec
from forestay.dataplanes.relay.plane import RelayPlane
from forestay.model.connection import Connection
from forestay.model.plan import UNLIMITED, Forecast, Plan, Table

HORIZONS = 3


class Recorder:
    """A sink that keeps the state which it was told, and the history."""

    def __init__(self) -> None:
        self.live: dict[str, Connection] = {}
        self.opens: list[Connection] = []
        self.failures: list[tuple[str, str]] = []
        self.closes: list[str] = []
        self.resyncs: list[tuple[str, tuple[Connection, ...]]] = []

    def opened(self, connection: Connection, at_s: float) -> None:
        assert connection.id not in self.live
        self.live[connection.id] = connection
        self.opens.append(connection)

    def failed(self, connection_id: str, endpoint_id: str, at_s: float) -> None:
        self.failures.append((connection_id, endpoint_id))

    def closed(self, connection_id: str, at_s: float) -> None:
        del self.live[connection_id]
        self.closes.append(connection_id)

    def resynced(self, owner: str, live: Sequence[Connection]) -> None:
        self.resyncs.append((owner, tuple(live)))
        for connection_id in [i for i in self.live if i[12:16] == owner]:
            del self.live[connection_id]
        self.live.update((connection.id, connection) for connection in live)


def table_of(
    ids: Sequence[str],
    slots: int | Sequence[int] = UNLIMITED,
    paced: int | Sequence[int] = 0,
    shed: bool = False,
    prices: Sequence[float] | None = None,
    growth: float = 1.01,
) -> Table:
    count = len(ids)
    price = np.ones((count, HORIZONS)) * np.array(prices or [1.0] * count)[:, None]
    return Table(
        endpoint_ids=tuple(ids),
        price=price,
        factor=np.full((count, HORIZONS), growth),
        weight=np.full(HORIZONS, 1 / HORIZONS),
        level=np.zeros(HORIZONS),
        slots=np.broadcast_to(np.asarray(slots, np.int64), count).copy(),
        paced=np.broadcast_to(np.asarray(paced, np.int64), count).copy(),
        shed=shed,
    )


def plan_of(ids: Sequence[str], now_s: float | None = None, **table: Any) -> Plan:
    count = len(ids)
    forecast = Forecast(
        tuple(ids), np.arange(HORIZONS, dtype=float), np.zeros((count, HORIZONS)), np.zeros((HORIZONS, 1)),
        np.array([0.5]), np.zeros((count, HORIZONS)),
    )  # fmt: skip
    return Plan(time.monotonic() if now_s is None else now_s, table_of(ids, **table), forecast, lambda seconds: {})


async def until(condition: Callable[[], Any], timeout_s: float = 5.0, what: str = "") -> Any:
    """The first true value of `condition`."""
    deadline_s = time.monotonic() + timeout_s
    while not (value := condition()):
        assert time.monotonic() < deadline_s, f"not within {timeout_s} s: {what or condition}"
        await asyncio.sleep(0.01)
    return value


@contextmanager
def runtime_directory() -> Iterator[Path]:
    """A short path (unix sockets), on a tmpfs where there is one."""
    shm = Path("/dev/shm")
    with tempfile.TemporaryDirectory(prefix="forestay-", dir=shm if shm.is_dir() else None) as path:
        yield Path(path)


def spec(**changes: Any) -> ListenerSpec:
    return ListenerSpec(**{"name": "public", "cluster": "chat", "host": "127.0.0.1", "port": 0, **changes})


class Relay:
    """A started plane with one listener."""

    def __init__(self, plane: RelayPlane, sink: Recorder) -> None:
        self.plane, self.sink = plane, sink

    @property
    def address(self) -> tuple[str, int]:
        return self.plane.addresses()["public"]

    @property
    def pids(self) -> list[int]:
        return self.plane.worker_pids()["public"]

    def stat(self, name: str) -> int:
        return self.plane.stats()["public"].get(name, 0)

    async def stat_becomes(self, name: str, value: int, timeout_s: float = 5.0) -> None:
        await until(lambda: self.stat(name) == value, timeout_s, f"{name} == {value}, is {self.stat(name)}")

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection(*self.address)

    async def resets_newcomers(self) -> bool:
        """Whether a client is reset as soon as it is there, which may be before its connect has returned."""
        loop = asyncio.get_running_loop()
        with socket.socket() as sock:
            sock.setblocking(False)
            try:
                await loop.sock_connect(sock, self.address)
                await loop.sock_recv(sock, 1)
            except ConnectionResetError:
                return True
        return False

    async def dial(self, receive_buffer: int | None = None) -> socket.socket:
        """A raw, non-blocking, connected socket."""
        host, port = self.address
        sock = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
        if receive_buffer:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        sock.setblocking(False)
        await asyncio.get_running_loop().sock_connect(sock, (host, port))
        return sock


@asynccontextmanager
async def relaying(plan: Plan | None, **changes: Any) -> AsyncIterator[Relay]:
    """A relay in a directory of its own, stopped at the end."""
    with runtime_directory() as directory:
        plane, sink = RelayPlane("chat", [spec(**changes)], directory), Recorder()
        await plane.start(sink)
        try:
            if plan is not None:
                plane.publish(plan)
            yield Relay(plane, sink)
        finally:
            await plane.stop(0.0)


Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65_536):
        writer.write(data)
        await writer.drain()


@asynccontextmanager
async def serving(handler: Handler = echo, host: str = "127.0.0.1", port: int = 0) -> AsyncIterator[str]:
    """A server; its endpoint id."""
    tasks: set[asyncio.Task[Any]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        try:
            await handler(reader, writer)
        except (ConnectionError, asyncio.CancelledError):
            pass  # tests cut connections on purpose
        finally:
            writer.close()
            tasks.discard(task)

    server = await asyncio.start_server(serve, host, port)
    try:
        yield endpoint_of(server.sockets[0].getsockname())
    finally:
        server.close()
        for task in list(tasks):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


@contextmanager
def listening(host: str = "127.0.0.1", backlog: int = 128) -> Iterator[socket.socket]:
    """A listening socket whose accepts the test does itself."""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as sock:
        sock.bind((host, 0))
        sock.listen(backlog)
        sock.setblocking(False)
        yield sock


def endpoint_of(address: tuple[Any, ...]) -> str:
    host, port = address[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def refusing_endpoint() -> str:
    """An address where nobody listens."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return endpoint_of(sock.getsockname())


async def close_all(streams: Iterable[asyncio.StreamWriter]) -> None:
    writers = list(streams)
    for writer in writers:
        writer.close()
    for writer in writers:
        with suppress(ConnectionError):  # the test cut it
            await writer.wait_closed()
