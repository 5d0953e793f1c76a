"""The façade: one cluster, events in, verdicts and plans out.

Everything is driven from outside: no I/O, no clock, no global randomness. The live loop, tests and simulations call
the same object. Time is whatever `now_s` says, in seconds; a time before the latest one seen counts as the latest, so
that a clock that jumps back stops time for a while and breaks nothing.
"""

import math
from collections.abc import Iterable, KeysView, Mapping
from dataclasses import replace
from itertools import takewhile

import numpy as np

from forestay.balancer import snapshot
from forestay.balancer.explanation import Decisions
from forestay.balancer.places import Places
from forestay.balancer.pricing import Pricing
from forestay.balancer.roster import Roster
from forestay.balancer.settings import BalancerSettings
from forestay.forecasting.ages import AGE_MID_S
from forestay.forecasting.arrivals import FACTOR_MAX
from forestay.forecasting.calibration import LEVELS
from forestay.forecasting.forecaster import Forecaster
from forestay.model.cost import ConnectionCost
from forestay.model.errors import InvalidInput, UnknownConnection
from forestay.model.event import Event
from forestay.model.horizons import HORIZONS_S
from forestay.model.load import LoadReport
from forestay.model.outlook import Outlook
from forestay.model.plan import BoolArray, FloatArray, Forecast, IntArray, Plan, Verdict
from forestay.placement.admission import ClientRates
from forestay.placement.pool import Pool, narrowed
from forestay.placement.waiting import BURST_S, Drip, Queue, Waiting
from forestay.placement.weights import weigh

PASSED_OVER_MAX = 64
"""Waiting connections that exclude endpoints, and so may find none where others do, looked past in one poll."""
POOL_HORIZON = int(np.searchsorted(HORIZONS_S, 10.0))
"""How far ahead the pool looks at the cluster's load: some 10 s, as long as its own memory."""


