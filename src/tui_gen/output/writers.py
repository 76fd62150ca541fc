"""Writers of runs without a screen: text, JSON lines of tokens or samples, or a writer of pictures; and where to."""

from __future__ import annotations

import contextlib
import json
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO, Protocol

import numpy as np

from tui_gen.card import ImageSpec
from tui_gen.errors import TuiGenError, UsageError
from tui_gen.images.codec import ImageCodec
from tui_gen.images.encode import FileWriter, row_writer
from tui_gen.library import LoadedModel
from tui_gen.sampling.params import FREE, Mask, Tokens
from tui_gen.sampling.step import Step
from tui_gen.sampling.sweep import Sweep
from tui_gen.terminal_text import PieceScrubber
from tui_gen.text.codec import Codec, TextCodec

Annotate = Callable[[dict[str, Any]], dict[str, Any]]
"""Adds facts to a row of JSON lines."""
_OTHER_PICTURES = {".bmp", ".jpg", ".jpeg", ".webp", ".tif", ".tiff", ".svg", ".pdf", ".ppm", ".pgm"}
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


class StepsWithLogprobs(list[Step]):
    """Steps whose log-probabilities are computed as they come, while a model on a GPU still has the logits."""

    def append(self, step: Step, /) -> None:
        """Takes the next step."""
        _ = step.logprob
        super().append(step)


class StepsWithFigures(StepsWithLogprobs):
    """The same for their entropies too."""

    def append(self, step: Step, /) -> None:
        """Takes the next step."""
        _ = step.entropy
        super().append(step)


def checked_format(
    loaded_model: LoadedModel, form: str | None, path: str | None = None, *, null: bool = False
) -> str | None:
    """The format that was asked for, or that the ending of a file's name says; None for what suits the model.

    null: whether NUL is to end each sample. Raises UsageError for what does not suit the model or the format.
    """
    ending = Path(path or "").suffix.lower()
    if not form and ending in _OTHER_PICTURES and isinstance(loaded_model.codec, ImageCodec):
        raise UsageError(f"no {ending} is written; end the name in .png or .gif, or name a --format")
    form = form or _FORMS.get(ending)
    if null and (form not in (None, "text") or isinstance(loaded_model.codec, ImageCodec)):
        raise UsageError("-0 ends texts with NUL; leave it out for pictures and for --format other than text")
    if isinstance(loaded_model.codec, TextCodec) and form not in (None, "text", "jsonl", "samples"):
        raise UsageError(f"{loaded_model.card.name} writes text; --format {form} is for pictures")
    if isinstance(loaded_model.codec, ImageCodec) and form == "text":
        forms = "ascii, blocks, png, gif, jsonl or samples"
        raise UsageError(f"{loaded_model.card.name} draws pictures; use --format {forms}")
    return form


def writer_for(
    loaded_model: LoadedModel,
    form: str | None,
    samples: int,
    file: BinaryIO,
    *,
    prompt: str = "",
    given: Tokens | None = None,
    sweep: Sweep | None = None,
    null: bool = False,
    first: int = 0,
    annotate: Annotate = dict,
) -> StepWriter:
    """The writer for a format that suits the model, or for what suits model and destination.

    prompt: as a person typed it. given: the levels of a picture that is completed; they are seen even if the run does
    not come to them. sweep: what the samples differ by, if it is a knob. null: ends each text with NUL.
    first: the number of the first sample. annotate: of JSON lines, what a row becomes.
    """
    codec = loaded_model.codec
    if form == "jsonl":
        return JsonLines(codec, samples, file, sweep, first=first, annotate=annotate)
    if form == "samples":
        rows = SampleRows(loaded_model, samples, given)
        return SampleLines(rows, samples, file, prompt, sweep, first=first, annotate=annotate)
    if isinstance(codec, TextCodec):
        return TextWriter(loaded_model, samples, file, sweep, null=null)
    picture = codec.picture(samples)
    if given is not None:
        picture.preset(given)
    if form in ("png", "gif"):
        return FileWriter(picture, file, form)
    return row_writer(picture, file, form)


