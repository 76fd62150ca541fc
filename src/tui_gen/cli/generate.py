"""`tui-gen generate`: one run without a screen."""

from __future__ import annotations

import argparse
import io
import sys
import time
from collections.abc import Iterator, Sequence
from typing import BinaryIO

from tui_gen.cli import options
from tui_gen.errors import TuiGenError, UsageError
from tui_gen.generation.branch import Branch, BranchStart
from tui_gen.generation.generate import generate
from tui_gen.generation.pacing import frames
from tui_gen.images.completion import completion_prompt, erased, free_pixels, parse_part, shortened
from tui_gen.library import LoadedModel, distinct_names, open_model
from tui_gen.output.comparison import ComparisonWriter, comparison_lines
from tui_gen.output.writers import StepWriter, checked_format, closing, destination, say, writer_for
from tui_gen.sampling.params import SamplingParams, Tokens, new_seed
from tui_gen.sampling.step import Step
from tui_gen.sampling.sweep import Sweep, read_sweep
from tui_gen.scoring.comparison import ModelBranch, ModelComparison, check_comparable
from tui_gen.text.codec import TextCodec


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
    parser.add_argument(
        "--with",
        dest="beside",
        action="append",
        default=[],
        metavar="MODEL",
        help="compare: the same on this model too, with the same random numbers; repeatable, three models at most",
    )
    options.add_output_options(parser)


def run(args: argparse.Namespace) -> int:
    """Generates as the command line asks; returns the exit status."""
    if args.beside:
        return _compare(args)
    loaded_model = open_model(args.model, **options.engine(args))
    form = checked_format(loaded_model, args.format, args.output)
    text = _read_stdin() if args.prompt == "-" else args.prompt
    knobs = options.knobs(args, temperature=loaded_model.card.temperature)
    levels = _levels(args, loaded_model)
    sweep = _sweep(args, loaded_model, knobs)
    samples = len(sweep) if sweep else args.samples
    prompt, length = _prompt(args, loaded_model, text, levels, samples)
    _warn(loaded_model, text, knobs)
    seed = new_seed() if args.seed is None else args.seed
    steps = generate(loaded_model.model, prompt, knobs, length=length, seed=seed, sweep=sweep)
    facts = f"{sweep.describe(knobs) if sweep else knobs.describe()} · seed {seed}"
    with destination(args.output) as file:
        start, count = time.perf_counter(), 0
        with closing(writer_for(loaded_model, form, samples, file, given=levels, sweep=sweep)) as writer:
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
    from tui_gen.images.read import read_levels

    parts = [parse_part(part, loaded_model.card.image) for part in args.erase]
    return erased(read_levels(args.image, loaded_model.card.image), *parts)


def _sweep(args: argparse.Namespace, loaded_model: LoadedModel, knobs: SamplingParams) -> Sweep | None:
    """The knob that is to have several values, if one is; each value makes one sample."""
    if args.sweep is None:
        return None
    if args.samples > 1:
        raise UsageError(f"--sweep makes one sample of each value; leave out -n {args.samples}")
    return read_sweep(args.sweep, knobs, loaded_model.card.vocab_size)


