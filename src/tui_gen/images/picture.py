"""Pictures as their tokens come: the colour of every pixel that is drawn."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tui_gen.card import ImageSpec
from tui_gen.errors import TuiGenError
from tui_gen.sampling.params import FREE, Floats, Mask, Tokens
from tui_gen.sampling.step import Step
from tui_gen.terminal_text import counted

Pixels = NDArray[np.int16]
"""RGB, 0 to 255, in the last dimension; `UNDRAWN` where nothing is drawn yet."""
UNDRAWN = -1
MAX_PIXELS = 2**25
"""Of all samples, which take six bytes each to be drawn."""
HOTTEST = 8.0
"""Bits from which on everything looks alike."""
_STOPS = np.array([0.0, 0.5, 2.0, 5.0, HOTTEST])
_COLOURS = np.array([(8, 8, 24), (60, 16, 90), (170, 45, 85), (245, 140, 40), (255, 250, 190)])
"""From dark blue over purple and orange to a pale yellow, each brighter than the one before."""

_SIGNED = np.array([(24, 60, 150), (120, 120, 120), (255, 214, 120)])
"""From blue over grey to yellow, each brighter than the one before: so it reads without colour, too."""


def check_size(image: ImageSpec, samples: int) -> None:
    """Raises TuiGenError for more pixels than `MAX_PIXELS`."""
    if (pixels := samples * image.height * image.width) > MAX_PIXELS:
        most = max(1, MAX_PIXELS // (image.height * image.width))
        size = f"{image.height}x{image.width} pixels"
        raise TuiGenError(
            f"{counted(samples, 'picture')} of {size} are {pixels:,} pixels, too many at once; at most {most}"
        )


class Picture:
    """What is drawn so far, one picture per sample. A pixel is drawn when all of its channels are known."""

    def __init__(self, image: ImageSpec, samples: int) -> None:
        """Raises TuiGenError for so many samples that they have more pixels than `MAX_PIXELS`."""
        check_size(image, samples)
        self.image = image
        self.rgb: Pixels = np.full((samples, image.height, image.width, 3), UNDRAWN, dtype=np.int16)
        """[samples, height, width, 3]: 0 to 255, or `UNDRAWN`."""
        self.given: Mask = np.zeros((image.height, image.width), dtype=bool)
        """[height, width]: what was preset."""
        self.drawn = 0
        """Pixels whose turn has come, in raster order."""
        self.group = 1
        """How many samples that follow each other stand beside each other, as those of several models do."""
        self._colours, self._pending = np.array(image.colours(), dtype=np.int16), list[Tokens]()

    def __len__(self) -> int:
        """Samples."""
        return len(self.rgb)

    @property
    def empty(self) -> bool:
        """Whether there is nothing to see."""
        return not (self.drawn or self.given.any())

    def preset(self, levels: Tokens) -> None:
        """Shows from the start, in every sample, what is given of a picture that is completed.

        levels: [height, width], or [height, width, 3] for three channels; what is `FREE` is left undrawn. The steps
        still bring all pixels, these too.
        """
        channels = levels.reshape(self.image.height, self.image.width, self.image.channels)
        self.given = (channels != FREE).all(axis=2)
        self.rgb[:, self.given] = self._colours[channels[self.given], np.arange(3)]

    def add(self, step: Step) -> bool:
        """Takes one value of the newest pixel of every picture; False for a step that is part of the prompt."""
        return bool(self.take(step.tokens[None]))

    def take(self, tokens: Tokens) -> int:
        """Takes the values [steps, samples] that come next; returns how many belong to the picture."""
        image = self.image
        values = tokens[tokens[:, 0] < image.levels]
        values = values[: image.area - self.drawn * image.channels - len(self._pending)]
        self._pending += list(values)
        whole = len(self._pending) // image.channels
        if whole:
            levels = np.array(self._pending[: whole * image.channels]).reshape(whole, image.channels, -1)
            self._draw(levels.transpose(2, 0, 1))
            del self._pending[: whole * image.channels]
        return len(values)

    def _draw(self, levels: Tokens) -> None:
        """Draws pixels: int64[samples, pixels, channels]. A single channel decides on red, green and blue."""
        flat = self.rgb.reshape(len(self), -1, 3)
        flat[:, self.drawn : self.drawn + levels.shape[1]] = self._colours[levels, np.arange(3)]
        self.drawn += levels.shape[1]


def first_pixel(prompt: Tokens, image: ImageSpec) -> int:
    """The position of a picture's first value in a run with a prompt int64[samples, n].

    What stands before it, start, conditions and warm-up tokens, is the same number of tokens in every sample.
    """
    pixels = prompt[0, 1:] < image.levels  # the first token is never one
    return 1 + (int(pixels.argmax()) if pixels.any() else len(pixels))


def given_levels(prompt: Tokens, image: ImageSpec) -> Tokens:
    """What a prompt int64[samples, n] says of the picture, if it is the same in every sample; FREE elsewhere.

    int64[height, width], or [height, width, 3] for three channels.
    """
    pixels = prompt[:, first_pixel(prompt, image) :][:, : image.area]
    levels = np.full(image.area, FREE)
    same = (pixels == pixels[0]).all(axis=0) & (pixels[0] < image.levels)
    levels[: pixels.shape[1]] = np.where(same, pixels[0], FREE)
    return levels.reshape(image.shape)


def heat(bits: Floats) -> Pixels:
    """Bits, of any shape, to RGB in one dimension more; NaN, for what is not known, to `UNDRAWN`."""
    return _coloured(bits, _STOPS, _COLOURS)


def signed(shares: Floats) -> Pixels:
    """Shares from -1 to 1, of any shape, to RGB in one dimension more; NaN, for what is not known, to `UNDRAWN`."""
    return _coloured(shares, np.array([-1.0, 0.0, 1.0]), _SIGNED)


def _coloured(values: Floats, stops: Floats, colours: NDArray[np.int64]) -> Pixels:
    known = np.nan_to_num(values, nan=0.0)
    channels = [np.interp(known, stops, colours[:, channel]) for channel in range(3)]
    pixels = np.rint(np.stack(channels, axis=-1)).astype(np.int16)
    return np.where(np.isnan(values)[..., None], np.int16(UNDRAWN), pixels)
