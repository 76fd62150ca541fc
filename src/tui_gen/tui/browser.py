"""The screen in a browser, through a server of Textual's that has started this process.

Whoever reaches the server plays; the files there are the owner's. So nothing is opened or saved on the server, and what
a person keeps goes to the browser as a download.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from textual.app import App
from textual.drivers.web_driver import WebDriver

from tui_gen.files import read_bytes, temporary_folder
from tui_gen.tui.driver import SparingDriver, end_soon

NO_FILES = "in a browser no file of the server is opened"
_SAFE = re.compile(r"\w[\w.-]*")
_HANGUP = 129
"""The exit status of a program whose terminal was closed."""


class BrowserDriver(SparingDriver, WebDriver):
    """Of a browser. Ends with it, and with the server.

    Only the app's thread writes packets: two would mix theirs, and one that waits for a reader hears of no end.
    """

    def __init__(self, app: App[Any], **facts: Any) -> None:
        super().__init__(app, **facts)
        self._write = partial(self._write_packet)

    def _write_packet(self, packet: bytes) -> int:
        """Whole; nowhere once the server is gone, of which the thread that reads hears too."""
        with contextlib.suppress(BrokenPipeError):
            rest = memoryview(packet)
            while rest:
                rest = rest[os.write(self.fileno, rest) :]
        return len(packet)

    def run_input_thread(self) -> None:
        """Reads what is typed, until the screen ends, or the server."""
        super().run_input_thread()
        self._leave()

    def on_meta(self, packet_type: str, payload: dict[str, object]) -> None:
        """Does what the server says."""
        if packet_type == "quit":  # the tab was closed, and it may be that nobody reads what is written
            self._leave()
        else:
            self._in_app(partial(super().on_meta, packet_type, payload))

    def _leave(self) -> None:
        self._in_app(partial(self._app.exit, None, _HANGUP))
        end_soon(self._app)

    def _in_app(self, act: Callable[[], None]) -> None:
        """Does something in the app's thread, unless that has come to its end."""
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(act)


def download(app: App[Any], name: str, write: Callable[[Path], None]) -> None:
    """Lets the browser download a file. name: without a complaint. Raises what `write` raises."""
    with temporary_folder() as folder:
        write(folder / name)
        content = read_bytes(folder / name)
    app.deliver_binary(io.BytesIO(content), save_filename=name)


def complaint_about_name(name: str) -> str:
    """Why a download cannot have this name; empty if it can. It stands in a header as it is."""
    return "" if _SAFE.fullmatch(name) else "the name of a download has letters, digits, dots, - and _ only"
