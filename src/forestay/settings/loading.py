"""Reads settings from their sources. One order: flags, then environment, then file, then defaults; first wins.

Tables are merged key by key, lists and values are replaced. Where each value came from is kept: error messages and
`forestay config show` name it.
"""

import json
import os
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from pydantic_settings import BaseSettings, EnvSettingsSource, SettingsConfigDict
from pydantic_settings import SettingsError as EnvironmentProblem

from forestay.settings.models import Settings
from forestay.settings.problems import SettingsError, settings_error, suggestion

PREFIX = "FORESTAY_"


class _Variables(Settings, BaseSettings):
    """The settings as pydantic-settings reads them from environment variables."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, env_nested_delimiter="__")


SEARCHED = (Path("forestay.toml"), Path("/etc/forestay/forestay.toml"))
"""Where a configuration is looked for when none is named."""


@dataclass(frozen=True, slots=True)
class Configuration:
    """Valid settings and where they came from.

    Attributes:
        settings: what is in force.
        origins: source of each given value by its path; a path that is missing here has its default.
        file: the file that was read, if any.
    """

    settings: Settings
    origins: Mapping[tuple[str | int, ...], str]
    file: Path | None


def load_configuration(file: Path | None = None, flags: Mapping[str, Any] | None = None) -> Configuration:
    """Merge flags, environment, file and defaults.

    Args:
        file: TOML; None: no file is read (see `find_file`).
        flags: what the command line said, nested as in TOML.

    Raises:
        SettingsError: naming every bad value, its source and the remedy.
    """
    merged: dict[str, Any] = {}
    origins: dict[tuple[str | int, ...], str] = {}
    if file is not None:
        _merge(merged, read_toml(file), origins, lambda _: str(file))
    _merge(merged, _environment(), origins, lambda path: PREFIX + "__".join(path).upper())
    _merge(merged, flags or {}, origins, lambda _: "command line")
    try:
        settings = Settings.model_validate(merged)
    except ValidationError as error:
        raise settings_error(error, origins) from None
    return Configuration(settings, origins, file)


def find_file() -> Path | None:
    """The file that FORESTAY_CONFIG names, else ./forestay.toml, else /etc/forestay/forestay.toml, else None."""
    if named := os.environ.get("FORESTAY_CONFIG"):
        return Path(named)
    return next((path for path in SEARCHED if path.is_file()), None)


def read_toml(file: Path) -> dict[str, Any]:
    """Parse a TOML file.

    Raises:
        SettingsError: it cannot be read or is not TOML.
    """
    try:
        return tomllib.loads(file.read_bytes().decode())
    except OSError as error:
        raise SettingsError([f"{file}: cannot be read: {error.strerror or error}; check --config"]) from None
    except UnicodeDecodeError as error:
        raise SettingsError([f"{file}: is not UTF-8 at byte {error.start}; save it as UTF-8"]) from None
    except RecursionError:
        raise SettingsError([f"{file}: is nested too deeply to be a configuration"]) from None
    except ValueError as error:  # TOMLDecodeError, and numbers with more digits than Python converts
        raise SettingsError([f"{file}: is not valid TOML: {error}"]) from None


def parse_assignments(assignments: Sequence[str]) -> dict[str, Any]:
    """Read `--set clusters.chat.balancer.threshold=0.8`: a TOML key, and a TOML value or a plain string.

    Raises:
        SettingsError: an assignment is not of that form.
    """
    values: dict[str, Any] = {}
    for assignment in assignments:
        key, equals, value = assignment.partition("=")
        if not equals:
            raise SettingsError([f'--set {assignment}: write key=value, e.g. --set log.level="debug"'])
        try:
            parsed = _toml_assignment(key, value)
        except (ValueError, RecursionError):
            raise SettingsError(
                [f"--set {assignment}: is not a TOML key and value, e.g. --set log.level=debug"]
            ) from None
        _merge(values, parsed, {}, lambda _: "")
    return values


def _toml_assignment(key: str, value: str) -> dict[str, Any]:
    try:
        return tomllib.loads(f"{key} = {value}")
    except ValueError:
        return tomllib.loads(f"{key} = {json.dumps(value, ensure_ascii=False)}")


def _environment() -> dict[str, Any]:
    """FORESTAY_SERVICE__LISTEN=... and the like. Only names with "__" are settings.

    Kubernetes sets FORESTAY_PORT and others by itself in the pods of a service called forestay.
    """
    sections = list(Settings.model_fields)
    for name in sorted(os.environ):
        section, separator, _ = name.removeprefix(PREFIX).partition("__")
        if name.startswith(PREFIX) and separator and section.lower() not in (*sections, "agent"):
            raise SettingsError([f"{name}: unknown section{suggestion(section.lower(), sections)}"])
    try:
        return EnvSettingsSource(_Variables)()
    except EnvironmentProblem as error:
        raise SettingsError([f"environment: {error}; write JSON or one variable per setting"]) from None


def _merge(
    into: dict[str, Any], layer: Mapping[str, Any], origins: dict[Any, str], source: Any, path: Any = ()
) -> None:
    """Lay `layer` over `into`, in place, and note the source of every value."""
    for key, value in layer.items():
        here = (*path, key)
        if isinstance(value, Mapping):
            below = into.get(key)
            if not isinstance(below, dict):
                below = into[key] = {}
            _merge(below, value, origins, source, here)
            if not value:
                origins.setdefault(here, source(here))
        else:
            into[key] = value
            origins[here] = source(here)
