"""Quantiles of the recent error."""

import numpy as np
import pytest

from forestay.forecasting.calibration import LEVELS, Calibration, spread
from forestay.model.horizons import HORIZONS


def test_after_a_few_minutes_the_quantiles_are_those_of_the_errors() -> None:
    rng = np.random.default_rng(1)  # noqa: TID251 # a test is a caller
    calibration = Calibration()
    for _ in range(200):
        for horizon in range(HORIZONS):
            calibration.learn(horizon, rng.normal(0.02, 0.05, 16))
        calibration.refresh()
    errors = rng.normal(0.02, 0.05, 100_000)
    for quantiles in calibration.quantiles:
        coverage = (errors[:, None] <= quantiles).mean(0)
        assert coverage == pytest.approx(LEVELS, abs=0.05)


def test_a_change_of_the_error_is_followed() -> None:
    rng = np.random.default_rng(1)  # noqa: TID251 # a test is a caller
    calibration = Calibration()
    for scale in (0.2, 0.01):
        for _ in range(400):
            calibration.learn(4, rng.normal(0, scale, 16))
            calibration.refresh()
    assert np.ptp(calibration.quantiles[4]) < 0.1


def test_quantiles_ascend_with_their_level_from_the_beginning() -> None:
    assert (np.diff(Calibration().quantiles, axis=1) > 0).all()


def test_few_errors_change_nothing_yet() -> None:
    calibration = Calibration()
    before = calibration.quantiles.copy()
    calibration.learn(0, np.zeros(5))
    calibration.refresh()
    np.testing.assert_array_equal(calibration.quantiles, before)


def test_the_error_scale_grows_with_the_root_of_the_load_and_is_never_nothing() -> None:
    scale = spread(np.array([-0.1, 0.0, 0.25, 1.0]))
    assert scale[0] == scale[1] > 0
    assert scale[3] / scale[2] == pytest.approx(2.0, rel=0.1)
