"""The folder of a job: a manifest that says what makes its rows, and a file for each part, whole or not there."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tui_gen import __version__
from tui_gen.bulk.compute import Setup, decode
from tui_gen.errors import TuiGenError, UsageError
from tui_gen.files import lock_at_once, read_bytes, read_text, replace_file
from tui_gen.json_fields import parse_json, readable_json
from tui_gen.library import LoadedModel

MANIFEST = "_manifest.json"
"""Readers of folders of data leave such names out."""
FORMAT = 1
COLUMNS = {
    "sample": "the number of the row, and of its random numbers under the seed",
    "prompt": "as it was given",
    "text": "the whole text; of a sample with its prompt",
    "file": "the name of the file",
    "pixels": "levels, row by row; of three channels pixel by pixel",
    "tokens": "how many were sampled, or scored",
    "logprob": "nats: the sum over these, at temperature 1 and with nothing cut",
    "ended": "whether the model came to an end before the length",
    "png": "the picture, a pixel for a pixel; in JSON as base64",
}


class Results:
    """Parts that are there, and those that come."""

    def __init__(self, folder: Path, facts: dict[str, Any]) -> None:
        """facts: as of `manifest`.

        Raises UsageError for a folder of other rows, or with something else in it; OSError where it cannot be written.
        """
        self.folder, self._suffix = folder, facts["form"]
        self.rows, self.part_rows = int(facts["rows"]), int(facts["part_rows"])
        if (before := read_manifest(folder)) is None:
            if any(path.name != MANIFEST + ".tmp" for path in folder.iterdir()):
                raise UsageError(f"{folder} has other files in it; choose a folder that is new or empty")
            replace_file(folder / MANIFEST, (readable_json(facts) + "\n").encode())
        elif different := [key for key in facts if key != "tui_gen" and before.get(key) != facts[key]]:
            raise UsageError(f"{folder} {_difference(before, facts, different[0])}; choose another folder")

    def path(self, number: int) -> Path:
        """Of a part."""
        return self.folder / f"part-{number:06}.{self._suffix}"

    def has(self, number: int) -> bool:
        """Whether a part is there."""
        return self.path(number).exists()

    def rows_of(self, number: int) -> int:
        """How many a part has."""
        return min(self.part_rows, self.rows - number * self.part_rows)

    def read(self, number: int) -> list[dict[str, Any]]:
        """The rows of a part, as of `encode`. Raises TuiGenError for one that is damaged."""
        content = read_bytes(self.path(number))
        try:
            return decode(content, self._suffix)
        except (ValueError, OSError, TuiGenError) as fault:
            raise TuiGenError(f"{self.path(number)} is damaged; delete it, and it is made again") from fault

    def count(self) -> int:
        """How many rows are there."""
        names = set(os.listdir(self.folder))
        parts = range(-(-self.rows // self.part_rows))
        return sum(self.rows_of(number) for number in parts if self.path(number).name in names)

    def put(self, number: int, content: bytes) -> None:
        """Writes a part, whole or not at all. Raises OSError that names it."""
        replace_file(self.path(number), content)


def manifest(loaded_model: LoadedModel, setup: Setup, job: dict[str, Any], *, rows: int, size: int) -> dict[str, Any]:
    """What makes the rows again, and how they are cut. job: as of `Job.facts`. size: rows of a part."""
    others = {"text", "pixels", "file", "png"} - {setup.key, "png" if setup.key == "pixels" else ""}
    return {
        "format": FORMAT,
        "tui_gen": __version__,
        "model": {"name": loaded_model.name, **setup.files},
        "job": {"seed": setup.seed, **job},
        "form": setup.form,
        "rows": rows,
        "part_rows": size,
        "parts": -(-rows // size),
        "columns": {name: says for name, says in COLUMNS.items() if name not in others},
    }


def _difference(before: dict[str, Any], facts: dict[str, Any], key: str) -> str:
    """What is not the same."""
    old, new = before.get(key), facts[key]
    if isinstance(old, dict) and isinstance(new, dict):
        missing = object()
        key = next((name for name in {**old, **new} if old.get(name, missing) != new.get(name, missing)), key)
        old, new = old.get(key), new.get(key)
    return f"holds rows of another job, with {key} {old!r:.60} and not {new!r:.60}"


def read_manifest(folder: Path) -> dict[str, Any] | None:
    """What stands in a folder's manifest; None where there is none. Raises TuiGenError for one that cannot be read."""
    path = folder / MANIFEST
    if not os.path.lexists(path):
        return None
    content = parse_json(read_text(path))
    facts = content if isinstance(content, dict) and content.get("format") == FORMAT else {}
    job, size = facts.get("job"), facts.get("part_rows")
    if not isinstance(job, dict) or type(job.get("seed")) is not int or type(size) is not int or size < 1:
        raise TuiGenError(f"{path} is not of a job of this version")
    return facts


def part_rows(folder: Path) -> int | None:
    """How many rows a part of a folder has; None where no job is at home."""
    return (read_manifest(folder) or {}).get("part_rows")


@contextmanager
def lock(folder: Path) -> Iterator[None]:
    """Keeps others from working at the same folder, which is made. Raises TuiGenError where another process does."""
    folder.mkdir(parents=True, exist_ok=True)
    file = os.open(folder, os.O_RDONLY)
    try:
        if not lock_at_once(file, without=True):
            raise TuiGenError(f"another process is at work in {folder}; wait for it, or choose another folder")
        yield
    finally:
        os.close(file)
