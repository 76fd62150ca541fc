"""Layers of an image network: found among the tensors of a checkpoint, put in order, and built again as modules."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import pairwise
from typing import Any, NoReturn

import torch
from torch import Tensor, nn
from torch.nn import functional

from tui_gen.errors import TuiGenError

from ..assumptions import Assumptions
from ..checkpoints.checkpoint import Checkpoint, ModuleFacts, without_spectral_norm, without_weight_norm
from ..checkpoints.settings import stated_in
from ..gaps import find_gaps, function_of

Pads = tuple[int, int, int, int]
_NONE: Pads = (0, 0, 0, 0)
_ACTIVATION_MODULES = "torch.nn.modules.activation."
ACTIVATIONS: dict[str, Callable[..., nn.Module]] = {
    "relu": nn.ReLU,
    "elu": nn.ELU,
    "gelu": nn.GELU,
    "gelu_tanh": partial(nn.GELU, approximate="tanh"),
    "silu": nn.SiLU,
    "tanh": nn.Tanh,
    "leaky_relu": nn.LeakyReLU,
    "selu": nn.SELU,
    "sigmoid": nn.Sigmoid,
    "softplus": nn.Softplus,
    "none": nn.Identity,
}
"""By their names; what some take in brackets is the first argument."""
_COLOURS = 3
_LISTED = 100
"""Characters of names that a message can have."""
_HARMLESS = re.compile(r"num_batches_tracked$|(^|\.)_?(c|h|w|height|width)$|(^|[._])(criterion|loss|metrics?)")
"""Tensors that say nothing about what the network computes, or that were looked at already."""
_ALONE = "layer"
"""What a layer is called that was saved by itself."""
_OF_A_LAYER = {"weight", "bias", "running_mean", "running_var"}
"""Names of its tensors then."""


@dataclass(eq=False)
class Conv:
    """A convolution [outputs, inputs, rows, columns], with its mask applied."""

    name: str
    weight: Tensor
    bias: Tensor | None
    masked: bool
    """Whether the file has a mask for it."""
    dilation: int = 0
    """Places between taps, where the file says it; else 0."""
    own: bool | None = None
    """Whether its mask lets it see its own place, B, or not, A; None where neither the file nor its name says it."""

    @property
    def kernel(self) -> tuple[int, int]:
        """Rows and columns."""
        return int(self.weight.shape[2]), int(self.weight.shape[3])

    @property
    def pointwise(self) -> bool:
        """Whether it looks at one place only."""
        return self.kernel == (1, 1)

    @property
    def inputs(self) -> int:
        """Channels that it reads."""
        return int(self.weight.shape[1])

    @property
    def outputs(self) -> int:
        """Channels that it makes."""
        return int(self.weight.shape[0])

    def with_mask(self, mask: Tensor) -> Conv:
        """The same with the taps [rows, columns] set to zero that the mask forbids."""
        return replace(self, weight=self.weight * mask, masked=True)


@dataclass(eq=False)
class Norm:
    """A batch normalisation in evaluation mode: features times scale plus shift, [features] each."""

    name: str
    scale: Tensor
    shift: Tensor

    @property
    def inputs(self) -> int:
        """Channels that it reads."""
        return len(self.scale)


@dataclass(eq=False)
class Table:
    """An embedding [entries, features], or the weights [features, entries] of a linear layer over one-hot entries."""

    name: str
    weight: Tensor
    bias: Tensor | None = None
    """[features] of a linear layer."""


@dataclass(eq=False)
class Layers:
    """What a checkpoint's tensors are, in its own order."""

    parts: list[Conv | Norm] = field(default_factory=list)
    tables: list[Table] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)
    """Tensors that are none of these."""

    @property
    def convs(self) -> list[Conv]:
        """The convolutions only."""
        return [part for part in self.parts if isinstance(part, Conv)]

    def without(self, names: Collection[str]) -> Layers:
        """The same but for the tensors and layers of these names."""

        def used(name: str) -> bool:
            return not any(name == other or name.startswith(f"{other}.") for other in names)

        return Layers(
            [part for part in self.parts if used(part.name)],
            [table for table in self.tables if used(table.name)],
            list(filter(used, self.unknown)),
        )


