"""Token buckets of clients, in memory that workers share."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forestay.dataplanes.relay.client_rates import ClientRates, client_key
from tests.dataplanes.relay.world import close_all, plan_of, relaying, runtime_directory, serving


@pytest.fixture
def path() -> Iterator[Path]:
    with runtime_directory() as directory:
        yield directory / "chat.public.clients"


def test_a_client_is_an_ipv4_address_or_a_64_bit_network() -> None:
    assert client_key("10.0.0.1") != client_key("10.0.0.2")
    assert client_key("2001:db8::1") == client_key("2001:db8:0:0:ffff::2")
    assert client_key("2001:db8::1") != client_key("2001:db8:0:1::1")
    assert client_key("fe80::1%eth0") == client_key("fe80::2")


@settings(max_examples=50, deadline=None)
@given(
    gaps_s=st.lists(st.floats(0.0, 2.0), min_size=1, max_size=80),
    rate_per_s=st.floats(0.1, 20.0),
    burst=st.integers(1, 10),
    workers=st.integers(1, 3),
)
def test_whatever_workers_it_meets_a_client_gets_its_burst_and_its_rate(
    gaps_s: list[float], rate_per_s: float, burst: int, workers: int
) -> None:
    with runtime_directory() as directory:
        rates = [ClientRates(directory / "clients", rate_per_s, burst) for _ in range(workers)]
        now_s, granted = 1000.0, 0
        for number, gap_s in enumerate(gaps_s):
            now_s += gap_s
            granted += rates[number % workers].take("client", now_s)
    assert granted <= burst + (now_s - 1000.0) * rate_per_s + 1e-3
    assert granted >= min(len(gaps_s), burst)


def test_a_client_over_its_rate_costs_no_other_client_anything(path: Path) -> None:
    rates = ClientRates(path, 1.0, 2)
    for number in range(1000):
        for _ in range(5):
            rates.take(f"greedy {number}", 1000.0)
    refused = sum(not rates.take(f"modest {number}", 1000.0) for number in range(1000))
    assert refused <= 2  # both its words shared: (1000 / 2^18)^2 each


def test_words_of_a_time_before_the_restart_of_the_machine_refuse_nobody(path: Path) -> None:
    rates = ClientRates(path, 1.0, 1)
    assert rates.take("client", 1_000_000.0)
    assert rates.take("client", 10.0)
    assert not rates.take("client", 10.5)
    assert rates.take("client", 11.1)


@pytest.mark.process
async def test_the_workers_of_a_listener_hold_a_client_to_one_rate_together() -> None:
    async with (
        serving() as endpoint,
        relaying(plan_of([endpoint]), workers=2, client_rate_per_s=0.01, client_burst=5) as relay,
    ):
        served, writers = 0, []
        for _ in range(20):
            try:
                reader, writer = await relay.connect()
                writers.append(writer)
                writer.write(b"hello")
                served += await asyncio.wait_for(reader.read(5), 5.0) == b"hello"
            except OSError:
                continue  # reset
        assert served == 5
        await relay.stat_becomes("client_rate", 15)
        await close_all(writers)
