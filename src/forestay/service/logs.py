"""Structured logs on standard error: for people on a terminal, else one JSON object a line; and the access log."""

import logging
import sys
from typing import Literal, TextIO

import structlog

from forestay.model.connection import Connection

LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}


def configure_logs(
    level: Literal["debug", "info", "warning", "error"] = "info",
    format: Literal["auto", "console", "json"] = "auto",
    stream: TextIO | None = None,
) -> None:
    """Set logging up for the process, ours and that of libraries, once.

    Args:
        level: least severe level that is written.
        format: "auto": console on a terminal, else JSON.
        stream: where to; default: standard error.
    """
    stream = stream or sys.stderr
    for_people = format == "console" or (format == "auto" and stream.isatty())
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    if for_people:
        shown: list[structlog.typing.Processor] = [
            structlog.dev.ConsoleRenderer(colors=stream.isatty(), exception_formatter=structlog.dev.plain_traceback)
        ]
    else:
        # Without the values of local variables: they may be secrets, or long.
        trace = structlog.tracebacks.ExceptionDictTransformer(show_locals=False)
        shown = [structlog.processors.ExceptionRenderer(trace), structlog.processors.JSONRenderer()]
    handler = logging.StreamHandler(stream)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *shown],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(LEVELS[level])
    # A line for each request to the API, or by the health checks, says less than the metrics do. ("uvicorn.error" is
    # the name of everything else that uvicorn says, such as that it has started.)
    for chatty in ("httpx", "httpcore", "uvicorn.access", "uvicorn.error"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.processors.StackInfoRenderer(),
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        wrapper_class=structlog.stdlib.BoundLogger,
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )


class AccessLogger:
    """Writes one line for every connection that ends, and at level debug one when it begins."""

    def __init__(self) -> None:
        self._log = structlog.stdlib.get_logger("forestay.access")

    def opened(self, cluster: str, connection: Connection) -> None:
        """See `forestay.control.connections.AccessLog`."""
        self._log.debug(
            "opened",
            cluster=cluster,
            id=connection.id,
            client=connection.client,
            endpoint=connection.endpoint_id,
        )

    def closed(self, cluster: str, connection: Connection, duration_s: float) -> None:
        """See `forestay.control.connections.AccessLog`."""
        self._log.info(
            "closed",
            cluster=cluster,
            id=connection.id,
            client=connection.client,
            endpoint=connection.endpoint_id,
            duration_s=round(duration_s, 3),
        )
