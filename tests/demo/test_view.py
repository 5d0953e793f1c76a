import io

import pytest
from rich.console import Console

from forestay.demo.scenario import FULL
from forestay.demo.status import EndpointStatus
from forestay.demo.view import Moment, ServerState, ServerView, View, bar, screen

STATES: tuple[ServerState, ...] = ("up", "up", "down", "job")


def moment(t_s: float = 12.0, load: float | None = 0.5) -> Moment:
    return Moment(
        policy="forecast",
        number=1,
        policies=3,
        t_s=t_s,
        length_s=60.0,
        phase="burst",
        servers=tuple(
            ServerView(spec, state, EndpointStatus(load, 0.8, 17, eligible=spec.name != "a"), foretold=0.4)
            for spec, state in zip(FULL.servers, STATES, strict=True)
        ),
        placements_per_s=11.0,
        queued=2.0,
        clients={"open": 140, "latency_ms_p99": 321.0, "refused": 1},
    )


def shown(*moments: Moment, terminal: bool) -> str:
    console = Console(file=io.StringIO(), force_terminal=terminal, width=140)
    with View(console) as view:
        view.begin()
        for each in moments:
            view.show(each)
    return str(console.file.getvalue())  # type: ignore[attr-defined]  # a StringIO, as made above


def test_a_terminal_shows_bars_states_and_what_was_foretold() -> None:
    text = shown(moment(), terminal=True)
    for word in ("forecast", "burst", "50%", "80%", "40%", "killed", "background job", "nothing new", "321 ms"):
        assert word in text
    assert "█" in text


@pytest.mark.parametrize("width", [80, 110, 200])
def test_every_row_of_the_table_fits_into_a_line(width: int) -> None:
    console = Console(file=io.StringIO(), width=width)
    console.print(screen(moment(), console.width))
    rows = str(console.file.getvalue()).splitlines()  # type: ignore[attr-defined]  # a StringIO, as made above
    assert [row.split()[0] for row in rows[3:7]] == ["a", "b", "c", "d"]
    assert all("50%" in row and "80%" in row and "40%" in row for row in rows[3:7])


def test_elsewhere_there_is_a_plain_line_every_five_seconds() -> None:
    text = shown(*(moment(t_s) for t_s in (-0.5, 0.0, 2.0, 4.4, 4.6, 9.0)), terminal=False)
    assert len(text.splitlines()) == 2
    assert "\x1b" not in text
    assert "a 50%->80%  b 50%->80%  c down->80%" in text


def test_unknown_loads_are_shown_as_unknown() -> None:
    assert bar(None).plain == "-"
    assert "a -->80%" in shown(moment(load=None), terminal=False)


@pytest.mark.parametrize(("load", "filled"), [(0.0, 0), (0.5, 11), (1.0, 22), (3.7, 22)])
def test_bars_end_at_full_load_and_numbers_go_on(load: float, filled: int) -> None:
    assert bar(load).plain.count("█") == filled
    assert f"{100 * load:.0f}%" in bar(load).plain
