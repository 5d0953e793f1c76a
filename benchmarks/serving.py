"""A real `forestay serve` for benchmarks: started, killed, started again over what it left, cleaned up in the end."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import psutil

from benchmarks.processes import STOP_S, BenchmarkFailed, child, end, free_port, kill_all, until

CLUSTER = "bench"
PAGE = 1000
WORKER = "forestay.dataplanes.relay.worker"


@dataclass(frozen=True, slots=True)
class Registered:
    """A connection as the API shows it.

    Attributes:
        client: address of the client's socket: by this, clients and registry can be compared.
    """

    id: str
    client: str


class Forestay:
    """`forestay serve`, and the directories by which its next life finds what this one leaves.

    Args:
        directory: for settings, state, sockets and log.
        endpoints: addresses of the servers.
        listeners: TOML of each listener by name, without `listen`: all are on 127.0.0.1, on ports chosen here.
        cluster: more TOML of the cluster.
        cpus: that the control process may use; empty: all.
        api_port: None: any.
    """

    def __init__(
        self,
        directory: Path,
        endpoints: Sequence[str],
        *,
        listeners: dict[str, str] | None = None,
        cluster: str = "",
        cpus: Iterable[int] = (),
        api_port: int | None = None,
    ) -> None:
        self.directory = directory
        self._endpoints, self._cluster, self._cpus = list(endpoints), cluster, tuple(cpus)
        self._listeners = listeners or {"public": ""}
        # Chosen here: every life of the process has to have the same.
        self._api = f"127.0.0.1:{api_port or free_port()}"
        self._ports = {name: free_port() for name in self._listeners}
        self._stack = ExitStack()
        self._process: subprocess.Popen[str] | None = None
        self._log_seen = 0
        directory.mkdir(parents=True, exist_ok=True)

    @property
    def pid(self) -> int:
        """Of the control process."""
        assert self._process is not None, "start() first"
        return self._process.pid

    def start(self, *, listeners: dict[str, str] | None = None) -> float:
        """Start it, with other settings of the same listeners if wanted; returns when it serves.

        Returns:
            Seconds from the start of the process to "serving".

        Raises:
            BenchmarkFailed: it does not come up; the message has the end of its log.
        """
        self._listeners = listeners or self._listeners
        settings = self.directory / "forestay.toml"
        settings.write_text(self._toml(), encoding="utf-8")
        started_s = time.monotonic()
        self._log_seen = self._log_path.stat().st_size if self._log_path.exists() else 0
        with self._log_path.open("ab") as log:
            command = [sys.executable, "-m", "forestay", "serve", "--config", settings]
            environment = {name: value for name, value in os.environ.items() if not name.startswith("FORESTAY_")}
            self._process = self._stack.enter_context(
                child(command, cpus=self._cpus, stdout=log, stderr=log, env=environment, cwd=self.directory)
            )
        self.await_log("serving")
        return time.monotonic() - started_s

    def address(self, listener: str = "public") -> tuple[str, int]:
        """Host and port of a listener."""
        return "127.0.0.1", self._ports[listener]

    def await_log(self, event: str) -> None:
        """Wait for a line of this life's log with this event."""

        def found() -> bool:
            if any(line.get("event") == event for line in self._log_lines()):
                return True
            if self._process is not None and self._process.poll() is not None:
                tail = "\n".join(self._log_path.read_text(encoding="utf-8", errors="replace").splitlines()[-20:])
                raise BenchmarkFailed(f"forestay ended with code {self._process.returncode}:\n{tail}")
            return False

        until(found, f"log line {event!r} of forestay (log: {self._log_path})")

    def mark_log(self) -> None:
        """Let `await_log` find later lines only."""
        self._log_seen = self._log_path.stat().st_size

    def signal(self, number: signal.Signals) -> None:
        """Send one to the control process."""
        assert self._process is not None, "start() first"
        self._process.send_signal(number)

    def kill(self) -> None:
        """SIGKILL the control process; its workers live on."""
        self.signal(signal.SIGKILL)
        self.wait()

    def wait(self) -> int:
        """Until the control process has ended: its exit code."""
        assert self._process is not None, "start() first"
        return self._process.wait(STOP_S)

    def workers(self, listener: str | None = None) -> list[psutil.Process]:
        """Relay workers, whichever life of the control process started them."""
        found = []
        for process in psutil.process_iter(["cmdline"]):
            arguments = process.info["cmdline"] or []
            ours = WORKER in arguments and any(str(self.directory) in argument for argument in arguments)
            if ours and (listener is None or json.loads(json.loads(arguments[-1])["spec"])["name"] == listener):
                found.append(process)
        return found

    def api(self, path: str) -> Any:
        """What the API answers.

        Raises:
            httpx.HTTPError: it does not.
        """
        response = httpx.get(f"http://{self._api}{path}", timeout=5.0, trust_env=False)
        response.raise_for_status()
        return response.json()

    def connections(self) -> list[Registered]:
        """All that are registered. Pages shift while connections come and go: exact only when they do not."""
        found: dict[str, Registered] = {}
        offset: int | None = 0
        while offset is not None:
            page = self.api(f"/v1/clusters/{CLUSTER}/connections?limit={PAGE}&offset={offset}")
            for one in page["connections"]:
                found[one["id"]] = Registered(one["id"], one["client"])
            offset = page["next_offset"]
        return list(found.values())

    def stop(self) -> None:
        """End everything: first the control process, or it would replace its workers."""
        if self._process is not None:
            end(self._process, signal.SIGKILL)
        kill_all([worker.pid for worker in self.workers()], lambda process: WORKER in process.cmdline())
        self._stack.close()

    @property
    def registry_path(self) -> Path:
        """The SQLite file."""
        return self.directory / "state" / "registry.sqlite"

    @property
    def _log_path(self) -> Path:
        return self.directory / "forestay.log"

    def _log_lines(self) -> list[dict[str, Any]]:
        lines = []
        with self._log_path.open(encoding="utf-8", errors="replace") as log:
            log.seek(self._log_seen)
            for text in log:
                try:
                    lines.append(json.loads(text))
                except ValueError:
                    continue  # a traceback of the interpreter, or half a line
        return lines

    def _toml(self) -> str:
        parts = [
            f'[service]\nlisten = "{self._api}"',
            f'[process]\nstate_dir = "{self.directory / "state"}"\nruntime_dir = "{self.directory / "run"}"',
            '[log]\nformat = "json"',
            f"[clusters.{CLUSTER}]\nendpoints = {json.dumps(self._endpoints)}\n{self._cluster}",
        ]
        for name, more in self._listeners.items():
            parts.append(f'[clusters.{CLUSTER}.listeners.{name}]\nlisten = "127.0.0.1:{self._ports[name]}"\n{more}')
        return "\n".join(parts) + "\n"


@contextmanager
def forestay(directory: Path, endpoints: Sequence[str], **options: Any) -> Iterator[Forestay]:
    """A `Forestay` that serves, and leaves no process behind."""
    running = Forestay(directory, endpoints, **options)
    try:
        running.start()
        yield running
    finally:
        running.stop()
