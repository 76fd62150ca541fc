"""Ways to write and to store a language model, by name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from torch import nn

from export.checkpoints.checkpoint import Checkpoint
from tests.export.text.checkpoints import E, H, V, checkpoint_of
from tests.export.text.hand_written import (
    BareGru,
    BareRnn,
    JoinedGru,
    JoinedLstm,
    JoinedRnn,
    LetteredLstm,
    NamedGru,
    PairedGates,
    SingleLetters,
    Tutorial,
)
from tests.export.text.nets import (
    Cells,
    LayerByLayer,
    Learned,
    Normalised,
    NormedStack,
    Numbered,
    OneHot,
    TwoModules,
    Usual,
    in_two_wrappers,
    spectral_normed,
    weight_normed,
    with_weight_drop,
)


@dataclass(frozen=True)
class Layout:
    """A module, and how its checkpoint differs from its state dict."""

    make: Callable[[], nn.Module]
    checkpoint: Callable[[Any], Checkpoint] = checkpoint_of
    assume: dict[str, str] = field(default_factory=dict)


def whole(**attributes: Any) -> Callable[[nn.Module], Checkpoint]:
    """A pickled module."""
    return lambda module: checkpoint_of(module, whole=True, **attributes)


def without(*names: str) -> Callable[[nn.Module], Checkpoint]:
    """A state dict in another order, without shared copies, as safetensors leaves it."""

    def checkpoint(module: nn.Module) -> Checkpoint:
        state = module.state_dict()
        return Checkpoint("a test's", {name: state[name].clone() for name in sorted(state) if name not in names})

    return checkpoint


LAYOUTS: dict[str, Layout] = {
    "time-major LSTM, whole": Layout(lambda: Usual(nn.LSTM(E, H, 2)), whole(rnn_type="LSTM")),
    "time-major GRU, tied": Layout(lambda: Usual(nn.GRU(H, H, 2), tied=True), whole(rnn_type="GRU")),
    "simple, tanh": Layout(lambda: Usual(nn.RNN(E, H, 2)), whole(rnn_type="RNN_TANH")),
    "simple, relu": Layout(lambda: Usual(nn.RNN(E, H, nonlinearity="relu")), whole(rnn_type="RNN_RELU")),
    "simple, relu, told": Layout(lambda: Usual(nn.RNN(E, H, nonlinearity="relu")), assume={"nonlinearity": "relu"}),
    "simple, relu, in hyper-parameters": Layout(
        lambda: Usual(nn.RNN(E, H, nonlinearity="relu")), lambda m: checkpoint_of(m, {"args": {"nonlinearity": "relu"}})
    ),
    "tied, output left out": Layout(lambda: Usual(nn.LSTM(H, H), tied=True, bias=False), without("decoder.weight")),
    "tied, output's weight left out": Layout(lambda: Usual(nn.LSTM(H, H), tied=True), without("decoder.weight")),
    "embedding as wide as the state": Layout(lambda: Usual(nn.GRU(H, H, 2)), whole(model="gru", hidden_size=H)),
    "no biases in the layers": Layout(lambda: Usual(nn.LSTM(E, H, bias=False))),
    "other names": Layout(lambda: Usual(nn.GRU(E, H), names=("wordvecs", "memory", "vocabulary_scores"))),
    "sorted by name": Layout(lambda: Usual(nn.LSTM(E, H, 2), names=("wte", "body", "a_head")), without()),
    "projected LSTM": Layout(lambda: Usual(nn.LSTM(E, H, 2, proj_size=4), width=4)),
    "one-hot LSTM": Layout(lambda: OneHot(nn.LSTM(V, H, 2, batch_first=True))),
    "one-hot GRU": Layout(lambda: OneHot(nn.GRU(V, H, batch_first=True))),
    "one-hot RNN": Layout(lambda: OneHot(nn.RNN(V, H, 2, batch_first=True))),
    "learned start": Layout(Learned),
    "a module per layer, tied": Layout(LayerByLayer),
    "weight drop": Layout(LayerByLayer, lambda m: with_weight_drop(m, copies=False)),
    "weight drop with copies": Layout(LayerByLayer, lambda m: with_weight_drop(m, copies=True)),
    "weight drop in two wrappers": Layout(LayerByLayer, in_two_wrappers),
    "norms after equal layers": Layout(NormedStack),
    "norms after equal layers, sorted by name": Layout(NormedStack, without()),
    "weight norm": Layout(weight_normed),
    "spectral norm": Layout(spectral_normed),
    "two modules with norms and two linear layers": Layout(TwoModules),
    "LSTM cells": Layout(lambda: Cells(nn.LSTMCell)),
    "GRU cells": Layout(lambda: Cells(nn.GRUCell)),
    "RNN cells": Layout(lambda: Cells(nn.RNNCell)),
    "one sequence": Layout(Normalised),
    "one sequence, whole": Layout(Normalised, whole()),
    "a number a token": Layout(Numbered),
    "joined RNN": Layout(JoinedRnn),
    "joined GRU": Layout(JoinedGru),
    "joined LSTM, four gates": Layout(JoinedLstm),
    "joined LSTM, all gates at once": Layout(lambda: JoinedLstm(fused=True)),
    "i2h and h2h, RNN": Layout(lambda: PairedGates(1)),
    "i2h and h2h, GRU": Layout(lambda: PairedGates(3)),
    "i2h and h2h, LSTM": Layout(lambda: PairedGates(4)),
    "bare RNN": Layout(BareRnn),
    "single letters": Layout(SingleLetters),
    "bare GRU": Layout(BareGru),
    "lettered LSTM": Layout(LetteredLstm),
    "named GRU": Layout(NamedGru),
    "tutorial": Layout(lambda: Tutorial(last=False)),
    "tutorial with a last layer": Layout(lambda: Tutorial(last=True)),
}
