"""How a run without a screen is written: text and JSON lines here, pictures next door."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from typing import BinaryIO, Protocol

import numpy as np

from tui_gen.card import ImageSpec
from tui_gen.codec import ImageCodec, TextCodec
from tui_gen.errors import UsageError
from tui_gen.generate import Step
from tui_gen.library import Playable
from tui_gen.picture_writers import PngWriter, RowWriter
from tui_gen.scrub import scrub


class Writer(Protocol):
    """Takes steps as they come and writes what can be written."""

    def write(self, steps: Sequence[Step]) -> None:
        """Writes what these steps complete."""
        ...

    def close(self) -> None:
        """Writes what is left, also of a run that was cut short."""
        ...


def check_format(playable: Playable, form: str | None) -> None:
    """Raises UsageError for a format that does not suit the model."""
    if isinstance(playable.codec, TextCodec) and form not in (None, "text", "jsonl"):
        raise UsageError(f"{playable.card.name} writes text; --format {form} is for pictures")
    if isinstance(playable.codec, ImageCodec) and form == "text":
        raise UsageError(f"{playable.card.name} draws pictures; use --format ascii, blocks, png or jsonl")


def writer_for(playable: Playable, form: str | None, samples: int, file: BinaryIO) -> Writer:
    """The writer for a format that suits the model, or for what suits model and destination."""
    codec = playable.codec
    if form == "jsonl":
        return JsonLines(codec, samples, file)
    if isinstance(codec, TextCodec):
        return TextWriter(codec, samples, file)
    if form == "png":
        return PngWriter(codec, samples, file)
    coloured = not os.environ.get("NO_COLOR")
    return RowWriter(codec, samples, file, form or ("blocks" if file.isatty() and coloured else "ascii"), coloured)


class TextWriter:
    """The first sample as it appears; the others after it, each under a line that numbers it."""

    def __init__(self, codec: TextCodec, samples: int, file: BinaryIO) -> None:
        self._readers = [codec.reader() for _ in range(samples)]
        self._texts: list[list[str]] = [[] for _ in range(samples)]
        self._file, self._terminal = file, file.isatty()
        if samples > 1:
            self._put(f"--- 1 of {samples} ---\n")

    def write(self, steps: Sequence[Step]) -> None:
        for step in steps:
            for sample in np.flatnonzero(step.live):
                text = self._readers[sample].read(int(step.tokens[sample]))
                if sample == 0:
                    self._put(text)
                    self._texts[0] = [text or "".join(self._texts[0])]  # only how it ends will matter
                else:
                    self._texts[sample].append(text)
        self._file.flush()

    def close(self) -> None:
        self._end_line("".join(self._texts[0]))
        for number, text in enumerate(map("".join, self._texts[1:]), start=2):
            self._put(f"--- {number} of {len(self._texts)} ---\n{text}")
            self._end_line(text)
        self._file.flush()

    def _end_line(self, text: str) -> None:
        if not text.endswith("\n"):
            self._put("\n")

    def _put(self, text: str) -> None:
        shown = scrub(text) if self._terminal else text
        self._file.write(shown.encode("utf-8", "replace"))


class JsonLines:
    """One object per sampled token. `logprob` (nats) and `entropy` (bits) are of the model's own distribution, at
    temperature 1 and with nothing cut; `ms` is what the step took for all samples together.
    """

    def __init__(self, codec: TextCodec | ImageCodec, samples: int, file: BinaryIO) -> None:
        self._codec, self._file = codec, file
        self._readers = [codec.reader() for _ in range(samples)] if isinstance(codec, TextCodec) else []
        self._counts = [0] * samples

    def write(self, steps: Sequence[Step]) -> None:
        for step in steps:
            for sample in np.flatnonzero(step.live):
                text = self._readers[sample].read(int(step.tokens[sample])) if self._readers else None
                if not step.given[sample]:
                    self._put(step, int(sample), text)
        self._file.flush()

    def close(self) -> None:
        """Nothing is left."""

    def _put(self, step: Step, sample: int, text: str | None) -> None:
        index = self._counts[sample]
        self._counts[sample] += 1
        facts: dict[str, object] = {"sample": sample, "index": index, "id": int(step.tokens[sample])}
        if isinstance(self._codec, ImageCodec):
            facts.update(_place(self._codec.image, index))
        else:
            facts["text"] = text
        facts["logprob"] = round(float(step.logprob[sample]), 6)
        facts["entropy"] = round(float(step.entropy[sample]), 6)
        facts["ms"] = round(1000 * step.seconds, 4)
        self._file.write(json.dumps(facts).encode() + b"\n")


def _place(image: ImageSpec, index: int) -> dict[str, int]:
    """Where a picture's token belongs; a channel only where there are several."""
    pixel, channel = divmod(index, image.channels)
    row, column = divmod(pixel, image.width)
    return {"row": row, "col": column} if image.channels == 1 else {"row": row, "col": column, "channel": channel}
