"""The whole-image form of a step: the picture so far is the state, and every token runs the network over all of it.

It serves what cannot be computed one pixel at a time: strides, attention, a look further sideways than the image is
wide. PyTorch's own exporter writes it.
"""

from __future__ import annotations

import contextlib
import copy
import io
import logging
import warnings
from collections.abc import Iterable, Iterator
from typing import Protocol, runtime_checkable

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper
from torch import Tensor, nn

from tui_gen.errors import TuiGenError

from ..graph import BATCH, IR_VERSION, OPSET, StepGraph, rename_values
from ..image_network import ImageNetwork

_EXAMPLE = 3
"""Batch of the example inputs: neither 1 nor 2, which PyTorch would take for constants."""
_AXIS = "per_sample.first_axis"


def whole_image_step(network: ImageNetwork) -> onnx.ModelProto:
    """The step function of any network over images. Raises TuiGenError if PyTorch's exporter cannot write it."""
    step = WholeImageStep(network).eval()
    try:
        model = _export(step, network, _EXAMPLE)
        is_open = all(
            port.type.tensor_type.shape.dim[0].dim_param for port in (*model.graph.input, *model.graph.output)
        )
    except TuiGenError:  # such as of a table that the network keeps by the sizes of its input
        is_open = False
    if not is_open:
        model = over_batch(_export(step, network, 1))  # its code reads the batch as a plain number
    model.ir_version = min(model.ir_version, IR_VERSION)
    model.producer_name = "tui-gen"
    for holder in (model, model.graph, *model.graph.node):
        del holder.metadata_props[:]
    for node in model.graph.node:
        node.doc_string = ""
    del model.graph.value_info[:]
    onnx.checker.check_model(model, full_check=True)
    return model


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

    position int64[batch, 1]: tokens of the picture that are known. image float32[batch, planes, height * width]: what
    the network sees of them, zeros elsewhere. condition: float32[batch, conditions] of phrases, or int64[batch, 1] of a
    class.
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
        network, position = self.network, position[:, 0]
        is_class = condition is not None and condition.dtype == torch.int64
        condition = condition[:, 0] if condition is not None and is_class else condition
        image = image + self._token_planes(token, position)
        position = torch.clamp(position + (token < network.levels), max=network.area)
        conditions = () if condition is None else (self._condition(token, condition),)
        logits = self._logits(torch.clamp(position, max=network.area - 1), image, conditions)
        return logits, position[:, None], image, *(each[:, None] if is_class else each for each in conditions)

    def _logits(self, position: Tensor, image: Tensor, conditions: tuple[Tensor, ...]) -> Tensor:
        """Of one token of every sample: float32[batch, levels]."""
        network = self.network
        planes = image.view(-1, image.shape[1], network.height, network.width)
        place = position // network.channels
        if isinstance(self.module, PlaceByPlace):
            features = _at(self.module.over_the_image(planes).flatten(2), place)
            own = _at(image, place)
            logits = self.module.at_each_place(features[:, :, None, None], own[:, :, None, None])[..., 0, 0]
        else:
            logits = _at(self.module(planes, *conditions).flatten(-2), place)
        return _at(logits, position % network.channels) if network.channels > 1 else logits

    def _token_planes(self, token: Tensor, position: Tensor) -> Tensor:
        """What the token adds to the image: its column at its place; nothing, if it is part of the prompt."""
        channels = self.network.channels
        row = (position % channels) * self.network.warm_up + token
        places = torch.arange(self.network.height * self.network.width)
        here = (places == (position // channels)[:, None]).float()
        return self.encoding[row][:, :, None] * here[:, None, :]

    def _condition(self, token: Tensor, before: Tensor) -> Tensor:
        first = self.network.start + 1
        if self.network.condition == "multi_hot":
            return before + (torch.arange(self.network.conditions) == (token - first)[:, None]).float()
        label = torch.where(token >= first, token - first, torch.zeros_like(token))
        return torch.where(token < self.network.levels, before, label)


def _at(values: Tensor, index: Tensor) -> Tensor:
    """One of the last axis of [batch, ..., n] for every sample: [batch, ...]."""
    where = index.view(-1, *[1] * (values.ndim - 1)).expand(*values.shape[:-1], 1)
    return values.gather(-1, where).squeeze(-1)


def _export(step: WholeImageStep, network: ImageNetwork, batch: int) -> onnx.ModelProto:
    """By PyTorch's exporter, with the batch left open if it is `_EXAMPLE` and the network's code allows it."""
    states = _states(network, batch)
    arguments = (torch.zeros(batch, dtype=torch.int64), *states.values())
    open_batch = {0: torch.export.Dim(BATCH, min=1, max=2**16)} if batch == _EXAMPLE else None
    with _quietly(), torch.no_grad():
        step(*arguments)  # a network that masks its own weights does so now
        try:
            program = torch.onnx.export(
                step,
                arguments,
                dynamo=True,
                dynamic_shapes=None if open_batch is None else tuple(open_batch for _ in arguments),
                input_names=["token", *(f"state.{name}" for name in states)],
                output_names=["logits", *(f"next.{name}" for name in states)],
                opset_version=OPSET,
                external_data=False,
            )
        except Exception as error:  # whatever PyTorch meets in a network that it cannot follow
            raise TuiGenError(f"PyTorch cannot write this network as ONNX: {_reason(error)}") from error
    assert program is not None
    model: onnx.ModelProto = program.model_proto
    for port in (*model.graph.input, *model.graph.output):
        if port.type.tensor_type.shape.dim[0].dim_param:
            port.type.tensor_type.shape.dim[0].dim_param = BATCH
    return model


def _states(network: ImageNetwork, batch: int) -> dict[str, Tensor]:
    planes, places = int(network.encoding.shape[2]), network.height * network.width
    states = {"position": torch.zeros(batch, 1, dtype=torch.int64), "image": torch.zeros(batch, planes, places)}
    condition = network.no_condition(batch)
    if condition is None:
        return states
    return {**states, "condition": condition[:, None] if condition.dtype == torch.int64 else condition}


def _reason(error: Exception) -> str:
    """The line of PyTorch's long report that says what happened."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    summary = next((line.partition(">: ")[2] for line in lines if line.startswith("<class ")), "")
    return f"{summary or lines[0]:.200}"


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
    inner, sample, step = model.graph, StepGraph(), StepGraph()
    for port in inner.input:
        sample.node("Unsqueeze", [f"{port.name}.row", _AXIS], [port.name])
    sample.nodes.extend(inner.node)
    for port in inner.output:
        sample.node("Squeeze", [port.name, _AXIS], [f"{port.name}.row"])
    # The ports of the outer graph have the names of the inner values, so those are renamed inside.
    inputs, outputs = ([port.name for port in ports] for ports in (inner.input, inner.output))
    rename_values(sample.nodes, {name: f"{name}.own" for name in (*inputs, *outputs)})
    rows = (_ports(inner.input, suffix=".row"), _ports(inner.output, suffix=".row"))
    body = helper.make_graph(sample.nodes, "sample", *rows)
    step.node("Scan", inputs, outputs, body=body, num_scan_inputs=len(inputs))
    step.constant(_AXIS, np.zeros(1, dtype=np.int64))
    constants = [*inner.initializer, *step.initializers]
    ports = (_ports(inner.input, BATCH), _ports(inner.output, BATCH))
    graph = helper.make_graph(step.nodes, "step", *ports, initializer=constants)
    outer = helper.make_model(graph, opset_imports=model.opset_import, ir_version=model.ir_version)
    outer.functions.extend(model.functions)
    return outer


def _ports(ports: Iterable[onnx.ValueInfoProto], *batch: str, suffix: str = "") -> list[onnx.ValueInfoProto]:
    """The same ports [1, ...] as [*batch, ...]."""
    sizes = [[dimension.dim_value for dimension in port.type.tensor_type.shape.dim][1:] for port in ports]
    return [
        helper.make_tensor_value_info(
            port.name + suffix, port.type.tensor_type.elem_type or TensorProto.FLOAT, [*batch, *size]
        )
        for port, size in zip(ports, sizes, strict=True)
    ]
