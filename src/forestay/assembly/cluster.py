"""One cluster at run time: its loop, registry, relay, health checks, DNS and scrapes, wired to each other."""

import asyncio
from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path

import structlog

from forestay.assembly.blobs import WriteBehindBlobs
from forestay.assembly.listening import listener_specs
from forestay.assembly.relay import ClusterRelay
from forestay.assembly.shadow import Shadowing, without_effects
from forestay.assembly.supervision import Supervisor
from forestay.control.clock import SYSTEM_CLOCK
from forestay.control.connections import AccessLog
from forestay.control.discovery import DnsDiscovery
from forestay.control.health import HealthChecker, HealthRule
from forestay.control.loop import ClusterLoop
from forestay.control.recovery import balancer_key, operator_key, restore_balancer
from forestay.model.endpoint import Endpoint
from forestay.registries.registry import Registry
from forestay.registries.store import Store
from forestay.service.exposition import Surroundings
from forestay.settings import ClusterSettings, DnsSettings, HealthSettings, ScrapeSettings
from forestay.settings.addresses import HostPort
from forestay.telemetry.scrape import Scraper, ScrapeRule

log = structlog.get_logger(__name__)


class RunningCluster:
    """See the module.

    Attributes:
        loop: the cluster's control loop.
    """

    def __init__(
        self,
        settings: ClusterSettings,
        loop: ClusterLoop,
        registry: Registry,
        blobs: WriteBehindBlobs,
        relay: ClusterRelay,
        shadowing: Shadowing | None,
    ) -> None:
        """Use `build`."""
        self.loop = loop
        self._settings = settings
        self._registry = registry
        self._blobs = blobs
        self._relay = relay
        self._shadowing = shadowing
        self._supervisor = Supervisor()
        self._checker: HealthChecker | None = None
        self._scraper: Scraper | None = None
        self._discovery: DnsDiscovery | None = None
        self._past: dict[str, Counter[str]] = defaultdict(Counter)  # outcomes of those that a reload replaced
        loop.on_failed.append(self._suspect)
        loop.endpoints.subscribe(self._set_endpoints)

    @classmethod
    async def build(
        cls,
        name: str,
        settings: ClusterSettings,
        *,
        store: Store,
        runtime_dir: Path,
        seed: int,
        access_log: AccessLog | None,
        shadow: bool = False,
    ) -> "RunningCluster":
        """Read what the registry remembers and put the parts together; nothing is served yet.

        Args:
            name: of the cluster.
            settings: its own.
            store: of the registry.
            runtime_dir: of the relay.
            seed: of its random choices.
            access_log: where its connections are logged.
            shadow: observe a live balancer instead: no listener, no health check that nobody asked for.
        """
        shadowing = Shadowing(name, settings.shadow, seed) if shadow else None
        settings = without_effects(settings) if shadow else settings
        clock = shadowing.clock if shadowing else SYSTEM_CLOCK
        registry = Registry(store, name)
        await registry.start()
        blobs = WriteBehindBlobs(registry)
        await blobs.preload(balancer_key(name), operator_key(name))
        relay = ClusterRelay(name, listener_specs(name, settings), runtime_dir)
        balancer, _ = restore_balancer(blobs, name, settings.balancer, seed, clock.now_s())
        loop = ClusterLoop(
            name,
            balancer,
            registry,
            [relay],
            blobs=blobs,
            reservation_s=settings.balancer.reservation_s,
            access_log=access_log,
            shadow=shadowing.shadow if shadowing else None,
            clock=clock,
        )
        loop.endpoints.replace("config", endpoints_of(settings), loop.clock.now_s())
        return cls(settings, loop, registry, blobs, relay, shadowing)

    async def start(self) -> None:
        """Adopt what a previous life left, then serve."""
        await self.loop.start()
        self._supervisor.start("loop", self.loop.run)
        self._supervisor.start("blobs", self._blobs.run)
        if self._shadowing is not None:
            self._shadowing.start(self._supervisor)
        await self._replace_health(self._settings.health)
        await self._replace_scrape(self._settings.scrape)
        await self._replace_dns(self._settings.dns)

    async def stop(self, hurry: asyncio.Event) -> None:
        """Let connections finish, until `hurry` is set; then end."""
        draining = asyncio.create_task(self.loop.stop(self._relay.drain_s), name=f"drain of {self.loop.name}")
        hurried = asyncio.create_task(hurry.wait())
        await asyncio.wait([draining, hurried], return_when=asyncio.FIRST_COMPLETED)
        hurried.cancel()
        if not draining.done():
            await self._relay.stop(0.0)
        await draining
        await self._end()

    async def detach(self) -> None:
        """End; the relay's workers and their connections go on for the next life to adopt."""
        await self._relay.detach()
        await self.loop.stop()
        await self._end()

    async def abandon(self) -> None:
        """End after a failed start: at once, but never at the cost of connections that a previous life left."""
        if any(self.loop.connections.open.values()):
            await self.detach()
        else:
            await self._relay.stop(0.0)
            await self._end()

    async def reload(self, settings: ClusterSettings) -> list[str]:
        """Take new settings; returns the names of those that need a restart.

        Raises:
            InvalidInput: a new listener's address is taken; nothing has changed.
        """
        needs_restart = []
        if self._shadowing is not None:
            needs_restart += ["shadow"] if settings.shadow != self._settings.shadow else []
            settings = without_effects(settings)
        old = self._settings
        await self._relay.reconfigure(listener_specs(self.loop.name, settings))
        self._settings = settings
        self.loop.endpoints.replace("config", endpoints_of(settings), self.loop.clock.now_s())
        if settings.health != old.health:
            await self._replace_health(settings.health)
        if settings.scrape != old.scrape:
            await self._replace_scrape(settings.scrape)
        if settings.dns != old.dns:
            await self._replace_dns(settings.dns)
        self.loop.balancer.configure(settings.balancer)
        if settings.balancer.reservation_s != old.balancer.reservation_s:
            needs_restart.append("balancer.reservation_s")
        return needs_restart

    async def upgrade(self) -> None:
        """Replace the relay's workers by successors that run the code of now."""
        await self._relay.roll()

    @property
    def addresses(self) -> dict[str, str]:
        """Where each listener is bound."""
        return {name: str(HostPort(*address)) for name, address in self._relay.addresses.items()}

    @property
    def surroundings(self) -> Surroundings:
        """What the metrics page says beside the state of the loop."""
        return Surroundings(
            relay=self._relay.stats(),
            worker_restarts=self._relay.worker_restarts,
            registry=self._registry.health(),
            background={activity: self._past[activity] + outcomes for activity, outcomes in self._outcomes().items()},
        )

    def _outcomes(self) -> dict[str, Counter[str]]:
        """How often background work came to what, by activity, as counted by those who do it now."""
        return {
            "health_probe": self._checker.probes if self._checker else Counter(),
            "scrape": self._scraper.scrapes if self._scraper else Counter(),
            "dns": self._discovery.lookups if self._discovery else Counter(),
            "crash": self._supervisor.crashes,
        }

    async def _end(self) -> None:
        await self._supervisor.stop_all()
        await self._blobs.write()
        await self._registry.close()

    async def _replace_health(self, settings: HealthSettings) -> None:
        """A new checker gives everybody the benefit of the doubt, so the cluster must do the same."""
        await self._supervisor.stop("health")
        if self._checker is not None:
            self._past["health_probe"] += self._checker.probes
            self._checker = None
        now_s = self.loop.clock.now_s()
        for state in list(self.loop.endpoints):
            if not state.healthy:
                self.loop.endpoints.set_health(state.endpoint.id, True, now_s, "not checked yet")
        if settings.type != "none":
            rule = HealthRule(**{**settings.model_dump(), "type": settings.type})
            self._checker = HealthChecker(rule, self.loop.health_changed)
            self._checker.set_endpoints(self._ids())
            self._supervisor.start("health", self._checker.run)

    async def _replace_scrape(self, settings: ScrapeSettings | None) -> None:
        await self._supervisor.stop("scrape")
        if self._scraper is not None:
            self._past["scrape"] += self._scraper.scrapes
            self._scraper = None
        if settings is not None:
            self._scraper = Scraper(ScrapeRule(**settings.model_dump()), self.loop)
            self._scraper.set_endpoints(self._ids())
            self._supervisor.start("scrape", self._scraper.run)

    async def _replace_dns(self, settings: DnsSettings | None) -> None:
        """Endpoints of another name stay until the new one's first answer: DNS may be away just now."""
        await self._supervisor.stop("dns")
        if self._discovery is not None:
            self._past["dns"] += self._discovery.lookups
            self._discovery = None
        if settings is None:
            self._take_dns(())
        else:
            discovery = self._discovery = DnsDiscovery(
                settings.name,
                settings.port,
                lambda added, removed: self._take_dns(discovery.current),
                refresh_s=settings.refresh_s,
            )
            self._supervisor.start("dns", discovery.run)

    def _take_dns(self, endpoint_ids: Sequence[str]) -> None:
        self.loop.endpoints.replace("dns", map(Endpoint, endpoint_ids), self.loop.clock.now_s())

    def _set_endpoints(self, endpoint_ids: Sequence[str]) -> None:
        for watcher in (self._checker, self._scraper):
            if watcher is not None:
                watcher.set_endpoints(endpoint_ids)

    def _suspect(self, endpoint_id: str) -> None:
        if self._checker is not None:
            self._checker.suspect(endpoint_id)

    def _ids(self) -> list[str]:
        return [state.endpoint.id for state in self.loop.endpoints]


def endpoints_of(settings: ClusterSettings) -> list[Endpoint]:
    """The endpoints that the configuration names."""
    return [
        Endpoint(endpoint.address, endpoint.capacity, endpoint.zone, endpoint.connections_max)
        for endpoint in settings.endpoints
    ]
