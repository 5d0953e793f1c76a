"""What all peers have in common: who takes newcomers, who holds how many connections, what was last reported.

A peer says only which slot it picks. It always places, as the contenders do with `overload="place"`: it refuses where
no endpoint takes newcomers at all. Arithmetic is on plain numbers and short lists: a run places tens of thousands.
"""

import math
import random
from collections.abc import Callable, Iterable, Sequence

from forestay.model.errors import UnknownEndpoint
from forestay.model.event import Event
from forestay.model.load import LoadReport
from forestay.model.plan import Verdict
from forestay.simulation.servers import Servers
from forestay.simulation.world import World


class Peer:
    """Base of the peers: a `Policy` but for `pick`.

    Args:
        seed: of everything random in it.

    Attributes:
        random: draws from [0, 1).
        ids: endpoint id by slot; a slot stays with its id for good.
        capacity: by slot; the truth where `attach` tells it, else as declared, else 1.
        counts: connections by slot: placed or open, and not yet closed.
        load: last reported load by slot; 0 before the first report, for that is what a newcomer has.
        reported_s: end of that report's window; -inf: none yet.
        up: slots that take newcomers, ascending.
    """

    def __init__(self, seed: int = 0) -> None:
        self.rng = random.Random(seed)
        self.random: Callable[[], float] = self.rng.random
        self.ids: list[str] = []
        self.capacity: list[float] = []
        self.counts: list[int] = []
        self.load: list[float] = []
        self.reported_s: list[float] = []
        self.up: list[int] = []
        self._slot: dict[str, int] = {}
        self._away: set[int] = set()
        self._unhealthy: set[int] = set()
        self._draining: set[int] = set()
        self._connections_max: list[float] = []
        self._owner: dict[str, int] = {}
        self._true_capacity: dict[str, float] = {}

    # ---- what a peer fills in

    def pick(self, candidates: Sequence[int], now_s: float) -> int:
        """The slot for the next connection; one of `candidates`, of which there is at least one."""
        raise NotImplementedError

    def gained(self, slot: int, connection_id: str, now_s: float) -> None:
        """The slot has one connection more, `counts` included."""

    def lost(self, slot: int, connection_id: str, now_s: float) -> None:
        """The slot has one connection less, `counts` included."""

    def heard(self, slot: int, report: LoadReport, now_s: float) -> None:
        """The slot's load was reported, `load` included."""

    def began(self, slot: int, now_s: float) -> None:
        """The slot's endpoint is new, came back or recovered: what was known of it before does not hold."""

    def changed(self, now_s: float) -> None:
        """Other endpoints than before take newcomers, or their capacities have changed."""

    # ---- what the engine tells those who may see the truth

    def attach(self, world: World, servers: Servers) -> None:
        """Take the true capacities for weights: a peer's operator is taken to know them."""
        self._true_capacity = dict(zip(world.endpoint_ids, world.capacity[0].tolist(), strict=True))

    # ---- Policy

    def add_endpoint(
        self,
        endpoint_id: str,
        now_s: float,
        capacity: float | None = None,
        zone: str = "",
        connections_max: int | None = None,
    ) -> None:
        """As `Balancer.add_endpoint`."""
        slot = self._slot.get(endpoint_id)
        new = slot is None
        if slot is None:
            slot = self._slot[endpoint_id] = len(self.ids)
            self.ids.append(endpoint_id)
            self.counts.append(0)
            for values in (self.capacity, self.load, self.reported_s, self._connections_max):
                values.append(0.0)
        declared = 1.0 if capacity is None else capacity
        self.capacity[slot] = self._true_capacity.get(endpoint_id, declared)
        self._connections_max[slot] = math.inf if connections_max is None else connections_max
        self._draining.discard(slot)
        if new or slot in self._away:
            self._away.discard(slot)
            self._unhealthy.discard(slot)
            self.load[slot], self.reported_s[slot] = 0.0, -math.inf
            self.began(slot, now_s)
        self._update_up(now_s)

    def set_health(self, endpoint_id: str, healthy: bool, now_s: float) -> None:
        """As `Balancer.set_health`."""
        slot = self._find(endpoint_id)
        if not healthy:
            self._unhealthy.add(slot)
        elif slot in self._unhealthy:
            self._unhealthy.remove(slot)
            self.began(slot, now_s)
        self._update_up(now_s)

    def drain_endpoint(self, endpoint_id: str, now_s: float) -> None:
        """As `Balancer.drain_endpoint`."""
        self._draining.add(self._find(endpoint_id))
        self._update_up(now_s)

    def remove_endpoint(self, endpoint_id: str, now_s: float) -> None:
        """As `Balancer.remove_endpoint`."""
        slot = self._find(endpoint_id)
        for connection_id in [connection for connection, owner in self._owner.items() if owner == slot]:
            self.closed(connection_id, now_s)
        self._away.add(slot)
        self._update_up(now_s)

    def report(self, report: LoadReport, now_s: float) -> bool:
        """As `Balancer.report`."""
        slot = self._slot.get(report.endpoint_id, -1)
        if slot < 0 or slot in self._away or report.at_s < self.reported_s[slot]:
            return False
        load = report.stated_load
        if load is None or not (math.isfinite(load) and load >= 0):
            return False
        self.load[slot] = load
        self.reported_s[slot] = report.at_s
        self.heard(slot, report, now_s)
        return True

    def announce(self, event: Event, now_s: float) -> None:
        """Reactive balancers have no use for what is to come."""

    def place(
        self,
        connection_id: str,
        now_s: float,
        hint: str = "",
        client: str = "",
        zone: str = "",
        prefer: str | None = None,
        exclude: Iterable[str] = (),
    ) -> Verdict:
        """As `Balancer.place`; zones, preferences and clients are not looked at."""
        if connection_id in self._owner:
            self.closed(connection_id, now_s)
        candidates = self._without(exclude) if exclude else self.up
        if not candidates:
            return Verdict("shed", connection_id, "", "overload")
        slot = self.pick(candidates, now_s)
        self._give(connection_id, slot, now_s)
        return Verdict("admit", connection_id, self.ids[slot])

    def poll(self, now_s: float) -> list[Verdict]:
        """Nobody ever waits."""
        return []

    def opened(self, connection_id: str, endpoint_id: str, now_s: float, hint: str = "") -> None:
        """As `Balancer.opened`."""
        slot = self._find(endpoint_id)
        if self._owner.get(connection_id) != slot:
            self.closed(connection_id, now_s)
            self._give(connection_id, slot, now_s)

    def failed(self, connection_id: str, endpoint_id: str, now_s: float) -> None:
        """As `Balancer.failed`; nobody is punished, the caller excludes the endpoint when it asks again."""
        self.closed(connection_id, now_s)

    def closed(self, connection_id: str, now_s: float) -> None:
        """As `Balancer.closed`."""
        slot = self._owner.pop(connection_id, -1)
        if slot < 0:
            return
        self.counts[slot] -= 1
        if self.counts[slot] + 1 == self._connections_max[slot]:
            self._update_up(now_s)
        self.lost(slot, connection_id, now_s)

    def tick(self, now_s: float, wall_s: float | None = None) -> object:
        """Called once a second."""
        return None

    # ---- inside

    def _find(self, endpoint_id: str) -> int:
        slot = self._slot.get(endpoint_id, -1)
        if slot < 0 or slot in self._away:
            raise UnknownEndpoint(endpoint_id)
        return slot

    def _give(self, connection_id: str, slot: int, now_s: float) -> None:
        self._owner[connection_id] = slot
        self.counts[slot] += 1
        if self.counts[slot] == self._connections_max[slot]:
            self._update_up(now_s)
        self.gained(slot, connection_id, now_s)

    def _without(self, exclude: Iterable[str]) -> list[int]:
        """Those that take newcomers, less some; all of them where nobody would be left."""
        excluded = frozenset(exclude)
        return [slot for slot in self.up if self.ids[slot] not in excluded] or self.up

    def _update_up(self, now_s: float) -> None:
        closed = self._away | self._unhealthy | self._draining
        room = zip(self.counts, self._connections_max, strict=True)
        self.up = [slot for slot, (count, most) in enumerate(room) if slot not in closed and count < most]
        self.changed(now_s)


class Ranked(Peer):
    """Picks the lowest score, ties broken at random.

    Attributes:
        scores: by slot, kept up to date by the subclass through `rank`.
    """

    def __init__(self, seed: int = 0) -> None:
        super().__init__(seed)
        self.scores: list[float] = []

    def began(self, slot: int, now_s: float) -> None:
        """Make room for the score."""
        while len(self.scores) <= slot:
            self.scores.append(0.0)

    def rank(self, slot: int, score: float) -> None:
        """Set a score; the random part is far below what scores differ by, unless they are equal."""
        self.scores[slot] = score + 1e-9 * self.random()

    def pick(self, candidates: Sequence[int], now_s: float) -> int:
        """The lowest."""
        return min(candidates, key=self.scores.__getitem__)
