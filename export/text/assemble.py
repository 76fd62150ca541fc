"""The order of the parts of a network, as their sizes allow it."""

from __future__ import annotations

import re
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from export.assumptions import Questions
from export.checkpoints.checkpoint import Checkpoint
from export.reader import Missing
from export.text import evidence
from export.text.evidence import explained
from export.text.layers import ACTIVATIONS, BatchNorm, Combined, Layer, LayerNorm, Linear, Part, Recurrence, Residuals
from export.text.state_dict import Pieces, with_activations
from export.text.step import TextNetwork
from tui_gen.errors import TuiGenError

_TRIES = 20_000
"""Orders that are begun before the search is given up; an honest file needs a few."""
_SCALED = "sqrt-width"
_SHOWN = 8
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


def orders(
    parts: Sequence[Part], told: Sequence[str], *, reads: int, ends: Callable[[Part], bool]
) -> list[tuple[Part, ...]]:
    """One or two ways to chain all parts, the nearest to their order first; none if their sizes allow none.

    Each part must read as many numbers as the one before it gives, the first as many as `reads`. Parts whose names
    differ only in numbers stand in the order of these. told: the names of all parts in the one order that is allowed.
    """
    found: list[tuple[Part, ...]] = []
    earlier = {part.name: _told_earlier(part, told) if told else _earlier(part, parts) for part in parts}
    pending: list[tuple[Part, ...]] = [()]
    for _ in range(_TRIES):
        if not pending or len(found) == 2:
            break
        chain = pending.pop()
        if len(chain) == len(parts):
            found += [chain] if chain and ends(chain[-1]) else []
            continue
        width, names = chain[-1].outputs if chain else reads, {part.name for part in chain}
        fitting = [p for p in parts if p.name not in names and p.inputs == width and earlier[p.name] <= names]
        pending += [(*chain, part) for part in reversed(fitting)]
    return found


def _told_earlier(part: Part, told: Sequence[str]) -> set[str]:
    if part.name not in told:
        raise TuiGenError(f"--assume order=... must name every part, and {part.name} too")
    return set(told[: told.index(part.name)])


def _earlier(part: Part, parts: Sequence[Part]) -> set[str]:
    """The names of parts that must come before it."""
    pattern, number = _numbered(part.name)
    return {other.name for other in parts if _numbered(other.name)[0] == pattern and _numbered(other.name)[1] < number}


def _numbered(name: str) -> tuple[str, tuple[int, ...]]:
    """`layers.0.lstm2` -> (`layers.lstm`, (0, 2))."""
    return re.sub(r"[._]?\d+", "", name), tuple(int(number) for number in re.findall(r"\d+", name))


def embedded(table: Tensor, questions: Questions) -> Tensor:
    """[tokens, width]: an embedding with what is done to its rows."""
    choices = [*ACTIVATIONS, _SCALED]
    told = questions.given("embedding", f"embedding={'|'.join(choices)}") or "none"
    if told not in choices:
        raise TuiGenError(f"--assume embedding={told} is none of {', '.join(choices)}")
    return table * table.shape[1] ** 0.5 if told == _SCALED else ACTIVATIONS[told](table) if told != "none" else table


def residuals(parts: Sequence[Part], questions: Questions) -> Residuals:
    """Parts whose input is added to their output. Asks where layers of modules of their own are as wide as their input.

    Raises TuiGenError for a name that no part has, and for widths that cannot be added.
    """
    shown = "residual=NAME,FIRST:LAST,..."
    told = questions.given("residual", shown)
    if told is None:
        _ask(parts, questions, f"--assume {shown}")
    return tuple(_span(parts, span) for span in (told or "").split(",") if span and told != "none")


def _ask(parts: Sequence[Part], questions: Questions, option: str) -> None:
    likely = [part.name for part in parts if isinstance(part, Layer) and part.inputs == part.outputs]
    if len(likely) > 1 and not any(name.endswith(".l1") for name in likely):
        what = f"whether the input of {', '.join(likely)} is added to the output (a residual connection)"
        questions.missing.append(Missing(what, option, "none"))


