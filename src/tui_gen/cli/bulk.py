"""`tui-gen bulk`: any number of samples, to a folder."""

from __future__ import annotations

import argparse
import sys
import time
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

from tui_gen.cli import options
from tui_gen.errors import UsageError
from tui_gen.terminal_text import counted, say, shows_colours

if TYPE_CHECKING:  # the help loads nothing that a run needs
    from tui_gen.bulk.draw import Setup
    from tui_gen.bulk.folder import Results
    from tui_gen.bulk.job import Job

_TEXTS, _PICTURES = 256, 64
"""Rows in a batch; more are hardly faster."""
_BATCHES, _MOST_PARTS = 16, 10_000
"""Of a part, and of a folder, which is listed at once."""
_TOLD = 30.0
"""Seconds between two lines about how it goes, where no terminal shows it all the time."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Describes the command's options."""
    parser.description = (
        "Draws any number of samples into a folder of parts. The same command again goes on where it was. A sample is "
        "known by the seed and its number: it is the same however many processes or machines draw."
    )
    parser.add_argument("model", metavar="MODEL", help=options.MODEL)
    parser.add_argument("prompt", nargs="?", default="", metavar="PROMPT", help="of all samples")
    options.add_run_options(parser, samples="rows")
    parser.add_argument("-o", "--output", metavar="FOLDER", required=True, help="where the parts and the manifest go")
    parser.add_argument(
        "--prompts",
        metavar="FILE",
        help="a prompt a line, or a JSON object with prompt, n, length, temperature, top_k, top_p, min_p",
    )
    parser.add_argument("--format", choices=("parquet", "jsonl"), default="parquet", help="of the parts")
    count = options.count
    parser.add_argument("--batch", type=count("batch"), metavar="N", help="samples that a process computes at once")
    parser.add_argument("--part", type=count("part"), metavar="N", help="samples in a file of the folder")
    parser.add_argument("--engine", choices=("local", "ray"), default="local", help="this machine, or Ray Data")
    parser.add_argument(
        "--workers", type=count("workers"), metavar="N", help="processes; default: one for each processor or GPU"
    )
    parser.add_argument("--address", metavar="ADDRESS", help="of a Ray cluster; default: one on this machine")
    options.add_checkpoint_options(parser)


def run(args: argparse.Namespace) -> int:
    """Draws as the command line asks; returns the exit status."""
    from tui_gen.bulk import draw, folder
    from tui_gen.bulk.job import Job, Request

    if args.address is not None and args.engine != "ray":
        raise UsageError("--address is of a Ray cluster; add --engine ray")
    if args.prompts is not None and args.prompt:
        raise UsageError("the prompts stand in the file of --prompts; leave out PROMPT")
    if args.format == "parquet":
        draw.import_pyarrow()
    loaded_model = draw.open_numbered(args.model, **options.engine(args))
    card, model = loaded_model.card, loaded_model.folder
    knobs = options.knobs(args, temperature=card.temperature)
    job = Job(Request(args.prompt, knobs, args.length, args.samples), Path(args.prompts) if args.prompts else None)
    rows, batch = job.count(loaded_model), args.batch or (_PICTURES if card.image else _TEXTS)
    setup = draw.Setup(
        model,
        draw.digests(model),
        seed=_seed(args),
        batch=batch,
        form=args.format,
        provider="cuda" if loaded_model.model.provider == "CUDA" else "cpu",
        trust=args.trust,
    )
    with folder.lock(Path(args.output)):
        size = args.part or folder.part_rows(Path(args.output)) or max(_BATCHES * batch, -(-rows // _MOST_PARTS))
        facts = folder.manifest(loaded_model, setup, job.facts(), rows=rows, size=size)
        results = folder.Results(Path(args.output), facts)
        del loaded_model  # each worker has its own
        _draw(args, setup, job, results)
    return 0


def _seed(args: argparse.Namespace) -> int:
    """As asked for; else that of the folder, or one that nobody chose."""
    from tui_gen.bulk.folder import read_manifest
    from tui_gen.sampling.params import new_seed

    if args.seed is not None:
        return int(args.seed)
    before = read_manifest(Path(args.output))
    return int(before["job"]["seed"]) if before else new_seed()


def _draw(args: argparse.Namespace, setup: Setup, job: Job, results: Results) -> None:
    """Draws what is not there yet, and tells how it goes."""
    from tui_gen.bulk import engines
    from tui_gen.bulk.job import cut
    from tui_gen.runtime.placement import cores

    missing = (part for part in cut(job.requests(), results.part_rows) if not results.has(part.number))
    if args.engine == "ray":
        drawn = engines.on_ray(setup, missing, args.workers, args.address)
    else:
        drawn = engines.on_this_machine(setup, missing, args.workers or args.threads or cores())
    with closing(drawn), _Progress(results) as progress:
        for number, content in drawn:
            results.put(number, content)
            progress.add(number)


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
