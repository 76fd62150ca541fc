"""Builds networks of one stack: layers one after another, blocks that add their input, activations between."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor, nn

from export.images.blocks import Block
from export.images.convolution import Affine, Gate, centred
from export.images.layers import Conv, Norm
from export.images.order import Item, Order


@dataclass(frozen=True)
class Style:
    """What the tensors do not say."""

    activation: Callable[[], nn.Module]
    """A new one, where the file does not say which."""
    gate: str
    """What the first half of twice as many channels as the next layer reads goes through."""
    residual: int
    """How many times a block adds its input."""
    end: str
    """Where the last activation of a block is: `after` the sum, `before` it, or `none`."""
    order: Order


class Residual(nn.Module):
    """Layers, and their input once or several times; with an activation at the end, or not."""

    def __init__(self, inner: nn.Module, times: int, before: nn.Module, after: nn.Module) -> None:
        super().__init__()
        self.inner, self.times, self.before, self.after = inner, times, before, after

    def forward(self, features: Tensor) -> Tensor:
        """[batch, features, h, w], and the same out."""
        made = self.before(self.inner(features))
        made = self.after(made + self.times * features if self.times else made)
        assert isinstance(made, Tensor)
        return made


def stacked(items: Sequence[Item | Block], style: Style, masked: Mapping[Conv, Conv]) -> nn.Sequential:
    """The network, without what turns its last numbers into logits; masked: convolutions in place of others."""
    return _Stacking(style, masked).stacked(items)


class _Stacking:
    """Puts activations where they are known to be, and elsewhere before a layer that none has come before."""

    def __init__(self, style: Style, masked: Mapping[Conv, Conv]) -> None:
        self.style, self.masked = style, masked
        self.made: list[nn.Module] = []
        self.width = 0  # channels so far; 0 before the first layer
        self.last = ""  # the convolution that no activation has followed yet

    def stacked(self, items: Sequence[Item | Block]) -> nn.Sequential:
        for index, item in enumerate(items):
            if isinstance(item, Block):
                self._add_block(item)
            elif item.part is None:
                self._activate(_reads(items[index + 1 :]), item.activation)
            else:
                self._add(item.part)
        return nn.Sequential(*self.made)

    def _add(self, part: Conv | Norm) -> None:
        reads = _width(part)
        if self.width == 2 * reads or (self.last and isinstance(part, Conv) and not self._adjacent(part.name)):
            self._activate(reads)
        if isinstance(part, Norm):
            self.made.append(Affine(part))
        else:
            self.made.append(centred(self.masked.get(part, part)))
            self.width, self.last = part.outputs, part.name

    def _add_block(self, block: Block) -> None:
        reads = block.convs[0].inputs
        if self.width == 2 * reads or (self.last and not block.activation_first and not block.gated):
            self._activate(reads)
        inner = _Stacking(self.style, self.masked)
        made = inner.stacked(block.items)
        if inner.width == 2 * reads:
            made.append(Gate(self.style.gate))
        before, after = (
            self.style.activation() if self.style.end == end else nn.Identity() for end in ("before", "after")
        )
        self.made.append(Residual(made, self.style.residual, before, after))
        self.width, self.last = reads, block.path if self.style.end == "none" else ""

    def _activate(self, reads: int, known: nn.Module | None = None) -> None:
        """An activation; a gate if the next layer reads half of the channels."""
        gate = self.width == 2 * reads
        self.made.append(Gate(self.style.gate) if gate else known or self.style.activation())
        self.width, self.last = reads if gate else self.width, ""

    def _adjacent(self, name: str) -> bool:
        """Whether nothing can be between the last convolution and this one."""
        container = name.rpartition(".")[0]
        return container in self.style.order.complete and container == self.last.rpartition(".")[0]


def _width(part: Conv | Norm) -> int:
    """Channels that a layer reads."""
    return part.inputs if isinstance(part, Conv) else len(part.scale)


def _reads(items: Sequence[Item | Block]) -> int:
    """Channels that the next layer reads; 0 if there is none."""
    for item in items:
        if isinstance(item, Block):
            return item.convs[0].inputs
        if item.part is not None:
            return _width(item.part)
    return 0
