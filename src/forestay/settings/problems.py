"""Says what is wrong with a configuration: one line per bad value, with its TOML path, its source and the remedy."""

import difflib
import re
from collections.abc import Mapping, Sequence
from typing import Any, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from forestay.model.errors import InvalidInput

Path = tuple[str | int, ...]
Origins = Mapping[Path, str]

_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")


class SettingsError(InvalidInput):
    """The configuration is unusable. `problems` holds one line for each bad value."""

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = tuple(problems)


def dotted(path: Path) -> str:
    """A path as TOML writes it: `clusters.chat.endpoints[1].address`."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            text += ("." if text else "") + (part if _BARE_KEY.fullmatch(part) else f'"{_printable(part)}"')
    return text


def suggestion(word: str, known: Sequence[str]) -> str:
    """`; did you mean "threshold"?`, or the known words where nothing is close."""
    if close := difflib.get_close_matches(word, known, n=1, cutoff=0.6):
        return f'; did you mean "{close[0]}"?'
    return f"; known here: {', '.join(known)}"


def settings_error(error: ValidationError, origins: Origins, root: type[BaseModel]) -> SettingsError:
    """What pydantic found while validating `root`, in the operator's words."""
    return SettingsError([_line(details, origins, root) for details in error.errors(include_url=False)])


def _line(details: ErrorDetails, origins: Origins, root: type[BaseModel]) -> str:
    context: dict[str, Any] = details.get("ctx", {})
    path: Path = details["loc"]
    if path and path[-1] == "[key]":
        path = path[:-1]
        return f'{dotted(path)}{_source(path, origins)}: names consist of letters, digits, "-" and "_"; rename it'
    match details["type"]:
        case "extra_forbidden":
            key = str(path[-1])
            return (
                f"{dotted(path)}{_source(path, origins)}: unknown setting{suggestion(key, _known_at(path[:-1], root))}"
            )
        case "unknown_key":
            path = (*path, context["key"])
            return (
                f"{dotted(path)}{_source(path, origins)}: unknown setting{suggestion(context['key'], context['known'])}"
            )
        case "missing":
            return f"{dotted(path)}: is missing; it has no default"
        case "at_path":
            path = tuple(context["path"].split("."))
        case "at_key":
            path = (*path, context["key"])
        case "listen":
            path = (*path, "listen")
        case "timeout_s":
            path = (*path, "timeout_s")
        case _:
            pass
    message = _message(details)
    if named := re.match(r"(\w+) = (.*?): ", message):  # BalancerSettings names the field and the value itself
        path, message = (*path, named[1]), message[named.end() :]
        return f"{dotted(path)} = {named[2]}{_source(path, origins)}: {message}"
    shown = "" if path[-1:] == ("token",) else _shown(details["input"])
    return f"{dotted(path)}{shown}{_source(path, origins)}: {message}"


def _message(details: ErrorDetails) -> str:
    message = details["msg"].removeprefix("Value error, ")
    return re.sub(r"^Input should be ", "must be ", message)


def _shown(value: object) -> str:
    """` = value`, where the value is short enough to help."""
    if isinstance(value, str):
        text = _printable(value)
        return f' = "{text[:60]}..."' if len(text) > 60 else f' = "{text}"'
    if isinstance(value, bool):
        return f" = {str(value).lower()}"
    if isinstance(value, int | float):
        return f" = {value}"
    return ""


def _printable(text: str) -> str:
    return "".join(character if character.isprintable() else ascii(character)[1:-1] for character in text)


def _source(path: Path, origins: Origins) -> str:
    """` (file)` of the value at `path`, or of the nearest table above it."""
    for end in range(len(path), 0, -1):
        if source := origins.get(path[:end]):
            return f" ({source})"
    below = {source for other, source in origins.items() if other[: len(path)] == path}
    return f" ({below.pop()})" if len(below) == 1 else ""


def _known_at(path: Path, root: type[BaseModel]) -> list[str]:
    """Names of the settings in the table at `path`."""
    model = root
    for part in path:
        field = model.model_fields.get(str(part))
        annotation = field.annotation if field else None
        if nested := _models_in(annotation):
            model = nested
    return list(model.model_fields)


def _models_in(annotation: Any) -> type[BaseModel] | None:
    """The table that an annotation such as `dict[Name, ClusterSettings]` or `DnsSettings | None` holds."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    for argument in get_args(annotation):
        if found := _models_in(argument):
            return found
    return None
