"""A control process to be killed: `python -m tests.dataplanes.relay.control_process DIRECTORY SPEC ENDPOINT...`.

Publishes a plan every 0.2 s and prints one JSON line per event: ready, opened, closed, resynced.
"""

import asyncio
import json
import sys
from collections.abc import Sequence

from forestay.dataplanes.relay.listener import ListenerSpec
from forestay.dataplanes.relay.plane import RelayPlane
from forestay.model.connection import Connection
from tests.dataplanes.relay.world import plan_of


class Printer:
    def opened(self, connection: Connection, at_s: float) -> None:
        say("opened", id=connection.id, endpoint=connection.endpoint_id)

    def failed(self, connection_id: str, endpoint_id: str, at_s: float) -> None:
        say("failed", id=connection_id, endpoint=endpoint_id)

    def closed(self, connection_id: str, at_s: float) -> None:
        say("closed", id=connection_id)

    def resynced(self, owner: str, live: Sequence[Connection]) -> None:
        say("resynced", owner=owner, live=[connection.id for connection in live])


def say(event: str, **facts: object) -> None:
    print(json.dumps({"event": event, **facts}), flush=True)


async def main(directory: str, spec: str, *endpoints: str) -> None:
    listener = ListenerSpec.from_json(spec)
    plane = RelayPlane("chat", [listener], directory)
    await plane.start(Printer())
    plane.publish(plan_of(endpoints))
    say("ready", address=plane.addresses()[listener.name], pids=plane.worker_pids()[listener.name])
    while True:
        await asyncio.sleep(0.2)
        plane.publish(plan_of(endpoints))


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
