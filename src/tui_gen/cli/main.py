"""The command line: a parser for each command, loaded when its command is asked for; and how failures are told."""

from __future__ import annotations

import argparse
import errno
import io
import os
import sys
import traceback
from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Any, TypeGuard

from tui_gen import __version__
from tui_gen.cli.options import WRONG_USAGE, Parser, add_verbose
from tui_gen.errors import TuiGenError, UsageError
from tui_gen.runtime.watch import WATCH
from tui_gen.terminal_text import say, say_text

OK, FAILED, INTERRUPTED = 0, 1, 130
COMMANDS = {
    "models": "what is installed",
    "generate": "text or pictures, to stdout or a file",
    "bulk": "any number of samples or scores, to a folder, by this machine or a cluster",
    "score": "how surprised a model is by a file",
    "look": "what goes on inside a model while it reads a file",
    "replay": "a saved session, made again",
    "inspect": "a model's card, its graph, the words that it knows",
    "learned": "how a model learned, epoch by epoch",
    "watch": "a training while it runs: its losses, and its newest network to play",
    "tour": "a tour of the screen, through what the models have inside",
    "page": "a page that plays models in a browser",
    "serve": "the screen in a browser on this machine",
    "bench": "times the engine and the screen",
    "config": "where your settings and keys are kept",
    "doctor": "what is installed, on what machine, and what is wrong with it",
}
"""Modules beside this one; each has `configure(parser)` and `run(args)`."""
EXPORTER_COMMANDS = {
    "export": "makes a model of a checkpoint",
    "train": "trains a network by name",
    "evaluate": "measures a model on held-out data",
    "adherence": "how often pictures show what their prompts ask for",
}
"""What the exporter brings, and parses itself."""
_SCREEN = ""
"""The command where no word names one."""
_WRITING_FAULTS = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EBADF}
"""Of a file that was open already, which is stdout: what opens a file names it in its fault."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs a command; returns the exit status: 0, 1 for a failure, 2 for wrong usage, 130 after Ctrl-C."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    args = argparse.Namespace(verbose=False)

    def run() -> int:
        parse(words, args)
        status: int = args.run(args)
        return status

    return exit_status(run, args)


def parse(words: Sequence[str], args: argparse.Namespace | None = None) -> argparse.Namespace:
    """What the words after `tui-gen` ask for; `run` does it. args: takes it. Ends the program for wrong usage."""
    return _parser().parse_args(_with_command(words), args)


def exit_status(run: Callable[[], int], args: argparse.Namespace, *, prog: str = "tui-gen") -> int:
    """Runs a command and tells in one line on stderr what it fails of; returns the exit status, as of `main`.

    args: with `verbose`, a failure has its traceback. prog: what the line begins with.
    """
    WATCH.listen()
    _stand_in_for_closed_streams()
    _tolerate_narrow_encodings()
    try:
        status = _run_to_end(run)
        sys.stdout.flush()
    except BrokenPipeError:
        _abandon_stdout()  # whoever read it has seen enough
        return OK
    except KeyboardInterrupt:
        _abandon_stdout()  # what could be written is; its reader may have been interrupted too
        return INTERRUPTED
    except Exception as fault:  # the last handler there is: what nobody foresaw is told in a line, too
        if "verbose" in args and args.verbose:
            say_text(traceback.format_exc())
        say(_cause(fault), prog=prog)
        if _is_of_stdout(fault):
            _abandon_stdout()
        return WRONG_USAGE if isinstance(fault, UsageError) else FAILED
    return status


def _run_to_end(run: Callable[[], int]) -> int:
    """Its exit status, also where argparse would end the program: after a help, or a line about wrong usage."""
    try:
        return run()
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else OK


def _is_of_stdout(fault: Exception) -> TypeGuard[OSError]:
    if not isinstance(fault, OSError) or fault.filename is not None or fault.errno not in _WRITING_FAULTS:
        return False
    if isinstance(sys.stdout, io.TextIOWrapper) and sys.stdout.write_through:  # as PYTHONUNBUFFERED asks
        return True
    try:
        sys.stdout.flush()
    except OSError:  # which still has what it could not write
        return True
    return False


def _cause(fault: Exception) -> str:
    if isinstance(fault, MemoryError):
        return "there is too little memory for this; end other programs, or ask for less at once"
    if not isinstance(fault, TuiGenError | OSError):
        cure = "please report it, with the traceback that -v shows and what tui-gen doctor says"
        return f"{_unforeseen(fault)}; nobody foresaw this: {cure}"
    if _is_of_stdout(fault):
        return f"stdout cannot be written: {fault.strerror}"
    if isinstance(fault, OSError) and fault.filename is not None:
        return f"{fault.filename}: {fault.strerror}"
    if isinstance(fault, OSError):
        return f"a file cannot be read or written: {fault.strerror or fault}"
    return str(fault)


def _unforeseen(fault: Exception) -> str:
    """What was raised, and where: its kind, its message, file and line."""
    *_, frame = traceback.extract_tb(fault.__traceback__)
    words = f"{type(fault).__name__}: {str(fault).strip() or 'without a message'}"
    return f"{words.splitlines()[0]:.200} ({os.path.basename(frame.filename)}, line {frame.lineno})"


class CommandParser(Parser):
    """Of one command, whose module is imported when its words are parsed, and not before."""

    def __init__(self, *, module: str, **facts: Any) -> None:
        super().__init__(formatter_class=argparse.RawDescriptionHelpFormatter, **facts)
        self._module = module

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Of the words of the command. Ends the program with a line on stderr for one that it does not take."""
        command = import_module(f"tui_gen.cli.{self._module}")
        self.set_defaults(run=command.run)
        command.configure(self)
        namespace, others = super().parse_known_args(args, namespace)
        if others:
            self.error(f"unrecognized arguments: {' '.join(others)}")
        return namespace, others


