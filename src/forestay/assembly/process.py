"""The control process: all clusters and the API, and the order in which they start, change and stop.

Start: clusters (each with its relay workers), then the API. Stop: the clusters drain while the API still answers, then
the API. Relay workers are processes apart: they outlive this one by design.
"""

import asyncio
import socket

import structlog

from forestay.assembly.cluster import RunningCluster
from forestay.control.loop import ClusterLoop
from forestay.model.errors import InvalidInput
from forestay.registries.store import Store
from forestay.service.api import create_app
from forestay.service.exposition import Metrics, Surroundings
from forestay.service.logs import AccessLogger, configure_logs
from forestay.service.server import ApiServer
from forestay.settings import Settings
from forestay.settings.addresses import HostPort, parse_host_port

log = structlog.get_logger(__name__)

NOT_RELOADED = ("service", "registry", "process")
"""Sections that take effect at the next start only."""


class ControlProcess:
    """Everything that `forestay serve` runs, except the relay's workers.

    Attributes:
        settings: in force.
        clusters: by name.
        hurry: set it to end a drain at once.
    """

    def __init__(self, settings: Settings, store: Store) -> None:
        self.settings = settings
        self.clusters: dict[str, RunningCluster] = {}
        self.hurry = asyncio.Event()
        self._loops: dict[str, ClusterLoop] = {}
        self._store = store
        self._access_log = AccessLogger() if settings.log.access else None
        self._leaving: dict[str, asyncio.Task[None]] = {}
        address = parse_host_port(settings.service.listen, listen=True)
        app = create_app(
            self._loops,
            host=address.host,
            token=settings.service.token.get_secret_value(),
            metrics=Metrics(self._loops, self._surroundings),
        )
        self.api = ApiServer(app, address.host, address.port)

    async def start(self) -> None:
        """Start every cluster, then the API.

        Raises:
            InvalidInput: an address is taken, ...; whoever was started has been stopped or, with connections, left.
        """
        try:
            await self._start()
        except BaseException:
            await asyncio.gather(*(cluster.abandon() for cluster in self.clusters.values()))
            raise

    async def _start(self) -> None:
        self._check_api_address()
        for name in self.settings.clusters:
            await self._start_cluster(name, self.settings)
        await self.api.start()

    def _check_api_address(self) -> None:
        """Before any worker is started for nothing."""
        host, port = self.api.address
        try:
            with socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET):
                pass
        except OSError as error:
            raise InvalidInput(
                f"service.listen = {self.settings.service.listen!r}: {error.strerror}; if another forestay is running, "
                "give this one another address: --set service.listen=127.0.0.1:9901"
            ) from None

    @property
    def addresses(self) -> dict[str, str]:
        """Where it listens: "api", and every "cluster/listener"."""
        found = {"api": str(HostPort(*self.api.address))}
        for name, cluster in self.clusters.items():
            found.update({f"{name}/{listener}": address for listener, address in cluster.addresses.items()})
        return found

    @property
    def summary(self) -> str:
        """One line for the service manager."""
        return "listening on " + ", ".join(f"{address} ({name})" for name, address in self.addresses.items())

    async def stop(self) -> None:
        """Let connections finish, each cluster's for its longest `drain_s`, or until `hurry` is set; then end."""
        await asyncio.gather(*(cluster.stop(self.hurry) for cluster in self.clusters.values()), *self._leaving.values())
        await self.api.stop()

    async def detach(self) -> None:
        """End, and leave the relay's workers and their connections to the next `forestay serve`."""
        leaving = list(self._leaving.values())
        for task in leaving:
            task.cancel()  # their workers have been told to drain, and need nobody for it
        await asyncio.gather(*leaving, return_exceptions=True)
        await asyncio.gather(*(cluster.detach() for cluster in self.clusters.values()))
        await self.api.stop()

    async def reload(self, settings: Settings) -> list[str]:
        """Take new settings as far as a running process can.

        Returns:
            Paths of changed settings that need a restart.

        Raises:
            InvalidInput: an address is taken, or a cluster that comes back is still leaving; part of the settings may
                be in force.
        """
        if still := sorted(self._leaving.keys() & settings.clusters.keys()):
            raise InvalidInput(f"clusters.{still[0]}: its connections are still finishing; reload again later")
        configure_logs(settings.log.level, settings.log.format)
        needs_restart = [
            section for section in NOT_RELOADED if getattr(settings, section) != getattr(self.settings, section)
        ]
        if settings.log.access != self.settings.log.access:
            needs_restart.append("log.access")
        for name in [name for name in self.clusters if name not in settings.clusters]:
            self._remove_cluster(name)
        for name, cluster in settings.clusters.items():
            if name in self.clusters:
                needs_restart += [f"clusters.{name}.{key}" for key in await self.clusters[name].reload(cluster)]
            else:
                await self._start_cluster(name, settings)
        self.settings = settings
        return needs_restart

    async def upgrade(self) -> None:
        """Replace the relay's workers one by one: the successors inherit the listening sockets, the old ones drain."""
        for cluster in self.clusters.values():
            await cluster.upgrade()

    def _surroundings(self) -> dict[str, Surroundings]:
        return {name: cluster.surroundings for name, cluster in self.clusters.items()}

    async def _start_cluster(self, name: str, settings: Settings) -> None:
        cluster = await RunningCluster.build(
            name,
            settings.clusters[name],
            store=self._store,
            runtime_dir=settings.process.runtime_dir,
            seed=settings.process.seed,
            access_log=self._access_log,
            shadow=settings.process.shadow,
        )
        try:
            await cluster.start()
        except BaseException:
            await cluster.abandon()
            raise
        self.clusters[name] = cluster
        self._loops[name] = cluster.loop

    def _remove_cluster(self, name: str) -> None:
        """Its connections may finish in the background."""
        del self._loops[name]
        task = asyncio.create_task(self.clusters.pop(name).stop(self.hurry), name=f"leaving {name}")
        self._leaving[name] = task
        task.add_done_callback(lambda _: self._leaving.pop(name))