def find_layers(tensors: Mapping[str, Tensor], modules: Mapping[str, ModuleFacts] | None = None) -> Layers:
    """Sorts tensors by what they are.

    modules: of a pickled network. Raises TuiGenError for a convolution that is not known, or whose mask does not fit.
    """
    values, layers, used = without_spectral_norm(without_weight_norm(tensors)), Layers(), set[str]()
    values = {f"{_ALONE}.{name}" if name in _OF_A_LAYER else name: tensor for name, tensor in values.items()}
    modules = {_ALONE: (modules or {}).get("", ModuleFacts("")), **(modules or {})}
    for name, tensor in values.items():
        stem, _, leaf = name.rpartition(".")
        if leaf == "weight" and tensor.ndim == 4:
            facts = modules.get(stem, ModuleFacts(""))
            _refuse_other_convolutions(stem, facts)
            own = {"A": False, "B": True}.get(stated_in(facts, "mask"))
            dilation = _side(facts.attributes.get("dilation"))
            layers.parts.append(replace(_conv(values, stem, used), dilation=dilation, own=own))
        elif leaf == ("weight" if f"{stem}.weight" in values else "running_var") and _is_norm(values, stem):
            layers.parts.append(_norm(values, stem, used, modules.get(stem, ModuleFacts(""))))
        elif leaf == "weight" and tensor.ndim == 2:
            bias = values.get(f"{stem}.bias")
            longest = modules[stem].attributes.get("max_norm") if stem in modules else None
            weight = tensor.float() if longest is None else tensor.float().renorm(2, 0, longest)
            layers.tables.append(Table(stem, weight, None if bias is None else bias.float()))
            used.update((name, f"{stem}.bias"))
    layers.unknown = [name for name in values if name not in used and not _HARMLESS.search(name)]
    return layers


def _side(value: Any) -> int:
    """A number, or one that is the same for rows and columns; else 0."""
    sides = set(value) if isinstance(value, (list, tuple)) else {value}
    side = sides.pop() if len(sides) == 1 else 0
    return side if type(side) is int else 0


def _refuse_other_convolutions(name: str, facts: ModuleFacts) -> None:
    """Raises TuiGenError for what a module says of its convolution that makes it another one than is built."""
    stated = facts.attributes
    faults = [f"{key} {stated[key]!r:.40}" for key in ("stride", "groups") if key in stated and _side(stated[key]) != 1]
    faults += [f"dilation {stated['dilation']!r:.40}"] if "dilation" in stated and not _side(stated["dilation"]) else []
    faults += ["transposed"] if stated.get("transposed") is True or "ConvTranspose" in facts.kind else []
    if faults:
        refuse(f"{name} is a convolution with {', '.join(faults)}, which is not read from a file")
    padding = stated.get("padding_mode")
    if isinstance(padding, str) and padding != "zeros":
        raise TuiGenError(
            f"{name} pads images by {padding:.40}, so that their borders see pixels that are drawn later: "
            "it cannot be drawn pixel by pixel; train it with zeros around the image"
        )


def refuse(why: str) -> NoReturn:
    """Raises TuiGenError with what to do about a network that no file tells enough of."""
    raise TuiGenError(f"{why}; the network can be exported with --factory package.module:function")


def _conv(values: Mapping[str, Tensor], stem: str, used: set[str]) -> Conv:
    weight, bias = values[f"{stem}.weight"].float(), values.get(f"{stem}.bias")
    used.update((f"{stem}.weight", f"{stem}.bias"))
    name = _mask_of(values, stem, weight)
    if name:
        used.add(name)
        weight = weight * values[name].float()
    return Conv(stem, weight, None if bias is None else bias.float(), bool(name))


def _mask_of(values: Mapping[str, Tensor], stem: str, weight: Tensor) -> str:
    """The tensor of zeros and ones beside a convolution's weights, or beside itself; empty if there is none."""
    outer = stem.rpartition(".")[0]
    for path in (stem, outer) if outer else (stem,):
        names = [name for name in values if name.rpartition(".")[0] == path and "mask" in name.rpartition(".")[2]]
        matches = [name for name in names if _fits(values[name], weight)]
        if len(matches) == 1:
            return matches[0]
        if len(names) == 1 and path == stem:
            raise TuiGenError(f"{stem} has a mask {list(values[names[0]].shape)} that does not fit it")
    return ""


def _fits(mask: Tensor, weight: Tensor) -> bool:
    """Whether it can be multiplied with the weights, and says yes or no."""
    shapes = zip(reversed(mask.shape), reversed(weight.shape), strict=False)
    broadcasts = 2 <= mask.ndim <= weight.ndim and all(size in (1, whole) for size, whole in shapes)
    return broadcasts and bool(((mask == 0) | (mask == 1)).all())


