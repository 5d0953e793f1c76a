"""Every field of a scenario: its name, unit, bounds and meaning, one class per TOML table.

A scenario says what the world is like, never what happens in it: that is drawn from a seed (`world`). The text under a
field is its documentation. Times are seconds of the run, loads are fractions of capacity.
"""

import math
import re
import tomllib
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from forestay.model.errors import InvalidInput

PACKAGED = resources.files("forestay.simulation") / "scenarios"


def _not_boolean(value: object) -> object:
    if isinstance(value, bool):
        raise ValueError("must be a number, not true or false")
    return value


Number = Annotated[float, BeforeValidator(_not_boolean), Field(allow_inf_nan=False)]
Seconds = Annotated[Number, Field(ge=0, le=86_400)]
Share = Annotated[Number, Field(ge=0, le=1)]
Factor = Annotated[Number, Field(ge=0, le=1000)]
Positive = Annotated[Number, Field(gt=0, le=1e6)]
Sigma = Annotated[Number, Field(ge=0, le=3)]


class Section(BaseModel):
    """A TOML table: unknown keys are errors, values never change."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


class Fleet(Section):
    """The servers."""

    servers: Annotated[int, BeforeValidator(_not_boolean), Field(ge=1, le=2000)] = 16
    """How many there are, those that join later included."""
    capacity_min: Positive = 0.6
    """Least capacity; capacities are drawn evenly on a logarithmic scale."""
    capacity_max: Positive = 2.0
    """Greatest capacity; equal to capacity_min: all servers are alike."""
    declared: bool = False
    """Whether the policy is told the capacities; else it has to learn them."""
    discipline: Literal["sharing", "fifo"] = "sharing"
    """"sharing": a busy server slows everybody down, work over capacity is lost. "fifo": such work waits, at most 10 s,
    and the reported load ends at 1."""
    request_s: Positive = 0.1
    """What one request takes on an idle server; only with "fifo", where a backlog is counted in multiples of it."""
    zones: Annotated[int, BeforeValidator(_not_boolean), Field(ge=0, le=100)] = 0
    """Zones that servers (in turn) and clients (at random) belong to; 0: none."""

    @model_validator(mode="after")
    def _ordered(self) -> "Fleet":
        if self.capacity_max < self.capacity_min:
            raise ValueError(f"capacity_max = {self.capacity_max:g} is under capacity_min: raise it")
        return self


class Traffic(Section):
    """Who connects, for how long, and what that costs."""

    connections: Annotated[Number, Field(ge=1, le=1e6)] = 1600
    """Connections open at once, mean over the run. Arrivals a second are this over duration_s."""
    load: Annotated[Number, Field(gt=0, le=2)] = 0.6
    """Mean utilisation of the whole fleet by everything: connections, accepts, background."""
    duration_s: Annotated[Number, Field(ge=0.05, le=86_400)] = 60.0
    """Mean life of a connection."""
    duration_sigma: Sigma = 1.0
    """Standard deviation of the logarithm of its life (lognormal)."""
    cost_sigma: Sigma = 0.6
    """Standard deviation of the logarithm of its cost (lognormal)."""
    cost_pareto: Annotated[Number, Field(ge=0, le=10)] = 0.0
    """Tail index of Pareto costs instead; 1.5 is heavy, 0: lognormal."""
    ramp_s: Seconds = 0.0
    """How long a connection takes to reach its full cost."""
    ramp_start: Share = 0.1
    """The share of its full cost that it starts with."""
    accept_share: Annotated[Number, Field(ge=0, le=0.9)] = 0.0
    """Part of all work of connections that goes into accepting them, spread over their first 0.3 s."""
    hints: bool = False
    """Whether the policy is told each connection's class."""
    retries: Annotated[int, BeforeValidator(_not_boolean), Field(ge=0, le=100)] = 3
    """How often a refused client comes back, each time when it was told to."""


class Class(Section):
    """Connections of one kind. Without classes there is one kind."""

    name: Annotated[str, Field(min_length=1, max_length=64)]
    """What the hint says where traffic.hints is on."""
    share: Annotated[Number, Field(gt=0, le=1)]
    """Part of all connections; shares are scaled to sum to 1."""
    cost: Annotated[Number, Field(gt=0, le=1000)] = 1.0
    """Its mean cost relative to the other classes."""
    duration: Annotated[Number, Field(gt=0, le=1000)] = 1.0
    """Its mean life relative to the other classes."""


