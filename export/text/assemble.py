"""Puts a language model together from the parts of a state dict, in an order that their sizes allow."""

from __future__ import annotations

import re
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from tui_gen.errors import TuiGenError

from ..assumptions import Assumptions
from ..checkpoints.checkpoint import Checkpoint
from ..reader import Missing
from . import metadata
from .layers import (
    ACTIVATIONS,
    BatchNorm,
    Layer,
    LayerNorm,
    Linear,
    Recurrent,
    RecurrentLayer,
    Residuals,
    TutorialRNN,
)
from .state_dict import StateDictParts, take_initial_states
from .step import TextNetwork

_TRIES = 20_000
"""Orders that are begun before the search is given up; an honest file needs a few."""
_SCALED = "sqrt-width"
_LONGEST_LIST = 8
_SIDES = {
    "turns one text into another, with recurrent layers of an encoder and a decoder": (
        {"enc", "encoder"},
        {"dec", "decoder"},
    ),
    "reads the text in both directions": ({"forward", "fwd", "fw"}, {"backward", "bwd", "bw"}),
}
"""Words in the names of layers that do not stand one upon the other."""
_UNPREDICTED = 4
"""Tokens, such as a start and a padding, that a network may read and never predict."""
_TABLE_WORDS = ("emb", "wte", "enc", "lookup", "tok", "char", "word")
_OUTPUT_WORDS = ("out", "dec", "head", "proj", "fc", "lin", "pred", "logit")


@dataclass(frozen=True)
class Assembly:
    """A network with what there is to say of it."""

    network: TextNetwork
    reads: str
    """What a token becomes, for people."""
    tied: bool = False
    """The output has the embedding's weights."""
    initial_states: Sequence[str] = ()
    """The names of those that are learned."""


@dataclass(frozen=True)
class _Chain:
    """A way to order the layers."""

    layers: tuple[Layer, ...]
    table: str = ""
    is_number: bool = False
    """A token is one number."""
    bias: str = ""
    """The name of a parameter that is the bias of a tied output."""
    is_ambiguous: bool = False
    """The sizes allow another order."""


def assemble(parts: StateDictParts, checkpoint: Checkpoint, assumptions: Assumptions) -> Assembly:
    """Raises TuiGenError that lists the parts if they make no language model."""
    _refuse_two_networks(parts)
    _refuse_norm_inside(parts, assumptions)
    initial_states = take_initial_states(parts)
    order = assumptions.names("order", "NAME,NAME,...")
    chain = next(_chains(parts, checkpoint, order), None)
    if chain is None:
        raise _no_chain(parts)
    if not order and (chain.is_ambiguous or _has_rivals(chain, parts, checkpoint)):
        names = ",".join(name for name in (chain.table, *(layer.name for layer in chain.layers)) if name)
        assumptions.missing.append(Missing("the order of its parts", "--assume order=NAME,NAME,...", names))
    parts.rest.pop(chain.bias, None)
    others = parts.tables.keys() - {chain.table, *(layer.name for layer in chain.layers)}
    if others:
        raise _leftover({name: table for name, table in parts.tables.items() if name in others})
    layers = _with_activations(chain.layers, checkpoint, assumptions)
    residuals = _residuals(layers, assumptions)
    if chain.table:
        assembly = _with_embedding(chain.table, parts.tables[chain.table], layers, residuals, assumptions)
    elif chain.is_number:
        assembly = _with_numbers(layers, residuals, assumptions)
    else:
        reads = f"{layers[-1].outputs:,} tokens, each a 1 among zeros (one-hot)"
        assembly = Assembly(TextNetwork(None, layers, residuals), reads)
    if parts.rest:
        raise _leftover(parts.rest)
    return replace(assembly, initial_states=initial_states)


def _with_embedding(
    name: str, table: Tensor, layers: tuple[Layer, ...], residuals: Residuals, assumptions: Assumptions
) -> Assembly:
    output = layers[-1]
    tied = isinstance(output, Linear) and output.weight.shape == table.shape and torch.equal(output.weight, table)
    if isinstance(output, Linear) and tied:
        layers = (*layers[:-1], replace(output, weight=table))  # copies that a file keeps apart count once
    activation = assumptions.answer("embedding", choices=[*ACTIVATIONS, _SCALED]) or "none"
    features = table * table.shape[1] ** 0.5 if activation == _SCALED else ACTIVATIONS[activation](table)
    reads = f"{len(table):,} tokens, each a row of {name}, {table.shape[1]} wide"
    return Assembly(TextNetwork(features, layers, residuals), reads, tied)


