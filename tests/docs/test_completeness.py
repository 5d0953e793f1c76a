"""Whatever an operator or a caller can use has its place in the documentation.

The names are found in the code by other means than the generator of the tables uses, so that a table that forgets
something is found as well.
"""

import inspect
import re
import tomllib
from collections.abc import Iterator
from dataclasses import fields
from typing import Any

import pytest
import typer
from fastapi.routing import APIRoute
from pydantic import BaseModel

import forestay
from forestay.agent.settings import AgentSettings
from forestay.balancer import BalancerSettings
from forestay.cli.application import app
from forestay.cli.failure import ExitCode
from forestay.service.api import create_app
from forestay.service.metrics import METRICS
from forestay.settings import models
from forestay.simulation import scenario
from tests.docs.pages import ROOT, text_of

SOURCES = sorted((ROOT / "src/forestay").rglob("*.py"))

SECTIONS = [
    model for _, model in inspect.getmembers(models, inspect.isclass)
    if issubclass(model, models.Section) and model not in (models.Section, models.Settings)
]  # fmt: skip

SCENARIO_SECTIONS = [
    model for _, model in inspect.getmembers(scenario, inspect.isclass)
    if issubclass(model, scenario.Section) and model not in (scenario.Section, scenario.Scenario)
]  # fmt: skip


@pytest.mark.parametrize("model", [*SECTIONS, AgentSettings], ids=lambda model: model.__name__)
def test_every_setting_has_its_row(model: type[BaseModel]) -> None:
    page = text_of("reference/settings.md")
    assert [name for name in model.model_fields if f"\n| `{name}` |" not in page] == []


def test_every_setting_of_a_balancer_has_its_row() -> None:
    page = text_of("reference/settings.md")
    assert [field.name for field in fields(BalancerSettings) if f"\n| `{field.name}` |" not in page] == []


@pytest.mark.parametrize("model", SCENARIO_SECTIONS, ids=lambda model: model.__name__)
def test_every_field_of_a_scenario_has_its_row(model: type[BaseModel]) -> None:
    page = text_of("simulation.md")
    assert [name for name in model.model_fields if f"\n| `{name}` |" not in page] == []


def test_every_metric_is_on_the_operating_page() -> None:
    page = text_of("operating.md")
    assert [metric.name for metric in METRICS if f"\n| `{metric.name}` |" not in page] == []


def commands(path: str, command: Any) -> Iterator[tuple[str, Any]]:
    yield path, command
    for name, below in getattr(command, "commands", {}).items():
        yield from commands(f"{path} {name}", below)


@pytest.mark.parametrize(("path", "command"), list(commands("forestay", typer.main.get_command(app))))
def test_every_command_and_option_is_described(path: str, command: Any) -> None:
    section = section_of("reference/cli.md", f"### `{path}`")
    own = [p for p in command.params if p.name not in ("help", "install_completion", "show_completion")]
    spellings = [name for p in own for name in (p.opts if p.param_type_name == "option" else [p.metavar])]
    assert [name for name in spellings if f"`{name}" not in section] == []


@pytest.mark.parametrize(
    ("method", "path"),
    [
        (m, route.path)
        for route in create_app({}).routes
        if isinstance(route, APIRoute)
        for m in sorted(route.methods or ())
    ],
)
def test_every_route_is_described(method: str, path: str) -> None:
    assert section_of("reference/http.md", f"### `{method} {path}`")


def test_every_exit_code_is_described() -> None:
    section = section_of("reference/environment.md", "## Exit codes")
    assert [code for code in ExitCode if f"\n| {code.value} |" not in section] == []


def test_every_environment_variable_is_described() -> None:
    section = section_of("reference/environment.md", "## Environment variables")
    read = set[str]()
    for source in SOURCES:
        text = source.read_text(encoding="utf-8")
        read.update(re.findall(r'environ(?:ment)?(?:\.get\(|\[)"([A-Z_]+)"', text))
        read.update(re.findall(r'envvar="([A-Z_]+)"', text))
    assert {"FORESTAY_CONFIG", "STATE_DIRECTORY"} <= read
    assert [name for name in sorted(read) if name not in section] == []


def test_every_reason_of_a_verdict_is_described() -> None:
    section = section_of("concepts.md", "## Admission")
    reasons = set[str]()
    for source in SOURCES:
        for call in re.findall(r'Verdict\(\s*"\w+",[^()]*', source.read_text(encoding="utf-8")):
            reasons.update(re.findall(r'"([a-z_]+)"', call)[1:])
    assert {"client_rate", "queue_full"} <= reasons
    assert [reason for reason in sorted(reasons) if f"`{reason}`" not in section] == []


@pytest.mark.parametrize("name", forestay.__all__)
def test_every_public_name_is_described(name: str) -> None:
    assert f"\n::: forestay.{name}\n" in text_of("reference/python.md")
    owner = getattr(forestay, name)
    assert inspect.getdoc(owner)
    methods = [m for m, member in vars(owner).items() if inspect.isfunction(member) and not m.startswith("_")]
    assert [method for method in methods if not inspect.getdoc(getattr(owner, method))] == []


def test_every_layer_is_in_the_picture_of_the_architecture() -> None:
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"][
        "contracts"
    ]
    layers = [name for row in contracts[0]["layers"] for name in row.split(" | ") if name != "__main__"]
    page = text_of("architecture.md")
    assert [layer for layer in layers if f'{layer}["{layer}<br>' not in page] == []


def section_of(page: str, heading: str) -> str:
    """From a heading to the next one of its rank."""
    rank = heading.partition(" ")[0]
    after = text_of(page).partition(f"\n{heading}\n")[2]
    return re.split(rf"\n#{{1,{len(rank)}}} ", after)[0]
