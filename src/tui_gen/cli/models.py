"""`tui-gen models`: what is installed, as a table or as JSON."""

from __future__ import annotations

import argparse
import json
from typing import TYPE_CHECKING

from tui_gen.terminal_text import brief, show, show_text

if TYPE_CHECKING:
    from tui_gen.library import Entry

_WIDEST = 60
"""Characters of a cell, but of a fault."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Describes the command's options."""
    parser.description = "Lists the models that are installed."
    parser.add_argument("--json", action="store_true", help="as JSON, for programs")


def run(args: argparse.Namespace) -> int:
    """Prints what is installed; returns the exit status."""
    from tui_gen.library import find_models, search_path

    entries = find_models()
    if args.json:
        show_text(json.dumps([_facts(entry) for entry in entries], indent=2))
        return 0
    if not entries:
        show("no models; looked in " + ", ".join(map(str, search_path())))
        return 0
    rows = [("NAME", "KIND", "ARCHITECTURE", "SIZE", "QUALITY"), *map(_columns, entries)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        show("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
    return 0


def _facts(entry: Entry) -> dict[str, object]:
    facts: dict[str, object] = {"name": entry.name, "path": str(entry.path), "bytes": entry.size}
    if entry.card is None:
        return {**facts, "error": entry.fault}
    from dataclasses import asdict

    quality = asdict(entry.card.quality) if entry.card.quality else None
    return {**facts, "kind": entry.card.kind, "architecture": entry.card.architecture, "quality": quality}


def _columns(entry: Entry) -> tuple[str, ...]:
    if entry.card is None:
        return entry.name, "?", "", _size(entry.size), entry.fault
    quality = entry.card.quality
    figure = str(quality) if quality else ""
    name, architecture = (brief(text, _WIDEST) for text in (entry.name, entry.card.architecture))
    return name, entry.card.kind, architecture, _size(entry.size), brief(figure, _WIDEST)


def _size(count: int) -> str:
    return f"{count / 1e6:.1f} MB"
