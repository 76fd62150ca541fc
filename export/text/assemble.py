"""Puts a language model together from the parts of a state dict, in an order that their sizes allow."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import torch
from torch import Tensor

from tui_gen.errors import TuiGenError

from ..assumptions import Assumptions
from ..checkpoints.checkpoint import Checkpoint
from ..reader import Missing
from . import evidence, metadata
from .between import residual_connections, with_activations
from .cell_weights import Role, assign_roles
from .layers import (
    ACTIVATIONS,
    BatchNorm,
    Layer,
    LayerNorm,
    Linear,
    Recurrent,
    RecurrentLayer,
    TutorialRNN,
    activate,
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
_BESIDE = {
    *("gate", "gates", "highway", "highways", "carry", "skip", "skips", "shortcut", "residual", "glu"),
    *("mogrifier", "mogrify"),
}
_BIAS = re.compile(r"bias|(^|[._])b([._]|$)", re.IGNORECASE)
_GATE_NORM = re.compile(r"(ln|bn|norm|layer_?norm|batch_?norm)_?(c|cx|cell|i|g|ih|hh|ho|hx)(_?\d+)?")
"""Names of a normalisation of a gate, or of a cell's state."""
_TO_OUTPUT = re.compile(r"(^|[._])(i|x|in|inp|input|emb|e)_?(2|to)_?(o|out|output|y)$")
"""Names of a layer from the input past the recurrent one."""
_TEMPERATURE = re.compile(r"(^|[._])(log_?)?(temperature|temp|tau|logit_?scale|output_?scale|inv_?temperature)$")
_UNPREDICTED = 4
"""Tokens, such as a start and a padding, that a network may read and never predict."""
_TABLE_WORDS = ("emb", "wte", "enc", "lookup", "tok", "char", "word")
_EMBEDDING = re.compile(r"emb(ed(d?ings?|s)?)?$", re.IGNORECASE)
"""The end of a name that is an embedding's alone."""
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
    is_tied: bool = False
    """The file has no weights of an output layer."""
    is_ambiguous: bool = False
    """The sizes allow another order."""


def assemble(parts: StateDictParts, checkpoint: Checkpoint, assumptions: Assumptions) -> Assembly:
    """Raises TuiGenError that lists the parts if they make no language model."""
    _refuse_two_networks(parts)
    _refuse_norm_inside(parts)
    initial_states = take_initial_states(parts, assumptions)
    order = assumptions.names("order", "NAME,NAME,...")
    _refuse_parallel(parts, order)
    chain = next(_chains(parts, checkpoint, order), None)
    if chain is None:
        raise _no_chain(parts)
    chain = _with_embedding_as_output(chain, parts, order, checkpoint, assumptions)
    if not order and (chain.is_ambiguous or _has_rivals(chain, parts, checkpoint)):
        _ask_order(chain, parts, assumptions)
    _refuse_norm_fed_back(chain, checkpoint, assumptions)
    parts.rest.pop(chain.bias, None)
    others = parts.tables.keys() - {chain.table, *(layer.name for layer in chain.layers)}
    if others:
        raise _leftover({name: table for name, table in parts.tables.items() if name in others})
    parts.notes += evidence.check_direction(parts.recurrent, assumptions)
    evidence.check_kind(parts.recurrent, checkpoint, assumptions)
    evidence.check_counts(parts.recurrent, checkpoint, assumptions)
    layers = evidence.without_unused(chain.layers, assumptions)
    function, layers = with_activations(chain.table, layers, checkpoint, assumptions)
    network = TextNetwork(None, layers, residual_connections(layers, assumptions))
    if chain.table:
        assembly = _with_embedding(chain, parts.tables[chain.table], network, function, assumptions)
    elif chain.is_number:
        assembly = _with_numbers(network, assumptions)
    else:
        assembly = Assembly(network, f"{network.vocab_size:,} tokens, each a 1 among zeros (one-hot)")
    if not chain.table:
        what = "it would have no embedding whose weights the output could have"
        assumptions.check_settings("tied", "tied", ("no",), what, choices=("no",))
    network = _with_scaled_output(assembly.network, parts, assumptions)
    if parts.rest:
        raise _leftover(parts.rest)
    return replace(assembly, network=network, initial_states=initial_states)


def _with_embedding_as_output(
    chain: _Chain, parts: StateDictParts, order: tuple[str, ...], checkpoint: Checkpoint, assumptions: Assumptions
) -> _Chain:
    """The chain; or, told so, one whose last layer is a projection before an output with the embedding's weights.

    Sizes cannot tell where the embedding is as wide as the vocabulary.
    """
    table = parts.tables.get(chain.table)
    if chain.is_tied or table is None or table.shape[0] != table.shape[1]:
        return chain
    what = f"whether {chain.layers[-1].name} gives the logits, or what the embedding's own weights then multiply"
    if assumptions.assume("output", "own", what, choices=("own", "embedding")) == "own":
        return chain
    return next(_tied_chains(parts, order, checkpoint, chain.table), chain)