class Tokens(Section):
    """LLM requests: the life of a connection follows from token counts instead of traffic.duration_s."""

    input_median: Positive = 1500.0
    """Tokens read, lognormal."""
    input_sigma: Sigma = 1.1
    """Standard deviation of their logarithm."""
    output_median: Positive = 12.0
    """Tokens written by the short answers, lognormal."""
    output_sigma: Sigma = 0.7
    """Standard deviation of their logarithm."""
    long_share: Share = 0.05
    """Part of the answers that are long."""
    long_median: Positive = 150.0
    """Tokens written by long answers, lognormal."""
    long_sigma: Sigma = 0.6
    """Standard deviation of their logarithm."""
    base_s: Seconds = 0.3
    """Seconds that any request takes."""
    seconds_per_input: Annotated[Number, Field(ge=0, le=10)] = 0.0002
    """Seconds per token read."""
    seconds_per_output: Annotated[Number, Field(ge=0, le=10)] = 0.05
    """Seconds per token written."""

    @property
    def mean_s(self) -> float:
        """Mean life."""
        read = self.input_median * math.exp(self.input_sigma**2 / 2)
        short = self.output_median * math.exp(self.output_sigma**2 / 2)
        long = self.long_median * math.exp(self.long_sigma**2 / 2)
        written = short + self.long_share * (long - short)
        return self.base_s + read * self.seconds_per_input + written * self.seconds_per_output


class Bursts(Section):
    """Arrivals more uneven than Poisson: the rate is multiplied by a random factor of mean 1 that keeps changing."""

    variance: Annotated[Number, Field(ge=0, le=50)] = 0.0
    """Of the factor, which is gamma distributed; 0: Poisson arrivals."""
    length_s: Annotated[Number, Field(ge=0.1, le=3600)] = 3.0
    """How long it stays the same, mean (exponential)."""


class Hot(Section):
    """Connections that suddenly cost a lot."""

    share: Share = 0.0
    """Part of the connections that ever get hot."""
    factor: Annotated[Number, Field(ge=1, le=1000)] = 10.0
    """Their cost while hot, over what it is else."""
    length_s: Annotated[Number, Field(gt=0, le=86_400)] = 20.0
    """How long they are hot; they get so at a random moment of their life."""


class Background(Section):
    """Work that is not of connections. Several tables add up."""

    kind: Literal["pulse", "sine", "random"]
    """"pulse": on for `duty` of each period. "sine": up and down. "random": pieces of work at random times."""
    share: Share = 0.6
    """Part of the servers that have it."""
    amplitude: Annotated[Number, Field(ge=0, le=1)] = 0.3
    """Utilisation while it is on (sine: at the top), varied by server or piece."""
    period_s: Annotated[Number, Field(ge=0.5, le=86_400)] = 60.0
    """Of "pulse" and "sine", varied by server by a tenth."""
    duty: Share = 0.33
    """Of "pulse"."""
    length_s: Annotated[Number, Field(gt=0, le=86_400)] = 12.0
    """Of a piece of "random" work, mean (exponential)."""
    every_s: Annotated[Number, Field(gt=0, le=86_400)] = 40.0
    """Pause between pieces of "random" work, mean (exponential)."""
    noise: Annotated[Number, Field(ge=0, le=0.5)] = 0.0
    """Of "random": level and standard deviation of utilisation that wanders with a memory of 20 s."""


class Surge(Section):
    """Arrivals at a multiple of their rate for a while, never within the cold start."""

    first_s: Seconds = 150.0
    """When the first one starts."""
    every_s: Seconds = 0.0
    """From one start to the next; 0: once."""
    length_s: Annotated[Number, Field(gt=0, le=86_400)] = 10.0
    """How long it lasts."""
    factor: Factor = 3.0
    """What it multiplies the arrival rate by."""
    announced_s: Seconds = 0.0
    """How long before the start the policy is told; 0: never."""

    def starts_s(self, first_s: float, end_s: float) -> list[float]:
        """When it starts within (first_s, end_s)."""
        if not self.every_s:
            return [self.first_s] if first_s < self.first_s < end_s else []
        skipped = max(math.floor((first_s - self.first_s) / self.every_s) + 1, 0)
        return [
            self.first_s + k * self.every_s for k in range(skipped, math.ceil((end_s - self.first_s) / self.every_s))
        ]


