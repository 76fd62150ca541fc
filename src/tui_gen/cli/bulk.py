"""`tui-gen bulk`: any number of samples or scores, to a folder."""

from __future__ import annotations

import argparse
import random
import sys
import time
from collections.abc import Iterable
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

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
_BATCHES, _FILES, _MOST_PARTS = 16, 64, 10_000
"""Of a part; files that are scored, which may be large; and parts of a folder, which is listed at once."""
_OTHER_BATCH = 7
"""Rows, where they are computed again."""
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
        help="score files; PROMPT comes before each",
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
    from tui_gen.bulk import compute, folder
    from tui_gen.cli import runs
    from tui_gen.sampling.params import SamplingParams

    _check(args)
    engine = options.engine(args)
    loaded_model = compute.open_numbered(args.model, **engine)
    job, model, output = _job(args, loaded_model), loaded_model.folder, Path(args.output)
    rows = sum(each.rows for each in job.content(loaded_model))
    if not rows:
        raise TuiGenError("there is nothing to do: the file has no line")
    runs.warn(loaded_model, args.prompt, SamplingParams(top_k=args.top_k), args.length)
    is_picture = loaded_model.card.image is not None
    setup = compute.Setup(
        model,
        compute.digests(model),
        seed=_seed(args),
        batch=args.batch or (_PICTURES if is_picture else _TEXTS),
        form=args.format,
        key=("text" if args.lines else "file") if args.score else "pixels" if is_picture else "text",
        provider="cuda" if loaded_model.model.provider == "CUDA" else "cpu",
        device=engine["device"],
        trust=args.trust,
    )
    size = _FILES if setup.key == "file" else _BATCHES * setup.batch
    with folder.lock(output):
        size = args.part or folder.part_rows(output) or max(size, -(-rows // _MOST_PARTS))
        results = folder.Results(output, folder.manifest(loaded_model, setup, job.facts(), rows=rows, size=size))
        del loaded_model  # each worker has its own
        return _check_rows(args, setup, job, results) if args.check else _compute(args, setup, job, results)


def _check(args: argparse.Namespace) -> None:
    """Raises UsageError for options that do not go together, TuiGenError for what is not installed."""
    from tui_gen.bulk.compute import import_pyarrow

    if args.address is not None and args.engine != "ray":
        raise UsageError("--address is of a Ray cluster; add --engine ray")
    if args.prompts is not None and (args.prompt or args.score):
        raise UsageError("--prompts has the prompts; leave out PROMPT and --score")
    if args.lines and not args.score:
        raise UsageError("--lines is of --score")
    if args.score and args.samples > 1:
        raise UsageError("--score has a row of each file or line; leave out -n")
    if args.format == "parquet":
        import_pyarrow()


def _job(args: argparse.Namespace, loaded_model: LoadedModel) -> Job:
    from tui_gen.bulk.job import Drawing, Request, Scoring

    card = loaded_model.card
    if args.lines and card.image:
        raise UsageError(f"{card.name} draws pictures; --lines is for texts")
    if args.score:
        return Scoring(tuple(map(Path, args.score)), args.lines, args.prompt, card.image)
    knobs = options.knobs(args, temperature=card.temperature)
    return Drawing(Request(args.prompt, knobs, args.length, args.samples), Path(args.prompts) if args.prompts else None)


def _seed(args: argparse.Namespace) -> int:
    """As asked for; else that of the folder, or one that nobody chose."""
    from tui_gen.bulk.folder import read_manifest
    from tui_gen.sampling.params import new_seed

    if args.seed is not None:
        return int(args.seed)
    before = read_manifest(Path(args.output))
    return int(before["job"]["seed"]) if before else new_seed()


def _compute(args: argparse.Namespace, setup: Setup, job: Job, results: Results) -> int:
    """Computes what is not there yet, and tells how it goes."""
    from tui_gen.bulk.job import cut

    missing = (part for part in cut(job.content(), results.part_rows) if not results.has(part.number))
    with closing(_engine(args, setup, missing)) as computed, _Progress(results) as progress:
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

    there = [number for number in range(-(-results.rows // results.part_rows)) if results.has(number)]
    chosen = set(random.sample(there, min(len(there), -(-args.check // results.part_rows))))
    parts = (part for part in cut(job.content(), results.part_rows) if part.number in chosen)
    count = differ = tokens = 0
    other = replace(setup, batch=_OTHER_BATCH)
    with closing(_engine(args, other, parts)) as computed:
        for number, content in computed:
            before = {row["sample"]: row for row in results.read(number)}
            for row in decode(content, setup.form):
                count += 1
                differ += row != before[row["sample"]]
                tokens += row[setup.key] != before[row["sample"]][setup.key]
    again = f"{counted(count, 'row')} computed again in batches of {_OTHER_BATCH}"
    say(f"{again}: {differ:,} differ, {tokens:,} in their tokens")
    return int(differ > 0)


class _Progress:
    """A bar on a terminal, elsewhere a line now and then; in the end how far it came, also where it is cut short."""

    def __init__(self, results: Results) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        self._results, self._there, self._new = results, results.count(), 0
        self._began = self._told = time.monotonic()
        self._bar = Progress(
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]:,.0f} rows/s"),
            TimeRemainingColumn(),
            console=Console(stderr=True),
            transient=True,
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
        count = self._results.rows_of(number)
        self._there, self._new, now = self._there + count, self._new + count, time.monotonic()
        self._bar.update(self._task, completed=self._there, rate=self._rate)
        if self._bar.disable and now > self._told + _TOLD:
            self._told, left = now, (self._results.rows - self._there) / self._rate
            say(f"{self._state()}, {left / 60:,.0f} min left")

    @property
    def _folder(self) -> str:
        return f"{self._results.folder}"

    @property
    def _rate(self) -> float:
        return self._new / max(1e-6, time.monotonic() - self._began)

    def _state(self) -> str:
        return f"{self._there:,} of {counted(self._results.rows, 'row')}, {self._rate:,.0f} rows/s"
