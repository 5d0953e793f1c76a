"""Endpoints from DNS: every address of a name, looked up again and again.

DNS fails more often than servers do, so an answer can only add or replace: a look-up that fails, is slow or comes back
empty changes nothing (fallback `dns_kept_last`). To take the last server away, use the API or the configuration.
A resolver that answers with a random part of the addresses makes endpoints come and go; use one that gives them all.
"""

import asyncio
import random
import socket
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import structlog

from forestay.control.address import join_address
from forestay.model.errors import InvalidInput

log = structlog.get_logger(__name__)

Lookup = Callable[[str, int], Awaitable[Iterable[str]]]
"""Addresses of (name, port), as "host:port"; raises OSError where there is no answer."""


@dataclass(frozen=True, slots=True)
class Change:
    """What a look-up changed: endpoint ids, sorted."""

    added: tuple[str, ...]
    removed: tuple[str, ...]


class Answers:
    """The endpoints of one name by its answers so far; pure.

    Attributes:
        current: endpoint ids, sorted; empty only before the first answer that was not.
    """

    __slots__ = ("current",)

    def __init__(self) -> None:
        self.current: tuple[str, ...] = ()

    def take(self, addresses: Iterable[str]) -> Change | None:
        """Take an answer; None where it changes nothing, and where it is empty."""
        answer = set(addresses)
        known = set(self.current)
        if not answer or answer == known:
            return None
        self.current = tuple(sorted(answer))
        return Change(tuple(sorted(answer - known)), tuple(sorted(known - answer)))


async def lookup(name: str, port: int) -> list[str]:
    """A and AAAA records of `name` by the system's resolver (so /etc/hosts counts too).

    Raises:
        OSError: no answer.
    """
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(name, port, type=socket.SOCK_STREAM)
    return [join_address(str(address[0]), int(address[1])) for _, _, _, _, address in found]


class DnsDiscovery:
    """Looks one name up every `refresh_s` and says what changed.

    Attributes:
        lookups: look-ups by outcome: "changed", "same", "empty", "failed", "timeout".
        kept_last: whether the last look-up brought nothing usable and an older answer is in force.
    """

    def __init__(
        self,
        name: str,
        port: int,
        on_change: Callable[[Sequence[str], Sequence[str]], None],
        *,
        refresh_s: float = 10.0,
        timeout_s: float = 5.0,
        lookup: Lookup = lookup,
        rng: random.Random | None = None,
    ) -> None:
        """Make a discovery that does nothing until `run`.

        Args:
            name: host name.
            port: of every endpoint.
            on_change: called with the added and the removed endpoint ids, each sorted.
            refresh_s: from one look-up to the next, +-10 % so that many replicas do not ask in step.
            timeout_s: a look-up that takes longer has failed; the next one waits until it is over.
            lookup: how to resolve.
            rng: for the jitter.

        Raises:
            InvalidInput: `name` cannot be a host name.
        """
        try:
            name.encode("idna")
        except UnicodeError as error:
            raise InvalidInput(f"dns name = {name!r}: not a host name ({error}); write e.g. chat.internal") from None
        self.lookups: Counter[str] = Counter()
        self.kept_last = False
        self._name, self._port = name, port
        self._on_change = on_change
        self._refresh_s, self._timeout_s = refresh_s, timeout_s
        self._lookup = lookup
        self._rng = rng or random.Random()
        self._answers = Answers()
        self._pending: asyncio.Future[Iterable[str]] | None = None

    @property
    def current(self) -> tuple[str, ...]:
        """Endpoint ids of the answer in force, sorted."""
        return self._answers.current

    async def run(self) -> None:
        """Look up until cancelled."""
        try:
            while True:
                began_s = time.monotonic()
                await self.refresh()
                wait_s = self._refresh_s * self._rng.uniform(0.9, 1.1) - (time.monotonic() - began_s)
                await asyncio.sleep(max(0.0, wait_s))
        finally:
            if self._pending is not None:
                self._pending.cancel()

    async def refresh(self) -> Literal["changed", "same", "empty", "failed", "timeout"]:
        """Look up once; returns the outcome as it is counted."""
        outcome = await self._refresh()
        self.lookups[outcome] += 1
        kept_last = outcome in ("empty", "failed", "timeout")
        if kept_last and not self.kept_last:
            log.warning("dns_kept_last", name=self._name, outcome=outcome, endpoints=len(self.current))
        self.kept_last = kept_last
        return outcome

    async def _refresh(self) -> Literal["changed", "same", "empty", "failed", "timeout"]:
        # A thread inside getaddrinfo cannot be stopped. Its look-up is kept and waited for again rather than joined
        # by another, so that a dead resolver holds one thread, not the pool.
        if self._pending is None:
            self._pending = asyncio.ensure_future(self._lookup(self._name, self._port))
        try:
            async with asyncio.timeout(self._timeout_s):
                addresses = list(await asyncio.shield(self._pending))
        except TimeoutError:
            if not self._pending.done():
                return "timeout"
            self._pending = None  # the look-up itself gave up: TimeoutError is an OSError
            return "failed"
        except OSError as error:
            self._pending = None
            log.debug("dns_failed", name=self._name, error=str(error))
            return "failed"
        self._pending = None
        if not addresses:
            return "empty"
        change = self._answers.take(addresses)
        if change is None:
            return "same"
        self._on_change(change.added, change.removed)
        return "changed"
