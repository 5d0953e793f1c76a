"""Measurements from the Prometheus text of a server.

Each field of a load report is named by a small expression:

    cpu = "rate(process_cpu_seconds_total) / 2"                       # of two cores
    memory = "1 - node_memory_MemAvailable_bytes / node_memory_MemTotal_bytes"
    requests_per_s = 'http_requests_total{handler!="/metrics"}'
    processing_s = "http_request_duration_seconds_sum / http_request_duration_seconds_count"

A selector is the sum over the series that match it. A counter (by its TYPE, or by its name where the page does not
say) stands for its rate since the page before, so the quotient of two counters is a mean over the window; `rate(...)`
says so for a counter that is declared as a gauge. A counter that went backwards restarted from 0, as in PromQL.
"""

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from forestay.model.errors import InvalidInput
from forestay.telemetry.reports import LARGEST

_NAME = r"[a-zA-Z_:][a-zA-Z0-9_:]*"
_MATCHER = re.compile(r'\s*([a-zA-Z_][a-zA-Z0-9_]*)\s*(=|!=)\s*"((?:[^"\\]|\\["\\])*)"\s*(,|$)')
_TERM = rf'(?:rate\(\s*)?(?:{_NAME}\s*(?:\{{(?:[^"}}]|"(?:[^"\\]|\\.)*")*\}})?)\s*\)?|\d+(?:\.\d*)?(?:[eE][+-]?\d+)?'
_EXPRESSION = re.compile(rf"\s*(1\s*-\s*)?({_TERM})\s*(?:/\s*({_TERM}))?\s*")
_SELECTOR = re.compile(rf"(rate\(\s*)?({_NAME})\s*(?:\{{(.*)\}})?\s*(\))?", re.DOTALL)
_LINE = re.compile(rf"(?:#\s*TYPE\s+)?({_NAME})")
_SUFFIXES = ("", "_total", "_sum", "_count", "_bucket", "_created")
_CUMULATIVE_SUFFIXES = ("_total", "_sum", "_count", "_bucket")


class PageMalformed(InvalidInput):
    """The page is not Prometheus text where it concerns us."""


@dataclass(frozen=True, slots=True)
class Selector:
    """Which series to add up.

    Attributes:
        name: of the metric, as on the page.
        matchers: (label, whether it must be equal, value); a label that is missing has the value "".
        rate: the operator says that it is a counter.
    """

    name: str
    matchers: tuple[tuple[str, bool, str], ...] = ()
    rate: bool = False

    def matches(self, name: str, labels: Mapping[str, str]) -> bool:
        """Whether a series belongs to it."""
        return name == self.name and all(
            (labels.get(label, "") == value) == equal for label, equal, value in self.matchers
        )


@dataclass(frozen=True, slots=True)
class Expression:
    """`numerator / denominator`, or one minus that."""

    numerator: Selector | float
    denominator: Selector | float = 1.0
    complement: bool = False


@dataclass(frozen=True, slots=True)
class Series:
    """What a page says of one selector: values by label set, and whether they only ever grow."""

    values: Mapping[frozenset[tuple[str, str]], float]
    cumulative: bool


def parse_expression(text: str) -> Expression:
    """Read an expression.

    Raises:
        InvalidInput: it is none.
    """
    match = _EXPRESSION.fullmatch(text)
    if match is None:
        raise InvalidInput(
            f'{text!r} is no expression: write "metric", \'metric{{label="value"}}\', "metric / other"'
            ' or "1 - metric / other"'
        )
    complement, numerator, denominator = match.groups()
    return Expression(_term(numerator), _term(denominator) if denominator else 1.0, bool(complement))


def _term(text: str) -> Selector | float:
    text = text.strip()
    if text[0].isdigit():
        number = float(text)
        if not 0 < number < math.inf:
            raise InvalidInput(f"{text}: a number must be positive and finite")
        return number
    match = _SELECTOR.fullmatch(text)
    if match is None or bool(match[1]) != bool(match[4]):
        raise InvalidInput(f"{text!r}: write rate(metric) or metric")
    matchers, rest = [], match[3] or ""
    while rest.strip():
        matcher = _MATCHER.match(rest)
        if matcher is None:
            raise InvalidInput(f'{{{match[3]}}}: write label="value" or label!="value", separated by commas')
        label, operator, value, _ = matcher.groups()
        matchers.append((label, operator == "=", re.sub(r"\\(.)", r"\1", value)))
        rest = rest[matcher.end() :]
    return Selector(match[2], tuple(matchers), rate=bool(match[1]))


