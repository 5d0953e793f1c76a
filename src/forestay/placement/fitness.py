"""What one more connection costs an endpoint, over its whole predicted trajectory.

    price on i = sum_h w(h) * sqrt(exp(2 kappa u[i](h)) + exp(2 kappa level(h)))

w(h) is the load that the connection itself is expected to bring at h. The price is convex, so an endpoint that will be
busy later is dear now; a connection that will be gone by then ignores it. `level(h)` is where expected arrivals will
have filled the valleys of the forecast by h: below it, being idle is worth nothing, for it will not last. After each
placement u rises by the connection's own load, so the next pick sees it. Nothing is divided by capacity: u is.
"""

import numpy as np

from forestay.model.horizons import HORIZONS_S
from forestay.model.outlook import Outlook
from forestay.model.plan import BoolArray, FloatArray

KAPPA = 6.0
"""Steepness: .1 more load costs 1.8 times as much. Between 4 and 8 outcomes hardly differ."""
MIDDLE = 0.5
"""A newcomer is priced at the middle of the load it brings itself: for a convex price that is its cost on average over
the increment (midpoint rule), which matters where one connection is a large part of a server."""
HANDSHAKE_S = 0.25
"""How long the work of an accept lasts: two or three round trips of 20 to 80 ms with the work between them. Half or
twice of it changes outcomes little: shorter protects an empty endpoint more and fills it more slowly."""
SAMPLED_MAX = 1000
"""Endpoints, roughly, that the level is computed from."""
LOAD_CAP = 3.0
"""Loads are priced no higher: exp(2 * 6 * 3) is still far from overflow after thousands of placements."""
SPACING_S: FloatArray = np.append(HORIZONS_S[1:], HORIZONS_S[-1]) - np.insert(HORIZONS_S[:-1], 0, 0.0) + 0.5
"""Seconds each horizon point stands for in the price: to both neighbours, overlapping by half a second."""


def fill_level(load: FloatArray, capacity: FloatArray, arriving: FloatArray) -> FloatArray:
    """Load up to which arrivals will fill every endpoint, at each horizon: water filling.

    Args:
        load: predicted load, shape (horizons, endpoints).
        capacity: in the unit in which arrivals count 1 at scale 1; 0: takes nothing. Shape (endpoints,).
        arriving: load to be poured, at scale 1, shape (horizons,).

    Returns:
        Level, shape (horizons,): sum(capacity * max(level - load, 0)) = arriving.
    """
    total = float(capacity.sum())
    if total <= 0:
        return np.zeros(len(arriving))
    taking = np.flatnonzero(capacity > 0)
    taking = taking[:: 1 + len(taking) // SAMPLED_MAX]  # of thousands, some tell the level to within their spread
    load, capacity = load[:, taking], capacity[taking]
    arriving = arriving * (float(capacity.sum()) / total)
    total = float(capacity.sum())
    # Newton from above on a convex, piecewise linear function: monotone, and exact after a few steps.
    level = load.max(1) + arriving / total
    for _ in range(50):
        below = load < level[:, None]
        width = below @ capacity
        filled = level * width - (below * load) @ capacity
        step = np.where(width > 0, (filled - arriving) / np.maximum(width, 1e-12), 0.0)
        level = level - step
        if np.abs(step).max() < 1e-9:
            break
    return np.asarray(level, np.float64)


def increment(newcomer: FloatArray, handshake: float) -> FloatArray:
    """Load by which one placement raises an endpoint's price at each horizon, at scale 1, shape (horizons,).

    A placement's handshake counts at its full height, its work over its own duration, and not at its mean over the
    second: until the next table no price falls again, and placements of one moment must not pile their handshakes up
    on the endpoint that looks idle. That is what paces accepts, and what makes a slow start of an empty endpoint: as
    many as it can work off together for the price of another.

    Args:
        newcomer: load of one connection accepted now, shape (horizons,).
        handshake: load-seconds of its accept, which are in `newcomer[0]`.
    """
    load = newcomer.copy()
    load[0] += handshake * (1.0 / HANDSHAKE_S - 1.0)
    return load


def horizon_weights(newcomer: FloatArray) -> FloatArray:
    """Weight of each horizon point in the price, summing to 1: the connection's own expected load there."""
    weight = SPACING_S * np.maximum(newcomer, 1e-12)
    return np.asarray(weight / weight.sum(), np.float64)


def squared_prices(load: FloatArray) -> FloatArray:
    """exp(2 kappa load), capped; squared so that the soft maximum with the level needs one root only."""
    priced: FloatArray = np.exp(2 * KAPPA * np.minimum(load, LOAD_CAP))
    return priced


def squared_level(outlook: Outlook, takes_part: BoolArray) -> FloatArray:
    """The level's part in the price, shape (horizons,); 0 where nothing is expected to arrive."""
    capacity = np.where(takes_part, 1.0 / outlook.scale, 0.0)
    level = squared_prices(fill_level(outlook.present, capacity, outlook.arriving))
    return np.where(outlook.arriving > 0, level, 0.0)
