"""What the command line asks of the screen."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from tui_gen.runtime import Provider
from tui_gen.sampling import SamplingParams


@dataclass
class Settings:
    """What the command line asks of the screen."""

    folder: Path
    """The model to start with."""
    prompt: str = ""
    samples: int = 1
    seed: int = 42
    provider: Provider = "auto"
    temperature: float | None = None
    """None takes the model card's."""
    params: SamplingParams = field(default_factory=SamplingParams)
    """The other knobs at the start."""
    length: int | None = None
    threads: int = 0
    """For a step on the CPU; 0 measures once which number is fastest."""
