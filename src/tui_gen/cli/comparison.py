"""Several models on the command line: the same run on each, or a comparison of a session made again."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from typing import BinaryIO

from tui_gen.cli import options, runs
from tui_gen.generation.branch import Branch, BranchStart
from tui_gen.library import LoadedModel, distinct_names, locate, open_model
from tui_gen.output.comparison import ComparisonWriter, comparison_lines
from tui_gen.output.writers import Annotate, StepWriter, checked_format, destination, writer_for
from tui_gen.sampling.params import Tokens, new_seed
from tui_gen.sampling.step import Step
from tui_gen.scoring.comparison import ModelBranch, ModelComparison, check_comparable
from tui_gen.sessions.replay import Replay, retold
from tui_gen.sessions.session import Record
from tui_gen.terminal_text import say, say_text


def compare(args: argparse.Namespace) -> int:
    """The run of `generate` on several models, with the knobs that the first one has, and how far they lie apart."""
    loaded_models = [open_model(args.model, **options.engine(args))]
    loaded_models += [open_model(model, **options.engine_beside(args, locate(model))) for model in args.beside]
    form = checked_format(loaded_models[0], args.format, args.output, null=args.null)
    levels = [runs.read_levels(args, loaded_model) for loaded_model in loaded_models]
    branches, limits = _branches(args, loaded_models, levels)
    comparison, names = ModelComparison(*map(ModelBranch, loaded_models, branches)), distinct_names(loaded_models)
    seconds = [0.0 for _ in branches]

    def note(number: int, bundle: Sequence[Step]) -> None:
        buffer = branches[number].step_buffer()
        for step in bundle:
            buffer.append(step)
        branches[number].record(buffer)
        seconds[number] += buffer.seconds
        say(*loaded_models[number].model.take_warnings())

    with destination(args.output) as file:
        writer = _writer(comparison, loaded_models, levels, form, file, null=args.null)
        try:
            writer.write(map(_steps, branches, limits), note)
        except KeyboardInterrupt:
            say_text("")
            _report(comparison, names, loaded_models, seconds)
            raise
    _report(comparison, names, loaded_models, seconds)
    return 0


def write_replay(
    replay: Replay,
    records: Sequence[Record],
    levels: Sequence[Tokens | None],
    *,
    form: str | None,
    null: bool,
    file: BinaryIO,
) -> None:
    """All branches that stand beside each other, once all are made, and what differs. levels: as of `writer_for`."""
    for _ in replay.run():
        pass
    pairs = [(each, one) for each, one in zip(records, levels, strict=True) if each.number in replay.branches]
    models = [replay.models[record.model] for record, _ in pairs]
    branches = [replay.branches[record.number] for record, _ in pairs]
    comparison, names = ModelComparison(*map(ModelBranch, models, branches)), distinct_names(models)
    writer = _writer(comparison, models, [one for _, one in pairs], form, file, null=null)
    writer.write(map(retold, branches))
    comparison.update(final=True)
    say(*(line for model in models for line in model.model.take_warnings()), *comparison_lines(comparison, names))


def _writer(
    comparison: ModelComparison,
    models: Sequence[LoadedModel],
    levels: Sequence[Tokens | None],
    form: str | None,
    file: BinaryIO,
    *,
    null: bool,
) -> ComparisonWriter:
    def open_writer(number: int, annotate: Annotate) -> StepWriter:
        model, given, start = models[number], levels[number], comparison.columns[number].branch.start
        return writer_for(
            model,
            form,
            len(start.prompt),
            file,
            prompt=start.text,
            given=given,
            sweep=start.sweep,
            null=null,
            annotate=annotate,
        )

    names = [] if null else distinct_names(models)
    return ComparisonWriter(comparison, names, open_writer, form=form, file=file, given=levels)


def _branches(
    args: argparse.Namespace, loaded_models: Sequence[LoadedModel], levels: Sequence[Tokens | None]
) -> tuple[list[Branch], list[int]]:
    """What each model is to make, and how many positions that may become."""
    text = runs.read_stdin() if args.prompt == "-" else args.prompt
    knobs = options.knobs(args, temperature=loaded_models[0].card.temperature)
    sweep = runs.sweep(args, loaded_models[0], knobs)
    samples = len(sweep) if sweep else args.samples
    seed = new_seed() if args.seed is None else args.seed
    check_comparable(loaded_models)
    branches, limits = [], []
    for loaded_model, own_levels in zip(loaded_models, levels, strict=True):
        prompt, length = runs.encode_prompt(args, loaded_model, text, own_levels, samples)
        runs.warn(loaded_model, text, knobs, args.length)
        if args.temperature is None and loaded_model.card.temperature != knobs.temperature:
            say(f"{loaded_model.card.name} takes temperature {knobs.temperature:g} from {loaded_models[0].card.name}")
        start = BranchStart(prompt, seed, knobs, text=text, sweep=sweep)
        branches.append(Branch("1", start, loaded_model.model))
        limits.append(prompt.shape[1] + length)
    return branches, limits


def _steps(branch: Branch, limit: int) -> Iterator[Step]:
    return branch.steps(branch.start.params, lambda: limit)


def _report(
    comparison: ModelComparison, names: Sequence[str], loaded_models: Sequence[LoadedModel], seconds: Sequence[float]
) -> None:
    """How each run went, and what lies between them."""
    for name, loaded_model, column, duration in zip(names, loaded_models, comparison.columns, seconds, strict=True):
        branch, start = column.branch, column.branch.start
        knobs = start.sweep.describe(start.params) if start.sweep else start.params.describe()
        count = int((branch.live & ~branch.given).sum())
        runs.report(loaded_model, f"{knobs} · seed {start.seed}", count, duration, name=name)
    comparison.update(final=True)
    say(*comparison_lines(comparison, names))
