"""One server of the demo: holds WebSocket connections and really burns CPU for every message, within a CPU budget.

`python -m forestay.demo.server --budget 0.25 --samples FILE` prints its port and serves until a signal ends it.
All work, a handshake, a message or a slice of the background job, goes through one first-in-first-out queue that the
`CpuThrottle` paces, so latency grows with the backlog. Once a second it writes down what it saw: the scores of the demo
come from these samples and not from anything that forestay says about itself.

Besides WebSocket it answers `GET /healthz`, and `GET /job?length_s=3&share=0.5`, which starts a background job that
asks for that share of the budget for that long: the cron entry of the demo.
"""

import argparse
import asyncio
import json
import logging
import math
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO
from urllib.parse import parse_qs, urlsplit

from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response

from forestay.demo import wire
from forestay.demo.throttle import CpuThrottle, burn

JOBS_MAX = 20_000
"""Work that may wait; reading stops when it is full. At 3 ms apiece far more than any run leaves behind."""

JOB_SLICE_S = 0.004
"""CPU seconds of one slice of the background job: as long as a typical message, so it competes fairly in the queue."""

OPEN_TIMEOUT_S = 20.0
"""Longest handshake: longer than clients wait, so that the impatient side is always the client."""


@dataclass(slots=True)
class Work:
    """One piece of work, there since `asked_s`: burn `cost_s`, then answer `connection` or set `done`."""

    cost_s: float
    asked_s: float
    connection: ServerConnection | None = None
    sequence: int = 0
    done: asyncio.Future[None] | None = None

    @property
    def wanted(self) -> bool:
        """Whether somebody still waits for it: nobody does when the client has left or the handshake timed out."""
        if self.connection is not None:
            return self.connection.close_code is None
        return self.done is None or not self.done.cancelled()


class Server:
    """Queue, throttle and counters of one server process."""

    def __init__(self, budget: float, handshake_s: float, samples: TextIO) -> None:
        self._throttle = CpuThrottle(budget)
        self._handshake_s = handshake_s
        self._samples = samples
        self._queue: asyncio.Queue[Work] = asyncio.Queue(JOBS_MAX)
        self._backlog_s = 0.0
        self._connections = 0
        self._accepts: list[float] = []
        self._messages = 0
        self._jobs: set[asyncio.Task[None]] = set()

    async def run(self, host: str, port: int) -> None:
        """Serve until cancelled."""
        logger = logging.getLogger("websockets.server")
        logger.setLevel(
            logging.CRITICAL
        )  # its "errors" are peers that leave in mid-handshake: health probes, killed runs
        async with (
            serve(
                self._handle,
                host,
                port,
                process_request=self._process_request,
                compression=None,
                ping_interval=None,
                open_timeout=OPEN_TIMEOUT_S,
                close_timeout=1.0,
                logger=logger,
            ) as listener,
            asyncio.TaskGroup() as tasks,
        ):
            tasks.create_task(self._work())
            tasks.create_task(self._sample())
            bound_port = next(iter(listener.sockets)).getsockname()[1]
            print(json.dumps({"port": bound_port}), flush=True)

    async def _process_request(self, connection: ServerConnection, request: Request) -> Response | None:
        """Answer plain HTTP; make a WebSocket handshake wait its turn and cost its CPU."""
        url = urlsplit(request.path)
        if url.path == "/healthz":
            return connection.respond(200, "ok\n")
        if url.path == "/job":
            query = parse_qs(url.query)
            task = asyncio.create_task(self._job(float(query["length_s"][0]), float(query["share"][0])))
            self._jobs.add(task)
            task.add_done_callback(self._jobs.discard)
            return connection.respond(202, "started\n")
        self._accepts.append(time.monotonic())
        done = asyncio.get_running_loop().create_future()
        await self._enqueue(Work(self._handshake_s, time.monotonic(), done=done))
        await done
        return None

    async def _handle(self, connection: ServerConnection) -> None:
        """Queue what one client says."""
        self._connections += 1
        try:
            async for data in connection:
                sequence, cost_s = wire.parse_request(data)
                await self._enqueue(Work(cost_s, time.monotonic(), connection, sequence))
        except ConnectionClosed:
            pass  # how a client leaves is its own affair; the load generator keeps the books
        finally:
            self._connections -= 1

    async def _job(self, length_s: float, share: float) -> None:
        """Ask for `share` of the budget for `length_s` seconds."""
        pause_s = JOB_SLICE_S / (share * self._throttle.budget)
        started_s = time.monotonic()
        for i in range(round(length_s / pause_s)):
            await asyncio.sleep(started_s + i * pause_s - time.monotonic())
            await self._enqueue(Work(JOB_SLICE_S, time.monotonic()))

    async def _enqueue(self, work: Work) -> None:
        self._backlog_s += work.cost_s
        await self._queue.put(work)

    async def _work(self) -> None:
        """Do the work in order, within the budget."""
        charged_s = time.thread_time()
        while True:
            work = await self._queue.get()
            await asyncio.sleep(self._throttle.wait_s(time.monotonic()))
            started_s = time.monotonic()
            self._backlog_s -= work.cost_s
            if work.wanted:
                burn(work.cost_s)
                await self._finish(work)
            # Everything since the last charge is paid for, so that parsing and the event loop are not for free.
            used_s = time.thread_time()
            self._throttle.charge(used_s - charged_s, work.asked_s, started_s)
            charged_s = used_s

    async def _finish(self, work: Work) -> None:
        if work.done is not None and not work.done.done():
            work.done.set_result(None)
        if work.connection is not None:
            self._messages += 1
            with suppress(ConnectionClosed):  # left while its message was being worked on
                await work.connection.send(wire.reply(work.sequence))

    async def _sample(self) -> None:
        """Write one line at every whole second of the monotonic clock, the same instants on every server."""
        at_s, cpu_s = time.monotonic(), time.thread_time()
        next_s = math.floor(at_s) + 1
        while True:
            await asyncio.sleep(next_s - time.monotonic())
            now_s, used_s = time.monotonic(), time.thread_time()
            sample = {
                "at_s": round(now_s, 4),
                "window_s": round(now_s - at_s, 4),
                "cpu_s": round(used_s - cpu_s, 5),
                "backlog_s": round(max(0.0, self._backlog_s), 5),
                "connections": self._connections,
                "messages": self._messages,
                "accepts": [round(accept_s, 4) for accept_s in self._accepts],
            }
            self._samples.write(json.dumps(sample) + "\n")
            self._samples.flush()
            self._accepts.clear()
            self._messages = 0
            at_s, cpu_s = now_s, used_s
            next_s = round(now_s) + 1


def main() -> None:
    """Entry of `python -m forestay.demo.server`."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--budget", type=float, required=True, help="cores, (0, 1]")
    parser.add_argument("--handshake-ms", type=float, default=8.0, help="CPU milliseconds of one handshake")
    parser.add_argument("--samples", type=Path, required=True, help="file that gets one JSON line a second")
    options = parser.parse_args()
    with options.samples.open("a", encoding="utf-8") as samples:
        asyncio.run(Server(options.budget, options.handshake_ms / 1000, samples).run(options.host, options.port))


if __name__ == "__main__":
    main()
