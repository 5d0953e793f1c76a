"""One run: the arrivals under one policy, with everything that the scenario does to the servers meanwhile."""

import json
import math
import tempfile
import time
from collections import deque
from collections.abc import Callable, Mapping
from pathlib import Path

from forestay.demo.arrivals import phase
from forestay.demo.children import Child, Children
from forestay.demo.fleet import START_S, FleetServer, Forestay, perform
from forestay.demo.records import ForecastSample, Run, ServerSample, read_books, read_samples
from forestay.demo.scenario import Scenario
from forestay.demo.status import HORIZON_S, EndpointStatus, Status, StatusClient
from forestay.demo.view import Moment, ServerView

STEP_S = 0.05
"""How often the timetable is looked at."""

LOOK_S = 0.5
"""How often forestay is asked and the view is renewed."""

LEAD_S = 1.0
"""Between the load generator's start and second 0: Python's own start and the parsing of the arrivals."""

LAST_WORDS_S = 10.0
"""For the load generator to send everybody home and write its books."""

Show = Callable[[Moment], None]


def run_policy(
    policy: str,
    scenario: Scenario,
    arrivals: Path,
    directory: Path,
    seed: int,
    show: Show,
    turn: tuple[int, int] = (1, 1),
) -> Run:
    """Play the scenario under one policy; logs and records go to `directory`, which is made.

    Raises:
        ChildFailed: a process ended unasked or never came up.
    """
    directory.mkdir(parents=True)
    # Not under `directory`: the path of a Unix socket is at most 108 bytes long.
    with tempfile.TemporaryDirectory(prefix="forestay-") as runtime, Children(directory, runtime) as children:
        servers = {spec.name: FleetServer(children, spec, directory) for spec in scenario.servers}
        forestay = Forestay(children, policy, list(servers.values()), directory, Path(runtime), seed)
        for server in servers.values():
            server.start_agent(forestay.api)
        forestay.wait_until_ready()
        with StatusClient(forestay.api) as status:
            _wait_for_reports(status, servers, children)
            start_at_s = math.ceil(time.monotonic() + LEAD_S)  # servers sample at whole seconds
            books = directory / "books.json"
            clients = children.start(
                "load",
                *("forestay.demo.load", "--target", forestay.listen, "--arrivals", str(arrivals), "--out", str(books)),
                *("--start-at-s", str(start_at_s), "--length-s", str(scenario.length_s), "--seed", str(seed)),
            )
            stage = Stage(scenario, servers, status, clients, start_at_s)
            stage.play(children, lambda: show(stage.moment(policy, turn)))
            clients.finish(LAST_WORDS_S)
    samples = {name: _samples(server, start_at_s, scenario.length_s) for name, server in servers.items()}
    return Run(policy, samples, read_books(books), stage.forecasts)


class Stage:
    """A run in progress: follows the timetable, and remembers what forestay said."""

    def __init__(
        self,
        scenario: Scenario,
        servers: Mapping[str, FleetServer],
        status: StatusClient,
        clients: Child,
        start_at_s: float,
    ) -> None:
        self.forecasts: dict[str, list[ForecastSample]] = {name: [] for name in servers}
        self._scenario = scenario
        self._servers = servers
        self._client = status
        self._clients = clients
        self._start_at_s = start_at_s
        self._status = Status()
        self._placements_per_s = 0.0
        self._looked_at_s = self._answered_at_s = 0.0
        self._job_until_s = 0.0

    @property
    def t_s(self) -> float:
        """Seconds from the start of the run; negative before it."""
        return time.monotonic() - self._start_at_s

    def play(self, children: Children, show: Callable[[], None]) -> None:
        """Do what the scenario says until the end of the run; calls `show` whenever there is something new to see."""
        actions = deque(self._scenario.actions())
        while self.t_s < self._scenario.length_s:
            children.check()
            while actions and actions[0].at_s <= self.t_s:
                action = actions.popleft()
                perform(action, self._servers, self._scenario)
                if action.kind == "job":
                    self._job_until_s = action.at_s + self._scenario.job_length_s
            if self.t_s >= self._looked_at_s + LOOK_S:
                self._look()
                show()
            time.sleep(STEP_S)

    def moment(self, policy: str, turn: tuple[int, int]) -> Moment:
        """What there is to see now."""
        number, policies = turn
        return Moment(
            policy=policy,
            number=number,
            policies=policies,
            t_s=self.t_s,
            length_s=self._scenario.length_s,
            phase=phase(max(0.0, self.t_s))[1],
            servers=tuple(self._server_view(server) for server in self._servers.values()),
            placements_per_s=self._placements_per_s,
            queued=self._status.queued,
            clients=_last_line(self._clients),
        )

    def _look(self) -> None:
        """Ask forestay; without an answer the last one stays."""
        self._looked_at_s = now_s = self.t_s
        status = self._client.status()
        if status is None:
            return
        self._placements_per_s = (status.placements - self._status.placements) / (now_s - self._answered_at_s)
        self._answered_at_s, self._status = now_s, status
        for name, server in self._servers.items():
            said = status.endpoints.get(server.endpoint_id, EndpointStatus())
            self.forecasts[name].append(ForecastSample(now_s, said.load, said.predicted))

    def _server_view(self, server: FleetServer) -> ServerView:
        busy = server.spec.has_job and self.t_s < self._job_until_s
        before_s = self.t_s - HORIZON_S
        foretold = [said.predicted for said in self.forecasts[server.spec.name] if said.at_s <= before_s]
        return ServerView(
            spec=server.spec,
            state="job" if busy else "up" if server.up else "down",
            status=self._status.endpoints.get(server.endpoint_id, EndpointStatus()),
            foretold=foretold[-1] if foretold else None,
        )


def _wait_for_reports(client: StatusClient, servers: Mapping[str, FleetServer], children: Children) -> None:
    """Return when every agent has been heard: no policy starts blind.

    Raises:
        ChildFailed: they are not heard in time.
    """
    wanted = {server.endpoint_id for server in servers.values()}
    deadline_s = time.monotonic() + START_S
    while True:
        children.check()
        status = client.status() or Status()
        silent = sorted(wanted - {name for name, said in status.endpoints.items() if said.load is not None})
        if not silent:
            return
        if time.monotonic() > deadline_s:
            raise children.failure(f"no load reports from {', '.join(silent)} within {START_S:g} s", "agent-")
        time.sleep(STEP_S)


def _samples(server: FleetServer, start_at_s: float, length_s: float) -> list[ServerSample]:
    with server.samples.open(encoding="utf-8") as lines:
        return read_samples(lines, server.spec.budget, start_at_s, length_s)


def _last_line(clients: Child) -> Mapping[str, float]:
    """The load generator's last progress line; empty before the first."""
    for text in reversed(clients.log.read_text(encoding="utf-8").splitlines(keepends=True)):
        if text.startswith("{") and text.endswith("}\n"):
            line: dict[str, float] = json.loads(text)
            return line
    return {}
