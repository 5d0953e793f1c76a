"""The loop beside a server: measure, report, once a second, until told to stop."""

import asyncio
import random
import signal
import time

import httpx
import structlog

from forestay.agent.sampler import Sampler
from forestay.agent.sender import Sender
from forestay.agent.settings import AgentSettings
from forestay.control.schedule import Schedule
from forestay.telemetry.host import TargetLost

log = structlog.get_logger(__name__)


async def run_agent(settings: AgentSettings, stop: asyncio.Event | None = None) -> int:
    """Report until SIGTERM or SIGINT.

    Args:
        settings: what to measure and where to report.
        stop: set it to end the agent from inside the process; then no signal handlers are installed.

    Returns:
        Exit status: 0 when told to stop, 1 when the process named by `pid` is gone.

    Raises:
        InvalidInput: the control group or the metrics cannot be used.
    """
    if stop is None:
        stop = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with httpx.AsyncClient(limits=httpx.Limits(max_connections=32), trust_env=False) as client:
        return await _loop(settings, client, stop)


async def _loop(settings: AgentSettings, client: httpx.AsyncClient, stop: asyncio.Event) -> int:
    sampler = Sampler(settings, client)
    senders = [Sender(settings, url, client) for url in settings.control_planes]
    # A phase of its own for every agent, so that a fleet started by one command does not report in one burst.
    schedule = Schedule(time.monotonic() + random.uniform(0.0, settings.interval_s), settings.interval_s)
    lost = ""
    log.info("agent_started", cluster=settings.cluster, endpoint=settings.endpoint, to=settings.control_planes)
    while not await _stopped(stop, schedule.due_s - time.monotonic()):
        schedule.begin(time.monotonic())
        try:
            sample = await sampler.sample()
        except TargetLost as error:
            if settings.pid is not None:
                log.error("target_lost", why=f"{error}; with pid_file the agent would wait for its successor")
                return 1
            if not lost:
                log.warning("target_lost", why=str(error))
            lost = str(error)
            continue
        if lost:
            log.info("target_found_again")
            lost = ""
        if sample is not None:
            for sender in senders:
                sender.add(sample)
        await asyncio.gather(*(sender.send() for sender in senders))
    log.info("agent_stopped", dropped=[sender.dropped for sender in senders])
    return 0


async def _stopped(stop: asyncio.Event, wait_s: float) -> bool:
    """Wait that long, or until `stop` is set; returns whether it is."""
    if wait_s > 0 and not stop.is_set():
        try:
            await asyncio.wait_for(stop.wait(), wait_s)
        except TimeoutError:
            return False
    return stop.is_set()
