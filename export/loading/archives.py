"""The file formats of checkpoints: zip since PyTorch 1.6, the format before it, bare pickles, safetensors."""

from __future__ import annotations

import io
import zipfile
from typing import Any

from export.loading.known import DTYPES
from export.loading.sniff import foreign_zip
from export.loading.stubs import Global, Storage
from export.loading.tensors import item_size
from export.loading.unpickler import unpickle
from tui_gen.errors import TuiGenError

LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
_LEGACY_PROTOCOL = 1001
_MAX_RATIO = 100
"""How many times its own size a file may unpack to; torch does not compress."""


def read_zip(data: bytes) -> Any:
    """The objects of a zip file, with their storages."""
    try:
        archive = zipfile.ZipFile(io.BytesIO(data))
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError):
        raise TuiGenError("is a damaged or incomplete zip file; copy or download it again") from None
    entry = next((name for name in archive.namelist() if name == "data.pkl" or name.endswith("/data.pkl")), None)
    root = "" if entry is None else entry.removesuffix("data.pkl")
    if entry is None or f"{root}constants.pkl" in archive.namelist() or f"{root}code/" in archive.namelist():
        raise TuiGenError(foreign_zip(archive))
    if _is_big_endian(archive, root):
        raise TuiGenError("was written on a big-endian machine; save it anew on an ordinary one")
    storages: dict[str, Storage] = {}

    def persistent(pid: Any) -> Storage:
        dtype, key, count = _storage_facts(pid)
        if key not in storages:
            storages[key] = Storage(dtype, count, _entry(archive, f"{root}data/{key}", len(data)))
        return storages[key]

    return unpickle(io.BytesIO(_entry(archive, entry, len(data))), persistent)


def _is_big_endian(archive: zipfile.ZipFile, root: str) -> bool:
    name = f"{root}byteorder"
    return name in archive.namelist() and _entry(archive, name, 2**20) == b"big"


def _entry(archive: zipfile.ZipFile, name: str, file_size: int) -> bytes:
    try:
        info = archive.getinfo(name)
        if info.file_size > _MAX_RATIO * file_size:
            raise TuiGenError(f"unpacks to {info.file_size:,} bytes, which no checkpoint of its size does")
        return archive.read(info)
    except TuiGenError:
        raise
    except KeyError:
        raise TuiGenError(f"lacks its part {name}; it is damaged") from None
    except Exception as fault:  # zipfile raises whatever its decompressors meet
        raise TuiGenError(f"is a damaged zip file: {name}: {fault!s:.100}") from None


def _storage_facts(pid: Any) -> tuple[Any, str, int]:
    """Number type, key and count of a storage, from ('storage', type, key, location, count)."""
    if not (isinstance(pid, tuple) and len(pid) >= 5 and pid[0] == "storage" and isinstance(pid[1], Global)):
        raise TuiGenError("its storages are damaged")
    dtype = DTYPES.get(pid[1].name.rpartition(".")[2].removesuffix("Storage"))
    if dtype is None or type(pid[4]) is not int or not 0 <= pid[4] < 2**48:
        raise TuiGenError(f"it has numbers of a type that is not known ({pid[1].name})")
    return dtype, str(pid[2]), pid[4]


def read_legacy(data: bytes) -> Any:
    """The objects of a file of PyTorch before 1.6; their storages follow them."""
    stream, storages = io.BytesIO(data), dict[str, Storage]()

    def persistent(pid: Any) -> Any:
        if isinstance(pid, tuple) and len(pid) >= 2 and pid[0] == "module":
            return pid[1]  # a class, with its source code, which is not looked at
        return _legacy_storage(pid, storages)

    if unpickle(stream) != LEGACY_MAGIC or unpickle(stream) != _LEGACY_PROTOCOL:
        raise TuiGenError("its pickle is damaged")
    system = unpickle(stream)
    if isinstance(system, dict) and system.get("little_endian") is False:
        raise TuiGenError("was written on a big-endian machine; save it anew on an ordinary one")
    value, keys = unpickle(stream, persistent), unpickle(stream)
    for key in keys if isinstance(keys, list) else ():
        _fill(storages, str(key), stream)
    return value


def _legacy_storage(pid: Any, storages: dict[str, Storage]) -> Storage:
    dtype, key, count = _storage_facts(pid)
    base = storages.setdefault(key, Storage(dtype, count))
    view = pid[5] if len(pid) > 5 else None
    if view is None:
        return base
    if not (isinstance(view, tuple) and len(view) == 3 and all(type(n) is int and n >= 0 for n in view[1:])):
        raise TuiGenError("its storages are damaged")
    return Storage(dtype, view[2], base=base, offset=view[1])


def _fill(storages: dict[str, Storage], key: str, stream: io.BytesIO) -> None:
    if key not in storages:
        raise TuiGenError("its storages are damaged")
    size = int.from_bytes(stream.read(8), "little") * item_size(storages[key].dtype)
    if size > len(stream.getbuffer()) - stream.tell():
        raise TuiGenError("ends too early: it declares more numbers than it has")
    storages[key].data = stream.read(size)


def read_safetensors(data: bytes) -> Any:
    """Tensors by name; the metadata of the header under `__metadata__`."""
    import json

    import safetensors.torch

    try:
        tensors = safetensors.torch.load(data)
        header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    except Exception as fault:  # the library's errors share no base, and torch's readers add their own
        raise TuiGenError(f"is a damaged safetensors file: {fault!s:.100}") from None
    metadata = header.get("__metadata__", {})
    return {"state_dict": tensors, **({"metadata": metadata} if isinstance(metadata, dict) else {})}
