"""`tui-gen watch`: a training while it runs, on the screen or as lines."""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
import time
from collections.abc import Iterator
from itertools import takewhile
from pathlib import Path
from typing import TYPE_CHECKING

from tui_gen.cli import options, play
from tui_gen.errors import TuiGenError, UsageError
from tui_gen.terminal_text import brief, say, show, show_text
from tui_gen.training_run import LOCK

if TYPE_CHECKING:  # the help loads nothing that a watch needs
    from tui_gen.library import LoadedModel
    from tui_gen.run_watch import Network, RunState, Training
    from tui_gen.training_log import Epoch

_SECONDS = 1.0
"""Between two looks at the run."""
_PATIENCE = 5
"""Looks that an epoch waits for its network, which comes after its losses."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Describes the command's options."""
    parser.description = (
        "Follows a training: its losses as they come, and its newest network, played with the same prompt and random "
        "numbers beside the one before. It may begin before the training, and goes on after it."
    )
    parser.add_argument("folder", metavar="RUN", help="the folder of a training, also one that is not there yet")
    parser.add_argument("--prompt", metavar="TEXT", help="what is played; default: what the training itself samples")
    play.add_run_options(parser)
    parser.add_argument("--score", metavar="FILE", help="how likely each network finds this text or picture, too")
    parser.add_argument("--plain", action="store_true", help="print a line and a sample per epoch, and show nothing")
    parser.add_argument(
        "--epochs", type=options.count("epochs"), metavar="N", help="with --plain: end after so many; default: never"
    )


def run(args: argparse.Namespace) -> int:
    """Follows the training as the command line asks; returns the exit status."""
    if args.epochs is not None and not args.plain:
        raise UsageError("--epochs is for --plain; the screen ends when you quit")
    if os.path.isfile(os.path.join(args.folder, "config.json")):
        raise UsageError(f"{args.folder} is a model, not the folder of a training; tui-gen {args.folder} plays it")
    if os.path.exists(args.folder) and not os.path.isdir(args.folder):
        raise UsageError(f"{args.folder} is a file, not the folder of a training")
    if args.score and not os.path.isfile(args.score):
        raise TuiGenError(f"{args.score} cannot be scored: there is no such file")
    return _follow_in_lines(args) if args.plain else play.on_terminal(lambda: _follow_on_screen(args), args)


def _training(args: argparse.Namespace) -> Training:
    from tui_gen.run_watch import RunWatch, Scores, Training

    watch = RunWatch(Path(args.folder), args.answers)
    return Training(watch, Scores(Path(args.score)) if args.score else None)


def _looks(training: Training) -> Iterator[RunState]:
    """The run at every look, for ever; says what is waited for."""
    run, told = training.watch.run, ""
    is_first = True
    while True:
        state = training.watch.look()
        absent = _before_a_network(run) if is_first else f"{run} is gone; waiting for a training"
        note = state.fault if state.is_there else f"{absent}; ctrl+c ends"
        if note != told:
            say(*filter(None, [note]))
        told, is_first = note, is_first and not state.is_there
        yield state
        time.sleep(_SECONDS)