def _parser() -> Parser:
    """Of all commands; what it finds has, in `run`, the function that does what was asked for."""
    parser = Parser(prog="tui-gen", add_help=False, allow_abbrev=False)
    add_verbose(parser)
    commands = parser.add_subparsers(dest="command", parser_class=CommandParser)
    screen = commands.add_parser(_SCREEN, prog="tui-gen", module="play")
    summaries = COMMANDS | EXPORTER_COMMANDS
    screen.epilog = "\n".join(["commands:", *(f"  tui-gen {name:10} {does}" for name, does in summaries.items())])
    screen.epilog += "\n\ntui-gen COMMAND --help says what a command takes."
    for own in (screen, *(commands.add_parser(name, module=name) for name in COMMANDS)):
        add_verbose(own)
        own.add_argument("--version", action="version", version=f"tui-gen {__version__}")
    for name in EXPORTER_COMMANDS:  # no word begins with NUL, so that all of them are left to the exporter
        commands.add_parser(name, module="exporter", add_help=False, prefix_chars="\0")
    return parser


def _with_command(words: Sequence[str]) -> list[str]:
    """The words with the screen's name where no command stands, which may follow options that count for all."""
    first = next((at for at, word in enumerate(words) if word not in ("-v", "--verbose")), len(words))
    named = words[first : first + 1] and words[first] in COMMANDS | EXPORTER_COMMANDS
    return [*words[:first], *([] if named else [_SCREEN]), *words[first:]]


def _abandon_stdout() -> None:
    """Drops what is not written yet; Python would complain once more when it flushes at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _stand_in_for_closed_streams() -> None:
    """A closed stdout becomes one that cannot be written, and says so; its number goes to no other file."""
    if sys.stdout is None:
        sys.stdout = os.fdopen(os.open(os.devnull, os.O_RDONLY), "w", encoding="utf-8")
    if sys.stderr is None:
        sys.stderr = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115


def _tolerate_narrow_encodings() -> None:
    """A sign that the terminal's encoding lacks is replaced, not an error; Windows still has such encodings."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
