import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from forestay.model.errors import InvalidInput
from forestay.telemetry.exposition import Expression, Meter, PageMalformed, Selector, parse_expression, read_page
from forestay.telemetry.reports import LARGEST

COUNTER = "# TYPE requests_total counter\nrequests_total{} "


@pytest.mark.parametrize(
    ("text", "expression"),
    [
        ("up", Expression(Selector("up"))),
        ("cpu / 2", Expression(Selector("cpu"), 2.0)),
        ("rate(cpu) / 0.5", Expression(Selector("cpu", rate=True), 0.5)),
        ("1 - free / all", Expression(Selector("free"), Selector("all"), complement=True)),
        ('a:b{x="1",y!="}/\\"",}', Expression(Selector("a:b", (("x", True, "1"), ("y", False, '}/"'))))),
        ('rate( a{ x = "1" } )', Expression(Selector("a", (("x", True, "1"),), rate=True))),
        ("rate", Expression(Selector("rate"))),
    ],
)
def test_expressions_are_read(text: str, expression: Expression) -> None:
    assert parse_expression(text) == expression


@pytest.mark.parametrize(
    "text",
    ["", "a b", "a / b / c", "2 - a", "a{x}", 'a{x=~"y"}', "rate(a", "a)", "a / 0", "-1", 'a{x="1"y="2"}', "1e999"],
)
def test_what_is_no_expression_is_refused(text: str) -> None:
    with pytest.raises(InvalidInput):
        parse_expression(text)