def _span(parts: Sequence[Part], span: str) -> tuple[int, int]:
    names = [part.name for part in parts]
    first, _, last = span.partition(":")
    last = last or first
    if first not in names or last not in names or names.index(first) > names.index(last):
        raise TuiGenError(f"--assume residual={span} names no parts in their order, which is {', '.join(names)}")
    ends = names.index(first), names.index(last)
    reads, gives = parts[ends[0]].inputs, parts[ends[1]].outputs
    if reads != gives:
        raise TuiGenError(f"--assume residual={span}: {first} reads {reads} numbers, {last} gives {gives}")
    return ends


def no_chain(pieces: Pieces) -> TuiGenError:
    """The pieces cannot be chained from a token to a prediction."""
    unplaced = leftover(pieces.loose) if pieces.loose else None
    ends = [part.outputs for part in pieces.maps if part.name not in pieces.tables]
    largest = max((len(table) for table in pieces.tables.values()), default=0)
    if unplaced:
        return unplaced
    if not pieces.maps and not pieces.tables:
        return TuiGenError(f"this is {_listed(pieces)} alone: there is no layer that predicts a token")
    if largest and ends and max(ends) < largest / 2 and not _fits_between(pieces):
        return TuiGenError(
            f"this reads {largest:,} tokens but predicts {max(ends):,} values ({_listed(pieces)}): "
            "a classifier or a tagger, not a language model"
        )
    if not pieces.tables and len(pieces.layers) == 1:
        layer = pieces.layers[0]
        return TuiGenError(
            f"{layer.name} reads {layer.inputs:,} numbers, but the file has no embedding so wide and the network "
            f"predicts {', '.join(f'{end:,}' for end in ends) or 'no'} values ({_listed(pieces)}): not a language model"
        )
    return TuiGenError(
        f"these parts do not make a chain from a token to a prediction: {_listed(pieces)}{_starving(pieces)}"
        f"{_advice([part.name for part in pieces.maps])}"
    )


def _starving(pieces: Pieces) -> str:
    """Which parts read more or fewer numbers than any other gives."""
    given = {part.outputs for part in pieces.parts()} | {table.shape[1] for table in pieces.tables.values()}
    hungry = [part for part in pieces.parts() if part.inputs not in given and part.name not in pieces.tables]
    if not hungry:
        return ""
    return f"; {hungry[0].name} reads {hungry[0].inputs:,} numbers, and no part gives so many (two side by side?)"


def _advice(names: list[str]) -> str:
    """What to do about parts that have no place: nothing helps where their names say that they matter."""
    strange = explained(names)
    if strange:
        return f"; networks with such parts{strange} are not supported"
    return "; if some of them are used in training only, leave these out with --assume ignore=NAME,NAME"


def leftover(tensors: Mapping[str, Tensor]) -> TuiGenError:
    """Tensors that no part of a language model computes with."""
    shown = [f"{name} {list(tensor.shape)}" for name, tensor in tensors.items()]
    more = f", and {len(shown) - _SHOWN} more" if len(shown) > _SHOWN else ""
    return TuiGenError(
        f"the network has parts whose use cannot be told: {', '.join(shown[:_SHOWN])}{more}{_advice([*tensors])}"
    )


def normalised_inside(pieces: Pieces, questions: Questions) -> TuiGenError | None:
    """A normalisation that a hand-written cell applies to the state that it feeds back to itself."""
    cells = {layer.name for layer in pieces.layers if isinstance(layer, Recurrence) and layer.cell}
    for part in (part for part in pieces.maps if isinstance(part, LayerNorm | BatchNorm)):
        parent = part.name.rpartition(".")[0]
        inside = parent in cells
        if not parent and "cell" in cells:  # beside the cell's own weights, where no name tells
            what = f"whether {part.name} normalises what the parts after the cell read, or the state that it feeds back"
            inside = questions.ask("norm", what, "after", ("after", "inside")) == "inside"
        if inside:
            return TuiGenError(f"{part.name} normalises inside of a recurrent cell, which is not supported")
    return None


