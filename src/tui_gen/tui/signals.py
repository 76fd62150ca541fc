"""A terminal that is closed and a polite kill quit like the key does, so that the terminal is left sane."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from typing import Any

from textual.app import App


def quit_on_signals(app: App[Any]) -> None:
    """To be called in the app's event loop. The exit status is 128 and the signal's number."""
    for number in (signal.SIGTERM, getattr(signal, "SIGHUP", signal.SIGTERM)):
        with contextlib.suppress(NotImplementedError, RuntimeError):  # Windows; not in the main thread
            asyncio.get_running_loop().add_signal_handler(number, app.exit, None, 128 + number)
