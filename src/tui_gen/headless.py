"""`tui-gen generate`: one run without a screen."""

from __future__ import annotations

import argparse
import contextlib
import io
import sys
import time
from collections.abc import Iterator
from typing import BinaryIO

from tui_gen import options
from tui_gen.errors import TuiGenError
from tui_gen.generate import generate
from tui_gen.library import Playable, locate, open_model
from tui_gen.pace import frames
from tui_gen.sampling import SamplingParams
from tui_gen.scrub import scrub_line
from tui_gen.writers import Writer, check_format, writer_for


def run(args: argparse.Namespace) -> int:
    """Generates as the command line asks; returns the exit status."""
    playable = open_model(locate(args.model), provider=args.provider, threads=args.threads)
    check_format(playable, args.format)
    text = _read_stdin() if args.prompt == "-" else args.prompt
    knobs = options.knobs(args, temperature=playable.card.temperature)
    prompt = playable.codec.prompt([text] * args.samples)
    _warn(playable, text, knobs)
    seed = options.new_seed() if args.seed is None else args.seed
    steps = generate(playable.model, prompt, knobs, length=playable.codec.length(args.length), seed=seed)
    with _destination(args.output) as file:
        writer = writer_for(playable, args.format, args.samples, file)
        began, made = time.perf_counter(), 0
        try:
            for bundle in frames(steps):
                made += sum(int((step.live & ~step.given).sum()) for step in bundle)
                writer.write(bundle)
        except KeyboardInterrupt:
            print(file=sys.stderr)
            _report(playable, knobs, seed, made, time.perf_counter() - began)
            raise
        finally:
            _finish(writer)
    _report(playable, knobs, seed, made, time.perf_counter() - began)
    return 0


def _read_stdin() -> str:
    """All of stdin without its last newlines; bytes that are not UTF-8 become a sign that no model knows."""
    if sys.stdin is None:
        raise TuiGenError("stdin is closed, so it holds no prompt")
    return io.TextIOWrapper(sys.stdin.buffer, "utf-8", "replace").read().rstrip("\n")


def _warn(playable: Playable, text: str, knobs: SamplingParams) -> None:
    words = [text[start:end] for start, end in playable.codec.unknown(text)]
    if words:
        _say(f"{playable.card.name} does not know {', '.join(words)} and reads it as unknown")
    if knobs.top_k > playable.card.vocab_size:
        _say(f"top-k {knobs.top_k} keeps all tokens: {playable.card.name} has {playable.card.vocab_size}")


def _report(playable: Playable, knobs: SamplingParams, seed: int, made: int, seconds: float) -> None:
    rate = f"{made} tokens in {seconds:.2f} s"
    _say(f"{playable.card.name} · {playable.model.runs_on} · {knobs.describe()} · seed {seed} · {rate}")


def _say(line: str) -> None:
    print(f"tui-gen: {scrub_line(line)}", file=sys.stderr)


def _finish(writer: Writer) -> None:
    """Also after an interruption: what was made stays. A reader that has gone is no second error."""
    with contextlib.suppress(BrokenPipeError) if sys.exc_info()[0] else contextlib.nullcontext():
        writer.close()


@contextlib.contextmanager
def _destination(path: str | None) -> Iterator[BinaryIO]:
    if path is None:
        if sys.stdout is None:
            raise TuiGenError("stdout is closed; add -o FILE")
        yield sys.stdout.buffer
        return
    try:
        file = open(path, "wb")  # noqa: SIM115
    except OSError as fault:
        raise TuiGenError(f"{path} cannot be written: {fault.strerror}") from fault
    with file:
        yield file
