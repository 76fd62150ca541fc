"""What follows the linear layers inside a network: no tensor tells."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from export.loading.contents import Checkpoint
from export.text import evidence
from export.text.maps import ACTIVATIONS, BatchNorm, LayerNorm, Linear
from export.text.parts import Layer, Part
from export.text.questions import Questions


def with_activations(parts: Sequence[Part], *, checkpoint: Checkpoint, questions: Questions) -> tuple[Part, ...]:
    """The same parts; each linear one but the last with its activation, if it has one."""
    made: list[Part] = []
    for at, part in enumerate(parts):
        if isinstance(part, Linear) and at + 1 < len(parts):
            made.append(replace(part, activation=_activation(at, parts, checkpoint, questions)))
        else:
            made.append(part)
    return tuple(made)


def _activation(at: int, parts: Sequence[Part], checkpoint: Checkpoint, questions: Questions) -> str:
    name, after = parts[at].name, parts[at + 1]
    known = evidence.activation_after(checkpoint, name)
    if known is None and _adjacent(name, after.name):
        known = "none"
    if known is not None:
        return known
    return questions.ask("activation", f"what follows {name}", _usual(at, parts, checkpoint), ACTIVATIONS)


def _adjacent(name: str, after: str) -> bool:
    """Whether two layers are neighbours in a list of modules, so that no activation is between them."""
    (path, _, first), (other, _, second) = name.rpartition("."), after.rpartition(".")
    return path == other and first.isdecimal() and second.isdecimal() and int(second) == int(first) + 1


def _usual(at: int, parts: Sequence[Part], checkpoint: Checkpoint) -> str:
    """The one activation that the network has as a module; else ReLU, but nothing where features only change width."""
    had = evidence.activations(checkpoint) - {"none"}
    if len(had) == 1:
        return had.pop()
    after, before = parts[at + 1 :], parts[:at]
    narrows = len(after) == 1 and any(part.inputs == parts[at].outputs for part in before[:1])
    enters = any(isinstance(part, Layer) for part in after) and not isinstance(after[0], LayerNorm | BatchNorm)
    return "none" if narrows or enters else "relu"