def _ask_order(chain: _Chain, parts: StateDictParts, assumptions: Assumptions) -> None:
    """The order of the file is that of the script's definitions, and so likely; without it, or in lists, it's asked."""
    names = [layer.name for layer in chain.layers]
    positions = [parts.positions[name] for name in names[:-1] if name in parts.positions]  # the last one is certain
    numbers = _numbers_by_list(names)
    lists = [path for path, inside in numbers.items() if [*numbers.values()].count(inside) > 1]
    is_likely = parts.has_order and positions == sorted(positions) and len(lists) < 2
    if len(lists) > 1:  # such as `lstms` beside `norms`: likely in turns
        members = [at for at, name in enumerate(names) if name.rpartition(".")[0] in lists]
        in_turns = sorted((names[at] for at in members), key=lambda name: int(name.rpartition(".")[2]))
        for at, name in zip(members, in_turns, strict=True):
            names[at] = name
    listing = ",".join(name for name in (chain.table, *names) if name)
    if is_likely:
        assumptions.missing.append(Missing("the order of its parts", "--assume order=NAME,NAME,...", listing))
    else:
        what = "the order of its parts, which fit in several"
        assumptions.missing.append(Missing(what, f"--assume order={listing}, or another order of these"))


def _numbers_by_list(names: Sequence[str]) -> dict[str, list[str]]:
    """The numbers of parts by the path under which they are numbered, where there are several."""
    numbers: dict[str, list[str]] = {}
    for path, _, number in (name.rpartition(".") for name in names):
        if number.isdecimal():
            numbers.setdefault(path, []).append(number)
    return {path: sorted(inside) for path, inside in numbers.items() if len(inside) > 1}


def _with_scaled_output(network: TextNetwork, parts: StateDictParts, assumptions: Assumptions) -> TextNetwork:
    """Logits multiplied by what settings, or a learned temperature, say of them."""
    factor, output = evidence.logit_factor(assumptions), network.layers[-1]
    for name in [name for name, value in parts.rest.items() if value.numel() == 1 and _TEMPERATURE.search(name)]:
        value = float(parts.rest.pop(name))
        choices = {
            "divides": 1 / value if value else math.inf,
            "multiplies": value,
            "exp": math.exp(value),
            "none": 1.0,
        }
        what = (
            f"what {name} ({value:g}) does to the logits: divides, multiplies (itself, or its exponential), or nothing"
        )
        factor *= choices[assumptions.ask("temperature", what, choices=(*choices,))]
    if factor == 1:
        return network
    if not isinstance(output, Linear):
        raise TuiGenError(f"logits of {output.name} that are multiplied by {factor:g} are not supported")
    bias = None if output.bias is None else output.bias * factor
    return replace(network, layers=(*network.layers[:-1], replace(output, weight=output.weight * factor, bias=bias)))


def _with_embedding(
    chain: _Chain, table: Tensor, network: TextNetwork, function: str, assumptions: Assumptions
) -> Assembly:
    """function: what the rows go through."""
    name, output = chain.table, network.layers[-1]
    limit, factor = evidence.embedding_limit(name, assumptions), evidence.embedding_factor(table.shape[1], assumptions)
    tied = evidence.is_tied(table, chain.layers[-1], assumptions, has_output=not chain.is_tied)
    table = table if limit is None else evidence.cut_rows(table, limit)
    if isinstance(output, Linear) and tied:  # copies that a file keeps apart count once
        network = replace(network, layers=(*network.layers[:-1], replace(output, weight=table)))
    usage = "|".join((*ACTIVATIONS, _SCALED, "NUMBER"))
    features = table if factor == 1 else table * factor
    for answer in assumptions.names("embedding", usage) or (function,):
        features = _embedded(features, answer, usage)
    reads = f"{len(table):,} tokens, each a row of {name}, {table.shape[1]} wide"
    return Assembly(replace(network, table=features), reads, tied)


def _embedded(features: Tensor, answer: str, usage: str) -> Tensor:
    """What --assume embedding says becomes of the rows: an activation, or a product with a number."""
    if answer == _SCALED:
        return features * features.shape[1] ** 0.5
    try:
        return features * float(answer) if answer[0] in "0123456789.-" else activate(answer, features)
    except ValueError:
        raise TuiGenError(f"--assume embedding must be one of {usage.replace('|', ', ')}, not {answer!r}") from None


