"""Chromium without a screen, told what to do through a pipe in the DevTools protocol."""

from __future__ import annotations

import base64
import contextlib
import functools
import http.server
import json
import os
import select
import shutil
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
_CODES = {"Enter": 13, "Tab": 9, "Escape": 27, "Backspace": 8, " ": 32, "End": 35, "Home": 36}
_CODES |= {"ArrowLeft": 37, "ArrowUp": 38, "ArrowRight": 39, "ArrowDown": 40}
_CODES |= {f"F{number}": 111 + number for number in range(1, 13)}
_MODIFIERS = {"alt": 1, "ctrl": 2}
_QUIET = ("--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync")


_BINARY = 2
"""Of the kinds of frames in a socket."""
_PATIENCE = 180
"""Seconds without any event after which the browser hangs."""


class Browser:
    """One tab."""

    def __init__(self, profile: Path) -> None:
        assert CHROMIUM
        ours, theirs = os.pipe(), os.pipe()
        os.set_inheritable(ours[0], True)
        os.set_inheritable(theirs[1], True)
        words = (CHROMIUM, "--headless=new", "--no-sandbox", "--disable-gpu", "--remote-debugging-pipe", *_QUIET)
        command = f'exec "$@" 3<&{ours[0]} 4>&{theirs[1]}'
        self.process = subprocess.Popen(
            ["bash", "-c", command, "bash", *words, f"--user-data-dir={profile}", "about:blank"],
            pass_fds=(ours[0], theirs[1]),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(ours[0])
        os.close(theirs[1])
        self._to, self._from, self._number = os.fdopen(ours[1], "wb"), os.fdopen(theirs[0], "rb"), 0
        self._rest, self._session = b"", ""
        self.addresses: list[str] = []
        """What the tab has asked for."""
        self.received = b""
        """What came through the sockets of the tab, as bytes."""
        self.downloads: list[str] = []
        """States of downloads, as they came."""
        folder = str(profile / "downloads")
        self._call("Browser.setDownloadBehavior", behavior="allow", downloadPath=folder, eventsEnabled=True)
        target = next(t for t in self._call("Target.getTargets")["targetInfos"] if t["type"] == "page")
        self._target = target["targetId"]
        self._session = self._call("Target.attachToTarget", targetId=self._target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Network"):
            self._call(f"{domain}.enable")

    def open(self, address: str) -> None:
        """Goes to an address."""
        self._call("Page.navigate", url=address)

    def block(self, pattern: str) -> None:
        """Asks no such address."""
        self._call("Network.setBlockedURLs", urls=[pattern])

    def run(self, code: str) -> Any:
        """The value of an expression in the page, once it is there if it is a promise."""
        answer = self._call("Runtime.evaluate", expression=code, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def wait_for(self, condition: str) -> None:
        """Until an expression is true; looked at whenever the page has changed."""
        self.run(
            "new Promise((done) => { const look = () => {"
            f" if ({condition}) done(); else setTimeout(look, 20); }}; look(); }})"
        )

    def press(self, name: str) -> None:
        """A key, by its name as pages know it; `alt+` or `ctrl+` may stand before it."""
        *modifiers, key = name.split("+") if len(name) > 1 else [name]
        text = {"text": key} if len(key) == 1 and not modifiers else {"text": "\r"} if key == "Enter" else {}
        code = _CODES.get(key) or (ord(key.upper()) if key.isalnum() and len(key) == 1 else 0)
        for kind in ("keyDown", "keyUp"):
            facts = {**(text if kind == "keyDown" else {}), "modifiers": sum(map(_MODIFIERS.get, modifiers))}
            self._call("Input.dispatchKeyEvent", type=kind, key=key, windowsVirtualKeyCode=code, **facts)

    def picture(self, path: Path, width: int, height: int, *, dark: bool = False) -> None:
        """The page as a PNG file, in a window of this size."""
        self._call(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 600
        )
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self._call("Emulation.setEmulatedMedia", features=[scheme])
        shot = self._call("Page.captureScreenshot", format="png", captureBeyondViewport=True)
        path.write_bytes(base64.b64decode(shot["data"]))

    def close_tab(self) -> None:
        """Closes the tab, and asks nobody."""
        self._session = ""
        self._call("Target.closeTarget", targetId=self._target)

    def close(self) -> None:
        """Ends the browser."""
        with contextlib.suppress(BrokenPipeError):
            self._call("Browser.close")
        self.process.wait()
        self._to.close()
        self._from.close()

    def _call(self, method: str, **facts: Any) -> dict[str, Any]:
        self._number += 1
        message = {"id": self._number, "method": method, "params": facts}
        if self._session:
            message["sessionId"] = self._session
        self._to.write(json.dumps(message).encode() + b"\0")
        self._to.flush()
        while (answer := self._read()).get("id") != self._number:
            self._hear(answer)
        assert "error" not in answer, answer
        return answer["result"]

    def _hear(self, event: dict[str, Any]) -> None:
        """Notes what the browser tells by itself."""
        facts = event.get("params", {})
        match event.get("method"):
            case "Network.requestWillBeSent":
                self.addresses.append(facts["request"]["url"])
            case "Network.webSocketFrameReceived" if facts["response"]["opcode"] == _BINARY:
                self.received += base64.b64decode(facts["response"]["payloadData"])
            case "Browser.downloadProgress":
                self.downloads.append(facts["state"])

    def until(self, condition: Callable[[], Any]) -> None:
        """Hears what the browser tells until something is true."""
        while not condition():
            self._hear(self._read())

    def _read(self) -> dict[str, Any]:
        while b"\0" not in self._rest:
            assert select.select([self._from], [], [], _PATIENCE)[0], "the browser says nothing more"
            block = self._from.raw.read(2**16)
            if not block:
                raise BrokenPipeError("the browser has ended")
            self._rest += block
        message, self._rest = self._rest.split(b"\0", 1)
        return json.loads(message)


class _Files(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        """Says nothing."""


@contextlib.contextmanager
def served(folder: Path) -> Iterator[str]:
    """The address of a folder, on this machine, as any static host has it."""
    handler = functools.partial(_Files, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()
