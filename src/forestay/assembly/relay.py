"""The relay of one cluster as the loop sees it: listeners may change, come and go while it runs.

A change is a restart in small: the relay lets go of its workers and a new one, with the new listeners, adopts those
that still fit, hands the sockets of the others over to successors, and drains whom it does not need. Nothing is cut.
"""

import asyncio
from collections.abc import Sequence
from pathlib import Path

from forestay.assembly.listening import check_free
from forestay.control.ports import ConnectionSink
from forestay.dataplanes.relay.listener import ListenerSpec
from forestay.dataplanes.relay.plane import RelayPlane
from forestay.model.errors import ForestayError
from forestay.model.plan import Plan


class ClusterRelay:
    """See the module. Implements `control.ports.DataPlane`; without listeners it does nothing."""

    def __init__(self, cluster: str, specs: Sequence[ListenerSpec], runtime_dir: Path) -> None:
        self._cluster = cluster
        self._runtime_dir = runtime_dir
        self._specs = list(specs)
        self._sink: ConnectionSink | None = None
        self._plan: Plan | None = None
        self._plane: RelayPlane | None = None
        self._changing = asyncio.Lock()

    async def start(self, sink: ConnectionSink) -> None:
        """See `DataPlane`."""
        self._sink = sink
        self._plane = await self._started(sink)

    def publish(self, plan: Plan) -> None:
        """See `DataPlane`."""
        self._plan = plan
        if self._plane is not None:
            self._plane.publish(plan)

    def placed(self, endpoint_id: str) -> None:
        """See `DataPlane`."""
        if self._plane is not None:
            self._plane.placed(endpoint_id)

    async def stop(self, drain_s: float) -> None:
        """See `DataPlane`. May be called again while it drains, with less time."""
        if self._plane is not None:
            await self._plane.stop(drain_s)

    async def detach(self) -> None:
        """Leave the workers and their connections to the next control process."""
        plane, self._plane = self._plane, None
        if plane is not None:
            await plane.detach()

    async def roll(self) -> None:
        """Replace all workers by successors that run the code of now."""
        async with self._changing:
            if self._plane is not None:
                await self._plane.roll()

    async def reconfigure(self, specs: Sequence[ListenerSpec]) -> None:
        """Serve these listeners from now on; connections of a listener that is gone may finish.

        Raises:
            ForestayError: an address is taken, or a worker does not come up; the listeners are those of before.
        """
        assert self._sink is not None, "start() first"
        async with self._changing:
            before, drain_s = self._specs, self.drain_s
            if list(specs) == before:
                return
            bound = {(spec.host, spec.port) for spec in before}
            for spec in specs:
                if (spec.host, spec.port) not in bound:
                    check_free(spec)
            plane, self._plane = self._plane, None
            if plane is not None:
                await (plane.detach() if specs else plane.stop(drain_s))
            self._specs = list(specs)
            try:
                self._plane = await self._started(self._sink)
            except ForestayError:
                self._specs = before
                self._plane = await self._started(self._sink)
                raise

    @property
    def drain_s(self) -> float:
        """The longest that any listener lets its connections finish."""
        return max((spec.drain_s for spec in self._specs), default=0.0)

    @property
    def addresses(self) -> dict[str, tuple[str, int]]:
        """Host and port that each listener is bound to."""
        return self._plane.addresses() if self._plane is not None else {}

    def stats(self) -> dict[str, dict[str, int]]:
        """See `RelayPlane.stats`."""
        return self._plane.stats() if self._plane is not None else {}

    @property
    def worker_restarts(self) -> int:
        """See `RelayPlane.worker_restarts`."""
        return self._plane.worker_restarts if self._plane is not None else 0

    async def _started(self, sink: ConnectionSink) -> RelayPlane | None:
        """A plane for the listeners of now, with the last plan; where it does not start, it has cleaned up."""
        if not self._specs:
            return None
        plane = RelayPlane(self._cluster, self._specs, self._runtime_dir)
        if self._plan is not None:
            plane.publish(self._plan)
        await plane.start(sink)
        return plane
