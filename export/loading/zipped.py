"""The zip files that torch.save writes since PyTorch 1.6: one pickle, and one part for each storage."""

from __future__ import annotations

import io
import zipfile
import zlib
from typing import Any

from export.loading.sniff import foreign_zip
from export.loading.storages import BIG_ENDIAN, storage_facts
from export.loading.stubs import Storage
from export.loading.unpickler import unpickle
from tui_gen.errors import TuiGenError

_ALLOWANCE = 2**26
"""Bytes that a file may unpack to beyond four times its own size; torch itself does not compress."""


def read_zip(data: bytes) -> Any:
    """The objects of a zip file, with their storages."""
    archive = _Archive(data)
    root = archive.root()
    if archive.has(f"{root}byteorder") and archive.read(f"{root}byteorder") == b"big":
        raise TuiGenError(BIG_ENDIAN)
    storages: dict[str, Storage] = {}

    def persistent(pid: Any) -> Storage:
        dtype, key = storage_facts(pid)
        if key not in storages:
            storages[key] = Storage(dtype, archive.read(f"{root}data/{key}"))
        return storages[key]

    return unpickle(io.BytesIO(archive.read(f"{root}data.pkl")), persistent)


class _Archive:
    def __init__(self, data: bytes) -> None:
        try:
            self._zip = zipfile.ZipFile(io.BytesIO(data))
        except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError):
            raise TuiGenError("is a damaged or incomplete zip file; copy or download it again") from None
        self._names = set(self._zip.namelist())
        self._left = _ALLOWANCE + 4 * len(data)

    def has(self, name: str) -> bool:
        return name in self._names

    def root(self) -> str:
        """The folder inside with the pickle. Raises TuiGenError that says what the file is instead."""
        pickled = next(
            (name for name in self._zip.namelist() if name == "data.pkl" or name.endswith("/data.pkl")), None
        )
        root = "" if pickled is None else pickled.removesuffix("data.pkl")
        script = any(name.startswith(f"{root}code/") for name in self._names) or self.has(f"{root}constants.pkl")
        if pickled is None or script:
            raise TuiGenError(foreign_zip(self._zip))
        return root

    def read(self, name: str) -> bytearray:
        """A part of the file. Raises TuiGenError for one that is missing, damaged or out of proportion."""
        if not self.has(name):
            raise TuiGenError(f"lacks its part {name}; it is damaged")
        info = self._zip.getinfo(name)
        self._left -= info.file_size
        if self._left < 0:
            raise TuiGenError("unpacks to far more than its own size, which no checkpoint does")
        try:
            with self._zip.open(info) as part:
                return bytearray(part.read())
        except (
            zipfile.BadZipFile,
            zlib.error,
            OSError,
            ValueError,
            NotImplementedError,
            RuntimeError,
            EOFError,
        ) as fault:
            raise TuiGenError(f"is a damaged zip file: {name}: {fault!s:.100}") from None
