"""What happens when a forecast goes wrong: the experts that are right take over."""

import numpy as np

from forestay.forecasting.ensemble import EXPERTS, Ensemble
from forestay.model.horizons import HORIZONS
from forestay.model.plan import FloatArray

ENDPOINTS = 8
SAMPLE = np.arange(ENDPOINTS)
EVERYBODY = np.ones(ENDPOINTS, bool)


def live(ensemble: Ensemble, rounds: range, base_of: float, load: FloatArray) -> None:
    """Seconds in which every endpoint reports `load` and the structural forecast says `base_of` for all horizons."""
    base = np.full((HORIZONS, ENDPOINTS), base_of)
    for now_s in rounds:
        ensemble.learn(load, EVERYBODY, SAMPLE, now_s - 0.5)
        expected = ensemble.forecast(base, load, EVERYBODY)
        ensemble.remember(base, expected, load, EVERYBODY, SAMPLE, float(now_s))


def test_a_structural_forecast_that_goes_wrong_loses_its_weight_and_the_last_value_remains() -> None:
    ensemble = Ensemble(ENDPOINTS)
    load = np.linspace(0.2, 0.6, ENDPOINTS)
    live(ensemble, range(1, 90), base_of=5.0, load=load)
    assert ensemble.weights[EXPERTS.index("structural")].max() < 0.01
    assert ensemble.weights[EXPERTS.index("last_value")].min() > 0.2
    expected = ensemble.forecast(np.full((HORIZONS, ENDPOINTS), 5.0), load, EVERYBODY)
    assert np.abs(expected - load).max() < 0.1


def test_no_expert_is_ever_given_up_for_good() -> None:
    ensemble = Ensemble(ENDPOINTS)
    live(ensemble, range(1, 300), base_of=5.0, load=np.full(ENDPOINTS, 0.4))
    assert ensemble.weights.min() > 0.001
    np.testing.assert_allclose(ensemble.weights.sum(axis=0), 1.0)
