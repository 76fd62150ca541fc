"""`tui-gen bulk`: any number of samples or scores, to a folder."""

from __future__ import annotations

import argparse
import math
import os
import random
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import closing, redirect_stdout
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tui_gen.cli import options
from tui_gen.errors import TuiGenError, UsageError
from tui_gen.terminal_text import counted, say, shows_colours

if TYPE_CHECKING:  # the help loads nothing that a run needs
    from tui_gen.bulk.compute import Setup
    from tui_gen.bulk.engines import Computed
    from tui_gen.bulk.folder import Results
    from tui_gen.bulk.job import Job, Part
    from tui_gen.library import LoadedModel

_TEXTS, _PICTURES = 256, 64
"""Rows in a batch; more are hardly faster."""
_BATCHES, _FILES, _SHARES, _MOST_PARTS = 16, 8, 32, 10_000
"""Batches of a part at most; files that are scored, which may be large, in place of a batch; parts of a job that is not
small, so that all processes have some and it is seen to go on; and parts of a folder, which is listed at once."""
_OTHER_BATCH = 7
"""Rows, where they are computed again."""
_UNSAID = (1, None, None, 0, 1.0, 0.0, None)
"""What a command line without them has of the options of a draw."""
_TOLD = 30.0
"""Seconds between two lines about how it goes, where no terminal shows it all the time."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Describes the command's options."""
    parser.description = """Draws any number of samples, or scores any number of texts, into a folder of parts.

The same command again goes on where it was. A sample is known by the seed and
its number: it is the same however many processes or machines draw."""
    parser.add_argument("model", metavar="MODEL", help=options.MODEL)
    parser.add_argument("prompt", nargs="?", default="", metavar="PROMPT", help="of all samples")
    options.add_run_options(parser, samples="rows")
    parser.add_argument("-o", "--output", metavar="FOLDER", required=True, help="where the parts and the manifest go")
    parser.add_argument(
        "--prompts",
        metavar="FILE",
        help="a prompt a line, or a JSON object with prompt, n, length, temperature, top_k, top_p, min_p",
    )
    parser.add_argument(
        "--score",
        nargs="+",
        default=[],
        metavar="FILE",
        help="score files, of a folder all in it; PROMPT comes before each",
    )
    parser.add_argument("--lines", action="store_true", help="score each line of the files as a text of its own")
    parser.add_argument("--format", choices=("parquet", "jsonl"), default="parquet", help="of the parts")
    count = options.count
    parser.add_argument("--batch", type=count("batch"), metavar="N", help="samples that a process computes at once")
    parser.add_argument("--part", type=count("part"), metavar="N", help="samples in a file of the folder")
    parser.add_argument(
        "--check",
        type=count("part"),
        metavar="N",
        help="compute parts with N of the rows that are there again, in other batches; count what differs",
    )
    parser.add_argument("--engine", choices=("local", "ray"), default="local", help="this machine, or Ray Data")
    parser.add_argument(
        "--workers", type=count("workers"), metavar="N", help="processes; default: one for each processor or GPU"
    )
    parser.add_argument("--address", metavar="ADDRESS", help="of a Ray cluster; default: one on this machine")
    options.add_checkpoint_options(parser)


def run(args: argparse.Namespace) -> int:
    """Computes as the command line asks; returns the exit status."""
    from tui_gen.bulk import compute, engines, folder

    _check(args)
    output = Path(args.output)
    before = folder.read_manifest(output)
    if args.check and before is None:
        raise UsageError(f"{output} has no rows to check")
    engine = options.engine(args)
    loaded_model = compute.open_numbered(args.model, **engine)
    job, is_picture = _job(args, loaded_model), loaded_model.card.image is not None
    setup = compute.Setup(
        loaded_model.folder,
        compute.digests(loaded_model.folder),
        seed=_seed(args, before),
        batch=args.batch or (_PICTURES if is_picture else _TEXTS),
        form=args.format,
        key=("text" if args.lines else "file") if args.score else "pixels" if is_picture else "text",
        provider="cuda" if loaded_model.model.provider == "CUDA" else "cpu",
        device=engine["device"],
        trust=args.trust,
    )
    source = {**({} if args.score else {"seed": setup.seed}), **job.facts()}
    rows = _count(args, job, loaded_model, is_read=before is not None and before["job"] == source)
    size = args.part or (before["part_rows"] if before else _part_rows(setup, rows))
    with folder.lock(output), redirect_stdout(engines.RayMessages()):
        facts = folder.manifest(loaded_model, setup, source, rows=rows, size=size)
        results = folder.Results(output, facts, before)
        del loaded_model  # each worker has its own
        return _check_rows(args, setup, job, results) if args.check else _compute(args, setup, job, results)


