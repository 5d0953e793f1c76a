"""How far ahead we look."""

import numpy as np

from forestay.model.plan import FloatArray

HORIZONS_S: FloatArray = np.array([0.0, 1, 2, 4, 7, 11, 16, 22, 30])
"""Horizon points, seconds ahead: dense where loads change fastest, to 30 s as promised."""

HORIZONS = len(HORIZONS_S)
