"""A view that is looked at again and again, until Ctrl-C."""

import time
from collections.abc import Callable

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.text import Text

from forestay.cli.failure import CommandFailed


def watch(look: Callable[[], RenderableType], interval_s: float, console: Console) -> None:
    """Show what `look` gives on the whole screen, and its last word when the user leaves.

    Args:
        look: may raise CommandFailed: the first time that ends it, later it is shown, and the next look may succeed.
        interval_s: between looks, seconds.
        console: a terminal.
    """
    shown = look()
    with Live(shown, console=console, auto_refresh=False, screen=True) as live:
        try:
            while True:
                time.sleep(interval_s)
                try:
                    shown = look()
                except CommandFailed as error:  # a restart of forestay should not end the view
                    live.update(Group(shown, Text(f"{error}; trying again", style="red")), refresh=True)
                else:
                    live.update(shown, refresh=True)
        except KeyboardInterrupt:
            pass  # the usual way to leave
    console.print(shown)
