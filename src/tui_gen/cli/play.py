"""`tui-gen MODEL`: the screen, on a terminal that native libraries cannot write into."""

from __future__ import annotations

import argparse
import contextlib
import gc
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from importlib import import_module
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, TypedDict

from tui_gen.cli import options
from tui_gen.errors import TuiGenError, UsageError
from tui_gen.files import STATE, open_regular, temporary_folder
from tui_gen.launcher import in_browser
from tui_gen.terminal_text import did_you_mean, say

if TYPE_CHECKING:
    from tui_gen.config import Config
    from tui_gen.library import Entry
    from tui_gen.run_watch import Training
    from tui_gen.tui.knob_state import Settings
    from tui_gen.tui.tour import Tour

FIRST_MODEL = "recipes"
_SWITCH_SECONDS = 1e-3
"""How long the screen may keep Python while the engine wants it: drawing a frame takes as long as many steps."""
_FRAMES_PER_SECOND = "80"
"""How often the screen may be painted at most: what a key changes waits for the next time, but each has its cost."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Describes the screen's options."""
    parser.description = "A terminal playground for autoregressive neural networks."
    parser.add_argument("model", nargs="?", type=_model, metavar="MODEL", help=options.MODEL)
    parser.add_argument("--prompt", default="", metavar="TEXT", help="what stands in the prompt at the start")
    add_run_options(parser)


def add_run_options(parser: argparse.ArgumentParser) -> None:
    """Those of a run, of which one can tell afterwards what nobody asked for."""
    options.add_run_options(parser)
    options.add_checkpoint_options(parser)
    built_in = {name: parser.get_default(name) for name in ("top_k", "top_p", "min_p", "samples")}
    parser.set_defaults(built_in=built_in, **dict.fromkeys(built_in))  # None, for what nobody asked for


def run(args: argparse.Namespace) -> int:
    """Shows the screen as the command line asks, and where it does not, the configuration; returns the exit status."""

    def play() -> int:
        from tui_gen.config import read_config
        from tui_gen.library import find_models, networks_beside

        load_screen()
        entries = find_models()
        settings = settings_of(args, read_config(), entries)
        return show(settings, [*networks_beside(settings.folder), *entries])

    return on_terminal(play, args)


def on_terminal(play: Callable[[], int], args: argparse.Namespace) -> int:
    """Loads and shows a screen, after which the terminal is as before, whatever happens; returns the exit status.

    To be called before anything heavy is imported.
    """
    from tui_gen.cli.main import exit_status
    from tui_gen.launcher import outlive

    return outlive(lambda: exit_status(play, args), partial(_rescue, time.time()))


def _rescue(since: float) -> str:
    """How what was made since then can be brought back, after a sudden end."""
    from tui_gen.sessions.journal_file import left_behind

    journal = left_behind(since)
    return _replay(journal) if journal else ""


def _replay(journal: Path) -> str:
    return f"tui-gen replay {journal} --screen brings back what was made"


def with_defaults(args: argparse.Namespace, values: Mapping[str, object] = MappingProxyType({})) -> argparse.Namespace:
    """What was asked for; what was not, as it is configured, else as it is built in."""
    asked = {name: value for name, value in vars(args).items() if value is not None}
    return argparse.Namespace(**{**vars(args), **args.built_in, **values, **asked})


def settings_of(args: argparse.Namespace, config: Config, entries: list[Entry]) -> Settings:
    """What the command line says, else the configuration, else what is built in; where that is None, the model's card.

    Adds to the faults of the configuration if its model cannot be played.
    """
    from tui_gen.library import locate
    from tui_gen.sampling.params import SamplingParams
    from tui_gen.tui.knob_state import Settings

    folder = locate(args.model) if args.model else first_model(entries, config)
    args = with_defaults(args, config.values)
    return Settings(
        folder,
        prompt=args.prompt,
        samples=args.samples,
        seed=Settings.seed if args.seed is None else args.seed,
        temperature=args.temperature,
        params=options.knobs(args, temperature=SamplingParams.temperature),
        length=args.length,
        **look(config),
        **options.engine(args, config),
    )


class Look(TypedDict):
    """What `Settings` takes of a configuration besides what the command line can ask for too."""

    rate: float | None
    theme: str
    themes: Mapping[str, Mapping[str, object]]
    keys: Mapping[str, str]
    faults: Sequence[str]


def look(config: Config) -> Look:
    """How the screen looks and which keys it has, as a person has configured it."""
    return Look(
        rate=config.values.get("pace"),
        theme=config.values.get("theme", ""),
        themes=config.themes,
        keys=config.keys,
        faults=config.faults,
    )


def _model(word: str) -> str:
    """A word that names a model, or what is there as a path; empty for none.

    Raises UsageError with what may have been meant, before other words are looked at: they may be those of a command.
    """
    from tui_gen.cli.main import COMMANDS, EXPORTER_COMMANDS
    from tui_gen.hub import is_address
    from tui_gen.library import find_models

    commands, models = [*COMMANDS, *EXPORTER_COMMANDS], [entry.name for entry in find_models()]
    if word in commands:
        raise UsageError(f"{word} is a command, and the options of a command stand after it: tui-gen {word} ...")
    if not word or word in models or os.path.exists(word) or is_address(word):
        return word
    meant = did_you_mean(word, [*commands, *models])
    cure = meant or "tui-gen models lists the models, tui-gen --help the commands"
    raise UsageError(f"{word!r} is no command, no model and no path; {cure}")


