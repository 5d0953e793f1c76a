"""Runs the API inside the event loop of the control process."""

import asyncio
import contextlib
import socket
from collections.abc import Iterator

import uvicorn
from fastapi import FastAPI

from forestay.service.routes.lookup import Clusters

STOP_S = 5.0
"""How long requests under way may take when the process stops; then they are cut."""


class ApiServer:
    """One uvicorn server on one listening socket.

    Attributes:
        address: (host, port) it listens on; known once `start` has returned, also where port 0 was asked for.
    """

    def __init__(self, app: FastAPI, host: str = "127.0.0.1", port: int = 0) -> None:
        """Prepare to serve what `create_app` made; port 0: any free one."""
        self._clusters: Clusters = app.state.clusters
        self.address = (host, port)
        self._server = _Server(
            uvicorn.Config(
                app,
                log_config=None,
                access_log=False,
                lifespan="off",
                ws="none",
                timeout_graceful_shutdown=int(STOP_S),
                server_header=False,
            )
        )
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Listen; answers requests when it returns.

        Raises:
            OSError: the address is in use, or not ours.
        """
        listening = _listen(*self.address)
        self.address = listening.getsockname()[:2]
        self._task = asyncio.create_task(self._server.serve(sockets=[listening]), name="api")
        up = asyncio.create_task(self._server.up.wait())
        await asyncio.wait((up, self._task), return_when=asyncio.FIRST_COMPLETED)
        up.cancel()
        if self._task.done():
            await self._task

    async def stop(self) -> None:
        """Stop listening, let requests under way finish for a moment; long polls end now."""
        if self._task is not None:
            for cluster in self._clusters.values():
                cluster.placements.end_waits()
            self._server.should_exit = True
            await self._task
            self._task = None


class _Server(uvicorn.Server):
    """Leaves signals to the process, which has more to stop than this server.

    Attributes:
        up: set once it answers requests.
    """

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.up = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """See uvicorn."""
        await super().startup(sockets)
        self.up.set()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Capture none."""
        yield


def _listen(host: str, port: int) -> socket.socket:
    host = host.strip("[]")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # asyncio sets TCP_NODELAY only on sockets that say IPPROTO_TCP; without it every answer waits 40 ms for an ACK.
    listening = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((host, port))
        listening.listen(1024)
        listening.setblocking(False)
    except BaseException:
        listening.close()
        raise
    return listening
