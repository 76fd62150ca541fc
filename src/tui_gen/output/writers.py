"""Writers of runs without a screen: text and JSON lines, or a writer of pictures; and where they write to."""

from __future__ import annotations

import contextlib
import json
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO, Protocol

import numpy as np

from tui_gen.errors import TuiGenError, UsageError
from tui_gen.images.codec import ImageCodec
from tui_gen.images.encode import FileWriter, row_writer
from tui_gen.library import LoadedModel
from tui_gen.sampling.params import Tokens
from tui_gen.sampling.step import Step
from tui_gen.sampling.sweep import Sweep
from tui_gen.terminal_text import scrub, scrub_line
from tui_gen.text.codec import Codec, TextCodec

_FORMS = {".png": "png", ".gif": "gif", ".jsonl": "jsonl"}


class StepWriter(Protocol):
    """Takes steps as they come and writes what can be written."""

    @property
    def bundle(self) -> type[list[Step]]:
        """What to collect the steps of a frame in."""
        ...

    def write(self, steps: Sequence[Step]) -> None:
        """Writes what these steps complete."""
        ...

    def close(self) -> None:
        """Writes what is left, also of a run that was cut short."""
        ...


class StepsWithFigures(list[Step]):
    """Steps whose figures are computed as they come, while a model on a GPU still has their logits at hand."""

    def append(self, step: Step, /) -> None:
        """Takes the next step."""
        _ = step.logprob, step.entropy
        super().append(step)


def checked_format(loaded_model: LoadedModel, form: str | None, path: str | None = None) -> str | None:
    """The format that was asked for, or that the ending of a file's name says; None for what suits the model.

    Raises UsageError for one that does not suit the model.
    """
    form = form or _FORMS.get(Path(path or "").suffix.lower())
    if isinstance(loaded_model.codec, TextCodec) and form not in (None, "text", "jsonl"):
        raise UsageError(f"{loaded_model.card.name} writes text; --format {form} is for pictures")
    if isinstance(loaded_model.codec, ImageCodec) and form == "text":
        raise UsageError(f"{loaded_model.card.name} draws pictures; use --format ascii, blocks, png, gif or jsonl")
    return form


def writer_for(
    loaded_model: LoadedModel,
    form: str | None,
    samples: int,
    file: BinaryIO,
    *,
    given: Tokens | None = None,
    sweep: Sweep | None = None,
) -> StepWriter:
    """The writer for a format that suits the model, or for what suits model and destination.

    given: the levels of a picture that is completed; they are seen even if the run does not come to them.
    sweep: what the samples differ by, if it is a knob.
    """
    codec = loaded_model.codec
    if form == "jsonl":
        return JsonLines(codec, samples, file, sweep)
    if isinstance(codec, TextCodec):
        return TextWriter(codec, samples, file, sweep)
    picture = codec.picture(samples)
    if given is not None:
        picture.preset(given)
    if form in ("png", "gif"):
        return FileWriter(picture, file, form)
    return row_writer(picture, file, form)


def text_headings(samples: int, sweep: Sweep | None = None) -> list[str]:
    """A line above each of several texts: its number, or what it is made with; nothing above a single one."""
    if samples == 1:
        return [""]
    names = sweep.headings() if sweep else [f"{number} of {samples}" for number in range(1, samples + 1)]
    return [f"--- {name} ---\n" for name in names]


class TextWriter:
    """The first sample as it appears; the others after it, each under its heading."""

    bundle = list[Step]

    def __init__(self, codec: TextCodec, samples: int, file: BinaryIO, sweep: Sweep | None = None) -> None:
        self._readers = [codec.reader() for _ in range(samples)]
        self._texts: list[list[str]] = [[] for _ in range(samples)]
        self._file, self._terminal = file, file.isatty()
        self._headings = text_headings(samples, sweep)
        self._put(self._headings[0])

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
        for heading, text in zip(self._headings[1:], map("".join, self._texts[1:]), strict=True):
            self._put(heading + text)
            self._end_line(text)
        self._file.flush()

    def _end_line(self, text: str) -> None:
        if not text.endswith("\n"):
            self._put("\n")

    def _put(self, text: str) -> None:
        content = scrub(text) if self._terminal else text
        self._file.write(content.encode("utf-8", "replace"))


class JsonLines:
    """One object per sampled token. `index` counts those of the sample, from 0. `logprob` (nats) and `entropy` (bits)
    are of the model's own distribution, at temperature 1 and with nothing cut; `ms` is what the step took for all
    samples together. Of a sweep, `knob` and `value` say what the sample was made with.
    """

    bundle = StepsWithFigures

    def __init__(self, codec: Codec, samples: int, file: BinaryIO, sweep: Sweep | None = None) -> None:
        self._codec, self._file = codec, file
        self._sweep_facts = (
            [{"knob": sweep.knob, "value": value} for value in sweep.values] if sweep else [{}] * samples
        )
        self._readers = [codec.reader() for _ in range(samples)] if isinstance(codec, TextCodec) else []
        self._counts, self._values = [0] * samples, 0

    def write(self, steps: Sequence[Step]) -> None:
        for step in steps:
            for sample in np.flatnonzero(step.live):
                text = self._readers[sample].read(int(step.tokens[sample])) if self._readers else None
                if not step.given[sample]:
                    self._put(step, int(sample), text)
            if isinstance(self._codec, ImageCodec):
                self._values += int(step.tokens[0] < self._codec.image.levels)
        self._file.flush()

    def close(self) -> None:
        """Nothing is left."""

    def _put(self, step: Step, sample: int, text: str | None) -> None:
        index = self._counts[sample]
        self._counts[sample] += 1
        facts: dict[str, object] = {"sample": sample, **self._sweep_facts[sample]}
        facts.update(index=index, id=int(step.tokens[sample]))
        if isinstance(self._codec, ImageCodec):
            facts.update(self._codec.image.named_place(self._values))
        else:
            facts["text"] = text
        facts["logprob"] = round(float(step.logprob[sample]), 6)
        facts["entropy"] = round(float(step.entropy[sample]), 6)
        facts["ms"] = round(1000 * step.seconds, 4)
        self._file.write(json.dumps(facts).encode() + b"\n")


def say(*lines: str) -> None:
    """Tells things on stderr, each in one line."""
    for line in lines:
        print(f"tui-gen: {scrub_line(line)}", file=sys.stderr)


@contextlib.contextmanager
def closing(writer: StepWriter) -> Iterator[StepWriter]:
    """Closes it also after an interruption: what was made stays. A reader that has gone is no second error."""
    try:
        yield writer
    finally:
        with contextlib.suppress(BrokenPipeError) if sys.exc_info()[0] else contextlib.nullcontext():
            writer.close()


@contextlib.contextmanager
def destination(path: str | None) -> Iterator[BinaryIO]:
    """A file to write to; stdout, if no path is given. Raises TuiGenError for one that cannot be written or that is
    there already: nothing is overwritten.
    """
    if path is None:
        if sys.stdout is None:
            raise TuiGenError("stdout is closed; add -o FILE")
        yield sys.stdout.buffer
        return
    try:
        file = open(path, "wb" if _is_device(path) else "xb")  # noqa: SIM115
    except FileExistsError as fault:
        raise TuiGenError(f"{path} exists already and is left as it is; choose another name") from fault
    except OSError as fault:
        raise TuiGenError(f"{path} cannot be written: {fault.strerror}") from fault
    with file:
        yield file


def _is_device(path: str) -> bool:
    """Such as a terminal or a pipe, which holds nothing that could be lost."""
    return os.path.exists(path) and not os.path.isfile(path)
