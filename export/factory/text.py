"""What an owner's language model answers to random tokens, however it is called."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from itertools import chain
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from tui_gen.errors import TuiGenError

from ..reader import Reference
from ..text.step import TextNetwork
from .images import differ, tensors_of
from .owner import Unchanged, fault_line, owners_prints

_BATCH, _STEPS = 2, 32
"""Differ, so that a shape tells which is which."""
_FIRST_STATE = re.compile(
    r"(init|begin|zero|new|get|create|make).*(hidden|state)|(hidden|state)_?(0|init)|init_h$", re.I
)
"""Methods that give a first state for a batch."""


def answers_of(module: nn.Module, network: object, source: str) -> Iterable[Reference]:
    """What the module answers, in every way of calling it that works; token by token it is asked when these are wanted.

    Raises TuiGenError with the failure of the call that came furthest if none does, or if the answers are no logits of
    the tokens.
    """
    assert isinstance(network, TextNetwork)
    tokens = torch.from_numpy(network.random_tokens(_BATCH, np.random.default_rng(0)))[:, :_STEPS]
    answers, vocab_size = _Answers(module, network.vocab_size), network.vocab_size
    later = vocab_size // 2 + tokens % (vocab_size - vocab_size // 2)
    # some cut low ids out of a text, which end it or fill it up
    texts = ((tokens, source), (later, f"{source}, asked about tokens from {vocab_size // 2} on"))
    at_once = answers.ask_all((ids, call, name) for ids, name in texts for call in _of_texts(module, ids, network))
    steps = ((tokens, call, source) for call in _of_steps(module, tokens, network))
    if steady := answers.steady(at_once):
        return chain(map(_reference, steady), _later(answers, steps))
    by_steps = answers.ask_all(steps)
    if steady := answers.steady(by_steps):
        return [*map(_reference, steady)]
    if at_once or by_steps:
        raise TuiGenError(
            f"{source} answers the same tokens differently when it is asked again: something in it is random, such as "
            "functional.dropout without training=self.training, or its first state; it must answer alike"
        )
    if answers.shapes:
        raise TuiGenError(
            f"{source} gives {answers.shapes} for {_BATCH}x{_STEPS} tokens, and not {network.vocab_size:,} numbers "
            "after each, as many as it predicts; let its forward give logits"
        )
    raise TuiGenError(
        f"{source} cannot be called with token ids, alone or with a state: {answers.fault}; let its "
        "forward take ids [batch, n]"
    )


_Call = tuple[Tensor, Callable[[], Any], str]
"""Tokens, the call that asks about them, and whose answer it is."""


class _Asked(NamedTuple):
    """A call that works, and what it returned."""

    tokens: Tensor
    call: Callable[[], Any]
    logits: Tensor
    source: str


def _reference(asked: _Asked) -> Reference:
    return Reference(asked.source, asked.tokens.numpy(), asked.logits.numpy())


def _later(answers: _Answers, calls: Iterable[_Call]) -> Iterator[Reference]:
    yield from map(_reference, answers.steady(answers.ask_all(calls)))


class _Answers:
    """What a module answered to calls of which some may not be its way."""

    def __init__(self, module: nn.Module, vocab_size: int) -> None:
        self.module, self.vocab_size = module, vocab_size
        self.fault, self.shapes = "", ""
        self._furthest = -1

    def ask(self, call: Callable[[], Any]) -> Tensor | None:
        """The logits that a call returns; None if it fails, or returns none."""
        mode = Unchanged(self.module)
        try:
            with torch.no_grad(), mode, owners_prints():
                result = [tensor for _, tensor in tensors_of(_in_one_piece(call()))]
        except Exception as error:  # whatever a module raises that is called in a way that it does not expect
            if mode.calls > self._furthest:
                self._furthest, self.fault = mode.calls, fault_line(error)
            return None
        self.shapes = self.shapes or ", ".join(str(list(tensor.shape)) for tensor in result)
        counts = (_BATCH * _STEPS * self.vocab_size, _BATCH * self.vocab_size)  # after each token, after the last
        return next((tensor for tensor in result if self.vocab_size in tensor.shape and tensor.numel() in counts), None)

    def ask_all(self, calls: Iterable[_Call]) -> list[_Asked]:
        """Of those that work."""
        asked = ((ids, call, self.ask(call), name) for ids, call, name in calls)
        return [_Asked(ids, call, logits, name) for ids, call, logits, name in asked if logits is not None]

    def steady(self, asked: list[_Asked]) -> list[_Asked]:
        """All, if the first is the same once more; else those that are: a first state of one's own may be random."""
        return asked if asked and self._repeats(asked[0]) else list(filter(self._repeats, asked))

    def _repeats(self, each: _Asked) -> bool:
        again = self.ask(each.call)
        return again is not None and again.shape == each.logits.shape and not differ(each.logits, again)


def _in_one_piece(result: Any) -> Any:
    """A list of what was answered at each step, alone or first of several things, as one tensor [n, batch, ...]."""
    parts = result[0] if isinstance(result, (tuple, list)) and result and isinstance(result[0], list) else result
    is_list = isinstance(parts, list) and len(parts) > _BATCH and all(isinstance(part, Tensor) for part in parts)
    return torch.stack(parts) if is_list and len({part.shape for part in parts}) == 1 else result


