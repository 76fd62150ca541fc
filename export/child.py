"""A conversion as the command line asks for it; in a child process, where it runs the owner's own code.

The child is the only place where such code runs: what it prints, breaks or leaves behind goes with it.
"""

from __future__ import annotations

import argparse
import contextlib
import errno
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

from tui_gen.checkpoint import memory_to_convert
from tui_gen.child import ignore, limit
from tui_gen.cli.main import exit_status
from tui_gen.errors import DeviceFullError, TuiGenError
from tui_gen.files import read_bytes, temporary_folder
from tui_gen.terminal_text import say, show, show_text

from .arguments import BYTES_A_SECOND, READING_LIMIT, TIME_LIMIT, parse, read_options

if TYPE_CHECKING:  # the help would wait for PyTorch
    from .checkpoints.checkpoint import Checkpoint

_BEGIN = """
import importlib, json, os, pathlib, sys
facts = json.loads(sys.argv[1])
sys.path[:] = facts["path"]
module = importlib.import_module(sys.argv[2])
sys.argv[1:] = []
module.serve(facts["words"], prog=facts["prog"], end=pathlib.Path(facts["end"]))
sys.stdout.flush()
os._exit(0)  # whatever threads the owner's code has left
"""

_WORK = {
    "checkpoints": "its values were read",
    "text": "a recurrent network was looked for in it",
    "images": "a network over images was looked for in it",
    "training": "what the trainer wrote was looked at",
}
"""What the packages do while a file is read."""


def convert_checkpoint(args: argparse.Namespace) -> int:
    """Says what a checkpoint is and converts it; returns the exit status."""
    from .folder import check_target

    if args.output is not None:
        check_target(args.output, weights=args.keep_weights or _is_made_anew(args))
    with _memory_limit(args):
        return _convert(args)


def _convert(args: argparse.Namespace) -> int:
    from .convert import convert, diagnosis_json, diagnosis_lines
    from .original import read_reference
    from .read import read

    reference = read_reference(args.reference) if args.reference else None
    with _time_limit(args):
        checkpoint, reading = read(args.checkpoint, read_options(args), factory=args.factory)
    if args.json:
        show_text(diagnosis_json(checkpoint, reading.diagnosis))
    else:
        show(*diagnosis_lines(checkpoint, reading.diagnosis))
    if args.inspect:
        return 0
    weights = _weights_to_keep(checkpoint, args)
    convert(
        reading,
        args.output,
        source=args.checkpoint,
        name=args.name or args.output.resolve().name,
        dtype=args.dtype,
        force=args.force,
        guidance=args.guidance,
        reference=reference,
        weights=weights,
        tell=_say if args.json else show,
        begin=_say if args.json else ignore,
    )
    return 0


def _say(*lines: str) -> None:
    say(*lines, prog="tui-gen export")


@contextlib.contextmanager
def _memory_limit(args: argparse.Namespace) -> Iterator[None]:
    """Ends a conversion that writes to more memory than an honest one, unless a limit is set already.

    An owner's code has none. Raises TuiGenError that says how to allow more.
    """
    if args.factory or sys.platform != "linux":  # no other system counts what is written to
        yield
        return
    import resource

    from google.protobuf.message import EncodeError

    before = resource.getrlimit(resource.RLIMIT_DATA)
    if before[0] == resource.RLIM_INFINITY:
        now = int(Path("/proc/self/statm").read_bytes().split()[5]) * resource.getpagesize()
        files = [Path(name) for name in (args.vocab, *args.corpus) if name and os.path.isfile(name)]
        size = _bytes(args.checkpoint) + sum(map(os.path.getsize, files))
        limit(None, None, data=now + memory_to_convert(size))
    kilobytes = resource.getrlimit(resource.RLIMIT_DATA)[0] >> 10
    try:
        yield
    except (MemoryError, OSError, RuntimeError, DeviceFullError, EncodeError) as fault:
        if not _is_for_want_of_memory(fault):
            raise
        raise TuiGenError(
            f"{args.checkpoint} takes more than {kilobytes / 2**20:.1f} GiB of memory, so it was given up; `ulimit -Sd "
            f"{2 * kilobytes}` in a shell lets `tui-gen export` take twice that"
        ) from fault
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, before)


def _is_for_want_of_memory(fault: Exception) -> bool:
    if isinstance(fault, OSError):
        return fault.errno == errno.ENOMEM
    return not isinstance(fault, RuntimeError) or "allocate memory" in str(fault)  # as PyTorch says it


class _OutOfTimeError(BaseException):
    """No handler of errors may take it for one of its own."""


