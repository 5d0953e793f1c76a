"""`forestay serve` from first to last: directories, store, control process, and which signal does what."""

import asyncio
import gc
import signal
from collections.abc import Callable

import structlog

from forestay.assembly.claim import Claim, make_writable
from forestay.assembly.notify import ServiceManager
from forestay.assembly.process import ControlProcess
from forestay.model.errors import ForestayError
from forestay.registries.memory import MemoryStore
from forestay.registries.sqlite import SqliteStore
from forestay.registries.store import Store
from forestay.service.logs import configure_logs
from forestay.settings import Configuration, Settings

log = structlog.get_logger(__name__)

Reload = Callable[[], Configuration]
"""Reads the configuration again; raises `ForestayError` where it is unusable."""


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


def quieten_garbage_collector() -> None:
    """Let the collector look at less, less often: with many connections a full pass stops everything for 30 ms.

    What is there now stays for the life of the process, and the hot paths make no cycles. So a pass over the youngest
    waits for 10,000 objects instead of 700, and a full one for 10,000 of those passes instead of 100.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000, 10, 1_000)


async def _run(process: ControlProcess, reload: Reload) -> None:
    signals = _Signals(process.hurry)
    await process.start()
    quieten_garbage_collector()
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
                signals.hurry_from_now_on()
                await process.stop()
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

    def __init__(self, hurry: asyncio.Event) -> None:
        self._queue: asyncio.Queue[signal.Signals] = asyncio.Queue()
        self._hurry = hurry
        self._loop = asyncio.get_running_loop()
        for number in self.HANDLED:
            self._loop.add_signal_handler(number, self._queue.put_nowait, number)

    async def next(self) -> signal.Signals:
        """The next one."""
        return await self._queue.get()

    def hurry_from_now_on(self) -> None:
        """Let a further SIGTERM or SIGINT end the drain; the other signals mean nothing any more."""
        for number in (signal.SIGTERM, signal.SIGINT):
            self._loop.add_signal_handler(number, self._hurry.set)
        while not self._queue.empty():
            if self._queue.get_nowait() in (signal.SIGTERM, signal.SIGINT):
                self._hurry.set()


async def _open_store(settings: Settings) -> Store:
    if settings.registry.store == "memory" or settings.process.shadow:  # a shadow leaves no trace
        return MemoryStore()
    path = settings.registry_path
    make_writable(path.parent, "registry.path" if settings.registry.path else "process.state_dir")
    return await SqliteStore.open(path)
