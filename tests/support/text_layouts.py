"""Ways to write and to store a language model, and what the exporter makes of their checkpoints."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from export.checkpoints.checkpoint import Checkpoint, ModuleFacts
from export.reader import Exportable, Reading, ReadOptions
from export.text.read import read_text
from export.verify import step_logits
from tests.support.recurrent_cells import ANSWERS, CELLS
from tests.support.text_networks import (
    Cells,
    E,
    H,
    LayerByLayer,
    Learned,
    Normalised,
    NormedStack,
    Numbered,
    OneHot,
    TwoModules,
    Usual,
    V,
    in_two_wrappers,
    spectral_normed,
    weight_normed,
    with_weight_drop,
)
from tui_gen.runtime.model import Model


def facts_of(module: nn.Module, **attributes: Any) -> dict[str, ModuleFacts]:
    """What a pickled module says of itself."""
    modules = {}
    for path, inner in module.named_modules():
        plain = {key: value for key, value in vars(inner).items() if isinstance(value, bool | int | float | str)}
        kind = f"{type(inner).__module__}.{type(inner).__qualname__}"
        modules[path] = ModuleFacts(kind, {**plain, **attributes} if not path else plain)
    return modules


def checkpoint_of(
    module: nn.Module, facts: Mapping[str, Any] | None = None, *, whole: bool = False, **attributes: Any
) -> Checkpoint:
    """A state dict, or a whole module with attributes of its own."""
    return Checkpoint(
        "a test's", dict(module.state_dict()), facts_of(module, **attributes) if whole else {}, dict(facts or {})
    )


def read(checkpoint: Checkpoint, options: ReadOptions | None = None, **assume: str) -> Reading:
    """The reading of what must be a language model."""
    reading = read_text(checkpoint, options or ReadOptions(assume=assume))
    assert reading is not None
    return reading


def build(checkpoint: Checkpoint, **assume: str) -> Exportable:
    """A checkpoint ready for export."""
    return read(checkpoint, **assume).build()


def model_of(exportable: Exportable) -> Model:
    """Its step function, as the player opens it."""
    return Model(exportable.network.step_graph().SerializeToString(), exportable.card, provider="cpu")


def logits_of(module: nn.Module, tokens: NDArray[np.int64]) -> NDArray[np.float32]:
    """By the module's own forward pass."""
    with torch.no_grad():
        logits: NDArray[np.float32] = module.eval()(torch.from_numpy(tokens)).numpy()
    return logits


def assert_exact(module: nn.Module, exportable: Exportable) -> None:
    """The step function, and the network that is compared with it, say what the module's own forward pass says."""
    model = model_of(exportable)
    for batch in (1, 5):
        tokens = np.random.default_rng(batch).integers(V, size=(batch, 20))
        whole = logits_of(module, tokens)
        np.testing.assert_allclose(step_logits(model, tokens), whole, atol=1e-5, rtol=0)
        logits = exportable.network.sequence_logits(torch.from_numpy(tokens)).numpy()
        np.testing.assert_allclose(logits, whole, atol=1e-5, rtol=0)


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


NORMED_ORDER = "tok_emb,layers.0.lstm,layers.0.norm,layers.1.lstm,layers.1.norm,ln_f,head"
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
    "norms after equal layers": Layout(NormedStack, assume={"residual": "none"}),
    "norms after equal layers, sorted by name": Layout(
        NormedStack,
        without(),
        {"residual": "none", "order": NORMED_ORDER},
    ),
    "weight norm": Layout(weight_normed),
    "spectral norm": Layout(spectral_normed),
    "two modules with norms and two linear layers": Layout(TwoModules, assume={"activation": "relu"}),
    "LSTM cells": Layout(lambda: Cells(nn.LSTMCell)),
    "GRU cells": Layout(lambda: Cells(nn.GRUCell)),
    "RNN cells": Layout(lambda: Cells(nn.RNNCell)),
    "one sequence": Layout(Normalised, assume={"activation": "none"}),
    "one sequence, whole": Layout(Normalised, whole()),
    "a number a token": Layout(Numbered, assume={"number": "id/vocabulary"}),
    **{name: Layout(make, assume=ANSWERS.get(name, {})) for name, make in CELLS.items()},
}


def build_layout(name: str, *, seed: int = 0) -> tuple[nn.Module, Exportable]:
    """One of LAYOUTS with random weights, and ready for export."""
    torch.manual_seed(seed)
    layout = LAYOUTS[name]
    module = layout.make().eval()
    return module, build(layout.checkpoint(module), **layout.assume)


def assert_exact_layout(name: str, *, more_parameters: int = 0) -> None:
    """One of LAYOUTS, and the number of its parameters."""
    module, exportable = build_layout(name)
    assert_exact(module, exportable)
    parameters = sum(weight.numel() for weight in module.parameters())
    assert exportable.network.parameters_count == parameters + more_parameters
