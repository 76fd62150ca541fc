"""Opens a checkpoint of any training script and finds the network in it; nothing in a file is ever run."""

from __future__ import annotations

import io
import os
import zipfile
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from tui_gen.errors import TuiGenError
from tui_gen.files import open_bytes, read_beginning, read_bytes
from tui_gen.terminal_text import scrub_line

from .checkpoint import Checkpoint, strip
from .distributed import read_distributed
from .folders import Location, locate
from .foreign import HEAD, ZEROS, recognise_foreign
from .formats import (
    is_legacy,
    is_safetensors,
    read_inner_zip,
    read_legacy,
    read_pickle,
    read_safetensors,
    read_zip,
)
from .selection import TOOK, Candidate, select
from .values import facts_of, plain

_VERBS = ("is ", "has ", "holds ", "was ", "lacks ", "ends ", "unpacks ")
"""What errors begin with whose subject is the file."""
_MAX_REASON = 600
_ZIP = b"PK\x03\x04"


def load_checkpoint(path: Path, *, weights: str = "") -> Checkpoint:
    """What a checkpoint holds. Raises TuiGenError, in one line, for a file that is none or asks to run something.

    path: a file, an index of shards, or a folder with a checkpoint. weights: where in it the network's are, such as
    `ema.model`, or several parts with commas between, if a person says so.
    """
    location = locate(path)
    form, value = _read(path, location)
    try:
        selection = select(value, weights)
        tensors, modules, prefix_notes = strip(*selection.merge())
        facts = {**_facts(value, selection.parts), **location.facts}
    except TuiGenError as fault:
        raise TuiGenError(f"{path} {scrub_line(str(fault)[:_MAX_REASON])}") from None
    except RecursionError:
        raise TuiGenError(f"{path} cannot be read: it is nested too deeply") from None
    kinds = ", ".join(part.modules[""].kind for part in selection.parts if part.modules)
    ours = form.startswith("safetensors") or len(location.files) > 1  # then `state_dict` is no name of the file's
    chosen = [note for note in selection.notes if not (ours and note == f"{TOOK} state_dict")]
    form = f"{form}, whole module {kinds}" if kinds else f"{form}, state dict" if tensors else form
    notes = (*location.notes, *chosen, *prefix_notes)
    return Checkpoint(form, tensors, modules, facts, notes, selection.choice, tuple(selection.others))


def checkpoint_files(path: Path) -> tuple[Path, ...]:
    """The files that the checkpoint at a path is read from. Raises TuiGenError as load_checkpoint does."""
    return locate(path).files


def load_values(path: Path) -> Any:
    """The plain values of a checkpoint or of any pickle: dicts, lists, texts, numbers, tensors.

    Objects of classes are dicts of their attributes with the class's name under `__class__`. Raises TuiGenError as
    load_checkpoint does.
    """
    return _read_file(path)[1]


def _read(path: Path, location: Location) -> tuple[str, Any]:
    """What kind of file or folder it is, and its values."""
    if location.distributed:
        return _read_distributed(path, location.files)
    if len(location.files) == 1 and location.weight_map is None:
        return _read_file(location.files[0])
    return _merge_shards(path, location)


def _read_distributed(path: Path, files: tuple[Path, ...]) -> tuple[str, Any]:
    """Beside its parts a folder may have `meta.pt`, with the settings that Lightning keeps apart."""
    contents = {file.name: read_bytes(file) if file.stat().st_size else b"" for file in files}
    metadata = contents.pop(files[0].name)
    beside = {"meta": _read_file(files[0].with_name("meta.pt"))[1]} if contents.pop("meta.pt", b"") else {}

    def read_part(content: bytes) -> Any:
        return plain(read_inner_zip(content), file_size=len(content))

    def read() -> tuple[str, Any]:
        return "distributed checkpoint", {**beside, **read_distributed(metadata, contents, read_part)}

    return _told(path, read)


