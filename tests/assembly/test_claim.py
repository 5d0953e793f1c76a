from pathlib import Path

import pytest

from forestay.assembly.claim import Claim, make_private, make_writable
from forestay.model.errors import InvalidInput


def test_a_second_forestay_is_kept_out_and_told_by_whom(tmp_path: Path) -> None:
    with Claim(tmp_path / "run"), pytest.raises(InvalidInput, match=r"another forestay \(pid \d+\) uses it; stop that"):
        Claim(tmp_path / "run")


def test_a_directory_is_free_again_when_its_holder_ends(tmp_path: Path) -> None:
    for _ in range(2):
        with Claim(tmp_path / "run"):
            assert (tmp_path / "run" / "lock").exists()


def test_directories_are_made_for_this_user_only(tmp_path: Path) -> None:
    make_writable(tmp_path / "a" / "b", "process.state_dir")
    assert (tmp_path / "a" / "b").stat().st_mode & 0o777 == 0o700


def test_a_directory_that_others_may_write_to_is_refused(tmp_path: Path) -> None:
    shared = tmp_path / "shared"
    shared.mkdir()
    shared.chmod(0o777)
    with pytest.raises(InvalidInput, match=r"process\.runtime_dir = .*others may write to it"):
        make_private(shared, "process.runtime_dir")
    make_writable(shared, "process.state_dir")  # where data is kept, that is the operator's business


def test_a_path_that_is_no_directory_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(InvalidInput, match="choose a directory"):
        make_writable(tmp_path / "file" / "below", "process.state_dir")
