"""The load generator: replays the arrivals against one address and keeps the books of what clients felt.

`python -m forestay.demo.load --target 127.0.0.1:8080 --arrivals FILE --start-at-s T --length-s 60 --out FILE`, with T
on the monotonic clock. Latency counts from when a message was *due*, not from when it could be sent: waiting for a
connection, for a refused one to be tried again or for a server that is stuck is all in it (no coordinated omission). A
client whose connection is cut connects again at once, as real ones do, and says again what was not answered. What is
never answered counts with the time from when it was due until the run's end.
"""

import argparse
import asyncio
import json
import random
import time
from collections import deque
from dataclasses import asdict, dataclass, field
from pathlib import Path

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus

from forestay.demo import wire
from forestay.demo.arrivals import Arrival, read

PATIENCE_S = 10.0
"""How long a client waits for a handshake, and after its time for the last answers, before it gives up."""

RETRY_S = 1.0
"""Pause after a refusal that names none, and after a failed connect; times a random 0.5-1.5."""

RECENT = 400
"""Latencies behind the figure in the live view: about five seconds of them."""


@dataclass(slots=True)
class Books:
    """What happened, times in seconds from the start of the run.

    Attributes:
        messages: (due, latency, answered) of every message that was due before the end.
        connects: (began, seconds until the handshake was done) of every successful connect.
        refused: connection attempts answered with 503.
        failed: attempts that ended in an error or took longer than `PATIENCE_S`.
        cut: established connections that ended before the client was done.
        open: connections established now.
    """

    messages: list[tuple[float, float, bool]] = field(default_factory=list)
    connects: list[tuple[float, float]] = field(default_factory=list)
    refused: int = 0
    failed: int = 0
    cut: int = 0
    open: int = 0


class Client:
    """One arrival's life: connect, say what is due when it is due, stay, leave."""

    def __init__(
        self, arrival: Arrival, target: str, start_at_s: float, length_s: float, books: Books, seed: int
    ) -> None:
        self._target = target
        self._start_at_s = start_at_s
        self._books = books
        self._rng = random.Random(seed)
        self._arrival = arrival
        self._due = [due_s for due_s in arrival.due_s() if due_s < length_s]
        self._length_s = length_s
        self._sent = 0
        self._unanswered: dict[int, float] = {}

    async def run(self) -> None:
        """Live until done, or until cancelled at the end of the run."""
        try:
            await asyncio.sleep(self._arrival.t_s - self._now_s())
            while not await self._visit():
                pass
        finally:
            # Never sent counts like never answered: both were due and got nothing.
            never_s = [*self._unanswered.values(), *self._due[self._sent :]]
            self._books.messages += [(due_s, self._length_s - due_s, False) for due_s in never_s]

    async def _visit(self) -> bool:
        """Connect once and talk; False: start again."""
        began_s = self._now_s()
        try:
            connection = await connect(
                f"ws://{self._target}/",
                compression=None,
                ping_interval=None,
                open_timeout=PATIENCE_S,
                close_timeout=1.0,
                proxy=None,
            )
        except InvalidStatus as error:
            self._books.refused += 1
            await self._pause(float(error.response.headers.get("Retry-After", RETRY_S)))
            return False
        except (OSError, EOFError, InvalidHandshake):  # TimeoutError is an OSError
            self._books.failed += 1
            await self._pause(RETRY_S)
            return False
        self._books.connects.append((began_s, self._now_s() - began_s))
        self._books.open += 1
        try:
            async with connection:
                return await self._talk(connection)
        finally:
            self._books.open -= 1

    async def _talk(self, connection: ClientConnection) -> bool:
        """Say what is due, until everything is answered and the time is up; False: cut before that."""
        listening = asyncio.create_task(self._listen(connection))
        try:
            for sequence in list(self._unanswered):
                await self._say(connection, sequence)
            while self._sent < len(self._due):
                if await self._cut_before(self._due[self._sent], listening):
                    return False
                self._unanswered[self._sent] = self._due[self._sent]
                self._sent += 1
                await self._say(connection, self._sent - 1)
            leaves_s = self._arrival.t_s + self._arrival.duration_s
            if await self._cut_before(leaves_s, listening):
                return False
            # Cut while waiting for the last answers is still cut; answered or out of patience is done.
            return not (self._unanswered and await self._cut_before(leaves_s + PATIENCE_S, listening))
        except ConnectionClosed:
            self._books.cut += 1
            return False
        finally:
            listening.cancel()
            await asyncio.gather(listening, return_exceptions=True)

    async def _cut_before(self, until_s: float, listening: asyncio.Task[None]) -> bool:
        """Wait until `until_s` of the run; True, counted, if the connection ends before."""
        await asyncio.wait({listening}, timeout=max(0.0, until_s - self._now_s()))
        if not listening.done():
            return False
        listening.result()  # an answer that makes no sense is an error, not a cut
        if self._finished:
            return False
        self._books.cut += 1
        return True

    @property
    def _finished(self) -> bool:
        """Everything was said and answered, and the time is up."""
        leaves_s = self._arrival.t_s + self._arrival.duration_s
        return self._sent == len(self._due) and not self._unanswered and self._now_s() >= leaves_s

    async def _say(self, connection: ClientConnection, sequence: int) -> None:
        await connection.send(wire.request(sequence, self._arrival.cost_ms / 1000))

    async def _listen(self, connection: ClientConnection) -> None:
        """Take answers until the connection ends, or until nothing more is wanted of it."""
        try:
            async for data in connection:
                due_s = self._unanswered.pop(wire.parse_reply(data), None)
                if due_s is not None:
                    self._books.messages.append((due_s, self._now_s() - due_s, True))
                if self._finished:
                    return
        except ConnectionClosed:
            pass  # the caller sees that this task has ended

    async def _pause(self, pause_s: float) -> None:
        await asyncio.sleep(pause_s * self._rng.uniform(0.5, 1.5))

    def _now_s(self) -> float:
        """Seconds from the start of the run."""
        return time.monotonic() - self._start_at_s


