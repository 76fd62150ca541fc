"""The command line: what can be asked for, and how failures are told. Commands import what they run when they run."""

from __future__ import annotations

import argparse
import io
import os
import sys
import traceback
from collections.abc import Callable, Sequence
from typing import NoReturn

from tui_gen import __version__
from tui_gen.errors import TuiGenError, UsageError
from tui_gen.scrub import scrub, scrub_line

OK, FAILED, WRONG_USAGE, INTERRUPTED = 0, 1, 2, 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs a command; returns the exit status: 0, 1 for a failure, 2 for wrong usage, 130 after Ctrl-C."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    _tolerate_narrow_encodings()
    args = _parse(words)
    try:
        run: Callable[[argparse.Namespace], int] = args.run
        status = run(args)
        sys.stdout.flush()
        return status
    except BrokenPipeError:
        _abandon_stdout()  # whoever read it has seen enough
        return OK
    except KeyboardInterrupt:
        _abandon_stdout()  # what could be written is; its reader may have been interrupted too
        return INTERRUPTED
    except (TuiGenError, OSError) as fault:
        if args.verbose:
            print(scrub(traceback.format_exc()), file=sys.stderr)
        print(f"tui-gen: {_one_line(fault)}", file=sys.stderr)
        if isinstance(fault, OSError):
            _abandon_stdout()  # it may be what is at fault, as on a full disk
        return WRONG_USAGE if isinstance(fault, UsageError) else FAILED


def _abandon_stdout() -> None:
    """Drops what is not written yet; Python would complain once more when it flushes at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _tolerate_narrow_encodings() -> None:
    """A sign that the terminal's encoding lacks is replaced, not an error; Windows still has such encodings."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")


def _one_line(fault: Exception) -> str:
    return scrub_line(str(fault))


class _Parser(argparse.ArgumentParser):
    """Tells wrong usage in one line."""

    def error(self, message: str) -> NoReturn:
        self.exit(WRONG_USAGE, f"{self.prog}: {message} ({self.prog} --help shows what it takes)\n")


def _parse(words: list[str]) -> argparse.Namespace:
    """A first word that names a command selects it; everything else asks for the screen."""
    for word, (build, run) in _COMMANDS.items():
        if words[:1] == [word]:
            return _finish(build(_new_parser(f"tui-gen {word}")), run, words[1:])
    return _finish(_screen_parser(_new_parser("tui-gen")), _run_screen, words)


def _finish(
    parser: argparse.ArgumentParser, run: Callable[[argparse.Namespace], int], words: list[str]
) -> argparse.Namespace:
    parser.set_defaults(run=run)
    return parser.parse_args(words)


def _new_parser(program: str) -> _Parser:
    parser = _Parser(prog=program, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-v", "--verbose", action="store_true", help="show the traceback of a failure")
    return parser


def _screen_parser(parser: _Parser) -> _Parser:
    parser.description = "A terminal playground for autoregressive neural networks."
    parser.epilog = "commands:\n" + "\n".join(f"  tui-gen {word} --help" for word in _COMMANDS)
    parser.add_argument("model", nargs="?", metavar="MODEL", help="a model's name or folder")
    parser.add_argument("--prompt", default="", metavar="TEXT", help="what stands in the prompt at the start")
    parser.add_argument("--version", action="version", version=f"tui-gen {__version__}")
    _add_run_options(parser)
    return parser


def _generate_parser(parser: _Parser) -> _Parser:
    parser.description = "Generates text or pictures and writes them to stdout as they appear."
    parser.add_argument("model", metavar="MODEL", help="a model's name or folder")
    parser.add_argument("prompt", nargs="?", default="", metavar="PROMPT", help="the prompt; - reads it from stdin")
    _add_run_options(parser)
    parser.add_argument("--format", choices=("text", "jsonl", "ascii", "blocks", "png"), help="how to write it")
    parser.add_argument("-o", "--output", metavar="FILE", help="write there instead of to stdout")
    return parser


def _add_run_options(parser: _Parser) -> None:
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
    _add_engine_options(parser)


def _add_engine_options(parser: _Parser) -> None:
    parser.add_argument("--provider", choices=("auto", "cpu", "cuda"), default="auto", help="where the model runs")
    parser.add_argument(
        "--threads", type=_count(1, 256), default=0, metavar="N", help="for a step on the CPU; default: measured once"
    )


def _models_parser(parser: _Parser) -> _Parser:
    parser.description = "Lists the models that are installed."
    parser.add_argument("--json", action="store_true", help="as JSON, for programs")
    return parser


def _inspect_parser(parser: _Parser) -> _Parser:
    parser.description = "Shows a model's card, its inputs and outputs, and where it really runs."
    parser.add_argument("model", metavar="MODEL", help="a model's name or folder")
    parser.add_argument("--audit", action="store_true", help="of a model that draws: which pixels it really sees")
    _add_engine_options(parser)
    return parser


def _bench_parser(parser: _Parser) -> _Parser:
    parser.description = "Times the engine and the screen beside what one would otherwise run, in about three minutes."
    parser.add_argument("cases", nargs="*", metavar="CASE", help=f"only some of: {', '.join(_CASES)}; default: all")
    form = parser.add_mutually_exclusive_group()
    form.set_defaults(form="text")
    form.add_argument("--json", action="store_const", const="json", dest="form", help="as JSON, for programs")
    form.add_argument("--markdown", action="store_const", const="markdown", dest="form", help="as a table")
    return parser


def _count(minimum: int, maximum: int | None = None) -> Callable[[str], int]:
    limits = f"of at least {minimum}" if maximum is None else f"from {minimum} to {maximum}"

    def parse(text: str) -> int:
        value = int(text) if text.lstrip("+-").isdecimal() else None
        if value is None or value < minimum or (maximum is not None and value > maximum):
            raise argparse.ArgumentTypeError(f"must be a whole number {limits}, not {text!r}")
        return value

    return parse


def _run_screen(args: argparse.Namespace) -> int:
    if not all(stream is not None and stream.isatty() for stream in (sys.stdin, sys.stdout)):
        raise UsageError("the screen needs a terminal on stdin and stdout; without one, use `tui-gen generate`")
    os.environ.setdefault("TEXTUAL_FPS", _FRAMES_PER_SECOND)  # read when it is imported
    from tui_gen.tui.launch import launch

    return launch(args)


def _run_generate(args: argparse.Namespace) -> int:
    from tui_gen.headless import run

    return run(args)


def _run_models(args: argparse.Namespace) -> int:
    from tui_gen.listing import list_models

    return list_models(as_json=args.json)


def _run_inspect(args: argparse.Namespace) -> int:
    from tui_gen.listing import inspect

    return inspect(args.model, args.provider, threads=args.threads, audited=args.audit)


def _run_bench(args: argparse.Namespace) -> int:
    unknown = [case for case in args.cases if case not in _CASES]
    if unknown:
        raise UsageError(f"there is no case {unknown[0]!r}; there are: {', '.join(_CASES)}")
    from tui_gen.bench.report import run

    return run(args.cases, form=args.form)


_FRAMES_PER_SECOND = "80"
"""How often the screen may be painted at most: what a key changes waits for the next time, but each has its cost."""
_CASES = ("generate", "step", "pictures", "length", "batch", "read", "screen", "launch")
_COMMANDS: dict[str, tuple[Callable[[_Parser], _Parser], Callable[[argparse.Namespace], int]]] = {
    "models": (_models_parser, _run_models),
    "generate": (_generate_parser, _run_generate),
    "inspect": (_inspect_parser, _run_inspect),
    "bench": (_bench_parser, _run_bench),
}