def _with_numbers(network: TextNetwork, assumptions: Assumptions) -> Assembly:
    what, size = "how it turns a token into a number", network.vocab_size
    scale = assumptions.ask("number", what, choices=("id/vocabulary", "id"))
    numbers = torch.arange(size)[:, None] / (size if scale == "id/vocabulary" else 1)
    return Assembly(replace(network, table=numbers, learned_table=False), f"{size:,} tokens, each as one number")


def _chains(parts: StateDictParts, checkpoint: Checkpoint, order: tuple[str, ...]) -> Iterator[_Chain]:
    """Orders that the sizes allow, the likeliest first. order: all names in the only order that is allowed, if any."""
    tables = sorted(parts.tables, key=lambda name: (_rank(name, checkpoint), -len(parts.tables[name])))
    tables = [name for name in tables if name in order[:1]] or tables
    for table in tables:
        rows, width = parts.tables[table].shape
        sizes = range(rows - _UNPREDICTED, rows + 1)
        yield from _untied_chains(parts, order, checkpoint, inputs=width, outputs=sizes, table=table)
    for table in tables:
        yield from _tied_chains(parts, order, checkpoint, table)
    for width in sorted({layer.inputs for layer in parts.layers()} - {1}, reverse=True):
        yield from _untied_chains(parts, order, checkpoint, inputs=width, outputs=(width,))
    yield from _untied_chains(parts, order, checkpoint, inputs=1, outputs=range(2, 2**31))


def _stack(parts: StateDictParts, table: str, order: tuple[str, ...], checkpoint: Checkpoint) -> list[Layer]:
    """What may stand upon an embedding: no other one, such as a class's, unless a person says where it stands."""
    rows = len(parts.tables[table]) if table else 0
    others = {
        name
        for name, other in parts.tables.items()
        if table and len(other) != rows and name not in order and _EMBEDDING.search(name)
    }
    others = {name for name in others if metadata.module_kind(checkpoint, name) != "Linear"}
    return [layer for layer in parts.layers(without=table) if layer.name not in others]


def _untied_chains(
    parts: StateDictParts,
    order: tuple[str, ...],
    checkpoint: Checkpoint,
    *,
    inputs: int,
    outputs: Container[int],
    table: str = "",
) -> Iterator[_Chain]:
    """Chains whose last layer gives the logits."""

    def gives_logits(last: Layer) -> bool:
        return isinstance(last, Linear | TutorialRNN) and last.outputs in outputs

    layers = _stack(parts, table, order, checkpoint)
    chains = _orders(layers, order, table, inputs=inputs, is_end=gives_logits)
    if chains:
        yield _Chain(chains[0], table, is_number=inputs == 1 and not table, is_ambiguous=len(chains) > 1)


def _tied_chains(parts: StateDictParts, order: tuple[str, ...], checkpoint: Checkpoint, table: str) -> Iterator[_Chain]:
    """Chains whose output has the weights of the embedding."""
    weight = parts.tables[table]
    rows, width = weight.shape
    biases = (name for name, value in parts.rest.items() if value.shape == (rows,))
    bias = next((name for name in biases if _BIAS.search(name)), "")
    output = Linear(bias.rpartition(".")[0] or "output", weight, parts.rest.get(bias))
    layers = _stack(parts, table, order, checkpoint)
    chains = _orders(layers, order, table, inputs=width, is_end=lambda last: last.outputs == width)
    if chains:
        yield _Chain((*chains[0], output), table, bias=bias, is_tied=True, is_ambiguous=len(chains) > 1)


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


def _refuse_two_networks(parts: StateDictParts) -> None:
    """Refuses recurrent layers that do not stand one upon the other: encoder and decoder, or both directions."""
    words = [set(re.split(r"[._]|(?<=enc|dec)(?=rnn|lstm|gru)", layer.name.lower())) for layer in parts.recurrent]
    for what, sides in _SIDES.items():
        if all(any(side & names for names in words) for side in sides):
            raise TuiGenError(f"this {what} ({_listing(parts)}): not a language model")


def _refuse_norm_inside(parts: StateDictParts) -> None:
    """Refuses a normalisation within the module of a recurrent layer: none of PyTorch's own has any."""
    cells = [layer.name for layer in parts.recurrent if isinstance(layer, RecurrentLayer)]
    parents = {cell.rpartition(".")[0] for cell in cells}
    for norm in (layer for layer in parts.feedforward if isinstance(layer, LayerNorm | BatchNorm)):
        path, _, leaf = norm.name.rpartition(".")
        of_a_gate = path in parents and _GATE_NORM.fullmatch(leaf.lower())
        if of_a_gate or any(norm.name.startswith(f"{cell}.") for cell in cells):
            raise _norm_inside(norm)


