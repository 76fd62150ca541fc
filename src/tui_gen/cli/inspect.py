"""`tui-gen inspect`: a model's card and graph and, on demand, its receptive field as a picture in characters."""

from __future__ import annotations

import argparse
import json
import shutil
from collections.abc import Sequence
from textwrap import wrap
from typing import TYPE_CHECKING

from tui_gen.card import MAX_NAME
from tui_gen.cli import options
from tui_gen.errors import UsageError
from tui_gen.terminal_text import brief, say, scrub_line, show

if TYPE_CHECKING:  # the help loads nothing that an inspection needs
    from tui_gen.inspection.audit import Audit
    from tui_gen.inspection.receptive_field import ReceptiveField
    from tui_gen.library import LoadedModel

MAX_ROWS, MAX_PHRASES = 64, 1000
_CAPTIONS, _GAP = ("measured", "by the taps"), 3
"""Above the two drawings, and columns between them."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Describes the command's options."""
    parser.description = "Shows a model's card, its inputs and outputs, and where it really runs."
    parser.add_argument("model", metavar="MODEL", help=options.MODEL)
    parser.add_argument("--audit", action="store_true", help="of a model that draws: which pixels it really sees")
    options.add_engine_options(parser)
    options.add_checkpoint_options(parser)


def run(args: argparse.Namespace) -> int:
    """Prints everything that a model folder says, what its graph really is, and on demand what it really reads.

    Returns the exit status.
    """
    from tui_gen.library import open_model

    loaded_model = open_model(args.model, **options.engine(args))
    loaded_model.model.place(1)
    if args.audit and not loaded_model.card.image:
        raise UsageError(f"--audit is for models that draw; {loaded_model.card.name} writes text")
    for key, value in _facts(loaded_model).items():
        show(f"{key:15} {_brief(value)}")
    if loaded_model.card.proof:
        show(f"{'proved':15} {loaded_model.card.proof}")
    if loaded_model.codec.phrases:
        show(*phrase_lines(loaded_model.codec.phrases))
    if loaded_model.snapshot:
        show(f"{'hub':15} {loaded_model.address}")
    place = loaded_model.snapshot.folder if loaded_model.snapshot else loaded_model.path
    show(f"{'file' if place.is_file() else 'folder':15} {place}")
    if loaded_model.conversion:
        show(f"{'made by':15} {loaded_model.conversion.command}")
    show(f"{'provider':15} {loaded_model.model.runs_on}")
    show(f"{'threads':15} {loaded_model.model.threads}")
    for title, ports in (("inputs", loaded_model.model.inputs), ("outputs", loaded_model.model.outputs)):
        for index, port in enumerate(ports):
            show(f"{title if index == 0 else '':15} {port}")
    if args.audit:
        _print_audit(loaded_model)
    return 0


def _print_audit(loaded_model: LoadedModel) -> None:
    from tui_gen.inspection.audit import audit

    say("auditing, for about a minute at most")
    report = audit(loaded_model.model, loaded_model.card)
    show(*report_lines(report, shutil.get_terminal_size().columns))


def _facts(loaded_model: LoadedModel) -> dict[str, object]:
    """What the card says; the words of a prompt stand in place of their token ids."""
    facts = loaded_model.card.known_facts()
    if loaded_model.card.image:
        facts["image"] = {key: value for key, value in facts["image"].items() if key not in ("conditions", "exclusive")}
    return facts


def phrase_lines(phrases: Sequence[str]) -> list[str]:
    """What a prompt can be made of, at the width of the terminal; lines break between phrases, not within."""
    more = [f"and {len(phrases) - MAX_PHRASES:,} others"] if len(phrases) > MAX_PHRASES else []
    shown = [*(brief(phrase, MAX_NAME) for phrase in phrases[:MAX_PHRASES]), *more]
    unbroken = ", ".join(phrase.replace(" ", "\xa0") for phrase in shown)
    lines = wrap(scrub_line(unbroken), max(20, shutil.get_terminal_size().columns - 16), break_on_hyphens=False)
    return [f"{'' if number else 'prompt words':15} {line}".replace("\xa0", " ") for number, line in enumerate(lines)]


def _brief(value: object) -> str:
    return brief(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False), 300)


def report_lines(audit: Audit, columns: int) -> list[str]:
    """What was found, then a character per pixel, measured and by the taps; of a large picture, what is around the
    pixel in so many columns.
    """
    return [
        f"{'audit':15} {audit.checked}",
        f"{'':15} by more than rounding ({audit.worst:.2g}, and up to {audit.tolerance:.2g} would pass)",
        f"{'receptive field':15} {audit.field.summary}",
        *_higher(audit.field),
        f"{'':15} {audit.difference}",
        *warning_lines(audit.field),
        "",
        *drawing_lines([field for field in (audit.field, audit.by_taps) if field], columns),
    ]


def warning_lines(field: ReceptiveField) -> list[str]:
    """What is wrong with a receptive field; nothing for one without dead rows and columns."""
    dead = field.dead_lines
    if not dead:
        return []
    more = f" and {len(dead) - 2} more" if len(dead) > 2 else ""
    return [
        f"{'warning':15} it sees nothing of {', '.join(dead[:2])}{more},",
        f"{'':15} though of what lies beyond: a mask may lack a row or a column",
    ]


def drawing_lines(fields: Sequence[ReceptiveField], columns: int) -> list[str]:
    """A character per pixel, of large pictures around the pixel in so many columns; what was measured, and beside it or
    below what the taps say; then what the characters mean.
    """
    from tui_gen.inspection.receptive_field import ADDED, MEANINGS

    legend = "  ".join(f"{sign} {meaning}" for sign, meaning in MEANINGS.items() if sign != ADDED)
    width = fields[0].sees.shape[1]
    drawings = [_drawing(field, columns) for field in fields]
    if len(fields) == 1:
        return [*drawings[0], "", legend]
    captioned = [[caption, *drawing] for caption, drawing in zip(_CAPTIONS, drawings, strict=True)]
    if 2 * width + _GAP <= columns:
        column = max(width, len(_CAPTIONS[0]))
        rows = [f"{one:{column + _GAP}}{other}" for one, other in zip(*captioned, strict=True)]
    else:
        rows = [*captioned[0], "", *captioned[1]]
    return [*rows, "", legend]


def _higher(field: ReceptiveField) -> list[str]:
    return (
        []
        if field.row == len(field.sees) - 1
        else [f"{'':15} (counted from 0; the model is too slow for the last row)"]
    )


def _drawing(field: ReceptiveField, columns: int) -> list[str]:
    height, width = field.sees.shape
    around = _window(field.row, height, MAX_ROWS), _window(field.column, width, columns)
    return ["".join(line) for line in field.signs()[around]]


def _window(middle: int, size: int, room: int) -> slice:
    """As much as there is room for, with `middle` in the middle where possible."""
    start = max(0, min(middle - room // 2, size - room))
    return slice(start, start + room)
