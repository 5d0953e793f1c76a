"""The live view: a table of load bars on a terminal, a plain line every few seconds elsewhere."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Literal

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from forestay.demo.scenario import ServerSpec
from forestay.demo.status import HORIZON_S, EndpointStatus

BAR_WIDTH, BAR_WIDTH_NARROW = 22, 9
"""Cells of a bar whose full length is load 1, on a terminal of at least `WIDE` columns and on a narrower one."""

WIDE = 106

LINE_EVERY_S = 5.0
"""Seconds between lines where there is no terminal."""

ServerState = Literal["up", "job", "down"]


@dataclass(frozen=True, slots=True)
class ServerView:
    """One server's row: who it is, what it is doing, what forestay says of it now and said `HORIZON_S` ago of now."""

    spec: ServerSpec
    state: ServerState
    status: EndpointStatus
    foretold: float | None


@dataclass(frozen=True, slots=True)
class Moment:
    """Everything on the screen.

    Attributes:
        policy: running now; `number` of `policies`, from 1.
        t_s: second of the run, of `length_s`.
        phase: of the arrivals.
        servers: the rows.
        placements_per_s, queued: forestay's.
        clients: the last progress line of the load generator.
    """

    policy: str
    number: int
    policies: int
    t_s: float
    length_s: float
    phase: str
    servers: tuple[ServerView, ...]
    placements_per_s: float
    queued: float
    clients: Mapping[str, float]


class View:
    """Shows moments; a context manager around the whole demo."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._live = Live(console=console, auto_refresh=False, transient=True) if console.is_terminal else None
        self._next_line_s = 0.0

    def __enter__(self) -> "View":
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._live.stop()

    def note(self, text: str) -> None:
        """Print a line that stays, above the live table."""
        self._console.print(text, highlight=False)

    def begin(self) -> None:
        """A new run: plain lines start over."""
        self._next_line_s = 0.0

    def show(self, moment: Moment) -> None:
        """Put a moment on the screen."""
        if self._live is not None:
            self._live.update(screen(moment, self._console.width), refresh=True)
        elif moment.t_s >= self._next_line_s:
            self._console.print(line(moment), highlight=False, soft_wrap=True)
            self._next_line_s = moment.t_s + LINE_EVERY_S


def screen(moment: Moment, width: int) -> RenderableType:
    """The moment as a table, for a terminal of `width` columns."""
    bar_width = BAR_WIDTH if width >= WIDE else BAR_WIDTH_NARROW
    head = Text.assemble(
        (f" {moment.policy} ", "bold reverse"),
        f"  run {moment.number} of {moment.policies}   second {max(0.0, moment.t_s):.0f} of {moment.length_s:.0f}   ",
        (moment.phase, "bold"),
    )
    rows = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for title in ("server", "cores", "load now", f"in {HORIZON_S} s", "foretold", "open", ""):
        rows.add_column(title, justify="right" if title in ("cores", "open") else "left", header_style="dim")
    for server in moment.servers:
        rows.add_row(
            server.spec.name,
            f"{server.spec.budget:.2f}",
            bar(server.status.load, bar_width),
            bar(server.status.predicted, bar_width),
            percent(server.foretold),
            str(server.status.connections),
            _state(server),
        )
    clients = moment.clients
    foot = Text(
        f"placements {moment.placements_per_s:.0f}/s   waiting {moment.queued:.0f}   "
        f"open {clients.get('open', 0):.0f}   answered {clients.get('answered', 0):.0f}   "
        f"p99 now {clients.get('latency_ms_p99', 0):.0f} ms   "
        f"refused {clients.get('refused', 0):.0f}   cut {clients.get('cut', 0):.0f}"
    )
    progress = ProgressBar(
        total=moment.policies * moment.length_s,
        completed=(moment.number - 1) * moment.length_s + min(max(0.0, moment.t_s), moment.length_s),
        width=min(80, width),
    )
    return Group(head, Text(), rows, Text(), foot, progress)


def line(moment: Moment) -> str:
    """The moment in one line: load now and, after the arrow, predicted."""
    loads = "  ".join(
        f"{server.spec.name} {'down' if server.state == 'down' else percent(server.status.load)}"
        f"->{percent(server.status.predicted)}"
        for server in moment.servers
    )
    clients = moment.clients
    return (
        f"{moment.policy} {max(0.0, moment.t_s):3.0f}/{moment.length_s:.0f} s  {moment.phase:<10}  {loads}  "
        f"open {clients.get('open', 0):.0f}  placed {moment.placements_per_s:.0f}/s  waiting {moment.queued:.0f}  "
        f"p99 {clients.get('latency_ms_p99', 0):.0f} ms  refused {clients.get('refused', 0):.0f}"
    )


def bar(load: float | None, width: int = BAR_WIDTH) -> Text:
    """A load as a bar and a number: green under 70 %, yellow under 95 %, red from there."""
    if load is None:
        return Text("-", style="dim")
    colour = "green" if load < 0.70 else "yellow" if load < 0.95 else "red"
    filled = min(width, round(width * load))
    return Text.assemble(("█" * filled, colour), ("·" * (width - filled), "dim"), f" {percent(load):>5}")


def percent(load: float | None) -> str:
    """A load for people."""
    return "-" if load is None else f"{100 * load:.0f}%"


def _state(server: ServerView) -> Text:
    if server.state == "down":
        return Text("killed", style="bold red")
    if server.state == "job":
        return Text("background job", style="magenta")
    return Text("") if server.status.eligible else Text("nothing new", style="yellow")
