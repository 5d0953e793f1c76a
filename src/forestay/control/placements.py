"""Direct placements: connections of clients that ask where to go and then connect without a proxy in between.

The life of one: asked -> (queued ->) reserved -> confirmed -> closed. A reservation that nobody confirms expires, so a
client that died after asking costs nothing for long. Asking again with the same id gives the same answer.
"""

import asyncio
import secrets
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from forestay.balancer import Balancer
from forestay.control.clock import Clock
from forestay.control.connections import ConnectionLedger
from forestay.control.counts import Counts
from forestay.control.directory import EndpointDirectory
from forestay.model.connection import Connection
from forestay.model.errors import InvalidInput, UnknownConnection, UnknownEndpoint
from forestay.model.plan import Verdict

RESERVATIONS_MAX = 100_000
"""Reservations and queued placements at once: 10,000 a second that nobody ever confirms."""

RETRY_AFTER_S = 1.0
"""When trying again may help, where the balancer names no time: after the next tick."""


@dataclass(frozen=True, slots=True)
class PlacementRequest:
    """What a client asks. An empty `id` is replaced by a fresh one."""

    id: str = ""
    client: str = ""
    hint: str = ""
    zone: str = ""
    prefer: str | None = None
    exclude: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Placement:
    """The answer.

    Attributes:
        id: of the connection.
        state: "reserved" (connect to `endpoint_id` and confirm), "queued" (ask again), "shed" (refused),
            "confirmed" (connected).
        endpoint_id: with "reserved" and "confirmed", else "".
        reason: the balancer's word.
        retry_after_s: with "shed" and "queued".
        expires_in_s: with "reserved": time left to confirm.
    """

    id: str
    state: Literal["reserved", "queued", "shed", "confirmed"]
    endpoint_id: str = ""
    reason: str = ""
    retry_after_s: float = 0.0
    expires_in_s: float = 0.0


@dataclass(slots=True)
class _Pending:
    """A placement that is neither confirmed nor gone."""

    request: PlacementRequest
    asked_s: float
    verdict: Verdict
    expires_s: float = 0.0
    settled: asyncio.Event | None = None


