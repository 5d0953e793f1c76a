"""A loop in shadow mode whose time is moved by the test alone."""

import asyncio
from collections.abc import Mapping

import pytest

from forestay import Balancer, Endpoint, LoadReport
from forestay.control.clock import Clock
from forestay.control.loop import ClusterLoop
from forestay.control.shadow.shadow import Shadow, ShadowRule
from forestay.control.shadow.sightings import Sighting
from tests.control.virtual_time import WALL_AT_START_S
from tests.control.worlds import A, B, DictStore


class Observed:
    """Two servers that report what the test says, and a shadow.

    Attributes:
        now_s: this moment in the world outside; the shadow is behind by its delay.
    """

    def __init__(self, rule: ShadowRule, endpoints: tuple[str, ...] = (A, B)) -> None:
        self.now_s = 1000.0
        self.shadow = Shadow("chat", rule)
        delay_s = rule.delay_s
        clock = Clock(lambda: self.now_s - delay_s, lambda: WALL_AT_START_S + self.now_s - delay_s)
        self.loop = ClusterLoop("chat", Balancer(), DictStore(), shadow=self.shadow, clock=clock)
        self.loop.endpoints.replace("config", [Endpoint(each) for each in endpoints], clock.now_s())
        asyncio.run(self.loop.start())

    @property
    def unix(self) -> float:
        """This moment as Unix time."""
        return WALL_AT_START_S + self.now_s

    def second(self, load: Mapping[str, float] | None = None, counted: Mapping[str, int] | None = None) -> None:
        """A second passes, at whose end the servers report."""
        self.now_s += 1.0
        for endpoint_id, value in (load or {}).items():
            connections = (counted or {}).get(endpoint_id)
            self.loop.report(LoadReport(endpoint_id, self.now_s, load=value, open_connections=connections))
        self.turn()

    def seconds(self, count: int, load: Mapping[str, float] | None = None) -> None:
        """Several of them."""
        for _ in range(count):
            self.second(load)

    def turn(self) -> None:
        """What the shadow's task and the loop's tick do."""
        self.shadow.step(self.loop.clock.now_s())
        self.loop.tick(self.loop.clock.now_s())
        assert self.loop.counts.errors == {}

    def opens(self, connection_id: str, endpoint_id: str) -> None:
        """A connection opens now."""
        self.shadow.intake.observe(Sighting("opened", connection_id, endpoint_id))

    def closes(self, connection_id: str) -> None:
        """A connection closes now."""
        self.shadow.intake.observe(Sighting("closed", connection_id))


@pytest.fixture
def observed() -> Observed:
    """Without delay and warm-up; load has been reported for some seconds."""
    found = Observed(ShadowRule("api", warm_up_s=0.0))
    found.seconds(3, {A: 0.2, B: 0.2})
    return found
