"""Why the pieces of a checkpoint make no language model that can be played."""

from __future__ import annotations

import re
from collections.abc import Mapping

from torch import Tensor

from export.text.foreign import explained
from export.text.maps import BatchNorm, LayerNorm
from export.text.parts import Layer
from export.text.pieces import Pieces
from export.text.questions import Questions
from export.text.recurrence import Recurrence
from tui_gen.errors import TuiGenError

_SHOWN = 8
_SIDES = {
    "turns one text into another, with recurrent layers of an encoder and a decoder": (
        {"enc", "encoder"},
        {"dec", "decoder"},
    ),
    "reads the text in both directions": ({"forward", "fwd", "fw"}, {"backward", "bwd", "bw"}),
}
"""Words in the names of layers that do not stand one upon the other."""


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
