"""The command line: runs what was asked for and tells failures. Commands import what they run when they run."""

from __future__ import annotations

import argparse
import gc
import io
import os
import sys
import traceback
from collections.abc import Callable, Sequence

from tui_gen.cli.options import CASES, WRONG_USAGE, parse
from tui_gen.errors import TuiGenError, UsageError
from tui_gen.terminal_text import scrub, scrub_line

OK, FAILED, INTERRUPTED = 0, 1, 130
_FRAMES_PER_SECOND = "80"
"""How often the screen may be painted at most: what a key changes waits for the next time, but each has its cost."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs a command; returns the exit status: 0, 1 for a failure, 2 for wrong usage, 130 after Ctrl-C."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    _tolerate_narrow_encodings()
    args = parse(words)
    try:
        status = _COMMANDS[args.command](args)
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


def _run_screen(args: argparse.Namespace) -> int:
    if not all(stream is not None and stream.isatty() for stream in (sys.stdin, sys.stdout)):
        raise UsageError("the screen needs a terminal on stdin and stdout; without one, use `tui-gen generate`")
    os.environ.setdefault("TEXTUAL_FPS", _FRAMES_PER_SECOND)  # read when it is imported
    gc.disable()  # so many modules would be searched for garbage several times, and have none
    from tui_gen.cli.play import launch

    gc.freeze()
    gc.enable()
    return launch(args)


def _run_generate(args: argparse.Namespace) -> int:
    from tui_gen.cli.generate import run

    return run(args)


def _run_replay(args: argparse.Namespace) -> int:
    from tui_gen.cli.replay import run, screen_arguments

    return _run_screen(screen_arguments(args)) if args.screen else run(args)


def _run_score(args: argparse.Namespace) -> int:
    from tui_gen.cli.score import run

    return run(args)


def _run_models(args: argparse.Namespace) -> int:
    from tui_gen.cli.models import list_models

    return list_models(as_json=args.json)


def _run_inspect(args: argparse.Namespace) -> int:
    from tui_gen.cli import options
    from tui_gen.cli.inspect import inspect

    return inspect(args.model, audited=args.audit, **options.engine(args))


def _run_learned(args: argparse.Namespace) -> int:
    from tui_gen.cli.learned import run

    return run(args)


def _run_bench(args: argparse.Namespace) -> int:
    unknown = [case for case in args.cases if case not in CASES]
    if unknown:
        raise UsageError(f"there is no case {unknown[0]!r}; there are: {', '.join(CASES)}")
    from tui_gen.bench.report import run

    return run(args.cases, form=args.form)


_COMMANDS: dict[str, Callable[[argparse.Namespace], int]] = {
    "": _run_screen,
    "models": _run_models,
    "generate": _run_generate,
    "replay": _run_replay,
    "score": _run_score,
    "inspect": _run_inspect,
    "learned": _run_learned,
    "bench": _run_bench,
}
"""By name; the screen has none."""
