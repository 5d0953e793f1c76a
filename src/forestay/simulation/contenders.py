"""Who takes part in a comparison, and as what: the balancer, its reactive peers, and those who know more."""

import difflib
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Literal

from forestay.balancer import Balancer, BalancerSettings
from forestay.model.errors import InvalidInput
from forestay.simulation.ablation import ABLATIONS, PIECES
from forestay.simulation.peers import LIMITS, PEERS, REACTIVE
from forestay.simulation.pickers import Pickers
from forestay.simulation.policy import Policy
from forestay.simulation.world import World

Role = Literal["candidate", "reactive", "predictive", "limit", "clairvoyant", "told"]

CANDIDATE = "forestay"

PICKERS = "forestay.simulation.pickers"


@dataclass(frozen=True, slots=True)
class Contender:
    """A policy by name.

    Attributes:
        name: as people write it.
        role: "candidate" is forestay; "reactive" what it has to beat; "predictive" a peer with a forecast; "limit" a
            variant of the causal limit; "clairvoyant" knows the future; "told" is forestay told a piece of the truth.
        make: for a world and a seed. The same seed decides alike.
        modules: whose code decides, besides the engine's.
        about: what it is, one line.
    """

    name: str
    role: Role
    make: Callable[[World, int], Policy]
    modules: tuple[str, ...]
    about: str = ""


def find(name: str) -> Contender:
    """Who is meant by a name.

    Raises:
        InvalidInput: nobody is called so; the message names those that come close.
    """
    if name in CONTENDERS:
        return CONTENDERS[name]
    close = difflib.get_close_matches(name, CONTENDERS, n=3) or list(CONTENDERS)
    raise InvalidInput(f"policy {name!r} is unknown: choose from {', '.join(close)}")


def _candidate(world: World, seed: int) -> Policy:
    chosen = world.scenario.candidate
    settings = BalancerSettings(overload=chosen.overload, pickers=chosen.pickers)
    return _side_by_side(lambda own_seed: Balancer(settings, seed=own_seed), world, seed)


def _side_by_side(made: Callable[[int], Policy], world: World, seed: int) -> Policy:
    """As many as the scenario says, which do not share their placements."""
    pickers = world.scenario.candidate.pickers
    return Pickers(made, pickers, seed) if pickers > 1 else made(seed)


def _peer(name: str) -> Contender:
    made = PEERS[name]
    kind = made.func if isinstance(made, partial) else made
    if name in LIMITS:
        role: Role = "clairvoyant" if name == "clairvoyant" else "limit"
        return Contender(name, role, lambda world, seed: made(seed), (kind.__module__,), _about(made))
    role = "reactive" if name in REACTIVE else "predictive"
    return Contender(name, role, partial(_side_by_side, made), (kind.__module__, PICKERS), _about(made))


def _about(made: Callable[..., Policy]) -> str:
    """First line of its description, which stands in its module where that holds nothing else."""
    if isinstance(made, partial):
        changed = ", ".join(f"{name} = {value}" for name, value in made.keywords.items())
        return f"{_about(made.func)[:-1]} with {changed}."
    own = inspect.getdoc(made) or ""
    return (inspect.getdoc(inspect.getmodule(made)) or "" if own.startswith("See the module") else own).partition("\n")[
        0
    ]


def _told(piece: str) -> Contender:
    words = {str(name): words for name, words in PIECES.items()}.get(piece, "all of these")
    return Contender(
        f"told_{piece}", "told", ABLATIONS[piece], ("forestay.simulation.ablation",), f"Ours, told {words}."
    )


CONTENDERS: dict[str, Contender] = {
    contender.name: contender
    for contender in (
        Contender(
            CANDIDATE, "candidate", _candidate, ("forestay.balancer", PICKERS), "Our balancer, nothing declared."
        ),
        *map(_peer, PEERS),
        *map(_told, ABLATIONS),
    )
}
"""All that can be named, by name."""

STANDARD = tuple(name for name, contender in CONTENDERS.items() if contender.role != "told")
"""Those that run when nobody is named."""

ABLATED = tuple(name for name, contender in CONTENDERS.items() if contender.role in ("candidate", "told", "limit"))
"""Those that show what forestay has left to learn."""
