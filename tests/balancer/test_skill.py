"""Where the forecast is worth nothing, placing is reactive, and says so."""

import numpy as np
import pytest

from tests.balancer.clusters import A, B, Cluster

FALLBACK = "forecast_without_skill"


class Tide:
    """Connections that come and go by the dozen; the load follows them, or reports freeze."""

    def __init__(self) -> None:
        self.cluster = Cluster()
        self.open: list[str] = []
        self.second = 0

    def run(self, seconds: int, *, frozen: bool) -> int:
        """Returns for how many of these seconds the fallback was in force."""
        balancer, in_force = self.cluster.balancer, 0
        for _ in range(seconds):
            self.second += 1
            for number in range(6):
                if self.second % 20 < 10:
                    name = f"c{self.second}-{number}"
                    balancer.opened(name, (A, B)[number % 2], self.cluster.now_s + number / 6)
                    self.open.append(name)
                elif self.open:
                    balancer.closed(self.open.pop(0), self.cluster.now_s + number / 6)
            load = 0.3 if frozen else 0.01 * len(self.open) / 2
            plan = self.cluster.second({A: load, B: load})
            if FALLBACK in plan.fallbacks:
                ahead = np.log(plan.table.price[0] / plan.table.price[1])[1:]  # handshakes aside
                assert np.ptp(ahead) == pytest.approx(0.0, abs=0.02)
                in_force += 1
        return in_force


def test_a_forecast_that_is_much_worse_than_the_last_reports_is_not_placed_by() -> None:
    tide = Tide()
    assert tide.run(120, frozen=False) == 0
    assert tide.run(240, frozen=True) > 0


def test_a_forecast_that_is_good_again_is_placed_by_again() -> None:
    tide = Tide()
    tide.run(120, frozen=False)
    tide.run(240, frozen=True)
    tide.run(200, frozen=False)
    assert tide.run(20, frozen=False) == 0
