"""`tui-gen models` and `tui-gen inspect`."""

from __future__ import annotations

import json
import shutil
import sys
from dataclasses import asdict

from tui_gen.audit import audit
from tui_gen.audit_report import report_lines
from tui_gen.errors import UsageError
from tui_gen.library import Entry, Playable, find_models, locate, open_model, search_path
from tui_gen.runtime import Provider
from tui_gen.scrub import scrub_line


def list_models(*, as_json: bool) -> int:
    """Prints what is installed; returns the exit status."""
    entries = find_models()
    if as_json:
        print(json.dumps([_facts(entry) for entry in entries], indent=2))
        return 0
    if not entries:
        print("no models; looked in " + scrub_line(", ".join(map(str, search_path()))))
        return 0
    rows = [("NAME", "KIND", "ARCHITECTURE", "SIZE", "QUALITY"), *map(_columns, entries)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
    return 0


def inspect(model: str, provider: Provider, *, threads: int = 0, device: int = 0, audited: bool = False) -> int:
    """Prints everything that a model folder says, what its graph really is, and on demand what it really reads.

    Returns the exit status.
    """
    playable = open_model(locate(model), provider=provider, threads=threads, device=device)
    playable.model.place(1)
    if audited and not playable.card.image:
        raise UsageError(f"--audit is for models that draw; {playable.card.name} writes text")
    for key, value in playable.card.known_facts().items():
        print(f"{key:15} {scrub_line(_brief(value))}")
    print(f"{'folder':15} {scrub_line(str(playable.path))}")
    print(f"{'provider':15} {playable.model.runs_on}")
    print(f"{'threads':15} {playable.model.threads}")
    for title, ports in (("inputs", playable.model.inputs), ("outputs", playable.model.outputs)):
        for index, port in enumerate(ports):
            print(f"{title if index == 0 else '':15} {scrub_line(str(port))}")
    if audited:
        _print_audit(playable)
    return 0


def _print_audit(playable: Playable) -> None:
    print("tui-gen: auditing, for about a minute at most", file=sys.stderr)
    found = audit(playable.model, playable.card)
    print("\n".join(report_lines(found, shutil.get_terminal_size().columns)))


def _facts(entry: Entry) -> dict[str, object]:
    facts: dict[str, object] = {"name": entry.name, "path": str(entry.path), "bytes": entry.size}
    if entry.card is None:
        return {**facts, "error": entry.fault}
    quality = asdict(entry.card.quality) if entry.card.quality else None
    return {**facts, "kind": entry.card.kind, "architecture": entry.card.architecture, "quality": quality}


def _columns(entry: Entry) -> tuple[str, ...]:
    if entry.card is None:
        return tuple(map(scrub_line, (entry.name, "?", "", _size(entry.size), entry.fault)))
    quality = entry.card.quality
    figure = str(quality) if quality else ""
    return tuple(map(scrub_line, (entry.name, entry.card.kind, entry.card.architecture, _size(entry.size), figure)))


def _size(count: int) -> str:
    return f"{count / 1e6:.1f} MB"


def _brief(value: object) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 300 else text[:300] + " ..."
