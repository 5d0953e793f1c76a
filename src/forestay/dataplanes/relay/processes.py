"""Worker processes as the control process holds them: started, watched, ended; its own children or an earlier life's.

A pidfd tells of the end of any process, child or not, without signals or polling.
"""

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

from forestay.dataplanes.relay.worker import WorkerConfig

MODULE = "forestay.dataplanes.relay.worker"
LOG_TAIL = 2000


class WorkerProcess:
    """One worker process.

    Args:
        pid: of a process that exists.
        on_exit: called once, on the event loop, when it has ended.
        child: the process if this one started it, to collect its status.
    """

    def __init__(self, pid: int, on_exit: Callable[[], None], child: "subprocess.Popen[bytes] | None" = None) -> None:
        self.pid, self._child, self._on_exit = pid, child, on_exit
        self._pidfd: int | None = os.pidfd_open(pid)
        asyncio.get_running_loop().add_reader(self._pidfd, self._ended)

    @property
    def is_child(self) -> bool:
        """Whether this process started it."""
        return self._child is not None

    def terminate(self) -> None:
        """Ask it to drain."""
        self._signal(signal.SIGTERM)

    def kill(self) -> None:
        """End it now."""
        self._signal(signal.SIGKILL)

    def forget(self) -> None:
        """Stop watching; the process goes on."""
        if self._pidfd is not None:
            asyncio.get_running_loop().remove_reader(self._pidfd)
            os.close(self._pidfd)
            self._pidfd = None
        if self._child is not None and self._child.poll() is None:
            self._child.returncode = 0  # leaving it running is on purpose: no ResourceWarning

    def _signal(self, number: signal.Signals) -> None:
        if self._pidfd is not None:
            with contextlib.suppress(ProcessLookupError):  # it has ended: `on_exit` is on the way
                signal.pidfd_send_signal(self._pidfd, number)

    def _ended(self) -> None:
        if self._child is not None:
            self._child.wait()
        else:  # perhaps a child after all: of a plane that this process had before
            with contextlib.suppress(ChildProcessError):
                os.waitpid(self.pid, os.WNOHANG)
        self.forget()
        self._on_exit()


def start(config: WorkerConfig, log_path: Path, on_exit: Callable[[], None]) -> WorkerProcess:
    """Start a worker in a session of its own, so that nothing that ends this process group ends it.

    Args:
        config: its command line; `config.listener` is inherited.
        log_path: where its standard error goes: a pipe to this process would end with it.
        on_exit: see `WorkerProcess`.
    """
    environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
    with open(os.open(log_path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as log:
        child = subprocess.Popen(
            [sys.executable, "-m", MODULE, json.dumps(asdict(config))],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=log,
            pass_fds=[config.listener],
            start_new_session=True,
            env=environment,
        )
    return WorkerProcess(child.pid, on_exit, child)


def is_worker(pid: int, control: str) -> bool:
    """Whether a process is a relay worker that belongs to the control socket `control`."""
    try:
        command = Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False
    return MODULE.encode() in command and json.dumps(control).encode() in command


def last_words(log_path: Path) -> str:
    """The end of what a worker wrote to its standard error."""
    try:
        return log_path.read_text(errors="replace")[-LOG_TAIL:].strip()
    except OSError:
        return ""
