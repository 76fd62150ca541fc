"""`tui-gen serve`: the screen in a browser on this machine."""

from __future__ import annotations

import argparse
import errno
import re
import shlex
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING

from tui_gen.errors import TuiGenError, UsageError
from tui_gen.terminal_text import say

if TYPE_CHECKING:
    from aiohttp import web
    from textual_serve.server import Server

HOST = "127.0.0.1"
_NAMES = re.compile(r"(localhost|127\.0\.0\.1|\[::1\])(:\d+)?")
"""How a browser on this machine, or at the other end of a tunnel to it, calls the server."""
_PAGE = Path(__file__).with_name("browser_page")
_SCREENS = ("", "tour", "watch", "replay")
"""Commands that show a screen."""
_PATIENCE = 0.1
"""Seconds that open tabs have when the server ends."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Describes the command's options."""
    parser.description = (
        "Serves the screen to browsers on this machine, a process for each tab. There is no password: whoever can open "
        "a page at this machine's own address plays."
    )
    parser.add_argument("--port", type=_port, default=8000, metavar="N", help="of the address; default: %(default)s")
    parser.add_argument(
        "words",
        nargs=argparse.REMAINDER,
        metavar="...",
        help="a model and options, as tui-gen takes them, or tour, watch, replay with theirs",
    )


def run(args: argparse.Namespace) -> int:
    """Serves until it is interrupted; returns the exit status."""
    from tui_gen.cli.main import parse

    asked = parse(args.words)
    if asked.command not in _SCREENS:
        raise UsageError(f"tui-gen {asked.command} shows no screen; what does is a model, tour, watch and replay")
    words = [sys.executable, "-m", "tui_gen", *args.words]
    server = _server(subprocess.list2cmdline(words) if sys.platform == "win32" else shlex.join(words), args.port)
    try:
        server.serve()
    except OSError as fault:
        if fault.errno == errno.EADDRINUSE:
            raise TuiGenError(f"something else serves at port {args.port}; --port names another one") from None
        raise
    return 0


def _port(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and 0 < int(text) < 2**16):
        raise argparse.ArgumentTypeError(f"a port is a number from 1 to {2**16 - 1:,}, not {text!r:.20}")
    return int(text)


def _server(command: str, port: int) -> Server:
    """Of a page for each tab, for which a command runs. Raises TuiGenError where what it needs is not installed."""
    try:
        from aiohttp import web
        from textual_serve import app_service, server
    except ImportError:
        raise TuiGenError("this needs textual-serve: pip install 'tui-gen[browser]'") from None

    class Screen(app_service.AppService):
        """A process, of whose end the page hears however it comes."""

        async def run(self) -> None:
            await super().run()
            await self.remote_close()

    server.AppService = Screen  # type: ignore[attr-defined]  # a server makes one for each tab

    class ScreenServer(server.Server):
        """For pages of its own alone: any other page in the same browser could open its socket too, and type."""

        async def _make_app(self) -> web.Application:
            app = await super()._make_app()
            app.middlewares.append(_refuse_others)
            return app

        async def on_startup(self, app: web.Application) -> None:
            """Nothing is told before the port is known to be free."""

        def serve(self, debug: bool = False) -> None:
            def tell(*_: object) -> None:
                say(f"http://{HOST}:{port} has the screen, until ctrl+c")

            web.run_app(self._make_app(), host=HOST, port=port, print=tell, shutdown_timeout=_PATIENCE)

    @web.middleware
    async def _refuse_others(
        request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        if not is_own(request.host, request.headers.get("Origin")):
            raise web.HTTPForbidden(text="this address is for pages of this machine")
        return await handler(request)

    return ScreenServer(command, host=HOST, port=port, title="tui-gen", templates_path=_PAGE)


def is_own(host: str, origin: str | None) -> bool:
    """Whether a request comes from a page of this server, or from no page.

    host: what the browser was told to open; a stranger's name may lead to this machine as well. origin: of the page.
    """
    return bool(_NAMES.fullmatch(host)) and origin in (None, f"http://{host}", f"https://{host}")
