"""`python -m export.train`, which is also `python -m export train` and `tui-gen train`: a training that publishes."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from .training.train import main as train

if TYPE_CHECKING:  # the help would wait for PyTorch
    from .training.trainer import Publish


def main(arguments: Sequence[str] | None = None, *, prog: str = "python -m export.train") -> int:
    """Runs the command; returns the exit status. prog: what the help calls the program."""
    return train(arguments, prog=prog, publisher=_publisher)


def _publisher(run: Path) -> Publish:
    from .publish import publisher_of

    publisher = publisher_of(run)
    publisher.claim()
    return publisher.keep


if __name__ == "__main__":
    sys.exit(main())
