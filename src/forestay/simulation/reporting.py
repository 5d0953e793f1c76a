"""What servers report of themselves: means over an interval, with errors, some of them lost."""

import numpy as np

from forestay.model.load import LoadReport
from forestay.simulation.servers import Servers
from forestay.simulation.steps import STEPS_PER_S
from forestay.simulation.world import World


class Reporter:
    """Makes the reports of a run.

    Attributes:
        born: step at which each server came, the first or the last time: no report covers time before.
        memory: in use by second, one list by server each; empty where memory is no matter.
    """

    def __init__(self, world: World, servers: Servers) -> None:
        self._world, self._servers = world, servers
        settings = world.scenario.reports
        self._delay = round(settings.delay_s * STEPS_PER_S)
        self._interval = settings.interval_s * STEPS_PER_S
        self.born = [0] * len(world.endpoint_ids)
        self.memory: list[list[float]] = []

    def note_second(self) -> None:
        """A second begins."""
        if self._world.scenario.memory.load:
            self.memory.append(self._servers.memory.copy())

    def arriving(self, step: int) -> list[LoadReport]:
        """The reports that arrive at the start of `step`; `Servers.utilisation` holds all finished seconds."""
        end = step - self._delay
        if end < self._interval or end % self._interval:
            return []
        world, servers, settings = self._world, self._servers, self._world.scenario.reports
        window, second = slice(end - self._interval, end), end // STEPS_PER_S
        load = servers.busy(window) * (1 + world.report_noise[second])
        if settings.quantum:
            load = np.round(load / settings.quantum) * settings.quantum
        lost = world.report_lost[second].tolist()
        return [
            LoadReport(
                endpoint_id=world.endpoint_ids[server],
                at_s=end / STEPS_PER_S,
                load=value,
                memory=self.memory[second][server] if self.memory else None,
            )
            for server, value in enumerate(np.maximum(load, 0.0).tolist())
            if servers.alive[server] and self.born[server] <= window.start and not lost[server]
        ]
