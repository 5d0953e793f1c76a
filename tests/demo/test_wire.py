import pytest

from forestay.demo import wire


def test_requests_and_replies_are_read_back() -> None:
    assert wire.parse_request(wire.request(7, 0.003)) == (7, 0.003)
    assert wire.parse_reply(wire.reply(7)) == 7


@pytest.mark.parametrize("data", [b"", b"short", "text", wire.request(1, 2.0), wire.request(1, float("nan"))])
def test_other_requests_are_refused(data: bytes | str) -> None:
    with pytest.raises(ValueError, match=r"request has|cost_s"):
        wire.parse_request(data)


@pytest.mark.parametrize("data", [b"", b"long enough", "text"])
def test_other_replies_are_refused(data: bytes | str) -> None:
    with pytest.raises(ValueError, match="reply has"):
        wire.parse_reply(data)
