"""How a command fails: a line for people, and an exit code for scripts."""

from enum import IntEnum

from forestay.model.errors import ForestayError


class ExitCode(IntEnum):
    """Exit codes of every command."""

    OK = 0
    FAILURE = 1
    USAGE = 2
    """Bad usage or bad configuration: nothing was started, nothing was changed."""


class CommandFailed(ForestayError):
    """A command could not do what it was asked. The message says why and what to do."""

    def __init__(self, message: str, exit_code: ExitCode = ExitCode.FAILURE) -> None:
        super().__init__(message)
        self.exit_code = exit_code
