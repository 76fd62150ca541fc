"""Tries inputs of one kind, one after another, and says of each when it begins and how it ended.

Run by `tests.fuzz`, in a process with limits; what an input prints goes nowhere.
"""

from __future__ import annotations

import json
import os
import random
import resource
import sys
import time
import traceback
import warnings
from itertools import count
from pathlib import Path
from typing import Any, TextIO

from tui_gen import child
from tui_gen.bench import screen
from tui_gen.errors import TuiGenError
from tui_gen.files import temporary_folder
from tui_gen.text import encoder_process

from .kinds import KINDS

ADDRESS_SPACE = 4_000_000_000
"""Bytes; libraries reserve more than they use, which `MEMORY` counts."""
MEMORY = 2_000_000_000
"""Bytes that may be in use."""
READ, REFUSED, TRACEBACK, LARGE, EXECUTED = "read", "refused", "traceback", "large", "executed"
_FORBIDDEN = {"os.system", "os.exec", "os.posix_spawn", "os.fork", "subprocess.Popen", "socket.connect", "pty.spawn"}
"""Audit events that no input may cause."""
_OWN_CHILDREN = [
    *([sys.executable, "-P", "-c", code] for code in (child._CODE, encoder_process._CODE)),
    list(screen._LOGIN),
]
"""How the words of programs begin that may be begun all the same: ours, and the monkey's screen."""


def input_rng(kind: str, seed: int, number: int) -> random.Random:
    """The randomness of one input."""
    return random.Random(f"{kind} {seed} {number}")


def main(kind: str, seed: int, first: int) -> None:
    """Tries inputs from a number on, until somebody ends the process."""
    resource.setrlimit(resource.RLIMIT_AS, (ADDRESS_SPACE, ADDRESS_SPACE))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    report = os.fdopen(os.dup(1), "w", buffering=1, encoding="ascii", errors="backslashreplace")
    os.dup2(2, 1)
    warnings.simplefilter("ignore")
    with temporary_folder() as folder:  # which is left where this process dies of an input
        os.environ.update(dict.fromkeys(("HOME", "XDG_CACHE_HOME", "XDG_STATE_HOME", "XDG_DATA_HOME"), str(folder)))
        _try_all(kind, seed, first, folder, report)


def _try_all(kind: str, seed: int, first: int, folder: Path, report: TextIO) -> None:
    attempt = KINDS[kind](folder)
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 1)
    os.dup2(null, 2)
    forbidden = _watch()
    for number in count(first):
        print(json.dumps({"begin": number}), file=report)
        start, before = time.process_time(), _peak()
        outcome, message = READ, ""
        try:
            attempt(input_rng(kind, seed, number))
        except TuiGenError:
            outcome = REFUSED
        except Exception as fault:
            frame = traceback.extract_tb(fault.__traceback__)[-1]
            words = " ".join(str(fault).split())
            outcome, message = TRACEBACK, f"{type(fault).__name__} {frame.filename}:{frame.lineno} {words:.150}"
        if forbidden:
            outcome, message = EXECUTED, forbidden.pop()
        elif _peak() > MEMORY:  # of the process, which is begun anew after this
            outcome, message = LARGE, f"{_peak() / 1e9:.1f} GB, {before / 1e9:.1f} with those before it"
        end = {"outcome": outcome, "seconds": time.process_time() - start, "message": " ".join(message.split())}
        print(json.dumps(end), file=report)


def _peak() -> int:
    """Bytes that were in use at most."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def _watch() -> list[str]:
    """A list to which is added what no input may do."""
    seen = list[str]()

    def note(event: str, arguments: tuple[Any, ...]) -> None:
        words = list(arguments[1]) if event == "subprocess.Popen" else []
        if event in _FORBIDDEN and not any(words[: len(own)] == own for own in _OWN_CHILDREN):
            seen.append(f"{event} {str(arguments)[:100]}")

    sys.addaudithook(note)
    return seen


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
