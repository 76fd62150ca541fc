"""What both front ends make of the command line's options: knobs and seed."""

from __future__ import annotations

import argparse
import secrets
from typing import TYPE_CHECKING, TypedDict

from tui_gen.errors import TuiGenError, UsageError
from tui_gen.sampling import SamplingParams

if TYPE_CHECKING:
    from tui_gen.runtime import Provider

SEEDS = 10_000
"""A seed that nobody chose is below this, so that it can be typed again."""


def knobs(args: argparse.Namespace, *, temperature: float) -> SamplingParams:
    """The knobs as asked for; temperature is the one to start with if none was. Raises UsageError for a bad one."""
    start = temperature if args.temperature is None else args.temperature
    try:
        return SamplingParams(start, args.top_k, args.top_p, args.min_p).checked()
    except TuiGenError as fault:
        raise UsageError(str(fault)) from fault


class Engine(TypedDict):
    """What `open_model` takes besides the folder."""

    provider: Provider
    threads: int
    device: int


def engine(args: argparse.Namespace) -> Engine:
    """Where and how the model runs, as asked for."""
    return Engine(provider=args.provider, threads=args.threads, device=args.device)


def new_seed() -> int:
    """A seed that nobody chose."""
    return secrets.randbelow(SEEDS)
