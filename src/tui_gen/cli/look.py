"""`tui-gen look`: what goes on inside a model while it reads a file, for notebooks."""

from __future__ import annotations

import argparse
import io
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tui_gen.cli import options
from tui_gen.errors import UsageError
from tui_gen.terminal_text import counted, say, show

if TYPE_CHECKING:  # the help loads nothing that a look needs
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from tui_gen.card import ImageSpec
    from tui_gen.library import LoadedModel
    from tui_gen.sampling.params import Floats, Tokens


def configure(parser: argparse.ArgumentParser) -> None:
    """Describes the command's options."""
    parser.description = (
        "Reads a text or a picture and writes what goes on inside the model, token by token: ids, log-probabilities, "
        "the embedding, gates, states and features of each layer, as NumPy arrays [tokens, width] in one file."
    )
    parser.add_argument("model", metavar="MODEL", help=options.MODEL)
    parser.add_argument(
        "file", metavar="FILE", nargs="?", default="-", help="UTF-8 text, or an image file; default: stdin"
    )
    parser.add_argument("--prompt", default="", metavar="TEXT", help="what comes before, or what the picture shows")
    parser.add_argument("-o", "--output", metavar="FILE.npz", help="where to write it; it must not exist")
    parser.add_argument(
        "--influence",
        metavar="N",
        help="how many bits the prediction of token N changes when each earlier one is exchanged; the text begins with "
        "token 1, after what the model begins with. In a picture, N is the number of a value, or ROW,COLUMN from 0 on "
        "(ROW,COLUMN,CHANNEL in colour), and pixels are exchanged",
    )
    options.add_engine_options(parser)
    options.add_checkpoint_options(parser)


def run(args: argparse.Namespace) -> int:
    """Looks as the command line asks; returns the exit status."""
    if args.output is None and args.influence is None:
        raise UsageError("name a file with -o, or a token with --influence")
    from tui_gen.inspection.inside import NO_NAMES, look
    from tui_gen.library import open_model

    loaded_model = open_model(args.model, **options.engine(args))
    trace = look(loaded_model, _read(loaded_model, args.file), prompt=args.prompt)
    arrays = trace.arrays()
    if args.influence is not None:
        influence, lines = _influence(loaded_model, trace.tokens, args.influence)
        arrays |= influence
        if args.output is None:
            show(*lines)
            return 0
    _write(Path(args.output), arrays)
    if not trace.values:
        say(f"{NO_NAMES}; {args.output} holds tokens and log-probabilities alone")
    widths = ", ".join(f"{name} {values.shape[1]}" for name, values in trace.values.items())
    say(f"{args.output}: {counted(len(trace.tokens), 'token')}" + (f"; {widths}" if widths else ""))
    return 0


def _read(loaded_model: LoadedModel, path: str) -> str | Tokens:
    from tui_gen.images.codec import ImageCodec
    from tui_gen.text.tokenizer import text_blocks

    if not isinstance(loaded_model.codec, ImageCodec):
        with options.open_input(path) as file:
            return "".join(text_blocks(file, "stdin" if path == "-" else path))
    return options.read_picture(path, loaded_model.codec.image)


def _influence(loaded_model: LoadedModel, tokens: Tokens, place: str) -> tuple[dict[str, Floats], list[str]]:
    """Arrays, and lines for people."""
    from tui_gen.images.codec import ImageCodec

    if isinstance(loaded_model.codec, ImageCodec):
        return _picture_influence(loaded_model, tokens, loaded_model.codec.image, place)
    return _text_influence(loaded_model, tokens, place)


def _text_influence(loaded_model: LoadedModel, tokens: Tokens, place: str) -> tuple[dict[str, Floats], list[str]]:
    """`influence`, [tokens]: bits for each token before one; NaN where there is none, as for the token itself."""
    import numpy as np

    from tui_gen.inspection.influence import Influence

    at = int(place) if place.isdecimal() else 0
    if not 2 <= at < len(tokens):
        raise UsageError(f"--influence takes a token from 2 to {len(tokens) - 1} of this text, not {place}")
    influence = Influence(loaded_model.model, tokens[:at], loaded_model.card.vocab_size)
    bits = np.full(len(tokens), np.nan)
    for part in influence.measure(list(influence.exchangeable[:, None])):
        for exchange in part:
            bits[exchange.positions] = exchange.bits
    text = loaded_model.codec.token_text
    lines = [f"{bits[at]:8.4f}  {text(int(tokens[at]))}" for at in influence.exchangeable.tolist()]
    return {"influence": bits}, lines


def _picture_influence(
    loaded_model: LoadedModel, tokens: Tokens, image: ImageSpec, place: str
) -> tuple[dict[str, Floats], list[str]]:
    """`influence`, [height, width]: bits of each pixel, NaN out of reach; `prompt_influence`, []: of the prompt."""
    import numpy as np

    from tui_gen.images.picture import first_pixel
    from tui_gen.inspection.influence import Influence, PictureExchanges

    value, first = _value(image, place), first_pixel(tokens[None], image)
    influence = Influence(loaded_model.model, tokens[: first + value], loaded_model.card.vocab_size)
    *_, known = PictureExchanges(influence, loaded_model.card).measure()
    arrays, lines = {"influence": known.bits}, list[str]()
    for row, column in np.argwhere(known.reach).tolist():
        lines.append(f"{known.bits[row, column]:8.4f}  row {row}, column {column}")
    if known.prompt is not None:
        arrays["prompt_influence"] = np.array(known.prompt)
        lines.insert(0, f"{known.prompt:8.4f}  the prompt")
    return arrays, lines


def _value(image: ImageSpec, place: str) -> int:
    """Which of a picture's tokens is meant, from 0 on. Raises UsageError."""
    numbers = [int(number) if number.isdecimal() else -1 for number in place.split(",")]
    shape = (image.height, image.width, image.channels)
    if len(numbers) == 1 and 1 <= numbers[0] <= image.area:
        return numbers[0] - 1
    numbers += [0] * (len(numbers) == 2)
    if len(numbers) == 3 and all(0 <= number < size for number, size in zip(numbers, shape, strict=True)):
        return (numbers[0] * image.width + numbers[1]) * image.channels + numbers[2]
    raise UsageError(
        f"--influence takes a value of the picture from 1 to {image.area}, or ROW,COLUMN from 0,0 to "
        f"{image.height - 1},{image.width - 1}, not {place}"
    )


def _write(path: Path, arrays: Mapping[str, NDArray[Any]]) -> None:
    import numpy as np

    from tui_gen.files import write_new

    content = io.BytesIO()
    np.savez(content, allow_pickle=False, **arrays)
    write_new(path, content.getvalue())
