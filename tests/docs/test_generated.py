"""Tables of the documentation are those that the code gives today."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

from tests.docs.pages import DOCS, PAGES, named


@pytest.fixture(scope="module")
def generate() -> ModuleType:
    spec = importlib.util.spec_from_file_location("generate", DOCS / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules["generate"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_the_tables_of_a_page_are_up_to_date(generate: ModuleType, page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert text == generate.filled(text), "behind the code: run python docs/generate.py"


def test_every_table_that_can_be_made_is_on_a_page(generate: ModuleType) -> None:
    pages = "".join(page.read_text(encoding="utf-8") for page in PAGES)
    assert [name for name in generate.BLOCKS if f"<!-- generated:{name} -->" not in pages] == []


def test_a_table_that_was_changed_by_hand_is_put_right(generate: ModuleType) -> None:
    changed = "before\n<!-- generated:metrics -->\nlies\n<!-- /generated -->\nafter\n"
    assert (
        generate.filled(changed)
        == f"before\n<!-- generated:metrics -->\n\n{generate.metrics()}\n<!-- /generated -->\nafter\n"
    )


def test_a_table_that_nobody_makes_is_an_error(generate: ModuleType) -> None:
    with pytest.raises(KeyError, match="unheard_of"):
        generate.filled("<!-- generated:unheard_of -->\n<!-- /generated -->")