class Cycle(Section):
    """Time of day: a slow sine in the arrival rate."""

    period_s: Annotated[Number, Field(ge=10, le=864_000)] = 600.0
    """From peak to peak."""
    amplitude: Share = 0.0
    """Of the rate, relative to its mean."""


class Reports(Section):
    """What the policy hears of load."""

    interval_s: Annotated[int, BeforeValidator(_not_boolean), Field(ge=1, le=60)] = 1
    """Each report is the mean over this time; whole seconds."""
    delay_s: Annotated[Number, Field(ge=0, le=60)] = 1.0
    """Age on arrival, to 0.1 s."""
    noise: Annotated[Number, Field(ge=0, le=1)] = 0.02
    """Standard deviation of the error, relative to the load."""
    loss: Share = 0.0
    """Part of the reports that never arrive."""
    quantum: Annotated[Number, Field(ge=0, le=0.5)] = 0.0
    """Reported load is rounded to multiples of it; 0: exact."""


class Fault(Section):
    """Something that befalls servers. Several tables may be given."""

    kind: Literal["death", "degrade", "deploy", "join"]
    """"death": a server and its connections are gone; it is back, empty, after length_s. "degrade": its capacity falls
    to `factor` for length_s. "deploy": it drains, its clients reconnect over jitter_s, it is gone for length_s.
    "join": it only exists from first_s on."""
    first_s: Seconds = 180.0
    """When it happens first."""
    every_s: Seconds = 0.0
    """How long after that it befalls the next ones; 0: once. A "deploy" ends when all servers had their turn."""
    servers: Annotated[int, BeforeValidator(_not_boolean), Field(ge=1, le=1000)] = 1
    """How many servers at once."""
    length_s: Seconds = 60.0
    """How long it lasts; 0: for good. Of no meaning to "join"."""
    jitter_s: Seconds = 0.0
    """Its clients return spread evenly over this time."""
    detect_s: Seconds = 0.0
    """Until the policy is told of a death; meanwhile connects fail."""
    factor: Annotated[Number, Field(ge=0.05, le=1)] = 0.5
    """Of capacity, for "degrade"."""


class Memory(Section):
    """Memory that connections occupy. Over its limit a server pages: all work costs more."""

    load: Annotated[Number, Field(ge=0, le=2)] = 0.0
    """Mean share of all memory in use; 0: memory is no matter and not reported."""
    sigma: Sigma = 0.5
    """Standard deviation of the logarithm of a connection's memory."""
    size_min: Positive = 1.0
    """Least memory of a server, relative, drawn like capacities but on its own."""
    size_max: Positive = 1.0
    """Greatest memory of a server, relative."""

    @model_validator(mode="after")
    def _ordered(self) -> "Memory":
        if self.size_max < self.size_min:
            raise ValueError(f"size_max = {self.size_max:g} is under size_min: raise it")
        return self


class Replay(Section):
    """Recorded arrivals instead of drawn ones."""

    path: str = ""
    """CSV or parquet file, relative to the working directory; "": nothing is replayed. Its times may be in a column
    `time`, `t` or `timestamp`, in seconds from any origin."""
    copies: Annotated[int, BeforeValidator(_not_boolean), Field(ge=1, le=10_000)] = 1
    """How many shifted copies are laid over each other, each shifted at random."""
    base_s: Seconds = 0.3
    """Where token counts take the place of a column `duration`: seconds that any request takes."""
    seconds_per_input: Annotated[Number, Field(ge=0, le=10)] = 0.0002
    """Likewise, seconds per token of the column `in_tokens`."""
    seconds_per_output: Annotated[Number, Field(ge=0, le=10)] = 0.05
    """Likewise, seconds per token of the column `out_tokens`."""


