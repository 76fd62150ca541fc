"""`tui-gen generate`: one run without a screen."""

from __future__ import annotations

import argparse
import io
import sys
import time
from typing import TYPE_CHECKING

from tui_gen.cli import options
from tui_gen.errors import TuiGenError, UsageError
from tui_gen.terminal_text import say

if TYPE_CHECKING:  # the help loads nothing that a run needs
    from tui_gen.library import LoadedModel
    from tui_gen.sampling.params import SamplingParams, Tokens
    from tui_gen.sampling.sweep import Sweep


def configure(parser: argparse.ArgumentParser) -> None:
    """Describes the command's options."""
    parser.description = "Generates text or pictures and writes them to stdout as they appear."
    parser.add_argument("model", metavar="MODEL", help=options.MODEL)
    parser.add_argument("prompt", nargs="?", default="", metavar="PROMPT", help="the prompt; - reads it from stdin")
    options.add_run_options(parser)
    parser.add_argument(
        "--sweep",
        metavar="KNOB[=V,V,...]",
        help="several values of temperature, top-k, top-p or min-p side by side, with the same random numbers",
    )
    parser.add_argument("--image", metavar="FILE", help="complete this picture where it is transparent or erased")
    parser.add_argument(
        "--erase", action="append", default=[], metavar="PART", help="rows:14-27, rect:4,4,20,20, pixel:3,5; repeatable"
    )
    options.add_output_options(parser)


def run(args: argparse.Namespace) -> int:
    """Generates as the command line asks; returns the exit status."""
    from tui_gen.generation.generate import generate
    from tui_gen.generation.pacing import frames
    from tui_gen.library import open_model
    from tui_gen.output.writers import checked_format, closing, destination, writer_for
    from tui_gen.sampling.params import new_seed

    loaded_model = open_model(args.model, **options.engine(args))
    form = checked_format(loaded_model, args.format, args.output, null=args.null)
    text = _read_stdin() if args.prompt == "-" else args.prompt
    knobs = options.knobs(args, temperature=loaded_model.card.temperature)
    levels = _levels(args, loaded_model)
    sweep = _sweep(args, loaded_model, knobs)
    samples = len(sweep) if sweep else args.samples
    prompt, length = _prompt(args, loaded_model, text, levels, samples)
    _warn(loaded_model, text, knobs, args.length)
    seed = new_seed() if args.seed is None else args.seed
    steps = generate(loaded_model.model, prompt, knobs, length=length, seed=seed, sweep=sweep)
    facts = f"{sweep.describe(knobs) if sweep else knobs.describe()} · seed {seed}"
    with destination(args.output) as file:
        start, count = time.perf_counter(), 0
        writer = writer_for(loaded_model, form, samples, file, prompt=text, given=levels, sweep=sweep, null=args.null)
        with closing(writer):
            try:
                for bundle in frames(steps, writer.bundle):
                    count += sum(int((step.live & ~step.given).sum()) for step in bundle)
                    writer.write(bundle)
                    say(*loaded_model.model.take_warnings())
            except KeyboardInterrupt:
                print(file=sys.stderr)
                _report(loaded_model, facts, count, time.perf_counter() - start)
                raise
    _report(loaded_model, facts, count, time.perf_counter() - start)
    return 0


def _levels(args: argparse.Namespace, loaded_model: LoadedModel) -> Tokens | None:
    """The levels of the picture that is to be completed, FREE where it is drawn; None without one."""
    if args.image is None and not args.erase:
        return None
    if loaded_model.card.image is None:
        raise UsageError(f"{loaded_model.card.name} writes text; --image and --erase are for models that draw pictures")
    if args.image is None:
        raise UsageError("--erase needs a picture to erase from; add --image FILE")
    from tui_gen.images.completion import erased, parse_part
    from tui_gen.images.read import read_levels

    parts = [parse_part(part, loaded_model.card.image) for part in args.erase]
    return erased(read_levels(args.image, loaded_model.card.image), *parts)


def _sweep(args: argparse.Namespace, loaded_model: LoadedModel, knobs: SamplingParams) -> Sweep | None:
    """The knob that is to have several values, if one is; each value makes one sample."""
    if args.sweep is None:
        return None
    if args.samples > 1:
        raise UsageError(f"--sweep makes one sample of each value; leave out -n {args.samples}")
    from tui_gen.sampling.sweep import read_sweep

    return read_sweep(args.sweep, knobs, loaded_model.card.vocab_size)


def _prompt(
    args: argparse.Namespace, loaded_model: LoadedModel, text: str, levels: Tokens | None, samples: int
) -> tuple[Tokens, int]:
    """What stands at the start of every sample, and how many tokens to sample past its end."""
    from tui_gen.images.completion import completion_prompt, free_pixels, shortened
    from tui_gen.text.codec import TextCodec

    codec = loaded_model.codec
    if levels is None or isinstance(codec, TextCodec):
        return codec.prompt([text] * samples), codec.length(args.length)
    prompt = completion_prompt(codec, text, levels, samples)
    if not free_pixels(levels):
        say("the picture has no transparent pixels, so all of it is kept; --erase says what to draw anew")
    return prompt if args.length is None else shortened(prompt, args.length), 0


def _read_stdin() -> str:
    """All of stdin without its last newlines; bytes that are not UTF-8 become a sign that no model knows."""
    if sys.stdin is None:
        raise TuiGenError("stdin is closed, so it holds no prompt")
    return io.TextIOWrapper(sys.stdin.buffer, "utf-8", "replace").read().rstrip("\n")


def _warn(loaded_model: LoadedModel, text: str, knobs: SamplingParams, length: int | None) -> None:
    image = loaded_model.card.image
    words = [text[start:end] for start, end in loaded_model.codec.unknown(text)]
    if words:
        say(f"{loaded_model.card.name} does not know {', '.join(words)} and reads it as unknown")
    if knobs.top_k > loaded_model.card.vocab_size:
        say(f"top-k {knobs.top_k} keeps all tokens: {loaded_model.card.name} has {loaded_model.card.vocab_size}")
    if image and length is not None and length > image.area:
        say(f"length {length} is a whole picture: one of {loaded_model.card.name} has {image.area} tokens")


def _report(loaded_model: LoadedModel, facts: str, count: int, seconds: float) -> None:
    rate = f"{count} tokens in {seconds:.2f} s"
    say(f"{loaded_model.card.name} · {loaded_model.model.runs_on} · {facts} · {rate}")
