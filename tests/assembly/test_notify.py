import socket
from pathlib import Path

from forestay.assembly.notify import ServiceManager


def test_systemd_is_told_what_happens(tmp_path: Path) -> None:
    address = str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
        channel.bind(address)
        channel.settimeout(2.0)
        manager = ServiceManager(address)
        manager.ready("serving")
        manager.reloading()
        manager.stopping()
        first, second, third = (channel.recv(200).decode() for _ in range(3))
    assert first == "READY=1\nSTATUS=serving"
    assert second.startswith("RELOADING=1\nMONOTONIC_USEC=")
    assert third.startswith("STOPPING=1\n")


def test_a_service_manager_that_is_gone_does_no_harm(tmp_path: Path) -> None:
    ServiceManager(str(tmp_path / "none")).ready("serving")
    ServiceManager("").ready("serving")
