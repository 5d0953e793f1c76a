"""The directories of one forestay, and the lock that keeps a second one out of them."""

import fcntl
import os
import stat
from pathlib import Path
from types import TracebackType
from typing import IO

from forestay.model.errors import InvalidInput


class Claim:
    """Sole use of a runtime directory, as long as the process lives: two forestays would adopt each other's workers."""

    def __init__(self, runtime_dir: Path) -> None:
        """Make the directory and lock it.

        Raises:
            InvalidInput: it cannot be made or used, or another forestay has it.
        """
        make_private(runtime_dir, "process.runtime_dir")
        self._file: IO[str] = (runtime_dir / "lock").open("a+", encoding="ascii")
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            self._file.seek(0)
            holder = self._file.read().strip() or "unknown"
            self._file.close()
            raise InvalidInput(
                f"process.runtime_dir = {str(runtime_dir)!r}: another forestay (pid {holder}) uses it; stop that, or "
                "give this one its own: --set process.runtime_dir=... --set process.state_dir=..."
            ) from None
        self._file.truncate(0)
        self._file.write(str(os.getpid()))
        self._file.flush()

    def __enter__(self) -> "Claim":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()


def make_private(directory: Path, setting: str) -> None:
    """Make `directory` for this user only: who can write to it can command the workers.

    Raises:
        InvalidInput: that is not possible, or others can write to it; the message names `setting`.
    """
    make_writable(directory, setting)
    status = directory.stat()
    if status.st_uid not in (0, os.geteuid()) or status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise InvalidInput(
            f"{setting} = {str(directory)!r}: others may write to it; choose a directory of this user's own"
        )


def make_writable(directory: Path, setting: str) -> None:
    """Make `directory` where it is missing, readable for this user only.

    Raises:
        InvalidInput: that is not possible, or this user cannot write to it; the message names `setting`.
    """
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise InvalidInput(
            f"{setting} = {str(directory)!r}: {error.strerror}; choose a directory that this user can write to"
        ) from None
    if not os.access(directory, os.W_OK | os.X_OK):
        raise InvalidInput(f"{setting} = {str(directory)!r}: this user cannot write to it; choose another")
