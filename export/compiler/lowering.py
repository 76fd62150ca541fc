"""Lowers a trace to nodes: tensors of the image become Symbols, those of the condition entries of a table."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils._pytree import tree_map

from ..image_network import ImageNetwork
from .ir import (
    BATCH,
    ConditionSlice,
    Dimension,
    NotStreamableError,
    Operand,
    PlaceTable,
    Symbol,
    TensorNode,
    constant_operand,
    features_of,
    fresh,
)
from .trace import Call, Handle, Trace, as_tuple

LINEAR = 1e-4
"""How far from linear in its phrases a condition may be, relative to what it contributes."""
Handler = Callable[["Lowering", Call], Any]
"""Returns the Symbol of the call's result, or a list of them when it has several."""


def lower(network: ImageNetwork, trace: Trace, handlers: dict[str, Handler]) -> tuple[TensorNode, NDArray[np.float32]]:
    """The network's logits as a node, [levels] or [channels, levels], and what conditions contribute.

    The second is float32[conditions, width]. Raises NotStreamableError that names the module in the way.
    """
    lowering = Lowering(network, trace)
    output = lowering.run(trace, handlers)
    places: list[Dimension] = [("h",), ("w",)]
    levels: list[Dimension] = [(network.levels,), (network.channels,)] if network.channels > 1 else [(network.levels,)]
    if list(output.dimensions) != [("b",), *levels, *places]:
        raise NotStreamableError(f"its output {list(output.shape)} is not [batch, levels, height, width]")
    if (output.height, output.width) != (network.height, network.width):
        raise NotStreamableError("its output has another size than its image")
    perm = [0, 2, 1] if network.channels > 1 else [0, 1]
    node = TensorNode("Transpose", features_of(levels[::-1]), (output.read(),), {"perm": perm}, "output")
    return node, lowering.conditions.table()


class Lowering:
    """The tensors of a trace that depend on the image, as Symbols; handlers add to them call by call."""

    def __init__(self, network: ImageNetwork, trace: Trace) -> None:
        self.conditions = ConditionTable(network, trace)
        self._names, self._module = trace.names, ""
        planes = int(network.encoding.shape[2])
        dimensions: list[Dimension] = [("b",), (planes,), ("h",), ("w",)]
        image = fresh(TensorNode("Image", (planes,), name="image"), dimensions, network.height, network.width)
        self._symbols = {trace.image: image}

    def run(self, trace: Trace, handlers: dict[str, Handler]) -> Symbol:
        """Goes through the calls; returns the output."""
        for call in trace.calls:
            if any(result and result.of_image for result in call.results):
                self._lower(call, handlers)
        return self._symbols[trace.output]

    def _lower(self, call: Call, handlers: dict[str, Handler]) -> None:
        self._module = call.module
        module = call.module or "the network"
        handler = handlers.get(call.name)
        if handler is None:
            raise NotStreamableError(f"{module} uses {call.name}, which looks at the image as a whole")
        try:
            symbols = handler(self, call)
        except NotStreamableError as error:
            raise NotStreamableError(f"{module}: {error}") from None
        for result, symbol in zip(call.results, as_tuple(symbols), strict=False):
            if result is not None:
                self._symbols[result] = symbol

    def symbol(self, value: Any) -> Symbol:
        """The Symbol of an argument that must depend on the image."""
        if not isinstance(value, Handle) or value not in self._symbols:
            raise NotStreamableError("an operation whose first operand does not depend on the image")
        return self._symbols[value]

    def is_symbol(self, value: Any) -> bool:
        """Whether an argument depends on the image."""
        return isinstance(value, Handle) and value.of_image

    def operand(self, value: Any, like: Symbol, dimensions: Sequence[Dimension]) -> Operand:
        """An argument as a node reads it: a tensor of the image, one of the condition, or a constant."""
        if self.is_symbol(value):
            symbol = self.symbol(value)
            if len(symbol.dimensions) != len(dimensions) or (symbol.height, symbol.width) != (like.height, like.width):
                raise NotStreamableError("operands of different shapes")
            return symbol.read()
        if isinstance(value, Handle):
            return self.conditions.operand(value, like, dimensions)
        constant = constant_operand(value, like, dimensions)
        return replace(constant, name=self._names.get(id(value), "")) if isinstance(constant, PlaceTable) else constant

    def make(
        self, operation: str, like: Symbol, dimensions: Sequence[Dimension], *operands: Operand, **attributes: Any
    ) -> Symbol:
        """The tensor [dimensions] that an operation makes of its operands, on the places of `like`."""
        node = TensorNode(operation, features_of(dimensions), operands, attributes, self._module)
        return fresh(node, dimensions, like.height, like.width)

    def broadcast(self, values: Sequence[Any], shape: Sequence[int]) -> tuple[Symbol, list[Dimension]]:
        """What the dimensions of an elementwise operation's result are, and a Symbol with its places."""
        symbols = [self.symbol(value) for value in values if self.is_symbol(value)]
        like = max(symbols, key=lambda symbol: len(symbol.dimensions))
        dimensions: list[Dimension] = []
        for index, size in enumerate(shape):
            kinds = {_places(symbol.dimension(index)) for symbol in symbols if len(symbol.dimensions) == len(shape)}
            if len(kinds) != 1:
                raise NotStreamableError("operands whose dimensions mean different things")
            dimensions.append(like.dimension(index) if kinds.pop() else (size,))
        return like, dimensions


