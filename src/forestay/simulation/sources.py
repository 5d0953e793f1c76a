"""Which source files a result depends on, so that it is computed again when one of them changes and only then.

The files are those that a module imports, and what these import, as far as they are forestay's. They are read, not
imported: an edit counts at once, and an optional library that is missing does not matter.
"""

import ast
import functools
import hashlib
from pathlib import Path

ROOT = Path(__file__).parents[1]
"""The package `forestay`."""


def code_hash(*modules: str) -> str:
    """Hash of the modules named ("forestay.simulation.engine") and of all that they need, 16 hex digits."""
    digest = hashlib.sha256()
    for path in sorted(needed(*modules)):
        digest.update(str(path.relative_to(ROOT)).encode())
        digest.update(_content_hash(path))
    return digest.hexdigest()[:16]


def needed(*modules: str) -> set[Path]:
    """Files of the modules and of everything they import of forestay, themselves included.

    A package counts as its `__init__` only where it is imported itself: `import forestay.model.load` runs
    `forestay/__init__.py` too, but a result does not depend on that.
    """
    found: set[Path] = set()
    waiting = [path for module in modules if (path := _path(module))]
    while waiting:
        path = waiting.pop()
        if path not in found:
            found.add(path)
            waiting.extend(_imported(path))
    return found


@functools.cache
def _content_hash(path: Path) -> bytes:
    return hashlib.sha256(path.read_bytes()).digest()


@functools.cache
def _imported(path: Path) -> tuple[Path, ...]:
    names: list[str] = []
    for node in ast.walk(ast.parse(path.read_bytes())):
        if isinstance(node, ast.Import):
            names.extend(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.append(node.module)
            names.extend(f"{node.module}.{alias.name}" for alias in node.names)  # it may be a module of a package
    return tuple(found for name in names if (found := _path(name)))


def _path(module: str) -> Path | None:
    """Its file; None for what is not forestay's, or not a module."""
    first, *rest = module.split(".")
    if first != ROOT.name:
        return None
    for candidate in (ROOT.joinpath(*rest, "__init__.py"), ROOT.joinpath(*rest).with_suffix(".py") if rest else None):
        if candidate is not None and candidate.is_file():
            return candidate
    return None
