"""What a script does without tensors, and so without a trace in any file: told by --assume, or not done."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from export.reading import Missing
from export.text.maps import ACTIVATIONS
from export.text.parts import Layer, Part
from export.text.questions import Questions
from tui_gen.errors import TuiGenError

Residuals = tuple[tuple[int, int], ...]
"""(first part, last part): what the first reads is added to what the last gives."""
_SCALED = "sqrt-width"


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
