"""`tui-gen bench`: times the engine and the screen."""

from __future__ import annotations

import argparse

from tui_gen.errors import UsageError

_CASES = ("generate", "loop", "step", "pictures", "length", "batch", "read", "write", "screen", "line", "launch")
"""The keys of `tui_gen.bench.report.CASES`, which loads all that is timed."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Describes the command's options."""
    parser.description = "Times the engine and the screen beside what one would otherwise run, in five to ten minutes."
    parser.add_argument("cases", nargs="*", metavar="CASE", help=f"only some of: {', '.join(_CASES)}; default: all")
    form = parser.add_mutually_exclusive_group()
    form.set_defaults(form="text")
    form.add_argument("--json", action="store_const", const="json", dest="form", help="as JSON, for programs")
    form.add_argument("--markdown", action="store_const", const="markdown", dest="form", help="as a table")


def run(args: argparse.Namespace) -> int:
    """Measures what was asked for; returns the exit status."""
    unknown = [case for case in args.cases if case not in _CASES]
    if unknown:
        raise UsageError(f"there is no case {unknown[0]!r}; there are: {', '.join(_CASES)}")
    from tui_gen.bench.report import print_report

    return print_report(args.cases, form=args.form)
