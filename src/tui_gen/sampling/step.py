"""`Step`: one token of every sample, with the logits, the state and the parameters that it came from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tui_gen.errors import TuiGenError
from tui_gen.sampling.device_protocol import SampleReport
from tui_gen.sampling.params import (
    Floats,
    Logits,
    Mask,
    SamplingParams,
    Tokens,
    Weights,
    entropy_bits,
    gather,
    likeliest,
    log_sums,
    normalise,
    own_weights,
    weights,
)
from tui_gen.sampling.sweep import Sweep

_PLAIN = SamplingParams()


@dataclass(eq=False)  # frozen, it would take six times as long to make, at every token
class Step:
    """One token of every sample, and how it came about; not to be changed."""

    index: int
    """Position in the sequence. The first token of a prompt has position 0 and no Step, for nothing predicts it."""

    tokens: Tokens
    """[samples]: the tokens at this position."""

    given: Mask
    """[samples]: whether the token stood in the prompt; otherwise it was sampled."""

    live: Mask
    """[samples]: whether the sample still runs. A sample that has ended keeps its row, which then means nothing."""

    logits_source: Logits | Callable[[], Logits]
    """`logits`, or a callable that fetches them from the device."""

    draw_weights: Weights | None
    """[samples, vocab]: what a sampled token was drawn by; None where every token stood in the prompt."""

    params: SamplingParams
    """The knobs that counted for this step."""

    seconds: float
    """What model and sampling took."""

    state_source: Any
    """`state`, or a callable that computes it."""

    report: SampleReport | None = None
    """What a device reported that sampled beside the model; `draw_weights` is None then."""

    sweep: Sweep | None = None
    """What the samples differ by, if it is a knob."""

    rows: Tokens | None = None
    """[samples]: each sample's row in `logits_source`, `draw_weights` and `state_source`, where samples that have ended
    left them (theirs is any row); None where every sample has the row of its own number."""

    @property
    def sampled(self) -> bool:
        """Whether some sample's token was drawn, not given."""
        return self.draw_weights is not None or self.report is not None

    @cached_property
    def logits(self) -> Logits:
        """[samples, vocab]: the model's logits for this token."""
        return self._of_all(self._computed_logits)

    @cached_property
    def state(self) -> Any:
        """The model's state before this token; feed it the token to go on from here."""
        state = self.state_source() if callable(self.state_source) else self.state_source
        return state if self.rows is None else state.rows(self.rows)

    @cached_property
    def weights(self) -> Weights:
        """[samples, vocab]: proportional to `probs`."""
        if self.draw_weights is not None:
            return self._of_all(self.draw_weights)
        return weights(self.logits, self.sweep.rows(self.params) if self.sweep else self.params.row())

    @cached_property
    def probs(self) -> Floats:
        """[samples, vocab]: the distribution after all knobs, from which a sampled token was drawn."""
        return normalise(self.weights)

    def likeliest(self, count: int, *, sample: int = 0) -> Tokens:
        """[at most count]: the tokens of the highest probability after all knobs, likeliest first, lower ids first."""
        if self.report and count <= self.report.top.shape[1] and self.report.weights[sample, count - 1] > 0:
            return self.report.top[sample, :count]
        return likeliest(self._weights_of(sample), count)

    @cached_property
    def logprob(self) -> Floats:
        """[samples]: natural logarithm of the model's own probability (temperature 1, nothing cut) of the token."""
        logits, rows = self._computed_logits, self._rows
        return gather(logits, self.tokens, rows) - log_sums(logits, self._own_weights)[rows]

    @cached_property
    def entropy(self) -> Floats:
        """[samples]: entropy of the model's own distribution, in bits."""
        return entropy_bits(self._computed_logits, self._own_weights)[self._rows]

    @cached_property
    def _computed_logits(self) -> Logits:
        """Of the rows that were computed."""
        if not callable(self.logits_source):
            return self.logits_source
        logits = self.logits_source()
        check_finite(logits, self.index)
        return logits

    @cached_property
    def _own_weights(self) -> Weights:
        if self.draw_weights is not None and self.sweep is None and self.params == _PLAIN:
            return self.draw_weights
        return own_weights(self._computed_logits)

    @property
    def _rows(self) -> Tokens:
        return np.arange(len(self.tokens)) if self.rows is None else self.rows

    def _weights_of(self, sample: int) -> Weights:
        if self.draw_weights is None:
            return self.weights[sample]
        return self.draw_weights[sample if self.rows is None else self.rows[sample]]

    def _of_all(self, table: NDArray[np.float32]) -> NDArray[np.float32]:
        return table if self.rows is None else table[self.rows]


def check_finite(logits: Logits, index: int) -> None:
    """Raises TuiGenError for logits, of the token at a position, that are not finite."""
    finite = np.isfinite(logits)
    if not finite.item(finite.argmin()):  # which all() takes three times as long to say
        raise non_finite(index)


def non_finite(index: int) -> TuiGenError:
    """The error for logits, of the token at a position, that are not finite."""
    cause = "its weights are damaged or it overflows"
    return TuiGenError(f"the model gave non-finite logits at position {index}: {cause}")