def load_screen() -> None:
    """Imports the screen, the faster way. Raises UsageError without a terminal to show it on."""
    if not in_browser():
        _check_terminal()
    os.environ.setdefault("TEXTUAL_FPS", _FRAMES_PER_SECOND)  # read when it is imported
    gc.disable()  # so many modules would be searched for garbage several times, and have none
    import_module("tui_gen.tui.app")
    gc.freeze()
    gc.enable()


def _check_terminal() -> None:
    if os.environ.get("TERM") == "dumb":
        raise UsageError("the screen needs a terminal that moves its cursor, and TERM is dumb; use `tui-gen generate`")
    if not all(stream is not None and stream.isatty() for stream in (sys.stdin, sys.stdout)):
        raise UsageError("the screen needs a terminal on stdin and stdout; without one, use `tui-gen generate`")


def show(
    settings: Settings, entries: list[Entry], *, tour: Tour | None = None, training: Training | None = None
) -> int:
    """Runs the screen until the user quits; returns the exit status. entries: the models that can be chosen.

    tour: through which the screen leads. training: that it follows.

    Raises TuiGenError for a model without a card that can be read, and for a screen that failed.
    """
    import asyncio

    from tui_gen.library import check_model
    from tui_gen.training_run import network_folder
    from tui_gen.tui.app import TuiGen

    check_model(network_folder(settings.folder), settings.answers)
    sys.setswitchinterval(_SWITCH_SECONDS)
    with _state_of_a_visitor() if in_browser() else contextlib.nullcontext():
        app = TuiGen(settings, entries, tour=tour, training=training)
        with quiet_stderr():
            app.run(loop=asyncio.new_event_loop())  # the one that it would make waits for all threads at its end
    say(*(f"to keep {conversion.path}: {conversion.command}" for conversion in app.conversions))
    if app.failure:
        journal = app.playground.workspace.journal if app.playground.workspace else None
        rescue = f"; {_replay(journal.path)}" if journal and journal.path and journal.path.exists() else ""
        raise TuiGenError(f"the screen failed: {app.failure!r:.200}; {log_file()} says more{rescue}")
    return app.return_code or 0


def configured_model(config: Config) -> Path | None:
    """The model of the configuration; None without one, and for one that cannot be played: its fault is added."""
    from tui_gen.library import check_model, locate

    name = os.path.expanduser(config.values.get("model", ""))
    if not name:
        return None
    try:
        check_model(folder := locate(name))
    except TuiGenError as fault:
        config.faults.append(f"model: {fault}")
        return None
    return folder


def first_model(entries: list[Entry], config: Config) -> Path:
    """The model to begin with, where the command line names none."""
    if folder := configured_model(config):
        return folder
    usable = [entry for entry in entries if entry.card]
    if not usable:
        from tui_gen.library import search_path

        raise TuiGenError("no models are installed; looked in " + ", ".join(map(str, search_path())))
    return next((entry for entry in usable if entry.name == FIRST_MODEL), usable[0]).path


def log_file() -> Path:
    """Where what would be printed beside the screen goes."""
    import platformdirs

    return Path(platformdirs.user_log_dir("tui-gen", appauthor=False)) / "stderr.log"


@contextlib.contextmanager
def _state_of_a_visitor() -> Iterator[None]:
    """In a browser, whoever reaches it plays: sees nothing of what others did, and what is noted goes with the tab."""
    with temporary_folder() as folder:
        os.environ[STATE] = str(folder)
        yield


@contextlib.contextmanager
def quiet_stderr() -> Iterator[None]:
    """Gives Textual, which draws on stderr, a terminal of its own, and points file descriptor 2 at a log file.

    What native libraries print there would otherwise land in the middle of the screen. For a browser Textual writes to
    stdout, where the same holds.
    """
    log = log_file()
    with contextlib.suppress(OSError):
        log.parent.mkdir(parents=True, exist_ok=True)
    stream, descriptor = sys.__stderr__, os.dup(2)
    try:
        target = open_regular(log, os.O_WRONLY | os.O_CREAT, follow=False)
        os.ftruncate(target, 0)
    except OSError:
        target = os.open(os.devnull, os.O_WRONLY)
    screen = os.fdopen(os.dup(1), "w", encoding="utf-8", errors="replace")
    os.dup2(target, 2)
    if in_browser():
        os.dup2(target, 1)
        sys.__stdout__ = screen  # type: ignore[misc]
    os.close(target)
    sys.__stderr__ = screen  # type: ignore[misc]
    try:
        yield
    finally:
        sys.__stderr__ = stream  # type: ignore[misc]
        os.dup2(descriptor, 2)
        os.close(descriptor)
        with contextlib.suppress(OSError):  # of a terminal that is gone
            screen.close()
