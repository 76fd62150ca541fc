"""Turns a trained checkpoint into a model folder: `python -m export FILE -o DIR`, or says what it is: `inspect FILE`.

The folder is written only if the exported network is proved equal to PyTorch's: logits at every step, greedy tokens,
decoded text.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from export.arguments import parse, read_options
from export.convert import convert, diagnosis_lines
from export.read import read
from tui_gen.errors import TuiGenError
from tui_gen.terminal_text import scrub_line


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit status."""
    args = parse(list(sys.argv[1:] if arguments is None else arguments), description=__doc__.partition("\n")[0])
    try:
        found, reading = read(args.checkpoint, read_options(args), factory=args.factory)
        print("\n".join(diagnosis_lines(found, reading.diagnosis)), flush=True)
        if args.inspect:
            return 0
        convert(
            reading,
            args.output,
            source=args.checkpoint,
            name=args.name or args.output.resolve().name,
            dtype=args.dtype,
            force=args.force,
            guidance=args.guidance,
        )
    except (TuiGenError, OSError) as fault:
        print(f"export: {scrub_line(str(fault))}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
