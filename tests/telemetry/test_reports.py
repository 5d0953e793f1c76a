import json
import math
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from hypothesis import given
from hypothesis import strategies as st

from forestay.model.errors import InvalidInput
from forestay.model.load import LoadReport
from forestay.telemetry.reports import LARGEST, REPORTS_MAX, Report, Reports, digest, parse_reports

ENDPOINT = {"cluster": "chat", "endpoint": "10.0.0.1:8080"}


def body(**fields: Any) -> str:
    return json.dumps(ENDPOINT | fields)


def test_a_report_is_dated_on_the_clock_of_the_receiver() -> None:
    (report,) = parse_reports(body(cpu=0.5, memory=0.25, open_connections=12, age_s=0.75))
    assert report.to_load_report(now_s=100.0) == LoadReport(
        "10.0.0.1:8080", at_s=99.25, cpu=0.5, memory=0.25, open_connections=12
    )


def test_several_reports_come_as_a_list() -> None:
    reports = parse_reports(f"[{body(cpu=0.5)}, {body(load=0.25, age_s=1)}]")
    assert [(report.cpu, report.load, report.age_s) for report in reports] == [(0.5, None, 0.0), (None, 0.25, 1.0)]


def test_every_measurement_arrives_under_its_own_name() -> None:
    fields = {name: index for index, name in enumerate(LARGEST, start=1)}
    report = parse_reports(body(**fields))[0].to_load_report(0.0)
    assert {name: getattr(report, name) for name in LARGEST} == fields


def test_two_spellings_of_an_address_are_one_endpoint() -> None:
    (report,) = parse_reports(json.dumps({"cluster": "chat", "endpoint": "[0:0::1]:80", "cpu": 0.1}))
    assert report.endpoint == "[::1]:80"


def test_listed_sockets_count_as_open_connections_unless_the_server_counted_itself() -> None:
    sockets = {"count": 1, "listed": [["10.0.0.9", 40000, "10.0.0.1", 8080]]}
    (report,) = parse_reports(body(connections=sockets))
    assert report.connections is not None
    assert report.connections.listed == [("10.0.0.9", 40000, "10.0.0.1", 8080)]
    assert report.to_load_report(0.0).open_connections == 1
    (report,) = parse_reports(body(connections=sockets, open_connections=7))
    assert report.to_load_report(0.0).open_connections == 7


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"cpu": 42}, r"cpu: .*42 % is 0\.42"),
        ({"cpu": -0.1}, r"cpu: must be a fraction"),
        ({"load": math.nan}, r"load: .*finite"),
        ({"network": math.inf}, r"network: .*finite"),
        ({"cpu": "0.5"}, r"cpu: .*valid number"),
        ({"cpu": True}, r"cpu: .*valid number"),
        ({"requests_per_s": -1}, r"requests_per_s: .*greater than or equal to 0"),
        ({"requests_per_s": 1e300}, r"requests_per_s: .*less than or equal"),
        ({"open_connections": 1.5}, r"open_connections: .*valid integer"),
        ({"age_s": -1, "cpu": 0.5}, r"age_s: .*greater than or equal to 0"),
        ({"age_s": 1e9, "cpu": 0.5}, r"age_s: .*less than or equal"),
        ({"cpus": 0.5, "cpu": 0.5}, r"cpus: Extra inputs"),
        ({}, r"says nothing: give at least one of load, cpu"),
        ({"endpoint": "nowhere", "cpu": 0.5}, r"endpoint: 'nowhere' is not an address: write"),
        ({"cluster": "", "cpu": 0.5}, r"cluster: .*at least 1"),
        ({"connections": {"count": 2, "listed": []}}, r"connections: count is 2 and listed holds 0"),
        ({"connections": {"count": 1, "digest": "XYZ"}}, r"connections\.digest: "),
        ({"connections": {"count": 1, "listed": [["a", 1, "b", 70000]]}}, r"connections\.listed\.0\.3: "),
    ],
)
def test_a_bad_value_is_refused_by_name(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        parse_reports(body(**fields))


@pytest.mark.parametrize("text", ["", "null", "3", '"x"', "[]", "[1]", "{", "[[]]", "\x00", json.dumps([{}] * 2)])
def test_what_is_no_report_is_refused(text: str) -> None:
    with pytest.raises(InvalidInput):
        parse_reports(text)


def test_a_list_has_a_bound_and_errors_do_not_flood_the_message() -> None:
    with pytest.raises(InvalidInput, match=f"at most {REPORTS_MAX}"):
        parse_reports(f"[{','.join([body(cpu=0.5)] * (REPORTS_MAX + 1))}]")
    with pytest.raises(InvalidInput, match="and 95 more") as refused:
        parse_reports(f"[{','.join([body(cpu=99)] * 100)}]")
    assert len(str(refused.value)) < 2000


def test_a_digest_depends_on_the_set_and_not_on_the_order() -> None:
    one, two = ("10.0.0.9", 1, "10.0.0.1", 80), ("10.0.0.9", 2, "10.0.0.1", 80)
    assert digest([one, two]) == digest([two, one])
    assert len({digest([]), digest([one]), digest([two]), digest([one, two])}) == 4


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(list(Report.model_fields)), inner),
    max_leaves=20,
)


@given(st.binary(max_size=200) | JSON.map(json.dumps) | JSON.map(lambda value: json.dumps([ENDPOINT | {"cpu": value}])))
def test_any_body_is_either_understood_or_refused_and_what_is_understood_is_sane(text: bytes | str) -> None:
    try:
        reports = parse_reports(text)
    except InvalidInput:
        return
    for report in reports:
        load_report = report.to_load_report(1e6)
        for name in LARGEST:
            value = getattr(load_report, name)
            assert value is None or (math.isfinite(value) and value >= 0)


async def test_the_body_works_as_that_of_a_fastapi_route() -> None:
    app = FastAPI()

    @app.post("/v1/reports")
    async def post(reports: Reports) -> list[float | None]:
        return [report.cpu for report in reports.each]

    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://forestay") as client:
        listed = {"count": 1, "listed": [["10.0.0.9", 40000, "10.0.0.1", 8080]]}
        assert (await client.post("/v1/reports", json=ENDPOINT | {"cpu": 1, "connections": listed})).json() == [1.0]
        assert (await client.post("/v1/reports", json=[ENDPOINT | {"cpu": 0.5}])).json() == [0.5]
        refused = await client.post("/v1/reports", json=ENDPOINT | {"cpu": 42})
        assert refused.status_code == 422
        assert "42 % is 0.42" in refused.text
        assert "Reports" in (await client.get("/openapi.json")).text