def _merge_shards(path: Path, location: Location) -> tuple[str, Any]:
    """The tensors of all shards as one `state_dict`, and what stands beside them in the first."""
    state, beside, form = dict[str, Tensor](), dict[str, Any](), ""
    for file in location.files:
        form, value = _read_file(file)
        value = value if isinstance(value, dict) else {}
        shard = value["state_dict"] if isinstance(value.get("state_dict"), dict) else value
        tensors = {name: item for name, item in shard.items() if isinstance(item, Tensor) and isinstance(name, str)}
        if not tensors:
            raise TuiGenError(f"{file} is no shard: it holds no tensors by name")
        for name in tensors.keys() & state.keys():
            if state[name].shape != tensors[name].shape or not torch.equal(state[name], tensors[name]):
                raise TuiGenError(f"{file} has other numbers for {scrub_line(name[:100])} than an earlier shard")
        state |= tensors
        beside = beside or {key: item for key, item in value.items() if key not in ("state_dict", *tensors)}
    missing = [name for name in location.weight_map or () if name not in state]
    if missing:
        what = f"{len(missing)} tensors that it lists, such as {scrub_line(missing[0][:100])}"
        raise TuiGenError(f"{path} lacks {what}: index and shards are not of one network; fetch both again")
    return f"{form} in {len(location.files)} shards", {**beside, "state_dict": state}


def _read_file(path: Path) -> tuple[str, Any]:
    """What kind of file it is, and its values."""
    head = read_beginning(path, HEAD) if path.is_file() and os.access(path, os.R_OK) else None
    if head == b"":
        raise TuiGenError(f"{path} is empty: the copy or the training broke off; copy or save it again")
    if head == bytes(HEAD):  # of which there may be gigabytes
        raise TuiGenError(f"{path} {ZEROS}")
    if head and head.startswith(_ZIP):
        return _read_zip_file(path, head)
    data = read_bytes(path)
    _refuse_foreign(path, data)

    def read() -> tuple[str, Any]:
        form, value = _read_format(data, path.suffix.lower())
        return form, plain(value, file_size=len(data))

    return _told(path, read)


def _read_zip_file(path: Path, head: bytes) -> tuple[str, Any]:
    """The same of a zip file, of which nothing is held but the numbers that it names."""
    _refuse_foreign(path, head)
    with open_bytes(path) as file:

        def read() -> tuple[str, Any]:
            form, value = read_zip(file)
            return form, plain(value, file_size=os.fstat(file.fileno()).st_size)

        return _told(path, read)


def _refuse_foreign(path: Path, data: bytes) -> None:
    if what := recognise_foreign(data, path.name.lower()):
        raise TuiGenError(f"{path} {what}")


def _told(path: Path, read: Callable[[], tuple[str, Any]]) -> tuple[str, Any]:
    """What a reader returns. Raises TuiGenError that names the file for whatever a reader meets in a damaged one."""
    try:
        return read()
    except RecursionError:
        raise TuiGenError(f"{path} cannot be read: it is nested too deeply") from None
    except (MemoryError, OverflowError):
        raise TuiGenError(f"{path} cannot be read: it declares more than it holds") from None
    except TuiGenError as fault:
        reason = scrub_line(str(fault)[:_MAX_REASON])
        raise TuiGenError(f"{path} {'' if reason.startswith(_VERBS) else 'cannot be read: '}{reason}") from None


def _read_format(data: bytes, suffix: str) -> tuple[str, Any]:
    """By what a file begins with; its name counts only where that says nothing."""
    if is_safetensors(data):
        return "safetensors file", read_safetensors(data)
    if is_legacy(data):
        return "PyTorch file of the format before 1.6", read_legacy(io.BytesIO(data))
    if suffix == ".safetensors":
        return "safetensors file", read_safetensors(data)
    if zipfile.is_zipfile(io.BytesIO(data)):
        return read_zip(io.BytesIO(data))
    return "pickle", read_pickle(io.BytesIO(data))


def _facts(value: Any, parts: Iterable[Candidate]) -> Mapping[str, Any]:
    """The facts; those of a list by its indices."""
    by_name = {str(index): item for index, item in enumerate(value)} if isinstance(value, (list, tuple)) else value
    facts = facts_of(by_name, weights=frozenset(part.origin for part in parts if not part.modules))
    return {str(key): item for key, item in facts.items()} if isinstance(facts, dict) else {}