def two_networks(pieces: Pieces) -> TuiGenError | None:
    """Recurrent layers that do not stand one upon the other: of an encoder and a decoder, or of both directions."""
    words = [set(re.split(r"[._]|(?<=enc|dec)(?=rnn|lstm|gru)", layer.name.lower())) for layer in pieces.layers]
    for what, sides in _SIDES.items():
        if all(any(side & names for names in words) for side in sides):
            return TuiGenError(f"this {what} ({_listed(pieces)}): not a language model")
    return None


def _fits_between(pieces: Pieces) -> bool:
    """Whether some layer predicts as many tokens as a table has."""
    sizes = {len(table) for table in pieces.tables.values()}
    return any(part.outputs in sizes for part in pieces.maps if part.name not in pieces.tables)


def _listed(pieces: Pieces) -> str:
    maps = [part for part in pieces.maps if part.name not in pieces.tables]
    tables = [f"{name} {list(table.shape)}" for name, table in pieces.tables.items()]
    shown = [
        *tables,
        *(f"{_kind(part)} {part.name} {part.inputs} to {part.outputs}" for part in (*pieces.layers, *maps)),
    ]
    return ", ".join(shown[:_SHOWN]) + (f", and {len(shown) - _SHOWN} more" if len(shown) > _SHOWN else "")


def _kind(part: object) -> str:
    if isinstance(part, Recurrence):
        return part.kind
    return "RNN" if isinstance(part, Layer) else type(part).__name__


@dataclass(frozen=True)
class Assembly:
    """A network with what there is to say of it."""

    network: TextNetwork
    reads: str
    """What a token becomes, for people."""
    tied: bool
    """The output has the embedding's weights."""


@dataclass(frozen=True)
class _Plan:
    """A way to read the pieces."""

    parts: tuple[Part, ...]
    table: str = ""
    is_number: bool = False
    """A token is one number."""
    taken: str = ""
    """The name of a parameter that is the bias of a tied output."""
    others: bool = False
    """The sizes allow another order."""


def assemble(pieces: Pieces, checkpoint: Checkpoint, questions: Questions) -> Assembly:
    """Raises TuiGenError that lists the pieces if they make no language model."""
    told = tuple(filter(None, (questions.given("order", "order=NAME,NAME,...") or "").split(",")))
    plan = next(_plans(pieces, checkpoint, told), None)
    if plan is None:
        raise no_chain(pieces)
    if not told and (plan.others or _rivals(plan, pieces, checkpoint)):
        names = ",".join(name for name in (plan.table, *(part.name for part in plan.parts)) if name)
        questions.missing.append(Missing("the order of its parts", "--assume order=NAME,NAME,...", names))
    return _assembled(plan, pieces, checkpoint, questions)


def _plans(pieces: Pieces, checkpoint: Checkpoint, told: tuple[str, ...]) -> Iterator[_Plan]:
    """Readings that the sizes allow, the likeliest first."""
    tables = sorted(pieces.tables, key=lambda name: _rank(name, checkpoint))
    tables = [name for name in tables if name in told[:1]] or tables
    for table in tables:
        rows, width = pieces.tables[table].shape
        sizes = range(rows - _UNPREDICTED, rows + 1)
        yield from _chained(pieces, told, reads=width, gives=sizes, table=table)
    for table in tables:
        yield from _tied(pieces, told, table)
    parts = pieces.parts()
    for width in sorted({part.inputs for part in parts}, reverse=True):
        yield from _chained(pieces, told, reads=width, gives=(width,))
    yield from _chained(pieces, told, reads=1, gives=range(2, 2**31))


