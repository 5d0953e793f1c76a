"""Randomness of the simulator: one generator for each concern of each world."""

import math
import zlib

import numpy as np

from forestay.model.plan import FloatArray


def generator(*key: str | int) -> np.random.Generator:
    """Randomness for one concern: the same key gives the same numbers in every process."""
    entropy = [part if isinstance(part, int) else zlib.crc32(part.encode()) for part in key]
    return np.random.default_rng(entropy)  # noqa: TID251 seeded by the key alone


def log_uniform(random: np.random.Generator, low: float, high: float, size: int) -> FloatArray:
    """Numbers in [low, high], evenly on a logarithmic scale, shape (size,)."""
    return np.exp(random.uniform(math.log(low), math.log(high), size))
