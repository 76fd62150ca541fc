"""The trainer's networks: recurrent language models, and PixelCNNs of three designs.

A PixelCNN factorises an image into conditional distributions, one pixel after another in raster order.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

CellName = Literal["rnn", "lstm", "gru"]
CELLS: dict[str, type[nn.RNN] | type[nn.LSTM] | type[nn.GRU]] = {"rnn": nn.RNN, "lstm": nn.LSTM, "gru": nn.GRU}
HiddenState = tuple[Tensor, ...]
"""(h,) or, for an LSTM, (h, c); each float32[layers, batch, hidden], as PyTorch has it."""
_FIRST_KERNEL = 7
"""Side of the first layer's square kernel: it sees half of that to every side."""


@dataclass(frozen=True)
class RecurrentConfig:
    """Sizes of a recurrent language model."""

    cell: CellName
    vocab_size: int
    embedding: int
    hidden: int
    layers: int = 1
    dropout: float = 0.0
    """Probability of zeroing an input of the upper layers and of the output layer; training only."""

    @property
    def label(self) -> str:
        """What the model card calls the architecture, such as `LSTM 2x512`."""
        depth = f"{self.layers}x" if self.layers > 1 else ""
        return f"{self.cell.upper()} {depth}{self.hidden}"


class RecurrentNet(nn.Module):
    """Predicts each next token from the tokens before it.

    Elman (1990) for `rnn`, with tanh; Hochreiter and Schmidhuber (1997) with forget gates for `lstm`; Cho et al.
    (2014) for `gru`, with the reset gate applied after the product, as in cuDNN.
    """

    def __init__(self, config: RecurrentConfig) -> None:
        super().__init__()
        self.config = config
        self.embedding = nn.Embedding(config.vocab_size, config.embedding)
        between = config.dropout if config.layers > 1 else 0.0
        self.rnn = CELLS[config.cell](config.embedding, config.hidden, config.layers, batch_first=True, dropout=between)
        self.dropout = nn.Dropout(config.dropout)
        self.output = nn.Linear(config.hidden, config.vocab_size)

    def forward(self, tokens: Tensor, hidden: HiddenState | None = None) -> tuple[Tensor, HiddenState]:
        """Reads int64[batch, time]; returns logits float32[batch, time, vocab] and the hidden state after them."""
        before = None if hidden is None else hidden if self.config.cell == "lstm" else hidden[0]
        features, after = self.rnn(self.embedding(tokens), before)
        return self.output(self.dropout(features)), after if isinstance(after, tuple) else (after,)


@dataclass(frozen=True)
class ImageConfig:
    """Size of the images of a PixelCNN. Token ids: pixel levels, then `start`, then the conditions."""

    height: int
    width: int
    levels: int
    """Grey levels or palette entries that a pixel can have."""

    @property
    def conditions(self) -> int:
        """Classes or phrases that a prompt can name."""
        return 0

    @property
    def start(self) -> int:
        """The token before the first pixel; it carries no condition."""
        return self.levels

    @property
    def vocab_size(self) -> int:
        """Tokens that the network can read; it predicts the first `levels` of them."""
        return self.levels + 1 + self.conditions


@dataclass(frozen=True)
class PixelCNNConfig(ImageConfig):
    """Sizes of a conditional PixelCNN with one stack or two."""

    channels: int = 64
    blocks: int = 6
    kernel: int = 3
    """Side of the square type-B kernels; odd."""
    gated: bool = True
    one_hot: bool = True
    """One input plane per level (a palette has no order); otherwise one plane of level / (levels - 1)."""
    conditions: int = 0
    head: int = 64
    stacks: int = 1
    """1: square masked kernels, with a blind spot to the upper right; 2: a vertical and a horizontal stack, without."""

    @property
    def planes(self) -> int:
        """Input planes: the pixel's encoding and a plane of ones, which tells the image from its border."""
        return (self.levels if self.one_hot else 1) + 1

    @property
    def condition_width(self) -> int:
        """What a block adds its condition to: both halves of each gate, or the features of the k x k convolution."""
        if self.stacks == 2:
            return 4 * self.channels
        return self.channels if self.gated else self.channels // 2

    @property
    def label(self) -> str:
        """What the model card calls the architecture, such as `Gated PixelCNN 6x64`."""
        design = "Two-stack gated " if self.stacks == 2 else "Gated " if self.gated else ""
        return f"{design}PixelCNN {self.blocks}x{self.channels}"


