"""What the command line asks of the screen."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from tui_gen.runtime import Provider
from tui_gen.sampling import SamplingParams

if TYPE_CHECKING:
    from tui_gen.replayed import Loaded


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
    session: Loaded | None = None
    """A session to make again at the start."""
    threads: int = 0
    """For a step on the CPU; 0 measures once which number is fastest."""
    device: int = 0
    """Which GPU, of several."""
