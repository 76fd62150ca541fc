"""File formats of checkpoints: zip and legacy files of torch.save, safetensors, pickles; and which others to refuse."""

from __future__ import annotations

import codecs
import io
import json
import struct
import zipfile
import zlib
from dataclasses import replace
from typing import Any

import safetensors.torch

from tui_gen.errors import TuiGenError

from .allowed_globals import ALLOWED, DAMAGED_STORAGES, storage_type_and_key
from .unpickler import PersistentLoad, Storage, unpickle
from .values import item_size

_BIG_ENDIAN = "was written on a big-endian machine; save it anew on an ordinary one"
_ALLOWANCE = 2**26
"""Bytes that a file may unpack to beyond four times its own size; torch itself does not compress."""
_LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
_VERSION = 1001
_FOREIGN_MAGIC = (
    (b"\x89HDF\r\n\x1a\n", "is a Keras (HDF5) file; only PyTorch networks are converted"),
    (b"GGUF", "is a GGUF file, which holds a transformer; only recurrent networks and PixelCNNs are converted"),
    (b"\x93NUMPY", "is a NumPy array, not a checkpoint; save the network's state_dict with torch.save"),
    (b"\x1f\x8b", "is compressed with gzip; unpack it first"),
    (b"BZh", "is compressed with bzip2; unpack it first"),
    (b"\xfd7zXZ", "is compressed with xz; unpack it first"),
    (b"Rar!", "is a RAR archive; unpack it first"),
    (b"7z\xbc\xaf", "is a 7z archive; unpack it first"),
    (b"version https://git-lfs", "is a pointer of Git LFS, not the file itself; fetch it with `git lfs pull`"),
    *(
        (bytes((4, 0, 0, 0, kind, 0, 0, 0)), "is a Lua Torch file (.t7); only PyTorch networks are converted")
        for kind in (1, 2, 3)
    ),
    (b"\x89PNG", "is a picture"),
    (b"%PDF", "is a PDF document"),
    (b"\x7fELF", "is a program"),
)
_TENSORFLOW = "is a TensorFlow file; only PyTorch networks are converted"
_TENSORFLOW_NAMES = (".index", ".pb", ".meta")
_SSTABLE = b"\x57\xfb\x80\x8b\x24\x75\x47\xdb"
"""The end of a table of TensorFlow's, whatever its name."""
_ONNX_FIELDS = (b"\x12", b"\x1a", b":")
"""What follows the version in a file of ONNX: producer, its version, or the graph."""
_ZIP_FAULTS = (zipfile.BadZipFile, OSError, ValueError, NotImplementedError)
_OURS = (b"P", b"\x80")
"""What zip files and pickles begin with."""


def read_pickle(stream: io.BytesIO, persistent: PersistentLoad | None = None) -> Any:
    """The next object of a stream. Raises TuiGenError for one that is damaged or asks to run something."""
    return unpickle(stream, _ALLOWED, persistent)


def read_zip(data: bytes) -> Any:
    """The objects of a zip file, with their storages."""
    archive = _Archive(data)
    root = archive.root()
    if archive.has(f"{root}byteorder") and archive.read(f"{root}byteorder") == b"big":
        raise TuiGenError(_BIG_ENDIAN)
    storages: dict[str, Storage] = {}

    def persistent(pid: Any) -> Storage:
        dtype, key = storage_type_and_key(pid)
        if key not in storages:
            storages[key] = Storage(dtype, archive.read(f"{root}data/{key}"))
        return storages[key]

    return read_pickle(io.BytesIO(archive.read(f"{root}data.pkl")), persistent)


