"""Text files that are there whole or not at all, and the JSON lines of a training log."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any


def replace_text(path: Path, text: str) -> None:
    """Writes beside the file and renames, so that a kill leaves the old text or the new."""
    partial = path.with_name(f"{path.name}.partial")
    partial.write_text(text, encoding="utf-8")
    partial.replace(path)


def json_lines(entries: Iterable[Mapping[str, Any]]) -> str:
    """One object a line."""
    return "".join(json.dumps(entry) + "\n" for entry in entries)
