import json
import re
from html.parser import HTMLParser

import numpy as np
import pytest
from rich.console import Console

from forestay.simulation.outcome import Outcome, Series
from forestay.simulation.report import About, Report
from forestay.simulation.report_page import page
from forestay.simulation.report_table import detail, show, summary
from forestay.simulation.scenario import Scenario
from forestay.simulation.statistics import standings
from forestay.simulation.verdicts import verdicts
from tests.simulation.outcomes import ROLES, outcome

ABOUT = About("forestay simulate 'a b.toml'", "1.2.3", "2030-01-02", (2, 2), (5.0, 20.0))
DELAYS = {"forestay": 2.5, "least_connections": 4.0, "random": 9.0, "lowest_predicted": 5.0, "limit": 2.0}


def report(*names: str) -> Report:
    outcomes = [
        outcome(policy, delay + 0.1 * seed, name, seed)
        for name in names for seed in (0, 1) for policy, delay in DELAYS.items()
    ]  # fmt: skip
    found = standings(outcomes, ROLES)
    scenarios = {name: Scenario.parse('description = "Busy & <odd>."', name) for name in names}
    return Report(ABOUT, scenarios, found, verdicts(found, scenarios), outcomes)


def printed(of: Report, width: int = 100) -> str:
    console = Console(width=width, record=True, file=None, force_terminal=False, no_color=True)
    with console.capture() as captured:
        show(of, console)
    return captured.get()


def timed(name: str) -> dict[str, list[Outcome]]:
    series = Series(np.arange(0.5, 600.0), np.full((600, 4), 0.7))
    series.load[100:200, 2] = np.nan
    return {name: [outcome(policy, DELAYS[policy], name, series=series) for policy in ("forestay", "random", "limit")]}


class Tags(HTMLParser):
    """Checks that what is opened is closed, and notes what a browser would fetch."""

    VOID = frozenset({"meta", "br"})

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.fetched: list[str] = []
        self.ids: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in self.VOID:
            self.open.append(tag)
        for name, value in attrs:
            if name in ("src", "href", "xlink:href", "data") and value and not value.startswith(("#", "data:")):
                self.fetched.append(value)
            if name == "id" and value:
                self.ids.append(value)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


@pytest.mark.parametrize("names", [("steady",), tuple(f"a_rather_long_name_{number}" for number in range(9))])
def test_what_is_printed_fits_a_hundred_columns_whole(names: tuple[str, ...]) -> None:
    text = printed(report(*names))
    assert max(map(len, text.splitlines()[:-1])) <= 100  # the last one is a sentence, for the terminal to wrap
    assert "…" not in text


def test_few_scenarios_are_shown_policy_by_policy_the_best_first() -> None:
    text = printed(report("steady"))
    order = [line.split()[0] for line in text.splitlines() if line.strip().startswith(tuple(DELAYS))]
    assert order == ["limit", "forestay", "least_connections", "lowest_predicted", "random"]


def test_many_scenarios_are_shown_one_in_a_row() -> None:
    text = printed(report(*"abcd"))
    assert [
        line for line in text.splitlines() if re.match(r" ?[abcd] +least_connections +4\.050 +2\.050 +2\.550", line)
    ]
    assert "0.75" in text  # the gap closed


def test_the_best_of_forestay_and_its_peers_is_marked_not_the_limit() -> None:
    (found,) = report("steady").standings
    console = Console(width=100, force_terminal=True, color_system="standard")
    with console.capture() as captured:
        console.print(detail(found))
    marked = re.findall(r"\x1b\[1;32m([\d.]+)\x1b", captured.get())
    assert "2.550" in marked
    assert "2.050" not in marked


def test_what_was_told_is_shown_piece_by_piece() -> None:
    outcomes = [outcome(policy, delay) for policy, delay in (("forestay", 2.2), ("told_cost", 2.0), ("limit", 1.1))]
    found = standings(outcomes, {**ROLES, "told_cost": "told"})
    text = printed(Report(ABOUT, {"steady": Scenario(name="steady")}, found, (), outcomes))
    assert re.search(r"scenario +cost +limit", text)
    assert re.search(r"steady +10\.0 +100\.0", text)


def test_the_summary_is_one_line_and_names_what_falls_short() -> None:
    line = summary(report("steady").verdicts)
    assert "\n" not in line
    assert line.startswith("6 of 7 figures hold; short: gap closed, median")


def test_json_is_json_and_holds_everything() -> None:
    data = json.loads(report("a", "b").as_json(), parse_constant=pytest.fail)
    assert data["about"]["command"] == ABOUT.command
    assert [scenario["scenario"] for scenario in data["scenarios"]] == ["a", "b"]
    assert len(data["runs"]) == 20
    assert data["runs"][0]["storm_share"] is None
    assert data["scenarios"][0]["gap"]["value"] == pytest.approx(0.75)
    assert data["digests"]["a"] == {"0": "forestay-a-0", "1": "forestay-a-1"}


def test_json_without_runs_has_their_digests_still() -> None:
    data = json.loads(report("a").as_json(runs=False))
    assert "runs" not in data
    assert len(data["digests"]["a"]) == 2


@pytest.mark.parametrize("names", [("steady",), ("a", "b", "c", "d")])
def test_the_page_needs_nothing_from_outside(names: tuple[str, ...]) -> None:
    text = page(report(*names), timed(names[0]))
    tags = Tags()
    tags.feed(text)
    assert tags.open == []
    assert tags.fetched == []
    assert "<script" not in text
    assert "@import" not in text
    assert "url(http" not in text


def test_the_pictures_of_a_page_do_not_share_ids() -> None:
    names = ("a", "b")
    text = page(report(*names), timed("a") | timed("b"))
    tags = Tags()
    tags.feed(text)
    used = set(re.findall(r'(?:url\(|href=")#([\w-]+)', text))
    assert used
    assert [name for name in sorted(used) if tags.ids.count(name) != 1] == []


def test_the_page_has_pictures_tables_and_the_command() -> None:
    text = page(report("steady"), timed("steady"))
    assert text.count("<svg") == 1
    assert "busiest server" in text
    assert "forestay simulate &#x27;a b.toml&#x27;" in text
    assert "Busy &amp; &lt;odd&gt;." in text
    assert "least_connections" in text


def test_pictures_take_the_colour_of_the_page() -> None:
    text = page(report("steady"), timed("steady"))
    assert "currentColor" in text
    assert "#010203" not in text
    assert "#000000" not in text
