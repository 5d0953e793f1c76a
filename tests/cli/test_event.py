import pytest
from hypothesis import given
from hypothesis import strategies as st

from forestay.cli.event import seconds
from forestay.cli.failure import CommandFailed


@pytest.mark.parametrize(("text", "expected"), [("90", 90), ("90s", 90), ("1.5m", 90), ("2h", 7200), ("1d", 86_400)])
def test_durations_are_read_as_people_write_them(text: str, expected: float) -> None:
    assert seconds("--in", text) == expected


@given(st.text(max_size=12))
def test_any_other_text_is_refused_with_an_example(text: str) -> None:
    try:
        assert seconds("--in", text) >= 0
    except CommandFailed as refusal:
        assert "--in" in str(refusal)  # noqa: PT017 (either outcome is right, but no other)
