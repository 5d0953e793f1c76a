"""What happens in a run: the servers, the background job, the crash and the return. The same for every policy."""

from dataclasses import dataclass, replace
from typing import Literal

POLICIES = ("forecast", "least_connections", "random")
"""In the order they run; the first is ours."""

HANDSHAKE_MS = 8.0
"""CPU milliseconds of one accept and handshake: about two messages' worth, as a TLS handshake and a login would be."""

STORM_S = 5.0
"""How long after the kill, and after the return, accepts are counted as the storm's."""


@dataclass(frozen=True, slots=True)
class ServerSpec:
    """One server of the fleet: its name, its CPU budget in cores, and whether the background job runs beside it."""

    name: str
    budget: float
    has_job: bool = False


@dataclass(frozen=True, slots=True)
class Action:
    """Something that the demo does to a server at second `at_s` of the run."""

    at_s: float
    kind: Literal["job", "kill", "back"]
    server: str


@dataclass(frozen=True, slots=True)
class Scenario:
    """One run.

    Attributes:
        servers: the fleet; at most one core together, so that two cores also hold forestay, agents and clients.
        length_s: when the last client is sent home.
        killed: name of the server that dies.
        kill_at_s, back_at_s: when it gets its SIGKILL, and when it is started again on the same port.
        job_every_s, job_length_s, job_share, job_first_s: the background job asks for `job_share` of its server's
            budget for `job_length_s`, first at `job_first_s`, then every `job_every_s`.
    """

    servers: tuple[ServerSpec, ...]
    length_s: float
    killed: str
    kill_at_s: float
    back_at_s: float
    job_every_s: float = 12.0
    job_length_s: float = 3.0
    job_share: float = 0.5
    job_first_s: float = 6.0

    def actions(self) -> list[Action]:
        """Everything that happens, in order."""
        job = next(server.name for server in self.servers if server.has_job)
        jobs = int((self.length_s - self.job_first_s) / self.job_every_s) + 1
        actions = [Action(self.job_first_s + i * self.job_every_s, "job", job) for i in range(jobs)]
        actions += [Action(self.kill_at_s, "kill", self.killed), Action(self.back_at_s, "back", self.killed)]
        return sorted(actions, key=lambda action: action.at_s)


FULL = Scenario(
    servers=(
        ServerSpec("a", 0.12),
        ServerSpec("b", 0.18),
        ServerSpec("c", 0.25),
        ServerSpec("d", 0.30, has_job=True),
    ),
    length_s=60.0,
    killed="c",
    kill_at_s=26.0,
    back_at_s=36.0,
)
"""A minute: three of them, with what it takes to start and stop, stay under four minutes."""

QUICK = replace(FULL, length_s=30.0, kill_at_s=20.0, back_at_s=25.0)
"""The first half minute of the same arrivals, with an earlier crash."""
