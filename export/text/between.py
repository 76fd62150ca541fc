"""What stands between the parts of a language model and leaves no tensor: activations, and sums that skip layers."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from tui_gen.errors import TuiGenError

from ..assumptions import Assumptions
from ..checkpoints.checkpoint import Checkpoint
from ..checkpoints.settings import statements
from ..gaps import Gap, activations_in, find_gaps, function_of
from ..reader import Missing
from . import metadata
from .layers import (
    ACTIVATIONS,
    Activation,
    BatchNorm,
    Layer,
    LayerNorm,
    Linear,
    Recurrent,
    RecurrentLayer,
    Residuals,
    TutorialRNN,
    split_activation,
)

_USAGE = "FUNCTION|PART:FUNCTION,PART+:FUNCTION,..."
"""`PART+`: after the sum with the part's input."""
_FUNCTIONS = ", ".join(ACTIVATIONS)
_RESIDUAL = "none|PART,FIRST:LAST,..."
UNKNOWABLE = Missing(
    "what its script does without tensors, such as an activation (PART:relu) or adding a part's input to its output",
    "--assume activation=PART:FUNCTION,... and --assume residual=PART,FIRST:LAST,...",
    "nothing but what is said above",
)
"""The guess that no evidence can make good; the loss on the training text shows whether it is right."""


def with_activations(
    table: str, layers: Sequence[Layer], checkpoint: Checkpoint, assumptions: Assumptions
) -> tuple[str, tuple[Layer, ...]]:
    """What the embedding's rows go through, and the layers with the activations that follow them.

    table: the embedding's name; empty if there is none.
    """
    places = _Places.of(table, layers, checkpoint, assumptions)
    functions = [places.function(at) for at in range(len(places.names) - 1)]
    places.ask()
    of_table = functions.pop(0) if table else "none"
    return of_table, tuple(_interleave(layers, functions, places.answers))


def _interleave(layers: Sequence[Layer], functions: Sequence[str], answers: Mapping[str, str]) -> Iterator[Layer]:
    for layer, function in zip(layers, (*functions, "none"), strict=True):
        if isinstance(layer, Linear):
            yield replace(layer, activation=function)
        else:
            yield layer
            if function != "none":
                yield Activation(f"{layer.name}.{function}", layer.outputs, function)
        if answers.get(f"{layer.name}+", "none") != "none":
            yield Activation(f"{layer.name}+", layer.outputs, answers[f"{layer.name}+"])


