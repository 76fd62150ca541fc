"""Computes the rows of a part: those alike in one batch, each as if it were alone, and all of them as one table."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import astuple, dataclass
from operator import itemgetter
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np

from tui_gen.bulk.job import Part, Request
from tui_gen.card import ImageSpec, ModelCard
from tui_gen.errors import TuiGenError
from tui_gen.files import file_digest
from tui_gen.generation.generate import check_rows, generate
from tui_gen.images.encode import png
from tui_gen.images.picture import Picture
from tui_gen.json_fields import parse_json
from tui_gen.library import LoadedModel, network_files, open_model
from tui_gen.output.writers import SampleRows
from tui_gen.runtime.session import Provider
from tui_gen.sampling.params import FREE, Tokens
from tui_gen.scoring.given import Given, GivenReader

Form = Literal["parquet", "jsonl"]
Key = Literal["text", "pixels", "file"]
Row = dict[str, Any]


@dataclass(frozen=True)
class Setup:
    """What a process needs to compute any part."""

    model: Path
    """A folder, or a graph that says what it is."""
    files: Mapping[str, str]
    """As of `digests`, when the job began."""
    seed: int
    batch: int
    """Rows that are computed at once, at most."""
    form: Form
    key: Key
    """What a row holds."""
    provider: Provider = "cpu"
    device: int = 0
    trust: bool = False


class Computer:
    """A model that draws or scores parts, with one thread of a processor."""

    def __init__(self, setup: Setup) -> None:
        """Raises TuiGenError for a model that does not open, or is another one than when the job began."""
        self._setup = setup
        self._loaded_model = open_numbered(setup.model, provider=setup.provider, device=setup.device, trust=setup.trust)
        self._reader = GivenReader(self._loaded_model)
        if digests(setup.model) != setup.files:
            raise TuiGenError(f"{setup.model} was written anew since the job began; draw it to another folder")

    def compute(self, part: Part) -> bytes:
        """The file of a part, its rows in their order. Raises TuiGenError where the model fails."""
        rows, scores = list[Row](), [each for each in part.content if isinstance(each, Given)]
        if scores:
            rows += [score.row(self._setup.key) for score in self._reader.scores(scores, part.first)]
        for alike in _alike(self._loaded_model, part.first, part.content):
            for at in range(0, len(alike), self._setup.batch):
                rows += self._draw(alike[at : at + self._setup.batch])
        rows.sort(key=itemgetter("sample"))
        return encode(rows, self._loaded_model.card, self._setup)

    def _draw(self, batch: Sequence[_Sample]) -> Iterator[Row]:
        model, request, samples = self._loaded_model.model, batch[0].request, SampleRows(self._loaded_model, len(batch))
        prompt, numbers = np.stack([sample.tokens for sample in batch]), [sample.number for sample in batch]
        length = self._loaded_model.codec.length(request.length)
        for step in generate(model, prompt, request.params, length=length, seed=self._setup.seed, numbers=numbers):
            samples.add(step)
        for sample, row in zip(batch, samples.rows(range(len(batch))), strict=True):
            yield {"sample": sample.number, "prompt": sample.request.prompt, **row}


class _Sample(NamedTuple):
    number: int
    request: Request
    tokens: Tokens
    """[n]: of its prompt."""


def _alike(loaded_model: LoadedModel, first: int, content: Sequence[Request | Given]) -> Iterator[list[_Sample]]:
    """The samples with one length and one setting of the knobs, and prompts of as many tokens: so each is computed as
    it would be without the others.
    """
    groups, number = dict[tuple[Any, ...], list[_Sample]](), first
    for request in content:
        if isinstance(request, Given):
            continue
        [tokens] = loaded_model.codec.prompt([request.prompt])
        group = groups.setdefault((len(tokens), request.length, *astuple(request.params)), [])
        group += [_Sample(number + at, request, tokens) for at in range(request.rows)]
        number += request.rows
    yield from groups.values()


def open_numbered(model: str | Path, **options: Any) -> LoadedModel:
    """Opens a model whose samples are known by their numbers, with one thread. options: as of `open_model`.

    Raises TuiGenError as that does, and for any other model.
    """
    loaded_model = open_model(model, **{**options, "threads": 1})
    check_rows(loaded_model.model)
    return loaded_model


def digests(model: Path) -> dict[str, str]:
    """The sha256 of each of the files that decide what a model makes."""
    return {path.name: file_digest(path) for path in network_files(model)}


def encode(rows: Sequence[Row], card: ModelCard, setup: Setup) -> bytes:
    """A file of rows: Parquet, or a JSON object a line; pictures as PNG too, which is base64 in JSON."""
    is_picture = setup.key == "pixels"
    if is_picture and card.image:
        rows = [{**row, "png": _png(card.image, row["pixels"])} for row in rows]
    if setup.form == "parquet":
        return _parquet(rows, setup.key, card)
    lines = ({**row, "png": base64.b64encode(row["png"]).decode()} if is_picture else row for row in rows)
    return "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines).encode("utf-8", "replace")


def decode(content: bytes, form: Form) -> list[Row]:
    """The rows of a file, without the PNG. Raises ValueError or TuiGenError for one that is damaged."""
    if form == "parquet":
        import_pyarrow()
        from pyarrow import parquet

        rows = parquet.read_table(io.BytesIO(content)).to_pylist()
    else:
        rows = [parse_json(line) for line in content.splitlines()]
    return [{key: value for key, value in row.items() if key != "png"} for row in rows]


def _png(image: ImageSpec, pixels: Any) -> bytes:
    picture, levels = Picture(image, 1), np.array(pixels, dtype=np.float64)  # NaN where nothing is drawn
    picture.preset(np.nan_to_num(levels, nan=FREE).astype(np.int64))
    return png(picture, side=1)


def _parquet(rows: Sequence[Row], key: Key, card: ModelCard) -> bytes:
    arrow = import_pyarrow()
    from pyarrow import parquet

    file = io.BytesIO()
    parquet.write_table(arrow.Table.from_pylist(list(rows), schema=_schema(arrow, key, card)), file, compression="zstd")
    return file.getvalue()


def _schema(arrow: Any, key: Key, card: ModelCard) -> Any:
    content = arrow.string()
    if key == "pixels" and card.image:
        content = arrow.int16()
        for _ in card.image.shape:
            content = arrow.list_(content)
    columns = {"sample": arrow.int64(), "prompt": arrow.string(), key: content, "tokens": arrow.int32()}
    columns.update(logprob=arrow.float64(), ended=arrow.bool_(), **({"png": arrow.binary()} if key == "pixels" else {}))
    return arrow.schema(list(columns.items()))


def import_pyarrow() -> Any:
    """The package that writes Parquet. Raises TuiGenError where it is not installed."""
    try:
        import pyarrow
    except ImportError as fault:
        raise TuiGenError(
            "Parquet needs the package pyarrow: pip install 'tui-gen[bulk]', or choose --format jsonl"
        ) from fault
    return pyarrow
