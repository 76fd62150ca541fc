"""The states of recurrent layers in a step graph: batch first outside, one layer at a time inside."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from export.graph import StepGraph, to_numpy
from export.text.parts import Layer


class States:
    """h and c of all layers: one [batch, layers, width] each, or, where widths differ, one [batch, width] a layer.

    Every state starts as zeros, so that of a layer with a learned start is kept as its difference from it.
    """

    def __init__(self, graph: StepGraph, layers: Sequence[Layer]) -> None:
        self._graph, self._layers = graph, layers
        self._before: dict[tuple[int, str], str] = {}
        self._after: dict[tuple[int, str], str] = {}
        self._groups = {name: group for state in ("h", "c") for name, group in self._grouped(state).items()}
        for name, group in self._groups.items():
            self._declare(name, group)

    def before(self, layer: int) -> list[str]:
        """A layer's states before the token, each [1, batch, width], as ONNX's operators want them."""
        return [self._before[layer, state] for state in self._layers[layer].states()]

    def keep(self, layer: int, results: Sequence[str]) -> None:
        """A layer's states after the token, each [1, batch, width]."""
        for state, result in zip(self._layers[layer].states(), results, strict=True):
            self._after[layer, state] = result

    def finish(self) -> None:
        """Names the results; call after the logits are named."""
        for name, group in self._groups.items():
            self._next(name, group)

    def _grouped(self, state: str) -> dict[str, list[tuple[int, str]]]:
        """The tensors that carry a state, by name: (layer, state) of each row."""
        holders = [index for index, layer in enumerate(self._layers) if state in layer.states()]
        widths = {self._layers[index].states()[state] for index in holders}
        if len(widths) == 1:
            return {state: [(index, state) for index in holders]}
        return {f"{state}.{index}": [(index, state)] for index in holders}

    def _stacked(self, name: str) -> bool:
        return "." not in name

    def _declare(self, name: str, group: list[tuple[int, str]]) -> None:
        graph, width = self._graph, self._layers[group[0][0]].states()[group[0][1]]
        if self._stacked(name):
            value = graph.op("Transpose", graph.state(name, len(group), width), perm=[1, 0, 2])
        else:
            value = graph.op("Unsqueeze", graph.state(name, width), graph.ints(0))
        start = self._start(name, group, width)
        value = graph.op("Add", value, start) if start else value
        count = len(group)
        rows = [value] if count == 1 else graph.op("Split", value, outputs=count, axis=0, num_outputs=count)
        self._before.update(zip(group, rows, strict=True))

    def _next(self, name: str, group: list[tuple[int, str]]) -> None:
        graph, rows = self._graph, [self._after[key] for key in group]
        value = rows[0] if len(rows) == 1 else graph.op("Concat", *rows, axis=0)
        start = f"start.{name}"
        if any(self._layers[layer].start(state) is not None for layer, state in group):
            value = graph.op("Sub", value, start)
        if self._stacked(name):
            graph.next(name, graph.op("Transpose", value, perm=[1, 0, 2]))
        else:
            graph.next(name, graph.op("Squeeze", value, graph.ints(0)))

    def _start(self, name: str, group: list[tuple[int, str]], width: int) -> str:
        """The constant [layers, 1, width] of the learned starts; empty if there are none."""
        starts = [self._layers[layer].start(state) for layer, state in group]
        if all(start is None for start in starts):
            return ""
        rows = [np.zeros(width, np.float32) if start is None else to_numpy(start) for start in starts]
        return self._graph.constant(f"start.{name}", np.stack(rows)[:, None])
