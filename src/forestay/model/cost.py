"""What has been learned of the load that a connection brings."""

from collections.abc import Mapping
from dataclasses import dataclass

from forestay.model.plan import FloatArray


@dataclass(frozen=True, slots=True, eq=False)
class ConnectionCost:
    """Expected load of one connection: `scale[endpoint] * by_hint[hint] * by_age[bucket]`.

    Attributes:
        by_age: load of one connection in each age bucket of `forecasting.ages`, at scale 1, shape (ages,).
        by_hint: factor by hint; "" is for all hints that are not in it. Its mean over open connections is 1.
        per_accept: load-seconds of one accept, at scale 1.
        scale: one over capacity by endpoint id; geometric mean about 1.
    """

    by_age: FloatArray
    by_hint: Mapping[str, float]
    per_accept: float
    scale: Mapping[str, float]
