"""PixelCNN: an image as a product of conditional distributions, one pixel after another in raster order."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

FIRST_REACH = 3
"""Rows above, and columns to either side, that the first layer sees."""
Cell = Literal["rnn", "lstm", "gru"]
CELLS: dict[str, type[nn.RNN] | type[nn.LSTM] | type[nn.GRU]] = {"rnn": nn.RNN, "lstm": nn.LSTM, "gru": nn.GRU}
Hidden = tuple[Tensor, ...]
"""(h,) or, for an LSTM, (h, c); each float32[layers, batch, hidden], as PyTorch has it."""


@dataclass(frozen=True)
class PixelCNNConfig:
    """Sizes of a PixelCNN. Token ids: pixel levels, then `start`, then the conditions."""

    height: int
    width: int
    levels: int
    """Grey levels or palette entries that a pixel can have."""
    channels: int = 64
    blocks: int = 6
    kernel: int = 3
    """Side of the square type-B kernels; odd."""
    gated: bool = True
    one_hot: bool = True
    """One input plane per level (a palette has no order); otherwise one plane of level / (levels - 1)."""
    conditions: int = 0
    """Classes or phrases that a prompt can name."""
    head: int = 64
    stacks: int = 1
    """1: square masked kernels, with a blind spot to the upper right; 2: a vertical and a horizontal stack, without."""

    @property
    def start(self) -> int:
        """The token before the first pixel; it carries no condition."""
        return self.levels

    @property
    def vocab_size(self) -> int:
        """Tokens that the network can read; it predicts the first `levels` of them."""
        return self.levels + 1 + self.conditions

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


class MaskedConv2d(nn.Conv2d):
    """A convolution that sees only pixels before the current one in raster order (type A) or up to it (type B).

    van den Oord, Kalchbrenner, Kavukcuoglu: Pixel Recurrent Neural Networks, 2016, section 3.4.
    """

    mask: Tensor

    def __init__(self, mask: Literal["A", "B"], inputs: int, outputs: int, kernel: int) -> None:
        super().__init__(inputs, outputs, kernel, padding=kernel // 2)
        seen = torch.zeros(kernel, kernel)
        seen[: kernel // 2] = 1
        seen[kernel // 2, : kernel // 2 + (mask == "B")] = 1
        self.register_buffer("mask", seen, persistent=False)

    def forward(self, image: Tensor) -> Tensor:
        """float32[batch, inputs, height, width] -> float32[batch, outputs, height, width]."""
        return functional.conv2d(image, self.weight * self.mask, self.bias, padding=self.padding)


class Block(nn.Module):
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
        return features + self.expand(self.activate(inner))

    def activate(self, inner: Tensor) -> Tensor:
        """Gate or ReLU; either way half the channels come out."""
        if not self.gated:
            return functional.relu(inner)
        signal, gate = inner.chunk(2, dim=1)
        return torch.tanh(signal) * torch.sigmoid(gate)


def level_encoding(config: PixelCNNConfig) -> Tensor:
    """float32[levels, planes]: what the first convolution sees of each level."""
    levels = config.levels
    pixels = torch.eye(levels) if config.one_hot else torch.linspace(0, 1, levels)[:, None]
    return torch.cat([pixels, torch.ones(levels, 1)], dim=1)


class PixelCNN(nn.Module):
    """Type A 7x7 convolution, residual blocks, two 1x1 layers; learned row, column and condition biases."""

    encoding: Tensor

    def __init__(self, config: PixelCNNConfig) -> None:
        super().__init__()
        self.config = config
        self.input = MaskedConv2d("A", config.planes, config.channels, 7)
        self.rows = nn.Parameter(torch.zeros(config.height, config.channels))
        self.columns = nn.Parameter(torch.zeros(config.width, config.channels))
        self.condition = nn.Parameter(torch.zeros(config.conditions, config.blocks * config.condition_width))
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.blocks))
        self.head = nn.Conv2d(config.channels, config.head, 1)
        self.output = nn.Conv2d(config.head, config.levels, 1)
        self.register_buffer("encoding", level_encoding(config), persistent=False)

    def encode(self, pixels: Tensor) -> Tensor:
        """int64[batch, h, w] -> float32[batch, planes, h, w]: what the first convolution sees."""
        return functional.embedding(pixels, self.encoding).permute(0, 3, 1, 2)

    def forward(self, planes: Tensor, conditions: Tensor) -> Tensor:
        """Logits of every pixel given those before it.

        planes: float32[batch, planes, height, width], of `encode`. conditions: float32[batch, conditions], 1 where a
        condition holds. Returns float32[batch, levels, height, width].
        """
        features = self.input(planes)
        features = features + self.rows.T[:, :, None] + self.columns.T[:, None, :]
        biases = (conditions @ self.condition)[:, :, None, None].chunk(self.config.blocks, dim=1)
        for block, bias in zip(self.blocks, biases, strict=True):
            features = block(features, bias)
        return self.output(functional.relu(self.head(functional.relu(features))))


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


def gate(features: Tensor) -> Tensor:
    """Tanh of one half of the channels times sigmoid of the other."""
    signal, opening = features.chunk(2, dim=1)
    return torch.tanh(signal) * torch.sigmoid(opening)


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


class TwoStackPixelCNN(nn.Module):
    """Two-stack blocks between 7x7 first layers and two 1x1 layers; learned row, column and condition biases."""

    encoding: Tensor

    def __init__(self, config: PixelCNNConfig) -> None:
        super().__init__()
        self.config = config
        reach, size = FIRST_REACH, (config.planes, config.channels)
        self.above = CausalConv2d(*size, above=reach, left=reach, right=reach, shift=(1, 0))
        self.beside = CausalConv2d(*size, above=0, left=reach, shift=(0, 1))
        self.rows = nn.Parameter(torch.zeros(config.height, 2 * config.channels))
        self.columns = nn.Parameter(torch.zeros(config.width, 2 * config.channels))
        widths = [2 * config.channels, *[config.condition_width] * config.blocks, config.channels, config.head]
        self.widths = widths
        """What a condition adds: to both first layers, to each block, and before and inside the two last layers."""
        self.condition = nn.Parameter(torch.zeros(config.conditions, sum(widths)))
        self.blocks = nn.ModuleList(TwoStackBlock(config) for _ in range(config.blocks))
        self.head = nn.Conv2d(config.channels, config.head, 1)
        self.output = nn.Conv2d(config.head, config.levels, 1)
        self.register_buffer("encoding", level_encoding(config), persistent=False)

    def encode(self, pixels: Tensor) -> Tensor:
        """int64[batch, h, w] -> float32[batch, planes, h, w]: what the first layers see."""
        return functional.embedding(pixels, self.encoding).permute(0, 3, 1, 2)

    def forward(self, planes: Tensor, conditions: Tensor) -> Tensor:
        """Logits of every pixel given those before it.

        planes: float32[batch, planes, height, width], of `encode`. conditions: float32[batch, conditions], 1 where a
        condition holds. Returns float32[batch, levels, height, width].
        """
        rows, columns = self.rows.T[:, :, None].chunk(2), self.columns.T[:, None, :].chunk(2)
        added = (conditions @ self.condition)[:, :, None, None]
        first, *biases, before, inside = torch.split(added, self.widths, dim=1)
        for_vertical, for_horizontal = first.chunk(2, dim=1)
        vertical = self.above(planes) + rows[0] + columns[0] + for_vertical
        horizontal = self.beside(planes) + rows[1] + columns[1] + for_horizontal
        for block, bias in zip(self.blocks, biases, strict=True):
            vertical, horizontal = block(vertical, horizontal, bias)
        hidden = self.head(functional.relu(horizontal + before)) + inside
        return self.output(functional.relu(hidden))


@dataclass(frozen=True)
class BookConfig:
    """Sizes of the book's network. Token ids: pixel levels, then `start`; it takes no condition."""

    height: int
    width: int
    levels: int
    filters: int = 128
    blocks: int = 5

    @property
    def conditions(self) -> int:
        """None."""
        return 0

    @property
    def start(self) -> int:
        """The token before the first pixel."""
        return self.levels

    @property
    def vocab_size(self) -> int:
        """Tokens that the network can read; it predicts the first `levels` of them."""
        return self.levels + 1

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


