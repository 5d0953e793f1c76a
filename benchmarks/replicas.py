"""How near to the ideal level do several balancers keep servers when none sees what the others place?

Each sees the load reports, its own placements and its own closes, and ticks at its own phase of the second. Servers
have work of their own of different size, connections cost the same and arrive and leave all the time. The ideal level
is that of water filling: what the busiest server would carry if all connections could be moved at this moment.

    python -m benchmarks.replicas [--pickers 1 4 20 100] [--seconds 40] [--told] [--uneven] [--alone] [--seed 0]
"""

import argparse
import heapq
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from forestay import Balancer, BalancerSettings, LoadReport
from forestay.model.plan import FloatArray
from forestay.placement.fitness import fill_level

SAMPLE_S = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class Fleet:
    """Servers, and the connections that all pickers together bring.

    Attributes:
        pickers: how many.
        uneven: half of the pickers have hardly any traffic: shares fall by half from each to the next, five times over.
        servers: how many.
        rate_per_s: arrivals, all pickers together.
        duration_s: mean life of a connection, lognormal.
        cost: load of one connection on a server of size 1.
        own_load_max: servers' own work is drawn from [0, this].
        sizes: servers between .6 and 2 instead of all 1.
        told: reports tell how many connections are open.
    """

    pickers: int
    uneven: bool = False
    servers: int = 50
    rate_per_s: float = 2000.0
    duration_s: float = 12.0
    cost: float = 0.001
    own_load_max: float = 0.2
    sizes: bool = False
    told: bool = False


def ideal_level(own_load: FloatArray, capacity: FloatArray, work: float) -> float:
    """Load of the busiest server, at best, where `work` may be spread at will over their own load."""
    level = fill_level(own_load[None], capacity, np.array([work]))
    return max(float(level[0]), float(own_load.max()))