class PictureNet(nn.Module):
    """What all networks over images have: their sizes, and the encoding of a pixel's level as input planes.

    Called with planes float32[batch, planes, height, width], of `encode`, and conditions float32[batch, conditions], 1
    where a condition holds; returns float32[batch, levels, height, width], the logits of every pixel given those before
    it.
    """

    encoding: Tensor
    """float32[levels, planes]: what the first convolution sees of each level."""

    def __init__(self, config: PixelCNNConfig | BookConfig, encoding: Tensor) -> None:
        super().__init__()
        self.config = config
        self.register_buffer("encoding", encoding, persistent=False)

    def encode(self, pixels: Tensor) -> Tensor:
        """int64[batch, h, w] -> float32[batch, planes, h, w]."""
        return functional.embedding(pixels, self.encoding).permute(0, 3, 1, 2)


class ConditionalNet(PictureNet):
    """Blocks between first layers and a head of two 1x1 layers; learned row, column and condition biases.

    features: channels of all first layers together. biases: what a condition adds to, in channels each.
    """

    def __init__(self, config: PixelCNNConfig, *, features: int, biases: Sequence[int]) -> None:
        levels = config.levels
        pixels = torch.eye(levels) if config.one_hot else torch.linspace(0, 1, levels)[:, None]
        super().__init__(config, torch.cat([pixels, torch.ones(levels, 1)], dim=1))
        self.biases = list(biases)
        self.rows = nn.Parameter(torch.zeros(config.height, features))
        self.columns = nn.Parameter(torch.zeros(config.width, features))
        self.condition = nn.Parameter(torch.zeros(config.conditions, sum(biases)))

    def add_blocks(self, config: PixelCNNConfig, block: Callable[[PixelCNNConfig], nn.Module]) -> None:
        """Adds what follows the first layers; an optimizer's state numbers parameters in the order of their making."""
        self.blocks = nn.ModuleList(block(config) for _ in range(config.blocks))
        self.head = nn.Conv2d(config.channels, config.head, 1)
        self.output = nn.Conv2d(config.head, config.levels, 1)

    def split_condition(self, conditions: Tensor) -> tuple[Tensor, ...]:
        """float32[batch, conditions] -> a bias [batch, channels, 1, 1] for each of `biases`."""
        return torch.split((conditions @ self.condition)[:, :, None, None], self.biases, dim=1)

    def logits(self, features: Tensor, bias: Tensor | None = None) -> Tensor:
        """The head: float32[batch, channels, h, w] -> [batch, levels, h, w]. bias: added between its two layers."""
        inner = self.head(functional.relu(features))
        return self.output(functional.relu(inner if bias is None else inner + bias))