class _Archive:
    def __init__(self, data: bytes) -> None:
        try:
            self._zip = zipfile.ZipFile(io.BytesIO(data))
        except _ZIP_FAULTS:
            raise TuiGenError("is a damaged or incomplete zip file; copy or download it again") from None
        self._names = set(self._zip.namelist())
        self._budget = _ALLOWANCE + 4 * len(data)

    def has(self, name: str) -> bool:
        return name in self._names

    def root(self) -> str:
        """The folder inside with the pickle. Raises TuiGenError that says what the file is instead."""
        pickle = next((name for name in self._zip.namelist() if f"/{name}".endswith("/data.pkl")), None)
        root = "" if pickle is None else pickle.removesuffix("data.pkl")
        is_script = any(name.startswith(f"{root}code/") for name in self._names) or self.has(f"{root}constants.pkl")
        if pickle is None or is_script:
            raise TuiGenError(_recognise_foreign_zip(self._zip))
        return root

    def read(self, name: str) -> bytearray:
        """A part of the file. Raises TuiGenError for one that is missing, damaged or out of proportion."""
        if not self.has(name):
            raise TuiGenError(f"lacks its part {name}; it is damaged")
        info = self._zip.getinfo(name)
        self._budget -= info.file_size
        if self._budget < 0:
            raise TuiGenError("unpacks to far more than its own size, which no checkpoint does")
        try:
            with self._zip.open(info) as part:
                return bytearray(part.read())
        except (*_ZIP_FAULTS, zlib.error, RuntimeError, EOFError) as fault:
            raise TuiGenError(f"is a damaged zip file: {name}: {fault!s:.100}") from None


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
        header = json.loads(data[8 : 8 + struct.unpack("<Q", data[:8])[0]])
    except Exception as fault:  # the library's errors share no base, and torch's readers add their own
        raise TuiGenError(f"is a damaged safetensors file: {fault!s:.100}") from None
    metadata = header.pop("__metadata__", None)
    state_dict = {name: tensors[name] for name in header}  # the library has them in another order in every run
    return {"state_dict": state_dict, **({"metadata": metadata} if isinstance(metadata, dict) else {})}


def recognise_foreign(data: bytes, name: str) -> str:
    """What a file is that cannot be a checkpoint; empty if it may be one. name: of the file, in lower case."""
    by_magic = next((what for magic, what in _FOREIGN_MAGIC if data.startswith(magic)), "")
    return by_magic or _of_other_frameworks(data, name) or _text(data)


def _of_other_frameworks(data: bytes, name: str) -> str:
    """By more than how the file begins."""
    by_name = data[:1] not in _OURS and (name.endswith(_TENSORFLOW_NAMES) or ".data-0000" in name)
    if by_name or data[-8:] == _SSTABLE:
        return _TENSORFLOW
    if data[:1] == b"\x08" and (name.endswith(".onnx") or data[2:3] in _ONNX_FIELDS or b"onnx" in data[:200].lower()):
        return "is an ONNX file already; the exporter reads PyTorch checkpoints"
    if name.endswith(".msgpack") or (data[0] & 0xF0 == 0x80 and data[1:2] > b"\x9f"):
        return "is a Flax file (MessagePack); only PyTorch networks are converted"
    if data[257:262] == b"ustar":
        return "is a tar archive, or a checkpoint of PyTorch before 0.1.10; unpack it, or save it anew"
    return ""


def _text(data: bytes) -> str:
    """Text is no checkpoint, but for the first protocol of pickle, whose text ends with a full stop."""
    head = data[:4096]
    if head.lstrip().lower().startswith((b"<!doctype html", b"<html")):
        return "is a web page; the download went wrong"
    if b"\0" in head or (data[-16:].rstrip()[-1:] == b"." and data[:1] in b"(cSI]d}l"):
        return ""
    try:
        codecs.getincrementaldecoder("utf-8")().decode(head)  # which may end inside of a character
    except UnicodeDecodeError:
        return ""
    return "is a text file, not a checkpoint" if all(byte >= 9 for byte in head) else ""


def _recognise_foreign_zip(archive: zipfile.ZipFile) -> str:
    """What a zip file is that holds no `data.pkl`, or one that does not hold plain values."""
    names = archive.namelist()
    if any("/code/" in name or name.endswith("constants.pkl") for name in names):
        return "is a TorchScript program; save the state_dict of the network that it was made from"
    if "metadata.json" in names and any(name.endswith(".weights.h5") for name in names):
        return "is a Keras file; only PyTorch networks are converted"
    if any(name.endswith(".npy") for name in names):
        return "holds NumPy arrays (.npz); save the network's state_dict with torch.save"
    if any(name.endswith("saved_model.pb") for name in names):
        return _TENSORFLOW
    return "is a zip archive, but none of PyTorch's; unpack it if a checkpoint is inside"