def _count(args: argparse.Namespace, job: Job, loaded_model: LoadedModel, *, is_read: bool) -> int:
    """How many rows there are to be. is_read: whether the model is known to read each. Raises TuiGenError for none."""
    from tui_gen.cli import runs
    from tui_gen.sampling.params import SamplingParams
    from tui_gen.scoring.given import GivenReader

    reader = GivenReader(loaded_model)
    rows = sum(each.rows for each in job.content(None if is_read else reader))
    if not rows:
        raise TuiGenError("there is nothing to do: the file has no line")
    if reader.words and (args.prompts or args.score):
        runs.tell_unknown(loaded_model, reader.words, "reads")
    runs.warn(loaded_model, "" if args.score else args.prompt, SamplingParams(top_k=args.top_k), args.length)
    return rows


def _part_rows(setup: Setup, rows: int) -> int:
    """How many a part has, where nobody says: the same on any machine."""
    unit, most = (_FILES, _FILES) if setup.key == "file" else (setup.batch, _BATCHES)
    return max(unit * min(most, max(1, rows // (unit * _SHARES))), -(-rows // _MOST_PARTS))


def _check(args: argparse.Namespace) -> None:
    """Raises UsageError for options that do not go together, TuiGenError for what is not installed."""
    from tui_gen.bulk.compute import import_pyarrow

    if args.address is not None and args.engine != "ray":
        raise UsageError("--address is of a Ray cluster; add --engine ray")
    if args.prompts is not None and (args.prompt or args.score):
        raise UsageError("--prompts has the prompts; leave out PROMPT and --score")
    if args.lines and not args.score:
        raise UsageError("--lines is of --score")
    drawn = (args.samples, args.seed, args.temperature, args.top_k, args.top_p, args.min_p, args.length)
    if args.score and drawn != _UNSAID:
        raise UsageError("--score draws nothing; leave out -n, --seed, -l and the knobs")
    if args.format == "parquet":
        import_pyarrow()


def _job(args: argparse.Namespace, loaded_model: LoadedModel) -> Job:
    from tui_gen.bulk.job import Drawing, Request, Scoring

    card = loaded_model.card
    if args.lines and card.image:
        raise UsageError(f"{card.name} draws pictures; --lines is for texts")
    if args.score:
        return Scoring(tuple(_files(args.score)), args.lines, args.prompt, card.image)
    knobs = options.knobs(args, temperature=card.temperature)
    return Drawing(Request(args.prompt, knobs, args.length, args.samples), Path(args.prompts) if args.prompts else None)


def _files(names: Iterable[str]) -> Iterator[str]:
    """Of a folder those in it, by name, without hidden ones."""
    for name in names:
        if os.path.isdir(name):
            with os.scandir(name) as entries:
                yield from sorted(entry.path for entry in entries if entry.is_file() and entry.name[0] != ".")
        else:
            yield name


def _seed(args: argparse.Namespace, before: dict[str, Any] | None) -> int:
    """As asked for; else that of the folder, or one that nobody chose."""
    from tui_gen.sampling.params import new_seed

    seed: int | None = before["job"].get("seed") if before and args.seed is None else args.seed
    return new_seed() if seed is None else seed


def _compute(args: argparse.Namespace, setup: Setup, job: Job, results: Results) -> int:
    """Computes what is not there yet, and tells how it goes."""
    from tui_gen.bulk.job import cut

    there = results.there()
    if len(there) == len(results.parts):
        say(f"{results.folder} has all of {counted(results.rows, 'row')}")
        return 0
    before = set(there)
    missing = (part for part in cut(job.content(), results.part_rows) if part.number not in before)
    with closing(_engine(args, setup, missing)) as computed, _Progress(results, there) as progress:
        for number, content in computed:
            results.put(number, content)
            progress.add(number)
    return 0


def _engine(args: argparse.Namespace, setup: Setup, parts: Iterable[Part]) -> Computed:
    from tui_gen.bulk import engines
    from tui_gen.runtime.placement import cores

    if args.engine == "ray":
        return engines.on_ray(setup, parts, args.workers, args.address)
    processes = 1 if setup.provider == "cuda" else args.threads or cores()
    return engines.on_this_machine(setup, parts, args.workers or processes)


def _check_rows(args: argparse.Namespace, setup: Setup, job: Job, results: Results) -> int:
    """Computes rows of some parts again in other batches; 1 where any differs."""
    from tui_gen.bulk.compute import decode
    from tui_gen.bulk.job import cut

    there = results.there()
    chosen = set(random.sample(there, min(len(there), -(-args.check // results.part_rows))))
    if not chosen:
        raise TuiGenError(f"{results.folder} has no rows to check yet")
    parts = (part for part in cut(job.content(), results.part_rows) if part.number in chosen)
    count = differ = tokens = 0
    other = replace(setup, batch=_OTHER_BATCH)
    with closing(_engine(args, other, parts)) as computed:
        for number, content in computed:
            for before, row in zip(results.read(number), decode(content, setup.form), strict=True):
                count += 1
                differ += row != before
                tokens += row[setup.key] != before[setup.key]
    again = f"{counted(count, 'row')} computed again in batches of {_OTHER_BATCH}"
    say(f"{again}: {differ:,} differ, {tokens:,} in their tokens")
    return int(differ > 0)


class _Progress:
    """A bar on a terminal, elsewhere a line now and then; in the end how far it came, also where it is cut short."""

    def __init__(self, results: Results, there: Iterable[int]) -> None:
        """there: parts."""
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        self._results, self._there, self._new = results, sum(len(results.rows_of(number)) for number in there), 0
        self._began = self._told = time.monotonic()
        self._bar = Progress(
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]:,.0f} rows/s"),
            TimeRemainingColumn(),
            console=Console(stderr=True),
            transient=True,
            redirect_stdout=False,
            disable=not shows_colours(sys.stderr),  # it moves the cursor
        )
        self._task = self._bar.add_task("", total=results.rows, completed=self._there, rate=0.0)

    def __enter__(self) -> _Progress:
        if self._there:
            say(f"{self._folder} has {self._there:,} of {counted(self._results.rows, 'row')}; it goes on from there")
        self._bar.start()
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        self._bar.stop()
        if kind and not self._new:
            return  # it failed before it began, and says why
        say(f"{self._folder}: {self._state()}")
        if self._there < self._results.rows:
            say("the same command again goes on from there")

    def add(self, number: int) -> None:
        """A part is there."""
        count = len(self._results.rows_of(number))
        self._there, self._new, now = self._there + count, self._new + count, time.monotonic()
        self._bar.update(self._task, completed=self._there, rate=self._rate)
        if self._bar.disable and now > self._told + _TOLD:
            self._told, left = now, (self._results.rows - self._there) / self._rate
            say(f"{self._state()}, {math.ceil(left / 60):,} min left")

    @property
    def _folder(self) -> str:
        return f"{self._results.folder}"

    @property
    def _rate(self) -> float:
        return self._new / max(1e-6, time.monotonic() - self._began)

    def _state(self) -> str:
        return f"{self._there:,} of {counted(self._results.rows, 'row')}, {self._rate:,.0f} rows/s"
