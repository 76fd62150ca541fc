"""How a module that predicts pictures is called, and which of the numbers that it returns are its logits."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from tui_gen.errors import TuiGenError

from ..images.input_output import LogisticMixture, plane_per_channel
from ..images.output_layout import OutputLayout, output_layouts
from ..reader import ReadOptions
from .conditions import ConditionForm, condition_forms
from .owner import Unchanged, fault_line, owners_prints

ImageForm = Literal["floats", "whole numbers", "one-hot"]
Axes = Literal["planes, height, width", "height, width", "height, width, planes", "one row"]
BATCH = 2
SAME = 1e-4
"""Of the range of the logits, or of 1 if they keep within less: answers that differ by less are the same."""
_RARE_AXES: tuple[Axes, ...] = ("height, width, planes", "one row")
_COLOURS = (1, 3)
_LACKING = "required positional argument"
"""In the fault of a call that lacked the class: what another call lacks says more."""
_LARGEST_SIDE = 1024
_LISTED = 3


@dataclass(frozen=True)
class CallConvention:
    """How a module is called."""

    channels: int
    """Tokens per pixel."""
    image: ImageForm
    """As floats, as levels int64, or as planes of which one is 1."""
    axes: Axes
    """Of the image, after the batch."""
    condition: ConditionForm
    planes: int = 0
    """Of an image that is one-hot: one a level."""

    def __str__(self) -> str:
        axes = self.axes.replace("planes", str(self.planes or self.channels))
        return f"{self.image} [batch, {axes}]{self.condition}"

    def example(self, height: int, width: int) -> Tensor:
        """float32[batch, planes, h, w] of random levels 0 and 1, which every network has."""
        levels = torch.randint(2, (BATCH, self.channels, height, width), generator=torch.Generator().manual_seed(0))
        if self.image == "one-hot":
            return torch.eye(self.planes)[levels[:, 0]].permute(0, 3, 1, 2).contiguous()
        return levels.float()

    def encoding(self, values: Tensor) -> Tensor:
        """float32[channels, levels, planes]: what the module is given for each level, of float32[levels] numbers."""
        return torch.eye(self.planes)[None] if self.image == "one-hot" else plane_per_channel(values, self.channels)

    def arguments(self, planes: Tensor, condition: Tensor | None) -> tuple[Tensor, ...]:
        """What the module is called with for float32[batch, planes, h, w] and a condition as the network has it."""
        image = planes.long() if self.image == "whole numbers" else planes
        if self.axes == "height, width":
            image = image[:, 0]
        elif self.axes == "height, width, planes":
            image = image.permute(0, 2, 3, 1)
        elif self.axes == "one row":
            image = image.flatten(1)
        return (image,) if condition is None else (image, self.condition.argument(condition, *planes.shape[2:]))


@dataclass(frozen=True)
class Probe:
    """A call that worked, and what it returned."""

    convention: CallConvention
    output: str
    """Where in what the module returns the logits are, such as `1` or `logits`; empty if it is all."""
    layouts: tuple[OutputLayout, ...]
    """Orders of its axes that are possible; none for the parameters of a mixture."""
    mixtures: int = 0
    """Components of a mixture of logistics that so many numbers could be."""
    others: tuple[str, ...] = ()
    """Where else numbers of that shape are, which could be the logits as well."""


class Adapter(nn.Module):
    """A module behind the form of `ImageNetwork`: planes in, [batch, levels, ...] out."""

    def __init__(self, module: nn.Module, probe: Probe) -> None:
        super().__init__()
        self.module, self.convention, self.output = module, probe.convention, probe.output
        self.layout = probe.layouts[0] if probe.layouts else None
        self.mixture: LogisticMixture | None = None
        self.probabilities = False
        self.pairs = False
        """Whether a single image is given twice, for the module cannot do with one."""
        self.writes = True
        """Whether the module may write into its own tensors."""

    def numbers(self, planes: Tensor, condition: Tensor | None = None) -> Tensor:
        """What the module returns, as it is, for any batch."""
        count = planes.shape[0]
        single = self.pairs and isinstance(count, int) and count == 1  # while it is exported, it may stand for any
        if single:
            planes, condition = (
                planes.repeat(2, 1, 1, 1),
                None if condition is None else condition.repeat_interleave(2, 0),
            )
        arguments = self.convention.arguments(planes, condition)
        with Unchanged(self.module, writes=self.writes), owners_prints():
            result = self.module(*arguments)
        numbers = dict(tensors_of(result))[self.output]
        return numbers[:1] if single else numbers

    def forward(self, planes: Tensor, condition: Tensor | None = None) -> Tensor:
        """float32[batch, planes, h, w] and a condition -> logits as ImageNetwork has them."""
        numbers = self.numbers(planes, condition)
        if self.mixture is not None:
            return self.mixture(numbers, planes)
        assert self.layout
        logits = self.layout.sort(numbers)
        if self.layout.levels == 1:
            darker = 1 - logits if self.probabilities else torch.zeros_like(logits)
            logits = torch.cat([darker, logits], dim=1)
        return logits.clamp(min=torch.finfo(logits.dtype).tiny).log() if self.probabilities else logits


class Mixture(nn.Module):
    """An adapter whose numbers are a mixture of logistics: the mixture is a matter of each place alone."""

    def __init__(self, adapter: Adapter, mixture: LogisticMixture) -> None:
        super().__init__()
        self.adapter, self.mixture = adapter, mixture

    def over_the_image(self, planes: Tensor) -> Tensor:
        """See `PlaceByPlace`."""
        return self.adapter.numbers(planes)

    def at_each_place(self, features: Tensor, planes: Tensor) -> Tensor:
        """See `PlaceByPlace`."""
        logits: Tensor = self.mixture(features, planes)
        return logits

    def forward(self, planes: Tensor) -> Tensor:
        """float32[batch, channels, h, w] in -1..1 -> logits as ImageNetwork has them."""
        return self.at_each_place(self.over_the_image(planes), planes)


def tensors_of(result: object, name: str = "") -> Iterator[tuple[str, Tensor]]:
    """All tensors of numbers in what a module returns, with the place of each."""
    if isinstance(result, Tensor):
        if result.is_floating_point() and result.ndim:
            yield name, result
    elif isinstance(result, Mapping):
        for key, part in result.items():
            yield from tensors_of(part, f"{name}.{key}" if name else str(key))
    elif isinstance(result, (tuple, list)):
        for index, part in enumerate(result):
            yield from tensors_of(part, f"{name}.{index}" if name else str(index))
    elif hasattr(result, "__dict__"):
        yield from tensors_of(vars(result), name)


def probe(module: nn.Module, height: int, width: int, options: ReadOptions) -> Probe:
    """Tries what modules are usually called with.

    Raises TuiGenError with the failure of the call that came furthest if nothing works.
    """
    fault, furthest, shapes = "", -1, ""
    for convention in _conventions(module, options):
        mode = Unchanged(module, writes=True)
        try:
            result = attempt(module, convention, convention.example(height, width), mode=mode)
        except Exception as error:  # whatever a module raises that is called in a way that it does not expect
            if mode.calls > furthest or (mode.calls == furthest and _LACKING in fault):
                furthest, fault = mode.calls, f"called with {convention}, it raises {fault_line(error)}"
            continue
        found = _output(result, convention, (height, width))
        if found:
            return found
        shapes = shapes or ", ".join(str(list(tensor.shape)) for _, tensor in tensors_of(result)) or "no tensor"
    if shapes:
        raise TuiGenError(
            f"the module returns {shapes}, of which no dimension can be the levels of the pixels of {BATCH} images of "
            f"{height}x{width}; let its forward give [batch, levels, height, width]"
        )
    raise TuiGenError(
        f"the module cannot be called with an image of {height}x{width}: {fault}; let its forward take an "
        "image, or an image and a class"
    )


def attempt(
    module: nn.Module,
    convention: CallConvention,
    planes: Tensor,
    condition: Tensor | None = None,
    *,
    mode: Unchanged | None = None,
) -> object:
    """What a call returns, or raises; condition: by default the first. mode: counts how far it comes."""
    if condition is None:
        condition = convention.condition.example(len(planes))
    arguments = convention.arguments(planes, condition)
    with torch.no_grad(), mode or Unchanged(module, writes=True), owners_prints():
        return module(*arguments)


def _output(result: object, convention: CallConvention, size: tuple[int, int]) -> Probe | None:
    """The first of the tensors that can be logits."""
    sides = (convention.channels, *size)
    for name, tensor in tensors_of(result):
        if len(tensor) != BATCH:
            continue
        layouts = tuple(output_layouts(tensor.shape[1:], sides))
        if convention.image == "one-hot":
            layouts = tuple(layout for layout in layouts if layout.levels == convention.planes)
        per_component = 10 if convention.channels == 3 else 3
        is_map = tensor.ndim == 4 and tensor.shape[2:] == size and convention.image == "floats"
        mixtures = tensor.shape[1] // per_component if is_map and tensor.shape[1] % per_component == 0 else 0
        if layouts or mixtures:
            others = (other for other, same in tensors_of(result) if other != name and same.shape == tensor.shape)
            return Probe(convention, name, layouts, mixtures, tuple(others))
    return None


def _conventions(module: nn.Module, options: ReadOptions) -> Iterator[CallConvention]:
    """The likeliest first."""
    kind = options.assume.get("input")
    if kind not in (None, "float", "int", "one-hot"):
        raise TuiGenError(f"--assume input must be float, int or one-hot, not {kind!r}")
    first = next((part for part in module.modules() if isinstance(part, nn.Conv2d)), None)
    embeds = next((part for part in module.modules() if isinstance(part, (nn.Conv2d, nn.Embedding))), None)
    likely = (first.in_channels,) if first is not None and first.in_channels in _COLOURS else _COLOURS
    usual: tuple[ImageForm, ...] = ("floats", "whole numbers")
    usual = usual[::-1] if isinstance(embeds, nn.Embedding) else usual
    by_answer: dict[str | None, tuple[ImageForm, ...]] = {
        "float": ("floats",),
        "int": ("whole numbers",),
        "one-hot": (),
    }
    forms = by_answer.get(kind, usual)
    images = [(channels, form, axes) for form in forms for channels in likely for axes in _axes(form, channels)]
    planes = [part.in_channels for part in module.modules() if isinstance(part, nn.Conv2d)][:1]
    planes = [options.levels] if options.levels else planes
    for condition in condition_forms(module, options):
        for channels, form, axes in images:
            yield CallConvention(channels, form, axes, condition)
        for count in planes if kind in (None, "one-hot") else ():
            if count > 1:
                yield CallConvention(1, "one-hot", "planes, height, width", condition, count)
        for axes in _RARE_AXES if "floats" in forms else ():
            yield from (CallConvention(channels, "floats", axes, condition) for channels in likely)


def _axes(form: ImageForm, channels: int) -> tuple[Axes, ...]:
    """The usual ones."""
    without: tuple[Axes, ...] = ("height, width",) if channels == 1 else ()
    axes: tuple[Axes, ...] = (*without, "planes, height, width")
    return axes if form == "whole numbers" else axes[::-1]


def check_answers(adapter: Adapter, planes: Tensor) -> list[str]:
    """Finds out what the module needs to answer alike whenever it is asked; returns what there is to say of it.

    Raises TuiGenError for a module whose answers depend on chance, on earlier calls, or on other images of the batch.
    """
    module = adapter.module
    first, again = (_numbers(adapter, planes) for _ in range(2))
    if not torch.isfinite(first).all():
        raise TuiGenError(f"{type(module).__name__} answers with numbers that are not finite: its weights are damaged")
    if differ(first, again):
        raise TuiGenError(
            f"{type(module).__name__} answers the same images differently when it is asked again: something in it is "
            "random or remembers, such as functional.dropout without training=self.training; it must answer alike"
        )
    other = _numbers(adapter, torch.cat([planes[:1], 1 - planes[1:]]))
    if differ(first[:1], other[:1]):
        raise TuiGenError(
            f"what {type(module).__name__} answers for an image depends on the other images of its batch, such as by a "
            "normalisation over the batch or a wrong view(); samples are drawn side by side, so it cannot be played"
        )
    adapter.writes = False
    adapter.writes = differ(first, _numbers(adapter, planes))
    reason = _single_fault(adapter, planes, first)
    adapter.pairs = bool(reason)
    return [f"{type(module).__name__} {reason}; it is always given two"] if reason else []


def unused_parts(adapter: Adapter, planes: Tensor) -> list[str]:
    """The layers with weights that have no say in what the module answers, such as one for a condition left out."""
    module, convention = adapter.module, adapter.convention
    parameters = {name: tensor for name, tensor in module.named_parameters() if not _is_mask(tensor)}
    arguments = convention.arguments(planes, convention.condition.example(len(planes)))
    module.requires_grad_(True)
    try:
        with Unchanged(module, writes=adapter.writes), owners_prints():
            result = module(*arguments)
        total = dict(tensors_of(result))[adapter.output].sum()
        slopes = torch.autograd.grad(total, list(parameters.values()), allow_unused=True)
    except RuntimeError:  # a network that cannot be differentiated
        return []
    finally:
        module.requires_grad_(False)
    names = [name for name, slope in zip(parameters, slopes, strict=True) if slope is None]
    layers = list(dict.fromkeys(name.rpartition(".")[0] or name for name in names))
    return layers[:_LISTED] + ([f"{len(layers) - _LISTED} more"] if len(layers) > _LISTED else [])


def _is_mask(tensor: Tensor) -> bool:
    return tensor.ndim > 1 and bool(((tensor == 0) | (tensor == 1)).all())


def _numbers(adapter: Adapter, planes: Tensor) -> Tensor:
    with torch.no_grad():
        return adapter.numbers(planes, adapter.convention.condition.example(len(planes)))


def _single_fault(adapter: Adapter, planes: Tensor, both: Tensor) -> str:
    """What a module does wrong with one image alone; empty if nothing."""
    try:
        alone = _numbers(adapter, planes[:1])
    except Exception as error:  # whatever the owner's code raises
        return f"fails with one image alone, as code does that drops axes of size 1 ({fault_line(error)})"
    if alone.shape != (1, *both.shape[1:]):
        return f"returns {list(alone.shape)} for one image alone, as code does that drops axes of size 1"
    return "answers otherwise for one image alone than beside another" if differ(alone, both[:1]) else ""


def differ(first: Tensor, second: Tensor) -> bool:
    """Whether answers are more than rounding apart."""
    if first.shape != second.shape:
        return True
    allowed = SAME * max(1.0, float(first.max() - first.min()))
    return not bool(((first - second).abs() <= allowed).all())


def own_size(module: nn.Module, options: ReadOptions) -> tuple[int, int] | None:
    """Height and width of the images, where the module works with no others: it has tensors of that size."""
    for height, width in dict.fromkeys(_sizes(module)):
        if _runs(module, height, width, options) and not _runs(module, height + 1, width + 1, options):
            return height, width
    return None


def _runs(module: nn.Module, height: int, width: int, options: ReadOptions) -> bool:
    try:
        probe(module, height, width, options)
    except TuiGenError:
        return False
    return True


def _sizes(module: nn.Module) -> Iterator[tuple[int, int]]:
    """Of tensors that are no layer's weights, and of lists of two or three numbers among the attributes."""
    for part in module.modules():
        own = () if isinstance(part, (nn.Conv2d, nn.Linear, nn.Embedding)) else part.named_parameters(recurse=False)
        for shape in (tuple(tensor.shape) for _, tensor in (*own, *part.named_buffers(recurse=False))):
            side = math.isqrt(shape[-1]) if shape else 0
            yield from _plausible(shape[-2:])
            yield from _plausible((side, side) if side * side == (shape or (0,))[-1] else ())
        for value in vars(part).values():
            if isinstance(value, (tuple, list)) and 2 <= len(value) <= 3 and all(type(item) is int for item in value):
                yield from _plausible(tuple(value[-2:]))


def _plausible(sides: tuple[int, ...]) -> Iterator[tuple[int, int]]:
    if len(sides) == 2 and all(1 < side <= _LARGEST_SIDE for side in sides):
        yield sides[0], sides[1]
