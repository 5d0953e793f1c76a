"""The pages that are written for people, and what is in them."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = sorted([*DOCS.rglob("*.md"), *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md"))])

_FENCE = re.compile(r"^```.*?^```$", re.DOTALL | re.MULTILINE)
_RUNNABLE = re.compile(r"^<!-- runnable -->\n```(\w+)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
_HEADING = re.compile(r"^#{1,6} (.+)$", re.MULTILINE)
_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")


def named(page: Path) -> str:
    """A page's path from the root, for test ids."""
    return str(page.relative_to(ROOT))


def text_of(page: str) -> str:
    """A page under docs."""
    return (DOCS / page).read_text(encoding="utf-8")


@dataclass(frozen=True)
class Block:
    """A block that is marked as runnable."""

    language: str
    text: str


def runnable_blocks(page: Path) -> list[Block]:
    """In the order of the page."""
    return [Block(language, text) for language, text in _RUNNABLE.findall(page.read_text(encoding="utf-8"))]


def links(page: Path) -> Iterator[str]:
    """Targets of the page's links, those in code left out."""
    yield from _LINK.findall(_FENCE.sub("", page.read_text(encoding="utf-8")))


def anchors(page: Path) -> set[str]:
    """What can stand behind a `#`, by the rule that both GitHub and Python-Markdown follow for our headings."""
    found = set()
    for heading in _HEADING.findall(_FENCE.sub("", page.read_text(encoding="utf-8"))):
        words = re.sub(r"[^\w\s-]", "", heading.lower().replace("`", "")).strip()
        found.add(re.sub(r"\s+", "-", words))
    return found
