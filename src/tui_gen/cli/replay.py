"""`tui-gen replay`: a session made again, without a screen or on it."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from tui_gen.cli import options
from tui_gen.errors import UsageError
from tui_gen.terminal_text import say

if TYPE_CHECKING:  # the help loads nothing that a replay needs
    from tui_gen.generation.branch import Branch
    from tui_gen.library import LoadedModel
    from tui_gen.sampling.params import Tokens
    from tui_gen.sampling.step import Step
    from tui_gen.sessions.replay import LoadedSession, Replay
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
    if args.screen and (args.format or args.output or args.null):
        raise UsageError("--screen shows the session; leave out --format, -0 and -o, which are for writing it")
    if args.screen:
        from tui_gen.cli.play import on_terminal

        return on_terminal(lambda: _show(_load(args), args), args)
    return _write(_load(args), args)


def _load(args: argparse.Namespace) -> LoadedSession:
    """Reads the file and finds the model. Raises TuiGenError for what is damaged, missing or another one."""
    from tui_gen.sessions.file import model_folders, read_session
    from tui_gen.sessions.replay import LoadedSession

    session = read_session(Path(args.file))
    record = session.chosen(args.branch)
    folders, earlier, replaced = model_folders(session, args.model, anyway=args.anyway)
    return LoadedSession(session, folders, replaced, record, earlier)


def _show(source: LoadedSession, args: argparse.Namespace) -> int:
    """The screen, as if started for the branch, with the rest of the session in it."""
    from tui_gen.cli import play

    play.load_screen()
    from tui_gen.config import read_config
    from tui_gen.library import find_models
    from tui_gen.sampling.params import SamplingParams
    from tui_gen.tui.knob_state import Settings

    config = read_config()
    record, knobs = source.chosen, source.chosen.params
    settings = Settings(
        source.folder,
        prompt=record.text,
        samples=1 if record.sweep else record.samples,
        seed=record.seed,
        temperature=knobs.temperature,
        params=SamplingParams(knobs.temperature, knobs.top_k, knobs.top_p, knobs.min_p),
        session=source,
        **play.look(config),
        **options.engine(args, config),
    )
    return play.show(settings, find_models())


def _write(source: LoadedSession, args: argparse.Namespace) -> int:
    from tui_gen.library import open_model
    from tui_gen.output.writers import checked_format, destination
    from tui_gen.sessions.replay import Replay

    loaded_models = {index: open_model(folder, **options.engine(args)) for index, folder in source.folders.items()}
    loaded_model = loaded_models[source.chosen.model]
    form = checked_format(loaded_model, args.format, args.output, null=args.null)
    replay = Replay(source.session, loaded_models[0], loaded_models)
    with destination(args.output) as file:
        records = source.session.compared(source.chosen)
        if len(records) > 1:
            from tui_gen.cli.comparison import write_replay

            levels = [given_picture(replay.models[each.model], source.session, each) for each in records]
            write_replay(replay, records, levels, form=form, null=args.null, file=file)
        else:
            _write_branch(source, replay, loaded_model, form, file, null=args.null)
    say(*_surgery(replay.branches.get(source.chosen.number), loaded_model), _report(source, replay, loaded_models[0]))
    return 0 if args.anyway or (replay.exact and not source.replaced) else 1


def _write_branch(
    source: LoadedSession, replay: Replay, loaded_model: LoadedModel, form: str | None, file: BinaryIO, *, null: bool
) -> None:
    """The branch as it is made again."""
    from tui_gen.generation.pacing import frames
    from tui_gen.output.writers import closing, writer_for

    chosen, levels = source.chosen, given_picture(loaded_model, source.session, source.chosen)
    writer = writer_for(
        loaded_model,
        form,
        chosen.samples,
        file,
        prompt=chosen.text,
        given=levels,
        sweep=chosen.sweep,
        null=null,
    )
    with closing(writer):
        for bundle in frames(_steps(replay, source.chosen), writer.bundle):
            writer.write(bundle)
            say(*loaded_model.model.take_warnings())


def _steps(replay: Replay, branch: Record) -> Iterator[Step | None]:
    """The steps of one branch, while all are made. What it shares with its parent is told afterwards."""
    from tui_gen.sessions.replay import retold

    for record, step in replay.run():
        yield step if record is branch and branch.parent is None else None
    if branch.parent is not None and branch.number in replay.branches:
        yield from retold(replay.branches[branch.number])


def given_picture(loaded_model: LoadedModel, session: Session, record: Record) -> Tokens | None:
    """The levels, [height, width] or [height, width, 3], of the picture that a branch completes, if it does."""
    from tui_gen.images.codec import ImageCodec
    from tui_gen.images.picture import given_levels
    from tui_gen.sampling.params import FREE

    if not isinstance(loaded_model.codec, ImageCodec):
        return None
    while record.parent is not None:
        record = session.records[record.parent]
    levels = given_levels(record.prompt, loaded_model.codec.image)
    return levels if (levels != FREE).any() else None


def _surgery(branch: Branch | None, loaded_model: LoadedModel) -> list[str]:
    """What is done to the state of a branch, a line each."""
    from tui_gen.generation.describe import operations_text

    return [f"branch {branch.name}: {text}" for text in operations_text(branch, loaded_model.codec)] if branch else []


def _report(source: LoadedSession, replay: Replay, loaded_model: LoadedModel) -> str:
    count = len(replay.tree)
    names = ", ".join(model.card.name for model in replay.models.values())
    facts = [f"{names} · {loaded_model.model.runs_on} · {count} branch{'es' if count != 1 else ''}"]
    facts += ["the last line of the file is cut off and was left out"] if source.session.cut else []
    return " · ".join(filter(None, [_verdict(source, replay), source.origin, *facts]))


def _verdict(source: LoadedSession, replay: Replay) -> str:
    reasons = [f"another model than {model.name}" for model in source.replaced]
    reasons += [str(difference) for difference in replay.differences[:1]]
    more = len(replay.differences) - 1
    if more > 0:
        reasons.append("and so does 1 other branch" if more == 1 else f"and so do {more} other branches")
    return f"not exact: {', '.join(reasons)}" if reasons else "exact"
