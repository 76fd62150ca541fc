"""Several pictures of one size as one."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray


def near_square(samples: int) -> int:
    """How many pictures stand across, where about as many are to stand across as down."""
    return math.ceil(math.sqrt(samples))


def laid_out(pictures: NDArray[np.uint8], across: int, ground: int) -> NDArray[np.uint8]:
    """Pictures [samples, height, width, ...] as one, in rows of so many, one pixel apart on a ground."""
    samples, height, width, *values = pictures.shape
    down = math.ceil(samples / across)
    whole = np.full((down * (height + 1), across * (width + 1), *values), ground, dtype=np.uint8)
    for number, picture in enumerate(pictures):
        top, left = number // across * (height + 1), number % across * (width + 1)
        whole[top : top + height, left : left + width] = picture
    return whole[:-1, :-1]
