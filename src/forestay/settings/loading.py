"""Reads settings from their sources. One order: flags, then environment, then file, then defaults; first wins.

Tables are merged key by key, lists and values are replaced. Where each value came from is kept: error messages and
`forestay config show` name it.
"""

import json
import os
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, EnvSettingsSource, SettingsConfigDict

from forestay.agent.settings import AgentSettings
from forestay.settings.models import Settings
from forestay.settings.problems import SettingsError, settings_error, suggestion

PREFIX = "FORESTAY_"
AGENT_PREFIX = "FORESTAY_AGENT__"

Location: TypeAlias = tuple[str | int, ...]
Model = TypeVar("Model", bound=BaseModel)

SEARCHED = (Path("forestay.toml"), Path("/etc/forestay/forestay.toml"))
"""Where a configuration is looked for when none is named."""


class _Variables(Settings, BaseSettings):
    """The settings as pydantic-settings reads them from environment variables."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, env_nested_delimiter="__")


class _AgentVariables(AgentSettings, BaseSettings):
    """Likewise for an agent."""

    model_config = SettingsConfigDict(env_prefix=AGENT_PREFIX, env_nested_delimiter="__")


class _Environment(EnvSettingsSource):
    """Takes a list as JSON, as pydantic-settings does, or as "a:1,b:2"."""

    def decode_complex_value(self, field_name: str, field: FieldInfo, value: Any) -> Any:
        """See `EnvSettingsSource`; what is neither is found by validation, which names the variable."""
        try:
            return json.loads(value)
        except (ValueError, RecursionError):
            return [part.strip() for part in value.split(",") if part.strip()]


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
    _refuse_unknown(PREFIX, list(Settings.model_fields), others=["agent"])
    merged, origins = _gather(file, _Environment(_Variables)(), PREFIX, flags or {})
    return Configuration(_validated(Settings, merged, origins), origins, file)


def load_agent_settings(file: Path | None = None, flags: Mapping[str, Any] | None = None) -> AgentSettings:
    """The same for `forestay agent`: its file has the settings at the top, its variables begin with FORESTAY_AGENT__.

    Raises:
        SettingsError: naming every bad value, its source and the remedy.
    """
    _refuse_unknown(AGENT_PREFIX, list(AgentSettings.model_fields))
    merged, origins = _gather(file, _Environment(_AgentVariables)(), AGENT_PREFIX, flags or {})
    return _validated(AgentSettings, merged, origins)


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


def _refuse_unknown(prefix: str, known: Sequence[str], others: Sequence[str] = ()) -> None:
    """A variable that means a setting must name one: pydantic-settings would ignore a misspelt one.

    Without "__" it means none: Kubernetes sets FORESTAY_PORT and the like in the pods of a service called forestay.
    """
    for name in sorted(os.environ):
        first, separator, _ = name.removeprefix(prefix).partition("__")
        if name.startswith(prefix) and (separator or "__" in prefix) and first.lower() not in (*known, *others):
            raise SettingsError([f"{name}: unknown setting{suggestion(first.lower(), known)}"])


def _gather(
    file: Path | None, environment: Mapping[str, Any], prefix: str, flags: Mapping[str, Any]
) -> tuple[dict[str, Any], dict[Location, str]]:
    """All sources merged, and the source of each value by its path."""
    merged: dict[str, Any] = {}
    origins: dict[Location, str] = {}
    if file is not None:
        _merge(merged, read_toml(file), origins, lambda _: str(file))
    _merge(merged, environment, origins, lambda path: prefix + "__".join(map(str, path)).upper())
    _merge(merged, flags, origins, lambda _: "command line")
    return merged, origins


def _validated(model: type[Model], merged: Mapping[str, Any], origins: Mapping[Location, str]) -> Model:
    try:
        return model.model_validate(merged)
    except ValidationError as error:
        raise settings_error(error, origins, model) from None


def _merge(
    into: dict[str, Any],
    layer: Mapping[str, Any],
    origins: dict[Location, str],
    source: Callable[[Location], str],
    path: Location = (),
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
