"""The builder of ONNX graphs that keep the step contract, (token, *state) -> (logits, *state)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from hashlib import sha256
from itertools import count
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor

OPSET = 18
IR_VERSION = 10
BATCH = "batch"
_LARGE = 256
"""Numbers from which on a constant is worth keeping once."""


class StepGraph:
    """Collects the nodes, constants and ports of a step; names nodes and results after layer and operation."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self._layer = ""
        self._names: set[str] = set()
        self._constants: dict[str, onnx.TensorProto] = {}
        self._large: dict[tuple[object, ...], str] = {}
        self._inputs = [helper.make_tensor_value_info("token", TensorProto.INT64, [BATCH])]
        self._outputs: list[onnx.ValueInfoProto] = []
        self._inside: dict[str, tuple[str, list[int | str]]] = {}

    @property
    def initializers(self) -> list[onnx.TensorProto]:
        """The constants, in the order in which they were added."""
        return list(self._constants.values())

    @contextmanager
    def layer(self, name: str) -> Iterator[None]:
        """What the nodes that are added meanwhile belong to."""
        before, self._layer = self._layer, name
        try:
            yield
        finally:
            self._layer = before

    def name(self, stem: str) -> str:
        """The name itself, or the first of `name.2`, `name.3`, ... that was not taken before."""
        names = (stem if number == 1 else f"{stem}.{number}" for number in count(1))
        name = next(name for name in names if name not in self._names)
        self._names.add(name)
        return name

    def node(self, kind: str, inputs: Sequence[str], outputs: Sequence[str], **attributes: Any) -> None:
        """Adds a node whose results have these names; it has that of the first."""
        self.nodes.append(helper.make_node(kind, inputs, outputs, outputs[0], **attributes))

    def op(self, kind: str, *inputs: str, outputs: int = 1, **attributes: Any) -> Any:
        """Adds a node; returns the name of its output, or a list of names when there are several."""
        name = self.name(".".join(filter(None, (self._layer, kind.lower()))))
        names = [name, *(f"{name}.output.{number}" for number in range(2, outputs + 1))]
        self.node(kind, inputs, names, **attributes)
        return name if outputs == 1 else names

    def constant(self, name: str, value: NDArray[Any]) -> str:
        """Adds an initializer under a name that a reader of the graph understands; returns the name to use.

        The same one may come again. A large one of which there is an equal one already, as where a network runs twice,
        is kept once, under its first name. Raises ValueError if another constant has the name.
        """
        tensor = numpy_helper.from_array(np.asarray(value, order="C"), name)
        if value.size >= _LARGE:
            content = sha256(tensor.raw_data).digest()
            name = self._large.setdefault((tensor.data_type, *tensor.dims, content), name)
            tensor.name = name
        if self._constants.setdefault(name, tensor) != tensor:
            raise ValueError(f"two constants are named {name}")
        return name

    def ints(self, *values: int) -> str:
        """A constant int64 vector, shared between its users."""
        return self.constant("ints_" + "_".join(map(str, values)), np.array(values, dtype=np.int64))

    def state(self, name: str, *shape: int, dtype: int = TensorProto.FLOAT) -> str:
        """Declares a state tensor [batch, *shape]; returns the name of its input."""
        self._inputs.append(helper.make_tensor_value_info(f"state.{name}", dtype, [BATCH, *shape]))
        return f"state.{name}"

    def next(self, name: str, value: str) -> None:
        """Names the state tensor's value after the token. Call in the order of the `state` calls."""
        self._output(f"next.{name}", value, next(port for port in self._inputs if port.name == f"state.{name}").type)

    def logits(self, value: str, vocab_size: int) -> None:
        """Names the result; call before `next`."""
        self._output("logits", value, helper.make_tensor_type_proto(TensorProto.FLOAT, [BATCH, vocab_size]))

    def inside(self, layer: str, quantity: str, value: str, *shape: int, rows: str = BATCH) -> None:
        """Names a value [rows, *shape] that somebody may look at, if it is none of the results. One name a value."""
        self._inside.setdefault(value, (".".join(filter(None, ("inside", layer, quantity))), [rows, *shape]))

    def _output(self, name: str, value: str, kind: onnx.TypeProto) -> None:
        rename_values(self.nodes, {value: name})
        self._outputs.append(helper.make_value_info(name, kind))

    def linear(self, name: str, value: str, weight: NDArray[Any], bias: NDArray[Any]) -> str:
        """Value [batch, inputs] times weight [inputs, outputs] plus bias [outputs]."""
        weight_name, bias_name = self.constant(f"{name}.weight", weight), self.constant(f"{name}.bias", bias)
        return str(self.op("Gemm", value, weight_name, bias_name))

    def model(self) -> onnx.ModelProto:
        """The finished, checked model. The constants go over into it: no weight lies in memory twice.

        The checker copies what it checks several times, and is shown large tables as inputs of their shapes.
        """
        computed = {name for node in self.nodes for name in node.output}
        results = {port.name for port in self._outputs}
        inside = {value: fact for value, fact in self._inside.items() if value in computed - results}
        rename_values(self.nodes, {value: name for value, (name, _) in inside.items()})
        infos = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in inside.values()]
        tables = {name: tensor for name, tensor in self._constants.items() if _is_table(tensor)}
        stand_ins = [helper.make_tensor_value_info(name, table.data_type, table.dims) for name, table in tables.items()]
        others = [tensor for name, tensor in self._constants.items() if name not in tables]
        inputs = [*self._inputs, *stand_ins]
        graph = helper.make_graph(self.nodes, "step", inputs, self._outputs, initializer=others, value_info=infos)
        opset = [helper.make_opsetid("", OPSET)]
        model = helper.make_model(graph, opset_imports=opset, ir_version=IR_VERSION, producer_name="tui-gen")
        onnx.checker.check_model(model, full_check=True)
        del model.graph.input[len(self._inputs) :], model.graph.initializer[:]
        for name in list(self._constants):
            model.graph.initializer.append(self._constants.pop(name))
            tables.pop(name, None)
        return model


def _is_table(tensor: onnx.TensorProto) -> bool:
    return tensor.data_type == TensorProto.FLOAT and len(tensor.raw_data) >= 4 * _LARGE


def rename_values(nodes: Iterable[onnx.NodeProto], names: Mapping[str, str]) -> None:
    """Values that nodes read or make, by their old names."""
    for node in nodes:
        node.input[:] = [names.get(name, name) for name in node.input]
        node.output[:] = [names.get(name, name) for name in node.output]


def to_numpy(tensor: Tensor | None) -> NDArray[np.float32]:
    """A weight as a float32 array."""
    assert tensor is not None
    array: NDArray[np.float32] = tensor.detach().cpu().float().numpy()
    return array
