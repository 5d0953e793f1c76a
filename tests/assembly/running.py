"""A real `forestay serve` process, and real servers behind it."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any

import httpx

WITHIN_S = 20.0
"""Everything here takes well under two seconds on an idle machine."""


class EchoServer:
    """A TCP server that names itself, then echoes. Use it as an async context manager."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.accepted = 0
        self._server: asyncio.Server
        self._writers: set[asyncio.StreamWriter] = set()

    @property
    def address(self) -> str:
        """Where it listens."""
        host, port = self._server.sockets[0].getsockname()[:2]
        return f"{host}:{port}"

    async def __aenter__(self) -> "EchoServer":
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.close()
        for writer in list(self._writers):
            writer.transport.abort()
        await self._server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        try:
            first = await reader.read(4096)
            if first:  # a health check says nothing
                self.accepted += 1
                writer.write(f"{self.name}:".encode() + first)
            while data := await reader.read(4096):
                writer.write(data)
                await writer.drain()
        except ConnectionError:
            pass  # the client's end was reset, as tests do
        finally:
            self._writers.discard(writer)
            writer.close()


class Forestay:
    """`forestay serve` as a child process; its log is read line by line. Use it as an async context manager."""

    def __init__(self, directory: Path, *arguments: str, **variables: str) -> None:
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("FORESTAY_")}
        self.log: list[dict[str, Any]] = []
        self._directory = directory
        self._process = subprocess.Popen(
            [
                *(sys.executable, "-m", "forestay", "serve", *arguments),
                *("--set", f"process.state_dir={directory / 'state'}"),
                *("--set", f"process.runtime_dir={directory / 'run'}"),
            ],
            stderr=subprocess.PIPE,
            text=True,
            cwd=directory,
            env={**inherited, "FORESTAY_SERVICE__LISTEN": "127.0.0.1:0", **variables},
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    async def __aenter__(self) -> "Forestay":
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
            try:
                await self.wait()
            except subprocess.TimeoutExpired:
                self._process.kill()
                await self.wait()
        self._reader.join(WITHIN_S)
        assert self._process.stderr is not None
        self._process.stderr.close()

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal."""
        self._process.send_signal(number)

    async def wait(self) -> int:
        """Its exit code."""
        return await asyncio.to_thread(self._process.wait, WITHIN_S)

    async def logged(self, event: str, after: int = 0) -> dict[str, Any]:
        """The first line of its log with this event, from line `after` on."""
        line: dict[str, Any] = await until(
            lambda: next((line for line in self.log[after:] if line.get("event") == event), None),
            f"log {event!r}",
            lambda: json.dumps(self.log, indent=1),
        )
        return line

    async def serving(self) -> dict[str, str]:
        """Addresses by listener ("cluster/listener", and "api") once it serves."""
        addresses: dict[str, str] = (await self.logged("serving"))["addresses"]
        return addresses

    async def api(self, path: str) -> Any:
        """What its API answers."""
        addresses = await self.serving()
        async with httpx.AsyncClient(trust_env=False) as client:
            response = await client.get(f"http://{addresses['api']}{path}")
        return response.json() if "json" in response.headers["content-type"] else response.text

    async def shows(self, sample: str) -> None:
        """Wait until its metrics page has this line."""
        deadline_s = time.monotonic() + WITHIN_S
        while sample not in (page := await self.api("/metrics")).splitlines():
            assert time.monotonic() < deadline_s, f"no {sample!r} in\n{page}"
            await asyncio.sleep(0.05)

    async def connections(self, cluster: str) -> list[str]:
        """Ids of the connections that it knows of; waits until there are some."""
        deadline_s = time.monotonic() + WITHIN_S
        while not (found := (await self.api(f"/v1/clusters/{cluster}/connections"))["connections"]):
            assert time.monotonic() < deadline_s, "no connection is registered"
            await asyncio.sleep(0.02)
        return [connection["id"] for connection in found]

    def _read(self) -> None:
        assert self._process.stderr is not None
        for text in self._process.stderr:
            try:
                self.log.append(json.loads(text))
            except ValueError:
                self.log.append({"event": "text", "text": text})


async def until(
    probe: Callable[[], Any], what: str, context: Callable[[], str] = lambda: "", within_s: float = WITHIN_S
) -> Any:
    """Ask `probe` until it answers something."""
    deadline_s = time.monotonic() + within_s
    while (answer := probe()) is None or answer is False:
        assert time.monotonic() < deadline_s, f"no {what} within {within_s:g} s\n{context()}"
        await asyncio.sleep(0.02)
    return answer


async def answers(address: str, *names: str) -> None:
    """Wait until a new connection through `address` reaches one of `names`; "" is a refusal."""
    deadline_s = time.monotonic() + WITHIN_S
    while (name := await ask(address)) not in names:
        assert time.monotonic() < deadline_s, f"{address} still answers {name!r} and not {names}"
        await asyncio.sleep(0.02)


async def ask(address: str, text: bytes = b"hello") -> str:
    """Name of the server that a new connection through `address` reaches; "" where it is refused."""
    host, _, port = address.rpartition(":")
    try:
        async with asyncio.timeout(WITHIN_S):
            reader, writer = await asyncio.open_connection(host.strip("[]"), int(port))
            try:
                writer.write(text)
                answer = await reader.read(4096)
            finally:
                writer.close()
    except ConnectionError:
        return ""
    return answer.decode().partition(":")[0]
