from pathlib import Path

import pytest

from forestay.demo.load import Books
from forestay.demo.plot import draw
from forestay.demo.records import ForecastSample, Run, ServerSample
from forestay.demo.scenario import FULL

pytest.importorskip("matplotlib")


@pytest.mark.parametrize("policies", [("forecast",), ("forecast", "least_connections", "random")])
def test_a_picture_is_drawn_of_any_number_of_policies(tmp_path: Path, policies: tuple[str, ...]) -> None:
    runs = [
        Run(
            policy,
            samples={
                spec.name: [ServerSample(at_s, 1.0, 0.5, 0.6, 10) for at_s in (1.0, 2.0, 8.0)] for spec in FULL.servers
            },
            books=Books(messages=[(1.0, 0.1, True), (2.0, 3.0, False)]),
            forecasts={"d": [ForecastSample(1.0, None, None), ForecastSample(2.0, 0.5, 0.6)]},
        )
        for policy in policies
    ]
    path = tmp_path / "picture.png"
    draw(runs, FULL, path)
    assert path.read_bytes().startswith(b"\x89PNG")
