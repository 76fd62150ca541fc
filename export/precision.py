"""How much a smaller file changes what a model says, on what the model itself writes."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass, replace
from itertools import islice
from typing import Any

import numpy as np

from tui_gen.errors import TuiGenError
from tui_gen.generate import generate
from tui_gen.model import Model
from tui_gen.sampling import SamplingParams, Tokens, log_softmax
from tui_gen.stepper import Endless

TOKENS = 2000
SAMPLES = 10
SECONDS = 60.0
"""After which the comparison ends: a network that computes whole images can take a second for a token."""
LIMIT = 0.01
"""Nats per token that a smaller file may differ by, unless forced."""


@dataclass(frozen=True)
class Precision:
    """A smaller file compared with the full one."""

    dtype: str
    operators: tuple[str, ...]
    kl_divergence: float
    """Of the smaller file's distribution from the full one's, nats per token."""
    greedy_agreement: float
    """Share of tokens at which both find the same token likeliest."""
    tokens: int
    bytes_before: int = 0
    bytes_after: int = 0

    def of_sizes(self, before: int, after: int) -> Precision:
        """The same with the sizes of the files."""
        return replace(self, bytes_before=before, bytes_after=after)

    def lines(self) -> list[str]:
        """For people."""
        ratio = self.bytes_before / max(self.bytes_after, 1)
        before, after = self.bytes_before / 1e6, self.bytes_after / 1e6
        return [
            f"{self.dtype}: {before:.2f} MB -> {after:.2f} MB, {ratio:.1f} times smaller",
            f"  by {'; '.join(self.operators)}",
            f"  KL divergence from fp32 {self.kl_divergence:.2g} nats per token over {self.tokens:,} tokens; "
            f"the likeliest token agrees in {self.greedy_agreement:.1%}",
        ]

    def as_facts(self) -> dict[str, Any]:
        """For config.json."""
        return {**asdict(self), "operators": list(self.operators)}


def compare(full: Model, small: Model, prompt: Tokens, *, dtype: str, operators: tuple[str, ...]) -> Precision:
    """Both models over the same tokens, which the full one writes at temperature 1 after prompt int64[1, n].

    2,000 of them, or as many as a slow model makes in a minute; what is given back says how many.
    """
    prompts = np.repeat(prompt, SAMPLES, axis=0)
    first, length = prompt.shape[1] - 1, TOKENS // SAMPLES
    area = full.card.image.height * full.card.image.width * full.card.image.channels if full.card.image else length
    steps = generate(Endless(full), prompts, SamplingParams(), length=min(length, area), seed=0)
    state, divergence, agreed, count = small.start(SAMPLES), 0.0, 0, 0
    tokens, deadline = prompts[:, 0], time.monotonic() + SECONDS
    for step in islice(steps, first + length):
        logits, state = small.step(tokens, state)
        tokens = step.tokens
        if step.given[0]:
            continue
        true, said = log_softmax(step.logits), log_softmax(logits)
        divergence += float((np.exp(true) * (true - said)).sum())
        agreed += int((true.argmax(1) == said.argmax(1)).sum())
        count += len(tokens)
        if time.monotonic() > deadline:
            break
    return Precision(dtype, operators, divergence / count, agreed / count, count)


def check_precision(precision: Precision, *, force: bool) -> None:
    """Raises TuiGenError for a file that says something else than the full one, unless forced."""
    if force or precision.kl_divergence <= LIMIT:
        return
    raise TuiGenError(
        f"{precision.dtype} changes what the model says: KL divergence {precision.kl_divergence:.3g} nats per token, "
        f"{LIMIT} is allowed, so nothing was written; --force writes it all the same"
    )
