"""Writing nodes and constants of an ONNX graph, each under a name of its own."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tui_gen.onnx_graph import ELEMENTS, Node, int_attribute, tensor


class Writer:
    """Collects nodes and constants; names each result after its operation and a running number."""

    def __init__(self, prefix: str) -> None:
        """prefix: of all names, so that they meet no others of the graph."""
        self._prefix, self._count = prefix, 0
        self._nodes: list[Node] = []
        self._constants: dict[str, memoryview] = {}

    def op(self, kind: str, *inputs: str, **attributes: int) -> str:
        """Adds a node; returns the name of its output."""
        return self.ops(1, kind, *inputs, **attributes)[0]

    def ops(self, count: int, kind: str, *inputs: str, **attributes: int) -> list[str]:
        """Adds a node of so many outputs; returns their names."""
        self._count += 1
        made = [f"{self._prefix}{kind.lower()}_{self._count}_{at}" for at in range(count)]
        given = [int_attribute(name, value) for name, value in attributes.items()]
        self._nodes.append(Node(kind, list(inputs), made, given))
        return made

    def name(self, made: str, name: str) -> None:
        """Gives the output of the node that was added last another name."""
        last = self._nodes[-1]
        self._nodes[-1] = last._replace(outputs=[name if output == made else output for output in last.outputs])

    def cast(self, value: str, kind: str) -> str:
        """To another type of number, by NumPy's name."""
        return self.op("Cast", value, to=ELEMENTS[kind])

    def split(self, value: str, *sizes: int) -> list[str]:
        """Columns of [batch, sum of sizes]."""
        return self.ops(len(sizes), "Split", value, self.ints(*sizes), axis=1)

    def ints(self, *values: int) -> str:
        """A constant int64 vector; the same one may come again."""
        return self._constant("ints_" + "_".join(map(str, values)), np.array(values, dtype=np.int64))

    def scalar(self, value: int) -> str:
        """A constant int64."""
        return self._constant(f"int_{value}", np.array(value, dtype=np.int64))

    def weights(self, values: NDArray[Any]) -> str:
        """A constant of any kind."""
        return self._constant(f"weights_{len(self._constants)}", values)

    def taken(self) -> list[Node]:
        """The nodes since the last time."""
        made, self._nodes = self._nodes, []
        return made

    def constants(self) -> list[memoryview]:
        """All of them."""
        return list(self._constants.values())

    def _constant(self, name: str, values: NDArray[Any]) -> str:
        self._constants[self._prefix + name] = tensor(self._prefix + name, values)
        return self._prefix + name
