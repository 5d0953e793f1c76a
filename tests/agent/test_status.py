import json
import math
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forestay.agent.status import BYTES_MAX, STATUS_METRICS, Status, StatusUnusable, as_page
from forestay.telemetry.exposition import Meter
from forestay.telemetry.page import client


async def read(path: Path, status: Status | None = None, now_s: float = 0.0) -> str:
    async with client() as http:
        return await (status or Status(str(path))).read(http, timeout_s=1.0, now_s=now_s)


async def test_counters_of_a_status_file_become_rates_and_means(tmp_path: Path) -> None:
    file = tmp_path / "status.json"
    meter = Meter(STATUS_METRICS)
    file.write_text(json.dumps({"requests_total": 100, "processing_s_total": 5, "open_connections": 3, "name": "chat"}))
    assert meter.measure(await read(file), 0.0) == {"open_connections": 3}
    file.write_text(json.dumps({"requests_total": 150, "processing_s_total": 15, "open_connections": 4, "load": 0.5}))
    assert meter.measure(await read(file), 2.0) == {
        "requests_per_s": 25.0,
        "processing_s": 0.2,
        "open_connections": 4,
        "load": 0.5,
    }


async def test_a_file_that_nobody_writes_any_more_says_nothing(tmp_path: Path) -> None:
    file = tmp_path / "status.json"
    file.write_text('{"load": 0.5}')
    status = Status(str(file))
    assert await read(file, status, now_s=0.0) == "load 0.5\n"
    assert await read(file, status, now_s=9.0) == "load 0.5\n"
    with pytest.raises(StatusUnusable, match="was not written for 10 s"):
        await read(file, status, now_s=11.0)
    os.utime(file, ns=(1, 1))
    assert await read(file, status, now_s=12.0) == "load 0.5\n"


async def test_a_missing_or_huge_file_and_a_dead_url_say_nothing(tmp_path: Path) -> None:
    with pytest.raises(StatusUnusable, match="No such file"):
        await read(tmp_path / "nothing")
    (tmp_path / "huge").write_text("x" * (BYTES_MAX + 1))
    with pytest.raises(StatusUnusable, match="is larger than"):
        await read(tmp_path / "huge")
    with pytest.raises(StatusUnusable, match=r"127\.0\.0\.1:1"):
        await read(tmp_path, Status("http://127.0.0.1:1/status"))


@pytest.mark.parametrize("body", [b"", b"[]", b"3", b"{", b"\xff", b"[" * 100_000])
def test_what_is_no_object_says_nothing(body: bytes) -> None:
    with pytest.raises(StatusUnusable):
        as_page(body)


NUMBERS = st.integers() | st.floats() | st.just(10**400)


@given(
    st.dictionaries(st.text(max_size=5) | st.sampled_from(list(STATUS_METRICS)), NUMBERS | st.text() | st.booleans())
)
def test_any_object_becomes_a_page_that_can_be_measured(status: dict[str, object]) -> None:
    measured = Meter(STATUS_METRICS).measure(as_page(json.dumps(status).encode()), 0.0)
    assert all(math.isfinite(value) for value in measured.values())
    load = status.get("load")
    if isinstance(load, float) and 0 <= load <= 10:
        assert measured["load"] == load
