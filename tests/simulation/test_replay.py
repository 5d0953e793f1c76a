import builtins
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow
import pytest
from pyarrow import parquet

from forestay.model.errors import InvalidInput
from forestay.simulation.chance import generator
from forestay.simulation.replay import lay_over, read
from forestay.simulation.scenario import Replay, Scenario
from forestay.simulation.world import World


def recorded(path: Path, text: str) -> Replay:
    path.write_text(text, encoding="utf-8")
    return Replay(path=str(path))


@pytest.mark.parametrize("alias", ["time", "t", "timestamp"])
def test_times_start_at_zero_and_ascend_whatever_the_column_is_called(tmp_path: Path, alias: str) -> None:
    trace = read(recorded(tmp_path / "a.csv", f"{alias},duration\n107.5,2\n100,1\n103,4\n"))
    assert trace.time_s.tolist() == [0.0, 3.0, 7.5]
    assert trace.duration_s is not None
    assert trace.duration_s.tolist() == [1.0, 4.0, 2.0]
    assert trace.cost is None


def test_token_counts_stand_in_for_durations(tmp_path: Path) -> None:
    trace = read(recorded(tmp_path / "a.csv", "t,in_tokens,out_tokens\n0,1000,10\n5,2000,20\n"))
    assert trace.duration_s is not None
    assert trace.duration_s.tolist() == pytest.approx([0.3 + 0.2 + 0.5, 0.3 + 0.4 + 1.0])


def test_parquet_reads_as_csv_does(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    parquet.write_table(pyarrow.table({"t": [1.0, 3.0], "cost": [1, 2], "src": ["a", "b"]}), path)
    trace = read(Replay(path=str(path)))
    assert trace.time_s.tolist() == [0.0, 2.0]
    assert trace.cost is not None
    assert trace.cost.tolist() == [1.0, 2.0]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("when\n1\n2\n", "has no column time, t, timestamp"),
        ("time\n1\n", "two different times"),
        ("time,duration\n1,2\n2,0\n", "duration must hold positive numbers"),
        ("time\n1\nsoon\n", "line 3: time = 'soon': must be a number"),
        ("", "has no column"),
    ],
)
def test_a_bad_recording_is_refused_with_what_is_wrong(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(InvalidInput, match=said):
        read(recorded(tmp_path / "a.csv", text))


def test_a_missing_recording_is_named(tmp_path: Path) -> None:
    for name in ("absent.csv", "absent.parquet"):
        with pytest.raises(InvalidInput, match="cannot be read"):
            read(Replay(path=str(tmp_path / name)))


def test_parquet_without_pyarrow_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    imported = builtins.__import__

    def without(name: str, *rest: Any, **more: Any) -> Any:
        if name.startswith("pyarrow"):
            raise ImportError(name)
        return imported(name, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(InvalidInput, match=r"forestay\[traces\]"):
        read(Replay(path=str(tmp_path / "a.parquet")))


def test_copies_are_shifted_and_repeat_until_the_run_ends(tmp_path: Path) -> None:
    trace = read(recorded(tmp_path / "a.csv", "t\n" + "\n".join(str(k) for k in range(11))))
    time_s, row = lay_over(trace, 3, 25.0, generator("test"))
    assert np.all(np.diff(time_s) >= 0)
    assert time_s[-1] < 25.0
    assert len(time_s) == pytest.approx(3 * 25 * 1.1, rel=0.1)
    assert row.max() == 10


def test_a_world_takes_arrivals_from_the_recording_and_draws_the_rest(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("time\n" + "\n".join(str(k * 0.5) for k in range(400)), encoding="utf-8")
    scenario = Scenario.parse(f'minutes = 3.0\n[traffic]\nduration_s = 7.0\n[replay]\npath = "{path}"', "test")
    world = World.build(scenario, 0)
    assert len(world.connections.arrives_s) == pytest.approx(360, rel=0.02)
    assert world.connections.duration_s.mean() == pytest.approx(7.0, rel=0.3)
    assert world.rate_per_s[0] == pytest.approx(2.0, rel=0.01)
