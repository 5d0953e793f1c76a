"""Exceptions, one class per thing a caller can do about it. Expected trouble is a value (a verdict)."""


class ForestayError(Exception):
    """Base of everything forestay raises on purpose."""


class InvalidInput(ForestayError, ValueError):
    """A value from outside is unusable. The message names the field, the value and the remedy."""


class UnknownEndpoint(ForestayError, KeyError):
    """The endpoint was never added, or was removed. Add it first."""

    def __init__(self, endpoint_id: str) -> None:
        super().__init__(endpoint_id)
        self.endpoint_id = endpoint_id

    def __str__(self) -> str:
        return f"unknown endpoint {self.endpoint_id!r}: add it with add_endpoint() first"


class UnknownConnection(ForestayError, KeyError):
    """Nothing is remembered of the connection: it was never placed here, or too long ago."""

    def __init__(self, connection_id: str) -> None:
        super().__init__(connection_id)
        self.connection_id = connection_id

    def __str__(self) -> str:
        return f"nothing is remembered of connection {self.connection_id!r}"