def text_headings(samples: int, sweep: Sweep | None = None, *, terminal: bool = False) -> list[str]:
    """A line above each of several texts: what it is made with, or on a terminal its number; else nothing."""
    if samples > 1 and sweep:
        return [f"--- {name} ---\n" for name in sweep.headings()]
    numbered = samples > 1 and terminal
    return [f"--- {number} of {samples} ---\n" if numbered else "" for number in range(1, samples + 1)]


def text_gap(before: str, text: str) -> str:
    """What stands between the lines of two texts without headings: an empty line, if one of them has several lines."""
    return "\n" if any("\n" in one.removesuffix("\n") for one in (before, text)) else ""


class TextWriter:
    """Texts in the order of the samples, each as soon as all before it have ended.

    A single one, or one under a heading, is written as it appears; others as a whole, a line of their own or with an
    empty line between them. A text that waits is kept as token ids.
    """

    bundle = list[Step]

    def __init__(
        self,
        loaded_model: LoadedModel,
        samples: int,
        file: BinaryIO,
        sweep: Sweep | None = None,
        *,
        null: bool = False,
    ) -> None:
        self._texts, self._file, self._terminal, self._null = _Texts(loaded_model, samples), file, file.isatty(), null
        self._headings = [""] * samples if null else text_headings(samples, sweep, terminal=self._terminal)
        self._whole = samples > 1 and not null and not self._headings[0]
        self._turn, self._reader, self._text, self._before = 0, self._texts.codec.reader(), "", ""
        self._scrubber = PieceScrubber()
        self._put(self._headings[0])

    def write(self, steps: Sequence[Step]) -> None:
        for step in steps:
            self._texts.add(step)
        self._write_ready()

    def close(self) -> None:
        self._texts.ended[:] = True
        self._write_ready()

    def _write_ready(self) -> None:
        while self._turn < len(self._headings):
            ended = bool(self._texts.ended[self._turn])
            if ended or not self._whole:
                self._write_part()
            if not ended:
                break
            self._end()
        self._file.flush()

    def _write_part(self) -> None:
        """What the text whose turn it is has got since."""
        text = self._reader.read_all(self._texts.take(self._turn))
        if self._whole and self._turn:
            self._put(text_gap(self._before, text))
        self._put(text)
        self._text = text if self._whole else text or self._text  # of a part, only how it ends matters

    def _end(self) -> None:
        """Ends the text whose turn it is, and begins the next one."""
        if self._null:
            self._file.write(b"\0")
        elif not self._text.endswith("\n"):
            self._put("\n")
        self._turn, self._reader, self._text, self._before = self._turn + 1, self._texts.codec.reader(), "", self._text
        self._put("".join(self._headings[self._turn : self._turn + 1]))

    def _put(self, text: str) -> None:
        content = self._scrubber.scrub(text) if self._terminal else text.replace("\0", "\u2400") if self._null else text
        self._file.write(content.encode("utf-8", "replace"))


class _Texts:
    """The tokens of texts as they come, without end tokens, and which of the texts have ended."""

    key = "text"

    def __init__(self, loaded_model: LoadedModel, samples: int) -> None:
        assert isinstance(loaded_model.codec, TextCodec)
        self.codec, self._eos = loaded_model.codec, FREE if loaded_model.card.eos is None else loaded_model.card.eos
        self._tokens = [list[int]() for _ in range(samples)]
        self.ended: Mask = np.zeros(samples, dtype=bool)
        """[samples]: whether the model ended it."""

    def add(self, step: Step) -> None:
        """Takes the next token of every text that still runs."""
        ends = step.tokens == self._eos
        tokens = step.tokens.tolist()
        for sample in np.flatnonzero(step.live & ~ends).tolist():
            self._tokens[sample].append(tokens[sample])
        self.ended |= step.live & ends & ~step.given

    def take(self, sample: int) -> list[int]:
        """The tokens of a text that were not taken yet."""
        tokens, self._tokens[sample] = self._tokens[sample], []
        return tokens

    def contents(self, samples: Sequence[int]) -> Iterator[str]:
        """Texts that are whole."""
        for sample in samples:
            yield self.codec.reader().read_all(self.take(sample))