@pytest.mark.parametrize(
    ("metrics", "message"),
    [
        ({}, "metrics is empty"),
        ({"cpus": "a"}, r"metrics\.cpus: not a measurement; choose from load, cpu"),
        ({"cpu": "a b"}, r"metrics\.cpu: 'a b' is no expression: write"),
    ],
)
def test_a_mapping_that_cannot_work_is_refused_by_field(metrics: dict[str, str], message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        Meter(metrics)


def test_a_real_page_gives_rates_means_and_fractions() -> None:
    registry = CollectorRegistry()
    cpu = Counter("process_cpu_seconds", "CPU", registry=registry)
    requests = Counter("http_requests", "Requests", ["handler"], registry=registry)
    latency = Histogram("latency_seconds", "Latency", registry=registry)
    free = Gauge("memory_free", "Memory", registry=registry)
    Gauge("memory_all", "Memory", registry=registry).set(200)
    Gauge("sockets", "Sockets", ["state"], registry=registry).labels("open").set(7)
    meter = Meter(
        {
            "cpu": "process_cpu_seconds_total / 2",
            "memory": "1 - memory_free / memory_all",
            "requests_per_s": 'http_requests_total{handler!="/metrics"}',
            "processing_s": "latency_seconds_sum / latency_seconds_count",
            "open_connections": 'sockets{state="open"}',
        }
    )
    for handler in ("/a", "/b", "/metrics"):
        requests.labels(handler).inc(5)
    free.set(50)
    latency.observe(9.0)
    assert meter.measure(generate_latest(registry).decode(), at_s=0.0) == {"memory": 0.75, "open_connections": 7}
    assert not meter.missing
    cpu.inc(1.0)
    for handler in ("/a", "/b", "/metrics"):
        requests.labels(handler).inc(10)
    for seconds in (0.25, 0.75):
        latency.observe(seconds)
    assert meter.measure(generate_latest(registry).decode(), at_s=2.0) == {
        "cpu": 0.25,
        "memory": 0.75,
        "requests_per_s": 10.0,
        "processing_s": 0.5,
        "open_connections": 7,
    }
    measured = meter.measure(generate_latest(registry).decode(), at_s=3.0)
    assert measured["requests_per_s"] == 0.0
    assert meter.missing == {"processing_s"}


def test_a_counter_that_went_backwards_restarted_from_zero() -> None:
    meter = Meter({"requests_per_s": "requests_total"})
    meter.measure(COUNTER + "1000\n", 0.0)
    assert meter.measure(COUNTER + "20\n", 2.0) == {"requests_per_s": 10.0}


def test_no_time_between_two_pages_gives_no_rate() -> None:
    meter = Meter({"requests_per_s": "requests_total"})
    meter.measure(COUNTER + "10\n", 1.0)
    assert meter.measure(COUNTER + "20\n", 1.0) == {}
    assert meter.measure(COUNTER + "30\n", 0.0) == {}


def test_a_series_that_comes_or_goes_does_not_jump_into_the_rate() -> None:
    meter = Meter({"requests_per_s": "requests_total"})
    meter.measure('requests_total{a="1"} 10\nrequests_total{a="2"} 10\n', 0.0)
    measured = meter.measure('requests_total{a="1"} 15\nrequests_total{a="3"} 1000000\n', 1.0)
    assert measured == {"requests_per_s": 5.0}


@pytest.mark.parametrize(
    ("page", "metrics"),
    [
        ("load NaN\n", {"load": "load"}),
        ("load +Inf\n", {"load": "load"}),
        ("load -1\n", {"load": "load"}),
        ("load 42\n", {"load": "load"}),
        ("load 1\nall 0\n", {"load": "load / all"}),
        ("", {"load": "load"}),
    ],
)
def test_a_value_that_cannot_be_is_missing(page: str, metrics: dict[str, str]) -> None:
    meter = Meter(metrics)
    meter.measure("", 0.0)
    assert meter.measure(page, 1.0) == {}
    assert meter.missing == {"load"}


def test_rate_makes_a_counter_of_a_gauge() -> None:
    meter = Meter({"cpu": "rate(cpu_seconds)"})
    page = "# TYPE cpu_seconds gauge\ncpu_seconds "
    meter.measure(page + "1\n", 0.0)
    assert meter.measure(page + "1.5\n", 1.0) == {"cpu": 0.5}


def test_lines_that_concern_nobody_may_be_broken() -> None:
    page = 'broken{ 1\nother{a="\n' + COUNTER + "1\n}}}\n"
    assert read_page(page, [Selector("requests_total")])[Selector("requests_total")].cumulative


def test_lines_that_concern_us_may_not() -> None:
    with pytest.raises(PageMalformed, match="not Prometheus text"):
        read_page("load high\n", [Selector("load")])


METRICS = {"load": "load", "cpu": 'rate(cpu{a="b"}) / 2', "processing_s": "t_sum / t_count", "memory": "1 - m"}
LINES = st.builds(
    "{}{} {}".format,
    st.sampled_from(["load", "cpu", "t_sum", "t_count", "m", "# TYPE t", "# TYPE cpu", "# HELP load"]),
    st.sampled_from(["", "{}", '{a="b"}', '{a="b"', '{a="\\', "{a=", "{a='b'}", '{"load"}', "{,}", '{a="1",a="2"}'])
    | st.text(max_size=8),
    st.sampled_from(["1", "-1", "NaN", "1e999", "0x1", "1 2", "1 x", "counter", "histogram", "", "# {} 1"])
    | st.floats().map(repr)
    | st.text(max_size=8),
)


@given(st.lists(st.lists(LINES, max_size=12).map("\n".join) | st.text(max_size=60), max_size=4))
def test_any_page_is_either_measured_or_refused_and_what_is_measured_is_sane(pages: list[str]) -> None:
    meter = Meter(METRICS)
    for at_s, page in enumerate(pages):
        try:
            measured = meter.measure(page, float(at_s))
        except PageMalformed:
            continue
        for field, value in measured.items():
            assert math.isfinite(value)
            assert 0 <= value <= LARGEST[field]


@given(st.text(alphabet='ab1/-(){}="!,\\ rate.e', max_size=30))
def test_any_text_is_an_expression_or_refused(text: str) -> None:
    try:
        parse_expression(text)
    except InvalidInput:
        return
