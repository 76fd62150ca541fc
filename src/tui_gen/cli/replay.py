"""`tui-gen replay`: a session made again, without a screen or on it."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

from tui_gen.cli import options, play
from tui_gen.errors import UsageError
from tui_gen.generation.pacing import frames
from tui_gen.images.codec import ImageCodec
from tui_gen.images.picture import given_levels
from tui_gen.library import LoadedModel, distinct_names, find_models, open_model
from tui_gen.output.comparison import ComparisonWriter, comparison_lines
from tui_gen.output.writers import StepWriter, checked_format, closing, destination, say, writer_for
from tui_gen.sampling.params import FREE, SamplingParams, Tokens
from tui_gen.sampling.step import Step
from tui_gen.scoring.comparison import ModelBranch, ModelComparison
from tui_gen.sessions.file import model_folders, read_session
from tui_gen.sessions.replay import LoadedSession, Replay, retold
from tui_gen.sessions.session import Record, Session


def configure(parser: argparse.ArgumentParser) -> None:
    """Describes the command's options."""
    parser.description = "Makes a saved session again, token for token, and writes the branch that was shown last."
    parser.add_argument("file", metavar="FILE", help="a session that was saved, or one that a crash left behind")
    parser.add_argument("--branch", metavar="NAME", help="write this branch")
    parser.add_argument("--screen", action="store_true", help="open the screen on the session")
    parser.add_argument(
        "--model",
        action="append",
        default=[],
        metavar="MODEL",
        help="the name or folder of the model that it was made with; repeatable, where it was made with several",
    )
    parser.add_argument("--anyway", action="store_true", help="also with a model that is not the same")
    options.add_output_options(parser)
    options.add_engine_options(parser)


def run(args: argparse.Namespace) -> int:
    """Replays as the command line asks; returns the exit status: 1 if what came out is not what it was."""
    if args.screen and (args.format or args.output):
        raise UsageError("--screen shows the session; leave out --format and -o, which are for writing it")
    source = _load(args)
    return _show(source, args) if args.screen else _write(source, args)


def _load(args: argparse.Namespace) -> LoadedSession:
    """Reads the file and finds the model. Raises TuiGenError for what is damaged, missing or another one."""
    session = read_session(Path(args.file))
    record = session.chosen(args.branch)
    folders, replaced = model_folders(session, args.model, anyway=args.anyway)
    return LoadedSession(session, folders, replaced, record)


def _show(source: LoadedSession, args: argparse.Namespace) -> int:
    """The screen, as if started for the branch, with the rest of the session in it."""
    play.load_screen()
    from tui_gen.tui.knob_state import Settings

    record, knobs = source.chosen, source.chosen.params
    settings = Settings(
        source.folder,
        prompt=record.text,
        samples=1 if record.sweep else record.samples,
        seed=record.seed,
        temperature=knobs.temperature,
        params=SamplingParams(knobs.temperature, knobs.top_k, knobs.top_p, knobs.min_p),
        session=source,
        **options.engine(args),
    )
    return play.show(settings, find_models())


def _write(source: LoadedSession, args: argparse.Namespace) -> int:
    loaded_models = {index: open_model(folder, **options.engine(args)) for index, folder in source.folders.items()}
    loaded_model = loaded_models[source.chosen.model]
    form = checked_format(loaded_model, args.format, args.output)
    replay = Replay(source.session, loaded_models[0], loaded_models)
    with destination(args.output) as file:
        records = source.session.compared(source.chosen)
        if len(records) > 1:
            _write_comparison(replay, records, form, file)
        else:
            _write_branch(source, replay, loaded_model, form, file)
    say(_report(source, replay, loaded_models[0]))
    return 0 if args.anyway or (replay.exact and not source.replaced) else 1


def _write_branch(
    source: LoadedSession, replay: Replay, loaded_model: LoadedModel, form: str | None, file: BinaryIO
) -> None:
    """The branch as it is made again."""
    samples, sweep = source.chosen.samples, source.chosen.sweep
    levels = _given_picture(loaded_model, source.session, source.chosen)
    with closing(writer_for(loaded_model, form, samples, file, given=levels, sweep=sweep)) as writer:
        for bundle in frames(_steps(replay, source.chosen), writer.bundle):
            writer.write(bundle)
            say(*loaded_model.model.take_warnings())


def _write_comparison(replay: Replay, records: Sequence[Record], form: str | None, file: BinaryIO) -> None:
    """All branches that stand beside each other, once all are made, and what differs."""
    for _ in replay.run():
        pass
    records = [record for record in records if record.number in replay.branches]
    models, branches = (
        [replay.models[each.model] for each in records],
        [replay.branches[each.number] for each in records],
    )
    comparison, names = ModelComparison(*map(ModelBranch, models, branches)), distinct_names(models)
    levels = [_given_picture(model, replay.session, record) for model, record in zip(models, records, strict=True)]

    def open_writer(number: int, file: BinaryIO) -> StepWriter:
        samples, sweep = records[number].samples, records[number].sweep
        return writer_for(models[number], form, samples, file, given=levels[number], sweep=sweep)

    writer = ComparisonWriter(comparison, names, open_writer, form=form, file=file, given=levels)
    writer.write(map(retold, branches))
    comparison.update(final=True)
    say(*(line for model in models for line in model.model.take_warnings()), *comparison_lines(comparison, names))


def _steps(replay: Replay, branch: Record) -> Iterator[Step | None]:
    """The steps of one branch, while all are made. What it shares with its parent is told afterwards."""
    for record, step in replay.run():
        yield step if record is branch and branch.parent is None else None
    if branch.parent is not None and branch.number in replay.branches:
        yield from retold(replay.branches[branch.number])


def _given_picture(loaded_model: LoadedModel, session: Session, record: Record) -> Tokens | None:
    """The levels, [height, width] or [height, width, 3], of the picture that a branch completes, if it does."""
    if not isinstance(loaded_model.codec, ImageCodec):
        return None
    while record.parent is not None:
        record = session.records[record.parent]
    levels = given_levels(record.prompt, loaded_model.codec.image)
    return levels if (levels != FREE).any() else None


def _report(source: LoadedSession, replay: Replay, loaded_model: LoadedModel) -> str:
    count = sum(map(len, replay.trees.values()))
    names = ", ".join(model.card.name for model in replay.models.values())
    facts = [f"{names} · {loaded_model.model.runs_on} · {count} branch{'es' if count != 1 else ''}"]
    facts += ["the last line of the file is cut off and was left out"] if source.session.cut else []
    return " · ".join([_verdict(source, replay), *facts])


def _verdict(source: LoadedSession, replay: Replay) -> str:
    reasons = [f"another model than {model.name}" for model in source.replaced]
    reasons += [str(difference) for difference in replay.differences[:1]]
    more = len(replay.differences) - 1
    if more > 0:
        reasons.append("and so does 1 other branch" if more == 1 else f"and so do {more} other branches")
    return f"not exact: {', '.join(reasons)}" if reasons else "exact"
