"""Recurrent layers that PyTorch has: one of `torch.nn.RNN`, `LSTM`, `GRU`, or one of their cells, by their tensors."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from torch import Tensor

from export.loading.contents import Checkpoint
from export.text import evidence
from export.text.questions import Questions
from export.text.recurrence import GATES, Kind, Recurrence
from tui_gen.errors import TuiGenError

_NAME = re.compile(r"(?:(.*)\.)?(weight_ih|weight_hh|weight_hr|bias_ih|bias_hh)(?:_l(\d+))?(_reverse)?")
_KINDS: dict[int, Kind] = {count: kind for kind, count in GATES.items()}


@dataclass
class Found:
    """Layers, and the tensors they are made of by the names in the file."""

    layers: list[Recurrence] = field(default_factory=list)
    used: set[str] = field(default_factory=set)


def standard_layers(tensors: Mapping[str, Tensor], checkpoint: Checkpoint, questions: Questions) -> Found:
    """In the order of the file. Raises TuiGenError for layers that read backwards, and for weights that do not fit."""
    groups: dict[tuple[str, str | None], dict[str, Tensor]] = {}
    found = Found()
    for name, tensor in tensors.items():
        match = _NAME.fullmatch(name)
        if not match:
            continue
        if match[4]:
            raise TuiGenError(
                f"{match[1] or 'the recurrent layer'} reads the text in both directions ({name}), "
                "so it cannot write one from beginning to end"
            )
        groups.setdefault((match[1] or "", match[3]), {})[match[2]] = tensor
        found.used.add(name)
    for (path, index), weights in groups.items():
        alone = index is None or (path, "1") not in groups
        name = (path or "rnn") + ("" if alone else f".l{index}")
        found.layers.append(_layer(path, name, weights, checkpoint, questions))
    return found


def _layer(
    path: str, name: str, weights: dict[str, Tensor], checkpoint: Checkpoint, questions: Questions
) -> Recurrence:
    if not weights.keys() >= {"weight_ih", "weight_hh"}:
        raise TuiGenError(f"{name} lacks weight_ih or weight_hh; the checkpoint is incomplete")
    if any(weights[leaf].ndim != 2 for leaf in weights if leaf.startswith("weight")):
        raise _unknown(name, weights)
    weights = _oriented(weights)
    hidden = (weights["weight_hr"] if "weight_hr" in weights else weights["weight_hh"]).shape[1]
    kind = _kind(name, weights, hidden)
    bend = _bend(path, checkpoint, questions) if kind == "RNN" else "tanh"
    return Recurrence(
        name,
        kind,
        weights["weight_ih"],
        weights["weight_hh"],
        weights.get("bias_ih"),
        weights.get("bias_hh"),
        weights.get("weight_hr"),
        nonlinearity=bend,
    )


def _bend(path: str, checkpoint: Checkpoint, questions: Questions) -> str:
    """The nonlinearity of a simple recurrent layer."""
    return evidence.nonlinearity(checkpoint, path) or questions.ask(
        "nonlinearity", "what its simple recurrent layers bend their state with", "tanh", ("tanh", "relu")
    )


def _oriented(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """As `torch.nn` has them: gates in rows. Hand-written cells may store [inputs, gates * hidden]."""
    rows, columns = weights["weight_hh"].shape
    if rows < columns and "weight_hr" not in weights:
        weights = {name: tensor.T if tensor.ndim == 2 else tensor for name, tensor in weights.items()}
    return {name: tensor.flatten() if name.startswith("bias") else tensor for name, tensor in weights.items()}


def _kind(name: str, weights: dict[str, Tensor], hidden: int) -> Kind:
    rows, outputs = weights["weight_hh"].shape
    kind = _KINDS.get(rows // hidden) if hidden and outputs and rows % hidden == 0 else None
    projected = "weight_hr" in weights
    fits = not projected or (kind == "LSTM" and len(weights["weight_hr"]) == outputs)
    if kind is None or not fits or {len(tensor) for leaf, tensor in weights.items() if leaf != "weight_hr"} != {rows}:
        raise _unknown(name, weights)
    return kind


def _unknown(name: str, weights: dict[str, Tensor]) -> TuiGenError:
    shapes = ", ".join(f"{leaf} {list(tensor.shape)}" for leaf, tensor in weights.items())
    return TuiGenError(f"{name} is no RNN, LSTM or GRU that is known: {shapes}")