def _with_numbers(layers: tuple[Layer, ...], residuals: Residuals, assumptions: Assumptions) -> Assembly:
    what, size = "how it turns a token into a number", layers[-1].outputs
    scale = assumptions.assume("number", "id/vocabulary", what, choices=("id/vocabulary", "id"))
    numbers = torch.arange(size)[:, None] / (size if scale == "id/vocabulary" else 1)
    network = TextNetwork(numbers, layers, residuals, learned_table=False)
    return Assembly(network, f"{size:,} tokens, each as one number")


def _chains(parts: StateDictParts, checkpoint: Checkpoint, order: tuple[str, ...]) -> Iterator[_Chain]:
    """Orders that the sizes allow, the likeliest first. order: all names in the only order that is allowed, if any."""
    tables = sorted(parts.tables, key=lambda name: _rank(name, checkpoint))
    tables = [name for name in tables if name in order[:1]] or tables
    for table in tables:
        rows, width = parts.tables[table].shape
        sizes = range(rows - _UNPREDICTED, rows + 1)
        yield from _untied_chains(parts, order, inputs=width, outputs=sizes, table=table)
    for table in tables:
        yield from _tied_chains(parts, order, table)
    for width in sorted({layer.inputs for layer in parts.layers()}, reverse=True):
        yield from _untied_chains(parts, order, inputs=width, outputs=(width,))
    yield from _untied_chains(parts, order, inputs=1, outputs=range(2, 2**31))


def _untied_chains(
    parts: StateDictParts, order: tuple[str, ...], *, inputs: int, outputs: Container[int], table: str = ""
) -> Iterator[_Chain]:
    """Chains whose last layer gives the logits."""

    def gives_logits(last: Layer) -> bool:
        return isinstance(last, Linear | TutorialRNN) and last.outputs in outputs

    chains = _orders(parts.layers(without=table), order, table, inputs=inputs, is_end=gives_logits)
    if chains:
        yield _Chain(chains[0], table, is_number=inputs == 1 and not table, is_ambiguous=len(chains) > 1)


def _tied_chains(parts: StateDictParts, order: tuple[str, ...], table: str) -> Iterator[_Chain]:
    """Chains whose output has the weights of the embedding."""
    weight = parts.tables[table]
    rows, width = weight.shape
    bias = next((name for name, value in parts.rest.items() if value.shape == (rows,)), "")
    output = Linear(bias.rpartition(".")[0] or "output", weight, parts.rest.get(bias))
    layers = parts.layers(without=table)
    for chain in _orders(layers, order, table, inputs=width, is_end=lambda last: last.outputs == width)[:1]:
        yield _Chain((*chain, output), table, bias=bias)


def _orders(
    layers: Sequence[Layer], order: tuple[str, ...], table: str, *, inputs: int, is_end: Callable[[Layer], bool]
) -> list[tuple[Layer, ...]]:
    """One or two ways to chain all layers, the nearest to their order first; none if their sizes allow none.

    Each must read as many numbers as the one before it gives, the first as many as `inputs`. Layers whose names differ
    only in numbers stand in the order of these.
    """
    chains: list[tuple[Layer, ...]] = []
    order = tuple(name for name in order if name != table)
    earlier = {layer.name: _before(layer, order) if order else _numbered_before(layer, layers) for layer in layers}
    pending: list[tuple[Layer, ...]] = [()]
    for _ in range(_TRIES):
        if not pending or len(chains) == 2:
            break
        chain = pending.pop()
        if len(chain) == len(layers):
            chains += [chain] if chain and is_end(chain[-1]) else []
            continue
        width, names = chain[-1].outputs if chain else inputs, {layer.name for layer in chain}
        fitting = [
            layer
            for layer in layers
            if layer.name not in names and layer.inputs == width and earlier[layer.name] <= names
        ]
        pending += [(*chain, layer) for layer in reversed(fitting)]
    return chains


def _before(layer: Layer, order: Sequence[str]) -> set[str]:
    if layer.name not in order:
        raise TuiGenError(f"--assume order=... must name every part, and {layer.name} too")
    return set(order[: order.index(layer.name)])


def _numbered_before(layer: Layer, layers: Sequence[Layer]) -> set[str]:
    """The names of layers with the same name but for smaller numbers."""
    pattern, numbers = _pattern_and_numbers(layer.name)
    others = {other.name: _pattern_and_numbers(other.name) for other in layers}
    return {name for name, (like, smaller) in others.items() if like == pattern and smaller < numbers}


