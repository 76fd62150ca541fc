"""Checkpoints of modules as a loader leaves them, and what the exporter makes of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from export.checkpoints.checkpoint import Checkpoint, ModuleFacts
from export.reader import Exportable, Reading, ReadOptions
from export.text.read import read_text
from tui_gen.runtime.model import Model

V, E, H = 11, 5, 7


def facts_of(module: nn.Module, **attributes: Any) -> dict[str, ModuleFacts]:
    """What a pickled module says of itself."""
    modules = {}
    for path, inner in module.named_modules():
        plain = {key: value for key, value in vars(inner).items() if isinstance(value, bool | int | float | str)}
        kind = f"{type(inner).__module__}.{type(inner).__qualname__}"
        modules[path] = ModuleFacts(kind, {**plain, **attributes} if not path else plain)
    return modules


def checkpoint_of(
    module: nn.Module, facts: Mapping[str, Any] | None = None, *, whole: bool = False, **attributes: Any
) -> Checkpoint:
    """A state dict, or a whole module with attributes of its own."""
    return Checkpoint(
        "a test's", dict(module.state_dict()), facts_of(module, **attributes) if whole else {}, dict(facts or {})
    )


def read(checkpoint: Checkpoint, options: ReadOptions | None = None, **assume: str) -> Reading:
    """The reading of what must be a language model."""
    reading = read_text(checkpoint, options or ReadOptions(assume=assume))
    assert reading is not None
    return reading


def build(checkpoint: Checkpoint, **assume: str) -> Exportable:
    """A checkpoint ready for export."""
    return read(checkpoint, **assume).build()


def model_of(exportable: Exportable) -> Model:
    """Its step function, as the player opens it."""
    return Model(exportable.network.step_graph().SerializeToString(), exportable.card, provider="cpu")


def logits_of(module: nn.Module, tokens: NDArray[np.int64]) -> NDArray[np.float32]:
    """By the module's own forward pass."""
    with torch.no_grad():
        logits: NDArray[np.float32] = module.eval()(torch.from_numpy(tokens)).numpy()
    return logits
