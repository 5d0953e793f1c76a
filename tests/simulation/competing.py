"""Contenders for tests, found by a function of a module as worker processes need it."""

from forestay.simulation.contenders import Contender, Role
from forestay.simulation.policy import Policy
from forestay.simulation.servers import Servers
from forestay.simulation.world import World
from tests.simulation.policies import InTurn

WORLDS: list[World] = []
"""That policies of this process were attached to."""


class Attached(InTurn):
    """Remembers the world it is in."""

    def attach(self, world: World, servers: Servers) -> None:
        WORLDS.append(world)


class Broken(InTurn):
    """Raises after a second."""

    def tick(self, now_s: float, wall_s: float | None = None) -> None:
        raise ArithmeticError("no sense in it")


MADE: dict[str, tuple[Role, type[InTurn]]] = {
    "forestay": ("candidate", InTurn),
    "least_connections": ("reactive", Attached),
    "limit": ("limit", Attached),
    "broken": ("reactive", Broken),
}


def find(name: str) -> Contender:
    role, kind = MADE[name]

    def make(world: World, seed: int) -> Policy:
        return kind()

    return Contender(name, role, make, ())
