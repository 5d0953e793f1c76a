"""nginx, `stream` or `http`: lines of whatever `log_format` its configuration names, as long as it says enough.

The format is turned into a regular expression in which no variable can reach over the character that follows it, so
that a line is read in one pass, whatever is in it. One line when a connection (or request) ends.

Source: nginx, modules ngx_stream_log, ngx_http_log, ngx_stream_upstream, ngx_http_upstream.
"""

import re

from forestay.control.shadow.sightings import Sighting
from forestay.model.errors import InvalidInput
from forestay.telemetry.access_logs.line import (
    TEXT_MAX,
    LineUnusable,
    Parse,
    ServerNames,
    malformed,
    seconds,
    unix_time,
)

DEFAULT_FORMAT = (
    "$remote_addr [$time_local] $protocol $status $bytes_sent $bytes_received $session_time "
    '"$upstream_addr" "$upstream_bytes_sent" "$upstream_bytes_received" "$upstream_connect_time"'
)
"""The usual one of a stream proxy."""

DURATIONS = ("upstream_session_time", "session_time", "upstream_response_time", "request_time")
"""Variables that say how long a connection lasted, the best first."""

VARIABLE = re.compile(r"\$(?:\{(\w+)\}|(\w+))")
SEVERAL = re.compile(r", | : ")
"""Between the values of an $upstream_ variable, where several servers were tried."""


def parser(servers: ServerNames, log_format: str = "") -> Parse:
    """A parser of the lines that `log_format` makes.

    Args:
        servers: names of servers.
        log_format: as in nginx's configuration, without the quotes around its parts; "": `DEFAULT_FORMAT`.

    Raises:
        InvalidInput: the format does not say where a connection went and for how long, or cannot be read back.
    """
    pattern = _pattern(log_format or DEFAULT_FORMAT)
    duration = next((name for name in DURATIONS if name in pattern.groupindex), None)
    if "upstream_addr" not in pattern.groupindex or duration is None:
        raise InvalidInput(
            f"log_format = {log_format!r}: must have $upstream_addr and one of "
            + ", ".join(f"${name}" for name in DURATIONS)
        )

    def parse(line: str) -> Sighting:
        found = pattern.fullmatch(line)
        if found is None:
            raise malformed("not a line of log_format")
        fields = found.groupdict()
        address = _last(fields["upstream_addr"])
        if address in ("", "-") or address.startswith("unix:"):
            raise LineUnusable("other", "reached no server that has an address")
        if (connect := _last(fields.get("upstream_connect_time") or "0")) == "-":
            raise LineUnusable("other", "the server was not reached")
        lasted_s = seconds(_last(fields[duration]))
        if duration in ("session_time", "request_time"):  # from the client's side
            lasted_s = max(0.0, lasted_s - seconds(connect))
        ended = fields.get("msec")
        return Sighting(
            "lived",
            endpoint_id=servers.endpoint_of(address),
            at=None if ended is None else unix_time(ended) - lasted_s,
            duration_s=lasted_s,
            client=(fields.get("remote_addr") or "")[:TEXT_MAX],
        )

    return parse


def _pattern(log_format: str) -> re.Pattern[str]:
    """The format as a regular expression."""
    expression, end, seen = "", 0, set[str]()
    variables = list(VARIABLE.finditer(log_format))
    for variable, following in zip(variables, [*variables[1:], None], strict=True):
        expression += re.escape(log_format[end : variable.start()])
        end = variable.end()
        name = variable[1] or variable[2]
        delimiter = log_format[end : end + 1]
        if following is not None and following.start() == end:
            raise InvalidInput(f"log_format: ${name} is followed at once by another variable: put a space in between")
        group = f"?P<{name}>" if name not in seen and name.isidentifier() else "?:"
        seen.add(name)
        expression += f"({group}{_value(name, delimiter)})"
    return re.compile(expression + re.escape(log_format[end:]))


def _value(name: str, delimiter: str) -> str:
    """What the value of a variable looks like that ends before `delimiter`."""
    if not delimiter:
        return ".*"
    if delimiter == " " and name.startswith("upstream_"):
        return r"[^ ,]*(?:(?:, | : )[^ ,]*)*"
    return f"[^{re.escape(delimiter)}]*"


def _last(value: str) -> str:
    """Of several servers that were tried the last one, which took the connection."""
    return SEVERAL.split(value)[-1].strip()
