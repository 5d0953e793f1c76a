"""Writes effective settings as TOML that can be read again, each line with the source of its value."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, is_dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, SecretStr

from forestay.settings.loading import Configuration
from forestay.settings.problems import dotted

SourcedLine = tuple[str, str, str]
"""Dotted key, value as TOML ("" where there is none), source."""


def effective(configuration: Configuration, show_secrets: bool = False) -> Iterator[SourcedLine]:
    """Every setting in force, in the order of the models."""
    for path, value in _leaves(configuration.settings, ()):
        source = "default"
        for end in range(len(path), 0, -1):
            if path[:end] in configuration.origins:
                source = configuration.origins[path[:end]]
                break
        yield dotted(path), _toml(value, show_secrets), source


def _leaves(node: Any, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Any]]:
    if isinstance(node, BaseModel):
        for name in type(node).model_fields:
            yield from _leaves(getattr(node, name), (*path, name))
    elif is_dataclass(node) and not isinstance(node, type):
        yield from _leaves(asdict(node), path)
    elif isinstance(node, Mapping) and node:
        for name, value in node.items():
            yield from _leaves(value, (*path, str(name)))
    else:
        yield path, node


def _toml(value: Any, show_secrets: bool) -> str:
    """`value` in TOML; "" for None, which TOML cannot say."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, SecretStr):
        secret = value.get_secret_value()
        return _string(secret if show_secrets or not secret else "*****")
    if isinstance(value, BaseModel):
        given = {name: getattr(value, name) for name in type(value).model_fields}
        items = [(dotted((name,)), _toml(item, show_secrets)) for name, item in given.items() if item not in (None, "")]
        return "{ " + ", ".join(f"{name} = {item}" for name, item in items) + " }"
    if isinstance(value, Mapping):
        return "{}"  # an entry is shown on its own line; only empty tables come here
    if isinstance(value, tuple | list):
        return "[" + ", ".join(_toml(item, show_secrets) for item in value) + "]"
    assert isinstance(value, str | Path), f"no TOML for {type(value).__name__}"
    return _string(str(value))


def _string(text: str) -> str:
    """A TOML basic string: JSON's escapes, and DEL, which JSON leaves alone."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007F")
