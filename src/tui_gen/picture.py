"""Pictures as their tokens come: the colour of every pixel that is drawn."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tui_gen.card import ImageSpec
from tui_gen.generate import Step
from tui_gen.sampling import Tokens

Pixels = NDArray[np.int16]
"""RGB, 0 to 255, in the last dimension; `UNDRAWN` where nothing is drawn yet."""
UNDRAWN = -1


class Picture:
    """What is drawn so far, one picture per sample. A pixel is drawn when all of its channels are known."""

    def __init__(self, image: ImageSpec, samples: int) -> None:
        self.image = image
        self.rgb: Pixels = np.full((samples, image.height, image.width, 3), UNDRAWN, dtype=np.int16)
        """[samples, height, width, 3]: 0 to 255, or `UNDRAWN`."""
        self.drawn = 0
        """Pixels that are drawn, in raster order."""
        self._colours, self._known = np.array(image.colours(), dtype=np.int16), list[Tokens]()

    def __len__(self) -> int:
        """Samples."""
        return len(self.rgb)

    def add(self, step: Step) -> bool:
        """Takes one value of the newest pixel of every picture; False for a step that is part of the prompt."""
        image = self.image
        if step.tokens[0] >= image.levels or self.drawn >= image.height * image.width:
            return False
        self._known.append(step.tokens)
        if len(self._known) == image.channels:
            self._draw(np.stack(self._known, axis=1))
            self._known.clear()
        return True

    def _draw(self, levels: Tokens) -> None:
        """Draws one pixel: int64[samples, channels]. A single channel decides on red, green and blue."""
        row, column = divmod(self.drawn, self.image.width)
        self.rgb[:, row, column] = self._colours[levels, np.arange(3)]
        self.drawn += 1
