"""The control process's end of the links: accepts workers, cuts their streams into frames, hands them on.

Raw non-blocking sockets on the event loop's readers, because a worker's HELLO carries the listening socket along
(SCM_RIGHTS), which asyncio's streams would drop.
"""

import asyncio
import os
import socket
import struct
from collections.abc import Callable
from pathlib import Path

import structlog

from forestay.dataplanes.relay.frames import BadFrame, FrameReader
from forestay.model.errors import InvalidInput

READ = 256 * 1024
"""Per turn of the loop: some thousand records, a few milliseconds."""
PATH_MAX = 107
"""Longest path of a unix socket on Linux."""

log = structlog.get_logger(__name__)


class Visitor:
    """One connected worker.

    Attributes:
        pid: as the kernel says.
        descriptors: sockets that came along; whoever takes one removes it.
        owner: for the receiver's use.
    """

    def __init__(self, link: socket.socket, pid: int) -> None:
        self.link, self.pid = link, pid
        self.reader = FrameReader()
        self.descriptors: list[int] = []
        self.owner: object | None = None

    def send(self, frame: bytes) -> bool:
        """A short command; False where the worker does not take it."""
        try:
            return self.link.send(frame, socket.MSG_NOSIGNAL) == len(frame)
        except OSError:
            return False


class Reception:
    """See the module.

    Args:
        path: of the unix socket; replaced if it exists.
        on_frame: called with every complete frame; raises BadFrame where it makes no sense, and the link is dropped.
        on_leave: called when a worker's link is gone; never before its last frame.
    """

    def __init__(
        self,
        path: Path,
        on_frame: Callable[[Visitor, int, bytes], None],
        on_leave: Callable[[Visitor], None],
    ) -> None:
        if len(os.fsencode(path)) > PATH_MAX:
            raise InvalidInput(f"runtime_dir is too long for a unix socket ({path}): the limit is {PATH_MAX} bytes")
        self._path, self._on_frame, self._on_leave = path, on_frame, on_leave
        self._server: socket.socket | None = None
        self._visitors: set[Visitor] = set()

    def open(self) -> None:
        """Begin to listen."""
        self._path.unlink(missing_ok=True)
        server = self._server = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        previous = os.umask(0o177)
        try:
            server.bind(str(self._path))
        finally:
            os.umask(previous)
        server.listen(128)
        asyncio.get_running_loop().add_reader(server, self._accept)

    def close(self) -> None:
        """Hang up on everybody."""
        loop = asyncio.get_running_loop()
        if self._server is not None:
            loop.remove_reader(self._server)
            self._server.close()
            self._server = None
        for visitor in list(self._visitors):
            self.dismiss(visitor)

    def dismiss(self, visitor: Visitor) -> None:
        """Hang up on one."""
        if visitor not in self._visitors:
            return
        self._visitors.discard(visitor)
        asyncio.get_running_loop().remove_reader(visitor.link)
        visitor.link.close()
        for descriptor in visitor.descriptors:
            os.close(descriptor)
        self._on_leave(visitor)

    def read_rest(self, visitor: Visitor) -> None:
        """Deliver what a worker that has ended still said."""
        while visitor in self._visitors and self._read(visitor):
            pass

    def _accept(self) -> None:
        assert self._server is not None
        try:
            link, _ = self._server.accept()
        except OSError as error:
            log.warning("worker_link_not_accepted", error=str(error))
            return
        link.setblocking(False)
        credentials = link.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
        pid, uid, _ = struct.unpack("3i", credentials)
        if uid not in (os.geteuid(), 0):
            log.error("worker_link_refused", pid=pid, uid=uid)
            link.close()
            return
        visitor = Visitor(link, pid)
        self._visitors.add(visitor)
        asyncio.get_running_loop().add_reader(link, self._read, visitor)

    def _read(self, visitor: Visitor) -> bool:
        """One turn; False: nothing more for now."""
        try:
            data, descriptors, _, _ = socket.recv_fds(visitor.link, READ, 4)
            visitor.descriptors += descriptors
            for kind, payload in visitor.reader.feed(data):
                self._on_frame(visitor, kind, payload)
        except BlockingIOError:
            return False
        except OSError:
            data = b""  # reset: the same as an end
        except BadFrame as error:
            log.error("worker_link_broken", pid=visitor.pid, error=str(error))
            data = b""
        if not data:
            self.dismiss(visitor)
        return bool(data)
