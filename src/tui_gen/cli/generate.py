"""`tui-gen generate`: one run without a screen."""

from __future__ import annotations

import argparse
import time

from tui_gen.cli import options
from tui_gen.errors import UsageError
from tui_gen.terminal_text import say, say_text


def configure(parser: argparse.ArgumentParser) -> None:
    """Describes the command's options."""
    parser.description = "Generates text or pictures and writes them to stdout as they appear."
    parser.add_argument("model", metavar="MODEL", help=options.MODEL)
    parser.add_argument("prompt", nargs="?", default="", metavar="PROMPT", help="the prompt; - reads it from stdin")
    options.add_run_options(parser)
    options.add_first(parser)
    options.add_checkpoint_options(parser)
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
    if args.first is not None and (args.beside or args.sweep):
        raise UsageError(
            f"--first numbers the samples of one model and one knob; leave out {'--with' if args.beside else '--sweep'}"
        )
    if args.beside:
        from tui_gen.cli.comparison import compare

        return compare(args)
    from tui_gen.cli import runs
    from tui_gen.generation.generate import generate
    from tui_gen.generation.pacing import frames
    from tui_gen.library import open_model
    from tui_gen.output.writers import checked_format, closing, destination, writer_for
    from tui_gen.sampling.params import new_seed

    loaded_model = open_model(args.model, **options.engine(args))
    form = checked_format(loaded_model, args.format, args.output, null=args.null)
    text = runs.read_stdin() if args.prompt == "-" else args.prompt
    knobs = options.knobs(args, temperature=loaded_model.card.temperature)
    levels = runs.read_levels(args, loaded_model)
    sweep = runs.sweep(args, loaded_model, knobs)
    samples = len(sweep) if sweep else args.samples
    prompt, length = runs.encode_prompt(args, loaded_model, text, levels, samples)
    runs.warn(loaded_model, text, knobs, args.length)
    seed = new_seed() if args.seed is None else args.seed
    first = args.first or 0
    numbers = None if args.first is None else range(first, first + samples)
    steps = generate(loaded_model.model, prompt, knobs, length=length, seed=seed, numbers=numbers, sweep=sweep)
    facts = f"{sweep.describe(knobs) if sweep else knobs.describe()} · seed {seed}"
    with destination(args.output) as file:
        start, count = time.perf_counter(), 0
        writer = writer_for(
            loaded_model, form, samples, file, prompt=text, given=levels, sweep=sweep, null=args.null, first=first
        )
        with closing(writer):
            try:
                for bundle in frames(steps, writer.bundle):
                    count += sum(int((step.live & ~step.given).sum()) for step in bundle)
                    writer.write(bundle)
                    say(*loaded_model.model.take_warnings())
            except KeyboardInterrupt:
                say_text("")
                runs.report(loaded_model, facts, count, time.perf_counter() - start)
                raise
    runs.report(loaded_model, facts, count, time.perf_counter() - start)
    return 0