async def replay(
    arrivals: list[Arrival], target: str, start_at_s: float, length_s: float, seed: int, books: Books
) -> None:
    """Run every arrival that comes before `length_s`; returns at that time, when all are gone."""
    clients = [
        asyncio.create_task(Client(arrival, target, start_at_s, length_s, books, seed + i).run())
        for i, arrival in enumerate(arrivals)
        if arrival.t_s < length_s
    ]
    try:
        await asyncio.sleep(start_at_s + length_s - time.monotonic())
        for client in clients:
            if client.done():
                client.result()  # a bug in a client must not pass for a quiet run
    finally:
        for client in clients:
            client.cancel()
        await asyncio.gather(*clients, return_exceptions=True)


async def _progress(books: Books, start_at_s: float) -> None:
    """Print a line a second for the live view."""
    recent: deque[float] = deque(maxlen=RECENT)
    seen = 0
    while True:
        await asyncio.sleep(1.0)
        recent.extend(latency_s for _, latency_s, _ in books.messages[seen:])
        seen = len(books.messages)
        ordered = sorted(recent)
        p99_s = ordered[int(0.99 * len(ordered))] if ordered else 0.0
        line = {
            "t_s": round(time.monotonic() - start_at_s, 2),
            "open": books.open,
            "answered": seen,
            "latency_ms_p99": round(1000 * p99_s, 1),
            "refused": books.refused,
            "failed": books.failed,
            "cut": books.cut,
        }
        print(json.dumps(line), flush=True)


async def _main(options: argparse.Namespace) -> None:
    arrivals = read(options.arrivals.read_text(encoding="utf-8").splitlines())
    books = Books()
    progress = asyncio.create_task(_progress(books, options.start_at_s))
    try:
        await replay(arrivals, options.target, options.start_at_s, options.length_s, options.seed, books)
    finally:
        progress.cancel()
        await asyncio.gather(progress, return_exceptions=True)
    options.out.write_text(json.dumps(asdict(books)), encoding="utf-8")


def main() -> None:
    """Entry of `python -m forestay.demo.load`."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--target", required=True, help="host:port")
    parser.add_argument("--arrivals", type=Path, required=True)
    parser.add_argument("--start-at-s", type=float, required=True, help="monotonic time of the run's second 0")
    parser.add_argument("--length-s", type=float, required=True)
    parser.add_argument("--seed", type=int, default=0, help="of the pauses between attempts")
    parser.add_argument("--out", type=Path, required=True, help="file that gets the books as JSON at the end")
    asyncio.run(_main(parser.parse_args()))


if __name__ == "__main__":
    main()