def _before_a_network(run: Path) -> str:
    """What there is of a run that has nothing to show yet."""
    try:
        trainer = brief((run / LOCK).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return f"{run} is {'empty' if run.is_dir() else 'not there'}; waiting for a training"
    return f"{run} has no network yet, and {trainer} has begun there; waiting for it"


def _follow_on_screen(args: argparse.Namespace) -> int:
    play.load_screen()
    from tui_gen.config import read_config
    from tui_gen.library import find_models

    training = _training(args)
    args.model = str(_first_network(training).path)
    args.prompt = training.watch.state.learning.prompt if args.prompt is None else args.prompt
    entries = find_models()
    return play.show(play.settings_of(args, read_config(), entries), entries, training=training)


def _first_network(training: Training) -> Network:
    """Waits for it; says what comes before."""
    from tui_gen.run_watch import epoch_line

    last: Epoch | None = None
    for state in _looks(training):
        if state.newest:
            return state.newest
        if state.last is not last and (last := state.last):
            say(epoch_line(last, state.learning.unit) + ("" if last.trouble else "; no network yet"))
    raise AssertionError("it waits for ever")


# --- as lines ---


def _follow_in_lines(args: argparse.Namespace) -> int:
    training = _training(args)
    count = 0
    for epoch, network, is_newest in _due_epochs(training):
        _print(args, training, epoch, network, draws=is_newest)
        count += not epoch or epoch.part == 1  # one that goes on comes again
        if count == args.epochs:
            break
    return 0


def _due_epochs(training: Training) -> Iterator[tuple[Epoch | None, Network | None, bool]]:
    """Every epoch once, as soon as its network is there, or will not come; with it, and whether it is the newest.

    Of a training that began anew from an earlier epoch, those after that are other ones. A network that came of a
    checkpoint has no epoch.
    """
    shown, looks, converted = list[str](), 0, set[str]()
    for state in _looks(training):
        networks = {(network.epoch, network.card.part): network for network in state.networks}
        epochs = {f"{epoch.title} {epoch.losses}": epoch for epoch in state.learning.epochs}
        shown = [key for key, _ in takewhile(lambda pair: pair[0] == pair[1], zip(shown, epochs, strict=False))]
        for key in list(epochs)[len(shown) :]:
            epoch, network = epochs[key], networks.get((epochs[key].number, epochs[key].part))
            is_newest = epoch is state.last
            if is_newest and not network and not epoch.trouble and looks < _PATIENCE:
                looks += 1
                break
            looks = 0
            shown.append(key)
            yield epoch, network, is_newest
        for network in state.networks:
            if network.epoch is None and network.digest not in converted:
                converted.add(network.digest)
                yield None, network, True


def _print(
    args: argparse.Namespace, training: Training, epoch: Epoch | None, network: Network | None, *, draws: bool
) -> None:
    """The line of an epoch, and a sample: drawn now, or of an earlier epoch as the training drew it."""
    from tui_gen.library import open_model
    from tui_gen.run_watch import epoch_line

    loaded_model = None
    if network and (draws or training.scores):
        with _telling():
            loaded_model = open_model(network.path, **options.engine(args))
            if training.scores:
                training.scores.add(network, loaded_model)
    scores = training.scores
    if epoch:
        show(epoch_line(epoch, training.watch.log.learning.unit, scores))
    elif network:
        show(": ".join(filter(None, (network.name, scores.line(network.key) if scores else ""))))
    with _telling():
        if loaded_model:
            _draw(args, training, loaded_model)
        elif epoch:
            _repeat(training, epoch)
    show("")


@contextlib.contextmanager
def _telling() -> Iterator[None]:
    """What one network cannot do, the next one may."""
    try:
        yield
    except TuiGenError as fault:
        say(str(fault))


def _draw(args: argparse.Namespace, training: Training, loaded_model: LoadedModel) -> None:
    from tui_gen.generation.generate import generate
    from tui_gen.generation.pacing import frames
    from tui_gen.output.writers import closing, writer_for
    from tui_gen.tui.knob_state import Settings

    text = training.watch.log.learning.prompt if args.prompt is None else args.prompt
    args = play.with_defaults(args)
    codec, knobs = loaded_model.codec, options.knobs(args, temperature=loaded_model.card.temperature)
    seed = Settings.seed if args.seed is None else args.seed
    prompt = codec.prompt([text] * args.samples)
    steps = generate(loaded_model.model, prompt, knobs, length=codec.length(args.length), seed=seed)
    with closing(writer_for(loaded_model, None, args.samples, sys.stdout.buffer, prompt=text)) as writer:
        for bundle in frames(steps, writer.bundle):
            writer.write(bundle)
    sys.stdout.flush()


def _repeat(training: Training, epoch: Epoch) -> None:
    """The first of the samples that the training drew."""
    from tui_gen.images.encode import row_writer
    from tui_gen.training_log import picture_of

    newest = training.watch.state.newest
    image = newest.card.image if newest else None
    if epoch.samples and image:
        row_writer(picture_of(epoch.samples[:1], image), sys.stdout.buffer, None, [""]).close()
    elif epoch.samples:
        show_text(str(epoch.samples[0]))
