"""What is marked as runnable runs, and console blocks print lines of the form that the page shows."""

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.docs.pages import PAGES, Block, named, runnable_blocks

PYTHON = [(page, block) for page in PAGES for block in runnable_blocks(page) if block.language == "python"]
CONSOLE = [page for page in PAGES if any(block.language == "console" for block in runnable_blocks(page))]

PORTS = ("8080", "9900", "9001", "9002")
"""Ports of the pages, which the test replaces by free ones."""

TIMEOUT_S = 60.0


def test_there_is_something_to_run() -> None:
    assert len(PYTHON) >= 2
    assert CONSOLE


@pytest.mark.parametrize(("page", "block"), PYTHON, ids=[named(page) for page, _ in PYTHON])
def test_a_python_example_runs(page: Path, block: Block) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", block.text],
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.process
@pytest.mark.skipif(shutil.which("curl") is None, reason="the page uses curl")
@pytest.mark.parametrize("page", CONSOLE, ids=named)
def test_the_console_blocks_of_a_page_run_one_after_the_other(page: Path, tmp_path: Path) -> None:
    blocks = [block.text for block in runnable_blocks(page) if block.language == "console"]
    free = dict(zip(PORTS, free_ports(len(PORTS)), strict=True))
    text = re.sub(rf"(?<=:|\s)({'|'.join(PORTS)})\b", lambda match: str(free[match[1]]), "".join(blocks))
    commands = [line[2:] for line in text.splitlines() if line.startswith("$ ")]
    shown = [line for line in text.splitlines() if line.strip() and not line.startswith("$ ")]
    output = run("\n".join(["set -eu", *commands]), tmp_path, f"127.0.0.1:{free['9900']}")
    printed = shape(output)
    assert [line for line in shown if shape(line) not in printed] == [], output


def shape(text: str) -> str:
    """A text without what differs from run to run: numbers, ids, columns."""
    return " ".join(re.sub(r"\b[0-9a-f]{32}\b|-?\d+(?:\.\d+)?", "N", text).split())


def free_ports(count: int) -> list[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [opened.getsockname()[1] for opened in sockets]
    for opened in sockets:
        opened.close()
    return ports


def run(script: str, directory: Path, api: str) -> str:
    """Run a script as a reader would, in an empty directory; leaves no process behind."""
    ours = {name: value for name, value in os.environ.items() if not name.startswith(("FORESTAY_", "NOTIFY_"))}
    environment = {
        **ours,
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "COLUMNS": "120",
        "STATE_DIRECTORY": str(directory / "state"),
        "RUNTIME_DIRECTORY": str(directory / "run"),
        "FORESTAY_SERVICE__LISTEN": api,
        "FORESTAY_API": f"http://{api}",
    }
    output = directory / "output"
    with output.open("w") as out:
        shell = subprocess.Popen(
            ["bash", "-c", script], cwd=directory, env=environment, start_new_session=True,
            stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT,
        )  # fmt: skip
        try:
            returncode = shell.wait(TIMEOUT_S)
        except subprocess.TimeoutExpired:
            returncode = None
        finally:
            end_group(shell.pid)
            shell.wait()
    text = output.read_text()
    logs = "".join(f"\n== {log.name}\n{log.read_text()}" for log in sorted(directory.glob("*.log")))
    assert returncode == 0, f"exit code {returncode}\n{text}{logs}"
    return text


def end_group(group: int, within_s: float = 10.0) -> None:
    """Ask every process of the script to end, then make it."""
    deadline_s = time.monotonic() + within_s
    number = signal.SIGTERM
    while True:
        try:
            os.killpg(group, number)
        except ProcessLookupError:
            return
        if time.monotonic() > deadline_s:
            number = signal.SIGKILL
        time.sleep(0.05)  # polling: nobody tells when a process that is not our child has ended