def _pattern_and_numbers(name: str) -> tuple[str, tuple[int, ...]]:
    """`layers.0.lstm2` -> (`layers.lstm`, (0, 2))."""
    return re.sub(r"[._]?\d+", "", name), tuple(int(number) for number in re.findall(r"\d+", name))


def _rank(name: str, checkpoint: Checkpoint) -> int:
    """How little a matrix looks like an embedding."""
    kind = metadata.module_kind(checkpoint, name)
    if kind in ("Embedding", "Linear"):
        return -1 if kind == "Embedding" else 4
    if any(word in name.lower() for word in _TABLE_WORDS):
        return 0
    return 2 if any(word in name.lower() for word in _OUTPUT_WORDS) else 1


def _has_rivals(chain: _Chain, parts: StateDictParts, checkpoint: Checkpoint) -> bool:
    """Whether another matrix might as well be the embedding."""
    if not chain.table:
        return False
    shape, rank = parts.tables[chain.table].shape, _rank(chain.table, checkpoint)
    likely = [name for name, other in parts.tables.items() if other.shape == shape and _rank(name, checkpoint) == rank]
    return len(likely) > 1


def _with_activations(layers: Sequence[Layer], checkpoint: Checkpoint, assumptions: Assumptions) -> tuple[Layer, ...]:
    """The same layers; each linear one but the last with its activation, if it has one."""
    return tuple(
        replace(layer, activation=_activation(at, layers, checkpoint, assumptions))
        if isinstance(layer, Linear) and at + 1 < len(layers)
        else layer
        for at, layer in enumerate(layers)
    )


def _activation(at: int, layers: Sequence[Layer], checkpoint: Checkpoint, assumptions: Assumptions) -> str:
    name = layers[at].name
    activation = metadata.activation_after(checkpoint, name)
    if activation is not None:
        return activation
    if _are_neighbours(name, layers[at + 1].name):
        return "none"
    default = _usual_activation(at, layers, checkpoint)
    return assumptions.assume("activation", default, f"what follows {name}", choices=ACTIVATIONS)


def _are_neighbours(name: str, after: str) -> bool:
    """Whether two layers stand side by side in a list of modules, so that no activation is between them."""
    (path, _, first), (other, _, second) = name.rpartition("."), after.rpartition(".")
    return path == other and first.isdecimal() and second.isdecimal() and int(second) == int(first) + 1


def _usual_activation(at: int, layers: Sequence[Layer], checkpoint: Checkpoint) -> str:
    """The one activation that the network has as a module; else ReLU, but nothing where features only change width."""
    activations = metadata.activations(checkpoint) - {"none"}
    if len(activations) == 1:
        return activations.pop()
    after, before = layers[at + 1 :], layers[:at]
    narrows = len(after) == 1 and any(layer.inputs == layers[at].outputs for layer in before[:1])
    enters = any(isinstance(layer, Recurrent) for layer in after) and not isinstance(after[0], LayerNorm | BatchNorm)
    return "none" if narrows or enters else "relu"


def _residuals(layers: Sequence[Layer], assumptions: Assumptions) -> Residuals:
    """Layers whose input is added to their output. Asks where modules of their own are as wide as their input.

    Raises TuiGenError for a name that no layer has, and for widths that cannot be added.
    """
    usage = "NAME,FIRST:LAST,..."
    answer = assumptions.answer("residual", usage)
    if answer is not None:
        return tuple(_span(layers, span) for span in answer.split(",") if span and answer != "none")
    likely = [layer.name for layer in layers if isinstance(layer, Recurrent) and layer.inputs == layer.outputs]
    if len(likely) > 1 and not any(name.endswith(".l1") for name in likely):
        what = f"whether the input of {', '.join(likely)} is added to the output (a residual connection)"
        assumptions.missing.append(Missing(what, f"--assume residual={usage}", "none"))
    return ()


def _span(layers: Sequence[Layer], span: str) -> tuple[int, int]:
    names = [layer.name for layer in layers]
    first, _, last = span.partition(":")
    last = last or first
    if first not in names or last not in names or names.index(first) > names.index(last):
        raise TuiGenError(f"--assume residual={span} names no parts in their order, which is {', '.join(names)}")
    ends = names.index(first), names.index(last)
    inputs, outputs = layers[ends[0]].inputs, layers[ends[1]].outputs
    if inputs != outputs:
        raise TuiGenError(f"--assume residual={span}: {first} reads {inputs} numbers, {last} gives {outputs}")
    return ends


