"""Endpoint ids as addresses: "host:port", IPv6 in brackets."""

import ipaddress


def split_address(endpoint_id: str) -> tuple[str, int]:
    """Host (IPv6 without its brackets) and port of an endpoint id.

    Raises:
        ValueError: not "host:port".
    """
    host, colon, port = endpoint_id.rpartition(":")
    bare = host[1:-1] if host.startswith("[") and host.endswith("]") else host
    if not colon or not bare or not (port.isascii() and port.isdigit()) or not 0 < int(port) < 65536:
        raise ValueError(f'{endpoint_id!r} is not an address: write "10.0.0.1:8080" or "[::1]:8080"')
    return bare, int(port)


def join_address(host: str, port: int) -> str:
    """Endpoint id of a host name or address; every spelling of one IP address gives the same id."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return f"{host.lower()}:{port}"
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped:
        address = address.ipv4_mapped
    return f"[{address.compressed}]:{port}" if address.version == 6 else f"{address.compressed}:{port}"
