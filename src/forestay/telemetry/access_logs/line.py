"""What parsing a line of an access log can come to, and how servers are named in one."""

import math
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Literal, TypeAlias

from forestay.control.address import join_address, split_address
from forestay.control.shadow.sightings import Sighting
from forestay.model.errors import ForestayError

DURATION_S_MAX = 10 * 365 * 86_400.0
"""Ten years: a connection that is said to have lived longer is a misread line."""
TEXT_MAX = 128
"""Characters of an id or a client: what the registry holds."""

Parse: TypeAlias = Callable[[str], Sighting]
"""Reads one line; raises `LineUnusable`."""


class LineUnusable(ForestayError):
    """The line says nothing about a placed connection.

    Attributes:
        outcome: "other" (about something else, or a connection that reached no server), "malformed" (not of the
            format), "unnamed" (its server is not known by that name).
    """

    def __init__(self, outcome: Literal["other", "malformed", "unnamed"], reason: str) -> None:
        super().__init__(reason)
        self.outcome = outcome


class ServerNames:
    """From what a log calls a server to its endpoint id."""

    def __init__(self, names: Mapping[str, str]) -> None:
        """Endpoint id by name; addresses need no entry."""
        self._names = dict(names)

    def endpoint_of(self, name: str, within: str = "") -> str:
        """The endpoint of that name or address; an entry for "within/name" comes first.

        Raises:
            LineUnusable: "unnamed".
        """
        known = self._names.get(f"{within}/{name}") or self._names.get(name)
        if known is not None:
            return known
        try:
            return join_address(*split_address(name))
        except ValueError:
            raise LineUnusable("unnamed", f"server {name[:TEXT_MAX]!r} is no address: name it in servers") from None


def malformed(reason: str) -> LineUnusable:
    """The line is not of the format."""
    return LineUnusable("malformed", reason)


def seconds(value: object, per_second: float = 1.0) -> float:
    """A duration from a number or its text.

    Raises:
        LineUnusable: "malformed": it is none, or negative, or beyond belief.
    """
    try:
        if isinstance(value, bool) or not isinstance(value, int | float | str):
            raise ValueError
        found = float(value) / per_second
    except (ValueError, OverflowError):
        raise malformed(f"{str(value)[:40]!r} is no duration") from None
    if not (math.isfinite(found) and 0.0 <= found <= DURATION_S_MAX):
        raise malformed(f"{found} s is no duration")
    return found


def unix_time(value: object) -> float:
    """A moment from Unix seconds or an ISO 8601 text with its zone.

    Raises:
        LineUnusable: "malformed".
    """
    try:
        if isinstance(value, str) and not value.replace(".", "", 1).isdecimal():
            moment = datetime.fromisoformat(value)
            if moment.tzinfo is None:
                raise malformed(f"{value[:40]!r} names no time zone: write it as UTC, ending in Z")
            return moment.timestamp()
        if isinstance(value, bool) or not isinstance(value, int | float | str):
            raise ValueError
        found = float(value)
    except (ValueError, OverflowError):
        raise malformed(f"{str(value)[:40]!r} is no time") from None
    if not 0.0 <= found <= 1e11:
        raise malformed(f"{found} is no Unix time in seconds")
    return found


def text(value: object, field: str) -> str:
    """A short text, or a whole number as one.

    Raises:
        LineUnusable: "malformed".
    """
    found = str(value) if isinstance(value, int) and not isinstance(value, bool) else value
    if not isinstance(found, str) or not 0 < len(found) <= TEXT_MAX or not found.isprintable():
        raise malformed(f"{field} = {str(value)[:40]!r}: must be a text of 1 to {TEXT_MAX} characters")
    return found
