"""Finds out how somebody's module wants to be called, and brings what it returns into one form."""

from __future__ import annotations

import contextlib
import importlib
import inspect
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor, nn

from export.assumptions import Assumptions
from export.checkpoints.checkpoint import Checkpoint
from export.image_network import ImageNetwork
from export.images.input_output import asked_channels_first, plane_per_channel, sorted_levels
from export.images.streaming import reading_of
from export.reader import Reading, ReadOptions
from tui_gen.errors import TuiGenError

Order = Literal["flat", "levels, channels", "channels, levels", "last"]
_BATCH = 2
MOST = 2**14
"""Classes that are looked for; a module that takes more numbers than this takes any."""


@dataclass(frozen=True)
class CallConvention:
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

    def __init__(self, module: nn.Module, manner: CallConvention, order: Order, levels: int, classes: int) -> None:
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


def call(module: nn.Module, manner: CallConvention, planes: Tensor, condition: Tensor | None) -> Tensor:
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


def _manners(module: nn.Module, options: ReadOptions) -> Iterator[CallConvention]:
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
                        yield CallConvention(channels, whole, planes, label)
    for width in one_hot_widths(module, options):
        yield CallConvention(likely[0], kinds[0] if wanted is None else wanted == "int", True, True, width)


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


def _classes(module: nn.Module, manner: CallConvention, height: int, width: int, options: ReadOptions) -> int:
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


def read_factory(factory: str, found: Checkpoint | None, options: ReadOptions) -> Reading:
    """The reading of the module that `package.module:function` returns, with the weights of the file if there is one.

    Raises TuiGenError, in one line, for whatever goes wrong in the owner's code, and for a module that is not called
    with an image, or with an image and a class.
    """
    module = _built(factory)
    if found is not None and found.tensors:
        _load(module, found)
    answers = Assumptions(options, found or Checkpoint("", {}))
    height, width = answers.size()
    if not height:
        raise TuiGenError("a network of a --factory needs the size of its images: --size HxW")
    adapted = probe(module.eval(), height, width, options)
    if adapted.order == "flat" and adapted.channels > 1:
        adapted.channels_first = asked_channels_first(answers)
    classes = adapted.classes
    network = ImageNetwork(
        adapted,
        _encoding(adapted, answers),
        height,
        width,
        adapted.levels,
        adapted.channels,
        condition="class" if classes else "none",
        conditions=classes,
        label=type(module).__name__,
    )
    for key in ("input", "classes"):
        answers.answer(key)
    answers.check_all_used()
    return reading_of(network, answers, notes=[f"built by {factory}; {adapted.described}"])


def _encoding(adapted: Adapted, answers: Assumptions) -> Tensor:
    if adapted.whole_numbers:
        values = torch.arange(adapted.levels, dtype=torch.float32)
    else:
        values = answers.scaling(adapted.levels, "level/(levels-1)")
    return plane_per_channel(values, adapted.channels)


def _built(factory: str) -> nn.Module:
    module_name, colon, function = factory.partition(":")
    if not (module_name and colon and function):
        raise TuiGenError(f"--factory takes package.module:function, not {factory!r}")
    with _working_directory_importable():
        try:
            made = getattr(importlib.import_module(module_name), function)()
        except Exception as fault:  # whatever the owner's code raises
            lines = str(fault).strip().splitlines()
            raise TuiGenError(f"{factory} failed: {type(fault).__name__}: {lines[0] if lines else ''}") from fault
    if not isinstance(made, nn.Module):
        raise TuiGenError(f"{factory} must return a torch.nn.Module, not {type(made).__name__}")
    return made


@contextlib.contextmanager
def _working_directory_importable():  # type: ignore[no-untyped-def]
    sys.path.insert(0, str(Path.cwd()))
    try:
        yield
    finally:
        sys.path.remove(str(Path.cwd()))


def _load(module: nn.Module, found: Checkpoint) -> None:
    """Puts the file's weights into the module, whose names may have a prefix that was stripped from the file's."""
    wanted = set(module.state_dict())
    prefixes = ["", *sorted({name.partition(".")[0] + "." for name in wanted})]
    named = ({prefix + name: tensor for name, tensor in found.tensors.items()} for prefix in prefixes)
    fitting = next((tensors for tensors in named if wanted == set(tensors)), None)
    if fitting is None:
        lacking, unknown = sorted(wanted - set(found.tensors)), sorted(set(found.tensors) - wanted)
        told = [
            f"{what} {len(names)} of {whose} tensors, such as {names[0]}"
            for what, whose, names in (("lacks", "the module's", lacking), ("is alone with", "its", unknown))
            if names
        ]
        raise TuiGenError(f"the file's weights are of another network: it {' and '.join(told)}")
    try:
        module.load_state_dict(fitting)
    except RuntimeError as fault:
        lines = str(fault).strip().splitlines()
        raise TuiGenError(f"the file's weights do not fit the module: {lines[-1].strip()}") from None
