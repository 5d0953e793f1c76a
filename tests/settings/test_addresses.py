import pytest
from hypothesis import given
from hypothesis import strategies as st

from forestay.settings.addresses import HostPort, parse_host_port


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("10.0.0.1:8080", "10.0.0.1:8080"),
        ("[::1]:80", "[::1]:80"),
        ("[0:0:0:0:0:0:0:1]:80", "[::1]:80"),
        ("Chat.Internal:80", "chat.internal:80"),
        (" a:1 ", "a:1"),
    ],
)
def test_spellings_of_one_address_become_one(text: str, expected: str) -> None:
    assert str(parse_host_port(text)) == expected


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("10.0.0.1", "has no port"),
        ("a:b", "not a number"),
        ("a:0", "out of range"),
        ("a:65536", "out of range"),
        (":80", "neither a name nor an IP address"),
        ("::1:80", "brackets"),
        ("[10.0.0.1]:80", "only IPv6"),
        ("a b:80", "neither a name nor an IP address"),
        ("a:\u0661", "not a number"),
    ],
)
def test_a_bad_address_is_refused_with_the_reason(text: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        parse_host_port(text)


def test_listening_may_leave_the_host_out_and_the_port_to_the_kernel() -> None:
    assert parse_host_port(":8080", listen=True) == HostPort("", 8080)
    assert parse_host_port("127.0.0.1:0", listen=True).port == 0


@pytest.mark.parametrize(
    ("one", "other", "collides"),
    [
        (":80", "127.0.0.1:80", True),
        ("0.0.0.0:80", "[::1]:80", True),
        ("127.0.0.1:80", "127.0.0.2:80", False),
        ("127.0.0.1:80", "127.0.0.1:81", False),
        ("127.0.0.1:0", "127.0.0.1:0", False),
    ],
)
def test_wildcards_collide_with_every_address_of_their_port(one: str, other: str, collides: bool) -> None:
    first, second = parse_host_port(one, listen=True), parse_host_port(other, listen=True)
    assert first.collides_with(second) is collides
    assert second.collides_with(first) is collides


@pytest.mark.parametrize(
    ("text", "loopback"),
    [
        ("127.0.0.1:1", True),
        ("127.9.9.9:1", True),
        ("[::1]:1", True),
        ("localhost:1", True),
        (":1", False),
        ("a:1", False),
    ],
)
def test_loopback_is_recognised(text: str, loopback: bool) -> None:
    assert parse_host_port(text, listen=True).is_loopback is loopback


@given(st.text(max_size=80))
def test_any_text_is_an_address_that_reads_back_or_a_value_error(text: str) -> None:
    try:
        address = parse_host_port(text, listen=True)
    except ValueError:
        return
    assert parse_host_port(str(address), listen=True) == address
