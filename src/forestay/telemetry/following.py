"""Reads a file that another process writes, line by line, as `tail -F` does: through rotation and truncation.

What stands in the file at the start is the past and is skipped. Renamed away and made anew: the old one is read to its
end first. Truncated: reading goes on at its beginning. Lost are lines between the last look and a truncation, and, by
`copytruncate` with a writer that is faster than we look, lines up to the old position; `rename` loses nothing.
"""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import structlog

log = structlog.get_logger(__name__)

READ_BYTES = 1 << 20
"""Most that one look takes in: bounds memory, and how long others wait."""
LINE_BYTES_MAX = 1 << 16
"""A longer line is nobody's connection."""


class FollowedFile:
    """One file by its path.

    Attributes:
        too_long: lines that were skipped for their length.
        rotations: times that another file took its place, or that it was truncated.
    """

    def __init__(self, path: Path, *, line_bytes_max: int = LINE_BYTES_MAX) -> None:
        """Follow `path`; what it holds now is skipped. It need not exist yet."""
        self.too_long = self.rotations = 0
        self._path = path
        self._line_bytes_max = line_bytes_max
        self._file: BinaryIO | None = None
        self._rest = b""
        self._skipping = False  # inside a line that is too long
        self._missing = False
        with contextlib.suppress(OSError):  # `read` will say so
            self._open()
        if self._file is not None:
            self._file.seek(0, os.SEEK_END)

    def read(self) -> Iterator[str]:
        """Complete lines that have come since the last call, without their ends; at most `READ_BYTES` of them.

        Raises:
            OSError: the file cannot be read. Trying again later is safe.
        """
        if self._file is None:
            self._open()
        if self._file is None:
            return
        if os.fstat(self._file.fileno()).st_size < self._file.tell():
            log.info("file_truncated", path=str(self._path))
            self.rotations += 1
            self._file.seek(0)
            self._rest, self._skipping = b"", False
        data = self._file.read(READ_BYTES)
        yield from self._lines(data)
        if not data and self._replaced():
            self.rotations += 1
            self.close()
            self._rest, self._skipping = b"", False

    def close(self) -> None:
        """Let go of the file."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def _open(self) -> None:
        try:
            self._file = self._path.open("rb")
        except FileNotFoundError:
            if not self._missing:
                log.warning("file_missing", path=str(self._path), effect="waiting for it")
            self._missing = True
            return
        if self._missing:
            log.info("file_found", path=str(self._path))
        self._missing = False

    def _replaced(self) -> bool:
        """Whether another file has taken the path; a path without a file is one that is about to come."""
        assert self._file is not None
        try:
            there = self._path.stat()
        except FileNotFoundError:
            return False
        here = os.fstat(self._file.fileno())
        return (there.st_dev, there.st_ino) != (here.st_dev, here.st_ino)

    def _lines(self, data: bytes) -> Iterator[str]:
        *lines, rest = data.split(b"\n")
        for line in lines:
            whole, self._rest = self._rest + line, b""
            if self._skipping:
                self._skipping = False
            elif len(whole) > self._line_bytes_max:
                self.too_long += 1
            else:
                yield whole.rstrip(b"\r").decode(errors="replace")
        if self._skipping:
            return
        self._rest += rest
        if len(self._rest) > self._line_bytes_max:
            self.too_long += 1
            self._rest, self._skipping = b"", True
