"""The score of a forecast that is known, against loads that are known."""

from collections.abc import Callable

import numpy as np
import pytest

from forestay.control.shadow.skill import HORIZONS_S, Skill
from forestay.model.horizons import HORIZONS
from forestay.model.horizons import HORIZONS_S as POINTS_S
from forestay.model.plan import Forecast

ENDPOINTS = ("a", "b")


def forecast(load_at: Callable[[float], float], now_s: float, spread: float = 0.0) -> Forecast:
    """What somebody says who takes `load_at` for the future."""
    mean = np.array([[load_at(now_s + h) for h in POINTS_S]] * len(ENDPOINTS))
    return Forecast(
        endpoint_ids=ENDPOINTS,
        horizons_s=POINTS_S,
        mean=mean,
        errors=np.array([[-1.0, 1.0]] * HORIZONS),
        levels=np.array([0.1, 0.9]),
        spread=np.full(mean.shape, spread),
    )


def scored(truth: Callable[[float], float], said: Callable[[float], float], seconds: int, spread: float = 0.0) -> Skill:
    skill = Skill()
    for now_s in map(float, range(seconds)):
        reports = dict.fromkeys(ENDPOINTS, (now_s, truth(now_s)))
        skill.tick(now_s, forecast(said, now_s, spread), reports)
    return skill


def ramp(now_s: float) -> float:
    return 0.01 * now_s


def test_who_knows_the_future_has_all_the_skill_there_is() -> None:
    scores = scored(ramp, ramp, 60).scores()
    assert [score.horizon_s for score in scores] == list(HORIZONS_S)
    for score in scores:
        assert score.rmse == pytest.approx(0.0, abs=1e-9)
        assert score.rmse_last_value == pytest.approx(0.01 * score.horizon_s)
        assert score.ratio == pytest.approx(0.0, abs=1e-6)


def test_a_forecast_in_the_wrong_direction_is_worse_than_the_last_value() -> None:
    assert all(score.ratio > 1.5 for score in scored(ramp, lambda now_s: 2.0 - ramp(now_s), 60).scores())


def test_coverage_counts_outcomes_under_the_quantile() -> None:
    under = scored(ramp, lambda now_s: ramp(now_s) - 0.05, 60, spread=0.1).scores()
    over = scored(ramp, lambda now_s: ramp(now_s) - 0.15, 60, spread=0.1).scores()
    assert [score.covered for score in under] == [1.0, 1.0, 1.0]
    assert [score.covered for score in over] == [0.0, 0.0, 0.0]


def test_where_load_stands_still_there_is_no_ratio() -> None:
    assert all(np.isnan(score.ratio) for score in scored(lambda now_s: 0.5, lambda now_s: 0.5, 60).scores())


def test_a_horizon_without_an_outcome_has_no_score() -> None:
    assert [score.horizon_s for score in scored(ramp, ramp, 12).scores()] == [5.0]


def test_an_endpoint_that_falls_silent_is_not_scored() -> None:
    skill = Skill()
    for now_s in map(float, range(40)):
        reports = {"a": (now_s, ramp(now_s))} | ({"b": (now_s, 0.5)} if now_s < 10 else {})
        skill.tick(now_s, forecast(ramp, now_s), reports)
    five = skill.scores()[0]
    assert five.samples == pytest.approx(32 + 2, abs=4)  # b counts only while its outcome is known
    assert five.rmse_last_value == pytest.approx(0.05, rel=0.1)


def test_what_was_long_ago_fades() -> None:
    skill = Skill()
    for now_s in map(float, range(60)):
        skill.tick(now_s, forecast(lambda at_s: 1.0, now_s), dict.fromkeys(ENDPOINTS, (now_s, 0.0)))
    bad = skill.scores()[0].rmse
    for now_s in map(float, range(60, 3060)):
        skill.tick(now_s, forecast(lambda at_s: 0.0, now_s), dict.fromkeys(ENDPOINTS, (now_s, 0.0)))
    assert bad == pytest.approx(1.0)
    assert skill.scores()[0].rmse < 0.1
