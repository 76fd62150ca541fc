"""What an owner's language model answers to random tokens, however it is called."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from tui_gen.errors import TuiGenError

from ..reader import Reference
from ..text.step import TextNetwork
from .images import tensors_of
from .owner import Unchanged, fault_line, owners_prints

_BATCH, _STEPS = 2, 32
"""Differ, so that a shape tells which is which."""
_FIRST_STATE = re.compile(
    r"(init|begin|zero|new|get|create|make).*(hidden|state)|(hidden|state)_?(0|init)|init_h$", re.I
)
"""Methods that give a first state for a batch."""


def answers_of(module: nn.Module, network: object, factory: str) -> tuple[Reference, ...]:
    """What the module answers, in every way of calling it that works.

    Raises TuiGenError with the first failure if none does, or if the answers are no logits of the tokens.
    """
    assert isinstance(network, TextNetwork)
    tokens = torch.from_numpy(network.random_tokens(_BATCH, np.random.default_rng(0)))[:, :_STEPS]
    source, references, first_error, shapes = f"the module that {factory} returns", list[Reference](), "", ""
    for call in _calls(module, tokens, network):
        try:
            with torch.no_grad(), Unchanged(module), owners_prints():
                result = list(tensors_of(call()))
        except Exception as error:  # whatever a module raises that is called in a way that it does not expect
            first_error = first_error or fault_line(error)
            continue
        logits = [tensor for _, tensor in result if network.vocab_size in tensor.shape]
        references += [Reference(source, tokens.numpy(), tensor.numpy()) for tensor in logits[:1]]
        shapes = shapes or ", ".join(str(list(tensor.shape)) for _, tensor in result)
    if references:
        return tuple(references)
    if shapes:
        raise TuiGenError(
            f"{source} gives {shapes} for {_BATCH}x{_STEPS} tokens, of which no dimension is the "
            f"{network.vocab_size:,} that it predicts; let the --factory return a module whose forward gives logits"
        )
    raise TuiGenError(
        f"{source} cannot be called with token ids, alone or with a state: {first_error}; let the --factory return a "
        "module whose forward takes ids [batch, n]"
    )


def _calls(module: nn.Module, tokens: Tensor, network: TextNetwork) -> Iterator[Callable[[], Any]]:
    """Ways to ask a module for the logits of int64[batch, n], the likeliest first."""
    width = network.vocab_size if network.table is None else len(network.table)
    one_hot = functional.one_hot(tokens, width).float()
    forms = (tokens, one_hot) if network.table is not None else (one_hot, tokens)
    for inputs in forms:
        for rows in (inputs, inputs.transpose(0, 1)):
            for first in _first_states(module, _BATCH):
                yield lambda rows=rows, first=first: module(rows, *first())  # type: ignore[misc]
    for inputs in forms:
        for axis in (0, 1, None):
            for first in _first_states(module, _BATCH):
                yield partial(_by_steps, module, inputs, axis, first, network.vocab_size)
            for first in _first_states(module, 1):
                yield partial(_one_by_one, module, inputs, axis, first, network.vocab_size)


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
        state = tuple(rest[:1])
    return torch.stack(rows, dim=1)


def _first_states(module: nn.Module, batch: int) -> Iterator[Callable[[], tuple[Any, ...]]]:
    """What follows the input: nothing, lengths, the module's own first state, or zeros as its layers take them."""
    yield tuple
    names = list(inspect.signature(module.forward).parameters)[1:2]
    if any("len" in name for name in names):
        yield lambda: (torch.full((batch,), _STEPS),)
    for name in filter(_FIRST_STATE.match, dir(type(module))):
        for arguments in ((batch,), ()):
            if _takes(getattr(module, name), len(arguments)):
                yield partial(_own_state, getattr(module, name), arguments)
    yield lambda: (None,)
    for part in module.modules():
        if isinstance(part, nn.RNNBase):
            yield partial(_zeros, part, batch)


def _own_state(method: Callable[..., Any], arguments: tuple[int, ...]) -> tuple[Any, ...]:
    """Of a module that keeps its state as an attribute, nothing."""
    state = method(*arguments)
    return () if state is None else (state,)


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
