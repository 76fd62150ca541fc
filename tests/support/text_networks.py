"""Language models as people write them with PyTorch's own layers, with their own forward passes."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils import parametrizations

from export.checkpoints.checkpoint import Checkpoint

V, E, H = 11, 5, 7
"""Tokens, and the widths of embeddings and states."""


class Usual(nn.Module):
    """Embedding, a recurrent module, a linear layer, under any names."""

    def __init__(
        self,
        rnn: nn.RNN | nn.LSTM | nn.GRU,
        *,
        names: tuple[str, str, str] = ("encoder", "rnn", "decoder"),
        width: int = H,
        bias: bool = True,
        tied: bool = False,
    ) -> None:
        super().__init__()
        self.names = names
        self.add_module(names[0], nn.Embedding(V, rnn.input_size))
        self.add_module(names[1], rnn)
        self.add_module(names[2], nn.Linear(width, V, bias=bias))
        if tied:
            getattr(self, names[2]).weight = getattr(self, names[0]).weight

    def features(self, tokens: Tensor, state: Any = None) -> Tensor:
        embedding, rnn, _ = (getattr(self, name) for name in self.names)
        outputs: Tensor = rnn(embedding(tokens).transpose(0, 1), state)[0]
        return outputs.transpose(0, 1)

    def forward(self, tokens: Tensor) -> Tensor:
        logits: Tensor = getattr(self, self.names[2])(self.features(tokens))
        return logits


class OneHot(nn.Module):
    """No embedding: a 1 among zeros."""

    def __init__(self, rnn: nn.RNN | nn.LSTM | nn.GRU) -> None:
        super().__init__()
        self.lstm, self.fc = rnn, nn.Linear(H, V)

    def forward(self, tokens: Tensor) -> Tensor:
        logits: Tensor = self.fc(self.lstm(functional.one_hot(tokens, V).float())[0])
        return logits


class Learned(Usual):
    """A learned first state of every layer."""

    def __init__(self) -> None:
        super().__init__(nn.LSTM(E, H, 2))
        self.h0, self.c0 = nn.Parameter(torch.randn(2, 1, H)), nn.Parameter(torch.randn(2, 1, H))

    def features(self, tokens: Tensor, state: Any = None) -> Tensor:
        start = [value.expand(-1, len(tokens), -1).contiguous() for value in (self.h0, self.c0)]
        return super().features(tokens, tuple(start))


class LayerByLayer(nn.Module):
    """A module per layer, the last as narrow as the embedding whose weights it shares."""

    def __init__(self, *, holder: str = "rnns") -> None:
        super().__init__()
        self.holder = holder
        self.encoder = nn.Embedding(V, E)
        self.add_module(holder, nn.ModuleList([nn.LSTM(E, H), nn.LSTM(H, H), nn.LSTM(H, E)]))
        self.decoder = nn.Linear(E, V)
        self.decoder.weight = self.encoder.weight

    def forward(self, tokens: Tensor) -> Tensor:
        value = self.encoder(tokens).transpose(0, 1)
        for rnn in getattr(self, self.holder):
            value = rnn(value)[0]
        logits: Tensor = self.decoder(value.transpose(0, 1))
        return logits


def with_weight_drop(module: LayerByLayer, *, copies: bool) -> Checkpoint:
    """The same layers under dropout on weights: raw ones outside, what they wrap one level down."""
    tensors: dict[str, Tensor] = {}
    for name, tensor in module.state_dict().items():
        head, dot, tail = name.rpartition(".")
        if not name.startswith("rnns"):
            tensors[name] = tensor
        elif "weight_hh" in name:
            tensors[f"{name}_raw"] = tensor
            if copies:
                tensors[f"{head}.module.{tail}"] = functional.dropout(tensor)
        else:
            tensors[f"{head}{dot}module.{tail}"] = tensor
    return Checkpoint("a test's", tensors)


def in_two_wrappers(module: LayerByLayer) -> Checkpoint:
    """The same with a third copy of the embedding, encoder and decoder in a sequence of two."""
    with_copies = with_weight_drop(module, copies=True).tensors
    tensors = {f"{int('decoder' in name)}.{name}": tensor for name, tensor in with_copies.items()}
    return Checkpoint("a test's", {**tensors, "0.encoder_dp.emb.weight": tensors["0.encoder.weight"].clone()})


class NormedStack(nn.Module):
    """Widths that say nothing: a normalisation after each of two layers, and a last one."""

    def __init__(self) -> None:
        super().__init__()
        self.tok_emb = nn.Embedding(V, H)
        self.layers = nn.ModuleList(
            [nn.ModuleDict({"lstm": nn.LSTM(H, H, batch_first=True), "norm": nn.LayerNorm(H)}) for _ in range(2)]
        )
        self.ln_f, self.head = nn.LayerNorm(H), nn.Linear(H, V, bias=False)
        for name, parameter in self.named_parameters():
            if "norm" in name or "ln_f" in name:
                nn.init.normal_(parameter)

    def forward(self, tokens: Tensor) -> Tensor:
        value = self.tok_emb(tokens)
        for layer in self.layers:
            value = layer["norm"](layer["lstm"](value)[0])  # type: ignore[index]
        logits: Tensor = self.head(self.ln_f(value))
        return logits


class TwoModules(nn.Module):
    """Two recurrent modules of different kinds, a normalisation after each, two linear layers."""

    def __init__(self) -> None:
        super().__init__()
        self.char_emb = nn.Embedding(V, E)
        self.lstm1, self.norm1 = nn.LSTM(E, H, batch_first=True), nn.LayerNorm(H)
        self.gru2, self.norm2 = nn.GRU(H, 6, batch_first=True), nn.LayerNorm(6)
        self.fc1, self.fc2 = nn.Linear(6, 8), nn.Linear(8, V)
        for norm in (self.norm1, self.norm2):
            nn.init.normal_(norm.weight)
            nn.init.normal_(norm.bias)

    def forward(self, tokens: Tensor) -> Tensor:
        value = self.norm1(self.lstm1(self.char_emb(tokens))[0])
        value = self.norm2(self.gru2(value)[0])
        logits: Tensor = self.fc2(torch.relu(self.fc1(value)))
        return logits


class Cells(nn.Module):
    """Cells instead of layers."""

    def __init__(self, cell: type[nn.RNNCellBase], *, count: int = 2) -> None:
        super().__init__()
        self.embed = nn.Embedding(V, E)
        self.cells = nn.ModuleList([cell(E if at == 0 else H, H) for at in range(count)])  # type: ignore[call-arg]
        self.head = nn.Linear(H, V, bias=False)

    def forward(self, tokens: Tensor) -> Tensor:
        states: list[Any] = [None] * len(self.cells)
        outputs = []
        for value in self.embed(tokens).unbind(1):
            for at, cell in enumerate(self.cells):
                states[at] = cell(value, states[at])
                value = states[at][0] if isinstance(states[at], tuple) else states[at]  # noqa: PLW2901
            outputs.append(self.head(value))
        return torch.stack(outputs, dim=1)


class Normalised(nn.Module):
    """Everything in one Sequential of a wrapper, with batch normalisation and dropout between."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Embedding(V, E), nn.GRU(E, H, batch_first=True), nn.BatchNorm1d(H), nn.Dropout(), nn.Linear(H, V)
        )
        norm = self.body[2]
        nn.init.normal_(norm.weight)  # type: ignore[arg-type]
        norm.running_mean, norm.running_var = torch.randn(H), torch.rand(H) + 0.5

    def forward(self, tokens: Tensor) -> Tensor:
        embedding, rnn, norm, _, linear = self.body
        value = rnn(embedding(tokens))[0].transpose(1, 2)
        logits: Tensor = linear(norm(value).transpose(1, 2))
        return logits


class Numbered(nn.Module):
    """Each token as one number between 0 and 1."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm, self.linear = nn.LSTM(1, H, batch_first=True), nn.Linear(H, V)

    def forward(self, tokens: Tensor) -> Tensor:
        logits: Tensor = self.linear(self.lstm(tokens[..., None] / V)[0])
        return logits


def spectral_normed() -> nn.Module:
    """Stored before its division by the largest singular value, in the old way and in the new one."""
    module = Usual(nn.GRU(E, H))
    nn.utils.spectral_norm(module.encoder)
    parametrizations.spectral_norm(module.decoder)  # type: ignore[arg-type]
    with torch.no_grad():
        module(torch.arange(3)[None])
    return module


def weight_normed() -> nn.Module:
    """Stored as direction and length."""
    module = Usual(nn.GRU(E, H))
    parametrizations.weight_norm(module.decoder)  # type: ignore[arg-type]
    parametrizations.weight_norm(module.rnn, "weight_hh_l0")  # type: ignore[arg-type]
    return module
