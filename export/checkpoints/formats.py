"""File formats of checkpoints: zip and legacy files of torch.save, programs, safetensors, pickles."""

from __future__ import annotations

import io
import struct
from dataclasses import replace
from typing import Any, BinaryIO

import safetensors.torch

from tui_gen.errors import TuiGenError
from tui_gen.json_fields import parse_json

from .allowed_globals import ALLOWED, DAMAGED_STORAGES, storage_type_and_key
from .archive import Archive
from .programs import is_exported, read_exported, read_script
from .unpickler import PersistentLoad, Storage, unpickle
from .values import item_size

_BIG_ENDIAN = "was written on a big-endian machine; save it anew on an ordinary one"
_INNER_ALLOWANCE = 2**16
_ZIP_FILE = "PyTorch zip file"
_LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
_VERSION = 1001


def read_pickle(stream: io.BytesIO, persistent: PersistentLoad | None = None) -> Any:
    """The next object of a stream. Raises TuiGenError for one that is damaged or asks to run something."""
    return unpickle(stream, _ALLOWED, persistent)


def read_zip(file: BinaryIO) -> tuple[str, Any]:
    """What kind of zip file it is, and its objects, with their storages."""
    archive = Archive(file)
    if archive.is_big_endian():
        raise TuiGenError(_BIG_ENDIAN)
    if is_exported(archive):
        return "torch.export archive", read_exported(archive, read_inner_zip)
    root, value = archive.root(), _objects(archive)
    return ("TorchScript archive", read_script(archive, root, value)) if archive.is_script(root) else (_ZIP_FILE, value)


def read_inner_zip(data: bytes) -> Any:
    """The objects of a file of torch.save inside of another file, of which there may be many."""
    return _objects(Archive(io.BytesIO(data), allowance=_INNER_ALLOWANCE))


def _objects(archive: Archive) -> Any:
    root = archive.root()
    storages: dict[str, Storage] = {}

    def persistent(pid: Any) -> Storage:
        dtype, key = storage_type_and_key(pid)
        if key not in storages:
            storages[key] = Storage(dtype, archive.read(f"{root}data/{key}"))
        return storages[key]

    return read_pickle(io.BytesIO(archive.read(f"{root}data.pkl")), persistent)


def is_legacy(data: bytes) -> bool:
    """Whether a file begins with the mark of the format."""
    try:
        value = read_pickle(io.BytesIO(data[:64]))
    except TuiGenError:
        return False
    return type(value) is int and value == _LEGACY_MAGIC


def read_legacy(stream: io.BytesIO) -> Any:
    """The objects of the file, with their storages."""
    if read_pickle(stream) != _LEGACY_MAGIC or read_pickle(stream) != _VERSION:
        raise TuiGenError("its pickle is damaged")
    system = read_pickle(stream)
    if isinstance(system, dict) and system.get("little_endian") is False:
        raise TuiGenError(_BIG_ENDIAN)
    storages: dict[str, Storage] = {}

    def persistent(pid: Any) -> Any:
        if isinstance(pid, tuple) and len(pid) >= 2 and pid[0] == "module":
            return pid[1]  # a class, with its source code, which is not looked at
        return _storage(pid, storages)

    value, keys = read_pickle(stream, persistent), read_pickle(stream)
    for key in keys if isinstance(keys, list) else ():
        _fill(storages, key, stream)
    return value


def _load_from_bytes(content: Any) -> Storage:
    """The numbers of a tensor that was pickled without torch.save: a legacy file inside of the file."""
    storage = read_legacy(io.BytesIO(content)) if isinstance(content, (bytes, bytearray)) else None
    if not isinstance(storage, Storage):
        raise TuiGenError(DAMAGED_STORAGES)
    return storage


_ALLOWED = replace(ALLOWED, functions={**ALLOWED.functions, "torch.storage._load_from_bytes": _load_from_bytes})


def _storage(pid: Any, storages: dict[str, Storage]) -> Storage:
    dtype, key = storage_type_and_key(pid)
    base = storages.setdefault(key, Storage(dtype))
    view = pid[5] if len(pid) > 5 else None
    if view is None:
        return base
    if not (isinstance(view, tuple) and len(view) == 3 and type(view[1]) is int and 0 <= view[1] < 2**62):
        raise TuiGenError(DAMAGED_STORAGES)
    return Storage(dtype, base=base, offset=view[1])


def _fill(storages: dict[str, Storage], key: Any, stream: io.BytesIO) -> None:
    storage = storages.get(str(key)) if isinstance(key, (str, int)) else None
    if storage is None:
        raise TuiGenError(DAMAGED_STORAGES)
    size = int.from_bytes(stream.read(8), "little") * item_size(storage.dtype)
    if size > len(stream.getbuffer()) - stream.tell():
        raise TuiGenError("ends too early: it declares more numbers than it has")
    storage.data = bytearray(stream.read(size))


def is_safetensors(data: bytes) -> bool:
    """Whether a file begins with the length of a header in JSON, and the header."""
    return len(data) > 9 and data[8:9] == b"{" and int.from_bytes(data[:8], "little") <= len(data) - 8


def read_safetensors(data: bytes) -> Any:
    """Tensors by name as `state_dict`, and the header's `metadata`."""
    try:
        tensors = safetensors.torch.load(data)
        header = parse_json(data[8 : 8 + struct.unpack("<Q", data[:8])[0]])
    except Exception as fault:  # the library's errors share no base, and torch's readers add their own
        raise TuiGenError(f"is a damaged or incomplete safetensors file ({fault!s:.100}); copy it again") from None
    metadata = header.pop("__metadata__", None)
    state_dict = {name: tensors[name] for name in header}  # the library has them in another order in every run
    return {"state_dict": state_dict, **({"metadata": metadata} if isinstance(metadata, dict) else {})}
