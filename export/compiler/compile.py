"""Compiles a network over whole images into a step over one token, as ONNX: the list of passes."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import onnx
from numpy.typing import NDArray

from tui_gen.card import LayerSpec

from ..image_network import Guided, ImageNetwork
from .buffers import ColumnBuffers
from .elementwise import ELEMENTWISE
from .emit import emit
from .ir import NodeInput, NotStreamableError, TensorNode
from .layers import layer_specs
from .lowering import lower
from .products import PRODUCTS
from .rearranging import REARRANGING
from .schedule import Schedule, schedule
from .trace import trace

_HANDLERS = {**ELEMENTWISE, **PRODUCTS, **REARRANGING}


@dataclass(frozen=True)
class CompiledStep:
    """A step function of an image network."""

    graph: onnx.ModelProto
    warm_up: int
    """How many warm-up tokens it must read after the condition, before the first pixel."""
    layers: tuple[LayerSpec, ...]
    """Its convolutions, in the network's order."""


def compile_step(network: ImageNetwork) -> CompiledStep:
    """The network one token at a time, with as much kept of earlier ones as it needs.

    Any network of causal convolutions, operations on single places, slices and paddings compiles. Raises
    NotStreamableError that names what stands in the way: strides, attention, a look at what is not drawn yet.
    """
    plain = _without_guidance(network)
    output, contributions = lower(plain, trace(plain), _HANDLERS)
    if isinstance(network.module, Guided):
        if not contributions.size:  # a network that ignores its condition
            contributions = np.zeros((plain.conditions, 0), dtype=np.float32)
        contributions = _with_scales(contributions, network.module)
    image_lead = -1 if network.channels == 1 else 0
    plan = schedule(output, height=network.height, width=network.width, image_lead=image_lead)
    buffers = ColumnBuffers(plan, area=network.height * network.width, channels=network.channels)
    if network.channels > 1:
        _check_complete(plan, buffers)
    layers = layer_specs(plan)
    graph = emit(network, plan, buffers, contributions, layers)
    return CompiledStep(graph, plan.warm_up, tuple(layers.values()))


def _check_complete(plan: Schedule, buffers: ColumnBuffers) -> None:
    """Raises NotStreamableError if what is kept of a pixel is computed from its channels before the last has come.

    What follows a masked layer never sees the last channel of its own pixel; what is made of the picture itself does.
    """
    own = set[TensorNode]()
    for node in plan.nodes:
        if node.operation != "Image" and not any(
            _sees_last(plan, node, read) for read in node.reads if read.node in own
        ):
            continue
        own.add(node)
        if node.operation != "Image" and buffers.depths[node] and not plan.leads[node]:
            changed = f"{node.name or 'the network'} changes the picture before its first masked layer"
            raise NotStreamableError(f"{changed}, and a pixel's channels come one by one")


def _sees_last(plan: Schedule, node: TensorNode, read: NodeInput) -> bool:
    """Whether a node sees the last of what it reads of its own place."""
    taps = [index for index, tap in enumerate(read.taps) if not plan.offset(node, read, tap)]
    return any(node.operation != "Linear" or node.attributes["weight"][tap][-1].any() for tap in taps)


def _without_guidance(network: ImageNetwork) -> ImageNetwork:
    """One copy of the network, which reads the conditions that it learned."""
    module = network.module
    if not isinstance(module, Guided):
        return network
    return replace(network, module=module.module, conditions=network.conditions - len(module.offsets))


def _with_scales(contributions: NDArray[np.float32], guided: Guided) -> NDArray[np.float32]:
    """What the scales of the prompt add comes last: float32[conditions + scales, width + 1]."""
    own, scales = np.pad(contributions, ((0, 0), (0, 1))), guided.offsets.numpy()
    return np.concatenate([own, np.pad(scales[:, None], ((0, 0), (own.shape[1] - 1, 0)))])
