import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest


@pytest.fixture(autouse=True)
def _no_process_is_left_behind(tmp_path: Path) -> Iterator[None]:
    """Relay workers outlive their control process by design, but not a test."""
    yield
    deadline_s = time.monotonic() + 5.0
    while (left := _processes_of(tmp_path)) and time.monotonic() < deadline_s:
        psutil.wait_procs(left, timeout=0.1)
    for process in left:
        process.kill()
    psutil.wait_procs(left, timeout=5.0)
    assert left == []


def _processes_of(directory: Path) -> list[psutil.Process]:
    return [
        process
        for process in psutil.process_iter(["cmdline"])
        if any(str(directory) in argument for argument in process.info["cmdline"] or ())
    ]
