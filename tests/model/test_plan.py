"""Reading tables, forecasts and plans."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from forestay.model.plan import Forecast, Plan, Table

TABLE = Table(
    endpoint_ids=("dear", "cheap", "", "busy"),
    price=np.array([[9.0, 9.0], [1.0, 4.0], [1.0, 1.0], [0.0, 0.0]]),
    factor=np.full((4, 2), 2.0),
    weight=np.array([0.5, 0.5]),
    level=np.array([0.0, 0.0]),
    slots=np.array([1, 5, 0, 0]),
    paced=np.array([0, 0, 0, 2]),
)
FORECAST = Forecast(
    endpoint_ids=("a", "b"),
    horizons_s=np.array([0.0, 10.0, 30.0]),
    mean=np.array([[0.2, 0.4, 0.6], [0.5, 0.5, 0.1]]),
    errors=np.array([[-0.1, 0.0, 0.1], [-0.2, 0.0, 0.4], [-0.2, 0.0, 0.6]]),
    levels=np.array([0.1, 0.5, 0.9]),
    spread=np.array([[1.0, 1.0, 1.0], [0.5, 0.5, 0.5]]),
)


def test_the_pool_is_those_with_slots_fittest_first() -> None:
    plan = Plan(0.0, TABLE, FORECAST, weigh=lambda seconds: {})
    assert plan.pool == ("cheap", "dear")
    assert TABLE.eligible.tolist() == [True, True, False, False]
    assert TABLE.cost() == pytest.approx([3.0, 1.5, 1.0, 0.0])


def test_weights_are_computed_once_and_only_when_asked() -> None:
    asked = []

    def weigh(seconds: float) -> dict[str, int]:
        asked.append(True)
        return {"cheap": 1000}

    plan = Plan(0.0, TABLE, FORECAST, weigh)
    assert not asked
    assert plan.weights is plan.weights
    assert len(asked) == 1


@pytest.mark.parametrize(
    ("horizon_s", "expected"),
    [
        (0.0, (0.2, 0.5)),
        (5.0, (0.3, 0.5)),
        (10.0, (0.4, 0.5)),
        (20.0, (0.5, 0.3)),
        (30.0, (0.6, 0.1)),
        (99.0, (0.6, 0.1)),
    ],
)
def test_between_horizon_points_the_forecast_is_interpolated(horizon_s: float, expected: tuple[float, float]) -> None:
    assert tuple(FORECAST.at(horizon_s).values()) == pytest.approx(expected)


def test_a_quantile_is_the_mean_and_the_error_on_the_endpoints_own_scale() -> None:
    assert FORECAST.quantile(10.0, 0.9) == pytest.approx({"a": 0.8, "b": 0.7})
    assert FORECAST.quantile(20.0, 0.9) == pytest.approx({"a": 1.0, "b": 0.55})
    assert FORECAST.quantile(10.0, 0.5) == pytest.approx(FORECAST.at(10.0))


@given(horizon_s=st.floats(0.0, 30.0), low=st.floats(0.01, 0.99), high=st.floats(0.01, 0.99))
def test_quantiles_ascend_and_no_load_is_negative(horizon_s: float, low: float, high: float) -> None:
    low, high = sorted((low, high))
    for below, above in zip(
        FORECAST.quantile(horizon_s, low).values(), FORECAST.quantile(horizon_s, high).values(), strict=True
    ):
        assert 0 <= below <= above
