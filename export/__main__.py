"""The exporter's command line: a checkpoint becomes a model folder, or is only said what it is; and its other commands.

The folder is written only if the exported network is proved equal to PyTorch's: logits at every step, greedy tokens,
decoded text.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from tui_gen.errors import TuiGenError
from tui_gen.terminal_text import scrub_line

from .arguments import parse, read_options
from .convert import convert, diagnosis_lines
from .read import read


def main(arguments: Sequence[str] | None = None, *, prog: str = "python -m export") -> int:
    """Runs a command; returns the exit status. prog: what the help calls the program."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    if words[:1] == ["train"]:
        from .training.train import main as train

        return train(words[1:], prog=f"{prog} train")
    if words[:1] == ["evaluate"]:
        from .evaluation.evaluate import main as evaluate

        return evaluate(words[1:], prog=f"{prog} evaluate")
    if words[:1] == ["adherence"]:
        from .evaluation.prompt_adherence import main as measure_adherence

        return measure_adherence(words[1:], prog=f"{prog} adherence")
    return _convert(words, prog)


def _convert(words: list[str], prog: str) -> int:
    args = parse(words, prog=prog)
    try:
        checkpoint, reading = read(args.checkpoint, read_options(args), factory=args.factory)
        print("\n".join(diagnosis_lines(checkpoint, reading.diagnosis)), flush=True)
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
