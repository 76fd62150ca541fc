"""The exporter's command line: a checkpoint becomes a model folder, or is only said what it is; and its other commands.

The folder is written only if the exported network is proved equal to PyTorch's: logits at every step, greedy tokens,
decoded text.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from tui_gen.cli.main import exit_status

from .arguments import parse
from .child import convert_checkpoint, convert_in_child


def main(arguments: Sequence[str] | None = None, *, prog: str = "python -m export") -> int:
    """Runs a command; returns the exit status. prog: what the help calls the program."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    if words[:1] == ["train"]:
        from .train import main as train

        return train(words[1:], prog=f"{prog} train")
    if words[:1] == ["evaluate"]:
        from .evaluation.evaluate import main as evaluate

        return evaluate(words[1:], prog=f"{prog} evaluate")
    if words[:1] == ["adherence"]:
        from .evaluation.prompt_adherence import main as measure_adherence

        return measure_adherence(words[1:], prog=f"{prog} adherence")
    args = parse(words, prog=prog)
    if args.factory:
        return exit_status(lambda: convert_in_child(words, args, prog=prog), args, prog=prog)
    return exit_status(lambda: convert_checkpoint(args), args, prog=prog)


if __name__ == "__main__":
    raise SystemExit(main())
