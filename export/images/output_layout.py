"""Where the levels, the channels and the pixels stand among the axes of a tensor of logits, as people arrange them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from torch import Tensor

_ORDERS = (
    "L H W",
    "L C H W",
    "C L H W",
    "(LC) H W",
    "(CL) H W",
    "H W L",
    "H W C L",
    "H W L C",
    "H W (LC)",
    "H W (CL)",
    "C H W L",
    "L (HW)",
    "(HW) L",
    "L C (HW)",
    "C L (HW)",
    "(HWC) L",
    "L (HWC)",
    "C H W",
    "H W C",
    "H W",
    "(HW)",
    "(CHW)",
    "(HWC)",
)
"""The axes after the batch; those in brackets are one, the last of them the fastest. The likeliest come first."""
_WORDS = {"L": "levels", "C": "channels", "H": "height", "W": "width"}


@dataclass(frozen=True)
class OutputLayout:
    """An order of axes that a tensor of logits can have."""

    order: str
    """Such as `(LC) H W`: levels and channels in one axis, all channels of a level together; then height and width."""
    levels: int
    """1 where a single number per channel is the logit of the brighter of two."""
    sides: tuple[int, int, int]
    """Channels, height, width."""

    def __str__(self) -> str:
        groups = (group.strip("()") for group in self.order.split())
        return ", ".join("*".join(_WORDS[axis] for axis in group) for group in groups)

    @property
    def channels_first(self) -> bool:
        """Whether all levels of red come before those of green, in one axis."""
        return "(CL)" in self.order

    def sort(self, values: Tensor) -> Tensor:
        """[batch, ...] in this order -> [batch, levels, h, w]; [batch, levels, channels, h, w] of several channels."""
        axes = self.order.replace("(", "").replace(")", "").replace(" ", "")
        sizes = dict(zip("LCHW", (self.levels, *self.sides), strict=True))
        whole = values.reshape(len(values), *(sizes[axis] for axis in axes))
        order = [axes.index(axis) + 1 for axis in "LCHW" if axis in axes]
        whole = whole.permute(0, *order).reshape(len(values), *(sizes[axis] for axis in "LCHW"))
        return whole[:, :, 0] if self.sides[0] == 1 else whole


def output_layouts(shape: Sequence[int], sides: tuple[int, int, int]) -> Iterator[OutputLayout]:
    """The orders that [...], a shape without its batch, can have; those that come to the same are given once.

    sides: channels, height, width of the image.
    """
    sizes = dict(zip("CHW", sides, strict=True))
    seen = set[tuple[str, int]]()
    for order in _ORDERS:
        groups = order.split()
        fits = len(groups) == len(shape) and (sides[0] == 1 or "C" in order)
        levels = _levels(groups, shape, sizes) if fits else 0
        essence = (_essence(order, sides[0]), levels)
        if levels and essence not in seen:
            seen.add(essence)
            yield OutputLayout(order, levels, sides)


def _levels(groups: Sequence[str], shape: Sequence[int], sizes: dict[str, int]) -> int:
    """How many levels there are if the groups of axes have these sizes; 1 without their axis, 0 if they do not fit."""
    levels = 1
    for group, size in zip(groups, shape, strict=True):
        others = math.prod(sizes[axis] for axis in group.strip("()") if axis != "L")
        if size % others or (size == others) == ("L" in group):
            return 0
        levels *= size // others
    return levels


def _essence(order: str, channels: int) -> str:
    """The order of the axes that are not of size 1: how the numbers lie in memory."""
    return "".join(axis for axis in order if axis in ("LHW" if channels == 1 else "LCHW"))
