"""Health checks: is a server able to take newcomers?

The rule is a pure state machine (`EndpointHealth`); `HealthChecker` probes and feeds it. The one idea: the first sign
of trouble buys a second look at once, not at the next interval. So a dead server is found within one interval plus
`retry_s`, and within `2 * retry_s` of the moment a data plane says `suspect`, while one lost packet harms nobody.

Source: rise and fall counts as in HAProxy's checks; its `fastinter` is our `retry_s`.
"""

import asyncio
import random
import socket
import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal

import httpx

from forestay.control.address import split_address
from forestay.control.per_endpoint import PerEndpoint

STALL_S = 0.1
"""A timeout that fires this much too late says that our own process stood still: the answer may lie there unread."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HealthRule:
    """When a server counts as healthy, and how it is asked.

    Attributes:
        type: "tcp": it accepts a connection; "http": it answers GET `path` with 2xx or 3xx.
        interval_s: from the start of one probe to the start of the next.
        timeout_s: a probe that takes longer has failed.
        rise: successes in a row until an unhealthy server is healthy.
        fall: failures in a row until a healthy server is unhealthy.
        retry_s: from the start of a failed probe of a healthy server to the start of the next.
        path: of the HTTP probe.
    """

    type: Literal["tcp", "http"] = "tcp"
    interval_s: float = 1.0
    timeout_s: float = 0.5
    rise: int = 2
    fall: int = 2
    retry_s: float = 0.1
    path: str = "/"


class EndpointHealth:
    """Health of one endpoint; pure. It starts healthy: a server nobody has asked yet is given the benefit.

    Invariants: `healthy` changes only after `fall` (or `rise`) results in a row that contradict it, and two probes
    never start less than `min(retry_s, interval_s)` apart, however often the endpoint is suspected.

    Attributes:
        healthy: the verdict.
        due_s: when the next probe should start.
    """

    __slots__ = ("_contradictions", "_rule", "_started_s", "due_s", "healthy")

    def __init__(self, rule: HealthRule, due_s: float) -> None:
        self.healthy = True
        self.due_s = due_s
        self._rule = rule
        self._contradictions = 0
        self._started_s = float("-inf")

    def begin(self, now_s: float) -> None:
        """A probe starts."""
        self._started_s = now_s
        self.due_s = now_s + self._rule.interval_s

    def observe(self, passed: bool) -> bool:
        """Take the result of the probe that began last.

        Returns:
            Whether `healthy` changed.
        """
        if passed == self.healthy:
            self._contradictions = 0
            return False
        self._contradictions += 1
        if self._contradictions < (self._rule.fall if self.healthy else self._rule.rise):
            if self.healthy:
                self._hurry()
            return False
        self.healthy = passed
        self._contradictions = 0
        return True

    def disregard(self) -> None:
        """The probe that began last says nothing: look again at once."""
        self._hurry()

    def suspect(self, now_s: float) -> None:
        """Somebody else saw it fail: probe now, unless a probe began less than `retry_s` ago."""
        if self.healthy:
            self._hurry(now_s)

    def _hurry(self, now_s: float = float("-inf")) -> None:
        self.due_s = min(self.due_s, max(now_s, self._started_s + self._rule.retry_s))


class HealthChecker:
    """Probes every endpoint of the set and says when its health changes.

    Attributes:
        probes: finished probes by outcome: "passed", "refused", "timeout", "unreachable", "unresolved", "status",
            "protocol"; "stalled" are timeouts in a time when this process itself stood still, which count for nothing,
            lest a busy control process declares every server dead at once.
    """

    def __init__(
        self,
        rule: HealthRule,
        on_change: Callable[[str, bool, str], None],
        *,
        rng: random.Random | None = None,
        probes_max: int = 256,
        now_s: Callable[[], float] = time.monotonic,
    ) -> None:
        """Make a checker that does nothing until `run`.

        Args:
            rule: for all endpoints alike.
            on_change: called on the loop's thread with the endpoint's id, its new health and the last probe's outcome.
            rng: spreads the endpoints over the interval.
            probes_max: probes under way at once; further ones wait.
            now_s: the clock.
        """
        self.probes: Counter[str] = Counter()
        self._rule = rule
        self._on_change = on_change
        self._rng = rng or random.Random()
        self._now_s = now_s
        self._slots = asyncio.Semaphore(probes_max)
        self._tasks = PerEndpoint(self._watch)
        self._states: dict[str, EndpointHealth] = {}
        self._wake: dict[str, asyncio.Event] = {}
        self._client: httpx.AsyncClient | None = None

    def set_endpoints(self, endpoint_ids: Iterable[str]) -> None:
        """Take the whole set of endpoints. One that left and returns starts healthy.

        Raises:
            ValueError: an id is not "host:port".
        """
        wanted = dict.fromkeys(endpoint_ids)
        for endpoint_id in wanted:
            split_address(endpoint_id)
        for endpoint_id in [known for known in self._states if known not in wanted]:
            del self._states[endpoint_id], self._wake[endpoint_id]
        for endpoint_id in wanted:
            if endpoint_id not in self._states:
                phase_s = self._rng.uniform(0.0, self._rule.interval_s)
                self._states[endpoint_id] = EndpointHealth(self._rule, self._now_s() + phase_s)
                self._wake[endpoint_id] = asyncio.Event()
        self._tasks.set_endpoints(wanted)

    def suspect(self, endpoint_id: str) -> None:
        """A data plane could not reach it: probe at once. Unknown ids are ignored (it was removed meanwhile)."""
        if state := self._states.get(endpoint_id):
            state.suspect(self._now_s())
            self._wake[endpoint_id].set()

    def healthy(self, endpoint_id: str) -> bool:
        """The present verdict; True for an endpoint that is not being checked."""
        state = self._states.get(endpoint_id)
        return state is None or state.healthy

    async def run(self) -> None:
        """Probe until cancelled."""
        if self._rule.type == "tcp":
            await self._tasks.run()
            return
        # A fresh connection for each probe: a kept one would go on working where the server accepts nobody new.
        async with httpx.AsyncClient(
            limits=httpx.Limits(max_connections=None, max_keepalive_connections=0), trust_env=False
        ) as self._client:
            await self._tasks.run()

    async def _watch(self, endpoint_id: str) -> None:
        state, wake = self._states[endpoint_id], self._wake[endpoint_id]
        while True:
            while (wait_s := state.due_s - self._now_s()) > 0:
                wake.clear()
                try:
                    await asyncio.wait_for(wake.wait(), wait_s)
                except TimeoutError:
                    break
            async with self._slots:
                began_s = self._now_s()
                state.begin(began_s)
                outcome = await self._probe(endpoint_id)
            if outcome == "timeout" and self._now_s() - began_s > self._rule.timeout_s + STALL_S:
                outcome = "stalled"
            self.probes[outcome.split()[0]] += 1
            if outcome == "stalled":
                state.disregard()
            elif state.observe(outcome == "passed"):
                self._on_change(endpoint_id, state.healthy, outcome)

    async def _probe(self, endpoint_id: str) -> str:
        """One word on how it went, "passed" if well; after "status" the HTTP status."""
        try:
            async with asyncio.timeout(self._rule.timeout_s):
                if self._client is None:
                    return await _connect(*split_address(endpoint_id))
                url = f"http://{endpoint_id}{self._rule.path}"
                async with self._client.stream("GET", url) as response:
                    passed = 200 <= response.status_code < 400
                    return "passed" if passed else f"status {response.status_code}"
        except (TimeoutError, httpx.TimeoutException):
            return "timeout"
        except httpx.ConnectError as error:
            return _connect_failure(error)
        except (httpx.HTTPError, httpx.InvalidURL):
            return "protocol"


async def _connect(host: str, port: int) -> str:
    try:
        _, writer = await asyncio.open_connection(host, port)
    except OSError as error:
        return _connect_failure(error)
    # On loopback a connect to a dead port of the ephemeral range can meet itself (simultaneous open): nobody is there.
    met_itself = writer.get_extra_info("sockname") == writer.get_extra_info("peername")
    writer.close()
    return "refused" if met_itself else "passed"


def _connect_failure(error: BaseException) -> str:
    """Name a failed connect; httpx hides the operating system's error at the bottom of a chain."""
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, ConnectionRefusedError):
            return "refused"
        if isinstance(seen, socket.gaierror):
            return "unresolved"
        seen = seen.__cause__ or seen.__context__
    return "unreachable"
