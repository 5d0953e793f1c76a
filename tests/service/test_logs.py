import io
import json
import logging
from collections.abc import Iterator

import pytest
import structlog

from forestay.service.logs import AccessLogger, configure_logs
from tests.control.worlds import A, relay_id, relayed


@pytest.fixture(autouse=True)
def _logging_as_before() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()


def lines(stream: io.StringIO) -> list[dict[str, object]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_a_closed_connection_is_one_line_of_json() -> None:
    stream = io.StringIO()
    configure_logs("info", "auto", stream)  # not a terminal
    access, connection = AccessLogger(), relayed(relay_id(1, 1), A)
    access.opened("chat", connection)
    access.closed("chat", connection, 12.3456)
    (line,) = lines(stream)
    assert line.pop("timestamp")
    assert line == {
        "event": "closed",
        "level": "info",
        "logger": "forestay.access",
        "cluster": "chat",
        "id": connection.id,
        "client": "192.0.2.1:5555",
        "endpoint": A,
        "duration_s": 12.346,
    }


def test_at_level_debug_a_connection_is_logged_when_it_opens() -> None:
    stream = io.StringIO()
    configure_logs("debug", "json", stream)
    AccessLogger().opened("chat", relayed(relay_id(1, 1), A))
    assert [line["event"] for line in lines(stream)] == ["opened"]


def test_lines_of_libraries_have_the_same_form() -> None:
    stream = io.StringIO()
    configure_logs("info", "json", stream)
    logging.getLogger("uvicorn.error").warning("a %s", "trouble")
    (line,) = lines(stream)
    assert (line["event"], line["level"], line["logger"]) == ("a trouble", "warning", "uvicorn.error")


def test_an_exception_is_part_of_its_line_without_the_values_of_variables() -> None:
    stream = io.StringIO()
    configure_logs("info", "json", stream)
    secret = "s3cret"
    try:
        raise ZeroDivisionError(f"a defect {len(secret)}")
    except ZeroDivisionError as error:
        structlog.get_logger("forestay").error("survived", exc_info=error)
    (line,) = lines(stream)
    assert "ZeroDivisionError" in json.dumps(line["exception"])
    assert secret not in json.dumps(line), "values of variables do not belong into a log"


def test_on_a_terminal_lines_are_for_people() -> None:
    stream = io.StringIO()
    configure_logs("info", "console", stream)
    structlog.get_logger("forestay").info("health_changed", endpoint=A)
    assert "health_changed" in stream.getvalue()
    assert f"endpoint={A}" in stream.getvalue()
