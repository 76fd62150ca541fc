"""A conversion as the command line asks for it; in a child process, where it runs the owner's own code.

The child is the only place where such code runs: what it prints, breaks or leaves behind goes with it.
"""

from __future__ import annotations

import argparse
import multiprocessing
import signal
from multiprocessing.connection import Connection

from tui_gen.cli.main import exit_status
from tui_gen.errors import TuiGenError
from tui_gen.terminal_text import say

from .arguments import read_options


def convert_checkpoint(args: argparse.Namespace) -> int:
    """Says what a checkpoint is and converts it; returns the exit status."""
    from .convert import convert, diagnosis_lines
    from .original import read_reference
    from .read import read

    reference = read_reference(args.reference) if args.reference else None
    checkpoint, reading = read(args.checkpoint, read_options(args), factory=args.factory)
    print("\n".join(diagnosis_lines(checkpoint, reading.diagnosis)), flush=True)
    if args.inspect:
        return 0
    convert(
        reading,
        args.output,
        source=args.checkpoint,
        name=args.name or args.output.resolve().name,
        dtype=args.dtype,
        force=args.force,
        guidance=args.guidance,
        reference=reference,
    )
    return 0


def convert_in_child(args: argparse.Namespace, *, prog: str) -> int:
    """The same in a process of its own; returns its exit status.

    Raises TuiGenError if the owner's code ends the process, or takes longer than it may.
    """
    say(f"{args.factory} is your own code: all is done in a child process that runs it, {args.time_limit:,} s at most")
    context = multiprocessing.get_context("spawn")
    status, end = context.Pipe(duplex=False)
    child = context.Process(target=_convert_and_tell, args=(args, prog, end))
    child.start()
    end.close()
    try:
        child.join(args.time_limit)
        if child.is_alive():
            raise TuiGenError(
                f"{args.factory} is not done after {args.time_limit:,} s, so it was ended and nothing was written; "
                "--time-limit SECONDS gives it more"
            )
    finally:
        if child.is_alive():
            child.kill()
            child.join()
    return _status(status, child.exitcode, args.factory)


def _convert_and_tell(args: argparse.Namespace, prog: str, end: Connection) -> None:
    """In the child. Its exit code would not do: the owner's code may end the process with any."""
    end.send(exit_status(lambda: convert_checkpoint(args), args, prog=prog))


def _status(status: Connection, code: int | None, factory: str) -> int:
    """What the child said before it ended. Raises TuiGenError if the owner's code ended it before."""
    try:
        value: int = status.recv()
    except EOFError:
        by = f"with status {code}" if code is None or code >= 0 else f"by {_signal_name(-code)}"
        raise TuiGenError(
            f"the process that ran {factory} ended {by} before it was done, so nothing was written: that code crashed "
            "or left; run the function by itself to see where"
        ) from None
    return value


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name + (", perhaps for want of memory" if number == signal.SIGKILL else "")
    except ValueError:
        return f"signal {number}"
