"""The convolutions, normalisations and embeddings among a checkpoint's tensors, each with its name and its mask."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import pairwise

import torch
from torch import Tensor

from tui_gen.errors import TuiGenError

_HARMLESS = re.compile(r"num_batches_tracked$|(^|\.)_?(c|h|w|height|width)$|criterion|loss|metric")
"""Tensors that say nothing about what the network computes, or that were looked at already."""


@dataclass(eq=False)
class Conv:
    """A convolution [outputs, inputs, rows, columns], with its mask applied."""

    name: str
    weight: Tensor
    bias: Tensor | None
    masked: bool
    """Whether the file has a mask for it."""

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


@dataclass(eq=False)
class Norm:
    """A batch normalisation in evaluation mode: features times scale plus shift, [features] each."""

    name: str
    scale: Tensor
    shift: Tensor


@dataclass(eq=False)
class Layers:
    """What a checkpoint's tensors are, in its own order."""

    parts: list[Conv | Norm] = field(default_factory=list)
    tables: dict[str, Tensor] = field(default_factory=dict)
    """Embeddings [entries, features], by name."""
    left: list[str] = field(default_factory=list)
    """Tensors that are none of these."""

    @property
    def convs(self) -> list[Conv]:
        """The convolutions only."""
        return [part for part in self.parts if isinstance(part, Conv)]


def find_layers(tensors: Mapping[str, Tensor]) -> Layers:
    """Sorts tensors by what they are. Raises TuiGenError for a convolution whose mask has another shape."""
    values, found = without_weight_norm(tensors), Layers()
    used: set[str] = set()
    for name, tensor in values.items():
        stem, _, leaf = name.rpartition(".")
        if leaf == "weight" and tensor.ndim == 4:
            found.parts.append(_conv(values, stem, used))
        elif leaf == ("weight" if f"{stem}.weight" in values else "running_var") and _is_norm(values, stem):
            found.parts.append(_norm(values, stem, used))
        elif leaf == "weight" and tensor.ndim == 2:
            found.tables[stem] = tensor.float()
            used.add(name)
    found.left = [name for name in values if name not in used and not _HARMLESS.search(name)]
    return found


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
        fitting = [name for name in names if _fits(values[name], weight)]
        if len(fitting) == 1:
            return fitting[0]
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


def _norm(values: Mapping[str, Tensor], stem: str, used: set[str]) -> Norm:
    mean, variance = (values[f"{stem}.{leaf}"].float() for leaf in ("running_mean", "running_var"))
    weight, bias = values.get(f"{stem}.weight"), values.get(f"{stem}.bias")
    used.update(f"{stem}.{leaf}" for leaf in ("running_mean", "running_var", "weight", "bias"))
    scale = (torch.ones_like(mean) if weight is None else weight.float()) / torch.sqrt(variance + 1e-5)
    return Norm(stem, scale, (torch.zeros_like(mean) if bias is None else bias.float()) - mean * scale)


def without_weight_norm(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Weights that are kept as a direction and a length, put together again."""
    values = dict(tensors)
    for name in tensors:
        for length, direction in (("weight_g", "weight_v"), _PARAMETRIZED):
            if name.endswith(length) and name.removesuffix(length) + direction in values:
                stem = name.removesuffix(length)
                g, v = values.pop(name).float(), values.pop(stem + direction).float()
                axes = tuple(axis for axis in range(v.ndim) if g.shape[axis] == 1)
                values[f"{stem.removesuffix('.parametrizations.')}".rstrip(".") + ".weight"] = (
                    v * g / v.square().sum(dim=axes, keepdim=True).sqrt()
                )
    return values


_PARAMETRIZED = ("parametrizations.weight.original0", "parametrizations.weight.original1")


def follows(inputs: int, outputs: int) -> bool:
    """Whether a layer can read what another puts out: as many channels, or half of them behind a gate."""
    return outputs in (inputs, 2 * inputs)


def chained(convs: Iterable[Conv]) -> bool:
    """Whether each convolution can read what the one before it makes."""
    return all(follows(after.inputs, before.outputs) for before, after in pairwise(convs))
