"""`tui-gen generate`: one run without a screen."""

from __future__ import annotations

import argparse
import io
import sys
import time

from tui_gen.cli import options
from tui_gen.errors import TuiGenError, UsageError
from tui_gen.generation.generate import generate
from tui_gen.generation.pacing import frames
from tui_gen.images.completion import completion_prompt, erased, free_pixels, parse_part, shortened
from tui_gen.library import Playable, locate, open_model
from tui_gen.output.writers import checked_format, closing, destination, say, writer_for
from tui_gen.sampling.params import SamplingParams, Tokens, new_seed
from tui_gen.sampling.sweep import Sweep, read_sweep
from tui_gen.text.codec import TextCodec


def run(args: argparse.Namespace) -> int:
    """Generates as the command line asks; returns the exit status."""
    playable = open_model(locate(args.model), **options.engine(args))
    form = checked_format(playable, args.format, args.output)
    text = _read_stdin() if args.prompt == "-" else args.prompt
    knobs = options.knobs(args, temperature=playable.card.temperature)
    given = _given(args, playable)
    sweep = _sweep(args, playable, knobs)
    knobs, samples = sweep or knobs, len(sweep.values) if sweep else args.samples
    prompt, length = _prompt(args, playable, text, given, samples)
    _warn(playable, text, knobs)
    seed = new_seed() if args.seed is None else args.seed
    steps = generate(playable.model, prompt, knobs, length=length, seed=seed)
    with destination(args.output) as file:
        began, made = time.perf_counter(), 0
        with closing(writer_for(playable, form, samples, file, given=given, sweep=sweep)) as writer:
            try:
                for bundle in frames(steps, writer.bundle):
                    made += sum(int((step.live & ~step.given).sum()) for step in bundle)
                    writer.write(bundle)
                    say(*playable.model.news())
            except KeyboardInterrupt:
                print(file=sys.stderr)
                _report(playable, knobs, seed, made, time.perf_counter() - began)
                raise
    _report(playable, knobs, seed, made, time.perf_counter() - began)
    return 0


def _given(args: argparse.Namespace, playable: Playable) -> Tokens | None:
    """The levels of the picture that is to be completed, if one is."""
    if args.image is None and not args.erase:
        return None
    if playable.card.image is None:
        raise UsageError(f"{playable.card.name} writes text; --image and --erase are for models that draw pictures")
    if args.image is None:
        raise UsageError("--erase needs a picture to erase from; add --image FILE")
    from tui_gen.images.read import read_levels

    parts = [parse_part(part, playable.card.image) for part in args.erase]
    return erased(read_levels(args.image, playable.card.image), *parts)


def _sweep(args: argparse.Namespace, playable: Playable, knobs: SamplingParams) -> Sweep | None:
    """The knob that is to have several values, if one is; each value makes one sample."""
    if args.sweep is None:
        return None
    if args.samples > 1:
        raise UsageError(f"--sweep makes one sample of each value; leave out -n {args.samples}")
    return read_sweep(args.sweep, knobs, playable.card.vocab_size)


def _prompt(
    args: argparse.Namespace, playable: Playable, text: str, given: Tokens | None, samples: int
) -> tuple[Tokens, int]:
    """What stands at the start of every sample, and how many tokens to sample past its end."""
    codec = playable.codec
    if given is None or isinstance(codec, TextCodec):
        return codec.prompt([text] * samples), codec.length(args.length)
    prompt = completion_prompt(codec, text, given, samples)
    if not free_pixels(given):
        say("the picture has no transparent pixels, so all of it is kept; --erase says what to draw anew")
    return prompt if args.length is None else shortened(prompt, args.length), 0


def _read_stdin() -> str:
    """All of stdin without its last newlines; bytes that are not UTF-8 become a sign that no model knows."""
    if sys.stdin is None:
        raise TuiGenError("stdin is closed, so it holds no prompt")
    return io.TextIOWrapper(sys.stdin.buffer, "utf-8", "replace").read().rstrip("\n")


def _warn(playable: Playable, text: str, knobs: SamplingParams) -> None:
    words = [text[start:end] for start, end in playable.codec.unknown(text)]
    if words:
        say(f"{playable.card.name} does not know {', '.join(words)} and reads it as unknown")
    if knobs.top_k > playable.card.vocab_size:
        say(f"top-k {knobs.top_k} keeps all tokens: {playable.card.name} has {playable.card.vocab_size}")


def _report(playable: Playable, knobs: SamplingParams, seed: int, made: int, seconds: float) -> None:
    rate = f"{made} tokens in {seconds:.2f} s"
    say(f"{playable.card.name} · {playable.model.runs_on} · {knobs.describe()} · seed {seed} · {rate}")
