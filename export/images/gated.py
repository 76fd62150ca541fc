"""Gated networks of two stacks of other people's: how their layers look around, and the network as a module.

van den Oord et al., Conditional Image Generation with PixelCNN Decoders, 2016, figure 2. A vertical stack sees the rows
above, a horizontal one the row at hand; scripts differ in how they keep the stacks from seeing too much.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn

from export.images.convolution import Convolution, Gate, centred
from export.images.ends import Levels
from export.images.gated_roles import GatedLayer
from export.images.layers import Conv
from export.images.looking import Style, horizontal, vertical


@dataclass(frozen=True)
class GatedStyle:
    """What the tensors do not say."""

    style: Style
    first_gate: str = "tanh"
    """Which half of the channels goes through tanh: the first (`tanh`) or the second (`sigmoid`)."""
    vertical_residual: bool = False
    after_stem: bool = False
    """Whether the first layer reads features that see what is left of them, which only the horizontal stack may."""


class GatedBlock(nn.Module):
    """One layer of both stacks."""

    def __init__(self, layer: GatedLayer, how: GatedStyle, *, first: bool, dilation: int) -> None:
        super().__init__()
        convs, self.how, self.style = layer.convs, how, how.style
        own_row = not first and not how.after_stem
        self.vertical, self.columns = vertical(layer, how.style, first=first, own_row=own_row, dilation=dilation)
        self.horizontal = horizontal(layer, how.style, first=first, dilation=dilation)
        self.gate = Gate(how.first_gate)
        self.rows_above = convs["vertical"].kernel[0] if how.style == "shifted" else 0
        self.link, self.pointwise = _maybe(convs.get("link")), _maybe(convs.get("vertical_pointwise"))
        self.residual, self.skip = _maybe(convs.get("residual")), _maybe(convs.get("skip"))
        self.embedding = None if layer.embedding is None else _table(layer.embedding)
        self.adds_input = not first

    def forward(self, above: Tensor, beside: Tensor, condition: Tensor | None) -> tuple[Tensor, Tensor, Tensor | None]:
        """Both stacks [batch, features, h, w], and what the layer gives to the head beside them."""
        below, for_link = self._look_up(above)
        if self.link is None:  # a first layer that only looks around
            return below, self.horizontal(beside), None
        named = 0 if self.embedding is None or condition is None else self.embedding(condition)[:, :, None, None]
        own = below if self.pointwise is None else below + self.pointwise(above)
        below = self.gate(own + named)
        if self.how.vertical_residual and self.adds_input:
            below = below + above
        gated = self.gate(self.horizontal(beside) + self.link(for_link) + named)
        after = gated if self.residual is None else self.residual(gated)
        if self.adds_input:
            after = after + beside
        return below, after, None if self.skip is None else self.skip(gated)

    def _look_up(self, above: Tensor) -> tuple[Tensor, Tensor]:
        """The vertical features of every place, and those that its horizontal stack may see."""
        seen = self.vertical(above if self.columns is None else self.columns(above))
        if self.style != "shifted":
            return seen, seen
        return seen[:, :, 1:], seen[:, :, :-1]  # one row more than the image has: above its first


def _table(rows: Tensor) -> nn.Embedding:
    """An embedding with these entries [entries, features]."""
    embedding = nn.Embedding(*rows.shape)
    embedding.weight = nn.Parameter(rows, requires_grad=False)
    return embedding


def _maybe(conv: Conv | None) -> Convolution | None:
    return None if conv is None else centred(conv)


class GatedNet(nn.Module):
    """Layers of two stacks, then the head over the horizontal one, or over the sum of what the layers gave it."""

    def __init__(
        self,
        stem: nn.Module,
        blocks: list[GatedBlock],
        head: list[Conv],
        levels: Levels,
        *,
        before: str,
        classes: Tensor | None,
    ) -> None:
        super().__init__()
        self.stem, self.blocks, self.head = stem, nn.ModuleList(blocks), nn.ModuleList(map(centred, head))
        self.levels, self.before = levels, before
        self.classes = None if classes is None else _table(classes)

    def forward(self, planes: Tensor, condition: Tensor | None = None) -> Tensor:
        """[batch, planes, h, w], and int64[batch] of classes where the network has them, -> logits."""
        above = beside = self.stem(planes)
        given = None
        for block in self.blocks:
            above, beside, more = block(above, beside, condition)
            given = more if given is None else given if more is None else given + more
        features = beside if given is None else given
        if self.classes is not None and condition is not None:
            features = features + self.classes(condition)[:, :, None, None]
        for number, layer in enumerate(self.head):
            features = layer(_ACTIVATIONS["relu" if number else self.before](features))
        logits: Tensor = self.levels(features)
        return logits


_ACTIVATIONS: dict[str, nn.Module] = {"relu": nn.ReLU(), "elu": nn.ELU(), "none": nn.Identity()}
