"""Periods: found where there are any, not found in noise."""

import numpy as np
import pytest

from forestay.forecasting.background import Periodicity
from forestay.model.plan import FloatArray

HEIGHT = 0.2
NOISE = 0.02


def square_wave(rounds: int, period: int, noise: FloatArray) -> FloatArray:
    """A job that runs a third of the time, shape (rounds,)."""
    return HEIGHT * (np.arange(rounds) % period < period / 3) + noise


def live(series: FloatArray, ahead: int = 5) -> tuple[Periodicity, FloatArray]:
    """Learn series of shape (rounds, endpoints); also the forecasts made `ahead` rounds before, same shape."""
    periodicity = Periodicity()
    periodicity.resize(series.shape[1])
    everybody = np.ones(series.shape[1], bool)
    forecasts = np.zeros_like(series)
    for number, residual in enumerate(series):
        periodicity.learn(residual, everybody)
        if number + ahead < len(series):
            forecasts[number + ahead] = periodicity.ahead(float(ahead))
    return periodicity, forecasts


@pytest.mark.parametrize("period", [17, 30, 60])
def test_a_job_of_a_fixed_period_is_found_and_forecast_better_than_by_the_last_value(period: int) -> None:
    rng = np.random.default_rng(period)  # noqa: TID251 # a test is a caller
    rounds, ahead = 8 * period + 100, 5
    series = np.stack([square_wave(rounds, period, rng.normal(0, NOISE, rounds)) for _ in range(4)], axis=1)
    periodicity, forecasts = live(series, ahead)
    assert (np.abs(periodicity.period - period) <= 1).all()
    assert (periodicity.gate > 0.5).all()
    truth, last = series[-3 * period :], series[-3 * period - ahead : -ahead]
    periodic = forecasts[-3 * period :] + series.mean(0)
    assert ((truth - periodic) ** 2).mean() < 0.4 * ((truth - last) ** 2).mean()


@pytest.mark.parametrize("wander", [0.0, 0.9, 0.98])
def test_noise_has_no_period_whether_it_is_white_or_wanders(wander: float) -> None:
    rng = np.random.default_rng(3)  # noqa: TID251 # a test is a caller
    series = rng.normal(0, 0.05, (500, 30))
    for number in range(1, len(series)):
        series[number] += wander * series[number - 1]
    _, forecasts = live(series)
    error = ((series[300:] - forecasts[300:]) ** 2).mean()
    assert error < 1.05 * (series[300:] ** 2).mean()
    if wander == 0.0:
        assert np.abs(forecasts).max() == 0.0


def test_a_job_that_stops_is_no_longer_believed() -> None:
    rng = np.random.default_rng(1)  # noqa: TID251 # a test is a caller
    series = square_wave(400, 30, rng.normal(0, NOISE, 400))
    stopped = np.concatenate([series, rng.normal(0, NOISE, 250)])[:, None]
    periodicity, _ = live(stopped)
    assert np.abs([periodicity.ahead(float(ahead))[0] for ahead in range(30)]).max() < 0.2 * HEIGHT


def test_another_endpoint_in_the_slot_has_no_period_yet() -> None:
    rng = np.random.default_rng(1)  # noqa: TID251 # a test is a caller
    series = square_wave(300, 30, rng.normal(0, NOISE, 300))
    periodicity, _ = live(np.stack([series, series], axis=1))
    periodicity.forget(0)
    periodic = np.array([periodicity.ahead(float(ahead)) for ahead in range(30)])
    assert np.abs(periodic[:, 0]).max() == 0.0
    assert np.abs(periodic[:, 1]).max() > 0.3 * HEIGHT