class _Pixels:
    """The levels of pictures as they come; all of them end together, with the last pixel."""

    key = "pixels"

    def __init__(self, image: ImageSpec, samples: int, given: Tokens | None) -> None:
        self._image, self._count = image, 0
        start = np.full(image.area, FREE) if given is None else given.ravel()
        self._levels = np.tile(start, (samples, 1))
        self.ended: Mask = np.zeros(samples, dtype=bool)
        """[samples]: whether it is drawn to its end."""

    def add(self, step: Step) -> None:
        """Takes the next value of every picture; a step that is part of the prompt brings none."""
        if self._count < self._image.area and step.tokens[0] < self._image.levels:
            self._levels[:, self._count] = step.tokens
            self._count += 1
            self.ended[:] = self._count == self._image.area

    def contents(self, samples: Sequence[int]) -> Iterator[Any]:
        """The levels, row by row, of three channels pixel by pixel; None where nothing is drawn."""
        for sample in samples:
            levels = self._levels[sample].reshape(self._image.shape)
            content = levels.astype(object)
            content[levels == FREE] = None
            yield content.tolist()


class SampleRows:
    """The samples of a run, each as a row when it has ended.

    `text` is the whole text, prompt included; `pixels` are levels. `tokens` counts what was sampled, and `logprob`
    (nats) is the sum over it, of the model's own distribution, at temperature 1 and with nothing cut. `ended` says
    whether the model came to an end, or the picture to its last pixel, before the length or a person cut it short.
    """

    def __init__(self, loaded_model: LoadedModel, samples: int, given: Tokens | None = None) -> None:
        """given: the levels of a picture that is completed."""
        codec = loaded_model.codec
        self._content = (
            _Texts(loaded_model, samples) if isinstance(codec, TextCodec) else _Pixels(codec.image, samples, given)
        )
        self._counts, self._logprobs = np.zeros(samples, dtype=np.int64), np.zeros(samples)

    @property
    def ended(self) -> Mask:
        """[samples]: as a row says it."""
        return self._content.ended

    def add(self, step: Step) -> None:
        """Takes the next token of every sample."""
        self._content.add(step)
        sampled = step.live & ~step.given
        self._counts += sampled
        np.add(self._logprobs, step.logprob, out=self._logprobs, where=sampled)

    def rows(self, samples: Sequence[int]) -> Iterator[dict[str, Any]]:
        """Of these samples."""
        facts = zip(samples, self._content.contents(samples), strict=True)
        for sample, content in facts:
            yield {
                self._content.key: content,
                "tokens": int(self._counts[sample]),
                "logprob": round(float(self._logprobs[sample]), 6),
                "ended": bool(self._content.ended[sample]),
            }


class SampleLines:
    """One object per sample, as of `SampleRows`, written when the sample has ended, whichever ends first."""

    bundle = StepsWithLogprobs

    def __init__(
        self,
        sample_rows: SampleRows,
        samples: int,
        file: BinaryIO,
        prompt: str = "",
        sweep: Sweep | None = None,
        *,
        first: int = 0,
        annotate: Annotate = dict,
    ) -> None:
        self._sample_rows, self._file, self._prompt, self._annotate = sample_rows, file, prompt, annotate
        self._sample_facts = _sample_facts(samples, sweep, first)
        self._waiting: Mask = np.ones(samples, dtype=bool)

    def write(self, steps: Sequence[Step]) -> None:
        for step in steps:
            self._sample_rows.add(step)
        self._put(self._waiting & self._sample_rows.ended)

    def close(self) -> None:
        self._put(self._waiting)

    def _put(self, which: Mask) -> None:
        samples = np.flatnonzero(which).tolist()
        self._waiting[samples] = False
        for sample, row in zip(samples, self._sample_rows.rows(samples), strict=True):
            facts = {**self._sample_facts[sample], "prompt": self._prompt, **row}
            self._file.write(_line(self._annotate(facts)).encode())
        self._file.flush()