def _is_norm(values: Mapping[str, Tensor], stem: str) -> bool:
    parts = [values.get(f"{stem}.{leaf}") for leaf in ("running_mean", "running_var")]
    parts += [values[f"{stem}.{leaf}"] for leaf in ("weight", "bias") if f"{stem}.{leaf}" in values]
    sizes = {None if part is None else tuple(part.shape) for part in parts}
    return len(sizes) == 1 and None not in sizes and len(sizes.pop() or ()) == 1


def _norm(values: Mapping[str, Tensor], stem: str, used: set[str], facts: ModuleFacts) -> Norm:
    mean, variance = (values[f"{stem}.{leaf}"].float() for leaf in ("running_mean", "running_var"))
    weight, bias = values.get(f"{stem}.weight"), values.get(f"{stem}.bias")
    used.update(f"{stem}.{leaf}" for leaf in ("running_mean", "running_var", "weight", "bias"))
    scale = (torch.ones_like(mean) if weight is None else weight.float()) / torch.sqrt(
        variance + facts.attributes.get("eps", 1e-5)
    )
    return Norm(stem, scale, (torch.zeros_like(mean) if bias is None else bias.float()) - mean * scale)


def follows(inputs: int, outputs: int) -> bool:
    """Whether a layer can read what another puts out: as many channels, or half of them behind a gate."""
    return outputs in (inputs, 2 * inputs)


def is_chain(convs: Iterable[Conv]) -> bool:
    """Whether each convolution can read what the one before it makes."""
    return all(follows(after.inputs, before.outputs) for before, after in pairwise(convs))


def refuse_classifier(layers: Layers) -> None:
    """Raises TuiGenError for a linear layer over all that the convolutions make: no picture comes out of it."""
    last = layers.convs[-1].outputs
    reads = [table for table in layers.tables if table.bias is not None and table.weight.shape[1] % last == 0]
    if reads and last > 2:  # the classes of a picture of two levels may be as many
        raise TuiGenError(
            f"{reads[0].name} {list(reads[0].weight.shape)} reads what its {len(layers.convs)} convolutions make: it "
            "turns a picture into other numbers, as a classifier or an autoencoder does, and draws none pixel by pixel"
        )


def obstacle(layers: Layers) -> str:
    """Why layers are no chain of convolutions, for people; empty if nothing of them tells."""
    names = [*layers.unknown, *(table.name for table in layers.tables[1:])]
    if names:
        ignored = ",".join(names)
        use = f"if its script does not use them, --assume ignore={ignored}" if len(ignored) < _LISTED else "and more"
        return f"; of no known use are {', '.join(names[:3])}; {use}"
    for before, after in pairwise(layers.convs):
        if not follows(after.inputs, before.outputs):
            pair = (f"{conv.name} {list(conv.weight.shape)}" for conv in (after, before))
            return "; {} cannot read what {}, the one before it in the file, makes".format(*pair)
    odd = next((conv for conv in layers.convs if conv.kernel[0] != conv.kernel[1] or not conv.kernel[0] % 2), None)
    return f"; {odd.name} has a kernel of {odd.kernel[0]}x{odd.kernel[1]}, which has no middle" if odd else ""


@dataclass(eq=False)
class Item:
    """A layer, or a module without tensors, which is an activation."""

    name: str
    part: Conv | Norm | None = None
    activation: nn.Module | None = None
    """The one that it is, where the file says it."""


@dataclass(frozen=True)
class LayerOrder:
    """What is computed, one after another."""

    items: list[Item]
    from_modules: bool
    """Whether the file says which activations there are."""
    complete: frozenset[str]
    """Paths of containers whose modules run one after another, with nothing else between them."""
    functions: frozenset[str] = frozenset()
    """Activations that are modules, but of which the file does not say where they run."""

    def adjacent(self, before: str, after: str) -> bool:
        """Whether nothing can be between two layers, or blocks, of these names."""
        container = after.rpartition(".")[0]
        return container in self.complete and container == before.rpartition(".")[0]


