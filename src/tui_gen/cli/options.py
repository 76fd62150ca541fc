"""What can be asked for on the command line: a parser for each command."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NoReturn, TypedDict

from tui_gen import __version__
from tui_gen.errors import TuiGenError, UsageError

if TYPE_CHECKING:
    from tui_gen.runtime.session import Provider
    from tui_gen.sampling.params import SamplingParams

WRONG_USAGE = 2
"""The exit status."""
CASES = ("generate", "step", "pictures", "length", "batch", "read", "screen", "launch")
"""What the benchmark can time."""


def parse(words: Sequence[str]) -> argparse.Namespace:
    """What was asked for; `command` is the first word where that names one, and empty where the screen is asked for.

    Ends the program with a line on stderr for wrong usage, and after the help.
    """
    command = next((word for word in words[:1] if word in _COMMANDS), "")
    parser = _Parser(prog=f"tui-gen {command}".rstrip(), formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-v", "--verbose", action="store_true", help="show the traceback of a failure")
    parser.set_defaults(command=command)
    build = _COMMANDS[command] if command else _screen
    build(parser)
    return parser.parse_args(words[1:] if command else words)


class _Parser(argparse.ArgumentParser):
    """Tells wrong usage in one line."""

    def error(self, message: str) -> NoReturn:
        self.exit(WRONG_USAGE, f"{self.prog}: {message} ({self.prog} --help shows what it takes)\n")


def _screen(parser: argparse.ArgumentParser) -> None:
    parser.description = "A terminal playground for autoregressive neural networks."
    parser.epilog = "commands:\n" + "\n".join(f"  tui-gen {word} --help" for word in _COMMANDS)
    parser.add_argument("model", nargs="?", metavar="MODEL", help="a model's name or folder")
    parser.add_argument("--prompt", default="", metavar="TEXT", help="what stands in the prompt at the start")
    parser.add_argument("--version", action="version", version=f"tui-gen {__version__}")
    add_run_options(parser)


def _generate(parser: argparse.ArgumentParser) -> None:
    parser.description = "Generates text or pictures and writes them to stdout as they appear."
    parser.add_argument("model", metavar="MODEL", help="a model's name or folder")
    parser.add_argument("prompt", nargs="?", default="", metavar="PROMPT", help="the prompt; - reads it from stdin")
    add_run_options(parser)
    parser.add_argument(
        "--sweep",
        metavar="KNOB[=V,V,...]",
        help="several values of temperature, top-k, top-p or min-p side by side, with the same random numbers",
    )
    parser.add_argument("--image", metavar="FILE", help="complete this picture where it is transparent or erased")
    parser.add_argument(
        "--erase", action="append", default=[], metavar="PART", help="rows:14-27, rect:4,4,20,20, pixel:3,5; repeatable"
    )
    add_output_options(parser)


def _replay(parser: argparse.ArgumentParser) -> None:
    parser.description = "Makes a saved session again, token for token, and writes the branch that was shown last."
    parser.add_argument("file", metavar="FILE", help="a session that was saved, or one that a crash left behind")
    parser.add_argument("--branch", metavar="NAME", help="write this branch")
    parser.add_argument("--screen", action="store_true", help="open the screen on the session")
    parser.add_argument("--model", metavar="MODEL", help="the name or folder of the model that it was made with")
    parser.add_argument("--anyway", action="store_true", help="also with a model that is not the same")
    add_output_options(parser)
    add_engine_options(parser)


def _score(parser: argparse.ArgumentParser) -> None:
    parser.description = "Says how surprised a model is by a text or a picture: bits per token, and what they come to."
    parser.add_argument("model", metavar="MODEL", help="a model's name or folder")
    parser.add_argument("file", metavar="FILE", help="UTF-8 text of any length, - reads stdin; or an image file")
    parser.add_argument(
        "--prompt", default="", metavar="TEXT", help="as of generate: what comes before, or what the picture shows"
    )
    parser.add_argument("--format", choices=("text", "jsonl"), default="text", help="how to write it")
    add_engine_options(parser)


def _models(parser: argparse.ArgumentParser) -> None:
    parser.description = "Lists the models that are installed."
    parser.add_argument("--json", action="store_true", help="as JSON, for programs")


def _inspect(parser: argparse.ArgumentParser) -> None:
    parser.description = "Shows a model's card, its inputs and outputs, and where it really runs."
    parser.add_argument("model", metavar="MODEL", help="a model's name or folder")
    parser.add_argument("--audit", action="store_true", help="of a model that draws: which pixels it really sees")
    add_engine_options(parser)


def _learned(parser: argparse.ArgumentParser) -> None:
    parser.description = "Shows how a model learned: the losses of every epoch, and what it made after it."
    parser.add_argument("model", metavar="MODEL", help="a model's name or folder")
    parser.add_argument("--epoch", type=int, metavar="N", help="only this one")
    parser.add_argument("--format", choices=("ascii", "blocks"), help="how to draw pictures")


def _bench(parser: argparse.ArgumentParser) -> None:
    parser.description = "Times the engine and the screen beside what one would otherwise run, in about three minutes."
    parser.add_argument("cases", nargs="*", metavar="CASE", help=f"only some of: {', '.join(CASES)}; default: all")
    form = parser.add_mutually_exclusive_group()
    form.set_defaults(form="text")
    form.add_argument("--json", action="store_const", const="json", dest="form", help="as JSON, for programs")
    form.add_argument("--markdown", action="store_const", const="markdown", dest="form", help="as a table")


_COMMANDS: dict[str, Callable[[argparse.ArgumentParser], None]] = {
    "models": _models,
    "generate": _generate,
    "replay": _replay,
    "score": _score,
    "inspect": _inspect,
    "learned": _learned,
    "bench": _bench,
}


def add_run_options(parser: argparse.ArgumentParser) -> None:
    """What a run is made with, and where the model runs."""
    parser.add_argument(
        "-t", "--temperature", type=float, metavar="T", help="0 takes the likeliest token; default: the model card's"
    )
    parser.add_argument(
        "--top-k", type=int, default=0, metavar="K", help="sample from the K likeliest tokens; 0 is off"
    )
    parser.add_argument("--top-p", type=float, default=1.0, metavar="P", help="from the likeliest that add up to P")
    parser.add_argument(
        "--min-p", type=float, default=0.0, metavar="P", help="from those at least P times the likeliest"
    )
    parser.add_argument("-l", "--length", type=_count(0), metavar="N", help="how many tokens to sample at most")
    parser.add_argument(
        "-n", "--samples", type=_count(1, 4096), default=1, metavar="N", help="how many samples at once"
    )
    parser.add_argument("--seed", type=_count(0), metavar="S", help="same seed, same output")
    add_engine_options(parser)


def add_output_options(parser: argparse.ArgumentParser) -> None:
    """How and where to write what is made."""
    parser.add_argument("--format", choices=("text", "jsonl", "ascii", "blocks", "png", "gif"), help="how to write it")
    parser.add_argument("-o", "--output", metavar="FILE", help="write there instead of to stdout")


def add_engine_options(parser: argparse.ArgumentParser) -> None:
    """Where and how the model runs."""
    parser.add_argument(
        "--provider",
        choices=("auto", "cpu", "cuda"),
        default="auto",
        help="where the model runs; auto measures once which is faster",
    )
    parser.add_argument("--device", type=_count(0, 1023), default=0, metavar="N", help="which GPU, of several")
    parser.add_argument(
        "--threads", type=_count(1, 256), default=0, metavar="N", help="for a step on the CPU; default: measured once"
    )


def _count(minimum: int, maximum: int | None = None) -> Callable[[str], int]:
    limits = f"of at least {minimum}" if maximum is None else f"from {minimum} to {maximum}"

    def parse(text: str) -> int:
        value = int(text) if text.lstrip("+-").isdecimal() else None
        if value is None or value < minimum or (maximum is not None and value > maximum):
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
    """What `open_model` takes besides the folder."""

    provider: Provider
    threads: int
    device: int


def engine(args: argparse.Namespace) -> EngineOptions:
    """Where and how the model runs, as asked for."""
    return EngineOptions(provider=args.provider, threads=args.threads, device=args.device)
