"""What a module is called with besides its image: a class as a number, as one-hot or as planes, or a vector."""

from __future__ import annotations

import inspect
from bisect import bisect_left
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from tui_gen.errors import TuiGenError

from ..image_network import ConditionKind
from ..reader import ReadOptions

FormKind = Literal["none", "label", "one-hot", "vector", "planes"]
KINDS: tuple[FormKind, ...] = ("one-hot", "vector", "planes")
"""That a person can name."""
NO_CLASS = "none"
"""The answer of whoever wants what a module does without the class that it may be given."""
MOST_CLASSES = 2**14
"""Classes that are looked for; a module that takes more numbers than this takes any."""


@dataclass(frozen=True)
class ConditionForm:
    """What stands for a condition in a call."""

    kind: FormKind = "none"
    """`label`: int64[batch]. `one-hot`: float32[batch, width], a class. `vector`: the same, any of its numbers.
    `planes`: float32[batch, width, h, w], a class as planes of which one is 1.
    """
    width: int = 0

    def __str__(self) -> str:
        words = {
            "none": "",
            "label": " and a class int64[batch]",
            "one-hot": f" and a class as one-hot [batch, {self.width}]",
            "vector": f" and a vector of {self.width} numbers",
            "planes": f" and a class as planes [batch, {self.width}, height, width]",
        }
        return words[self.kind]

    @property
    def of_network(self) -> ConditionKind:
        """What an `ImageNetwork` calls it."""
        return "none" if self.kind == "none" else "multi_hot" if self.kind == "vector" else "class"

    def example(self, batch: int) -> Tensor | None:
        """The first class, no property, or None."""
        if self.kind == "none":
            return None
        return torch.zeros(batch, self.width) if self.kind == "vector" else torch.zeros(batch).long()

    def argument(self, condition: Tensor, height: int, width: int) -> Tensor:
        """What the module is given for int64[batch], or for float32[batch, width] of a vector."""
        if self.kind in ("label", "vector"):
            return condition
        one_hot = torch.eye(self.width)[condition]
        return one_hot[:, :, None, None].expand(-1, -1, height, width) if self.kind == "planes" else one_hot


def condition_forms(module: nn.Module, options: ReadOptions) -> Iterator[ConditionForm]:
    """The likeliest first. Raises TuiGenError for answers that are none."""
    kind, count = options.assume.get("condition"), class_count(options)
    if kind not in (None, "label", *KINDS):
        raise TuiGenError(f"--assume condition must be label, {', '.join(KINDS)}, not {kind!r}")
    if not (kind or count):
        yield ConditionForm()
    if kind in (None, "label"):
        yield ConditionForm("label")
    for other in KINDS:
        if other == kind or (kind is None and other != "vector"):
            yield from (ConditionForm(other, width) for width in _widths(module, count))


def _widths(module: nn.Module, count: int) -> Iterator[int]:
    """How many numbers a condition may have: what the options say, or what a layer or a matrix of its own takes."""
    layers = [part for part in module.modules() if isinstance(part, (nn.Linear, nn.Conv2d))]
    widths = [part.in_features if isinstance(part, nn.Linear) else part.in_channels for part in layers]
    for part in module.modules():
        matrices = [tensor for _, tensor in part.named_parameters(recurse=False) if tensor.ndim == 2]
        widths += [] if isinstance(part, nn.Linear) else [side for matrix in matrices for side in matrix.shape]
    yield from [count] if count else [width for width in dict.fromkeys(widths) if width > 1]


def count_classes(takes: Callable[[int], bool], options: ReadOptions) -> int:
    """The number in the options, or else the first class that the module refuses, as a table of that many rows does.

    takes: whether the module can be called with a class of this number. Raises TuiGenError if it takes any.
    """
    count = class_count(options)
    if count:
        if not takes(count - 1):
            raise TuiGenError(f"--assume classes={count} does not fit: the module takes no class {count - 1}")
        return count
    high = 1
    while high <= MOST_CLASSES and takes(high):
        high *= 2
    if high > MOST_CLASSES:
        raise TuiGenError("the module takes a class, but not how many there are; tell it with --assume classes=N")
    return bisect_left(range(high), True, lo=high // 2 + 1, key=lambda label: not takes(label))


def class_count(options: ReadOptions) -> int:
    """What --assume classes=N says; 0 if nothing, or `none`. Raises TuiGenError if it is no number."""
    answer = options.assume.get("classes", "").replace(NO_CLASS, "")
    if answer and not (answer.isdecimal() and int(answer)):
        raise TuiGenError(f"--assume classes must be a whole number, not {answer!r}")
    return int(answer or 0)


def optional_arguments(module: nn.Module) -> list[str]:
    """The names of what else its forward takes that may be a class, but has a default: no switch and no text."""
    own_call = type(module).__call__ is not nn.Module.__call__
    parameters = list(inspect.signature(module.__call__ if own_call else module.forward).parameters.values())[1:]
    named = [p for p in parameters if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)]
    return [p.name for p in named if p.default is not p.empty and not isinstance(p.default, (bool, str))]