def _refuse_norm_fed_back(chain: _Chain, checkpoint: Checkpoint, assumptions: Assumptions) -> None:
    """Asks whether a normalisation after a cell, called token by token, changes the state that the cell reads next."""
    for cell, norm in pairwise(chain.layers):
        is_cell = isinstance(cell, RecurrentLayer) and (
            cell.equations or f"{cell.name}.weight_ih" in checkpoint.tensors
        )
        if is_cell and isinstance(norm, LayerNorm | BatchNorm):
            what = f"whether {norm.name} normalises what the parts after the cell read, or the state that it feeds back"
            if assumptions.ask("norm", what, choices=("after", "inside")) == "inside":
                raise _norm_inside(norm)


def _norm_inside(norm: Layer) -> TuiGenError:
    return TuiGenError(f"{norm.name} normalises inside of a recurrent cell, which is not supported")


def _refuse_parallel(parts: StateDictParts, order: Sequence[str]) -> None:
    """Refuses linear layers whose names say that they stand beside others, unless a person tells the order of all."""
    for layer in (layer for layer in parts.feedforward if isinstance(layer, Linear) and not order):
        cell = next((cell for cell in parts.recurrent if _is_inside(layer, cell)), None)
        if cell and layer.inputs == layer.outputs == cell.hidden_size:
            raise TuiGenError(
                f"{layer.name} seems to be inside of the recurrent cell {cell.name}, which is not supported; if it "
                "stands in line with all others, name them with --assume order=NAME,NAME,..."
            )
        if _BESIDE & {*re.split(r"[._\d]+", layer.name.lower())} or _TO_OUTPUT.search(layer.name.lower()):
            raise TuiGenError(
                f"{layer.name} seems to stand beside another part (a gate, a highway or a skip connection), which is "
                "not supported; if it stands in line with all others, name them with --assume order=NAME,NAME,..."
            )


def _is_inside(layer: Linear, cell: Recurrent) -> bool:
    """Whether a linear layer is named as a part of a cell, or as one from state to state of a hand-written cell."""
    stem = re.sub(r"[._]?\d+$", "", layer.name).rpartition(".")[2]
    role = assign_roles([stem]).get(stem)
    is_own = isinstance(cell, RecurrentLayer) and cell.equations is not None
    return layer.name.startswith(f"{cell.name}.") or (is_own and role == Role("h", "h"))


def _no_chain(parts: StateDictParts) -> TuiGenError:
    """The parts cannot be chained from a token to a prediction."""
    if parts.rest:
        return _leftover(parts.rest)
    outputs = [layer.outputs for layer in parts.outputs()]
    sizes = {len(table) for table in parts.tables.values()}
    if not parts.feedforward and not parts.tables:
        return TuiGenError(f"this is {_listing(parts)} alone: there is no layer that predicts a token")
    if outputs and not sizes and max(outputs) == 1:
        what = f"this predicts a single number ({_listing(parts)})"
        return TuiGenError(f"{what}: it goes on with a series, or weighs one, and writes no text")
    if outputs and sizes and max(outputs) < max(sizes) / 2 and not sizes & {*outputs}:
        return TuiGenError(
            f"this reads {max(sizes):,} tokens but predicts {max(outputs):,} values ({_listing(parts)}): "
            "a classifier or a tagger, not a language model"
        )
    if not parts.tables and len(parts.recurrent) == 1:
        return _wide_input(parts, parts.recurrent[0], outputs)
    return TuiGenError(
        f"these parts do not make a chain from a token to a prediction: {_listing(parts)}{_without_input(parts)}"
        f"{_advice([layer.name for layer in parts.feedforward])}"
    )


def _wide_input(parts: StateDictParts, layer: Recurrent, outputs: list[int]) -> TuiGenError:
    """The only recurrent layer reads more or fewer numbers than a token has."""
    size = max(outputs, default=0)
    if size < layer.inputs < 2 * size:
        return TuiGenError(
            f"{layer.name} reads {layer.inputs:,} numbers, {layer.inputs - size:,} more than the {size:,} tokens "
            f"that the network predicts ({_listing(parts)}): it seems to read something beside each token, such as "
            "a class, which is not supported"
        )
    return TuiGenError(
        f"{layer.name} reads {layer.inputs:,} numbers, but the file has no embedding so wide and the network "
        f"predicts {', '.join(f'{size:,}' for size in outputs) or 'no'} values ({_listing(parts)}): "
        "not a language model"
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
    """What to do about parts that have no place."""
    purposes = metadata.purposes(names)
    if purposes:
        of_known = [name for name in names if metadata.purposes([name])]
        paths = ",".join(dict.fromkeys(name.partition(".")[0] for name in of_known))
        return (
            f"; networks with such parts{purposes} are not supported; if it does not use them, --assume ignore={paths}"
        )
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
