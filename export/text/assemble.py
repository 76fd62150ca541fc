"""A recurrent language model put together from its pieces: what it reads, in which order its parts stand."""

from __future__ import annotations

from collections.abc import Container, Iterator
from dataclasses import dataclass, replace

import torch

from export.loading.contents import Checkpoint
from export.reading import Missing
from export.text import evidence
from export.text.activations import with_activations
from export.text.chain import orders
from export.text.combined import Combined
from export.text.faults import leftover, no_chain
from export.text.maps import Linear
from export.text.network import TextNetwork
from export.text.parts import Part
from export.text.pieces import Pieces
from export.text.questions import Questions
from export.text.untold import embedded, residuals

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
