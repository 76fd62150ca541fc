"""PixelCNN as a step function: the streaming form, one pixel at a time, equal to the pass over the whole image."""

from __future__ import annotations

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto
from torch import nn

from export.graph import StepGraph, to_numpy
from export.pixelcnn import Block, MaskedConv2d, PixelCNN


def pixelcnn_step(net: PixelCNN) -> onnx.ModelProto:
    """Every masked convolution keeps the few columns of its input that later pixels look at.

    A pixel then costs one small matrix product per convolution. State: `position`, how many pixels are drawn;
    `condition`, the sum of what the prefix tokens contribute; `columns.*`, for every masked convolution the last
    columns of its input before the current pixel, oldest first. Prefix tokens push columns too; they lie before the
    image, where no tap looks.
    """
    return _PixelStep(net).build()


class _PixelStep:
    def __init__(self, net: PixelCNN) -> None:
        self.net, self.config, self.graph = net, net.config, StepGraph()
        self.is_pixel = self.graph.op("Less", "token", self.graph.ints(self.config.levels))
        self.position = self._position()
        self.columns: dict[str, str] = {}
        self._zero_slots: dict[int, str] = {}
        self._slot_rows: dict[str, str] = {}

    def build(self) -> onnx.ModelProto:
        net, graph = self.net, self.graph
        condition, per_block = self._condition()
        encoded = graph.op("Gather", graph.constant("encoding", _encoding(net)), "token")
        value = self._place(self._masked("input", net.input, encoded))
        for number, block in enumerate(net.blocks):
            assert isinstance(block, Block)
            value = self._block(f"block.{number}", block, value, per_block[number] if per_block else None)
        hidden = self._pointwise("head", net.head, graph.op("Relu", value))
        graph.logits(self._pointwise("output", net.output, graph.op("Relu", hidden)), self.config.levels)
        self._declare_next(condition)
        return graph.model()

    def _position(self) -> str:
        """How many pixels are drawn: the raster position of the one to draw; at the end, of the last one."""
        drawn = self.graph.op("Cast", self.is_pixel, to=TensorProto.INT64)
        counted = self.graph.op("Add", self.graph.state("position", dtype=TensorProto.INT64), drawn)
        return str(self.graph.op("Min", counted, self.graph.ints(self.config.height * self.config.width - 1)))

    def _condition(self) -> tuple[str | None, list[str]]:
        """The running sum of the prefix tokens' contributions, and its part for each block."""
        config, graph = self.config, self.graph
        if not config.conditions:
            return None, []
        table = np.zeros((config.vocab_size, config.blocks * config.condition_width), dtype=np.float32)
        table[config.start + 1 :] = to_numpy(self.net.condition)
        added = graph.op("Gather", graph.constant("condition", table), "token")
        total = graph.op("Add", graph.state("condition", table.shape[1]), added)
        if config.blocks == 1:
            return total, [total]
        return total, graph.op("Split", total, outputs=config.blocks, axis=1, num_outputs=config.blocks)

    def _place(self, value: str) -> str:
        """Adds the learned biases of the pixel's row and column."""
        for axis, table in (("Div", self.net.rows), ("Mod", self.net.columns)):
            index = self.graph.op(axis, self.position, self.graph.ints(self.config.width))
            learned = self.graph.constant("rows" if axis == "Div" else "columns", to_numpy(table))
            value = self.graph.op("Add", value, self.graph.op("Gather", learned, index))
        return value

    def _block(self, name: str, block: Block, value: str, condition: str | None) -> str:
        graph, plain = self.graph, not self.config.gated
        inner = self._pointwise(f"{name}.reduce", block.reduce, graph.op("Relu", value) if plain else value)
        inner = self._masked(f"{name}.masked", block.masked, graph.op("Relu", inner) if plain else inner)
        if condition:
            inner = graph.op("Add", inner, condition)
        active = graph.op("Relu", inner) if plain else self._gate(inner)
        return str(graph.op("Add", value, self._pointwise(f"{name}.expand", block.expand, active)))

    def _gate(self, value: str) -> str:
        signal, gate = self.graph.op("Split", value, outputs=2, axis=1, num_outputs=2)
        return str(self.graph.op("Mul", self.graph.op("Tanh", signal), self.graph.op("Sigmoid", gate)))

    def _pointwise(self, name: str, layer: nn.Conv2d, value: str) -> str:
        return self.graph.linear(name, value, to_numpy(layer.weight)[:, :, 0, 0].T, to_numpy(layer.bias))

    def _masked(self, name: str, layer: MaskedConv2d, newest: str) -> str:
        """One pixel of a masked convolution: gathers its taps from the kept columns, then one matrix product.

        newest [batch, inputs]: the column that the mask sees last; the current pixel's, for type A the one before.
        """
        graph, channels = self.graph, layer.in_channels
        side = layer.mask.shape[0]
        taps = np.argwhere(to_numpy(layer.mask) > 0) - side // 2
        taps = taps[np.abs(taps[:, 1]) < self.config.width]  # the others are never inside the image
        offsets = taps @ np.array([self.config.width, 1])
        depth = int(np.ptp(offsets)) + 1
        kept = graph.state(f"columns.{name}", depth - 1, channels)
        window = graph.op("Concat", self._zeros(channels), kept, graph.op("Unsqueeze", newest, graph.ints(1)), axis=1)
        self.columns[f"columns.{name}"] = graph.op("Slice", window, graph.ints(2), graph.ints(depth + 1), graph.ints(1))
        seen = graph.op("GatherND", window, self._slots(side, taps, offsets), batch_dims=1)
        flat = graph.op("Reshape", seen, graph.ints(0, len(taps) * channels))
        weight = to_numpy(layer.weight).transpose(2, 3, 1, 0)[tuple((taps + side // 2).T)]
        return graph.linear(name, flat, weight.reshape(-1, layer.out_channels), to_numpy(layer.bias))

    def _zeros(self, channels: int) -> str:
        """[batch, 1, channels] of zeros: what a tap outside of the image reads."""
        if channels not in self._zero_slots:
            batch = self.graph.op("Shape", "token")
            shape = self.graph.op("Concat", batch, self.graph.ints(1, channels), axis=0)
            self._zero_slots[channels] = self.graph.op("ConstantOfShape", shape)
        return self._zero_slots[channels]

    def _slots(self, side: int, taps: NDArray[np.int64], offsets: NDArray[np.int64]) -> str:
        """Where in a window (zero slot, kept columns, newest) each tap of the current pixel lies: [batch, taps, 1].

        A constant table per kernel holds it for every position of the image, so borders cost nothing.
        """
        key = f"slots.{side}.{len(taps)}"
        if key not in self._slot_rows:
            height, width = self.config.height, self.config.width
            row, column = np.divmod(np.arange(height * width)[:, None], width)
            inside = (row + taps[:, 0] >= 0) & (column + taps[:, 1] >= 0) & (column + taps[:, 1] < width)
            table = np.where(inside, offsets - offsets.min() + 1, 0)
            constant = self.graph.constant(key, table[:, :, None].astype(np.int64))
            self._slot_rows[key] = self.graph.op("Gather", constant, self.position)
        return self._slot_rows[key]

    def _declare_next(self, condition: str | None) -> None:
        self.graph.next("position", self.position)
        if condition:
            self.graph.next("condition", condition)
        for name, value in self.columns.items():
            self.graph.next(name, value)


def _encoding(net: PixelCNN) -> NDArray[np.float32]:
    """[vocab, planes]: what the first convolution sees of each token; prefix tokens are nothing to it."""
    config = net.config
    table = np.zeros((config.vocab_size, config.planes), dtype=np.float32)
    pixels = np.eye(config.levels) if config.one_hot else np.linspace(0, 1, config.levels)[:, None]
    table[: config.levels, :-1] = pixels
    table[: config.levels, -1] = 1
    return table
