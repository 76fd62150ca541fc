"""Finds out how somebody's module wants to be called, and brings what it returns into one form."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from export.images.classes import count_classes, may_leave_out, one_hot_widths, told_classes
from export.images.ends import sorted_levels
from export.reading import ReadOptions
from tui_gen.errors import TuiGenError

Order = Literal["flat", "levels, channels", "channels, levels", "last"]
_BATCH = 2


@dataclass(frozen=True)
class Manner:
    """How a module is called."""

    channels: int
    whole_numbers: bool
    """Whether it reads levels as int64, not as floats."""
    planes: bool
    """Whether its input has a dimension for the channels."""
    label: bool
    one_hot: int = 0
    """Classes of a label that is one-hot, float32[batch, classes]; 0 for a label that is a number."""


class Adapted(nn.Module):
    """A module behind the form of `ImageNetwork`: planes in, [batch, levels, ...] out."""

    def __init__(self, module: nn.Module, manner: Manner, order: Order, levels: int, classes: int) -> None:
        super().__init__()
        self.module, self.manner, self.order = module, manner, order
        self.levels, self.channels, self.classes = levels, manner.channels, classes
        self.whole_numbers, self.channels_first = manner.whole_numbers, False

    @property
    def described(self) -> str:
        """How it is called, for people."""
        kind = "whole numbers" if self.whole_numbers else "floats"
        if self.manner.label:
            return f"called with {kind} and a class" + (" as one-hot" if self.manner.one_hot else "")
        left_out = may_leave_out(self.module)
        hint = f"; its argument {left_out} is left out; if it is a class, --assume classes=N" if left_out else ""
        return f"called with {kind}{hint}"

    def forward(self, planes: Tensor, condition: Tensor | None = None) -> Tensor:
        """float32[batch, channels, h, w] and int64[batch] -> logits as ImageNetwork has them."""
        logits = call(self.module, self.manner, planes, condition)
        if self.order == "last":
            return logits.permute(0, 3, 1, 2)
        if self.order == "channels, levels":
            return logits.transpose(1, 2)
        if self.order == "levels, channels":
            return logits
        return sorted_levels(logits, self.levels, self.channels, channels_first=self.channels_first)


def call(module: nn.Module, manner: Manner, planes: Tensor, condition: Tensor | None) -> Tensor:
    """Calls the module in its manner."""
    image = planes.long() if manner.whole_numbers else planes
    image = image if manner.planes else image[:, 0]
    if manner.one_hot and condition is not None:
        condition = torch.eye(manner.one_hot)[condition]
    logits: Tensor = module(image, condition) if manner.label else module(image)
    return logits


def probe(module: nn.Module, height: int, width: int, options: ReadOptions) -> Adapted:
    """Tries what modules are usually called with. Raises TuiGenError with the first failure if nothing works."""
    first_fault = ""
    for manner in _manners(module, options):
        try:
            with torch.no_grad():
                label = torch.zeros(_BATCH, dtype=torch.int64) if manner.label else None
                logits = call(module, manner, torch.zeros(_BATCH, manner.channels, height, width), label)
        except Exception as fault:  # whatever a module raises that is called in a way that it does not expect
            first_fault = first_fault or f"{type(fault).__name__}: {(str(fault).splitlines() or [''])[0]:.160}"
            continue
        order, levels = _order(logits, manner.channels, height, width)
        if options.levels not in (None, levels):
            raise TuiGenError(f"--levels {options.levels} does not fit: the module puts out {levels}")
        return Adapted(module, manner, order, levels, _classes(module, manner, height, width, options))
    raise TuiGenError(f"the module cannot be called with an image of {height}x{width}: {first_fault}")


def _manners(module: nn.Module, options: ReadOptions) -> Iterator[Manner]:
    wanted = options.assume.get("input")
    if wanted not in (None, "float", "int"):
        raise TuiGenError(f"--assume input must be float or int, not {wanted!r}")
    first = next((part for part in module.modules() if isinstance(part, nn.Conv2d)), None)
    embeds = next((part for part in module.modules() if isinstance(part, (nn.Conv2d, nn.Embedding))), None)
    likely = [1, 3] if first is None or first.in_channels not in (1, 3) else [first.in_channels]
    labels = (False, True) if told_classes(options) == 0 else (True, False)
    kinds = (True, False) if isinstance(embeds, nn.Embedding) else (False, True)
    for whole in kinds:
        if wanted and (wanted == "int") != whole:
            continue
        for channels in likely:
            for planes in (True, False) if not whole else (False, True):
                for label in labels:
                    if planes or channels == 1:
                        yield Manner(channels, whole, planes, label)
    for width in one_hot_widths(module, options):
        yield Manner(likely[0], kinds[0] if wanted is None else wanted == "int", True, True, width)


def _order(logits: object, channels: int, height: int, width: int) -> tuple[Order, int]:
    if not isinstance(logits, Tensor) or not logits.is_floating_point() or len(logits) != _BATCH:
        raise TuiGenError("the module returns something else than a tensor of logits")
    shape = tuple(logits.shape[1:])
    if shape[-2:] == (height, width):
        if len(shape) == 3 and shape[0] % channels == 0:
            return "flat", max(shape[0] // channels, 2)
        if len(shape) == 4 and shape[1] == channels > 1:
            return "levels, channels", shape[0]
        if len(shape) == 4 and shape[0] == channels:
            return "channels, levels", shape[1]
    if len(shape) == 3 and shape[:2] == (height, width) and channels == 1:
        return "last", shape[2]
    raise TuiGenError(f"the module returns {list(logits.shape)}, of which no dimension can be the levels of its pixels")


def _classes(module: nn.Module, manner: Manner, height: int, width: int, options: ReadOptions) -> int:
    if not manner.label or manner.one_hot:
        return manner.one_hot
    planes = torch.zeros(_BATCH, manner.channels, height, width)

    def takes(label: int) -> bool:
        try:
            with torch.no_grad():
                call(module, manner, planes, torch.full((_BATCH,), label))
        except Exception:  # whatever a module raises for a class that it does not know
            return False
        return True

    return count_classes(takes, options)
