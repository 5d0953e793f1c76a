"""Weights for planes that cannot pick by a table: the shares that exact picks would have given."""

from dataclasses import replace

import numpy as np

from forestay.model.plan import Table
from forestay.placement.planner import Planner

PICKS_MIN = 400
"""Picks that are tried out at least: shares are exact to a quarter of a per cent."""
PICKS_PER_ENDPOINT = 2
"""With fewer, a large cluster's shares would be 1 or nothing, and those with 1 would get all."""
SCALE = 1000


def weigh(table: Table, arrivals: float) -> dict[str, int]:
    """Spread the next arrivals by the table and return each endpoint's share.

    Args:
        table: as published.
        arrivals: connections expected until the weights change.

    Returns:
        Weight by endpoint id, 0 to 1000: 0 where nothing may go, else at least 1.
    """
    trials = max(PICKS_MIN, PICKS_PER_ENDPOINT * len(table.slots))
    part = max(arrivals, 1.0) / trials  # each trial pick stands for this many connections
    # Rounded up: whoever takes a single one still has a weight when many more are expected.
    slots, paced = (np.ceil(limit / part).astype(np.int64) for limit in (table.slots, table.paced))
    trial = replace(table, factor=table.factor**part, slots=slots, paced=paced)
    own = [0] * len(table.slots)
    planner = Planner(trial, own)
    for _ in range(trials):
        if planner.pick() < 0:
            break
    most = max(own, default=0)
    takes = (table.slots + table.paced > 0).tolist()
    return {
        endpoint_id: max(1, round(SCALE * picks / most)) if takes_newcomers and most else 0
        for endpoint_id, picks, takes_newcomers in zip(table.endpoint_ids, own, takes, strict=True)
        if endpoint_id
    }
