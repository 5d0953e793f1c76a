"""Errors as the API shows them: RFC 9457 problem documents that name the field and the remedy."""

import re
from collections.abc import Mapping
from typing import Any

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException

from forestay.model.errors import InvalidInput, UnknownConnection, UnknownEndpoint

log = structlog.get_logger(__name__)

MEDIA_TYPE = "application/problem+json"
FIELD_IN_MESSAGE = re.compile(r"^([a-z_]+) = ")
"""`InvalidInput` messages begin with "field = value: "."""

REMEDIES = {
    "missing": "add this field",
    "extra_forbidden": "remove this field, or correct its name (see /docs)",
    "json_invalid": "send valid JSON",
}
UNION_TAGS = frozenset({"one", "list"})
"""Words of pydantic for the alternatives of a body, which the sender never wrote."""

TITLES = {
    400: "Bad request",
    401: "Not authorized",
    403: "Forbidden",
    404: "Not found",
    405: "Method not allowed",
    409: "Conflict",
    413: "Body too large",
    422: "Invalid input",
    500: "Internal error",
    503: "Not possible now",
}


class FieldProblem(BaseModel):
    """What is wrong with one field."""

    field: str = Field(description="Where: names and indexes joined by dots", examples=["exclude.0"])
    problem: str = Field(description="What is wrong with it")
    remedy: str = Field(description="What to do about it")


class ProblemDocument(BaseModel):
    """Body of every answer with a status of 400 or more."""

    title: str = Field(description="Kind of problem", examples=["Not found"])
    status: int = Field(description="The HTTP status", examples=[404])
    detail: str = Field(description="What happened", examples=["there is no cluster 'chta'"])
    remedy: str = Field("", description="What to do about it", examples=["use one of: chat, mqtt"])
    errors: list[FieldProblem] = Field([], description="Fields at fault")


class Problem(HTTPException):
    """An answer that is not a success, for a reason that the client can do something about."""

    def __init__(
        self,
        status: int,
        detail: str,
        remedy: str = "",
        errors: list[FieldProblem] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(status, detail, dict(headers or {}))
        self.remedy = remedy
        self.errors = errors or []


def problem_response(problem: Problem) -> JSONResponse:
    """The problem as an HTTP response."""
    document = ProblemDocument(
        title=TITLES.get(problem.status_code, "Problem"),
        status=problem.status_code,
        detail=str(problem.detail),
        remedy=problem.remedy,
        errors=problem.errors,
    )
    return JSONResponse(document.model_dump(), problem.status_code, problem.headers, MEDIA_TYPE)


def install(app: FastAPI) -> None:
    """Make `app` answer every kind of trouble with a problem document."""
    app.add_exception_handler(HTTPException, _on_http_exception)
    app.add_exception_handler(RequestValidationError, _on_validation_error)
    app.add_exception_handler(InvalidInput, _on_invalid_input)
    app.add_exception_handler(UnknownEndpoint, _on_unknown)
    app.add_exception_handler(UnknownConnection, _on_unknown)
    app.add_exception_handler(Exception, _on_defect)


async def _on_http_exception(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    if not isinstance(error, Problem):
        remedy = "see /docs for the routes" if error.status_code in (404, 405) else ""
        error = Problem(error.status_code, str(error.detail), remedy, headers=error.headers)
    return problem_response(error)


async def _on_validation_error(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    problems = [_field_problem(item) for item in error.errors()]
    first = problems[0]
    return problem_response(Problem(422, f"{first.field}: {first.problem}", first.remedy, problems))


async def _on_invalid_input(request: Request, error: Exception) -> JSONResponse:
    message = str(error)
    match = FIELD_IN_MESSAGE.match(message)
    fields = [FieldProblem(field=match[1], problem=message, remedy=_remedy(message))] if match else []
    return problem_response(Problem(422, message, _remedy(message), fields))


async def _on_unknown(request: Request, error: Exception) -> JSONResponse:
    what = "connections" if isinstance(error, UnknownConnection) else "endpoints"
    return problem_response(Problem(404, str(error), f"list the {what} of the cluster to see which there are"))


async def _on_defect(request: Request, error: Exception) -> JSONResponse:
    log.error("request_failed", method=request.method, path=request.url.path, exc_info=error)
    return problem_response(Problem(500, "forestay made a mistake", "see its log, and report it"))


def _field_problem(item: dict[str, Any]) -> FieldProblem:
    """One pydantic error; its input is left out, since it may be anything and need not be printable."""
    place, *parts = [str(part) for part in item["loc"]]
    if item["type"] == "json_invalid":
        parts = []  # pydantic gives the position, which the message has as well
    parts = [part for part in parts if part not in UNION_TAGS]
    message = item["msg"].removeprefix("Value error, ")
    return FieldProblem(
        field=".".join(parts) or place, problem=message, remedy=REMEDIES.get(item["type"]) or _remedy(message)
    )


def _remedy(message: str) -> str:
    """What to do, from messages of the forms "wrong: remedy" and "Input should be this or that"."""
    _, colon, remedy = message.partition(": ")
    if colon:
        return remedy
    expected = message.removeprefix("Input should be ")
    return f"give {expected}" if expected.startswith(("a ", "an ")) else f"change it: {expected}"
