"""`tui-gen tour`: the screen, led from stop to stop by a file."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path
from textwrap import wrap
from typing import TYPE_CHECKING

from tui_gen.cli import options
from tui_gen.errors import TuiGenError
from tui_gen.terminal_text import counted, say, show

if TYPE_CHECKING:
    from tui_gen.tui.tour import Tour

_WIDTH = 80


def configure(parser: argparse.ArgumentParser) -> None:
    """Describes the command's options."""
    parser.description = "Leads through what the models do and have inside, on the screen: n goes on, x leaves."
    parser.add_argument("file", nargs="?", metavar="FILE", help="another tour than the one that ships (TOML)")
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--check", action="store_true", help="say what is wrong with the file, and show nothing")
    form.add_argument("--plain", action="store_true", help="print what is said, and show nothing")
    options.add_engine_options(parser)


def run(args: argparse.Namespace) -> int:
    """Shows the tour, prints or checks it; returns the exit status: 1 if something is wrong with what is checked."""
    from tui_gen.tui.tour import SHIPPED, read_tour

    path = Path(args.file) if args.file else SHIPPED
    if not (args.check or args.plain):
        from tui_gen.cli import play

        return play.on_terminal(lambda: _show(path, args), args)
    tour = read_tour(path)
    if args.plain:
        show(*_plain(tour))
        return 0
    faults = list(tour.faults())
    say(*(f"{path}: {fault}" for fault in faults))
    if not faults:
        show(f"{tour.title}: {counted(len(tour.stops), 'stop')}")
    return 1 if faults else 0


def _show(path: Path, args: argparse.Namespace) -> int:
    from tui_gen.cli import play
    from tui_gen.tui.tour import read_tour

    tour = read_tour(path)
    play.load_screen()
    from tui_gen.config import read_config
    from tui_gen.library import find_models, locate
    from tui_gen.tui.knob_state import Settings

    config, entries = read_config(), find_models()
    try:
        folder = locate(tour.stops[0].model) if tour.stops[0].model else play.first_model(entries, config)
    except TuiGenError:
        folder = play.first_model(entries, config)  # what is missing is told at its stop
    return play.show(Settings(folder, **play.look(config), **options.engine(args, config)), entries, tour=tour)


def _plain(tour: Tour) -> Iterator[str]:
    yield tour.title
    for number, stop in enumerate(tour.stops, start=1):
        text, attempt = stop.words()
        yield from ("", *wrap(f"{number}. {stop.title}. {text}", _WIDTH))
        yield from wrap(f"Try: {attempt}", _WIDTH) if attempt else ()
