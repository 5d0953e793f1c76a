"""The view of a shadow, of what the API may answer."""

from typing import Any

from rich.console import Console

from forestay.cli.shadow import view

WORLD = {
    "seconds": 3600.0,
    "max_over_mean": 1.5,
    "server_seconds_over_70": 1200.0,
    "server_seconds_over_100": 0.0,
    "delay": 2.0,
}
PAIR = {"connections": 40, "chosen": 0.6, "instead": 0.3}
FOUND: dict[str, Any] = {
    "source": "log",
    "delay_s": 30.0,
    "warm_up_left_s": 0.0,
    "caveats": {"connections_unseen": "servers count more"},
    "choice": {"judged": 1000, "same": 250, "other": 740, "queue": 10, "shed": 0},
    "hindsight": {"horizon_s": 10.0, "predicted": PAIR, "actual": PAIR},
    "as_is": WORLD,
    "would_be": {**WORLD, "max_over_mean": 1.2, "server_seconds_over_70": 60.0},
    "skill": [
        {"horizon_s": 10.0, "rmse": 0.08, "rmse_last_value": 0.1, "ratio": 0.8, "coverage_q90": 0.91, "samples": 5},
        {"horizon_s": 30.0, "rmse": 0.0, "rmse_last_value": 0.0, "ratio": None, "coverage_q90": 1.0, "samples": 5},
    ],
    "fallbacks": ["telemetry_stale"],
    "endpoints": [
        {"id": "10.0.0.1:80", "load": 0.6, "would_be_load": 0.4, "connections": 60, "would_be_connections": 40},
        {"id": "10.0.0.2:80", "load": None, "would_be_load": None, "connections": 0, "would_be_connections": 0},
    ],
}


def shown(**changes: Any) -> str:
    console = Console(width=120, record=True, quiet=False, file=None)
    with console.capture() as capture:
        console.print(view("chat", {**FOUND, **changes}))
    return capture.get()


def words(text: str) -> list[list[str]]:
    return [line.split() for line in text.splitlines()]


def test_the_view_says_what_would_have_changed() -> None:
    lines = words(shown())
    assert "chat shadow of a live balancer, by log, 30 s behind; 1,000 connections judged, 25% on the same server" in (
        " ".join(lines[0])
    )
    assert ["busiest", "server", "/", "mean", "1.50", "1.20", "-20%"] in lines
    assert ["server-seconds", "over", "70", "%", "1,200", "60", "-95%"] in lines
    assert ["server-seconds", "over", "100", "%", "0", "0", "-"] in lines
    assert ["load", "10", "s", "later", "40", "60%", "30%"] in lines
    assert ["would", "have", "waited", "first", "10"] in lines
    assert ["10", "s", "ahead", "0.080", "0.100", "0.80", "91%"] in lines
    assert ["10.0.0.1:80", "60%", "40%", "60", "40"] in lines
    assert ["10.0.0.2:80", "-", "-", "0", "0"] in lines


def test_caveats_and_fallbacks_are_not_hidden() -> None:
    text = shown()
    assert "connections_unseen: servers count more" in text
    assert "telemetry_stale" in text


def test_before_the_first_judgement_it_says_when_that_will_be() -> None:
    choice = dict.fromkeys(FOUND["choice"], 0)
    nothing = {**WORLD, "max_over_mean": None, "delay": None}
    text = shown(warm_up_left_s=12.3, choice=choice, as_is=nothing, would_be=nothing, skill=[], caveats={})
    assert "judges in 12 s" in text
