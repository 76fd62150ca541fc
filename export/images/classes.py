"""How many classes somebody's module knows, found by calling it: what it refuses is no class."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator

from torch import nn

from export.reading import ReadOptions
from tui_gen.errors import TuiGenError

MOST = 2**14
"""Classes that are looked for; a module that takes more numbers than this takes any."""


def count_classes(takes: Callable[[int], bool], options: ReadOptions) -> int:
    """The number that was told, or else the first class that the module refuses, as a table of that many rows does.

    takes: whether the module can be called with a class of this number. Raises TuiGenError if it takes any.
    """
    told = told_classes(options)
    if told:
        if not takes(told - 1):
            raise TuiGenError(f"--assume classes={told} does not fit: the module takes no class {told - 1}")
        return told
    above = 1
    while above <= MOST and takes(above):
        above *= 2
    if above > MOST:
        raise TuiGenError("the module takes a class, but not how many there are; tell it with --assume classes=N")
    return _first_refused(takes, above // 2, above)


def _first_refused(takes: Callable[[int], bool], taken: int, refused: int) -> int:
    while refused - taken > 1:
        middle = (taken + refused) // 2
        taken, refused = (middle, refused) if takes(middle) else (taken, middle)
    return refused


def told_classes(options: ReadOptions) -> int:
    """What --assume classes=N says; 0 if nothing. Raises TuiGenError if it is no number."""
    told = options.assume.get("classes", "")
    if told and not (told.isdecimal() and int(told)):
        raise TuiGenError(f"--assume classes must be a whole number, not {told!r}")
    return int(told or 0)


def one_hot_widths(module: nn.Module, options: ReadOptions) -> Iterator[int]:
    """How many classes a one-hot input may have: what is told, or what a layer reads."""
    told = told_classes(options)
    layers = [part for part in module.modules() if isinstance(part, (nn.Linear, nn.Conv2d))]
    read = [part.in_features if isinstance(part, nn.Linear) else part.in_channels for part in layers]
    yield from [told] if told else [width for width in dict.fromkeys(read) if width > 1]


def may_leave_out(module: nn.Module) -> str:
    """The name of a second argument of forward that has a default, such as a class; empty if there is none."""
    parameters = list(inspect.signature(module.forward).parameters.values())[1:2]
    named = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    return named[0].name if named and named[0].default is not inspect.Parameter.empty else ""