class Candidate(Section):
    """Settings of the balancer under test, and how many of it there are."""

    overload: Literal["place", "queue"] = "place"
    """As of `BalancerSettings`."""
    pickers: Annotated[int, BeforeValidator(_not_boolean), Field(ge=1, le=1000)] = 1
    """Policies that place side by side and do not tell each other; each connection asks one of them."""


class Scenario(Section):
    """One world, of which every seed draws an instance."""

    name: Annotated[str, Field(min_length=1, max_length=200)]
    """Also a key of the draw: two names draw different worlds."""
    description: str = ""
    """One line: what is hard here."""
    minutes: Annotated[Number, Field(gt=0, le=1440)] = 20.0
    """Length of a run."""
    fleet: Fleet = Fleet()
    """How many servers, and what they are like."""
    traffic: Traffic = Traffic()
    """Who connects."""
    classes: tuple[Class, ...] = ()
    """Kinds of connections; none: all are alike but for chance."""
    tokens: Tokens | None = None
    """Lives of LLM requests; none: lognormal lives."""
    bursts: Bursts = Bursts()
    """Uneven arrivals."""
    hot: Hot = Hot()
    """Connections whose cost jumps for a while."""
    background: tuple[Background, ...] = ()
    """Work that is not of connections."""
    surges: tuple[Surge, ...] = ()
    """Times of many arrivals."""
    cycle: Cycle = Cycle()
    """Time of day."""
    reports: Reports = Reports()
    """How late, how exact and how often the policy hears of load."""
    faults: tuple[Fault, ...] = ()
    """What befalls servers."""
    memory: Memory = Memory()
    """Memory that connections occupy."""
    replay: Replay = Replay()
    """Recorded arrivals."""
    candidate: Candidate = Candidate()
    """Settings of the balancer under test."""

    @classmethod
    def parse(cls, text: str, name: str, source: str = "") -> "Scenario":
        """The scenario that a TOML text describes.

        Args:
            text: TOML.
            name: where the text gives none.
            source: file name for messages.

        Raises:
            InvalidInput: one line for each bad value, with its path and what it must be.
        """
        where = f"{source}: " if source else ""
        try:
            values: dict[str, Any] = tomllib.loads(text)
        except tomllib.TOMLDecodeError as error:
            raise InvalidInput(f"{where}not TOML: {error}") from error
        try:
            return cls.model_validate({"name": name} | values)
        except ValidationError as error:
            raise InvalidInput("\n".join(where + line for line in _problems(error))) from error

    @classmethod
    def load(cls, path: Path | str) -> "Scenario":
        """The scenario of a TOML file; it is called after the file where it gives no name.

        Raises:
            InvalidInput: if the file cannot be read or a value is bad.
        """
        path = Path(path)
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise InvalidInput(f"scenario {path}: cannot be read ({error}): name a TOML file") from error
        return cls.parse(text, path.stem, str(path))

    @classmethod
    def named(cls, name: str) -> "Scenario":
        """A scenario of the package. Raises InvalidInput, with the names that there are."""
        if name not in names():
            raise InvalidInput(f"scenario {name!r} is unknown: name a TOML file or one of {', '.join(names())}")
        return cls.parse((PACKAGED / f"{name}.toml").read_text(encoding="utf-8"), name, f"{name}.toml")


def names() -> tuple[str, ...]:
    """Names of the scenarios of the package, in order."""
    found = (file.name for file in PACKAGED.iterdir())
    return tuple(sorted(name.removesuffix(".toml") for name in found if name.endswith(".toml")))


def _problems(error: ValidationError) -> list[str]:
    lines = []
    for details in error.errors(include_url=False):
        path = ""
        for part in details["loc"]:
            path += f"[{part}]" if isinstance(part, int) else ("." if path else "") + part
        message = details["msg"].removeprefix("Value error, ")
        message = re.sub(r"^Input should be ", "must be ", message)
        if details["type"] == "extra_forbidden":
            message = "unknown field: remove it, or see the list of fields"
        value = details["input"]
        shown = f" = {value!r}" if isinstance(value, str | int | float) and details["type"] != "extra_forbidden" else ""
        lines.append(f"{path}{shown}: {message}" if path else message)
    return lines
