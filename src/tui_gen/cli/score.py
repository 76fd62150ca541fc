"""`tui-gen score`: how surprised a model is by a file."""

from __future__ import annotations

import argparse
import contextlib
import sys
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from tui_gen.cli import options
from tui_gen.errors import TuiGenError, UsageError
from tui_gen.terminal_text import counted, say, shows_colours

if TYPE_CHECKING:  # the help loads nothing that a score needs
    from tui_gen.card import ImageSpec
    from tui_gen.library import LoadedModel
    from tui_gen.scoring.given import Given
    from tui_gen.scoring.report import ScoreWriter
    from tui_gen.scoring.score import StreamScorer
    from tui_gen.text.codec import TextCodec
    from tui_gen.text.tokenizer import TextTokens

_MOST_TEXTS, _MOST_CHARACTERS = 2048, 2**20
"""That are read before they are scored."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Describes the command's options."""
    parser.description = "Says how surprised a model is by a text or a picture: bits per token, and what they come to."
    parser.add_argument("model", metavar="MODEL", help=options.MODEL)
    parser.add_argument(
        "files",
        nargs="+",
        metavar="FILE",
        help="UTF-8 text of any length, - reads stdin; or an image file; of several, each is scored, many at once",
    )
    parser.add_argument("--lines", action="store_true", help="each line is a text of its own, scored many at once")
    parser.add_argument(
        "--prompt", default="", metavar="TEXT", help="as of generate: what comes before, or what the picture shows"
    )
    parser.add_argument("--format", choices=("text", "jsonl"), default="text", help="how to write it")
    options.add_engine_options(parser)
    options.add_checkpoint_options(parser)


def run(args: argparse.Namespace) -> int:
    """Scores as the command line asks; returns the exit status."""
    from tui_gen.images.codec import ImageCodec
    from tui_gen.library import open_model
    from tui_gen.scoring.score import StreamScorer

    loaded_model = open_model(args.model, **options.engine(args))
    if args.lines or len(args.files) > 1:
        _score_many(loaded_model, args)
        return 0
    [args.file] = args.files
    measure = StreamScorer(loaded_model.model, loaded_model.codec.prompt([args.prompt]))
    if isinstance(loaded_model.codec, ImageCodec):
        _score_picture(loaded_model.codec.image, measure, args)
    else:
        _score_text(loaded_model, loaded_model.codec, measure, args)
    return 0


def _score_many(loaded_model: LoadedModel, args: argparse.Namespace) -> None:
    from tui_gen.cli import runs
    from tui_gen.scoring.given import GivenReader
    from tui_gen.scoring.report import ScoreObjects, ScoreTable
    from tui_gen.scoring.score import Totals

    file, image = sys.stdout.buffer, loaded_model.card.image
    if image and args.lines:
        raise UsageError(f"{loaded_model.card.name} draws pictures; --lines is for texts")
    totals, key = Totals("pixel" if image else "character"), "text" if args.lines else "file"
    writer = ScoreObjects(file, key) if args.format == "jsonl" else ScoreTable(file, totals.unit)
    reader, number = GivenReader(loaded_model), 0
    for batch in _batches(_given(loaded_model, args)):
        scores = list(reader.scores(batch, number))
        number += len(scores)
        for score in scores:
            totals.units += score.units
            totals.tokens += score.tokens
            totals.bits += score.bits
        writer.write(scores)
    if not totals.tokens:
        raise TuiGenError("nothing can be scored: all texts are empty")
    writer.close(totals)
    _tell_prompt(loaded_model, args.prompt)
    if reader.words:
        runs.tell_unknown(loaded_model, reader.words, "scores")


def _given(loaded_model: LoadedModel, args: argparse.Namespace) -> Iterator[Given]:
    """What is to be scored, as it is read."""
    from tui_gen.scoring.given import read_given

    image = loaded_model.card.image
    for path in args.files:
        if image and path == "-":
            raise UsageError(options.STDIN_PICTURE)
        yield from read_given(path, options.open_input, by_line=args.lines, prompt=args.prompt, image=image)


def _batches(source: Iterable[Given]) -> Iterator[list[Given]]:
    """Of so many that they can be put together by length, and of so few tokens that they take little memory."""
    batch: list[Given] = []
    size = 0
    for given in source:
        batch.append(given)
        size += len(given.content)
        if len(batch) == _MOST_TEXTS or size >= _MOST_CHARACTERS:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def _score_picture(image: ImageSpec, measure: StreamScorer, args: argparse.Namespace) -> None:
    from tui_gen.scoring.score import Totals

    levels = options.read_picture(args.file, image)
    writer, totals = _writer(args.format, image), Totals("pixel", units=image.height * image.width)
    for surprisals in measure.picture(levels):
        totals.add(surprisals)
        writer.write(surprisals)
    writer.close(totals)


def _score_text(loaded_model: LoadedModel, codec: TextCodec, measure: StreamScorer, args: argparse.Namespace) -> None:
    from tui_gen.scoring.score import Totals
    from tui_gen.text.tokenizer import TextTokens, text_blocks

    name = "stdin" if args.file == "-" else args.file
    tokens = TextTokens(codec.tokenizer, loaded_model.card.name, name)
    writer, totals = _writer(args.format, None), Totals("character")
    with options.open_input(args.file) as file, _breaking_off(writer):
        for block in text_blocks(file, name):
            for surprisals in measure.text(tokens.read(block)):
                if not totals.tokens:
                    _explain_colours(args.format)
                totals.add(surprisals)
                writer.write(surprisals)
    totals.units = tokens.characters
    if not totals.tokens:
        raise TuiGenError(f"{name} {'holds only white space' if totals.units else 'is empty'}: nothing can be scored")
    writer.close(totals)
    _tell(loaded_model, args.prompt, tokens, measure)


@contextlib.contextmanager
def _breaking_off(writer: ScoreWriter) -> Iterator[None]:
    """An error stands on a line of its own, after what was written before it."""
    try:
        yield
    except (TuiGenError, KeyboardInterrupt):
        with contextlib.suppress(BrokenPipeError):
            writer.break_off()
        raise


def _writer(form: str, image: ImageSpec | None) -> ScoreWriter:
    from tui_gen.scoring.report import Report, ScoreLines

    file = sys.stdout.buffer
    return ScoreLines(file, image) if form == "jsonl" else Report(file, image)


def _explain_colours(form: str) -> None:
    from tui_gen.scoring.report import legend

    if form == "text" and shows_colours(sys.stdout):
        print(f"tui-gen: {legend(coloured=shows_colours(sys.stderr))}", file=sys.stderr)


def _tell(loaded_model: LoadedModel, prompt: str, tokens: TextTokens, measure: StreamScorer) -> None:
    """What a person should know about the figures."""
    from tui_gen.cli import runs

    _tell_prompt(loaded_model, prompt)
    runs.tell_unknown(loaded_model, tokens, "scores")
    if measure.restarts:
        times = counted(measure.restarts, "time")
        name = loaded_model.card.name
        say(f"the text goes on after an end token of {name} {times}; what follows one is scored as a new text")


def _tell_prompt(loaded_model: LoadedModel, prompt: str) -> None:
    if unknown := [prompt[start:end] for start, end in loaded_model.codec.unknown(prompt)]:
        say(f"{loaded_model.card.name} does not know {', '.join(unknown)} of the prompt and reads it as unknown")
