"""What a job is to draw: rows, each known by its number, and the parts that they are cut into."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, NamedTuple

from tui_gen.errors import TuiGenError, errors_of
from tui_gen.files import open_regular
from tui_gen.json_fields import JsonFields, parse_json
from tui_gen.library import LoadedModel
from tui_gen.sampling.params import SamplingParams

MAX_LINE = 2**20
"""Characters of a line of a file of prompts."""
_KNOBS = tuple(field.name for field in fields(SamplingParams))
_KEYS = ("prompt", "n", "length", *_KNOBS)


@dataclass(frozen=True)
class Request:
    """Rows that differ by their number alone."""

    prompt: str
    params: SamplingParams
    length: int | None = None
    """Tokens to sample at most; None for as many as suit the model."""
    count: int = 1
    """How many rows."""


class Part(NamedTuple):
    """Rows that are drawn by one process and kept in one file."""

    number: int
    first: int
    """The number of its first row."""
    requests: tuple[Request, ...]

    @property
    def rows(self) -> int:
        """How many."""
        return sum(request.count for request in self.requests)


@dataclass(frozen=True)
class Job:
    """All rows, in their order: those of one request, or of a file with one a line."""

    defaults: Request
    """What is drawn, or what a line of the file leaves out."""
    path: Path | None = None
    """Of a file of prompts."""

    def requests(self, loaded_model: LoadedModel | None = None) -> Iterator[Request]:
        """loaded_model: is to read each prompt. Raises TuiGenError that names the line at fault."""
        for place, line in _lines(self.path) if self.path else [("", None)]:
            with errors_of(place) if place else nullcontext():
                request = self.defaults if line is None else _request(line, self.defaults)
                if loaded_model:
                    loaded_model.codec.prompt([request.prompt])
            yield request

    def count(self, loaded_model: LoadedModel) -> int:
        """How many rows there are. Raises TuiGenError for one that the model cannot draw, and names its line."""
        return sum(request.count for request in self.requests(loaded_model))

    def facts(self) -> dict[str, Any]:
        """What makes the same rows again, beside the model and the seed."""
        if self.path is None:
            source: dict[str, Any] = {"prompt": self.defaults.prompt}
        else:
            with open(open_regular(self.path), "rb") as file:
                source = {"prompts": self.path.name, "sha256": hashlib.file_digest(file, "sha256").hexdigest()}
        knobs = {name: getattr(self.defaults.params, name) for name in _KNOBS}
        return {**source, **knobs, "length": self.defaults.length, "n": self.defaults.count}


def _lines(path: Path) -> Iterator[tuple[str, str]]:
    """Those that are not blank, and where each stands."""
    try:
        with open(open_regular(path), encoding="utf-8") as file:
            for number, line in enumerate(iter(lambda: file.readline(MAX_LINE + 1), ""), 1):
                if len(line) > MAX_LINE:
                    raise TuiGenError(f"{path}, line {number} has more than {MAX_LINE:,} characters")
                if text := line.strip():
                    yield f"{path}, line {number}:", text
    except UnicodeDecodeError as fault:
        raise TuiGenError(f"{path} is not UTF-8 text") from fault
    except OSError as fault:
        raise TuiGenError(f"{path} cannot be read: {fault.strerror}") from fault


def _request(line: str, defaults: Request) -> Request:
    """Of a line: a prompt, or an object."""
    if not line.startswith("{"):
        return replace(defaults, prompt=line)
    values = JsonFields(parse_json(line, longest=MAX_LINE), "")
    values.refuse_others(_KEYS)
    knobs: dict[str, Any] = {name: values.number(name) for name in _KNOBS if values.has(name)}
    if "top_k" in knobs:
        knobs["top_k"] = values.integer("top_k")
    return Request(
        values.text("prompt", defaults.prompt, longest=MAX_LINE),
        replace(defaults.params, **knobs).checked(),
        values.integer("length") if values.has("length") else defaults.length,
        values.integer("n", minimum=1) if values.has("n") else defaults.count,
    )


def cut(requests: Iterable[Request], size: int) -> Iterator[Part]:
    """Parts of so many rows each, but for the last."""
    first, number, room, queue = 0, 0, size, list[Request]()
    for request in requests:
        left = request.count
        while left:
            count = min(room, left)
            queue.append(replace(request, count=count))
            left, room = left - count, room - count
            if not room:
                yield Part(number, first, tuple(queue))
                first, number, room, queue = first + size, number + 1, size, []
    if queue:
        yield Part(number, first, tuple(queue))
