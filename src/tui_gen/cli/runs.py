"""What the options of a run without a screen ask for: prompt, picture, sweep; and what is told of the run."""

from __future__ import annotations

import argparse
import io
import sys

from tui_gen.errors import TuiGenError, UsageError
from tui_gen.images.completion import completion_prompt, erased, free_pixels, parse_part, shortened
from tui_gen.images.read import read_levels as read_picture
from tui_gen.library import LoadedModel
from tui_gen.sampling.params import SamplingParams, Tokens
from tui_gen.sampling.sweep import Sweep, read_sweep
from tui_gen.terminal_text import counted, say
from tui_gen.text.codec import TextCodec
from tui_gen.text.tokenizer import TextTokens


def read_levels(args: argparse.Namespace, loaded_model: LoadedModel) -> Tokens | None:
    """The levels of the picture that is to be completed, FREE where it is drawn; None without one."""
    if args.image is None and not args.erase:
        return None
    if loaded_model.card.image is None:
        raise UsageError(f"{loaded_model.card.name} writes text; --image and --erase are for models that draw pictures")
    if args.image is None:
        raise UsageError("--erase needs a picture to erase from; add --image FILE")

    try:
        parts = [parse_part(part, loaded_model.card.image) for part in args.erase]
    except UsageError as fault:
        raise UsageError(f"{loaded_model.card.name}: {fault}") from None  # of several models, which have other sizes
    return erased(read_picture(args.image, loaded_model.card.image), *parts)


def sweep(args: argparse.Namespace, loaded_model: LoadedModel, knobs: SamplingParams) -> Sweep | None:
    """The knob that is to have several values, if one is; each value makes one sample."""
    if args.sweep is None:
        return None
    if args.samples > 1:
        raise UsageError(f"--sweep makes one sample of each value; leave out -n {args.samples}")

    return read_sweep(args.sweep, knobs, loaded_model.card.vocab_size)


def encode_prompt(
    args: argparse.Namespace, loaded_model: LoadedModel, text: str, levels: Tokens | None, samples: int
) -> tuple[Tokens, int]:
    """What stands at the start of every sample, and how many tokens to sample past its end."""
    codec = loaded_model.codec
    if levels is None or isinstance(codec, TextCodec):
        return codec.prompt([text] * samples), codec.length(args.length)
    prompt = completion_prompt(codec, text, levels, samples)
    if not free_pixels(levels):
        say("the picture has no transparent pixels, so all of it is kept; --erase says what to draw anew")
    return prompt if args.length is None else shortened(prompt, args.length), 0


def read_stdin() -> str:
    """All of stdin without its last newlines; bytes that are not UTF-8 become a sign that no model knows."""
    if sys.stdin is None:
        raise TuiGenError("stdin is closed, so it holds no prompt")
    return io.TextIOWrapper(sys.stdin.buffer, "utf-8", "replace").read().rstrip("\n")


def warn(loaded_model: LoadedModel, text: str, knobs: SamplingParams, length: int | None) -> None:
    """Says what the model takes otherwise than a person may think."""
    image = loaded_model.card.image
    words = [text[start:end] for start, end in loaded_model.codec.unknown(text)]
    if words:
        say(f"{loaded_model.card.name} does not know {', '.join(words)} and reads it as unknown")
    if knobs.top_k > loaded_model.card.vocab_size:
        say(f"top-k {knobs.top_k} keeps all tokens: {loaded_model.card.name} has {loaded_model.card.vocab_size}")
    if image and length is not None and length > image.area:
        say(f"length {length} is a whole picture: one of {loaded_model.card.name} has {image.area} tokens")


def tell_unknown(loaded_model: LoadedModel, words: TextTokens, does: str) -> None:
    """Says which words the model does not know. does: to them, as unknown ones."""
    if words.unknown:
        examples = ", ".join(words.examples) + (", ..." if words.unknown > len(words.examples) else "")
        count = counted(words.unknown, "word")
        say(f"{loaded_model.card.name} does not know {count} ({examples}) and {does} them as unknown")


def report(loaded_model: LoadedModel, facts: str, count: int, seconds: float, *, name: str = "") -> None:
    """Says how a run went. name: the model's, in place of that of its card."""
    rate = f"{count} tokens in {seconds:.2f} s"
    say(f"{name or loaded_model.card.name} · {loaded_model.model.runs_on} · {facts} · {rate}")
