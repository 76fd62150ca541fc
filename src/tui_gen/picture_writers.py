"""Pictures without a screen: rows of characters as they are drawn, or a PNG or a GIF at the end."""

from __future__ import annotations

import io
import os
import shutil
from collections.abc import Sequence
from typing import BinaryIO

import numpy as np

from tui_gen.errors import UsageError
from tui_gen.gif import gif
from tui_gen.grid import laid_out, near_square
from tui_gen.picture import UNDRAWN, Picture
from tui_gen.raster import Raster, ansi, plain
from tui_gen.step import Step

_GAP = "  "
_PNG_SIDE = 512
"""A PNG is enlarged by the largest whole factor that keeps a picture within this."""
_PNG_ROW = 4
"""Up to so many pictures of a PNG stand in one row."""


class RowWriter:
    """Pictures as rows of characters, as many side by side as fit; a row of the first ones as soon as it is whole."""

    bundle = list[Step]

    def __init__(
        self, picture: Picture, file: BinaryIO, form: str, coloured: bool, captions: Sequence[str] = ()
    ) -> None:
        """captions: of the samples, to stand above them."""
        self._picture, samples, self._captions = picture, len(picture), captions
        self._raster = Raster("blocks" if form == "blocks" else "ascii")
        self._show = ansi if form == "blocks" and coloured else plain
        self._file = file
        self._columns, self._rows = self._raster.size(picture.image.height, picture.image.width)
        width = shutil.get_terminal_size().columns if file.isatty() else 80
        beside = max(1, (width + len(_GAP)) // (self._columns + len(_GAP)))
        self._groups = [range(at, min(at + beside, samples)) for at in range(0, samples, beside)]
        self._written = 0

    def write(self, steps: Sequence[Step]) -> None:
        for step in steps:
            self._picture.add(step)
        done = self._picture.drawn // self._picture.image.width
        while (
            self._written < self._rows
            and self._raster.rows_of(min(done, self._picture.image.height)).start > self._written
        ):
            self._put(self._groups[0], self._written)
            self._written += 1
        self._file.flush()

    def close(self) -> None:
        if self._picture.empty:
            return
        for row in range(self._written, self._rows):
            self._put(self._groups[0], row)
        for group in self._groups[1:]:
            self._file.write(b"\n")
            for row in range(self._rows):
                self._put(group, row)
        self._file.flush()

    def _put(self, group: range, row: int) -> None:
        if row == 0 and self._captions:
            line = _GAP.join(self._captions[sample][: self._columns].ljust(self._columns) for sample in group)
            self._file.write(line.rstrip().encode() + b"\n")
        line = _GAP.join(self._show(self._raster.row(self._picture.rgb[sample], row)) for sample in group)
        self._file.write(line.rstrip(" ").encode() + b"\n")


def row_writer(picture: Picture, file: BinaryIO, form: str | None, captions: Sequence[str] = ()) -> RowWriter:
    """form: ascii or blocks; None for what suits where it is written. NO_COLOR is honoured."""
    coloured = not os.environ.get("NO_COLOR")
    return RowWriter(picture, file, form or ("blocks" if file.isatty() and coloured else "ascii"), coloured, captions)


class FileWriter:
    """All pictures in one file, when they are finished."""

    bundle = list[Step]

    def __init__(self, picture: Picture, file: BinaryIO, form: str) -> None:
        if file.isatty():
            raise UsageError(f"a {form.upper()} is not for a terminal; add -o FILE")
        self._picture, self._file, self._encode = picture, file, {"png": png, "gif": gif}[form]

    def write(self, steps: Sequence[Step]) -> None:
        for step in steps:
            self._picture.add(step)

    def close(self) -> None:
        self._file.write(self._encode(self._picture))
        self._file.flush()


def png(picture: Picture) -> bytes:
    """All samples one pixel apart, enlarged by a whole factor; undrawn pixels are transparent.

    Up to four stand side by side, more of them in rows.
    """
    from PIL import Image

    drawn = picture.rgb != UNDRAWN
    opaque = np.concatenate([np.where(drawn, picture.rgb, 0), 255 * drawn[..., :1]], axis=-1).astype(np.uint8)
    across = len(picture) if len(picture) <= _PNG_ROW else near_square(len(picture))
    joined = laid_out(opaque, across, ground=0)
    scale = max(1, _PNG_SIDE // max(picture.image.height, picture.image.width))
    out = io.BytesIO()
    Image.fromarray(joined.repeat(scale, axis=0).repeat(scale, axis=1)).save(out, "PNG")
    return out.getvalue()
