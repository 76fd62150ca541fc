"""Reads a network that its owner's function builds: finds out how it is called, and what dimensions it returns."""

from __future__ import annotations

import contextlib
import importlib
import inspect
import sys
from bisect import bisect_left
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor, nn

from tui_gen.errors import TuiGenError

from ..assumptions import Assumptions
from ..checkpoints.checkpoint import Checkpoint
from ..image_network import ImageNetwork
from ..reader import Reading, ReadOptions
from .input_output import ask_channels_first, plane_per_channel, sort_levels
from .streaming import reading_of

OutputOrder = Literal["flat", "levels, channels", "channels, levels", "last"]
_BATCH = 2
MOST_CLASSES = 2**14
"""Classes that are looked for; a module that takes more numbers than this takes any."""


def read_factory(factory: str, checkpoint: Checkpoint | None, options: ReadOptions) -> Reading:
    """The reading of the module that `package.module:function` returns, with the weights of the file if there is one.

    Raises TuiGenError, in one line, for whatever goes wrong in the owner's code, and for a module that is not called
    with an image, or with an image and a class.
    """
    module = _build(factory)
    if checkpoint is not None and checkpoint.tensors:
        _load(module, checkpoint.tensors)
    assumptions = Assumptions(options, checkpoint or Checkpoint("", {}))
    height, width = assumptions.size()
    if not height:
        raise TuiGenError("a network of a --factory needs the size of its images: --size HxW")
    adapter = probe(module.eval(), height, width, options)
    if adapter.order == "flat" and adapter.channels > 1:
        adapter.channels_first = ask_channels_first(assumptions)
    levels, classes = adapter.levels, adapter.classes
    whole_numbers = adapter.convention.whole_numbers
    values = torch.arange(levels).float() if whole_numbers else assumptions.scaling(levels, "level/(levels-1)")
    network = ImageNetwork(
        adapter,
        plane_per_channel(values, adapter.channels),
        height,
        width,
        levels,
        adapter.channels,
        condition="class" if classes else "none",
        conditions=classes,
        label=type(module).__name__,
    )
    for key in ("input", "classes"):
        assumptions.answer(key)
    assumptions.check_all_used()
    return reading_of(network, assumptions, notes=[f"built by {factory}; {adapter.description}"])


def _build(factory: str) -> nn.Module:
    module_name, colon, function = factory.partition(":")
    if not (module_name and colon and function):
        raise TuiGenError(f"--factory takes package.module:function, not {factory!r}")
    with _working_directory_importable():
        try:
            module = getattr(importlib.import_module(module_name), function)()
        except Exception as error:  # whatever the owner's code raises
            lines = str(error).strip().splitlines()
            raise TuiGenError(f"{factory} failed: {type(error).__name__}: {lines[0] if lines else ''}") from error
    if not isinstance(module, nn.Module):
        raise TuiGenError(f"{factory} must return a torch.nn.Module, not {type(module).__name__}")
    return module


@contextlib.contextmanager
def _working_directory_importable() -> Iterator[None]:
    sys.path.insert(0, str(Path.cwd()))
    try:
        yield
    finally:
        sys.path.remove(str(Path.cwd()))


def _load(module: nn.Module, tensors: Mapping[str, Tensor]) -> None:
    """Puts the file's weights into the module, whose names may have a prefix that was stripped from the file's."""
    names = set(module.state_dict())
    prefixes = ["", *sorted({name.partition(".")[0] + "." for name in names})]
    states = ({prefix + name: tensor for name, tensor in tensors.items()} for prefix in prefixes)
    state = next((state for state in states if names == set(state)), None)
    if state is None:
        lacking, unknown = sorted(names - set(tensors)), sorted(set(tensors) - names)
        differences = [
            f"{what} {len(names)} of {whose} tensors, such as {names[0]}"
            for what, whose, names in (("lacks", "the module's", lacking), ("is alone with", "its", unknown))
            if names
        ]
        raise TuiGenError(f"the file's weights are of another network: it {' and '.join(differences)}")
    try:
        module.load_state_dict(state)
    except RuntimeError as error:
        lines = str(error).strip().splitlines()
        raise TuiGenError(f"the file's weights do not fit the module: {lines[-1].strip()}") from None


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

    def call(self, module: nn.Module, planes: Tensor, condition: Tensor | None) -> Tensor:
        """What the module returns for float32[batch, channels, h, w] and int64[batch]."""
        image = planes.long() if self.whole_numbers else planes
        image = image if self.planes else image[:, 0]
        if self.one_hot and condition is not None:
            condition = torch.eye(self.one_hot)[condition]
        logits: Tensor = module(image, condition) if self.label else module(image)
        return logits


