"""What several commands share: the parser, the options of a run, of its output and of the engine, and their meaning."""

from __future__ import annotations

import argparse
import contextlib
import io
import math
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn, TypedDict, cast

from tui_gen import checkpoint
from tui_gen.card import LIMITS
from tui_gen.errors import TuiGenError, UsageError
from tui_gen.terminal_text import brief, say

if TYPE_CHECKING:
    from tui_gen.card import ImageSpec
    from tui_gen.config import Config
    from tui_gen.runtime.session import Provider
    from tui_gen.sampling.params import SamplingParams, Tokens

WRONG_USAGE = 2
"""The exit status."""
STDIN_PICTURE = "a picture is read from a file, not from stdin"
MODEL = "a model's name or folder, an .onnx file that says what it is, a checkpoint, or hf:user/model of the hub"


class Parser(argparse.ArgumentParser):
    """Tells wrong usage in one line."""

    def error(self, message: str) -> NoReturn:
        say(f"{brief(message)} ({self.prog} --help shows what it takes)", prog=self.prog)
        sys.exit(WRONG_USAGE)


def add_verbose(parser: argparse.ArgumentParser) -> None:
    """The option that counts for every command, before or after its name."""
    parser.add_argument(
        "-v", "--verbose", action="store_true", default=argparse.SUPPRESS, help="show the traceback of a failure"
    )


def add_run_options(parser: argparse.ArgumentParser, *, samples: str = "samples") -> None:
    """What a run is made with, and where the model runs. samples: whose limits their number has."""
    parser.add_argument(
        "-t",
        "--temperature",
        type=float,
        metavar="T",
        help="0 to 10; 0 takes the likeliest token; default: the model card's",
    )
    parser.add_argument(
        "--top-k", type=int, default=0, metavar="K", help="sample from the K likeliest tokens; 0 is off"
    )
    parser.add_argument(
        "--top-p", type=float, default=1.0, metavar="P", help="0 to 1: from the likeliest that add up to P"
    )
    parser.add_argument(
        "--min-p", type=float, default=0.0, metavar="P", help="0 to 1: from those at least P times the likeliest"
    )
    parser.add_argument(
        "-l", "--length", type=count("length"), metavar="N", help="how many tokens to sample at most; 0 for none"
    )
    parser.add_argument(
        "-n",
        "--samples",
        type=count(samples),
        default=1,
        metavar="N",
        help=f"{LIMITS[samples][0]:.0f} to {LIMITS[samples][1]:,.0f} samples",
    )
    parser.add_argument("--seed", type=count("seed"), metavar="S", help="same seed, same output")
    add_engine_options(parser)


def add_first(parser: argparse.ArgumentParser) -> None:
    """Which samples of a seed are drawn."""
    parser.add_argument(
        "--first",
        type=count("first"),
        metavar="N",
        help="the samples from number N on of the seed, the same whichever they are drawn with; default: from 0",
    )


def add_output_options(parser: argparse.ArgumentParser) -> None:
    """How and where to write what is made."""
    parser.add_argument(
        "--format",
        choices=("text", "samples", "jsonl", "ascii", "blocks", "png", "gif"),
        help="how to write it; samples: a JSON object per sample, as soon as it has ended; jsonl: one per token",
    )
    parser.add_argument("-0", "--null", action="store_true", help="end each text with NUL, as xargs -0 reads it")
    parser._has_negative_number_optionals.clear()  # else -0 would make an option of every negative number
    parser.add_argument("-o", "--output", metavar="FILE", help="write there instead of to stdout")


def add_checkpoint_options(parser: argparse.ArgumentParser) -> None:
    """What the exporter is told of a checkpoint, where one stands in the place of a model."""
    group = parser.add_argument_group("a checkpoint in place of a model: what it does not say (tui-gen export --help)")
    for option in checkpoint.OPTIONS:
        name = option.removeprefix("--").upper().replace("-", "_")
        metavar = {"--size": "HxW", "--assume": "KEY=VALUE", "--corpus": "FILE"}.get(option, name)
        group.add_argument(option, action=_Answer, dest="answers", default=(), metavar=metavar)
    for option in checkpoint.COMMAND_OPTIONS:
        group.add_argument(option, action=_OfExport, nargs="?", dest=argparse.SUPPRESS, help=argparse.SUPPRESS)


class _OfExport(argparse.Action):
    """Says which command takes an option. Raises UsageError."""

    def __call__(self, parser: object, namespace: object, value: object, option: str | None = None) -> None:
        raise UsageError(
            f"{option} is for tui-gen export FILE {option} ... -o models/NAME, which makes a model that "
            "tui-gen models/NAME plays"
        )


