"""What the documentation points to is there."""

import re
import tomllib
from pathlib import Path

import pytest

from forestay.service.metrics import METRICS
from tests.docs.pages import DOCS, PAGES, ROOT, anchors, links, named, text_of


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_links_lead_somewhere(page: Path) -> None:
    broken = []
    for link in links(page):
        if link.startswith(("https://", "http://")):
            continue
        target, _, anchor = link.partition("#")
        there = (page.parent / target).resolve() if target else page
        if not there.exists() or (anchor and anchor not in anchors(there)):
            broken.append(link)
    assert broken == []


@pytest.mark.parametrize("page", sorted(DOCS.rglob("*.md")), ids=named)
def test_the_site_needs_nothing_from_outside_of_docs(page: Path) -> None:
    inside = [link for link in links(page) if not link.startswith(("https://", "http://", "#"))]
    assert [link for link in inside if not (page.parent / link).resolve().is_relative_to(DOCS)] == []


def test_every_page_is_in_the_navigation() -> None:
    navigation = (ROOT / "mkdocs.yml").read_text(encoding="utf-8").partition("\nnav:")[2]
    pages = [str(page.relative_to(DOCS)) for page in DOCS.rglob("*.md")]
    assert [page for page in pages if not re.search(rf"[- ]{re.escape(page)}$", navigation, re.MULTILINE)] == []


def test_every_decision_is_in_the_list_of_decisions() -> None:
    listed = text_of("adr/index.md")
    assert [page.name for page in (DOCS / "adr").glob("[0-9]*.md") if f"({page.name})" not in listed] == []


@pytest.mark.parametrize("page", sorted((DOCS / "adr").glob("[0-9]*.md")), ids=named)
def test_a_decision_has_its_parts(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert text.startswith(f"# {page.name[:4]}: ")
    assert [part for part in ("Context", "Decision", "Evidence", "Consequences") if f"\n**{part}.** " not in text] == []


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_tests_that_are_named_exist(page: Path) -> None:
    named_tests = re.findall(r"(tests/[\w/]+\.py)::(test_\w+)", page.read_text(encoding="utf-8"))
    missing = [
        f"{file}::{test}" for file, test in named_tests
        if not (ROOT / file).is_file() or not re.search(rf"def {test}\(", (ROOT / file).read_text(encoding="utf-8"))
    ]  # fmt: skip
    assert missing == []


def test_every_row_of_the_failure_table_names_a_test_and_a_known_metric() -> None:
    rows = [
        line for line in text_of("architecture.md").partition("## Failures")[2].splitlines() if line.startswith("| ")
    ]
    body = [row.strip("| ").split(" | ") for row in rows[2:]]
    assert len(body) > 15
    assert [row[0] for row in body if len(row) != 5 or "::test_" not in row[4]] == []


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_metrics_that_are_named_exist(page: Path) -> None:
    known = {metric.name for metric in METRICS}
    used = set(re.findall(r"\bforestay_[a-z0-9_]+", page.read_text(encoding="utf-8")))
    assert sorted(used - known) == []


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_make_targets_and_files_that_are_named_exist(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    assert sorted(set(re.findall(r"(?:`|\$ )make ([a-z-]+)", text)) - targets) == []
    files = re.findall(r"\b(?:packaging|examples|benchmarks|docs|src)/[\w./-]*\w", text)
    assert [file for file in files if not (ROOT / file).exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_paths_are_those_of_any_machine(page: Path) -> None:
    """Only directories of the Filesystem Hierarchy Standard that mean the same everywhere, and paths of URLs."""
    usual = {"etc", "run", "var", "usr", "dev", "proc", "sys", "system.slice"}
    of_the_api = {"v1", "metrics", "healthz", "readyz", "docs", "openapi.json"}
    text = re.sub(r"<[^>]*>", "", page.read_text(encoding="utf-8"))
    paths = re.findall(r"(?<![\w.:/~*>)\]{}$-])/([A-Za-z][\w.-]*)", text)
    assert sorted(set(paths) - usual - of_the_api) == []


def test_extras_that_are_named_exist() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    named_extras = {
        e for page in PAGES for e in re.findall(r"(?:forestay|'\.)\[(\w+)\]", page.read_text(encoding="utf-8"))
    }
    assert named_extras - extras.keys() == set()
