"""Opens a checkpoint file of any training script as plain values; nothing in it is ever run."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from export.loading.contents import Checkpoint
from export.loading.facts import facts_of
from export.loading.harvest import plain
from export.loading.legacy import is_legacy, read_legacy
from export.loading.naming import strip
from export.loading.safe import is_safetensors, read_safetensors
from export.loading.select import Candidate, candidates, choose, merged
from export.loading.sniff import foreign
from export.loading.unpickler import unpickle
from export.loading.zipped import read_zip
from tui_gen.errors import TuiGenError
from tui_gen.files import read_bytes
from tui_gen.scrub import scrub_line

_VERBS = ("is ", "holds ", "was ", "lacks ", "ends ", "unpacks ")
"""What errors begin with whose subject is the file."""
_MAX_REASON = 300


def load_checkpoint(path: Path, *, weights: str = "") -> Checkpoint:
    """What a checkpoint holds. Raises TuiGenError, in one line, for a file that is none or asks to run something.

    weights: where in the file the network's are, such as `ema.model`, if a person says so.
    """
    form, value = _read(path)
    try:
        chosen, notes = _chosen(path, value, weights)
        tensors, modules, stripped = strip(*merged(chosen))
        facts = _facts(value, chosen)
    except RecursionError:
        raise TuiGenError(f"{path} cannot be read: it is nested too deeply") from None
    kind = next((c.modules[""].kind for c in chosen if c.modules), "")
    form = f"{form}, whole module {kind}" if kind else f"{form}, state dict" if tensors else form
    return Checkpoint(form, tensors, modules, facts, (*notes, *stripped))


def _chosen(path: Path, value: Any, weights: str) -> tuple[list[Candidate], list[str]]:
    try:
        return choose(list(candidates(value)), weights)
    except TuiGenError as fault:
        raise TuiGenError(f"{path} {scrub_line(str(fault)[:_MAX_REASON])}") from None


def load_values(path: Path) -> Any:
    """The plain values of a checkpoint or of any pickle: dicts, lists, texts, numbers, tensors.

    Objects of classes are dicts of their attributes with the class's name under `__class__`. Raises TuiGenError as
    load_checkpoint does.
    """
    return _read(path)[1]


def _facts(value: Any, chosen: list[Candidate]) -> Mapping[str, Any]:
    """The facts; those of a list by its indices."""
    named = {str(index): item for index, item in enumerate(value)} if isinstance(value, (list, tuple)) else value
    facts = facts_of(named, weights=frozenset(c.path for c in chosen if not c.modules))
    return {str(key): item for key, item in facts.items()} if isinstance(facts, dict) else {}


def _read(path: Path) -> tuple[str, Any]:
    """What kind of file it is, and its values."""
    data = read_bytes(path)
    what = foreign(data, path.name.lower())
    if what:
        raise TuiGenError(f"{path} {what}")
    try:
        form, value = _open(data, path.suffix.lower())
        return form, plain(value, file_size=len(data))
    except RecursionError:
        raise TuiGenError(f"{path} cannot be read: it is nested too deeply") from None
    except (MemoryError, OverflowError):
        raise TuiGenError(f"{path} cannot be read: it declares more than it holds") from None
    except TuiGenError as fault:
        reason = scrub_line(str(fault)[:_MAX_REASON])
        said = reason if reason.startswith(_VERBS) else f"cannot be read: {reason}"
        raise TuiGenError(f"{path} {said}") from None


def _open(data: bytes, suffix: str) -> tuple[str, Any]:
    if is_safetensors(data) or suffix == ".safetensors":
        return "safetensors file", read_safetensors(data)
    if data[:4] == b"PK\x03\x04" or zipfile.is_zipfile(io.BytesIO(data)):
        return "PyTorch zip file", read_zip(data)
    if is_legacy(data):
        return "PyTorch file of the format before 1.6", read_legacy(io.BytesIO(data))
    return "pickle", unpickle(io.BytesIO(data))
