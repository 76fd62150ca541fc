"""The folder of a job: a manifest that says what makes its rows, and a file for each part, whole or not there."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tui_gen import __version__
from tui_gen.bulk.compute import Setup, decode
from tui_gen.errors import TuiGenError, UsageError, errors_of
from tui_gen.files import lock_at_once, read_bytes, read_text, replace_file
from tui_gen.json_fields import parse_json, readable_json
from tui_gen.library import LoadedModel

MANIFEST = "_manifest.json"
"""Readers of folders of data leave such names out."""
FORMAT = 1
_ASIDE = {"tui_gen", "columns", "model", "job", "prompts", "rows", "parts"}
"""What may differ in manifests of the same rows, follows from the rest, or is looked at key by key."""
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

    def __init__(self, folder: Path, facts: dict[str, Any], before: dict[str, Any] | None) -> None:
        """facts: as of `manifest`. before: as of `read_manifest`.

        Raises UsageError for a folder of other rows, or with something else in it; OSError where it cannot be written.
        """
        self.folder, self._suffix = folder, facts["form"]
        self.rows, self.part_rows = int(facts["rows"]), int(facts["part_rows"])
        self.parts = range(-(-self.rows // self.part_rows))
        if before is None:
            if any(path.name != MANIFEST + ".tmp" for path in folder.iterdir()):
                raise UsageError(f"{folder} has other files in it; choose a folder that is new or empty")
            replace_file(folder / MANIFEST, (readable_json(facts) + "\n").encode())
        elif difference := _difference(before, facts):
            raise UsageError(f"{folder} holds rows of another job, with {difference}; choose another folder")

    def path(self, number: int) -> Path:
        """Of a part."""
        return self.folder / f"part-{number:06}.{self._suffix}"

    def there(self) -> list[int]:
        """The numbers of the parts that are there; an empty file is none, as a machine that went down may leave."""
        with os.scandir(self.folder) as entries:
            names = {entry.name for entry in entries if entry.is_file() and entry.stat().st_size}
        return [number for number in self.parts if self.path(number).name in names]

    def rows_of(self, number: int) -> range:
        """The numbers of the rows of a part."""
        first = number * self.part_rows
        return range(first, min(first + self.part_rows, self.rows))

    def read(self, number: int) -> list[dict[str, Any]]:
        """The rows of a part, as of `encode`. Raises TuiGenError for one that is damaged, or of other rows."""
        content = read_bytes(self.path(number))
        try:
            rows = decode(content, self._suffix)
            if [row["sample"] for row in rows] != list(self.rows_of(number)):
                raise ValueError("other rows")
        except (ValueError, LookupError, TypeError, OSError, TuiGenError) as fault:
            raise TuiGenError(f"{self.path(number)} is damaged; delete it, and it is made again") from fault
        return rows

    def put(self, number: int, content: bytes) -> None:
        """Writes a part, whole or not at all. Raises OSError that names it."""
        replace_file(self.path(number), content)


def manifest(loaded_model: LoadedModel, setup: Setup, job: dict[str, Any], *, rows: int, size: int) -> dict[str, Any]:
    """What makes the rows again, and how they are cut. job: as of `Job.facts`, and the seed. size: rows of a part."""
    others = {"text", "pixels", "file", "png"} - {setup.key, "png" if setup.key == "pixels" else ""}
    return {
        "format": FORMAT,
        "tui_gen": __version__,
        "model": {"name": loaded_model.name, **setup.files},
        "job": job,
        "form": setup.form,
        "rows": rows,
        "part_rows": size,
        "parts": -(-rows // size),
        "columns": {name: says for name, says in COLUMNS.items() if name not in others},
    }


def _difference(before: dict[str, Any], facts: dict[str, Any]) -> str:
    """All that is not the same; empty where the rows are."""
    old, new, missing = _flat(before), _flat(facts), object()
    different = [key for key in {**new, **old} if old.get(key, missing) != new.get(key, missing)]
    return ", ".join(_told(key, old.get(key), new.get(key)) for key in different)


def _told(key: str, old: object, new: object) -> str:
    if key == "sha256":
        return "other prompts or texts"
    is_file = "." in key  # whose sum nobody knows
    return f"another {key}" if is_file else f"{key} {old!r:.60} and not {new!r:.60}"


def _flat(facts: dict[str, Any]) -> dict[str, Any]:
    """What decides about rows, from all of a manifest."""
    parts = [part for part in (facts.get("model"), facts.get("job"), facts) if isinstance(part, dict)]
    return {key: value for part in parts for key, value in part.items() if key not in _ASIDE}


def read_manifest(folder: Path) -> dict[str, Any] | None:
    """What stands in a folder's manifest; None where there is none. Raises TuiGenError for one that cannot be read."""
    path = folder / MANIFEST
    if not os.path.lexists(path):
        return None
    content = read_text(path)
    with errors_of(str(path)):
        facts = parse_json(content)
        facts = facts if isinstance(facts, dict) and facts.get("format") == FORMAT else {}
        job, size = facts.get("job"), facts.get("part_rows")
        if not isinstance(job, dict) or type(job.get("seed", 0)) is not int or type(size) is not int or size < 1:
            raise TuiGenError("is not of a job of this version")
    return facts


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