class MaskedConv2d(nn.Conv2d):
    """A convolution that sees only pixels before the current one in raster order (type A) or up to it (type B).

    van den Oord, Kalchbrenner, Kavukcuoglu: Pixel Recurrent Neural Networks, 2016, section 3.4.
    """

    mask: Tensor

    def __init__(self, mask: Literal["A", "B"], inputs: int, outputs: int, kernel: int) -> None:
        super().__init__(inputs, outputs, kernel, padding=kernel // 2)
        ones = torch.zeros(kernel, kernel)
        ones[: kernel // 2] = 1
        ones[kernel // 2, : kernel // 2 + (mask == "B")] = 1
        self.register_buffer("mask", ones, persistent=False)

    def forward(self, image: Tensor) -> Tensor:
        """float32[batch, inputs, height, width] -> float32[batch, outputs, height, width]."""
        return functional.conv2d(image, self.weight * self.mask, self.bias, padding=self.padding)


def gate(features: Tensor) -> Tensor:
    """Tanh of one half of the channels times sigmoid of the other."""
    signal, opening = features.chunk(2, dim=1)
    return torch.tanh(signal) * torch.sigmoid(opening)


class ResidualBlock(nn.Module):
    """Residual block: 1x1 to half the channels, masked k x k, 1x1 back.

    Plain: figure 5 of van den Oord et al., 2016, ReLU before each convolution. Gated: tanh(a) * sigmoid(b), the
    activation of van den Oord et al., Conditional Image Generation with PixelCNN Decoders, 2016, section 2.3.
    """

    def __init__(self, config: PixelCNNConfig) -> None:
        super().__init__()
        half = config.channels // 2
        self.gated = config.gated
        self.reduce = nn.Conv2d(config.channels, half, 1)
        self.masked = MaskedConv2d("B", half, config.condition_width, config.kernel)
        self.expand = nn.Conv2d(half, config.channels, 1)

    def forward(self, features: Tensor, condition: Tensor) -> Tensor:
        """Features [batch, channels, h, w] and condition [batch, condition_width, 1, 1] -> [batch, channels, h, w]."""
        inner = self.reduce(features if self.gated else functional.relu(features))
        inner = self.masked(inner if self.gated else functional.relu(inner)) + condition
        return features + self.expand(gate(inner) if self.gated else functional.relu(inner))


class PixelCNN(ConditionalNet):
    """A single stack: a type A 7x7 convolution, residual blocks, the head."""

    def __init__(self, config: PixelCNNConfig) -> None:
        super().__init__(config, features=config.channels, biases=[config.condition_width] * config.blocks)
        self.input = MaskedConv2d("A", config.planes, config.channels, _FIRST_KERNEL)
        self.add_blocks(config, ResidualBlock)

    def forward(self, planes: Tensor, conditions: Tensor) -> Tensor:
        """As of `PictureNet`."""
        features = self.input(planes)
        features = features + self.rows.T[:, :, None] + self.columns.T[:, None, :]
        for block, bias in zip(self.blocks, self.split_condition(conditions), strict=True):
            features = block(features, bias)
        return self.logits(features)


class CausalConv2d(nn.Conv2d):
    """A convolution over the places up to `above` rows above and `left` columns left to `right` columns right.

    shift: how far up (rows, columns to the left) the whole window is moved, to leave the place itself out.
    """

    def __init__(
        self, inputs: int, outputs: int, *, above: int, left: int, right: int = 0, shift: tuple[int, int] = (0, 0)
    ) -> None:
        super().__init__(inputs, outputs, (above + 1 - shift[0], left + right + 1 - shift[1]))
        self.margins = (left, right - shift[1], above, -shift[0])

    def forward(self, image: Tensor) -> Tensor:
        """float32[batch, inputs, height, width] -> float32[batch, outputs, height, width]."""
        return super().forward(functional.pad(image, self.margins))


class TwoStackBlock(nn.Module):
    """Figure 2 of van den Oord et al., Conditional Image Generation with PixelCNN Decoders, 2016."""

    def __init__(self, config: PixelCNNConfig) -> None:
        super().__init__()
        channels, reach = config.channels, config.kernel // 2
        self.vertical = CausalConv2d(channels, 2 * channels, above=reach, left=reach, right=reach)
        self.horizontal = CausalConv2d(channels, 2 * channels, above=0, left=reach)
        self.link = nn.Conv2d(2 * channels, 2 * channels, 1)
        self.expand = nn.Conv2d(channels, channels, 1)

    def forward(self, vertical: Tensor, horizontal: Tensor, condition: Tensor) -> tuple[Tensor, Tensor]:
        """Both stacks [batch, channels, h, w] and condition [batch, 4 * channels, 1, 1] -> both stacks."""
        for_vertical, for_horizontal = condition.chunk(2, dim=1)
        above = self.vertical(vertical)
        beside = self.horizontal(horizontal) + self.link(above) + for_horizontal
        return gate(above + for_vertical), horizontal + self.expand(gate(beside))


class TwoStackPixelCNN(ConditionalNet):
    """A vertical and a horizontal stack: 7x7 first layers, two-stack blocks, the head."""

    def __init__(self, config: PixelCNNConfig) -> None:
        channels, reach = config.channels, _FIRST_KERNEL // 2
        # a condition adds to both first layers, to each block, and before and inside the head
        biases = [2 * channels, *[config.condition_width] * config.blocks, channels, config.head]
        super().__init__(config, features=2 * channels, biases=biases)
        self.above = CausalConv2d(config.planes, channels, above=reach, left=reach, right=reach, shift=(1, 0))
        self.beside = CausalConv2d(config.planes, channels, above=0, left=reach, shift=(0, 1))
        self.add_blocks(config, TwoStackBlock)

    def forward(self, planes: Tensor, conditions: Tensor) -> Tensor:
        """As of `PictureNet`."""
        rows, columns = self.rows.T[:, :, None].chunk(2), self.columns.T[:, None, :].chunk(2)
        first, *biases, before, inside = self.split_condition(conditions)
        for_vertical, for_horizontal = first.chunk(2, dim=1)
        vertical = self.above(planes) + rows[0] + columns[0] + for_vertical
        horizontal = self.beside(planes) + rows[1] + columns[1] + for_horizontal
        for block, bias in zip(self.blocks, biases, strict=True):
            vertical, horizontal = block(vertical, horizontal, bias)
        return self.logits(horizontal + before, inside)


@dataclass(frozen=True)
class BookConfig(ImageConfig):
    """Sizes of the book's network, which takes no condition."""

    filters: int = 128
    blocks: int = 5

    @property
    def label(self) -> str:
        """What the model card calls the architecture, such as `PixelCNN 5x128`."""
        return f"PixelCNN {self.blocks}x{self.filters}"


class BookBlock(nn.Module):
    """A residual block: 1x1 to half the filters, masked 3x3, 1x1 back, a ReLU after each."""

    def __init__(self, filters: int) -> None:
        super().__init__()
        self.reduce = nn.Conv2d(filters, filters // 2, 1)
        self.masked = MaskedConv2d("B", filters // 2, filters // 2, 3)
        self.expand = nn.Conv2d(filters // 2, filters, 1)

    def forward(self, features: Tensor) -> Tensor:
        """float32[batch, filters, height, width] -> the same."""
        inner = functional.relu(self.reduce(features))
        inner = functional.relu(self.masked(inner))
        return features + functional.relu(self.expand(inner))


class BookPixelCNN(PictureNet):
    """Masked 7x7 of type A, residual blocks, two masked 1x1 of type B, each with a ReLU, and the levels' logits.

    It reads level / levels, knows nothing of positions, and takes no condition.
    """

    def __init__(self, config: BookConfig) -> None:
        filters, levels = config.filters, config.levels
        super().__init__(config, torch.arange(levels)[:, None] / levels)
        self.input = MaskedConv2d("A", 1, filters, 7)
        self.blocks = nn.ModuleList(BookBlock(filters) for _ in range(config.blocks))
        self.heads = nn.ModuleList(MaskedConv2d("B", filters, filters, 1) for _ in range(2))
        self.output = nn.Conv2d(filters, levels, 1)
        for module in self.modules():  # as Keras does, with which the book's figures were reached
            if isinstance(module, nn.Conv2d):
                nn.init.xavier_uniform_(module.weight)
                nn.init.zeros_(module.bias)  # type: ignore[arg-type]

    def forward(self, planes: Tensor, conditions: Tensor) -> Tensor:
        """As of `PictureNet`; conditions: [batch, 0]."""
        del conditions
        features = functional.relu(self.input(planes))
        for block in self.blocks:
            features = block(features)
        for head in self.heads:
            features = functional.relu(head(features))
        logits: Tensor = self.output(features)
        return logits


TrainedNet = RecurrentNet | PictureNet
NetworkConfig = RecurrentConfig | PixelCNNConfig | BookConfig


def build_network(config: NetworkConfig) -> TrainedNet:
    """A network with fresh weights."""
    if isinstance(config, RecurrentConfig):
        return RecurrentNet(config)
    if isinstance(config, BookConfig):
        return BookPixelCNN(config)
    return TwoStackPixelCNN(config) if config.stacks == 2 else PixelCNN(config)
