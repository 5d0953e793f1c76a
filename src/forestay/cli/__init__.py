"""The `forestay` command: one module per command group. What is heavy is imported when it runs."""

from forestay.cli.application import app, main

__all__ = ["app", "main"]
