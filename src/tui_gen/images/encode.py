"""Writes pictures: as rows of characters, as PNG, and their drawing as an animated GIF."""

from __future__ import annotations

import io
import math
import shutil
from collections.abc import Iterator, Sequence
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from tui_gen.errors import UsageError
from tui_gen.images.picture import UNDRAWN, Picture
from tui_gen.images.raster import Raster, ansi, plain
from tui_gen.sampling.params import Mask
from tui_gen.sampling.step import Step
from tui_gen.terminal_text import allows_escapes, shows_colours

MAX_FRAMES = 100
"""Of the drawing; before them comes one of what is given."""
_FRAME_MS, _LAST_MS = 40, 2000
"""How long a frame is seen (browsers slow down what is faster than 20 ms), and how long the last one is held."""
_SIDE = 512
"""A GIF as a whole, and each picture of a PNG, is enlarged by the largest whole factor that keeps it within this."""
_CHECKER = ((112, 112, 112), (144, 144, 144))
"""What is not drawn yet."""
_Colours = NDArray[np.uint8]
_Indices = NDArray[np.uint8]
_GAP = "  "
_PNG_ROW = 4
"""Up to so many pictures of a PNG stand in one row."""


def row_writer(picture: Picture, file: BinaryIO, form: str | None, captions: Sequence[str] = ()) -> RowWriter:
    """form: ascii or blocks; None for what suits where it is written. NO_COLOR and TERM=dumb are honoured."""
    form = form or ("blocks" if shows_colours(file) else "ascii")
    return RowWriter(picture, file, form, allows_escapes(), captions)


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
        beside = _across(picture, beside) if beside >= picture.group else beside
        self._groups = [range(at, min(at + beside, samples)) for at in range(0, samples, beside)]
        self._rows_done = 0

    def write(self, steps: Sequence[Step]) -> None:
        for step in steps:
            self._picture.add(step)
        done = self._picture.drawn // self._picture.image.width
        while (
            self._rows_done < self._rows
            and self._raster.rows_of(min(done, self._picture.image.height)).start > self._rows_done
        ):
            self._write_line(self._groups[0], self._rows_done)
            self._rows_done += 1
        self._file.flush()

    def close(self) -> None:
        if self._picture.empty:
            return
        for row in range(self._rows_done, self._rows):
            self._write_line(self._groups[0], row)
        for group in self._groups[1:]:
            self._file.write(b"\n")
            for row in range(self._rows):
                self._write_line(group, row)
        self._file.flush()

    def _write_line(self, group: range, row: int) -> None:
        if row == 0 and self._captions:
            line = _GAP.join(self._captions[sample][: self._columns].ljust(self._columns) for sample in group)
            self._file.write(line.rstrip().encode() + b"\n")
        line = _GAP.join(self._show(self._raster.row(self._picture.rgb[sample], row)) for sample in group)
        self._file.write(line.rstrip(" ").encode() + b"\n")


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


