"""Reads an image file as levels of a model: cropped, resized, and in the nearest of the model's colours."""

from __future__ import annotations

import io
import logging
import struct
import warnings
import zlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from tui_gen.card import ImageSpec
from tui_gen.errors import TuiGenError
from tui_gen.files import read_bytes
from tui_gen.sampling.params import FREE, Tokens

Bytes = NDArray[np.uint8]

MAX_FILE_PIXELS = 50_000_000
"""A file may be small and its picture immense, so the size is looked at before anything is unpacked."""
_OPAQUE = 128
"""Alpha below which a pixel is free to be drawn."""
_FULL = {"F": 1.0, "I": 65535.0}
"""White, where a pixel has more than eight bits, by the first letter of Pillow's mode."""
_DAMAGED = (
    OSError,
    SyntaxError,
    ValueError,
    EOFError,
    LookupError,
    TypeError,
    OverflowError,
    RuntimeError,
    struct.error,
    zlib.error,
)
"""What Pillow's decoders raise when a file is not what it says."""
_NEEDS_PROGRAMS = ("EPS", "WMF")
"""Formats that Pillow hands to other programs or to the system."""

logging.getLogger("PIL").addHandler(logging.NullHandler())  # it would print its opinion of a file beside ours


def read_levels(path: str | Path, image: ImageSpec) -> Tokens:
    """The picture in a file, as levels of a model: int64[height, width], or [height, width, 3] for three channels.

    `FREE` where it is transparent. The first picture of an animation counts, and the orientation that a camera noted.
    The middle is cropped to the model's aspect ratio. A picture that was enlarged by repeating pixels is read pixel by
    pixel, so that what `png` wrote of one sample is read back as it was; other large ones are averaged, smaller ones
    enlarged by repeating pixels. A level is that of the nearest colour (RGB distance), or of the nearest grey (luma).

    Raises TuiGenError for a file that is missing, no image, damaged, or of more than `MAX_FILE_PIXELS`.
    """
    rgba = _fit(_read_rgba(Path(path)), image)
    free = rgba[..., 3] < _OPAQUE
    levels = _quantise(rgba[..., :3], image)
    levels[free] = FREE
    return levels


def read_whole(path: str | Path, image: ImageSpec) -> Tokens:
    """The same of a picture that is to be scored. Raises TuiGenError likewise, and for transparent pixels."""
    levels = read_levels(path, image)
    if (levels == FREE).any():
        raise TuiGenError(f"{path} has transparent pixels, which no model predicts; fill them first")
    return levels


def _read_rgba(path: Path) -> Image.Image:
    content = io.BytesIO(read_bytes(path))
    Image.init()
    formats = [name for name in Image.OPEN if name not in _NEEDS_PROGRAMS]
    try:
        with warnings.catch_warnings(action="ignore"), Image.open(content, formats=formats) as picture:
            _check_size(path, picture.size)
            return _eight_bits(ImageOps.exif_transpose(picture)).convert("RGBA")
    except UnidentifiedImageError as fault:
        raise TuiGenError(f"{path} is not an image; PNG, JPEG, GIF, WebP, BMP and TIFF files can be read") from fault
    except Image.DecompressionBombError as fault:
        raise TuiGenError(_too_large(path)) from fault
    except _DAMAGED as fault:
        raise TuiGenError(f"{path} is damaged or of a kind that cannot be read: {fault}") from fault


def _check_size(path: Path, size: tuple[int, int]) -> None:
    if min(size) < 1:
        raise TuiGenError(f"{path} holds no pixels")
    if size[0] * size[1] > MAX_FILE_PIXELS:
        raise TuiGenError(_too_large(path))


def _too_large(path: Path) -> str:
    return f"{path} has more than {MAX_FILE_PIXELS // 10**6} million pixels; make it smaller first"


def _eight_bits(picture: Image.Image) -> Image.Image:
    """Greys of 16 bits or of floating point as greys of 8; Pillow itself would cut them off at 255."""
    full = _FULL.get(picture.mode[0])
    if full is None:
        return picture
    values = np.nan_to_num(np.asarray(picture, dtype=np.float64))
    return Image.fromarray(np.rint(255 * (values / full).clip(0, 1)).astype(np.uint8))


def _fit(picture: Image.Image, image: ImageSpec) -> Bytes:
    """[height, width, 4]: the picture at the model's size. Pillow weighs colours by their alpha when it averages."""
    pixels = _undo_enlargement(np.asarray(_crop(picture, image)))
    height, width = pixels.shape[:2]
    smaller = height <= image.height and width <= image.width
    how = Image.Resampling.NEAREST if smaller else Image.Resampling.BOX
    return np.asarray(Image.fromarray(pixels).resize((image.width, image.height), how))


def _crop(picture: Image.Image, image: ImageSpec) -> Image.Image:
    """The middle, at the model's aspect ratio."""
    width = min(picture.width, max(1, round(picture.height * image.width / image.height)))
    height = min(picture.height, max(1, round(picture.width * image.height / image.width)))
    left, top = (picture.width - width) // 2, (picture.height - height) // 2
    return picture.crop((left, top, left + width, top + height))


def _undo_enlargement(pixels: Bytes) -> Bytes:
    """One pixel for each block of equal ones: by the largest whole factor that all edges are multiples of."""
    whole = np.ascontiguousarray(pixels).view(np.uint32)[..., 0]
    height, width = whole.shape
    down = np.flatnonzero((whole[1:] != whole[:-1]).any(axis=1)) + 1
    across = np.flatnonzero((whole[:, 1:] != whole[:, :-1]).any(axis=0)) + 1
    factor = int(np.gcd.reduce([height, width, *down, *across]))
    return np.ascontiguousarray(pixels[::factor, ::factor])


def _quantise(rgb: Bytes, image: ImageSpec) -> Tokens:
    """RGB [height, width, 3] to the levels of the nearest colours."""
    colours = np.array(image.colours())
    if image.channels == 3:
        return _nearest_greys(rgb, colours[:, 0])
    if image.palette is None:
        return _nearest_greys(np.asarray(Image.fromarray(rgb).convert("L")), colours[:, 0])
    return _nearest_colours(rgb.astype(np.int64), colours)


def _nearest_greys(values: Bytes, greys: Tokens) -> Tokens:
    """Values of any shape, by greys that ascend: the halfway points between them decide."""
    return np.searchsorted((greys[1:] + greys[:-1]) / 2, values)


def _nearest_colours(rgb: Tokens, colours: Tokens) -> Tokens:
    """One colour after the other: all distances at once could take more memory than the picture is worth."""
    levels = np.zeros(rgb.shape[:2], dtype=np.int64)
    nearest = np.full(rgb.shape[:2], np.iinfo(np.int64).max)
    for level, colour in enumerate(colours):
        distance = ((rgb - colour) ** 2).sum(axis=2)
        levels[distance < nearest] = level
        nearest = np.minimum(nearest, distance)
    return levels
