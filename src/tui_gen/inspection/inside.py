"""Gates, states and features of a model's layers, computed anew from the state that a step began with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tui_gen.errors import TuiGenError
from tui_gen.generation.protocol import State
from tui_gen.generation.state_parts import Arrays
from tui_gen.images.codec import ImageCodec
from tui_gen.library import LoadedModel
from tui_gen.runtime.inside_graph import INSIDE, Layer, inside_graph
from tui_gen.runtime.model import Model
from tui_gen.runtime.session import OnnxSession
from tui_gen.sampling.params import Floats, Tokens, gather, log_softmax
from tui_gen.sampling.step import check_finite
from tui_gen.text.tokenizer import TextTokens

Values = NDArray[np.float32]
_AT_ONCE = 128
"""Tokens of a text whose inside is computed in one batch."""
NO_NAMES = "nothing inside has a name: the model computes in whole numbers, or was not made by this exporter"


class Inside:
    """The second session of a model, whose outputs are what is inside it; opening it takes a moment.

    A model without names has no `layers` and its `values` are none; its states can be looked at all the same.
    """

    def __init__(self, model: Model) -> None:
        self.model = model
        rewritten = inside_graph(model.graph)
        self._session = OnnxSession(rewritten.content, 1) if rewritten else None
        self._inputs = [port.name for port in model.inputs]
        self.layers: tuple[Layer, ...] = rewritten.layers if rewritten else ()
        """In the order in which a token goes through them."""
        self.embedding = rewritten.embedding if rewritten else None
        """float32[tokens, width]: a row for each token; None where there is none."""

    def values(self, tokens: Tokens, state: Arrays) -> dict[str, Values]:
        """What is inside while tokens [batch] are read from the state before them: `embedding`, and for each layer the
        likes of `layer0.input_gate`, each float32[batch, width]. Of the copies of a guided network, the one that has
        the prompt.
        """
        if not self._session:
            return {}
        own = {port.name for port in self._session.inputs}
        feeds = {name: array for name, array in zip(self._inputs, (tokens, *state), strict=True) if name in own}
        names = [port.name.removeprefix(INSIDE) for port in self._session.outputs]
        parts = zip(names, self._session.run(feeds), strict=True)
        return {name: self._prompted(part, len(tokens)) for name, part in parts}

    def _prompted(self, values: Values, batch: int) -> Values:
        """[batch, width] of [batch * copies, width]."""
        copies = self.model.card.image.copies if self.model.card.image else ()
        if len(values) == batch or len(values) != batch * len(copies):
            return values
        return values[copies.index("prompted") if "prompted" in copies else 0 :: len(copies)]


class Neighbour(NamedTuple):
    """A token whose row of the embedding points in a like direction."""

    token: int
    cosine: float


def neighbours(embedding: Values, token: int, *, count: int = 10) -> list[Neighbour]:
    """The tokens nearest to one in an embedding [tokens, width], the nearest first; without itself."""
    sizes = np.linalg.norm(embedding, axis=1)
    products = embedding @ embedding[token]
    cosines = np.divide(products, sizes * sizes[token], out=np.zeros_like(products), where=sizes * sizes[token] > 0)
    order = np.argsort(-cosines, kind="stable")
    return [Neighbour(each, float(cosines[each])) for each in order[: count + 1].tolist() if each != token][:count]


class Trace(NamedTuple):
    """What went on inside a model while it read a text or a picture."""

    tokens: Tokens
    """[n]"""
    logprobs: Floats
    """[n]: natural logarithm of the probability of each token after those before it; NaN for the first."""
    values: Mapping[str, Values]
    """[n, width] each, as of `Inside.values`, while the token was read."""

    def arrays(self) -> dict[str, NDArray[Any]]:
        """All of it by name, as it is written to a file."""
        return {"tokens": self.tokens, "logprobs": self.logprobs, **self.values}


def look(loaded_model: LoadedModel, given: str | Tokens, *, prompt: str = "") -> Trace:
    """Reads a text or a picture and says what went on inside the model.

    given: a text, or levels int64[height, width] or [height, width, 3] of a picture. prompt: what comes before. Takes
    memory for all values of all tokens. Raises TuiGenError for what the model cannot read.
    """
    codec, name = loaded_model.codec, loaded_model.card.name
    if isinstance(codec, ImageCodec) == isinstance(given, str):
        kind = "levels of pixels" if isinstance(codec, ImageCodec) else "text"
        raise TuiGenError(f"{name} reads {kind}")
    if isinstance(codec, ImageCodec):
        own = np.asarray(given, dtype=np.int64).ravel()
    else:
        own = np.array(TextTokens(codec.tokenizer, name, "the text").read(str(given)).ids, dtype=np.int64)
    return trace(loaded_model.model, np.concatenate([codec.prompt([prompt])[0], own]))


def trace(model: Model, tokens: Tokens) -> Trace:
    """What goes on inside while tokens int64[n], n >= 1, are read one by one. Raises TuiGenError."""
    inside, state = Inside(model), model.start(1)
    logprobs, parts, distribution = np.full(len(tokens), np.nan), list[dict[str, Values]](), None
    for first in range(0, len(tokens), _AT_ONCE):
        states = list[State]()
        for index, token in enumerate(tokens[first : first + _AT_ONCE], first):
            if distribution is not None:
                logprobs[index] = gather(distribution, tokens[index : index + 1])[0]
            states.append(state)
            logits, state = model.step(np.array([token]), state)
            check_finite(logits, index + 1)
            distribution = log_softmax(logits)
        parts.append(inside.values(tokens[first : first + _AT_ONCE], join_states(states)))
    values = {name: np.concatenate([part[name] for part in parts]) for name in (parts[0] if parts else {})}
    return Trace(tokens, logprobs, values)


def join_states(states: Sequence[State]) -> Arrays:
    """Those of single samples as one batch."""
    return [np.concatenate(parts) for parts in zip(*(state.arrays() for state in states), strict=True)]
