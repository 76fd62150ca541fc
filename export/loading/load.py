"""Opens a checkpoint file of any training script as plain values; nothing in it is ever run."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from export.loading.archives import LEGACY_MAGIC, read_legacy, read_safetensors, read_zip
from export.loading.contents import Checkpoint
from export.loading.harvest import Module, plain
from export.loading.select import Candidate, candidates, choose, facts_of, merged, strip
from export.loading.sniff import foreign
from export.loading.unpickler import unpickle
from tui_gen.errors import TuiGenError
from tui_gen.files import read_bytes


def load_checkpoint(path: Path) -> Checkpoint:
    """What a checkpoint holds. Raises TuiGenError, in one line, for a file that is none or asks to run something."""
    form, value = _read(path)
    try:
        chosen, notes = choose(list(candidates(value)))
        tensors, modules, stripped = strip(*merged(chosen))
    except RecursionError:
        raise TuiGenError(f"{path} cannot be read: it is nested too deeply") from None
    kind = next((c.modules[""].kind for c in chosen if c.modules), "")
    form = f"{form}, whole module {kind}" if kind else f"{form}, state dict" if tensors else form
    return Checkpoint(form, tensors, modules, _facts(value, chosen), (*notes, *stripped))


def load_values(path: Path) -> Any:
    """The plain values of a checkpoint or of any pickle: dicts, lists, texts, numbers, tensors."""
    return _read(path)[1]


def _facts(value: Any, chosen: list[Candidate]) -> Mapping[str, Any]:
    facts = facts_of({str(index): item for index, item in enumerate(value)} if _is_list(value) else value)
    known = facts if isinstance(facts, dict) else {}
    taken = {c.path[0] for c in chosen if len(c.path) == 1 and not c.modules}
    return {str(key): item for key, item in known.items() if key not in taken}


def _is_list(value: Any) -> bool:
    return isinstance(value, (list, tuple))


def _read(path: Path) -> tuple[str, Any]:
    """What kind of file it is, and its values."""
    data = read_bytes(path)
    what = foreign(data, path.name.lower())
    if what:
        raise TuiGenError(f"{path} {what}")
    try:
        form, value = _open(data, path.suffix.lower())
        return form, _as_dict(plain(value))
    except RecursionError:
        raise TuiGenError(f"{path} cannot be read: it is nested too deeply") from None
    except (MemoryError, OverflowError):
        raise TuiGenError(f"{path} cannot be read: it declares more than it holds") from None
    except TuiGenError as fault:
        reason = str(fault)
        raise TuiGenError(
            f"{path} {reason}" if reason.startswith(_VERBS) else f"{path} cannot be read: {reason}"
        ) from None


_VERBS = ("is ", "holds ", "was ", "lacks ", "ends ", "unpacks ")


def _as_dict(value: Any) -> Any:
    return value if isinstance(value, (dict, list, tuple, Module)) else {"value": value}


def _open(data: bytes, suffix: str) -> tuple[str, Any]:
    if suffix == ".safetensors" or _has_safetensors_header(data):
        return "safetensors file", read_safetensors(data)
    if data[:4] == b"PK\x03\x04" or zipfile.is_zipfile(io.BytesIO(data)):
        return "PyTorch zip file", read_zip(data)
    if _first_value(data) == LEGACY_MAGIC:
        return "PyTorch file of the format before 1.6", read_legacy(data)
    return "pickle", unpickle(io.BytesIO(data))


def _has_safetensors_header(data: bytes) -> bool:
    return len(data) > 9 and data[8:9] == b"{" and int.from_bytes(data[:8], "little") <= len(data) - 8


def _first_value(data: bytes) -> Any:
    """The first object, if it is a number; in a legacy file it is the mark of the format."""
    try:
        value = unpickle(io.BytesIO(data[:64]))
    except TuiGenError:
        return None
    return value if isinstance(value, int) else None