def _prompt(
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


def _read_stdin() -> str:
    """All of stdin without its last newlines; bytes that are not UTF-8 become a sign that no model knows."""
    if sys.stdin is None:
        raise TuiGenError("stdin is closed, so it holds no prompt")
    return io.TextIOWrapper(sys.stdin.buffer, "utf-8", "replace").read().rstrip("\n")


def _warn(loaded_model: LoadedModel, text: str, knobs: SamplingParams) -> None:
    words = [text[start:end] for start, end in loaded_model.codec.unknown(text)]
    if words:
        say(f"{loaded_model.card.name} does not know {', '.join(words)} and reads it as unknown")
    if knobs.top_k > loaded_model.card.vocab_size:
        say(f"top-k {knobs.top_k} keeps all tokens: {loaded_model.card.name} has {loaded_model.card.vocab_size}")


def _report(loaded_model: LoadedModel, facts: str, count: int, seconds: float, *, name: str = "") -> None:
    rate = f"{count} tokens in {seconds:.2f} s"
    say(f"{name or loaded_model.card.name} · {loaded_model.model.runs_on} · {facts} · {rate}")


def _compare(args: argparse.Namespace) -> int:
    """The same on several models, with the knobs that the first one has, and how far they lie apart."""
    loaded_models = [open_model(model, **options.engine(args)) for model in (args.model, *args.beside)]
    form = checked_format(loaded_models[0], args.format, args.output)
    levels = [_levels(args, loaded_model) for loaded_model in loaded_models]
    branches, limits = _branches(args, loaded_models, levels)
    comparison, names = ModelComparison(*map(ModelBranch, loaded_models, branches)), distinct_names(loaded_models)
    seconds = [0.0 for _ in branches]

    def note(number: int, bundle: Sequence[Step]) -> None:
        buffer = branches[number].step_buffer()
        for step in bundle:
            buffer.append(step)
        branches[number].record(buffer)
        seconds[number] += buffer.seconds
        say(*loaded_models[number].model.take_warnings())

    def open_writer(number: int, file: BinaryIO) -> StepWriter:
        samples, sweep = branches[number].samples, branches[number].start.sweep
        return writer_for(loaded_models[number], form, samples, file, given=levels[number], sweep=sweep)

    with destination(args.output) as file:
        writer = ComparisonWriter(comparison, names, open_writer, form=form, file=file, given=levels)
        try:
            writer.write(map(_steps, branches, limits), note)
        except KeyboardInterrupt:
            print(file=sys.stderr)
            _report_comparison(comparison, names, loaded_models, seconds)
            raise
    _report_comparison(comparison, names, loaded_models, seconds)
    return 0


def _branches(
    args: argparse.Namespace, loaded_models: Sequence[LoadedModel], levels: Sequence[Tokens | None]
) -> tuple[list[Branch], list[int]]:
    """What each model is to make, and how many positions that may become."""
    text = _read_stdin() if args.prompt == "-" else args.prompt
    knobs = options.knobs(args, temperature=loaded_models[0].card.temperature)
    sweep = _sweep(args, loaded_models[0], knobs)
    samples = len(sweep) if sweep else args.samples
    seed = new_seed() if args.seed is None else args.seed
    check_comparable(loaded_models)
    branches, limits = [], []
    for loaded_model, own_levels in zip(loaded_models, levels, strict=True):
        prompt, length = _prompt(args, loaded_model, text, own_levels, samples)
        _warn(loaded_model, text, knobs)
        if args.temperature is None and loaded_model.card.temperature != knobs.temperature:
            say(f"{loaded_model.card.name} takes temperature {knobs.temperature:g} from {loaded_models[0].card.name}")
        start = BranchStart(prompt, seed, knobs, text=text, sweep=sweep)
        branches.append(Branch("1", start, loaded_model.model))
        limits.append(prompt.shape[1] + length)
    return branches, limits


def _steps(branch: Branch, limit: int) -> Iterator[Step]:
    return branch.steps(branch.start.params, lambda: limit)


def _report_comparison(
    comparison: ModelComparison, names: Sequence[str], loaded_models: Sequence[LoadedModel], seconds: Sequence[float]
) -> None:
    """How each run went, and what lies between them."""
    for name, loaded_model, column, duration in zip(names, loaded_models, comparison.columns, seconds, strict=True):
        branch, start = column.branch, column.branch.start
        knobs = start.sweep.describe(start.params) if start.sweep else start.params.describe()
        count = int((branch.live & ~branch.given).sum())
        _report(loaded_model, f"{knobs} · seed {start.seed}", count, duration, name=name)
    comparison.update(final=True)
    say(*comparison_lines(comparison, names))
