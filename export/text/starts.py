"""Learned states before the first token."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

from torch import Tensor

from export.text.parts import Layer
from export.text.recurrence import Recurrence

_NAMED = re.compile(r"start|init|begin|first|learned|^[hc]_?[0x]$|^(hidden|cell|state)_?0$")
_OF_C = re.compile(r"(^|_)(c|cell|cell_state|c[0xt])(_|\d|$)")


def is_start(name: str) -> bool:
    """Whether a parameter is called like a first state."""
    return bool(_NAMED.search(_split(name)[1].lower()))


def _split(name: str) -> tuple[str, str, str]:
    """`rnn.h0.1` -> (`rnn`, `h0`, `1`); `rnn.h0` -> (`rnn`, `h0`, ``)."""
    path, _, leaf = name.rpartition(".")
    if not leaf.isdecimal():
        return path, leaf, ""
    number = leaf
    path, _, leaf = path.rpartition(".")
    return path, leaf, number


def with_starts(layers: Sequence[Layer], loose: dict[str, Tensor]) -> tuple[list[Layer], list[str]]:
    """The layers with their first states, which are taken out of `loose`, and the names of these.

    A state is [layers, 1, width], [layers, width], or [width] of every layer.
    """
    layers, taken = list(layers), []
    for name in list(loose):
        path, leaf, number = _split(name)
        if not is_start(name):
            continue
        state = "c" if _OF_C.search(leaf.lower()) else "h"
        places = _places(layers, path, number, state)
        rows = _rows(loose[name], [layers[place].states()[state] for place in places])
        if rows:
            for place, row in zip(places, rows, strict=True):
                layers[place] = _started(layers[place], state, row)
            taken.append(name)
            del loose[name]
    return layers, taken


def _places(layers: Sequence[Layer], path: str, number: str, state: str) -> list[int]:
    """Which layers a state is for: those of its own module, if there are any."""
    every = [at for at, layer in enumerate(layers) if state in layer.states()]
    own = [at for at in every if path and (layers[at].name + ".").startswith(path + ".")] or every
    return own[int(number) : int(number) + 1] if number else own


def _rows(value: Tensor, widths: list[int]) -> list[Tensor]:
    """A row for each layer; none if the sizes do not fit."""
    if not widths or len(set(widths)) > 1 or value.shape[-1:] != (widths[0],):
        return []
    rows = value.reshape(-1, widths[0])
    sides = [side for side in value.shape[:-1] if side != 1]
    if len(rows) == len(widths) and len(sides) <= 1:
        return list(rows)
    return [rows[0]] * len(widths) if len(rows) == 1 else []


def _started(layer: Layer, state: str, row: Tensor) -> Layer:
    if isinstance(layer, Recurrence) and state == "c":
        return replace(layer, start_c=row)
    return replace(layer, start_h=row)