class BookPixelCNN(nn.Module):
    """Masked 7x7 of type A, residual blocks, two masked 1x1 of type B, each with a ReLU, and the levels' logits.

    It reads level / levels, knows nothing of positions, and takes no condition.
    """

    encoding: Tensor

    def __init__(self, config: BookConfig) -> None:
        super().__init__()
        self.config = config
        filters, levels = config.filters, config.levels
        self.input = MaskedConv2d("A", 1, filters, 7)
        self.blocks = nn.ModuleList(BookBlock(filters) for _ in range(config.blocks))
        self.heads = nn.ModuleList(MaskedConv2d("B", filters, filters, 1) for _ in range(2))
        self.output = nn.Conv2d(filters, levels, 1)
        self.register_buffer("encoding", torch.arange(levels)[:, None] / levels, persistent=False)
        for module in self.modules():  # as Keras does, with which the book's figures were reached
            if isinstance(module, nn.Conv2d):
                nn.init.xavier_uniform_(module.weight)
                nn.init.zeros_(module.bias)  # type: ignore[arg-type]

    def encode(self, pixels: Tensor) -> Tensor:
        """int64[batch, h, w] -> float32[batch, 1, h, w]: what the first convolution sees."""
        return functional.embedding(pixels, self.encoding).permute(0, 3, 1, 2)

    def forward(self, planes: Tensor, conditions: Tensor) -> Tensor:
        """Logits float32[batch, levels, height, width] of every pixel given those before it.

        planes: float32[batch, 1, height, width], of `encode`. conditions: [batch, 0].
        """
        del conditions
        features = functional.relu(self.input(planes))
        for block in self.blocks:
            features = block(features)
        for head in self.heads:
            features = functional.relu(head(features))
        logits: Tensor = self.output(features)
        return logits


@dataclass(frozen=True)
class RecurrentConfig:
    """Sizes of a recurrent language model."""

    cell: Cell
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

    def forward(self, tokens: Tensor, hidden: Hidden | None = None) -> tuple[Tensor, Hidden]:
        """Reads int64[batch, time]; returns logits float32[batch, time, vocab] and the hidden state after them."""
        before = None if hidden is None else hidden if self.config.cell == "lstm" else hidden[0]
        features, after = self.rnn(self.embedding(tokens), before)
        return self.output(self.dropout(features)), after if isinstance(after, tuple) else (after,)

    @torch.no_grad()
    def sequence_logits(self, tokens: Tensor) -> Tensor:
        """Logits after every token of int64[batch, time], from a zero state: float32[batch, time, vocab]."""
        return self(tokens)[0]


PictureNet = PixelCNN | TwoStackPixelCNN | BookPixelCNN


TrainedNet = RecurrentNet | PictureNet


NetworkConfig = RecurrentConfig | PixelCNNConfig | BookConfig
