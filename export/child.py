"""A conversion as the command line asks for it; in a child process, where it runs the owner's own code.

The child is the only place where such code runs: what it prints, breaks or leaves behind goes with it.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from tui_gen.cli.main import exit_status
from tui_gen.errors import TuiGenError
from tui_gen.files import read_bytes
from tui_gen.terminal_text import say, show

from .arguments import parse, read_options

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


def convert_checkpoint(args: argparse.Namespace) -> int:
    """Says what a checkpoint is and converts it; returns the exit status."""
    from .convert import convert, diagnosis_lines
    from .folder import check_target
    from .original import read_reference
    from .read import read

    if args.output is not None:
        check_target(args.output, weights=args.keep_weights or _is_made_anew(args))
    reference = read_reference(args.reference) if args.reference else None
    checkpoint, reading = read(args.checkpoint, read_options(args), factory=args.factory)
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
    )
    return 0


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
    say(f"{args.factory} is your own code: all is done in a child process that runs it, {args.time_limit:,} s at most")
    with tempfile.TemporaryDirectory() as folder:
        end = Path(folder) / "status"
        facts = json.dumps({"path": sys.path, "words": list(words), "prog": prog, "end": str(end)})
        command = [sys.executable, "-c", _BEGIN, facts, __name__]
        try:
            # without a GPU, for all is proved on the CPU, and much code takes the GPU where there is one
            environment = {**os.environ, "CUDA_VISIBLE_DEVICES": ""}
            code = subprocess.run(
                command, stdin=subprocess.DEVNULL, env=environment, timeout=args.time_limit, check=False
            ).returncode
        except subprocess.TimeoutExpired:
            raise TuiGenError(
                f"{args.factory} is not done after {args.time_limit:,} s, so it was ended and nothing was written; "
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