@dataclass
class _Places:
    """Where an activation may be: after each part but the last."""

    names: list[str]
    """Of the parts, the embedding's first if there is one."""
    layers: list[Layer | None]
    """None: the embedding."""
    gaps: list[tuple[Gap, ...]]
    """Before each part."""
    checkpoint: Checkpoint
    assumptions: Assumptions
    answers: dict[str, str]
    """By the name of a part; under an empty one for every place that is asked about."""
    open: dict[str, tuple[str, str]]
    """What is to be asked: why, and an example of an answer, by the name of the part."""
    unplaced: dict[str, str]
    """Activations that a pickled network has as modules outside of sequences, by their paths."""

    @classmethod
    def of(cls, table: str, layers: Sequence[Layer], checkpoint: Checkpoint, assumptions: Assumptions) -> _Places:
        """The places in a chain."""
        names = [*([table] if table else []), *(layer.name for layer in layers)]
        gaps = find_gaps([_path(name) for name in names], checkpoint.modules)
        answers = _answers(assumptions, names[:-1])
        unplaced = _unplaced(checkpoint, assumptions, {name for before in gaps for gap in before for name in gap.names})
        parts = [*([None] if table else []), *layers]
        return cls(names, parts, gaps, checkpoint, assumptions, answers, {}, unplaced)

    def function(self, at: int) -> str:
        """What follows a part: by an answer, by modules, by the numbers of names, or by what is usual."""
        name = self.names[at]
        if name in self.answers or f"{name}+" in self.answers:
            return self.answers.get(name, "none")
        modules = [activations_in(gap, self.checkpoint.modules) for gap in self.gaps[at + 1]]
        if None in modules:
            paths = [path for gap in self.gaps[at + 1] for path in gap.names]
            missing = ", ".join(paths[:3]) + (", ..." if len(paths) > 3 else "")
            return self._ask(name, f"{name} (of {missing} the file has no tensors: an activation, or a dropout)")
        functions = [function for known in modules if known for function in known]
        if len(functions) > 1:
            raise TuiGenError(f"{' and then '.join(functions)} follow {name}, which is not supported")
        if functions or self._are_neighbours(at):
            return functions[0] if functions else "none"
        return self._usual(at)

    def ask(self) -> None:
        """One question for all places, of which each has its answer."""
        nowhere = {f"{path} ({function}), which the file has": function for path, function in self.unplaced.items()}
        for said in statements(self.checkpoint, "activation"):
            nowhere.update({} if said.meaning == "none" else {f"what its settings say, {said}": said.meaning})
        if nowhere and not any(map(self._has_own_functions, self.layers)):
            pairs = f"{self.names[-2]}:{next(iter(nowhere.values()))}"
            self._add(f"which part is followed by {', '.join(nowhere)}", f"none|{pairs}")
        if self.open:
            pairs = ",".join(f"{name}:{default}" for name, (_, default) in self.open.items())
            self._add(
                f"which activation follows {' and '.join(why for why, _ in self.open.values())}: {_FUNCTIONS}", pairs
            )

    def _add(self, what: str, example: str) -> None:
        if not self.answers:
            self.assumptions.missing.append(Missing(what, f"--assume activation={example}"))

    def _has_own_functions(self, layer: Layer | None) -> bool:
        """Whether a layer may be what an activation module is for."""
        if isinstance(layer, RecurrentLayer):
            return bool(layer.equations) or layer.kind == "RNN"
        return isinstance(layer, TutorialRNN) or (isinstance(layer, Linear) and layer is not self.layers[-1])

    def _ask(self, name: str, why: str, *, default: str = "none") -> str:
        if "" in self.answers:
            return self.answers[""]
        self.open[name] = why, "relu" if default == "none" else default
        return default

    def _are_neighbours(self, at: int) -> bool:
        """Whether a part and the next stand side by side in a sequence, so that no activation is between them.

        Linear layers alone, without a gap, may be a list, between which a script has its activations.
        """
        (path, _, first), (other, _, second) = (_path(name).rpartition(".") for name in self.names[at : at + 2])
        if path != other or not (first.isdecimal() and second.isdecimal() and int(second) == int(first) + 1):
            return False
        if kind := metadata.module_kind(self.checkpoint, path):
            return kind == "Sequential"
        has_gaps = any(gap.container == path for before in self.gaps for gap in before)
        inside = zip(self.names, self.layers, strict=True)
        return has_gaps or not all(isinstance(layer, Linear) for name, layer in inside if name.startswith(f"{path}."))

    def _usual(self, at: int) -> str:
        """What follows where neither modules nor numbers tell: asked after linear layers, else nothing."""
        layer, name, after = self.layers[at], self.names[at], self.layers[at + 1 :]
        if isinstance(layer, LayerNorm | BatchNorm) and at and isinstance(self.layers[at - 1], Linear):
            return self._ask(name, name) if isinstance(after[0], Linear) and self._asks(at - 1) else "none"
        if layer is None and self._is_tutorial_decoder():
            why = f"{name} (in a decoder of these names, of PyTorch's tutorial on translation, it is relu)"
            return self._ask(name, why)
        if not isinstance(layer, Linear):
            return "none"
        if stated := self.assumptions.stated("activation", choices=(*ACTIVATIONS,)):
            several = sum(isinstance(other, Linear) for other in self.layers[:-1]) > 1
            return self._ask(name, name, default=stated) if several else self.answers.get("", stated)
        if len({*self.unplaced.values()}) == 1:
            return self._assume(name, next(iter(self.unplaced.values())))
        narrows = len(after) == 1 and layer.outputs < layer.inputs and self._gives_embedding(layer.outputs)
        return self._assume(name, "none") if narrows else self._ask(name, name, default="relu")

    def _gives_embedding(self, width: int) -> bool:
        """Whether features of this width are what the first layer reads, as an output with the embedding's weights."""
        first = next(layer for layer in self.layers if layer)
        return first.inputs == width

    def _is_tutorial_decoder(self) -> bool:
        """Whether names and widths are those of PyTorch's tutorial on translation: its decoder is a language model."""
        return self.names == ["embedding", "gru", "out"] and all(
            layer.inputs == layer.outputs for layer in self.layers[1:2] if layer
        )

    def _asks(self, at: int) -> bool:
        """Whether nothing told what follows a part."""
        return self.names[at] in self.open or "" in self.answers

    def _assume(self, name: str, default: str) -> str:
        if "" in self.answers:
            return self.answers[""]
        missing = Missing(f"what follows {name}", f"--assume activation={name}:FUNCTION", default)
        self.assumptions.missing.append(missing)
        return default


