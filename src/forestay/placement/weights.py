"""Weights for planes that cannot pick by a table: the shares that exact picks would have given."""

from dataclasses import replace

from forestay.model.plan import Table
from forestay.placement.planner import Planner

PICKS = 400
"""Picks that are tried out: shares are exact to a quarter of a per cent."""
SCALE = 1000


def weigh(table: Table, arrivals: float) -> dict[str, int]:
    """Spread the next arrivals by the table and return each endpoint's share.

    Args:
        table: as published.
        arrivals: connections expected until the weights change.

    Returns:
        Weight by endpoint id, 0 to 1000: 0 where nothing may go, else at least 1.
    """
    part = max(arrivals, 1.0) / PICKS  # each trial pick stands for this many connections
    trial = replace(
        table, factor=table.factor**part, slots=(table.slots / part).astype(int), paced=(table.paced / part).astype(int)
    )
    own = [0] * len(table.slots)
    planner = Planner(trial, own)
    for _ in range(PICKS):
        if planner.pick() < 0:
            break
    most = max(own, default=0)
    takes = (table.slots + table.paced > 0).tolist()
    return {
        endpoint_id: max(1, round(SCALE * picks / most)) if takes_newcomers and most else 0
        for endpoint_id, picks, takes_newcomers in zip(table.endpoint_ids, own, takes, strict=True)
        if endpoint_id
    }
