"""Who takes part in a comparison, and as what: the balancer, its reactive peers, and those who know more."""

import difflib
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Literal

from forestay.balancer import Balancer, BalancerSettings
from forestay.model.errors import InvalidInput
from forestay.simulation.peers import PEERS, REACTIVE
from forestay.simulation.pickers import Pickers
from forestay.simulation.policy import Policy
from forestay.simulation.scenario import Scenario

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
        make: of a scenario and a seed. The same seed decides alike.
        modules: whose code decides, besides the engine's.
        about: what it is, one line.
    """

    name: str
    role: Role
    make: Callable[[Scenario, int], Policy]
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


def _candidate(scenario: Scenario, seed: int) -> Policy:
    settings = BalancerSettings(overload=scenario.candidate.overload, pickers=scenario.candidate.pickers)
    return _side_by_side(lambda own_seed: Balancer(settings, seed=own_seed), scenario, seed)


def _peer(name: str) -> Contender:
    made = PEERS[name]
    role: Role = "reactive" if name in REACTIVE else "predictive"
    return Contender(name, role, partial(_side_by_side, made), (made.__module__, PICKERS), _about(made))


def _about(made: Callable[..., Policy]) -> str:
    """First line of its description, which stands in its module where that holds nothing else."""
    own = inspect.getdoc(made) or ""
    return (inspect.getdoc(inspect.getmodule(made)) or "" if own.startswith("See the module") else own).partition("\n")[
        0
    ]


def _side_by_side(made: Callable[[int], Policy], scenario: Scenario, seed: int) -> Policy:
    """As many as the scenario says, which do not share their placements."""
    pickers = scenario.candidate.pickers
    return Pickers(made, pickers, seed) if pickers > 1 else made(seed)


CONTENDERS: dict[str, Contender] = {
    contender.name: contender
    for contender in (
        Contender(
            CANDIDATE, "candidate", _candidate, ("forestay.balancer", PICKERS), "Our balancer, nothing declared."
        ),
        *map(_peer, PEERS),
    )
}
"""All that can be named, by name."""

STANDARD = tuple(name for name, contender in CONTENDERS.items() if contender.role != "told")
"""Those that run when nobody is named."""

ABLATED = tuple(name for name, contender in CONTENDERS.items() if contender.role in ("candidate", "told", "limit"))
"""Those that show what forestay has left to learn."""
