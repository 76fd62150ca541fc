"""The screen as a server of Textual's runs it for a browser: a process with packets on its pipes."""

from __future__ import annotations

import json
import os
import re
import select
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import IO, Any

from textual._binary_encode import load

from tests.support.driver import GUARD_SECONDS
from tests.support.terminal_page import page

DRIVER = "textual.drivers.web_driver:WebDriver"
BEGINNING = b"__GANGLION__\n"
_HEAD = 5
"""Bytes before each packet: its kind and its size."""


class ServedScreen:
    """The program, from its first packet on; use it in a `with` statement, which closes the tab."""

    def __init__(self, *words: str, here: Path, variables: Mapping[str, str]) -> None:
        """words: of the command line. here: the folder in which the server was started."""
        self.output, self.facts, self.pieces = b"", list[dict[str, Any]](), list[bytes]()
        """What is drawn, what is told, and what was downloaded."""
        self._rest = b""
        size = {"COLUMNS": "100", "ROWS": "30", "TEXTUAL_COLOR_SYSTEM": "truecolor"}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tui_gen", *words],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            bufsize=0,
            cwd=here,
            env={**os.environ, **size, "TEXTUAL_DRIVER": DRIVER, "TERM": "dumb", **variables},
        )
        assert self.process.stdin
        assert self.process.stdout
        self.stdin: IO[bytes] = self.process.stdin
        self.stdout: IO[bytes] = self.process.stdout

    def __enter__(self) -> ServedScreen:
        """Itself, once it says that it is an app of Textual's."""
        self.until(lambda: self._rest.startswith(BEGINNING))
        self._rest = self._rest.removeprefix(BEGINNING)
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: BaseException | TracebackType | None) -> None:
        """Ends it, and the pipes."""
        self.process.kill()
        self.process.wait()
        self.stdin.close()
        self.stdout.close()

    def send(self, kind: bytes, content: bytes) -> None:
        """A packet."""
        self.stdin.write(kind + len(content).to_bytes(4, "big") + content)

    def type(self, keys: str) -> None:
        """Presses keys, as a terminal sends them."""
        self.send(b"D", keys.encode())

    def tell(self, what: str, **facts: Any) -> None:
        """Something besides keys, as the server says it."""
        self.send(b"M", json.dumps({"type": what, **facts}).encode())

    def shows(self, pattern: str) -> None:
        """Reads until something stands on the screen."""
        self.until(lambda: re.search(pattern, page(self.output, (100, 30))))

    def download(self, name: str) -> bytes:
        """What the screen offers under this name, piece by piece, as a server asks for it."""
        self.until(lambda: self.facts and Path(self.facts[-1].get("path", "")).name == name)
        self.pieces.clear()
        while not self.pieces or self.pieces[-1]:
            count = len(self.pieces)
            self.tell("deliver_chunk_request", key=self.facts[-1]["key"], size=50)
            self.until(lambda count=count: len(self.pieces) > count)
        return b"".join(self.pieces)

    def until(self, condition: Callable[[], Any]) -> None:
        """Reads packets until something is true."""
        while not condition():
            ready = select.select([self.stdout], [], [], GUARD_SECONDS)[0]
            assert ready, page(self.output, (100, 30))
            block = os.read(self.stdout.fileno(), 2**16)
            assert block, "the screen has ended"
            self._rest += block
            if not self._rest.startswith(BEGINNING):
                self._take_packets()

    def _take_packets(self) -> None:
        while len(self._rest) >= _HEAD:
            size = int.from_bytes(self._rest[1:_HEAD], "big")
            kind, content = self._rest[:1], self._rest[_HEAD : _HEAD + size]
            if len(content) < size:
                return
            self._rest = self._rest[_HEAD + size :]
            if kind == b"D":
                self.output += content
            elif kind == b"M":
                self.facts.append(json.loads(content))
            else:
                assert kind == b"P", kind
                _, _, piece = load(content)
                self.pieces.append(piece)
