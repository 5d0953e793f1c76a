"""Connections to remember."""

from forestay.model.connection import Connection


def connection(number: int, endpoint: int = 0, picker: int = 1, state: bytes = b"") -> Connection:
    """A relayed connection; the same number and picker: the same id."""
    return Connection(
        id=f"{1_700_000_000_000 + number:012x}{picker:04x}{number:016x}",
        endpoint_id=f"10.0.0.{endpoint}:8080",
        client=f"192.0.2.{number % 250}:{1024 + number % 60000}",
        opened_at=1_700_000_000.0 + number / 1000,
        upstream=("10.1.0.1", 1024 + number % 60000, f"10.0.0.{endpoint}", 8080),
        state=state,
    )
