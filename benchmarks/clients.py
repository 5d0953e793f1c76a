"""Clients that come when their schedule says so, whatever the relay does, and write down what became of each.

An open loop: a relay that stalls does not slow its clients down, it makes them wait. One epoll loop in a thread serves
some ten thousand of them. What was seen is judged from here, from the outside, not from forestay's own counters.
"""

import heapq
import itertools
import math
import random
import select
import socket
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from functools import partial

MESSAGE = b"hello\n"
ANSWER_BYTES = 6
ANSWER_S = 10.0
"""A message unanswered for so long counts as never answered."""
TURN_S = 0.05
EVENTS_MAX = 512
SOURCES = 16
IP_BIND_ADDRESS_NO_PORT = 24
"""From linux/in.h; the socket module has it from Python 3.12 on."""


class End(StrEnum):
    """Why a connection ended."""

    LEFT = "left"  # as scheduled
    REFUSED = "refused"  # refused or reset before the first answer
    LATE = "late"  # no first answer
    DROPPED = "dropped"  # cut by the other side after the first answer
    STALLED = "stalled"  # a later message was never answered


@dataclass(frozen=True, slots=True)
class Arrival:
    """A client of the schedule.

    Attributes:
        at_s: since the start.
        stay_s: from connect to close; infinite: to the end. 0: one request.
        message_every_s: 0: only the first message.
        reconnects: at once, whenever it is cut or refused.
        target: index of the address that it connects to.
    """

    at_s: float
    stay_s: float = math.inf
    message_every_s: float = 0.0
    reconnects: bool = False
    target: int = 0


@dataclass(slots=True)
class Visit:
    """What became of one connection. Times are monotonic; None: did not happen.

    Attributes:
        address: of the client's socket; unique among connections to one target.
        server: port of the server, from its first answer.
        again: it is a reconnect.
    """

    arrival: Arrival
    started_s: float
    again: bool
    address: str = ""
    server: int = 0
    answered_s: float | None = None
    ended_s: float | None = None
    end: End | None = None


@dataclass(slots=True, eq=False)
class _Client:
    visit: Visit
    sock: socket.socket
    leave_s: float
    asked_s: float | None = None
    sent: bool = False


@dataclass(order=True, slots=True)
class _Timer:
    at_s: float
    order: int
    action: Callable[[float], None] = field(compare=False)


def arrivals(
    rate_per_s: float, from_s: float, to_s: float, stay_s: float, seed: int, message_every_s: float = 0.0
) -> list[Arrival]:
    """Poisson arrivals that stay for exponential times with mean `stay_s`."""
    rng, found, at_s = random.Random(seed), [], from_s
    while (at_s := at_s + rng.expovariate(rate_per_s)) < to_s:
        found.append(Arrival(at_s, rng.expovariate(1 / stay_s) if stay_s else 0.0, message_every_s))
    return found


def crowd(
    count: int, over_s: float, message_every_s: float, *, reconnects: bool = False, target: int = 0
) -> list[Arrival]:
    """Clients that come evenly over `over_s` seconds and stay."""
    return [Arrival(i * over_s / count, math.inf, message_every_s, reconnects, target) for i in range(count)]


