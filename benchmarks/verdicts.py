"""What was asked and what was measured, side by side, for people and as JSON."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

WIDTH = 118
"""Of tables where nobody looks at a terminal: wide enough for all of them."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """One line: asked / measured.

    Attributes:
        holds: None where nothing was asked, or a peer is not installed.
    """

    what: str
    asked: str
    measured: str
    holds: bool | None


def console() -> Console:
    """Where benchmarks print."""
    found = Console(highlight=False)
    return found if found.is_terminal else Console(highlight=False, width=WIDTH)


def print_verdicts(out: Console, verdicts: Sequence[Verdict]) -> None:
    """One row each."""
    table = Table("what", "asked", "measured", "", title="asked / measured", title_justify="left")
    for verdict in verdicts:
        word = {True: "[green]holds[/]", False: "[bold red]FALLS SHORT[/]", None: "[yellow]not judged[/]"}
        table.add_row(verdict.what, verdict.asked, verdict.measured, word[verdict.holds])
    out.print(table)


def write_json(path: Path | None, verdicts: Sequence[Verdict], **more: Any) -> None:
    """Everything that was printed, for programs."""
    if path is not None:
        data = {**more, "verdicts": [asdict(verdict) for verdict in verdicts]}
        path.write_text(json.dumps(data, indent=1) + "\n", encoding="utf-8")
