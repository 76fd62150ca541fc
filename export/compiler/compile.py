"""Compiles a network over whole images into a step over one token, as ONNX: the list of passes."""

from __future__ import annotations

from dataclasses import dataclass

import onnx

from ..image_network import ImageNetwork
from .buffers import ColumnBuffers
from .elementwise import ELEMENTWISE
from .emit import emit
from .lowering import lower
from .products import PRODUCTS
from .rearranging import REARRANGING
from .schedule import schedule
from .trace import trace

_HANDLERS = {**ELEMENTWISE, **PRODUCTS, **REARRANGING}


@dataclass(frozen=True)
class CompiledStep:
    """A step function of an image network."""

    graph: onnx.ModelProto
    warm_up: int
    """How many warm-up tokens it must read after the condition, before the first pixel."""
    leads: tuple[tuple[str, int], ...]
    """How many positions ahead of the next pixel each convolution is computed, in the network's order."""


def compile_step(network: ImageNetwork) -> CompiledStep:
    """The network one token at a time, with as much kept of earlier ones as it needs.

    Any network of causal convolutions, operations on single places, slices and paddings compiles. Raises
    NotStreamableError that names what stands in the way: strides, attention, a look at what is not drawn yet.
    """
    calls = trace(network)
    output, contributions = lower(network, calls, _HANDLERS)
    image_lead = -1 if network.channels == 1 else 0
    plan = schedule(output, height=network.height, width=network.width, image_lead=image_lead)
    buffers = ColumnBuffers(plan, area=network.height * network.width, channels=network.channels)
    graph = emit(network, plan, buffers, contributions)
    leads = tuple((node.name, plan.leads[node]) for node in plan.nodes if node.operation == "Linear")
    return CompiledStep(graph, plan.warm_up, leads)