def _of_texts(module: nn.Module, tokens: Tensor, network: TextNetwork) -> Iterator[Callable[[], Any]]:
    """Ways to ask a module for the logits of int64[batch, n] at once, the likeliest first."""
    for inputs in _inputs(tokens, network):
        for rows in (inputs, inputs.transpose(0, 1)):
            for first in _first_states(module, _BATCH):
                yield lambda rows=rows, first=first: module(rows, *first())  # type: ignore[misc]


def _of_steps(module: nn.Module, tokens: Tensor, network: TextNetwork) -> Iterator[Callable[[], Any]]:
    """Ways to ask a module for them token by token."""
    for inputs in _inputs(tokens, network):
        for axis in (0, 1, None):
            for first in _first_states(module, _BATCH):
                yield partial(_by_steps, module, inputs, axis, first, network.vocab_size)
            for first in _first_states(module, 1):
                yield partial(_one_by_one, module, inputs, axis, first, network.vocab_size)


def _inputs(tokens: Tensor, network: TextNetwork) -> tuple[Tensor, Tensor]:
    """Ids and one-hot, the likelier first."""
    width = network.vocab_size if network.table is None else len(network.table)
    one_hot = functional.one_hot(tokens, width).float()
    return (tokens, one_hot) if network.table is not None else (one_hot, tokens)


def _one_by_one(
    module: nn.Module, inputs: Tensor, axis: int | None, first: Callable[[], tuple[Any, ...]], vocab_size: int
) -> Tensor:
    """`_by_steps` of a module that takes a single sample."""
    return torch.cat([_by_steps(module, sample, axis, first, vocab_size) for sample in inputs.split(1)])  # type: ignore[no-untyped-call]


def _by_steps(
    module: nn.Module, inputs: Tensor, axis: int | None, first: Callable[[], tuple[Any, ...]], vocab_size: int
) -> Tensor:
    """One token of every sample at a time, [batch, ...], with an axis of size 1 for the time if asked for.

    Returns [batch, n, vocab]. Raises whatever is raised by a module that is called otherwise.
    """
    state, rows = first(), list[Tensor]()
    for token in inputs.unbind(1):
        result = module(token if axis is None else token.unsqueeze(axis), *state)
        logits, *rest = result if isinstance(result, (tuple, list)) else (result,)
        if not isinstance(logits, Tensor) or logits.shape[-1] != vocab_size:
            logits, rest = rest[0], [logits]
        rows.append(logits.reshape(len(inputs), -1))
        state = tuple(rest[: max(len(state), 1)])
    return torch.stack(rows, dim=1)


def _first_states(module: nn.Module, batch: int) -> Iterator[Callable[[], tuple[Any, ...]]]:
    """What follows the input: nothing, lengths, a first state, or lengths and a first state."""
    yield tuple
    names = list(inspect.signature(module.forward).parameters)[1:]
    states = list(_states(module, batch))
    if any("len" in name for name in names[:1]):
        for lengths in (torch.full((batch,), _STEPS), [_STEPS] * batch):
            yield lambda lengths=lengths: (lengths,)  # type: ignore[misc]
            if len(names) > 1:
                yield from (lambda lengths=lengths, state=state: (lengths, *state()) for state in states)
    yield from states


def _states(module: nn.Module, batch: int) -> Iterator[Callable[[], tuple[Any, ...]]]:
    """The module's own first state, none, or zeros as its layers take them: in one argument, or in two."""
    for name in filter(_FIRST_STATE.match, dir(type(module))):
        for arguments in ((batch,), ()):
            if _takes(getattr(module, name), len(arguments)):
                yield partial(_own_state, getattr(module, name), arguments)
                yield partial(_own_states, getattr(module, name), arguments)
    yield lambda: (None,)
    for part in module.modules():
        if isinstance(part, nn.RNNBase):
            yield partial(_zeros, part, batch)
            if part.mode == "LSTM":
                yield lambda part=part: _zeros(part, batch)[0]  # type: ignore[misc]


def _own_state(method: Callable[..., Any], arguments: tuple[int, ...]) -> tuple[Any, ...]:
    """Of a module that keeps its state as an attribute, nothing."""
    state = method(*arguments)
    return () if state is None else (state,)


def _own_states(method: Callable[..., Any], arguments: tuple[int, ...]) -> tuple[Any, ...]:
    """Of a module that takes each of them as an argument. Raises TypeError where there is but one."""
    state = method(*arguments)
    if not isinstance(state, (tuple, list)):
        raise TypeError("a single state")
    return tuple(state)


def _zeros(part: nn.RNNBase, batch: int) -> tuple[Any, ...]:
    hidden, cell = (
        torch.zeros(part.num_layers, batch, width) for width in (part.proj_size or part.hidden_size, part.hidden_size)
    )
    return ((hidden, cell),) if part.mode == "LSTM" else (hidden,)


def _takes(method: object, count: int) -> bool:
    if not callable(method):
        return False
    try:
        inspect.signature(method).bind(*range(count))
    except TypeError:
        return False
    return True