def _path(name: str) -> str:
    """`rnn.l1` -> `rnn`, the module that has several layers."""
    return re.sub(r"\.l\d+$", "", name)


def _answers(assumptions: Assumptions, names: Sequence[str]) -> dict[str, str]:
    """What --assume activation says, by the names of parts. Raises TuiGenError for what is no function, or no part."""
    answers = {}
    for pair in assumptions.names("activation", _USAGE):
        part, colon, function = pair.rpartition(":")
        bare = part.removesuffix("+")
        name = next((name for name in reversed(names) if bare in (name, _path(name))), "")
        if colon and not name:
            raise TuiGenError(f"--assume activation={pair}: nothing follows {part}; parts: {', '.join(names)}")
        try:
            split_activation(function)
        except ValueError:
            raise TuiGenError(f"--assume activation must be one of {_FUNCTIONS}, not {function!r}") from None
        answers[name + part[len(bare) :]] = function
    return answers


def _unplaced(checkpoint: Checkpoint, assumptions: Assumptions, placed: set[str]) -> dict[str, str]:
    """Activations that are modules but stand in no sequence; asks about modules of no known effect."""
    functions, ignore = {}, assumptions.names("ignore", "NAME,NAME")
    for path in _without_tensors(checkpoint):
        if path in placed or any(f"{path}.".startswith(f"{name}.") for name in (*placed, *ignore)):
            continue
        try:
            function = function_of(path, checkpoint.modules[path])
        except TuiGenError:
            kind = checkpoint.modules[path].kind
            assumptions.missing.append(Missing(f"what {path} does, a {kind}", f"--assume ignore={path}"))
            continue
        functions.update({path: function} if function else {})
    return functions


def _without_tensors(checkpoint: Checkpoint) -> Iterator[str]:
    """Paths of modules with neither tensors nor modules inside, but for the network itself."""
    outer = {""}
    for name in (*checkpoint.modules, *checkpoint.tensors):
        while (name := name.rpartition(".")[0]) not in outer:
            outer.add(name)
    yield from (path for path in checkpoint.modules if path not in outer)


def residual_connections(layers: Sequence[Layer], assumptions: Assumptions) -> Residuals:
    """Layers whose input is added to their output. Asks where modules of their own are as wide as their input.

    Raises TuiGenError for a name that no layer has, and for widths that cannot be added.
    """
    answer = assumptions.answer("residual", _RESIDUAL)
    if answer is not None:
        return tuple(_span(layers, span) for span in answer.split(",") if span and answer != "none")
    said = statements(assumptions.checkpoint, "residual")
    if said and {statement.meaning for statement in said} == {"no"}:
        assumptions.stated("residual")
        return ()
    likely = _likely(layers)
    if said:
        what = f"which parts add their input to their output, for its settings say {said[0]}"
        assumptions.missing.append(Missing(what, f"--assume residual={','.join(likely) or _RESIDUAL}"))
    elif len(likely) > 1:
        what = f"whether the input of {', '.join(likely)} is added to the output (a residual connection)"
        assumptions.missing.append(Missing(what, f"--assume residual=none|{','.join(likely)}"))
    return ()


def _likely(layers: Sequence[Layer]) -> list[str]:
    """Recurrent modules as wide as their input; none of the layers of one that are PyTorch's own stack."""
    names = [layer.name for layer in layers if isinstance(layer, Recurrent) and layer.inputs == layer.outputs]
    counts = [_path(layer.name) for layer in layers if isinstance(layer, Recurrent)]
    return [name for name in names if counts.count(_path(name)) == 1]


def _span(layers: Sequence[Layer], span: str) -> tuple[int, int]:
    """Numbers of the first and the last layer of a part or of several, with what follows the last one before a sum."""
    names = [layer.name for layer in layers]
    first, _, last = span.partition(":")
    firsts, lasts = (
        [at for at, other in enumerate(names) if name in (other, _path(other))] for name in (first, last or first)
    )
    if not firsts or not lasts or firsts[0] > lasts[-1]:
        raise TuiGenError(f"--assume residual={span} names no parts in their order, which is {', '.join(names)}")
    ends = firsts[0], lasts[-1]
    after = layers[ends[1] + 1] if ends[1] + 1 < len(layers) else None
    if isinstance(after, Activation) and after.name.startswith(f"{names[ends[1]]}."):
        ends = ends[0], ends[1] + 1
    inputs, outputs = layers[ends[0]].inputs, layers[ends[1]].outputs
    if inputs != outputs:
        raise TuiGenError(f"--assume residual={span}: {first} reads {inputs} numbers, {last or first} gives {outputs}")
    return ends
