"""A base forecast that is wrong in a way that its features tell."""

import numpy as np
import pytest

from forestay.forecasting.correction import OnlineRidge
from forestay.model.horizons import HORIZONS
from forestay.model.plan import FloatArray

SAMPLE = 8
EVERYBODY = np.ones(SAMPLE, bool)
PRIOR = np.array([0.5, 0.0])


def learned(true_weights: FloatArray, rounds: int, *, fresh: bool = True) -> OnlineRidge:
    """The base is 0.3; the truth is that and `true_weights` . features, at every horizon."""
    rng = np.random.default_rng(1)  # noqa: TID251 # a test is a caller
    ridge = OnlineRidge(PRIOR, 60.0)
    features = rng.normal(0, 0.1, (rounds, len(PRIOR), SAMPLE))
    for now in range(rounds):
        if fresh:
            # The features that count now are those of the moment that each horizon was forecast from.
            truth = 0.3 + true_weights @ features[now]
            ridge.learn(truth, EVERYBODY, now - 0.5)  # reports are a little old
        ridge.remember(
            float(now), np.full((HORIZONS, SAMPLE), 0.3), np.tile(features[now], (HORIZONS, 1, 1)), EVERYBODY
        )
    return ridge


def test_weights_are_the_prior_until_something_is_learned() -> None:
    np.testing.assert_allclose(learned(np.zeros(2), 50, fresh=False).weights, np.tile(PRIOR, (HORIZONS, 1)))


def test_what_the_features_say_about_the_error_is_learned() -> None:
    rng = np.random.default_rng(2)  # noqa: TID251 # a test is a caller
    ridge, feature = OnlineRidge(PRIOR, 60.0), rng.normal(0, 0.1, (len(PRIOR), SAMPLE))
    for now in range(600):
        ridge.learn(0.3 + np.array([0.2, -0.7]) @ feature, EVERYBODY, now - 0.5)  # a feature that lasts is that of then
        if now % 40 == 0:
            feature = rng.normal(0, 0.1, (len(PRIOR), SAMPLE))
            ridge.forget_past()
        ridge.remember(float(now), np.full((HORIZONS, SAMPLE), 0.3), np.tile(feature, (HORIZONS, 1, 1)), EVERYBODY)
    assert ridge.weights == pytest.approx(np.tile([0.2, -0.7], (HORIZONS, 1)), abs=0.05)


def test_features_that_say_nothing_lose_their_weight() -> None:
    ridge = learned(np.zeros(2), 500)
    assert np.abs(ridge.weights[1:]).max() < 0.2  # of another second's features: nothing but noise


def test_endpoints_that_did_not_report_teach_nothing() -> None:
    ridge = OnlineRidge(PRIOR, 60.0)
    nobody = np.zeros(SAMPLE, bool)
    for now in range(50):
        ridge.learn(np.full(SAMPLE, np.nan), nobody, float(now))
        ridge.remember(float(now), np.zeros((HORIZONS, SAMPLE)), np.ones((HORIZONS, 2, SAMPLE)), nobody)
    np.testing.assert_allclose(ridge.weights, np.tile(PRIOR, (HORIZONS, 1)))
