"""The drawing of a picture as an animated GIF."""

from __future__ import annotations

import io
import math
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from tui_gen.grid import laid_out, near_square
from tui_gen.picture import UNDRAWN, Picture
from tui_gen.sampling import Mask

MAX_FRAMES = 100
"""Of the drawing; before them comes one of what is given."""
_FRAME_MS, _LAST_MS = 40, 2000
"""How long a frame is seen (browsers slow down what is faster than 20 ms), and how long the last one is held."""
_SIDE = 512
"""The whole is enlarged by the largest whole factor that keeps it within this."""
_CHECKER = ((112, 112, 112), (144, 144, 144))
"""What is not drawn yet."""

_Colours = NDArray[np.uint8]
_Indices = NDArray[np.uint8]


def gif(picture: Picture) -> bytes:
    """How the samples were drawn, side by side in rows, pixel by pixel, for ever.

    At most `MAX_FRAMES` and the start; each frame draws as many pixels more. What was preset is there from the start,
    and what is undrawn is a checkerboard of greys. Colours are exact if all pixels together have no more than 254.
    """
    from PIL import Image

    palette, last, blank = _indexed(picture)
    across, ground = near_square(len(picture)), int(blank[0, 0])
    frames = [laid_out(np.where(drawn, last, blank), across, ground) for drawn in _stages(picture)]
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


def _indexed(picture: Picture) -> tuple[_Colours, _Indices, _Indices]:
    """A palette [at most 256, 3], the pictures as they are in the end [samples, height, width], and an empty one."""
    rgb = picture.rgb.clip(0, 255).astype(np.uint8)
    colours, inverse = np.unique(rgb[picture.rgb[..., 0] != UNDRAWN], axis=0, return_inverse=True)
    room = 256 - len(_CHECKER)
    if len(colours) > room:
        colours, last = _reduced(rgb, room)
    else:
        last = np.zeros(rgb.shape[:3], dtype=np.uint8)
        last[picture.rgb[..., 0] != UNDRAWN] = inverse.ravel()
    odd = np.indices((picture.image.height, picture.image.width)).sum(axis=0) % 2
    return np.concatenate([colours, np.array(_CHECKER, dtype=np.uint8)]), last, (len(colours) + odd).astype(np.uint8)


def _reduced(rgb: _Colours, count: int) -> tuple[_Colours, _Indices]:
    """The colours [count, 3] that come closest to all of [samples, height, width, 3], and which of them each is."""
    from PIL import Image

    flat = Image.fromarray(rgb.reshape(-1, rgb.shape[2], 3))
    found = flat.quantize(count, dither=Image.Dither.NONE)
    colours = np.array(found.getpalette(), dtype=np.uint8).reshape(-1, 3)
    return colours, np.asarray(found).reshape(rgb.shape[:3])