class JsonLines:
    """One object per sampled token. `index` counts those of the sample, from 0. `logprob` (nats) and `entropy` (bits)
    are of the model's own distribution, at temperature 1 and with nothing cut; `ms` is what the step took for all
    samples together. Of a sweep, `knob` and `value` say what the sample was made with.
    """

    bundle = StepsWithFigures

    def __init__(
        self,
        codec: Codec,
        samples: int,
        file: BinaryIO,
        sweep: Sweep | None = None,
        *,
        first: int = 0,
        annotate: Annotate = dict,
    ) -> None:
        self._image, self._file, self._annotate = codec.image if isinstance(codec, ImageCodec) else None, file, annotate
        self._sample_facts = _sample_facts(samples, sweep, first)
        self._readers = [codec.reader() for _ in range(samples)] if isinstance(codec, TextCodec) else []
        self._counts, self._values = [0] * samples, 0

    def write(self, steps: Sequence[Step]) -> None:
        for step in steps:
            self._file.write("".join(map(_line, map(self._annotate, self._rows(step)))).encode())
        self._file.flush()

    def close(self) -> None:
        """Nothing is left."""

    def _rows(self, step: Step) -> Iterator[dict[str, Any]]:
        """Of the tokens that were sampled. What is the same for all samples, and what NumPy does, is done once."""
        tokens, given, ms = step.tokens.tolist(), step.given.tolist(), round(1000 * step.seconds, 4)
        place = self._image.named_place(self._values) if self._image else {}
        logprobs, entropies = (np.round(values, 6).tolist() for values in (step.logprob, step.entropy))
        for sample in np.flatnonzero(step.live).tolist():
            content = {"text": self._readers[sample].read(tokens[sample])} if self._readers else place
            if not given[sample]:
                index = self._counts[sample]
                self._counts[sample] += 1
                figures = {"logprob": logprobs[sample], "entropy": entropies[sample], "ms": ms}
                yield {**self._sample_facts[sample], "index": index, "id": tokens[sample], **content, **figures}
        if self._image:
            self._values += int(tokens[0] < self._image.levels)


def _sample_facts(samples: int, sweep: Sweep | None, first: int) -> list[dict[str, object]]:
    """Which sample each is, and of a sweep what it is made with."""
    if sweep:
        return [{"sample": at, "knob": sweep.knob, "value": value} for at, value in enumerate(sweep.values)]
    return [{"sample": number} for number in range(first, first + samples)]


def _line(facts: dict[str, Any]) -> str:
    return json.dumps(facts) + "\n"


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
        yield sys.stdout.buffer
        return
    try:
        file = open(path, "wb" if _is_device(path) else "xb")  # noqa: SIM115
    except FileExistsError as fault:
        raise TuiGenError(f"{path} exists already and is left as it is; choose another name") from fault
    except OSError as fault:
        raise TuiGenError(f"{path} cannot be written: {fault.strerror}") from fault
    try:
        with file:
            yield file
    except OSError as fault:
        if isinstance(fault, BrokenPipeError) or fault.filename is not None:  # that is another file
            raise
        raise TuiGenError(f"{path} cannot be written: {fault.strerror}") from fault


def _is_device(path: str) -> bool:
    """Such as a terminal or a pipe, which holds nothing that could be lost."""
    return os.path.exists(path) and not os.path.isfile(path)