class Clients:
    """A schedule and its outcome. Use it as a context manager: the thread runs inside the block.

    Attributes:
        visits: all connections so far, in the order of their start.
        late_s: by how much the loop itself fell behind the schedule at worst.
    """

    def __init__(self, schedule: Sequence[Arrival], targets: Sequence[tuple[str, int]]) -> None:
        self.visits: list[Visit] = []
        self.late_s = 0.0
        self.started_s = 0.0
        self._targets = list(targets)
        self._schedule = deque(sorted(schedule, key=lambda arrival: arrival.at_s))
        self._timers: list[_Timer] = []
        self._order = itertools.count()
        self._clients: dict[int, _Client] = {}
        self._epoll = select.epoll()
        self._stop, self._frozen, self._leave = threading.Event(), threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._run, name="clients")
        self._failure: BaseException | None = None

    def __enter__(self) -> "Clients":
        self.started_s = time.monotonic()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        for client in self._clients.values():
            client.sock.close()
        self._epoll.close()
        if self._failure is not None:
            raise self._failure

    def now_s(self) -> float:
        """Of the schedule."""
        return time.monotonic() - self.started_s

    def sleep_until(self, at_s: float) -> None:
        """Of the schedule."""
        time.sleep(max(0.0, at_s - self.now_s()))

    def freeze(self) -> None:
        """From now on nobody comes or leaves; messages go on."""
        self._frozen.set()

    def leave(self) -> None:
        """Everybody leaves now."""
        self._leave.set()

    def open(self) -> list[Visit]:
        """Those that got an answer and did not end."""
        visits = [client.visit for client in list(self._clients.values())]
        return [visit for visit in visits if visit.answered_s is not None and visit.end is None]

    def count(self, *ends: End, since_s: float = 0.0, until_s: float = math.inf) -> int:
        """Connections that ended so, within monotonic times."""
        return sum(
            visit.end in ends and visit.ended_s is not None and since_s <= visit.ended_s < until_s
            for visit in list(self.visits)
        )

    def _run(self) -> None:
        try:
            while not self._stop.is_set():
                self._turn()
        except BaseException as error:  # raised again where the block ends
            self._failure = error

    def _turn(self) -> None:
        now_s = time.monotonic()
        while self._schedule and self.started_s + self._schedule[0].at_s <= now_s:
            arrival = self._schedule.popleft()
            self.late_s = max(self.late_s, now_s - self.started_s - arrival.at_s)
            self._connect(arrival, time.monotonic())
        while self._timers and self._timers[0].at_s <= now_s:
            timer = heapq.heappop(self._timers)
            self.late_s = max(self.late_s, now_s - timer.at_s)
            timer.action(time.monotonic())
        if self._leave.is_set():
            self._leave.clear()
            for leaving in list(self._clients.values()):
                self._end(leaving, End.LEFT, now_s)
        for descriptor, event in self._epoll.poll(self._until_next_s(), EVENTS_MAX):
            if (client := self._clients.get(descriptor)) is not None:
                self._on_event(client, event)

    def _until_next_s(self) -> float:
        next_s = min(
            self._schedule[0].at_s + self.started_s if self._schedule else math.inf,
            self._timers[0].at_s if self._timers else math.inf,
        )
        return max(0.0, min(TURN_S, next_s - time.monotonic()))

    def _at(self, at_s: float, action: Callable[[float], None]) -> None:
        heapq.heappush(self._timers, _Timer(at_s, next(self._order), action))

    def _connect(self, arrival: Arrival, now_s: float, again: bool = False) -> None:
        if self._frozen.is_set():
            return
        sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        # Many source addresses: one runs out of ports while closed connections rest in TIME_WAIT.
        sock.setsockopt(socket.IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, 1)
        sock.bind((f"127.0.2.{1 + len(self.visits) % SOURCES}", 0))
        visit = Visit(arrival, now_s, again)
        self.visits.append(visit)
        client = _Client(visit, sock, now_s + arrival.stay_s)
        self._clients[sock.fileno()] = client
        sock.connect_ex(self._targets[arrival.target])
        self._epoll.register(sock.fileno(), select.EPOLLIN | select.EPOLLOUT | select.EPOLLET)
        self._at(now_s + ANSWER_S, partial(self._check, client))

    def _on_event(self, client: _Client, event: int) -> None:
        now_s = time.monotonic()
        try:
            if not client.sent and event & select.EPOLLOUT:
                client.sock.send(MESSAGE)
                client.sent, client.asked_s = True, now_s
                host, port = client.sock.getsockname()
                client.visit.address = f"{host}:{port}"
            if event & ~select.EPOLLOUT:
                self._receive(client, now_s)
        except BlockingIOError:
            pass  # edge without news
        except OSError:
            self._cut(client, now_s)

    def _receive(self, client: _Client, now_s: float) -> None:
        """Read until there is nothing left: one edge may bring an answer and the end."""
        while client.visit.end is None:
            answer = client.sock.recv(4096)
            if not answer:
                self._cut(client, now_s)
                return
            client.asked_s = None
            if client.visit.answered_s is None:
                self._on_first_answer(client, answer, now_s)

    def _on_first_answer(self, client: _Client, answer: bytes, now_s: float) -> None:
        visit = client.visit
        visit.answered_s, visit.server = now_s, int(answer[:ANSWER_BYTES])
        if visit.arrival.stay_s == 0.0:
            self._end(client, End.LEFT, now_s)
            return
        if math.isfinite(client.leave_s):
            self._at(client.leave_s, partial(self._depart, client))
        if visit.arrival.message_every_s:
            # Spread by the golden ratio: messages of a crowd should not come in one burst.
            first_s = visit.arrival.message_every_s * (0.5 + next(self._order) * 0.618 % 1)
            self._at(now_s + first_s, partial(self._ask, client))

    def _ask(self, client: _Client, now_s: float) -> None:
        if client.visit.end is not None:
            return
        if client.asked_s is None:
            try:
                client.sock.send(MESSAGE)
            except OSError:
                self._cut(client, now_s)
                return
            client.asked_s = now_s
            self._at(now_s + ANSWER_S, partial(self._check, client))
        self._at(now_s + client.visit.arrival.message_every_s, partial(self._ask, client))

    def _check(self, client: _Client, now_s: float) -> None:
        """Was the message of `ANSWER_S` ago answered?"""
        if client.visit.end is not None:
            return
        if client.visit.answered_s is None:
            self._end(client, End.LATE, now_s)
        elif client.asked_s is not None and now_s - client.asked_s >= ANSWER_S:
            self._end(client, End.STALLED, now_s)

    def _depart(self, client: _Client, now_s: float) -> None:
        if client.visit.end is None and not self._frozen.is_set():
            self._end(client, End.LEFT, now_s)

    def _cut(self, client: _Client, now_s: float) -> None:
        self._end(client, End.REFUSED if client.visit.answered_s is None else End.DROPPED, now_s)

    def _end(self, client: _Client, end: End, now_s: float) -> None:
        visit = client.visit
        visit.end, visit.ended_s = end, now_s
        self._clients.pop(client.sock.fileno())
        client.sock.close()
        if visit.arrival.reconnects and end is not End.LEFT:
            self._connect(visit.arrival, now_s, again=True)
