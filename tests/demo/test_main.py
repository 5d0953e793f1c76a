"""The whole demo at small scale: real servers, agents, forestay and clients, a real SIGKILL."""

import io
import json
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
from rich.console import Console

from forestay.demo.main import run_demo
from forestay.demo.scenario import FULL
from forestay.model.errors import InvalidInput

SMALL = replace(FULL, length_s=8.0, kill_at_s=3.0, back_at_s=5.0, job_first_s=1.0, job_every_s=4.0, job_length_s=1.0)


@pytest.mark.process
def test_the_demo_plays_a_crash_and_a_return_and_leaves_figures_and_nothing_else(tmp_path: Path) -> None:
    before = set(psutil.Process().children(recursive=True))
    console = Console(file=io.StringIO(), width=120)
    figures_path = tmp_path / "figures.json"
    code = run_demo(
        scenario=SMALL,
        policies=("forecast", "random"),
        json_path=figures_path,
        results=tmp_path / "results",
        console=console,
    )
    text = console.file.getvalue()  # type: ignore[attr-defined]  # a StringIO, as made above
    assert code == 0, text
    assert "peak accepts/s per server, crash" in text
    results = json.loads(figures_path.read_text(encoding="utf-8"))["policies"]
    assert [result["policy"] for result in results] == ["forecast", "random"]
    assert results[0]["messages"] == results[1]["messages"] > 100
    # At random some are left behind, and many on a busy machine.
    for result, unanswered_max in zip(results, (0.2, 0.5), strict=True):
        assert result["cut"] > 0  # the crash reached clients through the relay
        assert result["unanswered"] < unanswered_max * result["messages"]
        assert 0.0 < result["latency_ms_p50"] < result["latency_ms_p99"] < 8000.0
    for name in ("server-a", "agent-c", "forestay", "load"):
        assert (tmp_path / "results" / "forecast" / f"{name}.log").exists()
    assert set(psutil.Process().children(recursive=True)) <= before


@pytest.mark.parametrize("option", ["json_path", "plot_path"])
def test_a_file_that_cannot_be_written_is_found_before_the_run(tmp_path: Path, option: str) -> None:
    with pytest.raises(InvalidInput, match="there is no directory"):
        run_demo(**{option: tmp_path / "nowhere" / "file"})  # type: ignore[arg-type]  # both are paths


def test_results_of_an_earlier_run_are_not_mixed_with_new_ones(tmp_path: Path) -> None:
    (tmp_path / "forecast").mkdir()
    with pytest.raises(InvalidInput, match="exists already"):
        run_demo(results=tmp_path)


@pytest.mark.process
def test_a_child_that_fails_ends_the_demo_with_its_log_and_code_1(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORESTAY_SERVICE__NONSENSE", "1")
    console = Console(file=io.StringIO(), width=120)
    assert run_demo(scenario=SMALL, results=tmp_path / "results", console=console) == 1
    text = console.file.getvalue()  # type: ignore[attr-defined]  # a StringIO, as made above
    assert "the demo failed: forestay ended with exit code 2" in text
    assert "nonsense" in text.lower()
