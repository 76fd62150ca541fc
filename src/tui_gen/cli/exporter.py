"""`tui-gen export`, `train`, `evaluate` and `adherence`: the exporter's commands, found by their entry points.

The exporter needs PyTorch and imports `tui_gen`; nothing of it is imported here by name.
"""

from __future__ import annotations

import argparse

from tui_gen.checkpoint import load_command


def configure(parser: argparse.ArgumentParser) -> None:
    """Leaves all words to the exporter."""
    parser.add_argument("words", nargs=argparse.REMAINDER)


def run(args: argparse.Namespace) -> int:
    """Runs the exporter's `command` with `words`, which it parses itself; returns the exit status."""
    command = load_command(args.command)
    return command([*args.words, *(["-v"] if args.verbose else [])], prog=f"tui-gen {args.command}")