def _refuse_two_networks(parts: StateDictParts) -> None:
    """Refuses recurrent layers that do not stand one upon the other: encoder and decoder, or both directions."""
    words = [set(re.split(r"[._]|(?<=enc|dec)(?=rnn|lstm|gru)", layer.name.lower())) for layer in parts.recurrent]
    for what, sides in _SIDES.items():
        if all(any(side & names for names in words) for side in sides):
            raise TuiGenError(f"this {what} ({_listing(parts)}): not a language model")


def _refuse_norm_inside(parts: StateDictParts, assumptions: Assumptions) -> None:
    """Refuses a normalisation that a hand-written cell applies to the state that it feeds back to itself."""
    cells = {layer.name for layer in parts.recurrent if isinstance(layer, RecurrentLayer) and layer.equations}
    for norm in (layer for layer in parts.feedforward if isinstance(layer, LayerNorm | BatchNorm)):
        parent = norm.name.rpartition(".")[0]
        inside = parent in cells
        if not parent and "cell" in cells:  # beside the cell's own weights, where no name tells
            what = f"whether {norm.name} normalises what the parts after the cell read, or the state that it feeds back"
            inside = assumptions.assume("norm", "after", what, choices=("after", "inside")) == "inside"
        if inside:
            raise TuiGenError(f"{norm.name} normalises inside of a recurrent cell, which is not supported")


def _no_chain(parts: StateDictParts) -> TuiGenError:
    """The parts cannot be chained from a token to a prediction."""
    if parts.rest:
        return _leftover(parts.rest)
    outputs = [layer.outputs for layer in parts.outputs()]
    sizes = {len(table) for table in parts.tables.values()}
    if not parts.feedforward and not parts.tables:
        return TuiGenError(f"this is {_listing(parts)} alone: there is no layer that predicts a token")
    if outputs and sizes and max(outputs) < max(sizes) / 2 and not sizes & {*outputs}:
        return TuiGenError(
            f"this reads {max(sizes):,} tokens but predicts {max(outputs):,} values ({_listing(parts)}): "
            "a classifier or a tagger, not a language model"
        )
    if not parts.tables and len(parts.recurrent) == 1:
        layer = parts.recurrent[0]
        return TuiGenError(
            f"{layer.name} reads {layer.inputs:,} numbers, but the file has no embedding so wide and the network "
            f"predicts {', '.join(f'{size:,}' for size in outputs) or 'no'} values ({_listing(parts)}): "
            "not a language model"
        )
    return TuiGenError(
        f"these parts do not make a chain from a token to a prediction: {_listing(parts)}{_without_input(parts)}"
        f"{_advice([layer.name for layer in parts.feedforward])}"
    )


def _without_input(parts: StateDictParts) -> str:
    """Which layer reads more or fewer numbers than any other gives."""
    widths = {layer.outputs for layer in parts.layers()} | {table.shape[1] for table in parts.tables.values()}
    for layer in parts.layers():
        if layer.inputs not in widths and layer.name not in parts.tables:
            return f"; {layer.name} reads {layer.inputs:,} numbers, and no part gives so many (two side by side?)"
    return ""


def _leftover(tensors: Mapping[str, Tensor]) -> TuiGenError:
    """Tensors that no part of a language model computes with."""
    listing = _shortened([f"{name} {list(tensor.shape)}" for name, tensor in tensors.items()])
    return TuiGenError(f"the network has parts whose use cannot be told: {listing}{_advice([*tensors])}")


def _advice(names: list[str]) -> str:
    """What to do about parts that have no place: nothing helps where their names say that they matter."""
    purposes = metadata.purposes(names)
    if purposes:
        return f"; networks with such parts{purposes} are not supported"
    return "; if some of them are used in training only, leave these out with --assume ignore=NAME,NAME"


def _listing(parts: StateDictParts) -> str:
    tables = [f"{name} {list(table.shape)}" for name, table in parts.tables.items()]
    layers = [*parts.recurrent, *parts.outputs()]
    return _shortened(
        [*tables, *(f"{_kind(layer)} {layer.name} {layer.inputs} to {layer.outputs}" for layer in layers)]
    )


def _shortened(items: list[str]) -> str:
    more = f", and {len(items) - _LONGEST_LIST} more" if len(items) > _LONGEST_LIST else ""
    return ", ".join(items[:_LONGEST_LIST]) + more


def _kind(layer: Layer) -> str:
    if isinstance(layer, RecurrentLayer):
        return layer.kind
    return "RNN" if isinstance(layer, TutorialRNN) else type(layer).__name__
