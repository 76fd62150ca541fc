"""Starting the screen from the command line, on a terminal that native libraries cannot write into."""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import platformdirs

from tui_gen.cli import options
from tui_gen.errors import TuiGenError
from tui_gen.library import Entry, find_models, locate, read_card, search_path
from tui_gen.sampling.params import SamplingParams
from tui_gen.tui.app import TuiGen
from tui_gen.tui.knob_state import Settings

FIRST_MODEL = "recipes"
_SWITCH_SECONDS = 1e-3
"""How long the screen may keep Python while the engine wants it: drawing a frame takes as long as many steps."""


def launch(args: argparse.Namespace) -> int:
    """Runs the screen until the user quits; returns the exit status."""
    entries = find_models()
    folder = locate(args.model) if args.model else _first(entries)
    read_card(folder)
    app = TuiGen(_settings(args, folder), entries)
    sys.setswitchinterval(_SWITCH_SECONDS)
    with quiet_stderr():
        app.run()
    if app.failure:
        journal = app.keeping.journal
        kept = f"; tui-gen replay {journal.path} --screen brings back what was made" if journal and journal.path else ""
        raise TuiGenError(f"the screen failed: {app.failure!r:.200}; {_log()} says more{kept}")
    return app.return_code or 0


def _log() -> Path:
    """Where what would be printed beside the screen goes."""
    return Path(platformdirs.user_log_dir("tui-gen", appauthor=False)) / "stderr.log"


def _settings(args: argparse.Namespace, folder: Path) -> Settings:
    params = options.knobs(args, temperature=SamplingParams.temperature)
    seed = Settings.seed if args.seed is None else args.seed
    return Settings(
        folder,
        prompt=args.prompt,
        samples=args.samples,
        seed=seed,
        provider=args.provider,
        temperature=args.temperature,
        params=params,
        length=args.length,
        session=getattr(args, "session", None),
        threads=args.threads,
        device=args.device,
    )


def _first(entries: list[Entry]) -> Path:
    usable = [entry for entry in entries if entry.card]
    if not usable:
        raise TuiGenError("no models are installed; looked in " + ", ".join(map(str, search_path())))
    return next((entry for entry in usable if entry.name == FIRST_MODEL), usable[0]).path


@contextlib.contextmanager
def quiet_stderr() -> Iterator[None]:
    """Gives Textual, which draws on stderr, a terminal of its own, and points file descriptor 2 at a log file.

    What native libraries print there would otherwise land in the middle of the screen.
    """
    log = _log()
    with contextlib.suppress(OSError):
        log.parent.mkdir(parents=True, exist_ok=True)
    before, kept = sys.__stderr__, os.dup(2)
    try:
        target = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    except OSError:
        target = os.open(os.devnull, os.O_WRONLY)
    screen = os.fdopen(os.dup(1), "w", encoding="utf-8", errors="replace")
    os.dup2(target, 2)
    os.close(target)
    sys.__stderr__ = screen  # type: ignore[misc]
    try:
        yield
    finally:
        screen.flush()
        sys.__stderr__ = before  # type: ignore[misc]
        os.dup2(kept, 2)
        os.close(kept)
        screen.close()
