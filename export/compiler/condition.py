"""What a condition contributes: every number that depends on it alone, for each class or phrase, in one table."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils._pytree import tree_map

from export.compiler.faults import NotStreamableError
from export.compiler.nodes import Conditioned, Placed
from export.compiler.symbol import Dimension, Symbol, constant_operand
from export.compiler.trace import BATCH, Call, Trace, Traced
from export.images.network import ImageNetwork

LINEAR = 1e-4
"""How far from linear in its phrases a condition may be, relative to what it contributes."""


class ConditionTable:
    """Runs the operations that depend on the condition alone, once per class or phrase."""

    def __init__(self, network: ImageNetwork, trace: Trace) -> None:
        self._kind, self._columns, self._width = network.condition, list[NDArray[np.float32]](), 0
        self._values: list[dict[Traced, Tensor]] = []
        self._operands: dict[tuple[Traced, tuple[Dimension, ...]], Conditioned | NDArray[np.float32]] = {}
        if trace.condition is not None:
            calls = [call for call in trace.calls if not any(result and result.of_image for result in call.results)]
            self._values = [_replay(calls, trace.condition, probe) for probe in probes(network)]

    def operand(
        self, traced: Traced, like: Symbol, dimensions: Sequence[Dimension]
    ) -> Conditioned | NDArray[np.float32]:
        """A tensor of the condition as it is combined with a tensor of these dimensions; a constant without choices."""
        key = (traced, tuple(dimensions))
        if key not in self._operands:
            self._operands[key] = self._operand(traced, like, dimensions)
        return self._operands[key]

    def _operand(
        self, traced: Traced, like: Symbol, dimensions: Sequence[Dimension]
    ) -> Conditioned | NDArray[np.float32]:
        found = [constant_operand(_once(values[traced], dimensions), like, dimensions) for values in self._values]
        if any(isinstance(value, Placed) for value in found):
            raise NotStreamableError("the condition says something else at every place of the image")
        rows = np.stack([np.asarray(value, dtype=np.float32) for value in found])
        features, flat = rows.shape[1:], rows.reshape(len(rows), -1)
        base = np.zeros(flat.shape[1], dtype=np.float32)
        if self._kind == "multi_hot":
            base, flat = flat[0], _contributions(flat)
        if not len(flat):
            return base.reshape(features)
        self._columns.append(flat)
        first, self._width = self._width, self._width + flat.shape[1]
        return Conditioned(first, tuple(features), base)

    def table(self) -> NDArray[np.float32]:
        """float32[conditions, width]: what each condition puts into the state."""
        return np.concatenate(self._columns, axis=1) if self._columns else np.zeros((0, 0), dtype=np.float32)


def _once(value: Tensor, dimensions: Sequence[Dimension]) -> Tensor:
    """What says the same at every place, such as a class spread over the image, at one place only."""
    for back, dimension in enumerate(reversed(dimensions), 1):
        if back <= value.ndim and dimension in (("h",), ("w",)):
            one = value.narrow(-back, 0, 1)
            value = one if torch.equal(value, one.expand_as(value)) else value
    return value


def probes(network: ImageNetwork) -> list[Tensor]:
    """Conditions to run: every class; or no phrase, each phrase alone, and all together."""
    count = network.conditions
    if network.condition == "class":
        return [torch.full((BATCH,), index) for index in range(count)]
    rows = [torch.zeros(count), *torch.eye(count), torch.ones(count)]
    return [row.expand(BATCH, count).contiguous() for row in rows]


def _contributions(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    """What each phrase adds to nothing. Raises NotStreamableError if phrases do more than add up."""
    alone = rows[1:-1] - rows[0]
    error = np.abs(rows[-1] - rows[0] - alone.sum(axis=0))
    if (error > LINEAR * (1 + np.abs(alone).sum(axis=0))).any():
        raise NotStreamableError("several conditions at once do more than add up")
    return alone


def _replay(calls: Sequence[Call], condition: Traced, probe: Tensor) -> dict[Traced, Tensor]:
    values: dict[Traced, Tensor] = {condition: probe}

    def known(argument: Any) -> Any:
        if isinstance(argument, Tensor):
            return argument.clone()  # what one class writes must not be there for the next
        return values[argument] if isinstance(argument, Traced) else argument

    with torch.no_grad():
        for call in calls:
            result = call.function(*tree_map(known, call.arguments), **tree_map(known, call.options))
            results = result if isinstance(result, (tuple, list)) else (result,)
            values.update((t, r) for t, r in zip(call.results, results, strict=True) if t is not None)
    return values
