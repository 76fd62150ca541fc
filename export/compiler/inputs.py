"""What a token does to a step: it moves the position, adds to the condition, and becomes a column of the image."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from onnx import TensorProto

from export.compiler.slots import Positions
from export.graph import StepGraph
from export.images.network import ImageNetwork


class StepInputs:
    """The first part of every step's graph."""

    def __init__(self, graph: StepGraph, network: ImageNetwork, positions: Positions) -> None:
        self._graph, self._network, self._positions = graph, network, positions
        self._tokens = network.warm_up + 1
        self._before = graph.state("position", dtype=TensorProto.INT64)
        self.position = self._moved()
        """Name of int64[batch]: how many steps of the image are made, warm-up included."""
        self._channel = ""
        if network.channels > 1:
            self._channel = graph.op("Mod", self.position, graph.ints(network.channels))

    def _moved(self) -> str:
        advance = np.ones(self._tokens, dtype=np.int64)
        advance[self._network.start : self._network.warm_up] = 0
        advance[self._network.warm_up] = self._network.channels
        steps = self._graph.op("Gather", self._graph.constant("advance", advance), "token")
        last = self._graph.ints(self._positions.count - 1)
        return str(self._graph.op("Min", self._graph.op("Add", self._before, steps), last))

    @property
    def channel(self) -> str:
        """Name of int64[batch]: which channel of its pixel comes next."""
        return self._channel

    def new_pixel(self) -> str:
        """Name of bool[batch, 1, 1]: whether the pixel before is complete."""
        first = self._graph.op("Equal", self._channel, self._graph.ints(0))
        return str(self._graph.op("Reshape", first, self._graph.ints(-1, 1, 1)))

    def column(self) -> str:
        """Name of float32[batch, planes]: what the network sees of the token; prefix tokens are nothing to it."""
        network, graph = self._network, self._graph
        channels, levels, planes = network.encoding.shape
        table = np.zeros((channels, self._tokens, planes), dtype=np.float32)
        table[:, :levels] = network.encoding.numpy()
        encoding = graph.constant("encoding", table.reshape(-1, planes))
        if channels == 1:
            return str(graph.op("Gather", encoding, "token"))
        own = graph.op("Mod", self._before, graph.ints(channels))
        row = graph.op("Add", graph.op("Mul", own, graph.ints(self._tokens)), "token")
        return str(graph.op("Gather", encoding, row))

    def condition(self, contributions: NDArray[np.float32]) -> str:
        """Name of float32[batch, width]: the condition's numbers. contributions: float32[conditions, width].

        Phrases add up. Of classes the last one named counts, and the start token names the first.
        """
        network, graph = self._network, self._graph
        table = np.zeros((self._tokens, contributions.shape[1]), dtype=np.float32)
        table[network.start + 1 : network.warm_up] = contributions
        before = graph.state("condition", contributions.shape[1])
        if network.condition == "class":
            table[network.start] = contributions[0]
            keep = np.ones((self._tokens, 1), dtype=np.float32)
            keep[network.start : network.warm_up] = 0
            before = graph.op("Mul", before, graph.op("Gather", graph.constant("condition.keep", keep), "token"))
        return str(graph.op("Add", before, graph.op("Gather", graph.constant("condition", table), "token")))
