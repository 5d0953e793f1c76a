import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from forestay.simulation.scenario import names
from tests.waiting import until

from .conftest import Cli

SMALL = """
minutes = 0.5
description = "Three servers."
[fleet]
servers = 3
[traffic]
connections = 20
duration_s = 5.0
"""

QUICKLY = ("--minutes", "0.5", "--seeds", "2", "--jobs", "1", "--policies", "forestay,least_connections,random")


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache/forestay/simulations"


@pytest.fixture
def mine(tmp_path: Path) -> str:
    path = tmp_path / "mine.toml"
    path.write_text(SMALL)
    return str(path)


def test_the_list_names_every_scenario_and_policy(cli: Cli) -> None:
    shown = cli("simulate", "--list").stdout
    assert [name for name in (*names(), "forestay", "least_connections", "prequal") if f"{name} " not in shown] == []


def test_a_scenario_of_ones_own_is_compared_and_judged(cli: Cli, mine: str, tmp_path: Path) -> None:
    done = cli("simulate", mine, *QUICKLY, "--json", "figures.json")
    assert done.returncode == 0
    assert "mine, 2 seeds" in done.stdout
    data = json.loads((tmp_path / "figures.json").read_text())
    assert data["scenarios"][0]["candidate"] == "forestay"
    assert data["about"]["command"].startswith("forestay simulate ")
    assert len(data["runs"]) == 6


def test_a_second_time_it_is_read_from_the_cache(cli: Cli, mine: str, cache: Path) -> None:
    first = cli("simulate", mine, *QUICKLY)
    written_at = {path: path.read_bytes() for path in cache.iterdir()}
    assert len(written_at) == 6
    second = cli("simulate", mine, *QUICKLY)
    assert second.stdout == first.stdout
    assert {path: path.read_bytes() for path in cache.iterdir()} == written_at


def test_without_a_cache_nothing_is_kept(cli: Cli, mine: str, cache: Path) -> None:
    assert cli("simulate", mine, *QUICKLY, "--no-cache").returncode == 0
    assert not cache.exists()


def test_drawn_scenarios_are_others_for_other_numbers(cli: Cli) -> None:
    shown = [cli("simulate", "--random", "1", "--first", first, *QUICKLY).stdout for first in ("3", "4", "3")]
    assert shown[0] == shown[2] != shown[1]


def test_recorded_arrivals_are_replayed(cli: Cli, tmp_path: Path) -> None:
    recording = tmp_path / "monday.csv"
    recording.write_text("time,duration\n" + "".join(f"{at_s},3\n" for at_s in range(0, 60)))
    done = cli("simulate", "--trace", str(recording), *QUICKLY, "--json", "figures.json")
    assert done.returncode == 0
    assert "monday, 2 seeds" in done.stdout
    connections = {run["connections"] for run in json.loads((tmp_path / "figures.json").read_text())["runs"]}
    assert connections <= {29, 30, 31}  # one a second for half a minute, from a random moment on


def test_a_page_is_written(cli: Cli, mine: str, tmp_path: Path) -> None:
    assert cli("simulate", mine, *QUICKLY, "--html", "page.html").returncode == 0
    assert (tmp_path / "page.html").read_text().count("<svg") == 1


@pytest.mark.parametrize(
    ("arguments", "remedy"),
    [
        (("stedy",), "scenario 'stedy' is unknown: name a TOML file or one of "),
        (("none.toml",), "name a TOML file"),
        (("steady", "--policies", "forstay"), "policy 'forstay' is unknown: choose from forestay"),
        (("steady", "--json", "no/where.json"), "make it first"),
        (("steady", "--html", "no/where.html"), "make it first"),
        (("steady", "short", "--trace", "x.csv"), "--trace: name one scenario at most"),
        (("--trace", "none.csv"), "none.csv"),
        (("--first", "3"), "--first: say with --random N how many to draw"),
        (("steady", "--all"), "--all: leave out scenarios"),
    ],
)
def test_bad_input_exits_with_2_and_the_remedy_before_anything_runs(
    cli: Cli, cache: Path, arguments: tuple[str, ...], remedy: str
) -> None:
    done = cli("simulate", *arguments, "--jobs", "1")
    assert done.returncode == 2
    assert remedy in done.stderr
    assert not cache.exists()


def test_a_page_without_matplotlib_is_refused_before_anything_runs(
    cli: Cli, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    done = cli("simulate", "steady", "--html", "page.html")
    assert done.returncode == 2
    assert "--html needs matplotlib: pip install 'forestay[plots]'" in done.stderr
    assert not cache.exists()


def test_two_scenarios_of_one_name_are_not_mixed_up(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "steady.toml").write_text(SMALL)
    done = cli("simulate", "steady", "steady.toml")
    assert done.returncode == 2
    assert "scenario 'steady': given twice; give each another name" in done.stderr


def test_a_bad_value_in_a_scenario_is_named_with_its_file(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "bad.toml").write_text("[traffic]\nload = 7\n")
    done = cli("simulate", "bad.toml")
    assert done.returncode == 2
    assert "bad.toml: traffic.load = 7: must be" in done.stderr


@pytest.mark.process
@pytest.mark.parametrize(("number", "send"), [(signal.SIGINT, os.killpg), (signal.SIGTERM, os.kill)])
async def test_an_interruption_keeps_what_is_done_and_leaves_no_process(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, send: Callable[[int, int], None]
) -> None:
    """By Ctrl-C, which reaches all processes, and by SIGTERM to the one that was started."""
    monkeypatch.chdir(tmp_path)
    running = started(
        "simulate", "steady", "short", "--seeds", "50", "--minutes", "4", "--jobs", "2", "--policies", "random"
    )
    await until(lambda: len(list(cache.glob("*.json"))) >= 2 or running.poll() is not None, within_s=60.0)
    send(running.pid, number)
    assert running.wait(30) == 130
    shown = " ".join((tmp_path / "out").read_text().split())
    assert "interrupted; " in shown
    assert f"kept in {cache}: the same command goes on from there" in shown
    assert (tmp_path / "err").read_text() == ""
    await until(lambda: is_empty(running.pid))


def started(*arguments: str) -> "subprocess.Popen[bytes]":
    """The command in a process group of its own, its output in the files out and err."""
    with Path("out").open("w") as out, Path("err").open("w") as err:
        command = [sys.executable, "-m", "forestay", *arguments]
        return subprocess.Popen(command, stdout=out, stderr=err, start_new_session=True)


def is_empty(group: int) -> bool:
    """Whether no process of a group is left."""
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return True
    return False
