"""`tui-gen replay`: a session made again without a screen, and what the screen needs to open one."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

from tui_gen.cli import options
from tui_gen.errors import UsageError
from tui_gen.generation.pacing import frames
from tui_gen.images.codec import ImageCodec
from tui_gen.images.picture import given_levels
from tui_gen.library import LoadedModel, open_model
from tui_gen.output.writers import checked_format, closing, destination, say, writer_for
from tui_gen.sampling.params import FREE, Tokens
from tui_gen.sampling.step import Step
from tui_gen.sessions.file import model_folder, read_session
from tui_gen.sessions.replay import LoadedSession, Replay, retold
from tui_gen.sessions.session import Record, Session


def load(path: Path, *, branch: str | None = None, model: str | None = None, anyway: bool = False) -> LoadedSession:
    """Reads a session file and finds its model. Raises TuiGenError for what is damaged, missing or another one.

    branch: which one to show; by default the one that was on the screen last. model: in place of the one that the
    session names. anyway: also one that is not the same.
    """
    session = read_session(path)
    chosen = session.chosen(branch)
    folder, same = model_folder(session, model, anyway=anyway)
    return LoadedSession(session, folder, same, chosen)


def run(args: argparse.Namespace) -> int:
    """Replays as the command line asks; returns the exit status: 1 if what came out is not what it was."""
    loaded = load(Path(args.file), branch=args.branch, model=args.model, anyway=args.anyway)
    loaded_model = open_model(loaded.folder, **options.engine(args))
    form = checked_format(loaded_model, args.format, args.output)
    replay = Replay(loaded.session, loaded_model)
    with destination(args.output) as file:
        samples, sweep = loaded.chosen.samples, loaded.chosen.sweep
        given = _given(loaded_model, loaded.session, loaded.chosen)
        with closing(writer_for(loaded_model, form, samples, file, given=given, sweep=sweep)) as writer:
            for bundle in frames(_steps(replay, loaded.chosen), writer.bundle):
                writer.write(bundle)
                say(*loaded_model.model.take_warnings())
    say(_report(loaded, replay, loaded_model))
    return 0 if args.anyway or (replay.exact and loaded.same_model) else 1


def screen_arguments(args: argparse.Namespace) -> argparse.Namespace:
    """What the screen is started with: as if asked for the chosen branch, and `session`, which holds the rest.

    Raises UsageError for options that a screen has no use for.
    """
    if args.format or args.output:
        raise UsageError("--screen shows the session; leave out --format and -o, which are for writing it")
    loaded = load(Path(args.file), branch=args.branch, model=args.model, anyway=args.anyway)
    chosen, knobs = loaded.chosen, asdict(loaded.chosen.params)
    shown = {"model": str(loaded.folder), "prompt": chosen.text, "samples": chosen.samples, "seed": chosen.seed}
    shown |= {name: knobs[name] for name in ("temperature", "top_k", "top_p", "min_p")}
    return argparse.Namespace(**{**vars(args), **shown, "length": None, "session": loaded})


def _steps(replay: Replay, chosen: Record) -> Iterator[Step | None]:
    """The steps of one branch, while all are made. What it shares with its parent is told afterwards."""
    for record, step in replay.run():
        yield step if record is chosen and chosen.parent is None else None
    if chosen.parent is not None and chosen.number in replay.branches:
        yield from retold(replay.branches[chosen.number])


def _given(loaded_model: LoadedModel, session: Session, record: Record) -> Tokens | None:
    """The levels, [height, width] or [height, width, 3], of the picture that a branch completes, if it does."""
    if not isinstance(loaded_model.codec, ImageCodec):
        return None
    while record.parent is not None:
        record = session.records[record.parent]
    levels = given_levels(record.prompt, loaded_model.codec.image)
    return levels if (levels != FREE).any() else None


def _report(loaded: LoadedSession, replay: Replay, loaded_model: LoadedModel) -> str:
    count = len(replay.tree)
    facts = [f"{loaded_model.card.name} · {loaded_model.model.runs_on} · {count} branch{'es' if count != 1 else ''}"]
    facts += ["the last line of the file is cut off and was left out"] if loaded.session.cut else []
    return " · ".join([_verdict(loaded, replay), *facts])


def _verdict(loaded: LoadedSession, replay: Replay) -> str:
    reasons = [] if loaded.same_model else [f"another model than {loaded.session.model}"]
    reasons += [str(difference) for difference in replay.differences[:1]]
    more = len(replay.differences) - 1
    if more > 0:
        reasons.append("and so does 1 other branch" if more == 1 else f"and so do {more} other branches")
    return f"not exact: {', '.join(reasons)}" if reasons else "exact"
