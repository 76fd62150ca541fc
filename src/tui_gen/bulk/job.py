"""What a job is to draw or to score: rows, each known by its number, and the parts that they are cut into."""

from __future__ import annotations

import io
import math
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from tui_gen.card import ImageSpec
from tui_gen.errors import errors_of
from tui_gen.files import digest, file_digest, open_bytes
from tui_gen.json_fields import JsonFields, parse_json
from tui_gen.sampling.params import SamplingParams
from tui_gen.scoring.given import Given, GivenReader, read_given
from tui_gen.text.tokenizer import MAX_LINE, text_lines

_KNOBS = tuple(field.name for field in fields(SamplingParams))
_KEYS = ("prompt", "n", "length", *_KNOBS)


@dataclass(frozen=True)
class Request:
    """Rows that differ by their number alone."""

    prompt: str
    params: SamplingParams
    length: int | None = None
    """Tokens to sample at most; None for as many as suit the model."""
    rows: int = 1
    """How many rows."""


class Part(NamedTuple):
    """Rows that are computed by one process and kept in one file."""

    number: int
    first: int
    """The number of its first row."""
    content: tuple[Request, ...] | tuple[Given, ...]

    @property
    def rows(self) -> int:
        """How many."""
        return sum(each.rows for each in self.content)


class Job(Protocol):
    """All rows, in their order."""

    def content(self, reader: GivenReader | None = None) -> Iterator[Request] | Iterator[Given]:
        """reader: is to read each. Raises TuiGenError for what cannot be read, and names its place."""
        ...

    def facts(self) -> dict[str, Any]:
        """What makes the same rows again, beside the model and the seed."""
        ...


@dataclass(frozen=True)
class Drawing:
    """Samples: those of one request, or of a file with one a line."""

    defaults: Request
    """What is drawn, or what a line of the file leaves out."""
    path: Path | None = None
    """Of a file of prompts."""

    def content(self, reader: GivenReader | None = None) -> Iterator[Request]:
        for place, line in _lines(self.path) if self.path else [("", None)]:
            with errors_of(place) if place else nullcontext():
                request = self.defaults if line is None else _request(line, self.defaults)
                if reader:
                    reader.prompt(request.prompt)
            yield request

    def facts(self) -> dict[str, Any]:
        source = {"prompts": self.path.name, "sha256": file_digest(self.path)} if self.path else {}
        source = source or {"prompt": self.defaults.prompt}
        knobs = {name: getattr(self.defaults.params, name) for name in _KNOBS}
        return {**source, **knobs, "length": self.defaults.length, "n": self.defaults.rows}


@dataclass(frozen=True)
class Scoring:
    """Files, or the lines of files, that are scored."""

    paths: tuple[str, ...]
    by_line: bool
    prompt: str = ""
    image: ImageSpec | None = None
    """Of the model; None for one of text."""

    def content(self, reader: GivenReader | None = None) -> Iterator[Given]:
        if reader:
            reader.prompt(self.prompt)
        for path in self.paths:
            for given in read_given(path, _open, by_line=self.by_line, prompt=self.prompt, image=self.image):
                if reader:
                    reader.ids(given)
                yield given

    def facts(self) -> dict[str, Any]:
        by_line = {"lines": True} if self.by_line else {}
        sums = (f"{file_digest(Path(path))}  {path}\n" for path in self.paths)  # as sha256sum writes them
        return {"score": len(self.paths), "sha256": digest("".join(sums).encode()), **by_line, "prompt": self.prompt}


def _open(path: str) -> AbstractContextManager[io.BufferedReader]:
    return open_bytes(Path(path), most=math.inf)


def _lines(path: Path) -> Iterator[tuple[str, str]]:
    """Those that are not blank, and where each stands."""
    with _open(str(path)) as file:
        for number, line in enumerate(text_lines(file, str(path)), 1):
            if text := line.strip():
                yield f"{path}, line {number}:", text


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
        values.integer("n", minimum=1) if values.has("n") else defaults.rows,
    )


def cut(content: Iterable[Request] | Iterable[Given], size: int) -> Iterator[Part]:
    """Parts of so many rows each, but for the last."""
    first, number, room, queue = 0, 0, size, list[Any]()
    for each in content:
        left = each.rows
        while left:
            count = min(room, left)
            queue.append(replace(each, rows=count) if isinstance(each, Request) else each)
            left, room = left - count, room - count
            if not room:
                yield Part(number, first, tuple(queue))
                first, number, room, queue = first + size, number + 1, size, []
    if queue:
        yield Part(number, first, tuple(queue))