class Adapter(nn.Module):
    """A module behind the form of `ImageNetwork`: planes in, [batch, levels, ...] out."""

    def __init__(
        self, module: nn.Module, convention: CallConvention, order: OutputOrder, levels: int, classes: int
    ) -> None:
        super().__init__()
        self.module, self.convention, self.order = module, convention, order
        self.levels, self.channels, self.classes = levels, convention.channels, classes
        self.channels_first = False

    @property
    def description(self) -> str:
        """How it is called, for people."""
        kind = "whole numbers" if self.convention.whole_numbers else "floats"
        if self.convention.label:
            return f"called with {kind} and a class" + (" as one-hot" if self.convention.one_hot else "")
        argument = optional_argument(self.module)
        hint = f"; its argument {argument} is left out; if it is a class, --assume classes=N" if argument else ""
        return f"called with {kind}{hint}"

    def forward(self, planes: Tensor, condition: Tensor | None = None) -> Tensor:
        """float32[batch, channels, h, w] and int64[batch] -> logits as ImageNetwork has them."""
        logits = self.convention.call(self.module, planes, condition)
        if self.order == "last":
            return logits.permute(0, 3, 1, 2)
        if self.order == "channels, levels":
            return logits.transpose(1, 2)
        if self.order == "levels, channels":
            return logits
        return sort_levels(logits, self.levels, self.channels, channels_first=self.channels_first)


def probe(module: nn.Module, height: int, width: int, options: ReadOptions) -> Adapter:
    """Tries what modules are usually called with. Raises TuiGenError with the first failure if nothing works."""
    first_error = ""
    for convention in _conventions(module, options):
        planes = torch.zeros(_BATCH, convention.channels, height, width)
        try:
            with torch.no_grad():
                logits = convention.call(module, planes, torch.zeros(_BATCH).long() if convention.label else None)
        except Exception as error:  # whatever a module raises that is called in a way that it does not expect
            first_error = first_error or f"{type(error).__name__}: {(str(error).splitlines() or [''])[0]:.160}"
            continue
        order, levels = _order(logits, convention.channels, height, width)
        if options.levels not in (None, levels):
            raise TuiGenError(f"--levels {options.levels} does not fit: the module puts out {levels}")
        return Adapter(module, convention, order, levels, _classes(module, convention, planes, options))
    raise TuiGenError(f"the module cannot be called with an image of {height}x{width}: {first_error}")


def _conventions(module: nn.Module, options: ReadOptions) -> Iterator[CallConvention]:
    kind = options.assume.get("input")
    if kind not in (None, "float", "int"):
        raise TuiGenError(f"--assume input must be float or int, not {kind!r}")
    first = next((part for part in module.modules() if isinstance(part, nn.Conv2d)), None)
    embeds = next((part for part in module.modules() if isinstance(part, (nn.Conv2d, nn.Embedding))), None)
    likely = [1, 3] if first is None or first.in_channels not in (1, 3) else [first.in_channels]
    labels = (False, True) if class_count(options) == 0 else (True, False)
    kinds = (True, False) if isinstance(embeds, nn.Embedding) else (False, True)
    for whole in kinds:
        if kind and (kind == "int") != whole:
            continue
        for channels in likely:
            for planes in (True, False) if not whole else (False, True):
                for label in labels:
                    if planes or channels == 1:
                        yield CallConvention(channels, whole, planes, label)
    for width in one_hot_widths(module, options):
        yield CallConvention(likely[0], kinds[0] if kind is None else kind == "int", True, True, width)


def _order(logits: object, channels: int, height: int, width: int) -> tuple[OutputOrder, int]:
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


def _classes(module: nn.Module, convention: CallConvention, planes: Tensor, options: ReadOptions) -> int:
    if not convention.label or convention.one_hot:
        return convention.one_hot

    def takes(label: int) -> bool:
        try:
            with torch.no_grad():
                convention.call(module, planes, torch.full((_BATCH,), label))
        except Exception:  # whatever a module raises for a class that it does not know
            return False
        return True

    return count_classes(takes, options)


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
    """What --assume classes=N says; 0 if nothing. Raises TuiGenError if it is no number."""
    answer = options.assume.get("classes", "")
    if answer and not (answer.isdecimal() and int(answer)):
        raise TuiGenError(f"--assume classes must be a whole number, not {answer!r}")
    return int(answer or 0)


def one_hot_widths(module: nn.Module, options: ReadOptions) -> Iterator[int]:
    """How many classes a one-hot input may have: what the options say, or what a layer reads."""
    count = class_count(options)
    layers = [part for part in module.modules() if isinstance(part, (nn.Linear, nn.Conv2d))]
    widths = [part.in_features if isinstance(part, nn.Linear) else part.in_channels for part in layers]
    yield from [count] if count else [width for width in dict.fromkeys(widths) if width > 1]


def optional_argument(module: nn.Module) -> str:
    """The name of a second argument of forward that has a default, such as a class; empty if there is none."""
    parameters = list(inspect.signature(module.forward).parameters.values())[1:2]
    positional = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    return positional[0].name if positional and positional[0].default is not inspect.Parameter.empty else ""
