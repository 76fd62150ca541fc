"""Pictures without a screen: rows of characters as they are drawn, or a PNG at the end."""

from __future__ import annotations

import io
import shutil
from collections.abc import Sequence
from typing import BinaryIO

import numpy as np

from tui_gen.codec import ImageCodec
from tui_gen.errors import UsageError
from tui_gen.generate import Step
from tui_gen.picture import UNDRAWN, Picture
from tui_gen.raster import Raster, ansi, plain

_GAP = "  "
_PNG_SIDE = 512
"""A PNG is enlarged by the largest whole factor that keeps a picture within this."""


class RowWriter:
    """Pictures as rows of characters, as many side by side as fit; a row of the first ones as soon as it is whole."""

    def __init__(self, codec: ImageCodec, samples: int, file: BinaryIO, form: str, coloured: bool) -> None:
        self._picture = codec.picture(samples)
        self._raster = Raster("blocks" if form == "blocks" else "ascii")
        self._show = ansi if form == "blocks" and coloured else plain
        self._file = file
        columns, self._rows = self._raster.size(codec.image.height, codec.image.width)
        width = shutil.get_terminal_size().columns if file.isatty() else 80
        beside = max(1, (width + len(_GAP)) // (columns + len(_GAP)))
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
        if not self._picture.drawn:
            return
        for row in range(self._written, self._rows):
            self._put(self._groups[0], row)
        for group in self._groups[1:]:
            self._file.write(b"\n")
            for row in range(self._rows):
                self._put(group, row)
        self._file.flush()

    def _put(self, group: range, row: int) -> None:
        line = _GAP.join(self._show(self._raster.row(self._picture.rgb[sample], row)) for sample in group)
        self._file.write(line.rstrip(" ").encode() + b"\n")


class PngWriter:
    """All pictures in one PNG, side by side, when they are finished; what is not drawn is transparent."""

    def __init__(self, codec: ImageCodec, samples: int, file: BinaryIO) -> None:
        if file.isatty():
            raise UsageError("a PNG is not for a terminal; add -o FILE")
        self._picture, self._file = codec.picture(samples), file

    def write(self, steps: Sequence[Step]) -> None:
        for step in steps:
            self._picture.add(step)

    def close(self) -> None:
        self._file.write(png(self._picture))
        self._file.flush()


def png(picture: Picture) -> bytes:
    """All samples side by side, one pixel apart, enlarged by a whole factor; undrawn pixels are transparent."""
    from PIL import Image

    drawn = picture.rgb != UNDRAWN
    opaque = np.concatenate([np.where(drawn, picture.rgb, 0), 255 * drawn[..., :1]], axis=-1).astype(np.uint8)
    gap = np.zeros((picture.image.height, 1, 4), dtype=np.uint8)
    joined = np.concatenate([part for sample in opaque for part in (gap, sample)][1:], axis=1)
    scale = max(1, _PNG_SIDE // max(picture.image.height, picture.image.width))
    out = io.BytesIO()
    Image.fromarray(joined.repeat(scale, axis=0).repeat(scale, axis=1)).save(out, "PNG")
    return out.getvalue()