class Balancer:
    """Places connections of one cluster.

    Args:
        settings: None: the defaults.
        seed: of the order among equals, the only randomness there is.
    """

    def __init__(self, settings: BalancerSettings | None = None, seed: int = 0) -> None:
        self.settings = settings or BalancerSettings()
        rng = np.random.default_rng(seed)  # noqa: TID251 the one place where randomness enters
        self._now_s = self._priced_s = -math.inf
        self._roster = Roster()
        self._forecaster = Forecaster(rng, self.settings.pickers)
        self._pricing = Pricing(self.settings, float(rng.random()))
        self._places = Places(seed)
        self._queue: Queue[Waiting] = Queue(self.settings.queue_max)
        self._drip = Drip()
        self._clients = ClientRates(self.settings.client_rate_per_s, self.settings.client_burst)
        self._connections: dict[str, int] = {}  # open: id -> population slot
        self._names: dict[int, str] = {}  # and back
        self._decisions = Decisions()
        self._pool = Pool()

    def configure(self, settings: BalancerSettings) -> None:
        """Take other settings: limits and prices from the next tick on, the rest at once; nothing learned is lost."""
        self.settings = settings
        self._pricing.configure(settings)
        self._forecaster.unseen.configure(settings.pickers)
        self._queue.size_max = settings.queue_max
        self._clients.configure(settings.client_rate_per_s, settings.client_burst)

    # ---- endpoints

    def add_endpoint(
        self,
        endpoint_id: str,
        now_s: float,
        capacity: float | None = None,
        zone: str = "",
        connections_max: int | None = None,
    ) -> None:
        """Add an endpoint; again: update it, and end a drain.

        Args:
            endpoint_id: its name everywhere, by custom its address.
            now_s: this moment.
            capacity: size relative to the others; None: learned.
            zone: locality, matched by `place(zone=...)`; zones nest, "eu/rack-3" lies within "eu".
            connections_max: most connections at once; None: no bound of its own.

        Raises:
            InvalidInput: if the id is empty, the capacity not positive and finite, connections_max negative, or the
                zone unprintable.
        """
        if not endpoint_id:
            raise InvalidInput("endpoint_id is empty: give the endpoint a name, such as its address")
        if capacity is not None and not (math.isfinite(capacity) and capacity > 0):
            raise InvalidInput(f"capacity = {capacity}: must be a positive number, or None to have it learned")
        if connections_max is not None and connections_max < 0:
            raise InvalidInput(f"connections_max = {connections_max}: must be 0 or more, or None for no bound")
        if not zone.isprintable():
            raise InvalidInput(f"zone = {zone!r}: must consist of printable characters")
        now_s = self._clock(now_s)
        roster = self._roster
        if not roster.size:  # the first one: there is nothing to observe before it
            self._forecaster.begin(now_s)
        slot = roster.slot.get(endpoint_id)
        if slot is None:
            if roster.full:
                self._grow()
            slot, new = roster.add(endpoint_id)
            if new:
                self._forecaster.forget(slot)
            else:
                self._forecaster.restarted(slot)
            self._pricing.forgive(slot)
        roster.draining[slot] = False
        roster.set_zone(slot, zone)
        roster.connections_max[slot] = math.inf if connections_max is None else connections_max
        self._forecaster.cost.declare(slot, capacity)
        self._places.outdated = True

    def set_health(self, endpoint_id: str, healthy: bool, now_s: float) -> None:
        """Unhealthy: nothing new, its connections stay. Raises UnknownEndpoint."""
        self._clock(now_s)
        slot = self._roster.find(endpoint_id)
        if self._roster.healthy[slot] == healthy:
            return
        self._roster.healthy[slot] = healthy
        if healthy:
            self._forecaster.restarted(slot)
            self._pricing.forgive(slot)
        self._places.outdated = True

    def drain_endpoint(self, endpoint_id: str, now_s: float) -> None:
        """Nothing new for this endpoint until `add_endpoint` is called again. Raises UnknownEndpoint."""
        self._clock(now_s)
        self._roster.draining[self._roster.find(endpoint_id)] = True
        self._places.outdated = True

    def remove_endpoint(self, endpoint_id: str, now_s: float) -> None:
        """Forget the endpoint and its connections. Raises UnknownEndpoint."""
        now_s = self._clock(now_s)
        slot = self._roster.remove(endpoint_id)
        population = self._forecaster.population
        for connection in population.on_endpoint(slot):
            population.close(connection)
            del self._connections[self._names.pop(connection)]
        self._places.vacate(slot)

    def report(self, report: LoadReport, now_s: float) -> bool:
        """Take a load report.

        Returns:
            False where it is unusable and was ignored: the endpoint is unknown, a value is NaN, infinite or negative,
            it is older than the last one, or it says nothing about load or memory.
        """
        return self._roster.take_report(report, self._clock(now_s))

    def announce(self, event: Event, now_s: float) -> None:
        """Take notice of an external event; the same name again replaces it.

        Raises:
            InvalidInput: if it ends before it starts, the factor is out of [0, 1000], or too many are announced.
        """
        if not (math.isfinite(event.starts_s) and event.starts_s < event.ends_s):
            raise InvalidInput(
                f"event {event.name!r}: ends_s = {event.ends_s} must come after starts_s = {event.starts_s}"
            )
        if not 0 <= event.arrival_factor <= FACTOR_MAX:
            raise InvalidInput(
                f"event {event.name!r}: arrival_factor = {event.arrival_factor}: must lie in [0, {FACTOR_MAX:g}]"
            )
        self._forecaster.arrivals.announce(event, self._clock(now_s))

    # ---- connections

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
        """Say where a connection should go, and reserve it there.

        Args:
            connection_id: unique; asking again for one that is reserved gives the same answer.
            now_s: this moment.
            hint: what kind of connection it is (class, tenant, ...): kinds' cost and survival are learned apart.
            client: key of the client, for its rate limit and its turn where it has to wait; "": none.
            zone: endpoints of this zone win while they are under the threshold and either quiet or at a price within
                `zone_factor` of the cheapest, then those of the zone around it: "eu/rack-3" lies within "eu".
            prefer: this endpoint wins while it is eligible and its price is within `prefer_factor` of the cheapest.
            exclude: endpoints that must not be chosen, e.g. because they just failed.
        """
        now_s = self._now_s = max(self._now_s, now_s)
        if client or self._queue.waiting or connection_id in self._places.reserved:
            verdict = self._given(connection_id, exclude)
            if verdict is not None:
                return verdict
            self._places.release(connection_id)
            wait_s = self._clients.take(client, now_s)
            if wait_s > 0:
                return Verdict("shed", connection_id, "", "client_rate", wait_s)
        kind = self._forecaster.kind(hint) if hint else 0
        slot, reason = self._choose(zone, prefer, exclude, kind)
        if slot >= 0 and (not self._queue.waiting or self._passes_queue()):
            return self._admit(connection_id, slot, reason, now_s, kind)
        verdict = self._put_off(connection_id)
        if verdict.kind == "queue":
            deadline_s = now_s + self.settings.queue_deadline_s
            waiting = Waiting(connection_id, deadline_s, zone, prefer, frozenset(exclude), kind)
            self._queue.push(connection_id, waiting, client)
        return verdict

    def preview(
        self,
        connection_id: str,
        now_s: float,
        hint: str = "",
        client: str = "",
        zone: str = "",
        prefer: str | None = None,
        exclude: Iterable[str] = (),
    ) -> Verdict:
        """What `place` would say; nothing changes, and rate limits of clients are not looked at."""
        self._clock(now_s)
        verdict = self._given(connection_id, exclude)
        if verdict is not None:
            return verdict
        slot, reason = self._choose(zone, prefer, exclude, self._forecaster.kinds.find(hint))
        if slot >= 0 and (not self._queue.waiting or self._passes_queue()):
            return Verdict("admit", connection_id, self._roster.ids[slot], reason)
        return self._put_off(connection_id)

    def poll(self, now_s: float) -> list[Verdict]:
        """Verdicts of queued connections whose turn or deadline has come.

        Clients take turns, without client keys it is in order of arrival; the places of a second are handed out over
        that second to who polls often enough, ten times a second or more.
        """
        now_s = self._clock(now_s)
        verdicts: list[Verdict] = []
        if not self._queue.waiting:
            return verdicts
        if self._places.outdated:
            self._refresh()
        allowed = self._drip.allow(max(self._places.offered, self._places.spare), now_s)
        for waiting in self._queue.first(allowed + PASSED_OVER_MAX):
            if len(verdicts) == allowed:
                break
            slot, _ = self._choose(waiting.zone, waiting.prefer, waiting.exclude, waiting.kind)
            if slot >= 0:
                self._drip.take()
                verdicts.append(self._serve(waiting, slot))
            elif not waiting.exclude:  # nobody behind can be served either
                break
        for waiting in list(takewhile(lambda waiting: waiting.deadline_s <= now_s, self._queue)):
            slot, _ = self._choose(waiting.zone, waiting.prefer, waiting.exclude, waiting.kind)
            if slot >= 0:  # handing out evenly must not refuse anybody
                verdicts.append(self._serve(waiting, slot))
            else:
                self._queue.remove(waiting.connection_id)
                verdicts.append(Verdict("shed", waiting.connection_id, "", "deadline", self._retry_after_s()))
        return verdicts

    def opened(self, connection_id: str, endpoint_id: str, now_s: float, hint: str = "") -> None:
        """A connection is established.

        Legal without `place` (adopted, or placed by another picker). Open already on this endpoint: nothing happens; on
        another: it has moved. Without a hint that of `place` counts. `now_s` may lie before the latest time seen, for a
        connection that is adopted with the age that it has; adopt the oldest first. Raises UnknownEndpoint.
        """
        self._clock(now_s)
        slot = self._roster.find(endpoint_id)
        self._queue.remove(connection_id)
        open_slot = self._connections.get(connection_id)
        if open_slot is not None:
            if self._forecaster.population.owner(open_slot) == slot:
                return
            self.closed(connection_id, now_s)
        kind = self._forecaster.kind(hint) if hint else self._places.kind_of(connection_id)
        if not self._places.take_up(connection_id, slot):
            self._note_pick(connection_id, slot, now_s)
        connection = self._forecaster.opened(slot, now_s, kind)
        self._connections[connection_id] = connection
        self._names[connection] = connection_id

    def failed(self, connection_id: str, endpoint_id: str, now_s: float) -> None:
        """The endpoint did not accept the connection: it pays for that in every price of the next seconds."""
        self._clock(now_s)
        self._places.release(connection_id)
        self._queue.remove(connection_id)
        slot = self._roster.slot.get(endpoint_id)
        if slot is not None:
            self._pricing.penalise(slot)
            self._places.penalise(slot)

    def closed(self, connection_id: str, now_s: float) -> None:
        """The connection is gone, or no longer wants a place. Unknown ones are ignored."""
        now_s = self._clock(now_s)
        connection = self._connections.pop(connection_id, None)
        if connection is None:
            if not self._places.release(connection_id):
                self._queue.remove(connection_id)
            return
        del self._names[connection]
        self._places.gave_back(*self._forecaster.closed(connection, now_s))

    # ---- once a second

    def tick(self, now_s: float, wall_s: float | None = None) -> Plan:
        """Learn from what happened since the last tick and plan until the next.

        Args:
            now_s: this moment; about a second after the last tick.
            wall_s: Unix time, for the calendar only.
        """
        now_s = self._clock(now_s)
        self._places.expire(now_s - self.settings.reservation_s)
        self._decisions.turn()
        roster = self._roster
        known = roster.known(now_s, self.settings.stale_after_s)
        takes_part = roster.takes_part(self.settings.memory_max)
        outlook = self._forecaster.tick(
            now_s, roster.load, roster.at_s, roster.fresh & known, known, takes_part, roster.open_connections
        )
        roster.fresh[:] = False
        fallbacks = self._price(outlook, known, takes_part)
        table, pool = self._places.table, self._pool
        by_load = "telemetry_missing" not in fallbacks
        pool.measure(table, self._utilisation(outlook, takes_part), self._well(takes_part & known) if by_load else 1.0)
        size = pool.size(int(table.eligible.sum()))
        rate_per_s = self._forecaster.arrivals.rate_per_s
        return Plan(
            now_s=now_s,
            table=table,
            forecast=self._forecast(outlook),
            weigh=lambda seconds: weigh(narrowed(table, size), rate_per_s * seconds),
            pool_size=size,
            fallbacks=fallbacks | {"pool_panic"} if pool.panic else fallbacks,
        )

    def explain(self, connection_id: str) -> str:
        """The scores that a placement was decided on, for a person.

        Raises:
            UnknownConnection: if it was not placed here, or longer ago than the last 28,000 placements.
        """
        decision = self._decisions.find(connection_id)
        if decision is None:
            raise UnknownConnection(connection_id)
        return decision.words(connection_id, self.settings.threshold, self._now_s)

    def connection_cost(self) -> ConnectionCost:
        """What a connection is taken to cost, as learned so far."""
        cost, kinds, slots = self._forecaster.cost, self._forecaster.kinds, self._roster.slot
        scale = {endpoint_id: float(cost.scale[slot]) for endpoint_id, slot in slots.items()}
        by_hint = dict(zip(kinds.names, kinds.relative.tolist(), strict=True))
        return ConnectionCost(cost.at_age(AGE_MID_S), by_hint, cost.per_accept, scale)

    def connections_by_age(self, weights: Mapping[str, float] | None = None) -> dict[str, FloatArray]:
        """Open connections of each endpoint by age bucket, as of the last tick plus later opens and closes.

        Args:
            weights: for how much each counts, by hint; those of unknown hints for 1. None: each for 1.
        """
        population, names = self._forecaster.population, self._forecaster.kinds.names
        counts = population.counts
        if weights is not None:
            counts = sum(weights.get(name, 1.0) * kind for name, kind in zip(names, population.by_kind, strict=True))
        return {endpoint_id: counts[:, slot] for endpoint_id, slot in self._roster.slot.items()}

    @property
    def endpoints(self) -> KeysView[str]:
        """Ids of the endpoints, whatever their state."""
        return self._roster.slot.keys()

    @property
    def connections(self) -> KeysView[str]:
        """Ids of the open connections."""
        return self._connections.keys()

    def snapshot(self) -> bytes:
        """Everything that a restart should not forget: what was learned, endpoints, open connections, events.

        Waiting and reserved connections are not in it: their askers do not survive either.
        """
        kept = snapshot.take(self._roster, self._forecaster, self._names, self._now_s)
        return kept.pack()

    @classmethod
    def restore(
        cls, data: bytes, settings: BalancerSettings | None = None, seed: int = 0, now_s: float = 0.0
    ) -> "Balancer":
        """A balancer that goes on from a snapshot, as if no time had passed since.

        Args:
            data: from `snapshot`.
            settings: may differ from those of the snapshot.
            seed: as for a new balancer.
            now_s: this moment on this life's clock.

        Raises:
            InvalidInput: if the data are damaged or of another version.
        """
        kept = snapshot.Snapshot.unpack(data)
        balancer = cls(settings, seed)
        for endpoint in kept.endpoints:
            balancer.add_endpoint(endpoint.id, now_s, endpoint.capacity, endpoint.zone)
        balancer._forecaster.adopt(kept.learned, kinds=kept.kinds)
        balancer._roster.adopt(kept.roster | {"at_s": kept.roster["at_s"] + now_s})
        for connection_id, owner, kind, opened_s in zip(
            kept.connections, kept.owners.tolist(), kept.kind_of.tolist(), (kept.opened_s + now_s).tolist(), strict=True
        ):
            balancer.opened(connection_id, kept.endpoints[owner].id, opened_s, kept.kinds[kind])
        population = balancer._forecaster.population
        population.attribute(population.in_order(), kept.excess, kept.doubt)
        for event in kept.events:
            balancer.announce(replace(event, starts_s=event.starts_s + now_s, ends_s=event.ends_s + now_s), now_s)
        balancer._forecaster.begin(now_s)
        return balancer

    # ---- inside

    def _clock(self, now_s: float) -> float:
        self._now_s = max(self._now_s, now_s)
        return self._now_s

    def _grow(self) -> None:
        size = self._roster.grow()
        self._forecaster.resize(size)
        self._pricing.resize(size)
        self._places.resize(size)

    def _passes_queue(self) -> bool:
        """Whether a newcomer need not wait behind those who do: all could go at once, but for what they exclude."""
        return self._places.spare * BURST_S > len(self._queue)

    def _given(self, connection_id: str, exclude: Iterable[str]) -> Verdict | None:
        """The answer given before, where it still holds: placed already, or waiting already."""
        slot = self._places.reserved_on(connection_id)
        if slot >= 0:
            endpoint_id = self._roster.ids[slot]
            if endpoint_id not in exclude and self._roster.takes_part(self.settings.memory_max)[slot]:
                return Verdict("admit", connection_id, endpoint_id, "reserved")
        elif connection_id in self._queue:
            return Verdict("queue", connection_id, "", "waiting", self.settings.queue_deadline_s)
        return None

    def _put_off(self, connection_id: str) -> Verdict:
        """The answer where nobody may take the connection now: wait, or refuse where waiting would not help."""
        if self._places.table.shed:
            return Verdict("shed", connection_id, "", "overload", self._retry_after_s())
        if self._queue.full:
            return Verdict("shed", connection_id, "", "queue_full", self._retry_after_s())
        return Verdict("queue", connection_id, "", "overload", self.settings.queue_deadline_s)

    def _choose(self, zone: str, prefer: str | None, exclude: Iterable[str], kind: int) -> tuple[int, str]:
        """Slot and reason, not counted yet; -1 where nobody may take it."""
        if self._places.outdated:
            self._refresh()
        if prefer is None and not zone and not exclude and not kind:
            return self._places.peek(), "fittest"
        slots = self._roster.slot
        return self._places.choose(
            without={slots[endpoint_id] for endpoint_id in exclude if endpoint_id in slots},
            wanted=-1 if prefer is None else slots.get(prefer, -1),
            zone=zone,
            within=self._roster.within,
            factor=self.settings.prefer_factor,
            zone_factor=self.settings.zone_factor,
            kind=kind,
        )

    def _admit(self, connection_id: str, slot: int, reason: str, now_s: float, kind: int) -> Verdict:
        ids = self._places.table.endpoint_ids
        endpoint_id = ids[slot]
        evidence = self._places.reserve(connection_id, slot, now_s, kind)
        self._decisions.newest[connection_id] = (now_s, endpoint_id, reason, evidence, ids)
        # Half the time of Verdict(...): a named tuple's own constructor is written in Python.
        return tuple.__new__(Verdict, ("admit", connection_id, endpoint_id, reason, 0.0))

    def _serve(self, waiting: Waiting, slot: int) -> Verdict:
        self._queue.remove(waiting.connection_id)
        return self._admit(waiting.connection_id, slot, "queued", self._now_s, waiting.kind)

    def _note_pick(self, connection_id: str, slot: int, now_s: float) -> None:
        """Remember why a data plane picked `slot` from the table, as far as can be told afterwards."""
        if self._places.outdated:  # adopted before the first tick, or the endpoint is newer than the table
            return
        ids, evidence = self._places.table.endpoint_ids, self._places.evidence(slot)
        self._decisions.newest[connection_id] = (now_s, ids[slot], "picked by a data plane", evidence, ids)

    def _retry_after_s(self) -> float:
        """When asking again may help: a tick at least, and later the fuller the queue is."""
        return 1.0 + self.settings.queue_deadline_s * len(self._queue) / max(self.settings.queue_max, 1)

    def _price(self, outlook: Outlook, known: BoolArray, takes_part: BoolArray) -> frozenset[str]:
        """Make the table and planner of this moment; returns the fallbacks that are in force."""
        now_s, roster = self._now_s, self._roster
        dt_s = now_s - self._priced_s if math.isfinite(self._priced_s) else 1.0
        counts = self._forecaster.unseen.totals(self._forecaster.population.counts.sum(0))
        room = roster.connections_max - counts
        ids = roster.table_ids()
        by_load = bool((known & takes_part).any())
        if by_load:
            table = self._pricing.table(ids, outlook, takes_part, room, self._places.taken, dt_s)
        else:
            table = self._pricing.table_by_counts(ids, counts, outlook, takes_part, room)
        replaces = takes_part & (room >= 0)
        if by_load and self.settings.overload == "queue":
            replaces &= outlook.sure.max(0) < self.settings.load_max
        table = replace(table, zones=roster.table_zones())
        self._places.renew(table, outlook, replaces, by_load=by_load)
        self._priced_s = now_s
        fallbacks = set()
        if takes_part.any() and not known[takes_part].all():
            fallbacks.add("telemetry_stale" if by_load else "telemetry_missing")
        if by_load and not outlook.skilful:
            fallbacks.add("forecast_without_skill")
        return frozenset(fallbacks)

    def _utilisation(self, outlook: Outlook, takes_part: BoolArray) -> float:
        """Mean predicted load, arrivals included, of those that take newcomers, over the threshold."""
        capacity = takes_part / outlook.scale
        load = float(outlook.expected[POOL_HORIZON] @ capacity) / max(float(capacity.sum()), 1e-12)
        return load / self.settings.threshold

    def _well(self, well: BoolArray) -> float:
        """Which part of the endpoints in service `well` is."""
        in_service = self._roster.present & ~self._roster.draining
        return float(well.sum()) / max(int(in_service.sum()), 1)

    def _refresh(self) -> None:
        """The endpoints changed between two ticks: price anew from what is known, learn nothing."""
        roster = self._roster
        known = roster.known(self._now_s, self.settings.stale_after_s)
        takes_part = roster.takes_part(self.settings.memory_max)
        self._price(self._forecaster.look_ahead(self._now_s, roster.load, known, takes_part), known, takes_part)

    def _forecast(self, outlook: Outlook) -> Forecast:
        slots = self._roster.slots()
        used: IntArray | slice = slots
        if not slots.size or slots[-1] + 1 == slots.size:  # no gaps: views instead of copies
            used = slice(slots.size)
        return Forecast(
            endpoint_ids=tuple(filter(None, self._roster.table_ids())),
            horizons_s=HORIZONS_S,
            mean=outlook.expected[:, used].T,
            errors=outlook.errors,
            levels=LEVELS,
            spread=outlook.spread[:, used].T,
        )
