from pathlib import Path
from typing import get_args

import pytest
from pydantic import BaseModel

from forestay.model.errors import InvalidInput
from forestay.simulation.scenario import Scenario, names


def test_a_file_is_called_after_itself(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text("minutes = 5.0\n[traffic]\nload = 0.4\n", encoding="utf-8")
    scenario = Scenario.load(path)
    assert (scenario.name, scenario.minutes, scenario.traffic.load) == ("mine", 5.0, 0.4)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[traffic]\nload = -1.0", "traffic.load = -1.0: must be greater than 0"),
        ("[traffic]\nlaod = 0.5", "traffic.laod: unknown field"),
        ("[traffic]\nload = true", "traffic.load = True: must be a number"),
        ('[[faults]]\nkind = "fire"', "faults[0].kind = 'fire': must be 'death'"),
        ("[fleet]\ncapacity_min = 3.0", "capacity_max = 2 is under capacity_min: raise it"),
        ("[fleet\n", "not TOML"),
        ("[fleet]\nservers = 0", "fleet.servers = 0: must be greater than or equal to 1"),
        ("[[classes]]\nshare = 0.5", "classes[0].name: Field required"),
    ],
)
def test_a_bad_value_is_named_with_what_it_must_be(text: str, said: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        Scenario.parse(text, "test", "file.toml")
    assert said in str(caught.value)
    assert str(caught.value).startswith("file.toml: ")


def test_every_bad_value_has_its_line() -> None:
    with pytest.raises(InvalidInput) as caught:
        Scenario.parse("minutes = 0\n[traffic]\nload = 9.0", "test")
    assert len(str(caught.value).splitlines()) == 2


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=r"absent\.toml: cannot be read"):
        Scenario.load(tmp_path / "absent.toml")


def test_an_unknown_name_gets_the_names_there_are() -> None:
    with pytest.raises(InvalidInput, match="steady"):
        Scenario.named("../steady")


def sections(section: type[BaseModel]) -> set[type[BaseModel]]:
    """A table and all tables below it."""
    found = {section}
    for field in section.model_fields.values():
        for part in (field.annotation, *get_args(field.annotation)):
            if isinstance(part, type) and issubclass(part, BaseModel):
                found |= sections(part)
    return found


@pytest.mark.parametrize("section", sorted(sections(Scenario), key=str))
def test_every_field_says_what_it_is(section: type[BaseModel]) -> None:
    silent = [name for name, field in section.model_fields.items() if not field.description]
    assert not silent


def test_scenarios_are_packaged() -> None:
    assert {"steady", "short", "death", "llm"} <= set(names())