def order_of(layers: Layers, checkpoint: Checkpoint) -> LayerOrder:
    """By the modules of a pickled network, or else by the numbers that are missing in the names of its layers.

    Raises TuiGenError for a pickled network with a module between its layers that is not known.
    """
    modules = checkpoint.modules
    if modules.keys() >= {part.name for part in layers.parts} and any(map(_is_activation, modules.values())):
        sequential = (path for path, facts in modules.items() if facts.kind.endswith(".Sequential"))
        items = list(_by_modules(layers, checkpoint))
        strays = [item for item in items if item.part is None and not _runs_in_order(item.name, modules)]
        functions = frozenset(function_of(item.name, modules[item.name]) for item in strays)
        return LayerOrder([item for item in items if item not in strays], True, frozenset(sequential), functions)
    items = []
    gaps = find_gaps([part.name for part in layers.parts])
    for part, before in zip(layers.parts, gaps, strict=True):
        items += [Item(gap.names[0]) for gap in before]
        items.append(Item(part.name, part))
    return LayerOrder(items, False, frozenset(gap.container for before in gaps for gap in before))


def _is_activation(facts: ModuleFacts) -> bool:
    return facts.kind.startswith(_ACTIVATION_MODULES)


def _runs_in_order(path: str, modules: Mapping[str, ModuleFacts]) -> bool:
    """Whether a module runs where it stands: in a list. An attribute may run anywhere, and more than once."""
    container = modules.get(path.rpartition(".")[0])
    return container is not None and container.kind.endswith((".Sequential", ".ModuleList"))


def _by_modules(layers: Layers, checkpoint: Checkpoint) -> Iterator[Item]:
    parts = {part.name: part for part in layers.parts}
    last = layers.parts[-1].name
    for path, facts in checkpoint.modules.items():
        if path in parts:
            yield Item(path, parts[path])
            if path == last:
                return  # a softmax or the like of the logits changes nothing that is asked for
        elif _is_leaf(path, checkpoint) and (function := function_of(path, facts)):
            yield Item(path, None, activation_of(function))


def activation_of(function: str) -> nn.Module:
    """A new one by its name, such as `relu` or `leaky_relu(0.2)`."""
    name, _, argument = function.partition("(")
    return ACTIVATIONS[name](*([float(argument.rstrip(")"))] if argument else []))


def _is_leaf(path: str, checkpoint: Checkpoint) -> bool:
    """Whether there is neither a module nor a tensor within it."""
    inside = f"{path}." if path else ""
    within = (name for names in (checkpoint.modules, checkpoint.tensors) for name in names)
    return not any(name != path and name.startswith(inside) for name in within)


class Convolution(nn.Module):
    """A convolution with its weights as they are, between explicit paddings with zeros; negative padding cuts off.

    pads: before it, left, right, top, bottom; shift: the same after it.
    """

    def __init__(
        self, conv: Conv, *, pads: Pads = _NONE, shift: Pads = _NONE, dilation: int = 1, stride: int = 1
    ) -> None:
        super().__init__()
        self.weight = nn.Parameter(conv.weight.clone(), requires_grad=False)
        self.bias = None if conv.bias is None else nn.Parameter(conv.bias.clone(), requires_grad=False)
        self.pads, self.shift, self.dilation, self.stride, self.name = pads, shift, dilation, stride, conv.name

    def forward(self, image: Tensor) -> Tensor:
        """float32[batch, inputs, h, w] -> float32[batch, outputs, h / stride, w / stride].

        Raises TuiGenError for another number of inputs.
        """
        if image.shape[1] != self.weight.shape[1]:
            refuse(
                f"{self.name} {list(self.weight.shape)} reads {self.weight.shape[1]} features, but the layers before "
                f"it, as they were read, make {image.shape[1]}: its script joins them in another way"
            )
        image = functional.pad(image, self.pads) if any(self.pads) else image
        image = functional.conv2d(image, self.weight, self.bias, self.stride, dilation=self.dilation)
        return functional.pad(image, self.shift) if any(self.shift) else image


class Affine(nn.Module):
    """A batch normalisation at rest: features times scale plus shift."""

    def __init__(self, norm: Norm) -> None:
        super().__init__()
        self.scale = nn.Parameter(norm.scale[:, None, None], requires_grad=False)
        self.shift = nn.Parameter(norm.shift[:, None, None], requires_grad=False)

    def forward(self, image: Tensor) -> Tensor:
        """float32[batch, features, height, width], and the same out."""
        return image * self.scale + self.shift


