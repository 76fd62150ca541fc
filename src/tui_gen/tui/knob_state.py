"""Where the knobs stand, and what turning one of them does to its value."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING

from tui_gen.card import ModelCard
from tui_gen.checkpoint import Answers
from tui_gen.errors import TuiGenError
from tui_gen.generation.branch import Branch
from tui_gen.runtime.session import Provider
from tui_gen.sampling.knobs import Knob, knobs_for
from tui_gen.sampling.params import SamplingParams, new_seed

if TYPE_CHECKING:
    from tui_gen.sessions.replay import LoadedSession

SAMPLING = frozenset(field.name for field in fields(SamplingParams))
"""The knobs that a token is drawn by: turned, they count for the very next one."""


class KnobState:
    """The knobs' values. `params` is read by the engine at every step, so it is changed in place and never replaced."""

    def __init__(
        self,
        params: SamplingParams,
        *,
        samples: int,
        seed: int,
        length: int | None,
        temperature: float | None = None,
        rate: float | None = None,
    ) -> None:
        """Values that a person asked for.

        temperature, and rate in tokens a second: None takes that of each model's card.
        """
        self.params = params
        self.rate, self.samples, self.seed, self._length = math.inf, samples, seed, length
        self._turned = set[str]()
        """Knobs that a person has set to another value than the card's; the others take that of the next card."""
        if temperature is not None:
            self.params.temperature = temperature
            self._turned.add("temperature")
        if rate is not None:
            self.rate = rate
            self._turned.add("pace")
        self._knobs: dict[str, Knob] = {}

    def serve(self, card: ModelCard) -> None:
        """Takes the limits of a model, and its pace and temperature unless a person has turned them."""
        self._knobs = knobs_for(card)
        for name in {"temperature", "pace"} - self._turned:
            self._set(name, self._knobs[name].default)

    @property
    def table(self) -> dict[str, Knob]:
        """What the knobs of the model are."""
        return self._knobs

    @property
    def length(self) -> int | None:
        """Tokens to sample; None where nobody said."""
        return self._length

    def values(self) -> dict[str, float]:
        """Of all knobs by name."""
        length = self._knobs["length"].default if self._length is None else self._length
        others = {"pace": self.rate, "samples": self.samples, "length": length, "seed": self.seed}
        return {**{name: getattr(self.params, name) for name in self._in_order()}, **others}

    def turn(self, name: str, direction: int) -> None:
        """One step up or down."""
        self._set(name, self._knobs[name].turned(self.values()[name], direction))

    def reset(self, name: str) -> None:
        """Back to the default."""
        self._set(name, self._knobs[name].default)

    def type(self, name: str, text: str) -> None:
        """Takes a value as a person types it. Raises TuiGenError for one that cannot be."""
        knob, text = self._knobs[name], text.strip()
        if text in {"off", "unlimited"} and text == knob.shown(knob.default if text == "off" else math.inf):
            self._set(name, knob.default if text == "off" else math.inf)
            return
        try:
            value = int(text) if text.isdecimal() else float(text)
        except ValueError as fault:
            raise TuiGenError(f"{knob.label} takes a number, not {text!r:.40}") from fault
        least, most = knob.limits
        if not least <= value <= most or math.isinf(value):
            raise TuiGenError(f"{knob.label} goes from {knob.shown_limits}")
        self._set(name, value)

    def draw_seed(self) -> None:
        """Another seed, that nobody chose."""
        self.seed = new_seed()

    def later(self, branch: Branch) -> set[str]:
        """Which of `samples` and `seed` differ from this branch's and count for the next run only; none for a sweep."""
        if branch.start.sweep:
            return set()
        now = {"samples": (branch.samples, self.samples), "seed": (branch.start.seed, self.seed)}
        return {name for name, (there, here) in now.items() if there != here}

    def follow(self, branch: Branch) -> None:
        """Sets the sampling knobs to their values at the branch's last token, and seed and samples to the branch's."""
        params = branch.params_at(len(branch) - 1)
        for name in SAMPLING:
            self._set(name, getattr(params, name))
        self.seed, self.samples = branch.start.seed, branch.samples

    def _set(self, name: str, value: float) -> None:
        whole = name in {"top_k", "samples", "length", "seed"}
        value, default = round(value) if whole else value, self._knobs[name].default
        (self._turned.discard if value == default else self._turned.add)(name)
        if name in SAMPLING:
            setattr(self.params, name, value)
        elif name == "pace":
            self.rate = value
        elif name == "length":
            self._length = None if value == default else int(value)
        else:
            setattr(self, name, int(value))

    def _in_order(self) -> list[str]:
        return [name for name in self._knobs if name in SAMPLING]


@dataclass
class Settings:
    """What the command line and the configuration ask of the screen."""

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
    session: LoadedSession | None = None
    """A session to make again at the start."""
    threads: int = 0
    """For a step on the CPU; 0 measures once which number is fastest."""
    device: int = 0
    """Which GPU, of several."""
    trust: bool = False
    """Whether models may be of any operators and size."""
    answers: Answers = ()
    """What a checkpoint does not say."""
    rate: float | None = None
    """Tokens a second; None takes the model's."""
    theme: str = ""
    """The name of one of Textual, of ours or of `themes`; empty takes ours."""
    themes: Mapping[str, Mapping[str, object]] = field(default_factory=dict)
    """A person's own, by name: the fields of Textual's `Theme`, not checked."""
    keys: Mapping[str, str] = field(default_factory=dict)
    """Ids of actions and the keys that a person wants for them, not checked; see `Keymap`."""
    faults: Sequence[str] = ()
    """What is wrong with the configuration."""