@contextlib.contextmanager
def _time_limit(args: argparse.Namespace) -> Iterator[None]:
    """Ends the reading of a file that takes too long; with an owner's code, the process has a limit.

    It is processor time, of which a busy machine takes no more. Raises TuiGenError that says what was being done.
    """
    if args.factory or not hasattr(signal, "setitimer") or threading.current_thread() is not threading.main_thread():
        yield
        return
    seconds, place = args.time_limit or READING_LIMIT, ""

    def end(_: int, frame: FrameType | None) -> None:
        nonlocal place
        place = place or _place(frame)
        raise _OutOfTimeError

    before = signal.signal(signal.SIGPROF, end)
    signal.setitimer(signal.ITIMER_PROF, seconds, 1)  # again and again, for Python drops what a destructor raises
    try:
        try:
            if not args.time_limit:
                seconds += _bytes(args.checkpoint) // BYTES_A_SECOND
                signal.setitimer(signal.ITIMER_PROF, seconds, 1)
            yield
        finally:
            signal.setitimer(signal.ITIMER_PROF, 0)
    except _OutOfTimeError:  # perhaps a second one, while what was read is given back
        signal.setitimer(signal.ITIMER_PROF, 0)
        raise TuiGenError(
            f"{args.checkpoint} is not read after {seconds:,} s, so it was given up{place}; --time-limit SECONDS gives "
            "it more"
        ) from None
    finally:
        signal.signal(signal.SIGPROF, before)


def _bytes(checkpoint: Path) -> int:
    """Of all its files. Raises TuiGenError where there are none."""
    from .checkpoints.load import checkpoint_files

    return sum(os.path.getsize(file) for file in checkpoint_files(checkpoint) if os.path.isfile(file))


def _place(frame: FrameType | None) -> str:
    """What is done in a frame, by the package of ours that it is in."""
    while frame is not None:
        package = str(frame.f_globals.get("__name__", "")).removeprefix(f"{__package__}.").partition(".")[0]
        if package in _WORK:
            return f" while {_WORK[package]}"
        frame = frame.f_back
    return ""


def _weights_to_keep(checkpoint: Checkpoint | None, args: argparse.Namespace) -> bytes:
    """What weights.safetensors is to hold: those asked for, or the same again of a model that is made anew."""
    from .training.native import kept_weights

    path: Path | None = args.checkpoint
    if args.keep_weights:
        if checkpoint is None or path is None:
            raise TuiGenError("--keep-weights is for checkpoints of the trainer; name one")
        return kept_weights(checkpoint, path, args.guidance)
    return read_bytes(path) if path and _is_made_anew(args) else b""


def _is_made_anew(args: argparse.Namespace) -> bool:
    """Whether it is the model of the weights that lie in its folder."""
    from .training.checkpoint import WEIGHTS

    path: Path | None = args.checkpoint
    return path is not None and path.name == WEIGHTS and path.resolve().parent == args.output.resolve()


def convert_in_child(words: Sequence[str], args: argparse.Namespace, *, prog: str) -> int:
    """The same in a process of its own, from the words of the command line; returns its exit status.

    Raises TuiGenError if the owner's code ends the process, or takes longer than it may.
    """
    seconds = args.time_limit or TIME_LIMIT
    say(f"{args.factory} is your own code: all is done in a child process that runs it, {seconds:,} s at most")
    with temporary_folder() as folder:
        end = folder / "status"
        facts = json.dumps({"path": sys.path, "words": list(words), "prog": prog, "end": str(end)})
        command = [sys.executable, "-c", _BEGIN, facts, __name__]
        try:
            # without a GPU, for all is proved on the CPU, and much code takes the GPU where there is one
            environment = {**os.environ, "CUDA_VISIBLE_DEVICES": ""}
            code = subprocess.run(
                command, stdin=subprocess.DEVNULL, env=environment, timeout=seconds, check=False
            ).returncode
        except subprocess.TimeoutExpired:
            raise TuiGenError(
                f"{args.factory} is not done after {seconds:,} s, so it was ended and nothing was written; "
                "--time-limit SECONDS gives it more"
            ) from None
        if end.exists():
            return int(end.read_text(encoding="ascii"))
    by = f"with status {code}" if code >= 0 else f"by {_signal_name(-code)}"
    raise TuiGenError(
        f"the process that ran {args.factory} ended {by} before it was done, so nothing was written: that code crashed "
        "or left; run the function by itself to see where"
    )


def serve(words: Sequence[str], *, prog: str, end: Path) -> None:
    """In the child: converts, and writes down the exit status, for the owner's code may end the process with any."""
    from .factory.owner import fault_line, fault_place

    args = parse(list(words), prog=prog)

    def run() -> int:
        try:
            return convert_checkpoint(args)
        except SystemExit as end_of_program:
            raise TuiGenError(f"the code of {args.factory} ends the program: {end_of_program}") from end_of_program
        except TuiGenError:
            raise
        except Exception as error:
            if not fault_place(error):
                raise
            raise TuiGenError(f"the code of {args.factory} failed: {fault_line(error)}") from error

    end.write_text(str(exit_status(run, args, prog=prog)), encoding="ascii")


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name + (" (perhaps for want of memory)" if number == signal.SIGKILL else "")
    except ValueError:
        return f"signal {number}"