class GatedActivation(nn.Module):
    """One half of the channels, or its tanh, times sigmoid of the other.

    first: what the first half goes through, `tanh` or `sigmoid`; `linear` for nothing.
    """

    def __init__(self, first: str = "tanh") -> None:
        super().__init__()
        self.first = first

    def forward(self, features: Tensor) -> Tensor:
        """[batch, 2 * features, h, w] -> [batch, features, h, w]."""
        first, second = features.chunk(2, dim=1)
        if self.first == "sigmoid":
            first, second = second, first
        return (first if self.first == "linear" else torch.tanh(first)) * torch.sigmoid(second)


def same_convolution(conv: Conv, *, dilation: int = 1) -> Convolution:
    """A convolution that leaves the image's size: padding "same". Raises TuiGenError for an even kernel."""
    if not all(side % 2 for side in conv.kernel):
        refuse(f"{conv.name} has a kernel of {conv.kernel[0]}x{conv.kernel[1]}, which no file tells where to put")
    rows, columns = ((side - 1) * dilation // 2 for side in conv.kernel)
    return Convolution(conv, pads=(columns, columns, rows, rows), dilation=dilation)


def raster_mask(conv: Conv, *, own: bool) -> Conv:
    """The convolution with the taps that raster order forbids set to zero; own: it may see its own place."""
    rows, columns = conv.kernel
    mask = torch.zeros(rows, columns)
    mask[: rows // 2] = 1
    mask[rows // 2, : columns // 2 + own] = 1
    return conv.with_mask(mask)


def has_masks_of_channels(first: Conv, *others: Conv) -> bool:
    """Whether the first layer reads colours, and nothing that is later: what it sees of its own place, zeros tell."""
    later = (conv for conv in (first, *others) if not torch.equal(conv.weight, raster_mask(conv, own=True).weight))
    return first.inputs == _COLOURS and not any(later)


def raster_masks(convs: list[Conv], assumptions: Assumptions) -> dict[Conv, Conv]:
    """Convolutions with masks in place of those that have none: `A` for the first, `B` for the others.

    It is asked unless their modules say it, or their weights are zero there anyway, for networks that need no masks,
    such as those that remove noise, have the same tensors. A mask of 1x1 `B` would change nothing. The masks of colours
    are of channels, too: their zeros tell them, or they are asked about.
    """
    bare = [conv for conv in convs if not conv.masked and not conv.pointwise]
    if bare and has_masks_of_channels(*bare):
        return {}
    masked = {conv: raster_mask(conv, own=conv is not convs[0] if conv.own is None else conv.own) for conv in bare}
    if all(torch.equal(conv.weight, masked[conv].weight) for conv in bare):
        return {}
    if all(conv.own is not None for conv in bare):
        return masked
    what = "whether its script masks its convolutions, for the file has no masks, and numbers where they would be zero"
    if convs[0].inputs == _COLOURS:
        what += ": in places alone (a-then-b), or nowhere; if between channels as well, --factory has them"
    kind = assumptions.ask("masks", what, choices=("a-then-b", "none"))
    return masked if kind == "a-then-b" else {}


def dilations_of(convs: Sequence[Conv], assumptions: Assumptions, default: str = "1") -> list[int]:
    """Of each convolution: as its module says, or else assumed, for nothing in the tensors does.

    default: numbers with commas, or one for all. Raises TuiGenError for an answer of other numbers.
    """
    if not convs or all(conv.dilation for conv in convs):
        return [conv.dilation for conv in convs]
    answer = assumptions.assume("dilations", default, "the dilations of its layers after the first")
    numbers = answer.split(",")
    if len(numbers) not in (1, len(convs)) or not all(number.strip().isdecimal() and int(number) for number in numbers):
        raise TuiGenError(
            f"--assume dilations must be {len(convs)} whole numbers with commas, or one for all, not {answer!r}"
        )
    return [int(number) for number in (numbers * len(convs) if len(numbers) == 1 else numbers)]


def first_gate(assumptions: Assumptions, *, known: bool = False) -> str:
    """Which function the first half of a gate's channels goes through: `tanh`, `sigmoid`, or `linear` for none.

    known: whether its script is; tanh is assumed then, and otherwise asked.
    """
    choices = ("tanh", "sigmoid", "linear")
    what = "what the first half of a gate's channels goes through"
    if known:
        return assumptions.assume("gate", "tanh", what, choices=choices)
    detail = "tanh, or nothing (linear), where the other half goes through sigmoid; or sigmoid, where that has tanh"
    return assumptions.ask("gate", f"{what}: {detail}", choices=choices)
