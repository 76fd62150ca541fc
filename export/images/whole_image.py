"""The whole-image form of a step: the picture so far is the state, and every token runs the network over all of it.

It serves what cannot be computed one pixel at a time: strides, attention, a look further sideways than the image is
wide.
"""

from __future__ import annotations

import contextlib
import copy
import io
import logging
import warnings
from collections.abc import Iterator
from typing import Protocol, runtime_checkable

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn

from export.graph import BATCH, IR_VERSION, OPSET
from export.image_network import ImageNetwork
from tui_gen.errors import TuiGenError

_EXAMPLE = 3
"""Batch of the example inputs: neither 1 nor 2, which PyTorch would take for constants."""
_AXIS = "per_sample.first_axis"


@runtime_checkable
class PlaceByPlace(Protocol):
    """A network whose last part looks at each place alone, so that a step computes that part for one place only."""

    def over_the_image(self, planes: Tensor) -> Tensor:
        """float32[batch, planes, h, w] -> float32[batch, features, h, w]."""
        ...

    def at_each_place(self, features: Tensor, planes: Tensor) -> Tensor:
        """Both of any height and width -> logits, as the network returns them."""
        ...


class WholeImageStep(nn.Module):
    """(token, position, image[, condition]) -> (logits, position, image[, condition]), batch first.

    position int64[batch]: tokens of the picture that are known. image float32[batch, planes, height * width]: what the
    network sees of them, zeros elsewhere. condition: float32[batch, conditions] of phrases, or int64[batch] of a class.
    """

    encoding: Tensor

    def __init__(self, network: ImageNetwork) -> None:
        super().__init__()
        self.network, self.module = network, copy.deepcopy(network.module)
        channels, levels, planes = network.encoding.shape
        table = torch.zeros(channels, network.warm_up, planes)
        table[:, :levels] = network.encoding
        self.register_buffer("encoding", table.view(-1, planes))

    def forward(
        self, token: Tensor, position: Tensor, image: Tensor, condition: Tensor | None = None
    ) -> tuple[Tensor, ...]:
        """One token of every sample."""
        network = self.network
        image = image + self._drawn(token, position)
        position = torch.clamp(position + (token < network.levels), max=network.area)
        named = () if condition is None else (self._named(token, condition),)
        return (self._logits(torch.clamp(position, max=network.area - 1), image, named), position, image, *named)

    def _logits(self, position: Tensor, image: Tensor, named: tuple[Tensor, ...]) -> Tensor:
        """Of one token of every sample: float32[batch, levels]."""
        network = self.network
        planes = image.view(-1, image.shape[1], network.height, network.width)
        place = position // network.channels
        if isinstance(self.module, PlaceByPlace):
            features = _taken(self.module.over_the_image(planes).flatten(2), place)
            own = _taken(image, place)
            logits = self.module.at_each_place(features[:, :, None, None], own[:, :, None, None])[..., 0, 0]
        else:
            logits = _taken(self.module(planes, *named).flatten(-2), place)
        return _taken(logits, position % network.channels) if network.channels > 1 else logits

    def _drawn(self, token: Tensor, position: Tensor) -> Tensor:
        """What the token adds to the image: its column at its place; nothing, if it is part of the prompt."""
        channels = self.network.channels
        row = (position % channels) * self.network.warm_up + token
        places = torch.arange(self.network.height * self.network.width)
        here = (places == (position // channels)[:, None]).float()
        return self.encoding[row][:, :, None] * here[:, None, :]

    def _named(self, token: Tensor, before: Tensor) -> Tensor:
        first = self.network.start + 1
        if self.network.condition == "multi_hot":
            return before + (torch.arange(self.network.conditions) == (token - first)[:, None]).float()
        named = torch.where(token >= first, token - first, torch.zeros_like(token))
        return torch.where(token < self.network.levels, before, named)


def _taken(values: Tensor, index: Tensor) -> Tensor:
    """One of the last axis of [batch, ..., n] for every sample: [batch, ...]."""
    where = index.view(-1, *[1] * (values.ndim - 1)).expand(*values.shape[:-1], 1)
    return values.gather(-1, where).squeeze(-1)


def whole_image_step(network: ImageNetwork) -> onnx.ModelProto:
    """The step function of any network over images. Raises TuiGenError if PyTorch's exporter cannot write it."""
    step = WholeImageStep(network).eval()
    model = _exported(step, network, _EXAMPLE)
    if all(port.type.tensor_type.shape.dim[0].dim_param for port in (*model.graph.input, *model.graph.output)):
        return _checked(model)
    return _checked(over_batch(_exported(step, network, 1)))  # its code reads the batch as a plain number


def _exported(step: WholeImageStep, network: ImageNetwork, batch: int) -> onnx.ModelProto:
    """By PyTorch's exporter, with the batch left open if it is `_EXAMPLE` and the network's code allows it."""
    names, states = _states(network, batch)
    arguments = (torch.zeros(batch, dtype=torch.int64), *states)
    open_batch = {0: torch.export.Dim(BATCH, min=1, max=2**16)} if batch == _EXAMPLE else None
    with _quietly(), torch.no_grad():
        step(*arguments)  # a network that masks its own weights does so now
        try:
            program = torch.onnx.export(
                step,
                arguments,
                dynamo=True,
                dynamic_shapes=None if open_batch is None else tuple(open_batch for _ in arguments),
                input_names=["token", *(f"state.{name}" for name in names)],
                output_names=["logits", *(f"next.{name}" for name in names)],
                opset_version=OPSET,
                external_data=False,
            )
        except Exception as fault:  # whatever PyTorch meets in a network that it cannot follow
            raise TuiGenError(f"PyTorch cannot write this network as ONNX: {_reason(fault)}") from fault
    assert program is not None
    model: onnx.ModelProto = program.model_proto
    for port in (*model.graph.input, *model.graph.output):
        if port.type.tensor_type.shape.dim[0].dim_param:
            port.type.tensor_type.shape.dim[0].dim_param = BATCH
    return model


def _reason(fault: Exception) -> str:
    """The line of PyTorch's long report that says what happened."""
    lines = str(fault).strip().splitlines() or [type(fault).__name__]
    summary = next((line.partition(">: ")[2] for line in lines if line.startswith("<class ")), "")
    return f"{summary or lines[0]:.200}"


def _states(network: ImageNetwork, batch: int) -> tuple[list[str], list[Tensor]]:
    planes, places = int(network.encoding.shape[2]), network.height * network.width
    names = ["position", "image"]
    states = [torch.zeros(batch, dtype=torch.int64), torch.zeros(batch, planes, places)]
    if network.condition != "none":
        many = network.condition == "multi_hot"
        names.append("condition")
        shape = (batch, network.conditions) if many else (batch,)
        states.append(torch.zeros(shape, dtype=torch.float32 if many else torch.int64))
    return names, states


def _checked(model: onnx.ModelProto) -> onnx.ModelProto:
    """As small as it can be, and valid."""
    model.ir_version = min(model.ir_version, IR_VERSION)
    model.producer_name = "tui-gen"
    for holder in (model, model.graph, *model.graph.node):
        del holder.metadata_props[:]
    for node in model.graph.node:
        node.doc_string = ""
    del model.graph.value_info[:]
    onnx.checker.check_model(model, full_check=True)
    return model


@contextlib.contextmanager
def _quietly() -> Iterator[None]:
    """The exporter prints its progress and logs what it tries; nobody asked."""
    logger = logging.getLogger("torch")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    with (
        warnings.catch_warnings(),
        contextlib.redirect_stdout(io.StringIO()),
        contextlib.redirect_stderr(io.StringIO()),
    ):
        warnings.simplefilter("ignore")
        try:
            yield
        finally:
            logger.setLevel(level)


def over_batch(model: onnx.ModelProto) -> onnx.ModelProto:
    """The step function of any batch, from one whose inputs and outputs are all [1, ...]: a Scan over the samples."""
    inner = model.graph
    inputs, outputs = list(inner.input), list(inner.output)
    before = [helper.make_node("Unsqueeze", [f"{port.name}.row", _AXIS], [port.name]) for port in inputs]
    after = [helper.make_node("Squeeze", [port.name, _AXIS], [f"{port.name}.row"]) for port in outputs]
    body = helper.make_graph(
        [*before, *inner.node, *after], "sample", [_row(port) for port in inputs], [_row(port) for port in outputs]
    )
    # The ports of the outer graph have the names of the inner values, so those are renamed inside.
    _rename(body, {port.name: f"{port.name}.own" for port in (*inputs, *outputs)})
    scan = helper.make_node(
        "Scan",
        [port.name for port in inputs],
        [port.name for port in outputs],
        body=body,
        num_scan_inputs=len(inputs),
    )
    axis = numpy_helper.from_array(np.zeros(1, dtype=np.int64), _AXIS)
    graph = helper.make_graph(
        [scan],
        "step",
        [_batched(port) for port in inputs],
        [_batched(port) for port in outputs],
        initializer=[*inner.initializer, axis],
    )
    made = helper.make_model(graph, opset_imports=model.opset_import, ir_version=model.ir_version)
    made.functions.extend(model.functions)
    return made


def _sizes(port: onnx.ValueInfoProto) -> list[int]:
    return [dimension.dim_value for dimension in port.type.tensor_type.shape.dim][1:]


def _row(port: onnx.ValueInfoProto) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(f"{port.name}.row", port.type.tensor_type.elem_type, _sizes(port))


def _batched(port: onnx.ValueInfoProto) -> onnx.ValueInfoProto:
    kind = port.type.tensor_type.elem_type or TensorProto.FLOAT
    return helper.make_tensor_value_info(port.name, kind, [BATCH, *_sizes(port)])


def _rename(graph: onnx.GraphProto, names: dict[str, str]) -> None:
    for node in graph.node:
        node.input[:] = [names.get(name, name) for name in node.input]
        node.output[:] = [names.get(name, name) for name in node.output]