def png(picture: Picture, *, side: int = _SIDE) -> bytes:
    """All samples one pixel apart, enlarged by a whole factor; undrawn pixels are transparent.

    Up to four stand side by side, more of them, and groups, in rows. side: pixels that each is enlarged to at most.
    """
    from PIL import Image

    drawn = picture.rgb != UNDRAWN
    opaque = np.concatenate([np.where(drawn, picture.rgb, 0), 255 * drawn[..., :1]], axis=-1).astype(np.uint8)
    in_a_row = picture.group == 1 and len(picture) <= _PNG_ROW
    across = len(picture) if in_a_row else _across(picture, near_square(len(picture)))
    whole = lay_out(opaque, across, ground=0)
    scale = max(1, side // max(picture.image.height, picture.image.width))
    out = io.BytesIO()
    Image.fromarray(whole.repeat(scale, axis=0).repeat(scale, axis=1)).save(out, "PNG")
    return out.getvalue()


def gif(picture: Picture) -> bytes:
    """How the samples were drawn, side by side in rows, pixel by pixel, for ever.

    At most `MAX_FRAMES` and the start; each frame draws as many pixels more. What was preset is there from the start,
    and what is undrawn is a checkerboard of greys. Colours are exact if all pixels together have no more than 254.
    """
    from PIL import Image

    palette, last, blank = _index_colours(picture)
    across, ground = _across(picture, near_square(len(picture))), int(blank[0, 0])
    frames = [lay_out(np.where(drawn, last, blank), across, ground) for drawn in _stages(picture)]
    scale = max(1, _SIDE // max(frames[0].shape))
    images = [Image.fromarray(frame.repeat(scale, axis=0).repeat(scale, axis=1)) for frame in frames]
    for image in images:
        image.putpalette(palette.tobytes())
    times = [_FRAME_MS] * (len(images) - 1) + [_LAST_MS]
    out = io.BytesIO()
    images[0].save(out, "GIF", save_all=True, append_images=images[1:], duration=times, loop=0, optimize=True)
    return out.getvalue()


def _stages(picture: Picture) -> Iterator[Mask]:
    """Which pixels [height, width] are drawn in each frame, first to last."""
    drawn = picture.given.copy()
    turns = np.flatnonzero(~drawn.ravel()[: picture.drawn])
    yield drawn.copy()
    step = math.ceil(len(turns) / MAX_FRAMES) or 1
    for first in range(0, len(turns), step):
        drawn.ravel()[turns[first : first + step]] = True
        yield drawn.copy()


def _index_colours(picture: Picture) -> tuple[_Colours, _Indices, _Indices]:
    """A palette [at most 256, 3], the pictures as they are in the end [samples, height, width], and an empty one."""
    rgb = picture.rgb.clip(0, 255).astype(np.uint8)
    colours, inverse = np.unique(rgb[picture.rgb[..., 0] != UNDRAWN], axis=0, return_inverse=True)
    room = 256 - len(_CHECKER)
    if len(colours) > room:
        colours, last = _reduce_colours(rgb, room)
    else:
        last = np.zeros(rgb.shape[:3], dtype=np.uint8)
        last[picture.rgb[..., 0] != UNDRAWN] = inverse.ravel()
    odd = np.indices((picture.image.height, picture.image.width)).sum(axis=0) % 2
    return np.concatenate([colours, np.array(_CHECKER, dtype=np.uint8)]), last, (len(colours) + odd).astype(np.uint8)


def _reduce_colours(rgb: _Colours, count: int) -> tuple[_Colours, _Indices]:
    """The colours [count, 3] that come closest to all of [samples, height, width, 3], and which of them each is."""
    from PIL import Image

    flat = Image.fromarray(rgb.reshape(-1, rgb.shape[2], 3))
    palette_image = flat.quantize(count, dither=Image.Dither.NONE)
    colours = np.array(palette_image.getpalette(), dtype=np.uint8).reshape(-1, 3)
    return colours, np.asarray(palette_image).reshape(rgb.shape[:3])


def _across(picture: Picture, count: int) -> int:
    """About so many samples in a row, and no group of them in several rows."""
    return max(1, count // picture.group) * picture.group


def near_square(samples: int) -> int:
    """How many pictures stand across, where about as many are to stand across as down."""
    return math.ceil(math.sqrt(samples))


def lay_out(pictures: NDArray[np.uint8], across: int, ground: int) -> NDArray[np.uint8]:
    """Pictures [samples, height, width, ...] as one, in rows of so many, one pixel apart on a ground."""
    samples, height, width, *values = pictures.shape
    down = math.ceil(samples / across)
    whole = np.full((down * (height + 1), across * (width + 1), *values), ground, dtype=np.uint8)
    for number, picture in enumerate(pictures):
        top, left = number // across * (height + 1), number % across * (width + 1)
        whole[top : top + height, left : left + width] = picture
    return whole[:-1, :-1]
