"""The zip file of a checkpoint: its parts, none larger than the file makes credible."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Iterator
from typing import BinaryIO

from tui_gen.errors import TuiGenError

from .foreign import recognise_foreign_zip

_MOST_PARTS = 200_000
_PART = b"PK\x01\x02"
"""What stands before each part in the list at the end of a zip file."""
_BLOCK = 2**20
"""Bytes that are read at once."""
_FAULTS = (zipfile.BadZipFile, OSError, ValueError, NotImplementedError)


class Archive:
    """Raises TuiGenError for a zip file that is damaged, or lists more parts than a checkpoint has.

    Its parts are read one by one, so that a large file is never in memory as a whole.
    allowance: bytes that it may unpack to beyond four times its own size; torch itself does not compress.
    """

    def __init__(self, file: BinaryIO, *, allowance: int = 2**26) -> None:
        size = _check_parts(file)
        try:
            self._zip = zipfile.ZipFile(file)
        except _FAULTS:
            raise TuiGenError("is a damaged or incomplete zip file; copy or download it again") from None
        self._names = set(self._zip.namelist())
        self._budget = allowance + 4 * size

    def has(self, name: str) -> bool:
        """Whether there is a part of that name."""
        return name in self._names

    def names(self, *endings: str) -> Iterator[str]:
        """Names of parts with one of these endings, in the order of the file; a folder counts from the outermost."""
        return (name for name in self._zip.namelist() if f"/{name}".endswith(endings))

    def root(self) -> str:
        """The folder inside with the pickle. Raises TuiGenError that says what the file is instead."""
        pickle = next(self.names("/data.pkl"), None)
        if pickle is None:
            raise TuiGenError(recognise_foreign_zip(self._zip))
        return pickle.removesuffix("data.pkl")

    def is_script(self, root: str) -> bool:
        """Whether it is a program of TorchScript."""
        return self.has(f"{root}constants.pkl") or any(name.startswith(f"{root}code/") for name in self._names)

    def is_big_endian(self) -> bool:
        """Whether its numbers are those of a machine with another order of bytes."""
        return any(self.read(name) == b"big" for name in self.names("/byteorder"))

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
                content = bytearray()
                while block := part.read(_BLOCK):
                    content += block
                return content
        except (*_FAULTS, zlib.error, RuntimeError, EOFError) as fault:
            raise TuiGenError(f"is a damaged zip file: {name}: {fault!s:.100}") from None


def _check_parts(file: BinaryIO) -> int:
    """The size of a file; raises TuiGenError for one with too many parts, which would take long and much memory."""
    size, parts, end = 0, 0, b""
    file.seek(0)
    while block := file.read(_BLOCK):
        size += len(block)
        parts += (end + block).count(_PART)
        end = block[1 - len(_PART) :]
    if parts > _MOST_PARTS:
        raise TuiGenError(f"holds more than {_MOST_PARTS:,} parts, which no checkpoint does")
    return size