def _chained(
    pieces: Pieces, told: tuple[str, ...], *, reads: int, gives: Container[int], table: str = ""
) -> Iterator[_Plan]:
    """Plans whose last part gives the logits."""
    parts = pieces.parts(without=table)
    found = orders(parts, _without(told, table), reads=reads, ends=lambda last: _gives_logits(last, gives))
    yield from (_Plan(order, table, is_number=reads == 1 and not table, others=len(found) > 1) for order in found[:1])


def _gives_logits(last: Part, gives: Container[int]) -> bool:
    return isinstance(last, Linear | Combined) and last.outputs in gives


def _tied(pieces: Pieces, told: tuple[str, ...], table: str) -> Iterator[_Plan]:
    """Plans whose output has the weights of the embedding."""
    weight, parts = pieces.tables[table], pieces.parts(without=table)
    width = weight.shape[1]
    biases = {name: value for name, value in pieces.loose.items() if value.shape == weight.shape[:1]}
    for order in orders(parts, _without(told, table), reads=width, ends=lambda last: last.outputs == width)[:1]:
        bias = next(iter(biases), "")
        output = Linear(bias.rpartition(".")[0] or "output", weight, biases.get(bias))
        yield _Plan((*order, output), table, taken=bias)


def _without(names: tuple[str, ...], name: str) -> tuple[str, ...]:
    return tuple(other for other in names if other != name)


def _rank(name: str, checkpoint: Checkpoint) -> int:
    """How little a matrix looks like an embedding."""
    kind = evidence.module_kind(checkpoint, name)
    if kind in ("Embedding", "Linear"):
        return -1 if kind == "Embedding" else 4
    lowered = name.lower()
    if any(word in lowered for word in _TABLE_WORDS):
        return 0
    return 2 if any(word in lowered for word in _OUTPUT_WORDS) else 1


def _rivals(plan: _Plan, pieces: Pieces, checkpoint: Checkpoint) -> bool:
    """Whether another matrix might as well be the embedding."""
    if not plan.table:
        return False
    shape, rank = pieces.tables[plan.table].shape, _rank(plan.table, checkpoint)
    likely = [name for name, other in pieces.tables.items() if other.shape == shape and _rank(name, checkpoint) == rank]
    return len(likely) > 1


def _assembled(plan: _Plan, pieces: Pieces, checkpoint: Checkpoint, questions: Questions) -> Assembly:
    pieces.loose.pop(plan.taken, None)
    others = [name for name in pieces.tables if name != plan.table and name not in {part.name for part in plan.parts}]
    if others:
        raise leftover({name: pieces.tables[name] for name in others})
    parts = with_activations(plan.parts, checkpoint=checkpoint, questions=questions)
    added = residuals(parts, questions)
    if plan.table:
        table, output = pieces.tables[plan.table], parts[-1]
        tied = isinstance(output, Linear) and output.weight.shape == table.shape and torch.equal(output.weight, table)
        if isinstance(output, Linear) and tied:
            parts = (*parts[:-1], replace(output, weight=table))  # copies that a file keeps apart count once
        reads = f"{len(table):,} tokens, each a row of {plan.table}, {table.shape[1]} wide"
        return Assembly(TextNetwork(embedded(table, questions), parts, added), reads, tied)
    size = parts[-1].outputs
    if plan.is_number:
        what = "how it turns a token into a number"
        scale = questions.ask("number", what, "id/vocabulary", ("id/vocabulary", "id"))
        numbers = torch.arange(size)[:, None] / (size if scale == "id/vocabulary" else 1)
        return Assembly(
            TextNetwork(numbers, parts, added, learned_table=False), f"{size:,} tokens, each as one number", False
        )
    return Assembly(TextNetwork(None, parts, added), f"{size:,} tokens, each a 1 among zeros (one-hot)", False)