class PlacementDesk:
    """Direct placements of one cluster.

    Attributes:
        waiting: set while some placement is queued: somebody must call `poll`.
    """

    def __init__(
        self,
        *,
        balancer: Balancer,
        directory: EndpointDirectory,
        ledger: ConnectionLedger,
        counts: Counts,
        clock: Clock,
        reservation_s: float = 10.0,
        placed: Callable[[str], None] = lambda endpoint_id: None,
    ) -> None:
        self.waiting = asyncio.Event()
        self._balancer = balancer
        self._directory = directory
        self._ledger = ledger
        self._counts = counts
        self._clock = clock
        self._reservation_s = reservation_s
        self._placed = placed
        self._pending: dict[str, _Pending] = {}
        self._expiries: deque[tuple[float, str]] = deque()  # ascending: every reservation lasts equally long
        self._queued = 0
        self._waits_ended = False

    @property
    def queued(self) -> int:
        """Placements that wait."""
        return self._queued

    @property
    def reserved(self) -> int:
        """Placements that were answered and not yet confirmed."""
        return len(self._pending) - self._queued

    def ask(self, request: PlacementRequest) -> Placement:
        """Place a connection, or repeat the answer that its id has already.

        Raises:
            InvalidInput: the id belongs to a connection of a data plane.
        """
        if request.id:
            known = self.find(request.id)
            if known is not None:
                return known
        else:
            request = _with_id(request, _fresh_id(self._clock.wall_s()))
        if len(self._pending) >= RESERVATIONS_MAX:
            verdict = Verdict("shed", request.id, reason="reservations_full", retry_after_s=self._reservation_s)
            self._count(verdict)
            return _shed(verdict)
        now_s = self._clock.now_s()
        verdict = self._balancer.place(
            request.id,
            now_s,
            hint=request.hint,
            client=request.client,
            zone=request.zone,
            prefer=request.prefer,
            exclude=request.exclude,
        )
        self._count(verdict)
        if verdict.kind == "shed":
            return _shed(verdict)
        pending = self._pending[request.id] = _Pending(request, now_s, verdict)
        if verdict.kind == "admit":
            self._reserve(pending, now_s)
        else:
            pending.settled = asyncio.Event()
            self._queued += 1
            self.waiting.set()
        return self._answer(pending)

    async def wait(self, connection_id: str, wait_s: float) -> Placement | None:
        """Wait up to `wait_s` for a queued placement's turn, or until `end_waits`.

        Returns:
            Where it stands then; None: it was given up meanwhile, or never asked for.
        """
        pending = self._pending.get(connection_id)
        if pending is not None and pending.settled is not None:
            try:
                async with asyncio.timeout(0.0 if self._waits_ended else wait_s):
                    await pending.settled.wait()
            except TimeoutError:
                pass  # still queued: the caller sees it in the state
            if pending.verdict.kind == "shed":
                return _shed(pending.verdict)
        return self.find(connection_id)

    def end_waits(self) -> None:
        """Wake all who wait, now and in future: the process is about to stop."""
        self._waits_ended = True
        for pending in self._pending.values():
            if pending.settled is not None:
                pending.settled.set()

    def find(self, connection_id: str) -> Placement | None:
        """State of a placement; None: never asked for, shed, expired or closed.

        Raises:
            InvalidInput: the id belongs to a connection of a data plane.
        """
        pending = self._pending.get(connection_id)
        if pending is not None:
            return self._answer(pending)
        connection = self._direct(connection_id)
        if connection is None:
            return None
        return Placement(connection_id, "confirmed", connection.endpoint_id)

    def confirm(self, connection_id: str, endpoint_id: str = "", client: str = "", state: bytes = b"") -> Connection:
        """The client is connected.

        Args:
            connection_id: as placed.
            endpoint_id: where it is connected to; needed only where nothing is remembered of the placement (it
                expired, or the control process restarted in between), or when the connection moved.
            client: its address, unless it was named before.
            state: travels with a move, at most 256 bytes.

        Raises:
            UnknownConnection: nothing is remembered and no endpoint given.
            UnknownEndpoint: there is no such endpoint.
            InvalidInput: it is still queued, or the id belongs to a connection of a data plane.
        """
        now_s = self._clock.now_s()
        pending = self._pending.get(connection_id)
        if pending is not None and pending.verdict.kind == "queue" and not endpoint_id:
            raise InvalidInput(f"id = {connection_id!r}: still queued; ask again until it is placed, then confirm")
        known = self._direct(connection_id)
        where = endpoint_id or (pending.verdict.endpoint_id if pending else known.endpoint_id if known else "")
        if not where:
            raise UnknownConnection(connection_id)
        if where not in self._directory:
            raise UnknownEndpoint(where)
        if pending is not None:
            self._drop(pending)
            self._counts.placements["confirmed"] += 1
        connection = Connection(
            id=connection_id,
            endpoint_id=where,
            client=client or (pending.request.client if pending else known.client if known else ""),
            opened_at=known.opened_at if known else self._clock.wall_s(),
            hint=pending.request.hint if pending else known.hint if known else "",
            state=state or (known.state if known else b""),
        )
        self._ledger.opened(connection, now_s)
        return connection

    def close(self, connection_id: str, failed: bool = False) -> bool:
        """End a placement in any state; `failed`: because the endpoint did not accept the connection.

        Returns:
            False where there was nothing to end.

        Raises:
            InvalidInput: the id belongs to a connection of a data plane.
        """
        now_s = self._clock.now_s()
        pending = self._pending.get(connection_id)
        if pending is None:
            if self._direct(connection_id) is None:
                return False
            self._ledger.closed(connection_id, now_s)
            self._counts.placements["closed"] += 1
            return True
        self._drop(pending)
        if failed and pending.verdict.kind == "admit":
            self._counts.placements["failed"] += 1
            self._ledger.failed(connection_id, pending.verdict.endpoint_id, now_s)
        else:
            self._counts.placements["abandoned"] += 1
            self._balancer.closed(connection_id, now_s)
        return True

    def poll(self, now_s: float) -> None:
        """Hand out the turns that have come, and let old reservations expire."""
        if self._queued:
            self._settle(self._balancer.poll(now_s), now_s)
        while self._expiries and self._expiries[0][0] <= now_s:
            expires_s, connection_id = self._expiries.popleft()
            pending = self._pending.get(connection_id)
            if pending is not None and pending.expires_s == expires_s:
                self._drop(pending)
                self._balancer.closed(connection_id, now_s)
                self._counts.placements["expired"] += 1

    def _settle(self, verdicts: Sequence[Verdict], now_s: float) -> None:
        for verdict in verdicts:
            self._count(verdict)
            pending = self._pending.get(verdict.connection_id)
            if pending is None:
                # Given up meanwhile; the reservation of an admitted one must not linger.
                self._balancer.closed(verdict.connection_id, now_s)
                continue
            pending.verdict = verdict
            self._leave_queue(pending, now_s)
            if verdict.kind == "admit":
                self._reserve(pending, now_s)
            else:
                del self._pending[verdict.connection_id]

    def _reserve(self, pending: _Pending, now_s: float) -> None:
        pending.expires_s = now_s + self._reservation_s
        self._expiries.append((pending.expires_s, pending.request.id))
        self._placed(pending.verdict.endpoint_id)

    def _drop(self, pending: _Pending) -> None:
        del self._pending[pending.request.id]
        self._leave_queue(pending, self._clock.now_s())

    def _leave_queue(self, pending: _Pending, now_s: float) -> None:
        if pending.settled is None:
            return
        pending.settled.set()
        pending.settled = None
        self._counts.wait_s.observe(now_s - pending.asked_s)
        self._queued -= 1
        if not self._queued:
            self.waiting.clear()

    def _direct(self, connection_id: str) -> Connection | None:
        """The connection, where it is a direct placement: nobody else's has no upstream socket."""
        connection = self._ledger.get(connection_id)
        if connection is not None and connection.upstream is not None:
            raise InvalidInput(f"id = {connection_id!r}: belongs to a connection of a data plane, not to a placement")
        return connection

    def _answer(self, pending: _Pending) -> Placement:
        verdict = pending.verdict
        if verdict.kind == "queue":
            return Placement(
                verdict.connection_id, "queued", "", verdict.reason, verdict.retry_after_s or RETRY_AFTER_S
            )
        left_s = max(0.0, pending.expires_s - self._clock.now_s())
        return Placement(verdict.connection_id, "reserved", verdict.endpoint_id, verdict.reason, expires_in_s=left_s)

    def _count(self, verdict: Verdict) -> None:
        self._counts.decisions[verdict.kind, verdict.reason] += 1


def _shed(verdict: Verdict) -> Placement:
    return Placement(verdict.connection_id, "shed", "", verdict.reason, verdict.retry_after_s or RETRY_AFTER_S)


def _with_id(request: PlacementRequest, connection_id: str) -> PlacementRequest:
    return PlacementRequest(connection_id, request.client, request.hint, request.zone, request.prefer, request.exclude)


def _fresh_id(wall_s: float) -> str:
    """32 hexadecimal digits: Unix milliseconds (48 bits), the picker ffff of direct placements, 64 random bits."""
    return f"{int(wall_s * 1000):012x}ffff{secrets.token_hex(8)}"
