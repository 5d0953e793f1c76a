"""Tells systemd how far the process is (Type=notify). Does nothing where nobody asked.

Source: sd_notify(3): datagrams of KEY=VALUE lines to the socket that NOTIFY_SOCKET names.
"""

import os
import socket
import time

import structlog

log = structlog.get_logger(__name__)


class ServiceManager:
    """The service manager that started this process, if any."""

    def __init__(self, address: str | None = None) -> None:
        """Find it.

        Args:
            address: of its socket; None: what NOTIFY_SOCKET says.
        """
        self._address = os.environ.get("NOTIFY_SOCKET", "") if address is None else address

    def ready(self, status: str) -> None:
        """Everything is up, or up again after `reloading`."""
        self._tell(f"READY=1\nSTATUS={status}")

    def reloading(self) -> None:
        """The configuration is being read again."""
        self._tell(f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1000}")

    def stopping(self) -> None:
        """Connections are finishing."""
        self._tell("STOPPING=1\nSTATUS=letting connections finish")

    def _tell(self, message: str) -> None:
        if not self._address:
            return
        address = "\0" + self._address[1:] if self._address.startswith("@") else self._address
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as channel:
            try:
                channel.settimeout(1.0)
                channel.connect(address)
                channel.sendall(message.encode())
            except OSError as error:
                log.warning("service_manager_unreachable", address=self._address, error=str(error))
