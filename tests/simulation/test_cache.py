import os
import time
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest

from forestay.simulation.cache import UNUSED_MAX_S, Cache, cache_key
from forestay.simulation.outcome import Series
from tests.simulation.outcomes import outcome


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    return Cache(tmp_path / "simulations")


def test_an_outcome_is_read_as_it_was_written(cache: Cache) -> None:
    written = outcome("forestay", 2.345678901234)
    cache.write("k", written)
    read = cache.read("k")
    assert read is not None
    assert repr(asdict(read)) == repr(asdict(written))  # NaN is not equal to itself


def test_what_nobody_wrote_is_not_there(cache: Cache) -> None:
    assert cache.read("k") is None


def test_load_over_time_is_kept_if_it_is_given(cache: Cache) -> None:
    series = Series(np.array([0.5, 1.5]), np.array([[0.25, np.nan], [0.5, 0.75]]))
    cache.write("k", replace(outcome("forestay", 2.0), series=series))
    read = cache.read("k", series=True)
    assert read is not None
    assert read.series is not None
    np.testing.assert_array_equal(read.series.load, series.load)
    np.testing.assert_array_equal(read.series.times_s, series.times_s)


def test_an_outcome_without_the_series_that_is_asked_for_does_not_do(cache: Cache) -> None:
    cache.write("k", outcome("forestay", 2.0))
    assert cache.read("k", series=True) is None
    assert cache.read("k") is not None


@pytest.mark.parametrize(
    "content", ["", '{"half": ', "[]", "{}", '{"series": null, "delay_quantiles": [], "cold": {}}']
)
def test_a_damaged_file_counts_as_nothing_and_is_replaced(cache: Cache, content: str) -> None:
    cache.write("k", outcome("forestay", 2.0))
    (cache.directory / "k.json").write_text(content)
    assert cache.read("k") is None
    cache.write("k", outcome("forestay", 3.0))
    read = cache.read("k")
    assert read is not None
    assert read.delay == 3.0


def test_nothing_is_left_by_halves(cache: Cache) -> None:
    cache.write("k", outcome("forestay", 2.0))
    assert [path.name for path in cache.directory.iterdir()] == ["k.json"]


def test_what_is_not_used_for_long_is_pruned_and_what_is_used_stays(cache: Cache) -> None:
    long_ago_s = time.time() - UNUSED_MAX_S - 1  # noqa: TID251 - the clock of files
    for key in ("used", "unused"):
        cache.write(key, outcome("forestay", 2.0))
        os.utime(cache.directory / f"{key}.json", (long_ago_s, long_ago_s))
    cache.read("used")
    cache.prune()
    assert [path.name for path in cache.directory.iterdir()] == ["used.json"]


def test_keys_differ_if_anything_does() -> None:
    assert len({cache_key("a", 1), cache_key("a", 2), cache_key("b", 1), cache_key("a", "1"), cache_key("a1")}) == 5
    assert cache_key("a", 1) == cache_key("a", 1)
