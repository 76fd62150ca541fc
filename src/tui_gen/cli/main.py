"""The command line: picks the command by the first word, runs it, and tells failures."""

from __future__ import annotations

import argparse
import io
import os
import sys
import traceback
from collections.abc import Sequence
from importlib import import_module

from tui_gen.cli.options import WRONG_USAGE, Parser
from tui_gen.errors import TuiGenError, UsageError
from tui_gen.terminal_text import scrub, scrub_line

OK, FAILED, INTERRUPTED = 0, 1, 130
_COMMANDS = ("models", "generate", "replay", "score", "inspect", "learned", "bench", "config")
"""Modules beside this one; each has `configure(parser)` and `run(args)`."""
_EXPORTER_COMMANDS = ("export", "train", "evaluate", "adherence")
"""What the exporter brings, and parses itself."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs a command; returns the exit status: 0, 1 for a failure, 2 for wrong usage, 130 after Ctrl-C."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    _tolerate_narrow_encodings()
    args = argparse.Namespace(verbose=False)
    try:
        args = _parse(words)
        status: int = args.run(args)
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
        print(f"tui-gen: {scrub_line(str(fault))}", file=sys.stderr)
        if isinstance(fault, OSError):
            _abandon_stdout()  # it may be what is at fault, as on a full disk
        return WRONG_USAGE if isinstance(fault, UsageError) else FAILED


def _parse(words: Sequence[str]) -> argparse.Namespace:
    """What was asked for, and in `run` the function that does it. Without a command, that is the screen.

    Ends the program with a line on stderr for wrong usage, and after the help.
    """
    command = next((word for word in words[:1] if word in _COMMANDS), "")
    if not command and words and words[0] in _EXPORTER_COMMANDS:
        from tui_gen.cli.exporter import run

        return argparse.Namespace(verbose=False, run=run, command=words[0], words=words[1:])
    module = import_module(f"tui_gen.cli.{command or 'play'}")
    parser = Parser(prog=f"tui-gen {command}".rstrip(), formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-v", "--verbose", action="store_true", help="show the traceback of a failure")
    if not command:
        words_of_commands = (*_COMMANDS, *_EXPORTER_COMMANDS)
        parser.epilog = "commands:\n" + "\n".join(f"  tui-gen {word} --help" for word in words_of_commands)
    module.configure(parser)
    parser.set_defaults(run=module.run)
    return parser.parse_args(words[1:] if command else words)


def _abandon_stdout() -> None:
    """Drops what is not written yet; Python would complain once more when it flushes at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _tolerate_narrow_encodings() -> None:
    """A sign that the terminal's encoding lacks is replaced, not an error; Windows still has such encodings."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
