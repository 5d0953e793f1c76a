"""Population, survival and cost put together: the load that present and coming connections will be.

    present[i](h) = scale[i] * sum_k N[k, i] * S(h | age k) * theta(age k + h)

Existing load decays as it really does, and a connection that is cheap now and dear in ten seconds is seen as such.
"""

import numpy as np

from forestay.forecasting.ages import AGE_MID_S
from forestay.forecasting.cost import Cost
from forestay.forecasting.survival import Survival
from forestay.model.horizons import HORIZONS_S
from forestay.model.plan import FloatArray


def remaining(survival: Survival, cost: Cost) -> FloatArray:
    """Expected load at each horizon of one connection of each age, at scale 1, shape (horizons, ages)."""
    return np.stack([survival.staying(h) * cost.at_age(AGE_MID_S + h) for h in HORIZONS_S.tolist()])


def newcomer(survival: Survival, cost: Cost, relative: float = 1.0) -> FloatArray:
    """Expected load at each horizon of one connection accepted now, at scale 1, shape (horizons,).

    Args:
        survival: of its kind.
        cost: of connections.
        relative: cost of its kind beside the average.
    """
    load = relative * survival.from_birth(HORIZONS_S) * cost.at_age(HORIZONS_S + 0.25)
    load[0] += cost.per_accept
    return load


def arriving(survival: Survival, cost: Cost, rate_per_s: FloatArray) -> FloatArray:
    """Load at each horizon of all connections that arrive until then, handshakes left out, at scale 1.

    Args:
        survival: of connections.
        cost: of connections.
        rate_per_s: arrivals a second at whole seconds ahead, shape (31,).

    Returns:
        Shape (horizons,): load that all endpoints together would carry at scale 1.
    """
    ages = np.arange(0.5, HORIZONS_S[-1], 1.0)
    each = survival.from_birth(ages) * cost.at_age(ages)
    until = np.convolve(rate_per_s, each)[: len(ages)]  # load one second after each whole second
    load: FloatArray = np.interp(HORIZONS_S, np.arange(len(ages) + 1), np.concatenate([[0.0], until]))
    return load
