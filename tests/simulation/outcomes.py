"""Outcomes as they would come from runs, without runs."""

import math
from collections.abc import Iterable, Sequence
from typing import Any

from forestay.simulation.contenders import Role
from forestay.simulation.outcome import Cold, Outcome

ROLES: dict[str, Role] = {
    "forestay": "candidate",
    "least_connections": "reactive",
    "random": "reactive",
    "lowest_predicted": "predictive",
    "limit": "limit",
    "limit_mid": "limit",
}


def outcome(policy: str, delay: float, scenario: str = "steady", seed: int = 0, **changes: Any) -> Outcome:
    """One that is as dull as can be but for its delay."""
    cold = Cold(delay=delay, connections_max_over_mean=changes.pop("cold", 1.1))
    values: dict[str, Any] = {
        "delay_quantiles": (delay, 1.5 * delay, 2.0 * delay, 3.0 * delay),
        "utilisation_p99": 0.9,
        "over": 0.0,
        "max_over_mean": 1.1,
        "over_70_s": 10.0,
        "over_100_s": 0.0,
        "storm_share": math.nan,
        "storm_over_100_s": 0.0,
        "wait_mean_s": 0.0,
        "wait_p99_s": 0.0,
        "connections": 1000,
        "refused": 0,
        "place_us": 5.0,
        "tick_ms": 1.0,
        "digest": f"{policy}-{scenario}-{seed}",
    }
    return Outcome(scenario=scenario, seed=seed, policy=policy, delay=delay, cold=cold, **{**values, **changes})


def runs(policy: str, delays: Sequence[float], scenario: str = "steady", **changes: Any) -> Iterable[Outcome]:
    """One outcome for each delay, with seeds from 0 on."""
    return [outcome(policy, delay, scenario, seed, **changes) for seed, delay in enumerate(delays)]
