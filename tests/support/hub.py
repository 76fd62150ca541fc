"""A server of the hub's layout on loopback: one model, its large files behind a redirect to another host."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote

LARGE = ".onnx"
REPO = "someone/cats"


def commit_of(files: dict[str, bytes]) -> str:
    return hashlib.sha1(repr(sorted(files.items())).encode()).hexdigest()


@dataclass
class Hub:
    """What is served, and what was asked for."""

    repo: str
    revisions: dict[str, dict[str, bytes]]
    """The files of each branch or tag."""
    address: str = ""
    """Of the server, for HF_ENDPOINT."""
    requests: list[tuple[str, str, str]] = field(default_factory=list)
    """Host, method and path of each."""
    tokens: list[tuple[str, str]] = field(default_factory=list)
    """Host and authorization of each request that had one."""
    sent: dict[str, bytes] = field(default_factory=dict)
    """Of files, what is sent in place of them."""
    cut: dict[str, int] = field(default_factory=dict)
    """Of files, after how many bytes the connection breaks; each time that many more come."""
    stated: dict[str, int] = field(default_factory=dict)
    """Of files, the size that is stated in place of theirs."""
    refusal: tuple[int, str] | None = None
    """The status of every answer, and the hub's word for it."""
    change: Callable[[Any], Any] | None = None
    """What is said of the model in place of the truth."""
    held: threading.Event | None = None
    """Until when nothing more than the first bytes of large files is sent."""

    def files(self, revision: str) -> tuple[str, dict[str, bytes]] | None:
        """The commit and the files of a branch, a tag or a commit."""
        for name, files in self.revisions.items():
            if revision in (name, commit_of(files)):
                return commit_of(files), files
        return None


def files_of(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


@contextmanager
def serving(hub: Hub) -> Iterator[Hub]:
    """Serves it, the large files under another name of this machine."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_HEAD(self) -> None:
            _answer(hub, self, "HEAD")

        def do_GET(self) -> None:
            _answer(hub, self, "GET")

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    hub.address = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        if hub.held:
            hub.held.set()
        server.shutdown()
        thread.join()
        server.server_close()


def _answer(hub: Hub, request: BaseHTTPRequestHandler, method: str) -> None:
    host, path = request.headers["Host"].partition(":")[0], unquote(request.path.partition("?")[0])
    hub.requests.append((host, method, path))
    if token := request.headers.get("Authorization"):
        hub.tokens.append((host, token))
    if hub.refusal:
        _send(request, method, hub.refusal[0], b"{}", {"X-Error-Code": hub.refusal[1]})
    elif path.startswith("/api/"):
        _send_facts(hub, request, method, path)
    else:
        repo, _, place = path[1:].partition("/resolve/")
        revision, _, name = place.partition("/")
        found = hub.files(revision)
        if repo != hub.repo or not found:
            _send(request, method, 404, b"{}", {"X-Error-Code": "RepoNotFound"})
        elif name not in found[1]:
            _send(request, method, 404, b"", {"X-Error-Code": "EntryNotFound", "X-Repo-Commit": found[0]})
        else:
            _send_file(hub, request, method, name, found)


def _send_facts(hub: Hub, request: BaseHTTPRequestHandler, method: str, path: str) -> None:
    repo, _, revision = path.removeprefix("/api/models/").partition("/revision/")
    found = hub.files(revision or "main")
    if repo != hub.repo or not found:
        code = "RepoNotFound" if repo != hub.repo else "RevisionNotFound"
        _send(request, method, 404, b"{}", {"X-Error-Code": code})
        return
    siblings = [_sibling(hub, name, content) for name, content in found[1].items()]
    facts = {"id": repo, "modelId": repo, "sha": found[0], "private": False, "tags": [], "siblings": siblings}
    content = json.dumps(hub.change(facts) if hub.change else facts).encode()
    _send(request, method, 200, content, {"Content-Type": "application/json"})


def _sibling(hub: Hub, name: str, content: bytes) -> dict[str, Any]:
    size = hub.stated.get(name, len(content))
    facts: dict[str, Any] = {"rfilename": name, "size": size, "blobId": _blob(content)}
    if name.endswith(LARGE):
        facts["lfs"] = {"sha256": hashlib.sha256(content).hexdigest(), "size": len(content), "pointerSize": 130}
    return facts


def _blob(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


def _send_file(
    hub: Hub, request: BaseHTTPRequestHandler, method: str, name: str, found: tuple[str, dict[str, bytes]]
) -> None:
    commit, files = found
    content, is_large = files[name], name.endswith(LARGE)
    etag = hashlib.sha256(content).hexdigest() if is_large else _blob(content)
    facts = {"X-Repo-Commit": commit, "ETag": f'"{etag}"', "X-Linked-Size": str(len(content))}
    if is_large and request.headers["Host"].startswith("127."):
        elsewhere = hub.address.replace("127.0.0.1", "localhost") + request.path
        _send(request, method, 302, b"", {**facts, "X-Linked-Etag": f'"{etag}"', "Location": elsewhere})
        return
    content = hub.sent.get(name, content)
    begin = int((request.headers.get("Range") or "bytes=0-").removeprefix("bytes=").partition("-")[0])
    more = {"Content-Range": f"bytes {begin}-{len(content) - 1}/{len(content)}"} if begin else {}
    end = hub.cut.pop(name, None) if method == "GET" else None
    _send(
        request, method, 206 if begin else 200, content[begin:], {**facts, **more}, end, hub.held if is_large else None
    )


def _send(
    request: BaseHTTPRequestHandler,
    method: str,
    status: int,
    content: bytes,
    headers: dict[str, str],
    end: int | None = None,
    held: threading.Event | None = None,
) -> None:
    request.send_response(status)
    for key, value in headers.items():
        request.send_header(key, value)
    request.send_header("Content-Length", str(len(content)))
    request.end_headers()
    if method == "HEAD":
        return
    if held and not held.is_set():
        request.wfile.write(content[:10])
        request.wfile.flush()
        held.wait()
        request.close_connection = True
        return
    request.wfile.write(content if end is None else content[:end])
    if end is not None:
        request.wfile.flush()
        request.close_connection = True
