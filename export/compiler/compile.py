"""From a network over whole images to a step over one token, as ONNX."""

from __future__ import annotations

from dataclasses import dataclass

import onnx

from export.compiler.elementwise import ELEMENTWISE
from export.compiler.emit import emit
from export.compiler.lowering import lower
from export.compiler.products import PRODUCTS
from export.compiler.rearranging import REARRANGING
from export.compiler.schedule import schedule
from export.image_network import ImageNetwork

_HANDLERS = {**ELEMENTWISE, **PRODUCTS, **REARRANGING}


@dataclass(frozen=True)
class CompiledStep:
    """A step function of an image network."""

    graph: onnx.ModelProto
    warm_up: int
    """How many warm-up tokens it must read after the condition, before the first pixel."""
    leads: tuple[tuple[str, int], ...]
    """How many positions ahead of the pixel drawn each convolution is computed, in the network's order."""
    slow_because: str = ""
    """Why it computes the whole image for every token; empty for a streaming one."""


def compile_step(network: ImageNetwork) -> CompiledStep:
    """The network one token at a time, with as much kept of earlier ones as it needs.

    Any network of causal convolutions, operations on single places, slices and paddings compiles. Raises
    NotStreamableError that names what stands in the way: strides, attention, a look at what is not drawn yet.
    """
    output, conditions = lower(network, _HANDLERS)
    image_lead = -1 if network.channels == 1 else 0
    plan = schedule(output, height=network.height, width=network.width, image_lead=image_lead)
    leads = tuple((node.name, plan.leads[node]) for node in plan.nodes if node.operation == "Linear")
    return CompiledStep(emit(network, plan, conditions), plan.warm_up, leads)