def read_page(text: str, selectors: Iterable[Selector]) -> dict[Selector, Series]:
    """What a page says of each selector that it knows.

    Raises:
        PageMalformed: the lines that concern the selectors are not Prometheus text.
    """
    selectors = list(selectors)
    names = {selector.name for selector in selectors}
    found: dict[Selector, dict[frozenset[tuple[str, str]], float]] = {}
    cumulative: dict[Selector, bool] = {}
    try:
        for family in text_string_to_metric_families(_only(text, names)):
            for sample in family.samples:
                if sample.name not in names or not math.isfinite(sample.value):
                    continue
                for selector in selectors:
                    if selector.matches(sample.name, sample.labels):
                        found.setdefault(selector, {})[frozenset(sample.labels.items())] = float(sample.value)
                        cumulative[selector] = selector.rate or _is_cumulative(family.type, sample.name)
    except (ValueError, IndexError, KeyError, AttributeError, TypeError) as error:
        # The parser splits strings and lets what goes wrong on the way escape as it comes.
        raise PageMalformed(f"not Prometheus text: {error}") from None
    return {selector: Series(values, cumulative[selector]) for selector, values in found.items()}


def _only(text: str, names: set[str]) -> str:
    """Lines that concern the metrics: parsing costs 10 us a line, and pages have thousands."""
    families = {name.removesuffix(suffix) for name in names for suffix in _SUFFIXES}
    kept = []
    for line in text.split("\n"):
        match = _LINE.match(line.lstrip())
        if match is not None and match[1] in (families if line.lstrip().startswith("#") else names):
            kept.append(line)
    return "".join(f"{line}\n" for line in kept)


def _is_cumulative(kind: str, name: str) -> bool:
    if kind in ("unknown", "untyped", "histogram", "summary"):
        return name.endswith(_CUMULATIVE_SUFFIXES)
    return kind == "counter"


class Meter:
    """Measurements of one server, page after page.

    Attributes:
        missing: fields that the last page gave no usable value for; empty after the first page, which has no rates yet.
    """

    def __init__(self, metrics: Mapping[str, str]) -> None:
        """Choose what to measure.

        Args:
            metrics: expression by field of a load report.

        Raises:
            InvalidInput: an unknown field, none at all, or an expression that is none.
        """
        if not metrics:
            raise InvalidInput(f"metrics is empty: name at least one of {', '.join(LARGEST)}")
        self.missing: frozenset[str] = frozenset()
        self._expressions: dict[str, Expression] = {}
        for field, text in metrics.items():
            if field not in LARGEST:
                raise InvalidInput(f"metrics.{field}: not a measurement; choose from {', '.join(LARGEST)}")
            try:
                self._expressions[field] = parse_expression(text)
            except InvalidInput as error:
                raise InvalidInput(f"metrics.{field}: {error}") from None
        self._selectors = [
            term
            for expression in self._expressions.values()
            for term in (expression.numerator, expression.denominator)
            if isinstance(term, Selector)
        ]
        self._before: tuple[float, dict[Selector, Series]] | None = None

    def measure(self, text: str, at_s: float) -> dict[str, Any]:
        """Take a page.

        Args:
            text: the page.
            at_s: when it was made, monotonic seconds.

        Returns:
            Values by field of a load report (float; int for open_connections), as far as the page gives them; rates
            from the second page on.

        Raises:
            PageMalformed: it cannot be read; the next one is compared with the last good one.
        """
        now = (at_s, read_page(text, self._selectors))
        before, self._before = self._before, now
        measured: dict[str, Any] = {}
        for field, expression in self._expressions.items():
            value = _evaluate(expression, before, now)
            if value is not None and 0.0 <= value <= LARGEST[field]:
                measured[field] = round(value) if field == "open_connections" else value
        self.missing = frozenset(self._expressions) - frozenset(measured) if before else frozenset()
        return measured


_Page = tuple[float, dict[Selector, Series]]


def _evaluate(expression: Expression, before: _Page | None, now: _Page) -> float | None:
    numerator = _value(expression.numerator, before, now)
    denominator = _value(expression.denominator, before, now)
    if numerator is None or not denominator:
        return None
    quotient = numerator / denominator
    return 1.0 - quotient if expression.complement else quotient


def _value(term: Selector | float, before: _Page | None, now: _Page) -> float | None:
    if isinstance(term, float):
        return term
    at_s, series = now[0], now[1].get(term)
    if series is None or not series.cumulative:
        return None if series is None else math.fsum(series.values.values())
    earlier = before[1].get(term) if before else None
    if before is None or earlier is None or at_s <= before[0]:
        return None
    # A series without a predecessor is left out: it may be new, and it may be an old one shown for the first time.
    grown = [
        value - earlier.values[labels] if value >= earlier.values[labels] else value
        for labels, value in series.values.items()
        if labels in earlier.values
    ]
    return math.fsum(grown) / (at_s - before[0]) if grown else None
