"""The processes of one run: four servers with an agent beside each, forestay in front, clients on the other side."""

import json
import socket
from collections.abc import Mapping, Sequence
from pathlib import Path

import httpx

from forestay.demo.children import Child, Children
from forestay.demo.scenario import HANDSHAKE_MS, Action, Scenario, ServerSpec
from forestay.demo.status import CLUSTER

START_S = 20.0
"""Longest time to come up: some two seconds on an idle machine, more on a busy one."""

CRON_TIMEOUT_S = 2.0
"""For requests to processes that answer in milliseconds unless something is wrong."""


class FleetServer:
    """One server of the fleet, its agent, and what is done to them."""

    def __init__(self, children: Children, spec: ServerSpec, directory: Path) -> None:
        self.spec = spec
        self.samples = directory / f"server-{spec.name}.jsonl"
        self._children = children
        self._api = ""
        self._agent: Child | None = None
        self._process = self._start_process(port=0)
        self._port = 0
        self.up = True

    @property
    def endpoint_id(self) -> str:
        """Its address, as forestay knows it; waits for the server to say its port where it has not yet."""
        if not self._port:
            self._port = self._process.wait_for(self._printed_port, START_S, "say its port")
        return f"127.0.0.1:{self._port}"

    def start_agent(self, api: str) -> None:
        """Start the agent beside it, which knows the budget."""
        self._api = api
        self._agent = self._children.start(
            f"agent-{self.spec.name}",
            *("forestay", "agent", "--to", f"http://{api}", "--cluster", CLUSTER, "--endpoint", self.endpoint_id),
            *("--pid", str(self._process.pid), "--cpu-budget", str(self.spec.budget)),
        )

    def kill(self) -> None:
        """SIGKILL it; its agent, which lives on the same machine, dies with it."""
        self._process.kill()
        if self._agent is not None:
            self._agent.kill()
        self.up = False

    def back(self) -> None:
        """Start it again on its old port, and the agent beside it if there was one."""
        self._process = self._start_process(self._port)
        if self._agent is not None:
            self.start_agent(self._api)
        self.up = True

    def run_job(self, length_s: float, share: float) -> None:
        """What cron would do: start the background job.

        Raises:
            ChildFailed: the server did not take it; without it the runs could not be compared.
        """
        url = f"http://{self.endpoint_id}/job"
        query = {"length_s": length_s, "share": share}
        try:
            httpx.get(url, params=query, timeout=CRON_TIMEOUT_S, trust_env=False).raise_for_status()
        except httpx.HTTPError as error:
            raise self._process.failure(f"did not take the background job ({error!r})") from None

    def _start_process(self, port: int) -> Child:
        return self._children.start(
            f"server-{self.spec.name}",
            *("forestay.demo.server", "--port", str(port), "--budget", str(self.spec.budget)),
            *("--handshake-ms", str(HANDSHAKE_MS), "--samples", str(self.samples)),
        )

    def _printed_port(self) -> int | None:
        for text in self._process.log.read_text(encoding="utf-8").splitlines(keepends=True):
            if text.startswith('{"port"') and text.endswith("\n"):
                return int(json.loads(text)["port"])
        return None


class Forestay:
    """`forestay serve` in front of some servers.

    Attributes:
        api, listen: addresses of its API and of its listener.
    """

    def __init__(
        self, children: Children, policy: str, servers: Sequence[FleetServer], directory: Path, runtime: Path, seed: int
    ) -> None:
        self.api, self.listen = _free_addresses(2)
        settings = directory / "forestay.toml"
        text = _toml(policy, servers, directory / "state", runtime, seed, self.api, self.listen)
        settings.write_text(text, encoding="utf-8")
        self._process = children.start("forestay", "forestay", "serve", "--config", str(settings))

    def wait_until_ready(self) -> None:
        """Return when it has made its first plan.

        Raises:
            ChildFailed: it has not in time.
        """
        self._process.wait_for(lambda: _answers(f"http://{self.api}/readyz"), START_S, "become ready")


def perform(action: Action, servers: Mapping[str, FleetServer], scenario: Scenario) -> None:
    """Do what the scenario says to a server."""
    server = servers[action.server]
    if action.kind == "kill":
        server.kill()
    elif action.kind == "back":
        server.back()
    elif server.up:
        server.run_job(scenario.job_length_s, scenario.job_share)


def _toml(
    policy: str, servers: Sequence[FleetServer], state: Path, runtime: Path, seed: int, api: str, listen: str
) -> str:
    """Settings of one run. No capacity is declared: every policy has to find out, or to do without.

    The peers place at once on any healthy server, as other balancers do: forestay's threshold and queue would be a help
    that they do not have.
    """
    overload = "queue" if policy == "forecast" else "place"
    endpoints = ", ".join(f'"{server.endpoint_id}"' for server in servers)
    return f"""\
[service]
listen = "{api}"
[process]
state_dir = {json.dumps(str(state))}
runtime_dir = {json.dumps(str(runtime))}
seed = {seed}
[clusters.{CLUSTER}]
policy = "{policy}"
balancer = {{ overload = "{overload}" }}
endpoints = [{endpoints}]
health = {{ type = "http", path = "/healthz" }}
[clusters.{CLUSTER}.listeners.public]
listen = "{listen}"
protocol = "http"
drain_s = 1.0
"""


def _free_addresses(count: int) -> list[str]:
    """Loopback addresses that nobody listens on: forestay wants its ports named before it starts."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    try:
        return [f"127.0.0.1:{each.getsockname()[1]}" for each in sockets]
    finally:
        for each in sockets:
            each.close()


def _answers(url: str) -> bool | None:
    try:
        return httpx.get(url, timeout=CRON_TIMEOUT_S, trust_env=False).is_success or None
    except httpx.TransportError:
        return None  # not there yet
