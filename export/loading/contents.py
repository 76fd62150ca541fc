"""What a checkpoint file holds, as plain values: the seam between reading files and understanding networks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor


@dataclass(frozen=True)
class ModuleFacts:
    """A module of a pickled network. Its class was never imported."""

    kind: str
    """The qualified name of its class, such as `torch.nn.modules.rnn.LSTM` or `model.RNNModel`."""
    attributes: Mapping[str, Any] = field(default_factory=dict)
    """Its plain attributes: numbers, texts, and lists, tuples and dicts of those."""


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint file's tensors and what stands beside them."""

    form: str
    """What kind of file it is, for people, such as `PyTorch zip file, whole module model.RNNModel`."""
    tensors: Mapping[str, Tensor]
    """Parameters and buffers by dotted name, wrapping prefixes such as `module.` stripped; on the CPU."""
    modules: Mapping[str, ModuleFacts] = field(default_factory=dict)
    """Of a pickled network: every module by its dotted path, `` (empty) for the outermost; in order of definition."""
    facts: Mapping[str, Any] = field(default_factory=dict)
    """Plain values beside the tensors, as the file nests them: hyper-parameters, vocabularies, epochs."""
    notes: tuple[str, ...] = ()
    """What was chosen or stripped on the way, for people; a choice is never silent."""
