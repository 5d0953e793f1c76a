"""The balancers that ours is compared with, each as strong as its source describes it, or stronger."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Final

from forestay.simulation.peers.blind import Random, RoundRobin
from forestay.simulation.peers.clairvoyant import Clairvoyant
from forestay.simulation.peers.client_wrr import ClientWrr
from forestay.simulation.peers.least_connections import LeastConnections
from forestay.simulation.peers.limit import CausalLimit
from forestay.simulation.peers.lowest_predicted import LowestPredicted
from forestay.simulation.peers.own_placements import LoadAndOwnPlacements, LowestLoad
from forestay.simulation.peers.peak_ewma import PeakEwma
from forestay.simulation.peers.prequal import Prequal
from forestay.simulation.peers.robinhood import Robinhood
from forestay.simulation.peers.two_choices import TwoChoicesByConnections, TwoChoicesByLoad
from forestay.simulation.policy import Policy

REACTIVE: Final[Mapping[str, Callable[[int], Policy]]] = {
    "random": Random,
    "round_robin": RoundRobin,
    "least_connections": LeastConnections,
    "two_choices_connections": TwoChoicesByConnections,
    "two_choices_load": TwoChoicesByLoad,
    "lowest_load": LowestLoad,
    "peak_ewma": PeakEwma,
    "prequal": Prequal,
    "robinhood": Robinhood,
    "client_wrr": ClientWrr,
    "load_own": LoadAndOwnPlacements,
}
"""By name, from a seed: those that know the present at most. The best of them in a scenario is the one to beat."""

LIMITS: Final[Mapping[str, Callable[[int], Policy]]] = {
    "limit": CausalLimit,
    "limit_middle": partial(CausalLimit, own=0.5),
    "limit_after": partial(CausalLimit, own=1.0),
    "limit_hard": partial(CausalLimit, hard=True),
    "limit_hard_middle": partial(CausalLimit, own=0.5, hard=True),
    "limit_no_level": partial(CausalLimit, level=False),
    "clairvoyant": Clairvoyant,
}
"""Those that know the truth: variants of the causal limit, of which the best is the limit, and the clairvoyant."""

PEERS: Final[Mapping[str, Callable[[int], Policy]]] = {**REACTIVE, "lowest_predicted": LowestPredicted, **LIMITS}
"""All of them."""
