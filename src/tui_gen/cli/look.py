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

    from tui_gen.inspection.inside import Trace
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
        type=int,
        metavar="N",
        help="how many bits the prediction of token N changes when each earlier one is exchanged; the text begins with "
        "token 1, after what the model begins with",
    )
    options.add_engine_options(parser)


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
        arrays["influence"] = bits = _influence(loaded_model, trace, args.influence)
        if args.output is None:
            _print_influence(loaded_model, trace, bits)
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


def _influence(loaded_model: LoadedModel, trace: Trace, at: int) -> Floats:
    """Bits for each token before one: float64[tokens], NaN where there is none, as for the token itself."""
    import numpy as np

    from tui_gen.inspection.influence import Influence

    if not 2 <= at < len(trace.tokens):
        raise UsageError(f"--influence takes a token from 2 to {len(trace.tokens) - 1} of this text, not {at}")
    influence = Influence(loaded_model.model, trace.tokens[:at], loaded_model.card.vocab_size)
    bits = np.full(len(trace.tokens), np.nan)
    for part in influence.measure([np.array([position]) for position in influence.exchangeable]):
        for exchange in part:
            bits[exchange.positions] = exchange.bits
    return bits


def _print_influence(loaded_model: LoadedModel, trace: Trace, bits: Floats) -> None:
    for token, value in zip(trace.tokens.tolist(), bits.tolist(), strict=True):
        if value == value:  # noqa: PLR0124  NaN is not
            show(f"{value:8.4f}  {loaded_model.codec.token_text(token)}")


def _write(path: Path, arrays: Mapping[str, NDArray[Any]]) -> None:
    import numpy as np

    from tui_gen.files import write_new

    content = io.BytesIO()
    np.savez(content, allow_pickle=False, **arrays)
    write_new(path, content.getvalue())