def _places(dimension: Dimension) -> Dimension:
    return dimension if any(isinstance(axis, str) for axis in dimension) else ()


class ConditionTable:
    """Runs the operations that depend on the condition alone, once per class or phrase."""

    def __init__(self, network: ImageNetwork, trace: Trace) -> None:
        self._kind, self._columns, self._width = network.condition, list[NDArray[np.float32]](), 0
        self._values: list[dict[Handle, Tensor]] = []
        self._operands: dict[tuple[Handle, tuple[Dimension, ...]], ConditionSlice | NDArray[np.float32]] = {}
        if trace.condition is not None:
            calls = [call for call in trace.calls if not any(result and result.of_image for result in call.results)]
            self._values = [_replay(calls, trace.condition, condition) for condition in _conditions(network)]

    def operand(
        self, handle: Handle, like: Symbol, dimensions: Sequence[Dimension]
    ) -> ConditionSlice | NDArray[np.float32]:
        """A tensor of the condition as it is combined with a tensor of these dimensions; a constant without choices."""
        key = (handle, tuple(dimensions))
        if key not in self._operands:
            self._operands[key] = self._operand(handle, like, dimensions)
        return self._operands[key]

    def _operand(
        self, handle: Handle, like: Symbol, dimensions: Sequence[Dimension]
    ) -> ConditionSlice | NDArray[np.float32]:
        operands = [constant_operand(_at_one_place(v[handle], dimensions), like, dimensions) for v in self._values]
        if any(isinstance(operand, PlaceTable) for operand in operands):
            raise NotStreamableError("the condition says something else at every place of the image")
        rows = np.stack([np.asarray(operand, dtype=np.float32) for operand in operands])
        features, flat = rows.shape[1:], rows.reshape(len(rows), -1)
        base = np.zeros(flat.shape[1], dtype=np.float32)
        if self._kind == "multi_hot":
            base, flat = flat[0], _contributions(flat)
        if not len(flat):
            return base.reshape(features)
        self._columns.append(flat)
        first, self._width = self._width, self._width + flat.shape[1]
        return ConditionSlice(first, tuple(features), base)

    def table(self) -> NDArray[np.float32]:
        """float32[conditions, width]: what each condition puts into the state."""
        return np.concatenate(self._columns, axis=1) if self._columns else np.zeros((0, 0), dtype=np.float32)


def _conditions(network: ImageNetwork) -> list[Tensor]:
    """Conditions to run: every class; or no phrase, each phrase alone, and all together."""
    count = network.conditions
    if network.condition == "class":
        return [torch.full((BATCH,), index) for index in range(count)]
    rows = [torch.zeros(count), *torch.eye(count), torch.ones(count)]
    return [row.expand(BATCH, count).contiguous() for row in rows]


def _replay(calls: Sequence[Call], condition: Handle, value: Tensor) -> dict[Handle, Tensor]:
    values: dict[Handle, Tensor] = {condition: value}

    def argument(original: Any) -> Any:
        if isinstance(original, Tensor):
            return original.clone()  # what one class writes must not be there for the next
        return values[original] if isinstance(original, Handle) else original

    with torch.no_grad():
        for call in calls:
            result = call.function(*tree_map(argument, call.arguments), **tree_map(argument, call.options))
            pairs = zip(call.results, as_tuple(result), strict=True)
            values.update((handle, tensor) for handle, tensor in pairs if handle is not None)
    return values


def _at_one_place(value: Tensor, dimensions: Sequence[Dimension]) -> Tensor:
    """What says the same at every place, such as a class spread over the image, at one place only."""
    for back, dimension in enumerate(reversed(dimensions), 1):
        if back <= value.ndim and dimension in (("h",), ("w",)):
            one = value.narrow(-back, 0, 1)
            value = one if torch.equal(value, one.expand_as(value)) else value
    return value


def _contributions(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    """What each phrase adds to nothing. Raises NotStreamableError if phrases do more than add up."""
    alone = rows[1:-1] - rows[0]
    error = np.abs(rows[-1] - rows[0] - alone.sum(axis=0))
    if (error > LINEAR * (1 + np.abs(alone).sum(axis=0))).any():
        raise NotStreamableError("several conditions at once do more than add up")
    return alone
