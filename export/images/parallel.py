"""Convolutions that are no chain though their shapes would make one: their names say that they run beside others."""

from __future__ import annotations

from collections.abc import Sequence

from export.images.layers import Conv
from tui_gen.errors import TuiGenError

_GATES = frozenset({"sigmoid", "sigm", "gate", "g"})
_SIGNALS = frozenset({"tanh", "filter", "signal", "f"})
_SKIPS = frozenset({"skip"})


def refuse_parallel(convs: Sequence[Conv]) -> None:
    """Raises TuiGenError for the two convolutions of a gate (tanh and sigmoid), and for one that skips to the head."""
    for conv in convs:
        beside = [other for other in convs if _parent(other) == _parent(conv) and other is not conv]
        signals = [other for other in beside if _words(other) & _SIGNALS and other.outputs == conv.outputs]
        if _words(conv) & _GATES and signals:
            _refuse(f"{signals[0].name} and {conv.name} seem to make a gate together")
        if _words(conv) & _SKIPS and beside:
            _refuse(f"{conv.name} seems to skip to the head")


def _refuse(why: str) -> None:
    raise TuiGenError(
        f"{why}, and how they are joined no file tells; "
        "the network can be exported with --factory package.module:function"
    )


def _parent(conv: Conv) -> str:
    return conv.name.rpartition(".")[0]


def _words(conv: Conv) -> set[str]:
    return set(conv.name.rpartition(".")[2].lower().split("_"))
