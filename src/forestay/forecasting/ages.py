"""How old a connection is: the buckets in which connections are counted and their load is learned.

All matrices have the endpoint as their last axis, so that every operation runs along contiguous memory.
"""

import numpy as np

from forestay.model.plan import FloatArray

# fmt: off
AGE_EDGES_S: FloatArray = np.array([
    0, .25, .5, 1, 2, 3, 4, 5, 6, 8, 10, 13, 16, 20, 25, 30, 40, 50, 60, 80, 100, 130, 160, 200, 260, 330, 420, 540,
    700, 900, 1200, 1800, 3600, 1e5,
])
# fmt: on
"""Edges of the age buckets. Each is some 30 % older than the one before: hazards change on the scale of the age."""

AGES = len(AGE_EDGES_S) - 1
AGE_MID_S: FloatArray = np.minimum((AGE_EDGES_S[:-1] + AGE_EDGES_S[1:]) / 2, 4000.0)

COST_EDGES_S: FloatArray = np.array([0.0, 1, 3, 6, 10, 15, 22, 32, 60, 150, 1e5])
"""Load by age is learned in fewer buckets: each needs many reports to stand out of the noise."""

COSTS = len(COST_EDGES_S) - 1
COST_MID_S: FloatArray = np.array([0.5, 2, 4.5, 8, 12.5, 18.5, 27, 45, 100, 250])

AGE_OF_COST: FloatArray = np.zeros((COSTS, AGES))
AGE_OF_COST[np.searchsorted(COST_EDGES_S, AGE_MID_S, side="right") - 1, np.arange(AGES)] = 1.0
"""Sums age buckets into cost buckets: shape (costs, ages)."""
