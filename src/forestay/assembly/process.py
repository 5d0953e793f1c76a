"""The control process: what is built from settings, in which order it starts and stops, and which signal does what.

Start: directories, store, clusters (each with its relay workers), API. Stop: the clusters drain while the API still
answers, then the API, then the store. Relay workers are processes apart: they outlive this one by design.
"""

import asyncio
import signal
import socket
from collections.abc import Callable

import structlog

from forestay.assembly.claim import Claim, make_writable
from forestay.assembly.cluster import RunningCluster
from forestay.assembly.notify import ServiceManager
from forestay.control.loop import ClusterLoop
from forestay.model.errors import ForestayError, InvalidInput
from forestay.registries.memory import MemoryStore
from forestay.registries.sqlite import SqliteStore
from forestay.registries.store import Store
from forestay.service.api import create_app
from forestay.service.exposition import Metrics, Surroundings
from forestay.service.logs import AccessLogger, configure_logs
from forestay.service.server import ApiServer
from forestay.settings import Configuration, Settings
from forestay.settings.addresses import HostPort, parse_host_port

log = structlog.get_logger(__name__)

Reload = Callable[[], Configuration]
"""Reads the configuration again; raises `ForestayError` where it is unusable."""

NOT_RELOADED = ("service", "registry", "process")
"""Sections that take effect at the next start only."""


class ControlProcess:
    """Everything that `forestay serve` runs, except the relay's workers.

    Attributes:
        settings: in force.
        clusters: by name.
    """

    def __init__(self, settings: Settings, store: Store) -> None:
        self.settings = settings
        self.clusters: dict[str, RunningCluster] = {}
        self._loops: dict[str, ClusterLoop] = {}
        self._store = store
        self._access_log = AccessLogger() if settings.log.access else None
        self._leaving: set[asyncio.Task[None]] = set()
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

    async def stop(self, hurry: asyncio.Event) -> None:
        """Let connections finish, each listener for its `drain_s`, or until `hurry` is set; then end."""
        await asyncio.gather(*(cluster.stop(hurry) for cluster in self.clusters.values()), *self._leaving)
        await self.api.stop()

    async def detach(self) -> None:
        """End, and leave the relay's workers and their connections to the next `forestay serve`."""
        await asyncio.gather(*(cluster.detach() for cluster in self.clusters.values()))
        await self.api.stop()

    async def reload(self, settings: Settings) -> list[str]:
        """Take new settings as far as a running process can.

        Returns:
            Paths of changed settings that need a restart.
        """
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
        )
        await cluster.start()
        self.clusters[name] = cluster
        self._loops[name] = cluster.loop

    def _remove_cluster(self, name: str) -> None:
        """Its connections may finish in the background; its name is free at once."""
        del self._loops[name]
        task = asyncio.create_task(self.clusters.pop(name).stop(asyncio.Event()), name=f"leaving {name}")
        self._leaving.add(task)
        task.add_done_callback(self._leaving.discard)


async def serve(configuration: Configuration, reload: Reload) -> None:
    """Run `forestay serve` until a signal ends it.

    Args:
        configuration: to start with.
        reload: what SIGHUP calls.

    Raises:
        InvalidInput: what the settings ask for is not possible here (a port is taken, a directory not ours).
    """
    settings = configuration.settings
    configure_logs(settings.log.level, settings.log.format)
    with Claim(settings.process.runtime_dir):
        store = await _open_store(settings)
        try:
            await _run(ControlProcess(settings, store), reload)
        finally:
            await store.close()


async def _run(process: ControlProcess, reload: Reload) -> None:
    signals = _Signals()
    await process.start()
    try:
        await _serve_until_told(process, reload, signals)
    except BaseException:
        await process.detach()  # a defect here must not cost connections
        raise


async def _serve_until_told(process: ControlProcess, reload: Reload, signals: "_Signals") -> None:
    manager = ServiceManager()
    manager.ready(process.summary)
    log.info("serving", addresses=process.addresses)
    while True:
        match await signals.next():
            case signal.SIGHUP:
                manager.reloading()
                await _reload(process, reload)
                manager.ready(process.summary)
            case signal.SIGUSR2:
                await _upgrade(process)
            case signal.SIGQUIT:
                log.info("detaching")
                await process.detach()
                return
            case number:
                log.info("draining", signal=number.name, hint="a second signal ends at once")
                manager.stopping()
                await process.stop(signals.hurry())
                return


async def _reload(process: ControlProcess, reload: Reload) -> None:
    """Whatever is wrong with the new configuration, the old one goes on."""
    try:
        configuration = reload()
    except ForestayError as error:
        log.error("reload_refused", problems=str(error).splitlines(), effect="the old configuration stays in force")
        return
    try:
        needs_restart = await process.reload(configuration.settings)
    except Exception as error:
        log.error("reload_failed", error=str(error), exc_info=error, effect="part of it may be in force")
        return
    if needs_restart:
        log.warning("reload_incomplete", needs_restart=needs_restart)
    log.info("reloaded", addresses=process.addresses)


async def _upgrade(process: ControlProcess) -> None:
    """Where a successor does not come up, its predecessor goes on."""
    try:
        await process.upgrade()
    except ForestayError as error:
        log.error("upgrade_failed", error=str(error), effect="the old workers go on")
    else:
        log.info("workers_upgraded")


class _Signals:
    """Signals in the order in which they came."""

    HANDLED = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR2, signal.SIGQUIT)

    def __init__(self) -> None:
        self._queue: asyncio.Queue[signal.Signals] = asyncio.Queue()
        self._loop = asyncio.get_running_loop()
        for number in self.HANDLED:
            self._loop.add_signal_handler(number, self._queue.put_nowait, number)

    async def next(self) -> signal.Signals:
        """The next one."""
        return await self._queue.get()

    def hurry(self) -> asyncio.Event:
        """An event that a further SIGTERM or SIGINT sets; the other signals mean nothing from now on."""
        hurry = asyncio.Event()
        for number in self.HANDLED:
            if number in (signal.SIGTERM, signal.SIGINT):
                self._loop.add_signal_handler(number, hurry.set)
            else:
                self._loop.add_signal_handler(number, lambda: None)
        return hurry


async def _open_store(settings: Settings) -> Store:
    if settings.registry.store == "memory":
        return MemoryStore()
    path = settings.registry_path
    make_writable(path.parent, "registry.path" if settings.registry.path else "process.state_dir")
    return await SqliteStore.open(path)
