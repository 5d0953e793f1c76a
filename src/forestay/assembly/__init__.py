"""Builds a running forestay from settings and loads adapters by name: the only place that knows them all."""

import asyncio

from forestay.assembly.serving import Reload, serve
from forestay.settings import Configuration

__all__ = ["run", "serve"]


def run(configuration: Configuration, reload: Reload) -> None:
    """Run `serve` in an event loop of its own. Signals belong to it from then on."""
    asyncio.run(serve(configuration, reload))
