"""`tui-gen export`, `train`, `evaluate` and `adherence`: the exporter's commands, found by their entry points.

The exporter needs PyTorch and imports `tui_gen`; nothing of it is imported here by name.
"""

from __future__ import annotations

import argparse

from tui_gen.errors import TuiGenError

_GROUP = "tui_gen.commands"
_NEEDS = ("torch", "onnx", "onnxscript", "safetensors")
"""What `pip install 'tui-gen[export]'` adds."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Leaves all words to the exporter."""
    parser.add_argument("words", nargs=argparse.REMAINDER)


def run(args: argparse.Namespace) -> int:
    """Runs the exporter's `command` with `words`, which it parses itself; returns the exit status."""
    from importlib.metadata import entry_points

    points = tuple(entry_points(group=_GROUP, name=args.command))
    if not points:
        raise TuiGenError(
            f"{args.command} is a command of the exporter, which is not installed; "
            "install it with: pip install 'tui-gen[export]'"
        )
    try:
        command = points[0].load()
        status: int = command([*args.words, *(["-v"] if args.verbose else [])], prog=f"tui-gen {args.command}")
    except ModuleNotFoundError as fault:
        if (fault.name or "").partition(".")[0] not in _NEEDS:
            raise
        raise TuiGenError(
            f"{args.command} needs PyTorch and ONNX, and {fault.name} is not installed; "
            "install them with: pip install 'tui-gen[export]'"
        ) from fault
    return status
