"""What stands between the parts of a language model and leaves no tensor: activations, and sums that skip layers."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from tui_gen.errors import TuiGenError

from ..assumptions import Assumptions
from ..checkpoints.checkpoint import Checkpoint
from ..checkpoints.settings import plain_settings, statements
from ..gaps import Gap, activations_in, find_gaps, function_of, modules_after
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
_AWD_SETTINGS = {"dropouth", "dropouti", "dropoute"}
_REINVENT = ["gru_1", "gru_2", "gru_3", "linear"]
UNKNOWABLE = Missing(
    "what its script does without tensors, such as an activation (PART:relu), adding a part's input to its output, or "
    "reading a text from its end",
    "--assume activation=PART:FUNCTION,..., --assume residual=PART,FIRST:LAST,... and --assume direction=backward",
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
    functions = places.functions()
    places.ask()
    of_table = functions.pop(0) if table else "none"
    return of_table, tuple(_interleave(layers, (*functions, places.of_output()), places.answers))


def _interleave(layers: Sequence[Layer], functions: Sequence[str], answers: Mapping[str, str]) -> Iterator[Layer]:
    for layer, function in zip(layers, functions, strict=True):
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
    """Where an activation may be: after each part."""

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
    is_used: bool = False
    """Whether the answer without a part was a linear layer's."""
    is_for_all: bool = False
    """Whether it is that of gaps too."""

    @classmethod
    def of(cls, table: str, layers: Sequence[Layer], checkpoint: Checkpoint, assumptions: Assumptions) -> _Places:
        """The places in a chain."""
        names = [*([table] if table else []), *(layer.name for layer in layers)]
        gaps = find_gaps([_path(name) for name in names], checkpoint.modules)
        answers = _answers(assumptions, names)
        placed = {name for before in gaps for gap in before for name in gap.names}
        unplaced = _unplaced(checkpoint, assumptions, placed | {*modules_after(_path(names[-1]), checkpoint.modules)})
        parts = [*([None] if table else []), *layers]
        return cls(names, parts, gaps, checkpoint, assumptions, answers, {}, unplaced)

    def functions(self) -> list[str]:
        """What follows each part. A function for all is for linear layers and what follows them, if there are any."""
        functions = [self.function(at) for at in range(len(self.names) - 1)]
        if self.open and "" in self.answers and not self.is_used:
            self.is_for_all, self.open = True, {}
            functions = [self.function(at) for at in range(len(self.names) - 1)]
        return functions

    def function(self, at: int) -> str:
        """What follows a part: by an answer, by modules, by the numbers of names, or by what is usual."""
        name = self.names[at]
        if name in self.answers or f"{name}+" in self.answers:
            return self.answers.get(name, "none")
        modules = [activations_in(gap, self.checkpoint.modules) for gap in self.gaps[at + 1]]
        if None in modules:
            paths = [path for gap in self.gaps[at + 1] for path in gap.names]
            missing = ", ".join(paths[:3]) + (", ..." if len(paths) > 3 else "")
            why = f"{name} (of {missing} the file has no tensors: an activation, or a dropout)"
            return self._ask(name, why, is_gap=isinstance(self.layers[at], Recurrent | None))
        functions = [function for known in modules if known for function in known]
        if len(functions) > 1:
            raise TuiGenError(f"{' and then '.join(functions)} follow {name}, which is not supported")
        if functions or self._are_neighbours(at):
            return functions[0] if functions else "none"
        return self._usual(at)

    def of_output(self) -> str:
        """What the logits go through, by an answer or by modules."""
        functions = [*filter(None, modules_after(_path(self.names[-1]), self.checkpoint.modules).values())]
        return self.answers.get(self.names[-1], functions[0] if functions else "none")

    def ask(self) -> None:
        """One question for all places, of which each has its answer."""
        nowhere = {f"{path} ({function}), which the file has": function for path, function in self.unplaced.items()}
        nowhere = {} if any(map(self._may_be_followed, self.layers)) else nowhere
        for said in statements(self.checkpoint, "activation"):
            if not (said.meaning == "none" or "nonlin" in said.setting.name or any(map(self._has_own, self.layers))):
                nowhere[f"what its settings say, {said}"] = said.meaning
        if nowhere and not self.answers:
            option = f"--assume activation=none|{self.names[-2]}:{next(iter(nowhere.values()))}"
            self.assumptions.missing.append(Missing(f"which part is followed by {', '.join(nowhere)}", option))
        if self.open:
            told = [f"{name}:{answer}".removeprefix(":") for name, answer in self.answers.items()]
            pairs = ",".join([*told, *(f"{name}:{example}" for name, (_, example) in self.open.items())])
            what = f"which activation follows {' and '.join(why for why, _ in self.open.values())}: {_FUNCTIONS}"
            self.assumptions.missing.append(Missing(what, f"--assume activation={pairs}"))

    def _may_be_followed(self, layer: Layer | None) -> bool:
        """Whether a layer is asked about anyway, or is a cell of the owner's that may hold activations as modules."""
        if isinstance(layer, RecurrentLayer):
            return bool(layer.equations)
        return isinstance(layer, TutorialRNN) or (isinstance(layer, Linear) and layer is not self.layers[-1])

    def _has_own(self, layer: Layer | None) -> bool:
        """Whether a layer may be what an activation in the settings is for."""
        return self._may_be_followed(layer) or (isinstance(layer, RecurrentLayer) and layer.kind == "RNN")

    def _ask(self, name: str, why: str, *, default: str = "none", is_gap: bool = False) -> str:
        """is_gap: after an embedding or a recurrent layer, where a dropout is as likely as an activation."""
        if "" in self.answers and (self.is_for_all or not is_gap or self.answers[""] == "none"):
            self.is_used = True
            return self.answers[""]
        self.open[name] = why, "none" if is_gap else "relu" if default == "none" else default
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
        if not isinstance(layer, Linear):
            return self._after_others(at)
        stated, modules = self.assumptions.stated("activation", choices=(*ACTIVATIONS,)), {*self.unplaced.values()}
        if stated:
            several = sum(isinstance(other, Linear) for other in self.layers[:-1]) > 1
            return self._ask(name, name, default=stated) if several else self.answers.get("", stated)
        if len(modules) == 1:
            return self._of_module(name, modules.pop())
        is_last = len(after) == 1 and layer.outputs < layer.inputs and not self._is_in_list(name)
        if is_last and self._is_alone_in_sequence(name):
            return self._ask(name, f"{name} (alone in a sequence, where something without tensors may follow it)")
        if is_last and (self._gives_embedding(layer.outputs) or "proj" in name.lower()):
            return self._assume(name, "none", is_last=True)
        return self._ask(name, name, default="relu")

    def _after_others(self, at: int) -> str:
        """What follows a part that is not linear: nothing, but for a normalisation between linear layers."""
        name, layer = self.names[at], self.layers[at]
        if layer is None and self._is_tutorial_decoder():
            return self._ask(name, f"{name} (a decoder of these names, of PyTorch's tutorial on translation, has relu)")
        is_norm = isinstance(layer, LayerNorm | BatchNorm) and at > 0 and isinstance(self.layers[at - 1], Linear)
        if is_norm and isinstance(self.layers[at + 1], Linear) and self._asks(at - 1):
            return self._ask(name, name)
        return "none"

    def _is_in_list(self, name: str) -> bool:
        """Whether a part is one of several in a list without gaps, which a script treats alike."""
        path = name.rpartition(".")[0]
        alike = [
            other for other in self.names if other.rpartition(".")[0] == path and other[len(path) + 1 :].isdecimal()
        ]
        has_gaps = any(gap.container == path for before in self.gaps for gap in before)
        return name in alike and len(alike) > 1 and not has_gaps

    def _of_module(self, name: str, function: str) -> str:
        """The one activation of a pickled network, if it stands right after a linear layer; else it is asked."""
        paths, parts = list(self.checkpoint.modules), {_path(other) for other in self.names}
        after = paths[paths.index(_path(name)) + 1 :] if _path(name) in paths else []
        if next((path in self.unplaced for path in after if path in self.unplaced or path in parts), False):
            return self._assume(name, function)
        why = f"{name} (the file has {', '.join(self.unplaced)}, which may follow other parts, too)"
        return self._ask(name, why, default=function)

    def _is_alone_in_sequence(self, name: str) -> bool:
        """Whether a part has a number, and no other part one beside it."""
        path, _, number = name.rpartition(".")
        return number.isdecimal() and not any(
            other.startswith(f"{path}.") and other != name for other in self.names if path
        )

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

    def _assume(self, name: str, default: str, *, is_last: bool = False) -> str:
        """is_last: right before the output, where the answer for all places does not count."""
        if "" in self.answers and not is_last:
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
    plain = _is_plain(layers, likely, assumptions.checkpoint)
    if said:
        what = f"which parts add their input to their output, for its settings say {said[0]}"
        assumptions.missing.append(Missing(what, f"--assume residual={','.join(likely) or _RESIDUAL}"))
    elif len(likely) > 1:
        what = f"whether the input of {', '.join(likely)} is added to the output (a residual connection)"
        option = f"--assume residual=none|{','.join(likely)}"
        assumptions.missing.append(Missing(what, option, "none" if plain else ""))
    return ()


def _is_plain(layers: Sequence[Layer], likely: Sequence[str], checkpoint: Checkpoint) -> bool:
    """Whether layers as wide as their input are likely to have no sums all the same.

    A list that holds other modules between them is applied one by one; settings of AWD-LSTM (Merity et al., 2017), and
    cells with the names of REINVENT (Olivecrona et al., 2017), are those of networks without any.
    """
    between = zip(likely, find_gaps(likely, checkpoint.modules), strict=True)
    in_turns = [gaps for name, gaps in between if any(name.startswith(f"{gap.container}.") for gap in gaps)]
    settings = {setting.name for setting in plain_settings(checkpoint)}
    names = [layer.name for layer in layers]
    return len(in_turns) == len(likely) - 1 or settings >= _AWD_SETTINGS or names == _REINVENT


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
