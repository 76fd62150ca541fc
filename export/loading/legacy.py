"""The format of torch.save before PyTorch 1.6: a few pickles in a row, then the numbers of each storage."""

from __future__ import annotations

import io
from typing import Any

from export.loading.storages import BIG_ENDIAN, storage_facts
from export.loading.stubs import Storage
from export.loading.tensors import item_size
from export.loading.unpickler import unpickle
from tui_gen.errors import TuiGenError

_MAGIC = 0x1950A86A20F9469CFC6C
_VERSION = 1001


def is_legacy(data: bytes) -> bool:
    """Whether a file begins with the mark of the format."""
    try:
        value = unpickle(io.BytesIO(data[:64]))
    except TuiGenError:
        return False
    return type(value) is int and value == _MAGIC


def read_legacy(stream: io.BytesIO) -> Any:
    """The objects of the file, with their storages."""
    if unpickle(stream) != _MAGIC or unpickle(stream) != _VERSION:
        raise TuiGenError("its pickle is damaged")
    system = unpickle(stream)
    if isinstance(system, dict) and system.get("little_endian") is False:
        raise TuiGenError(BIG_ENDIAN)
    storages: dict[str, Storage] = {}

    def persistent(pid: Any) -> Any:
        if isinstance(pid, tuple) and len(pid) >= 2 and pid[0] == "module":
            return pid[1]  # a class, with its source code, which is not looked at
        return _storage(pid, storages)

    value, keys = unpickle(stream, persistent), unpickle(stream)
    for key in keys if isinstance(keys, list) else ():
        _fill(storages, key, stream)
    return value


def _storage(pid: Any, storages: dict[str, Storage]) -> Storage:
    dtype, key = storage_facts(pid)
    base = storages.setdefault(key, Storage(dtype))
    view = pid[5] if len(pid) > 5 else None
    if view is None:
        return base
    if not (isinstance(view, tuple) and len(view) == 3 and type(view[1]) is int and 0 <= view[1] < 2**62):
        raise TuiGenError("its storages are damaged")
    return Storage(dtype, base=base, offset=view[1])


def _fill(storages: dict[str, Storage], key: Any, stream: io.BytesIO) -> None:
    storage = storages.get(str(key)) if isinstance(key, (str, int)) else None
    if storage is None:
        raise TuiGenError("its storages are damaged")
    size = int.from_bytes(stream.read(8), "little") * item_size(storage.dtype)
    if size > len(stream.getbuffer()) - stream.tell():
        raise TuiGenError("ends too early: it declares more numbers than it has")
    storage.data = bytearray(stream.read(size))