class _Answer(argparse.Action):
    """Adds an option and its value to the answers."""

    def __call__(self, parser: object, namespace: argparse.Namespace, value: object, option: str | None = None) -> None:
        answers = *getattr(namespace, self.dest), (str(option), str(value))
        setattr(namespace, self.dest, answers)


def add_engine_options(parser: argparse.ArgumentParser) -> None:
    """Where and how the model runs."""
    parser.add_argument(
        "--provider",
        choices=("auto", "cpu", "cuda"),
        help="where the model runs; auto measures once which is faster",
    )
    parser.add_argument("--device", type=count("device"), metavar="N", help="which GPU, of several")
    parser.add_argument(
        "--threads", type=count("threads"), metavar="N", help="at most so many on the CPU; default: measured"
    )
    add_trust(parser)


def add_trust(parser: argparse.ArgumentParser) -> None:
    """Whether somebody vouches for the model's file."""
    parser.add_argument(
        "--trust",
        action="store_true",
        help="open a file of any operators and size, as you know who made it; else those of such networks",
    )


def count(name: str) -> Callable[[str], int]:
    """Reads a whole number within its `LIMITS`."""
    minimum, maximum = LIMITS[name]
    limits = f"of at least {minimum}" if math.isinf(maximum) else f"from {minimum} to {maximum:.0f}"

    def parse(text: str) -> int:
        digits = text.replace("_", "")  # as in 1_000_000
        value = int(digits) if digits.lstrip("+-").isdecimal() else None
        if value is None or not minimum <= value <= maximum:
            raise argparse.ArgumentTypeError(f"must be a whole number {limits}, not {text!r}")
        return value

    return parse


def knobs(args: argparse.Namespace, *, temperature: float) -> SamplingParams:
    """The knobs as asked for; temperature is the one to start with if none was. Raises UsageError for a bad one."""
    from tui_gen.sampling.params import SamplingParams

    start = temperature if args.temperature is None else args.temperature
    try:
        return SamplingParams(start, args.top_k, args.top_p, args.min_p).checked()
    except TuiGenError as fault:
        raise UsageError(str(fault)) from fault


class EngineOptions(TypedDict):
    """What `open_model` takes besides the model."""

    provider: Provider
    threads: int
    device: int
    trust: bool
    answers: checkpoint.Answers


def engine(args: argparse.Namespace, config: Config | None = None) -> EngineOptions:
    """Where and how the model runs: as asked for, else as a person has configured it.

    config: where it is read already, and its mistakes are told.
    """
    asked = {name: value for name, value in vars(args).items() if value is not None}
    values = {"provider": "auto", "threads": 0, "device": 0, **(config or _read_config()).values, **asked}
    return EngineOptions(
        provider=values["provider"],
        threads=values["threads"],
        device=values["device"],
        trust=args.trust,
        answers=vars(args).get("answers", ()),
    )


def engine_beside(args: argparse.Namespace, model: Path) -> EngineOptions:
    """The same for another model than the first: answers are of checkpoints."""
    asked = engine(args)
    return asked if checkpoint.is_checkpoint(model) else EngineOptions(**{**asked, "answers": ()})


def _read_config() -> Config:
    from tui_gen.config import config_path, read_config

    config = read_config()
    say(*(f"{config_path()}: {fault}" for fault in config.faults))
    return config


@contextlib.contextmanager
def open_input(path: str) -> Iterator[io.BufferedIOBase]:
    """A file to read a text from; - is stdin. Raises TuiGenError for one that cannot be read."""
    if path == "-":
        if sys.stdin is None:
            raise TuiGenError("stdin is closed, so it holds no text")
        yield cast(io.BufferedIOBase, sys.stdin.buffer)
        return
    if Path(path).is_dir():  # Windows would say that it may not be read
        raise TuiGenError(f"{path} is a folder; name a file")
    try:
        file = open(path, "rb")  # noqa: SIM115
    except OSError as fault:
        raise TuiGenError(f"{path} cannot be read: {fault.strerror}") from fault
    with file:
        yield file


def read_picture(path: str, image: ImageSpec) -> Tokens:
    """The levels of an image file, all of which a model can read, as of `tui_gen.images.read.read_whole`.

    Raises UsageError for stdin, TuiGenError for a file that cannot be read and for transparent pixels.
    """
    if path == "-":
        raise UsageError(STDIN_PICTURE)
    from tui_gen.images.read import read_whole

    return read_whole(path, image)
