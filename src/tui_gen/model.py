"""One ONNX file behind start() and step()."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from numpy.typing import NDArray

from tui_gen.at_once import AtOnce, Run
from tui_gen.card import ModelCard
from tui_gen.contract import check_contract
from tui_gen.errors import TuiGenError
from tui_gen.runtime import Provider, Session, open_session
from tui_gen.sampling import Floats, Logits, Tokens
from tui_gen.state import Pool, State
from tui_gen.threads import cores

_EXTERNAL_DATA = b"\x0a\x08location"
"""How protobuf writes the key that points a tensor at another file."""


class Model:
    """A step function with its card. Keeps nothing of a generation, so several may share it.

    graph: the bytes of an ONNX file that keeps the contract. provider: `auto` uses CUDA where it works. threads: per
    step; small networks are fastest on one.

    Raises TuiGenError for a graph that breaks the contract or cannot be opened, and when CUDA is asked for in vain.
    """

    def __init__(self, graph: bytes, card: ModelCard, *, provider: Provider = "auto", threads: int = 1) -> None:
        if _EXTERNAL_DATA in graph:
            raise TuiGenError(
                "model.onnx keeps weights in another file, which is refused; export it with all data inside"
            )
        self.card, self.threads = card, threads
        self._session, self.provider_note = open_session(graph, provider, threads)
        self.inputs, self.outputs = self._session.inputs, self._session.outputs
        check_contract(self.inputs, self.outputs, card.vocab_size)
        self._pool = Pool(self.inputs[1:], card.vocab_size)
        self._at_once = AtOnce(self, graph, self._opened)
        self._in_place = self.provider == "CPU"

    @property
    def eos(self) -> int | None:
        """The token that ends a sample."""
        return self.card.eos

    @property
    def provider(self) -> str:
        """Where the session really runs: `CUDA` or `CPU`."""
        return "CUDA" if "CUDAExecutionProvider" in self._session.providers else "CPU"

    @property
    def runs_on(self) -> str:
        """The same with the reason, as in `CPU (no NVIDIA driver found)`."""
        return f"{self.provider} ({self.provider_note})" if self.provider_note else self.provider

    def start(self, batch: int) -> State:
        """The state before the first token: zeros."""
        return self._pool.zeros(batch)

    def state(self, arrays: Sequence[NDArray[Any]], batch: int) -> State:
        """A state of tensors that were computed elsewhere, in the order of the graph's inputs; it takes them over."""
        return self._pool.state(arrays, batch)

    def step(self, tokens: Tokens, state: State) -> tuple[Logits, State]:
        """Reads int64[batch]; returns logits float32[batch, vocab] and the next state. Changes no argument."""
        if len(tokens) != len(state):
            raise TuiGenError(f"{len(tokens)} tokens do not go with the state of {len(state)} samples")
        if self._in_place:
            return self._step_in_place(tokens, state)
        feeds = {port.name: part for port, part in zip(self.inputs, (tokens, *state.buffers.parts), strict=True)}
        logits, *after = self._session.run(feeds)
        if logits.shape != (len(tokens), self.card.vocab_size):
            raise TuiGenError(f"model.onnx: logits came as {list(logits.shape)}, not [batch, {self.card.vocab_size}]")
        return logits, self.state(after, len(tokens))

    def _step_in_place(self, tokens: Tokens, state: State) -> tuple[Logits, State]:
        """Neither copies the state nor asks for memory for it."""
        after = self._pool.unset(len(tokens))
        before, into = state.buffers, after.buffers
        into.tokens[:] = tokens
        run = into.runs.get(before)
        if run is None:
            inputs, outputs = (into.tokens, *before.parts), (into.logits, *into.parts)
            run = into.runs[before] = self._session.bound(inputs, outputs)
        run()
        return into.logits.copy(), after

    def read(self, tokens: Tokens, state: State) -> State | None:
        """Reads int64[batch, n], n >= 1, at once, many times as fast as step by step; returns the state after them.

        None for a graph that can only be stepped. Raises TuiGenError for a state that is not finite.
        """
        after = self._at_once.read(tokens, state)
        if after is not None and not after.is_finite():
            raise TuiGenError("the model's state is no longer finite: its weights are damaged or it overflows")
        return after

    def score(self, tokens: Tokens, following: Tokens, state: State) -> tuple[Floats, State] | None:
        """Reads int64[batch, n] likewise; following: int64[batch, n], a token after each of them.

        Returns the natural logarithm of the probability of what follows, float32[batch, n], and the state after
        `tokens`; None for a graph that can only be stepped.
        """
        return self._at_once.score(tokens, following, state)

    def _opened(self, graph: bytes) -> Run:
        """Runs another graph where this one runs; a product for many tokens gains from all processors."""
        return Session(graph, cores(), *self._session.providers, yielding=True).run
