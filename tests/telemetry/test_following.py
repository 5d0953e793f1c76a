"""A file that is written, rotated, truncated and removed while it is read."""

import os
from pathlib import Path

import pytest

from forestay.telemetry.following import READ_BYTES, FollowedFile


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "access.log"


def write(path: Path, text: str) -> None:
    with path.open("a", encoding="utf-8") as file:
        file.write(text)


def test_what_was_there_before_is_skipped_and_what_comes_is_read_once(path: Path) -> None:
    write(path, "old\n")
    file = FollowedFile(path)
    assert list(file.read()) == []
    write(path, "a\nb\r\n")
    assert list(file.read()) == ["a", "b"]
    assert list(file.read()) == []
    file.close()


def test_a_line_counts_when_its_end_has_come(path: Path) -> None:
    write(path, "")
    file = FollowedFile(path)
    write(path, "ha")
    assert list(file.read()) == []
    write(path, "lf\nnext")
    assert list(file.read()) == ["half"]
    write(path, "\n")
    assert list(file.read()) == ["next"]
    file.close()


def test_a_file_that_comes_later_is_read_from_its_beginning(path: Path) -> None:
    file = FollowedFile(path)
    assert list(file.read()) == []
    write(path, "first\n")
    assert list(file.read()) == ["first"]
    file.close()


def test_a_rotation_loses_no_line(path: Path) -> None:
    write(path, "")
    file = FollowedFile(path)
    write(path, "one\n")
    path.rename(path.with_suffix(".1"))
    assert list(file.read()) == ["one"]
    write(path.with_suffix(".1"), "two\n")  # the writer has not been told yet
    assert list(file.read()) == ["two"]
    write(path, "three\n")
    lines = [*file.read(), *file.read(), *file.read()]
    assert lines == ["three"]
    assert file.rotations == 1
    file.close()


def test_a_truncated_file_is_read_from_its_beginning(path: Path) -> None:
    write(path, "a long line from before\n")
    file = FollowedFile(path)
    write(path, "half a line that will never end")
    assert list(file.read()) == []
    os.truncate(path, 0)
    write(path, "new\n")
    assert list(file.read()) == ["new"]
    assert file.rotations == 1
    file.close()


def test_a_line_that_is_too_long_is_skipped_and_counted_once(path: Path) -> None:
    write(path, "")
    file = FollowedFile(path, line_bytes_max=10)
    for part in ("x" * 8, "x" * 8, "x" * 8):
        write(path, part)
        assert list(file.read()) == []
    write(path, "x\nok\n" + "y" * 30 + "\nfine\n")
    assert list(file.read()) == ["ok", "fine"]
    assert file.too_long == 2
    file.close()


def test_bytes_that_are_no_text_do_no_harm(path: Path) -> None:
    path.write_bytes(b"")
    file = FollowedFile(path)
    path.write_bytes(b"\xff\xfe\x00\n")
    assert list(file.read()) == ["\ufffd\ufffd\x00"]
    file.close()


def test_one_look_is_bounded_and_the_next_goes_on(path: Path) -> None:
    write(path, "")
    file = FollowedFile(path)
    count = 3 * READ_BYTES // 100
    write(path, ("x" * 99 + "\n") * count)
    first = list(file.read())
    assert len(first) < count
    rest = [line for _ in range(4) for line in file.read()]
    assert len(first) + len(rest) == count
    assert {len(line) for line in first + rest} == {99}
    file.close()


def test_a_directory_is_no_log(tmp_path: Path) -> None:
    file = FollowedFile(tmp_path)
    with pytest.raises(OSError, match="directory"):
        list(file.read())
