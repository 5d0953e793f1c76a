"""Long runs of real processes: the fault runs of `benchmarks`, with what was asked of them as assertions."""

import resource
from collections.abc import Iterator, Sequence
from pathlib import Path

import psutil
import pytest

from benchmarks import crowds, fault_control, fault_server, handover
from benchmarks.verdicts import Verdict

pytestmark = [pytest.mark.soak, pytest.mark.process, pytest.mark.timeout(300)]


@pytest.fixture(autouse=True)
def _all_descriptors() -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.fixture(autouse=True)
def _no_process_is_left_behind(tmp_path: Path) -> Iterator[None]:
    yield
    processes = [(process.pid, process.info["cmdline"] or []) for process in psutil.process_iter(["cmdline"])]
    assert [pid for pid, command in processes if any(str(tmp_path) in argument for argument in command)] == []


def falling_short(verdicts: Sequence[Verdict]) -> list[str]:
    """What does not hold, with the figures."""
    return [f"{one.what}: asked {one.asked}, measured {one.measured}" for one in verdicts if one.holds is False]


def test_a_killed_control_process_costs_no_connection_and_no_registration(tmp_path: Path) -> None:
    result = fault_control.run(tmp_path, fault_control.Sizes())
    assert falling_short(result.verdicts()) == []


def test_clients_of_a_killed_server_go_elsewhere_without_a_herd(tmp_path: Path) -> None:
    result = fault_server.run(tmp_path, fault_server.Sizes())
    assert falling_short(result.verdicts()) == []


def test_ten_thousand_connections_are_held_and_their_memory_is_used_again(tmp_path: Path) -> None:
    result = crowds.run(tmp_path, crowds.Sizes())
    assert falling_short(result.verdicts()) == []


def test_restarts_of_the_relay_refuse_nobody_under_a_thousand_connections_a_second(tmp_path: Path) -> None:
    result = handover.run(tmp_path, handover.Sizes())
    assert falling_short(result.verdicts()) == []