class Replicas:
    """The balancers of one fleet, and the world they see parts of.

    Args:
        fleet: the world.
        settings_pickers: what they are told about their number; None: the truth.
        seed: of everything.
    """

    def __init__(self, fleet: Fleet, settings_pickers: int | None = None, seed: int = 0) -> None:
        self.fleet = fleet
        self._rng = rng = np.random.default_rng(seed)  # noqa: TID251 # a benchmark is a shell
        self._ids = [f"10.0.0.{number}:80" for number in range(fleet.servers)]
        self._index = {endpoint_id: server for server, endpoint_id in enumerate(self._ids)}
        self._capacity = np.exp(rng.uniform(math.log(0.6), math.log(2.0), fleet.servers) * fleet.sizes)
        self._own_load = rng.uniform(0.0, fleet.own_load_max, fleet.servers)
        settings = BalancerSettings(overload="place", pickers=settings_pickers or fleet.pickers)
        self.balancers = [Balancer(settings, seed=1000 * seed + picker) for picker in range(fleet.pickers)]
        for balancer in self.balancers:
            for endpoint_id in self._ids:
                balancer.add_endpoint(endpoint_id, 0.0)
        self._work = np.zeros(fleet.servers)  # of connections, in units of size 1
        self._count = np.zeros(fleet.servers, int)
        self._area, self._since_s = np.zeros(fleet.servers), np.zeros(fleet.servers)

    def run(self, seconds: int, measured_from_s: float) -> FloatArray:
        """How far the worst server lies above the ideal level, ten times a second from `measured_from_s` on."""
        fleet, rng = self.fleet, self._rng
        part = np.where(fleet.uneven, 0.5 ** (np.arange(fleet.pickers) % 5), 1.0)
        arrivals = rng.poisson(fleet.rate_per_s * seconds)
        arrive_s = np.sort(rng.uniform(0.0, seconds, arrivals)).tolist()
        pickers = rng.choice(fleet.pickers, arrivals, p=part / part.sum()).tolist()
        durations_s = rng.lognormal(math.log(fleet.duration_s) - 0.5, 1.0, arrivals).tolist()
        # What happens: (when, order within a moment, what, which picker or connection, which server)
        due: list[tuple[float, int, str, int, int]] = [(float(s), 0, "report", 0, 0) for s in range(1, seconds)]
        for picker, phase in enumerate(rng.uniform(0.0, 1.0, fleet.pickers).tolist()):
            due += [(second + phase, 1, "tick", picker, 0) for second in range(seconds)]
        due += [(at_s, 2, "arrival", number, 0) for number, at_s in enumerate(arrive_s)]
        steps = np.arange(measured_from_s, seconds, SAMPLE_S).tolist()
        due += [(at_s, 3, "measure", 0, 0) for at_s in steps]
        heapq.heapify(due)
        above = []
        while due:
            now_s, _, what, which, server = heapq.heappop(due)
            if what == "arrival":
                balancer = self.balancers[pickers[which]]
                endpoint_id = balancer.place(str(which), now_s).endpoint_id
                balancer.opened(str(which), endpoint_id, now_s)
                server = self._index[endpoint_id]
                self._change(server, 1, now_s)
                closes_s = now_s + durations_s[which]
                if closes_s < seconds:
                    heapq.heappush(due, (closes_s, 2, "close", which, server))
            elif what == "close":
                self._change(server, -1, now_s)
                self.balancers[pickers[which]].closed(str(which), now_s)
            elif what == "tick":
                self.balancers[which].tick(now_s)
            elif what == "report":
                self._report(now_s)
            else:
                above.append(self._above_ideal())
        return np.array(above)

    def _change(self, server: int, connections: int, now_s: float) -> None:
        self._area[server] += self._work[server] * (now_s - self._since_s[server])
        self._since_s[server] = now_s
        self._work[server] += connections * self.fleet.cost
        self._count[server] += connections

    def _report(self, now_s: float) -> None:
        """Everybody's load over the last second, to every balancer."""
        area = self._area + self._work * (now_s - self._since_s)
        self._area[:], self._since_s[:] = 0.0, now_s
        loads = (self._own_load + area / self._capacity).tolist()
        counts: Sequence[int | None] = self._count.tolist() if self.fleet.told else [None] * self.fleet.servers
        for endpoint_id, load, count in zip(self._ids, loads, counts, strict=True):
            report = LoadReport(endpoint_id, at_s=now_s, load=load, open_connections=count)
            for balancer in self.balancers:
                balancer.report(report, now_s)

    def _above_ideal(self) -> float:
        worst = float((self._own_load + self._work / self._capacity).max())
        return worst - ideal_level(self._own_load, self._capacity, float(self._work.sum()))


def main() -> None:
    """Run the fleets and print a line for each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pickers", type=int, nargs="+", default=[1, 4, 20, 100])
    parser.add_argument("--seconds", type=int, default=40)
    parser.add_argument("--told", action="store_true", help="reports tell how many connections are open")
    parser.add_argument("--uneven", action="store_true", help="some pickers have 16 times the traffic of others")
    parser.add_argument("--sizes", action="store_true", help="servers of different size")
    parser.add_argument("--alone", action="store_true", help="each is told that it is alone: pickers = 1")
    parser.add_argument("--own", type=float, default=0.2, help="servers' own work is drawn from [0, this]")
    parser.add_argument("--rate", type=float, default=2000.0, help="arrivals a second, all pickers together")
    parser.add_argument("--duration", type=float, default=12.0, help="mean life of a connection, seconds")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    for pickers in options.pickers:
        fleet = Fleet(
            pickers=pickers,
            uneven=options.uneven,
            told=options.told,
            sizes=options.sizes,
            own_load_max=options.own,
            rate_per_s=options.rate,
            duration_s=options.duration,
        )
        above = Replicas(fleet, 1 if options.alone else None, options.seed).run(options.seconds, 0.6 * options.seconds)
        print(
            f"{pickers:4d} pickers: worst server above the ideal level: mean {above.mean():.4f}, "
            f"p95 {np.quantile(above, 0.95):.4f}, max {above.max():.4f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
