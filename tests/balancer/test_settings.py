"""Bad settings are named."""

import math

import pytest

from forestay import BalancerSettings, InvalidInput


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("threshold", 0.0),
        ("threshold", 1.1),
        ("load_max", 2.1),
        ("load_max", 0.5),  # under the threshold
        ("memory_max", 0.0),
        ("overload", "panic"),
        ("queue_max", -1),
        ("queue_deadline_s", -1.0),
        ("queue_deadline_s", math.nan),
        ("reservation_s", 0.0),
        ("prefer_factor", 0.9),
        ("stale_after_s", 1.0),
        ("stale_after_s", math.inf),
        ("pickers", 0),
        ("client_rate_per_s", -1.0),
        ("client_burst", 0),
    ],
)
def test_a_bad_value_is_named_with_what_it_must_be(field: str, value: object) -> None:
    with pytest.raises(InvalidInput, match=f"^{field} = .*must"):
        BalancerSettings(**{field: value})  # type: ignore[arg-type] # that is the point


def test_the_thresholds_may_be_equal() -> None:
    assert BalancerSettings(threshold=0.8, load_max=0.8).load_max == 0.8
