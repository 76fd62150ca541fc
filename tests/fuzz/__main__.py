"""Tries hostile inputs of every kind for some seconds, prints a table, and fails if any of them does harm."""

from __future__ import annotations

import argparse
import json
import os
import select
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .kinds import KINDS
from .worker import EXECUTED, LARGE, READ, REFUSED, TRACEBACK, input_rng

PATIENCE = 10.0
"""Seconds of processor time that the program may take for an answer, of which a busy machine takes no more."""
_ASLEEP = 60.0
"""Seconds by the clock after which one that takes none is not waited for either."""
_START = 120.0
"""And for a worker to be ready."""
WORKER = ("-m", "tests.fuzz.worker")
"""What Python is to run."""
DEATH, LATE = "death", "late"
HARM = (DEATH, TRACEBACK, LATE, LARGE, EXECUTED)
_SHOWN = 20
"""Harmful inputs of a kind."""


@dataclass
class Campaign:
    """What became of the inputs of a kind."""

    kind: str
    seed: int
    outcomes: Counter[str] = field(default_factory=Counter)
    slowest: tuple[float, int] = (0.0, 0)
    """Its seconds, and its number."""
    harm: list[str] = field(default_factory=list)
    """Each with what makes it again."""

    def note(self, number: int, *, outcome: str, seconds: float, message: str = "") -> None:
        """An input has ended."""
        self.outcomes[outcome] += 1
        self.slowest = max(self.slowest, (seconds, number))
        if outcome in HARM:
            again = f"python -m tests.fuzz {self.kind} --seed {self.seed} --input {number}"
            self.harm.append(f"{outcome}: {message} ({again})")


def run(kind: str, *, seed: int, seconds: float, inputs: float = float("inf")) -> Campaign:
    """Tries inputs of a kind for so long, or so many, in a worker; in another one after each that it dies of."""
    campaign, first, end = Campaign(kind, seed), 0, time.monotonic() + seconds
    while first < inputs and time.monotonic() < end:
        command = [sys.executable, *WORKER, kind, str(seed), str(first)]
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE"}
        with subprocess.Popen(command, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, env=environment) as worker:
            try:
                first = _follow(worker, campaign, first, inputs, end)
            finally:
                worker.kill()
    return campaign


def _follow(worker: subprocess.Popen[bytes], campaign: Campaign, first: int, inputs: float, end: float) -> int:
    """The number of the input that another worker is to go on with. end: by the clock."""
    number, began = first - 1, time.monotonic()
    for report in _reports(worker):
        if report is None and number >= first:
            campaign.note(number, outcome=LATE, seconds=PATIENCE)
            return number + 1
        if report is None:
            break
        if "begin" in report:
            number, began = report["begin"], time.monotonic()
            if began > end or number >= inputs:
                return number
        else:
            campaign.note(number, **report)
            if report["outcome"] == LARGE:
                return number + 1
    if number < first:
        raise SystemExit(f"the worker for {campaign.kind} does not start: python -m tests.fuzz.worker {campaign.kind}")
    campaign.note(number, outcome=DEATH, seconds=time.monotonic() - began, message=f"exit status {worker.wait()}")
    return number + 1


def _reports(worker: subprocess.Popen[bytes]) -> Iterator[dict[str, Any] | None]:
    """What a worker says, until it ends; None when it is silent for too long."""
    assert worker.stdout
    pipe, rest, patience = worker.stdout.fileno(), b"", _START
    while True:
        used, since = _processor_seconds(worker.pid), time.monotonic()
        while not select.select([pipe], [], [], 1)[0]:
            waited = time.monotonic() - since
            if _processor_seconds(worker.pid) - used > patience or waited > max(_ASLEEP, patience):
                yield None
                return
        chunk = os.read(pipe, 2**16)
        if not chunk:
            return
        *lines, rest = (rest + chunk).split(b"\n")
        patience = PATIENCE if lines else patience
        yield from map(json.loads, lines)


def _processor_seconds(pid: int) -> float:
    """That a process has used; where no file says it, seconds by the clock."""
    status = Path(f"/proc/{pid}/stat")
    if not status.exists():
        return time.monotonic()
    fields = status.read_text(encoding="ascii", errors="replace").rpartition(")")[2].split()
    return sum(map(int, fields[11:13])) / os.sysconf("SC_CLK_TCK")


def table(campaigns: Sequence[Campaign]) -> str:
    """A line a kind, and below it what did harm."""
    columns = (READ, REFUSED, *HARM)
    rows = [f"{'':14}{'inputs':>9}" + "".join(f"{name:>11}" for name in columns) + f"{'slowest':>10}  --input"]
    for campaign in campaigns:
        counts = "".join(f"{campaign.outcomes[name]:>11,}" for name in columns)
        total, (seconds, number) = campaign.outcomes.total(), campaign.slowest
        rows.append(f"{campaign.kind:14}{total:>9,}{counts}{seconds:>8.1f} s{number:>9}")
    return "\n".join(rows + [f"  {line}" for campaign in campaigns for line in campaign.harm[:_SHOWN]])


def main() -> int:
    """The command line; 1 if an input did harm."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("kinds", nargs="*", metavar="KIND", help=f"of {', '.join(KINDS)}; default: all")
    parser.add_argument("--seconds", type=float, default=60, help="for all kinds together; default: %(default)s")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="kinds at once; default: %(default)s")
    parser.add_argument("--input", type=int, help="only this one, here, with its traceback")
    args = parser.parse_args()
    if unknown := set(args.kinds) - KINDS.keys():
        parser.error(f"there is no kind {', '.join(unknown)}")
    kinds = args.kinds or list(KINDS)
    if args.input is not None:
        with tempfile.TemporaryDirectory() as folder:
            KINDS[kinds[0]](Path(folder))(input_rng(kinds[0], args.seed, args.input))
        return 0
    jobs = min(args.jobs, len(kinds))
    with ThreadPoolExecutor(jobs) as pool:
        share = args.seconds * jobs / len(kinds)
        campaigns = list(pool.map(lambda kind: run(kind, seed=args.seed, seconds=share), kinds))
    print(table(campaigns))
    return int(any(campaign.harm for campaign in campaigns))


if __name__ == "__main__":
    raise SystemExit(main())
