"""What befalls servers: deaths, losses of capacity, deployments, newcomers; when, and which server."""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from forestay.model.plan import FloatArray
from forestay.simulation.chance import generator
from forestay.simulation.scenario import Fault, Scenario
from forestay.simulation.steps import AHEAD_STEPS, STEPS_PER_S


@dataclass(frozen=True, slots=True)
class Change:
    """Something that happens to a server at the start of a step.

    Attributes:
        step: when.
        kind: "die" (connections are lost), "notice" (the policy hears of it), "back", "drain" (clients leave over
            `fault.jitter_s`), "stop" (a drained server goes away), "join".
        server: which.
        fault: where it comes from.
    """

    step: int
    kind: Literal["die", "notice", "back", "drain", "stop", "join"]
    server: int
    fault: Fault


def draw_faults(scenario: Scenario, seed: int, steps: int) -> tuple[tuple[Change, ...], FloatArray]:
    """Everything that happens to servers in a run.

    Returns:
        Changes in order, and each server's capacity over what it is by itself, shape (steps + AHEAD_STEPS, servers).
    """
    servers = scenario.fleet.servers
    strength = np.ones((steps + AHEAD_STEPS, servers))
    changes: list[Change] = []
    for index, fault in enumerate(scenario.faults):
        order: list[int] = generator(scenario.name, seed, "faults", index).permutation(servers).tolist()
        length = round(fault.length_s * STEPS_PER_S)
        for turn, start in enumerate(_starts(fault, servers, steps)):
            hit = [order[(turn * fault.servers + k) % servers] for k in range(min(fault.servers, servers))]
            for server in hit:
                if fault.kind == "degrade":
                    strength[start : start + length if length else None, server] *= fault.factor
                else:
                    changes += _changes(fault, server, start, length)
    return tuple(sorted(changes, key=lambda change: change.step)), strength


def _starts(fault: Fault, servers: int, steps: int) -> range:
    """Steps at which it happens."""
    first, every = round(fault.first_s * STEPS_PER_S), round(fault.every_s * STEPS_PER_S)
    if not every or fault.kind == "join":
        return range(first, min(first + 1, steps))
    starts = range(first, steps, every)
    if fault.kind == "deploy":
        return starts[: -(-servers // fault.servers)]
    return starts


def _changes(fault: Fault, server: int, start: int, length: int) -> list[Change]:
    """What one server goes through."""
    if fault.kind == "join":
        return [Change(start, "join", server, fault)]
    if fault.kind == "death":
        gone = start
        found = start + round(fault.detect_s * STEPS_PER_S)
        changes = [Change(start, "die", server, fault), Change(found, "notice", server, fault)]
    else:
        gone = start + max(round(fault.jitter_s * STEPS_PER_S), 1)
        changes = [Change(start, "drain", server, fault), Change(gone, "stop", server, fault)]
    if length:
        changes.append(Change(max(gone + length, changes[-1].step), "back", server, fault))
    return changes
