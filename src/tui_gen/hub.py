"""Models of the Hugging Face hub: `hf:user/model@revision` names one, in the cache or to be downloaded into it.

A child process downloads, so that it can be ended at any moment and nothing of it prints here. Only the files of a
model folder are fetched, model.onnx last: where it is, all are. What is in the cache is opened without a connection.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tui_gen import __version__
from tui_gen.child import Report, run_in_child
from tui_gen.errors import TuiGenError, UsageError
from tui_gen.files import read_beginning
from tui_gen.json_fields import parse_json
from tui_gen.terminal_text import brief, listed, say

PREFIX = "hf:"
_LIBRARY = "tui-gen"
"""What the hub is told that asks."""
FILES = ("config.json", "tokenizer.json", "tokenizer_config.json", "training.jsonl", "README.md", "model.onnx")
"""Those of a model folder, in the order in which they are fetched."""
_NEEDED = ("config.json", "model.onnx")
MOST = 400 * 2**20
"""Bytes of them all."""
_SECONDS = 6 * 3600
_BETWEEN_REPORTS = 0.5
"""Seconds."""
_NAME = re.compile(r"([\w-][\w.-]*/[\w-][\w.-]*)(?:@([\w-][\w.-]*(?:/[\w-][\w.-]*)*))?", re.ASCII)
_LONGEST_HASH = 64
_COMMIT_HASH = re.compile(f"[0-9a-f]{{40,{_LONGEST_HASH}}}")
_SIZE, _READ, _COMMIT = "size", "read", "commit"
"""How a report of the child begins."""


@dataclass(frozen=True)
class HubModel:
    """A model of the hub, as it was asked for."""

    repo: str
    """As in `user/model`."""
    revision: str = "main"
    """A branch, a tag or a commit."""

    def __str__(self) -> str:
        return PREFIX + self.repo + ("" if self.revision == "main" else f"@{self.revision}")


@dataclass(frozen=True)
class Snapshot:
    """The files of a model of the hub, as of one commit."""

    folder: Path
    address: str
    """What names this commit of it for good."""


def is_address(model: str | Path) -> bool:
    """Whether it names a model of the hub."""
    return str(model).startswith(PREFIX)


def parse_address(address: str | Path) -> HubModel:
    """Raises UsageError for one that names no model."""
    match = _NAME.fullmatch(str(address).replace("\\", "/").removeprefix(PREFIX))  # a path, on Windows
    if not match or ".." in match[0]:
        raise UsageError(
            f"{address} names no model of the hub; it is {PREFIX}user/model, or {PREFIX}user/model@revision"
        )
    return HubModel(match[1], match[2] or "main")


def cached(address: str | Path) -> Snapshot | None:
    """What the cache has of a model; None where it is not there, or not all of it."""
    from huggingface_hub import try_to_load_from_cache

    model = parse_address(address)
    paths = [try_to_load_from_cache(model.repo, name, revision=model.revision) for name in _NEEDED]
    if not all(isinstance(path, str) for path in paths):
        return None
    folder = Path(str(paths[0])).parent
    return Snapshot(folder, f"{PREFIX}{model.repo}@{folder.name}")


def cached_folders() -> dict[str, Path]:
    """Folders of what the cache has whole, by the addresses of the models, each as of its main branch.

    They are found by their names alone: to import `huggingface_hub` takes longer than to show a screen.
    """
    folders, cache = dict[str, Path](), _cache()
    with contextlib.suppress(OSError):
        for name in sorted(os.listdir(cache)):
            folder, repo = cache / name, name.removeprefix("models--").replace("--", "/")
            if repo == name or not _NAME.fullmatch(repo):
                continue
            with contextlib.suppress(OSError):
                commit = read_beginning(folder / "refs" / "main", _LONGEST_HASH).decode("ascii", "replace")
                snapshot = folder / "snapshots" / commit
                if _COMMIT_HASH.fullmatch(commit) and all(os.path.isfile(snapshot / needed) for needed in _NEEDED):
                    folders[PREFIX + repo] = snapshot
    return folders


def _cache() -> Path:
    """Where `huggingface_hub` keeps what it has downloaded."""
    home = os.environ.get("HF_HOME") or os.path.join(os.environ.get("XDG_CACHE_HOME") or "~/.cache", "huggingface")
    cache = os.environ.get("HF_HUB_CACHE") or os.environ.get("HUGGINGFACE_HUB_CACHE") or os.path.join(home, "hub")
    return Path(os.path.expandvars(os.path.expanduser(cache)))


def fetch(address: str | Path, *, tell: Report = say, is_stopped: Callable[[], bool] = bool) -> Snapshot:
    """The files of a model: those of the cache, else they are downloaded into it.

    tell: takes lines about how far that is. is_stopped: whether nobody waits for it any more. Raises TuiGenError that
    says why there are none.
    """
    if snapshot := cached(address):
        return snapshot
    model, progress = parse_address(address), _Progress(tell)
    content = json.dumps([model.repo, model.revision]).encode()
    ending = run_in_child(download, content, seconds=_SECONDS, memory=None, tell=progress.take, is_stopped=is_stopped)
    if is_stopped():
        raise TuiGenError(f"the download of {model} was ended; what it has whole stays in the cache")
    if ending.fault:
        words = ending.message if ending.fault == "TuiGenError" else f"{ending.fault}: {ending.message}"
        raise TuiGenError(f"{model} is not downloaded: {words}")
    if ending.status or not progress.commit:
        raise TuiGenError(f"the process that downloaded {model} crashed, or took too long; try again")
    snapshot = cached(f"{PREFIX}{model.repo}@{progress.commit}")
    if not snapshot:
        raise TuiGenError(f"{model} was downloaded and is not in the cache; is something else removing it?")
    return snapshot


class _Progress:
    """What a child says of its download, as lines for a person."""

    def __init__(self, tell: Report) -> None:
        self.commit = ""
        self._tell, self._size = tell, 0

    def take(self, report: str) -> None:
        """A report of the child."""
        sort, _, value = report.partition(" ")
        if sort == _COMMIT:
            self.commit = value
        elif sort == _SIZE:
            self._size = int(value)
            self._tell(f"downloading {_size_text(self._size)}")
        elif sort == _READ:
            self._tell(f"{_size_text(int(value))} of {_size_text(self._size)}")


def _size_text(count: int) -> str:
    return f"{count / 1e6:,.1f} MB" if count >= 100_000 else f"{count / 1e3:.1f} kB"


# --- the child ---


def download(content: bytes, report: Report) -> None:
    """In the child: downloads a model into the cache. Raises TuiGenError that says why it cannot be had."""
    # the hub is told of our version and Python's alone; one way of transfer is the one that is tested
    os.environ |= {"HF_HUB_DISABLE_TELEMETRY": "1", "HF_HUB_DISABLE_XET": "1"}
    from huggingface_hub import constants, errors

    repo, revision = parse_json(content)
    try:
        _Download(repo, revision, report).run()
    except errors.OfflineModeIsEnabled as fault:
        raise TuiGenError(f"it is not in the cache, {constants.HF_HUB_CACHE}, and HF_HUB_OFFLINE is set") from fault
    except errors.GatedRepoError as fault:
        raise TuiGenError("its owner asks for consent: give it on the model's page, then run: hf auth login") from fault
    except errors.RevisionNotFoundError as fault:
        raise TuiGenError(f"it has no revision {revision}") from fault
    except errors.RepositoryNotFoundError as fault:
        raise TuiGenError("the hub has no such model; to a private one, hf auth login opens the door") from fault
    except errors.HfHubHTTPError as fault:
        raise TuiGenError(f"the hub, {constants.ENDPOINT}, answers: {brief(str(fault), 200)}") from fault
    except Exception as fault:  # of the library that speaks HTTP, which is another one in each version of the hub's
        if isinstance(fault, TuiGenError):
            raise
        words = brief(" ".join(str(fault).split()) or type(fault).__name__, 200)
        raise TuiGenError(f"{words}; try again when {constants.ENDPOINT} can be reached") from fault


class _Download:
    """Of the files of one commit, each compared with the hash that the hub states for it."""

    def __init__(self, repo: str, revision: str, report: Report) -> None:
        self._repo, self._revision, self._report = repo, revision, report
        self._read, self._told = 0, 0.0

    def run(self) -> None:
        """Raises TuiGenError for what is no model folder, too large, or damaged on its way."""
        from huggingface_hub import HfApi

        api = HfApi(library_name=_LIBRARY, library_version=__version__)
        facts = api.model_info(self._repo, revision=self._revision, files_metadata=True, timeout=30)
        files = {file.rfilename: file for file in facts.siblings or () if file.rfilename in FILES}
        if missing := [name for name in _NEEDED if name not in files]:
            raise TuiGenError(f"it is no model folder of tui-gen, for it has no {listed(missing)}")
        sizes = [file.size for file in files.values() if type(file.size) is int and file.size >= 0]
        if len(sizes) < len(files) or not _COMMIT_HASH.fullmatch(commit := str(facts.sha)):
            raise TuiGenError("the hub does not say which commit it is of, and how large its files are")
        if (size := sum(sizes)) > MOST:
            raise TuiGenError(
                f"it has {size >> 20:,} MB, more than the {MOST >> 20} that are downloaded unasked; "
                f"hf download {self._repo} --revision {commit} {' '.join(files)} fetches it, then --trust opens it"
            )
        self._report(f"{_SIZE} {size}")
        for name in (name for name in FILES if name in files):
            _check(self._get(name, commit), files[name])
        self._get(_NEEDED[0], self._revision)  # from now on the cache knows which commit that is
        self._report(f"{_COMMIT} {commit}")

    def _get(self, name: str, revision: str) -> Path:
        from huggingface_hub import hf_hub_download

        count = self._count

        class Meter:
            """Stands in for a bar of tqdm."""

            def __init__(self, *_: object, **__: object) -> None: ...

            def __enter__(self) -> Meter:
                return self

            def __exit__(self, *_: object) -> None: ...

            def update(self, size: int) -> None:
                count(size)

        path = hf_hub_download(
            self._repo,
            name,
            revision=revision,
            tqdm_class=Meter,
            library_name=_LIBRARY,
            library_version=__version__,
        )
        return Path(path)

    def _count(self, size: int) -> None:
        """Counts bytes. Raises TuiGenError for more than there may be: a server need not keep to what it has said."""
        self._read += size
        if self._read > MOST:
            raise TuiGenError(f"it sends more than the {MOST >> 20} MB that are downloaded unasked")
        if time.monotonic() - self._told > _BETWEEN_REPORTS:
            self._told = time.monotonic()
            self._report(f"{_READ} {self._read}")


def _check(path: Path, file: Any) -> None:
    """Removes a file that is not the one that the hub describes, and raises TuiGenError. file: a `RepoSibling`."""
    content = path.read_bytes()
    if file.lfs:
        same = hashlib.sha256(content).hexdigest() == file.lfs.sha256
    else:
        same = hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest() == file.blob_id  # as of git
    if not same:
        path.resolve().unlink()
        path.unlink(missing_ok=True)
        raise TuiGenError(f"{path.name} came damaged: it has another hash than the hub states; try again")
