"""Language models whose tensors do not tell what they compute: activations, sums, scalings and settings."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from tests.support.text_networks import E, H, V

Function = Callable[[Tensor], Tensor]


class Chain(nn.Module):
    """Parts one after another; what a recurrent one gives beside its output is left.

    functions: what a script does after a part, by its name; sums: parts that add their input.
    """

    def __init__(
        self, parts: dict[str, nn.Module], functions: dict[str, Function] | None = None, sums: Sequence[str] = ()
    ) -> None:
        super().__init__()
        self.functions, self.sums = functions or {}, sums
        self.inner: dict[str, Function] = {}
        """Functions before a sum."""
        for name, part in parts.items():
            self.add_module(name, part)

    def forward(self, tokens: Tensor) -> Tensor:
        value: Any = tokens
        for name, part in self.named_children():
            before, value = value, self._through(part, value)
            value = self.inner[name](value) if name in self.inner else value
            value = value + before if name in self.sums else value
            value = self.functions[name](value) if name in self.functions else value
        return value  # type: ignore[no-any-return]

    def _through(self, part: nn.Module, value: Tensor) -> Tensor:
        if isinstance(part, nn.Sequential | nn.ModuleList):
            for inner in part:
                value = self._through(inner, value)
            return value
        if isinstance(part, nn.BatchNorm1d):
            return part(value.transpose(1, 2)).transpose(1, 2)  # type: ignore[no-any-return]
        output = part(value)
        return output[0] if isinstance(output, tuple) else output


def lstm(inputs: int = E, **options: Any) -> nn.LSTM:
    """Batch first, H wide."""
    return nn.LSTM(inputs, H, batch_first=True, **options)


def usual(functions: dict[str, Function] | None = None, **more: nn.Module) -> Chain:
    """emb, rnn, more parts, out."""
    return Chain({"emb": nn.Embedding(V, E), "rnn": lstm(), **more, "out": nn.Linear(H, V)}, functions)


def square(sums: Sequence[str] = (), **more: nn.Module) -> Chain:
    """Two layers as wide as the embedding."""
    parts = {"emb": nn.Embedding(V, H), "lstm1": lstm(H), "lstm2": lstm(H), **more, "out": nn.Linear(H, V)}
    return Chain(parts, sums=sums)


class BackwardReader(nn.Module):
    """Computes over a text that its script has reversed."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder, self.rnn, self.decoder = nn.Embedding(V, E), lstm(), nn.Linear(H, V)

    def forward(self, tokens: Tensor) -> Tensor:
        return self.decoder(self.rnn(self.encoder(tokens))[0])  # type: ignore[no-any-return]


class WithUnusedNorm(nn.Module):
    """A normalisation that a switch turns off."""

    def __init__(self, *, used: bool, trained: bool = True) -> None:
        super().__init__()
        self.used = used
        self.emb, self.rnn, self.ln, self.out = nn.Embedding(V, E), lstm(), nn.LayerNorm(H), nn.Linear(H, V)
        if trained:
            nn.init.normal_(self.ln.weight)

    def forward(self, tokens: Tensor) -> Tensor:
        value = self.rnn(self.emb(tokens))[0]
        return self.out(self.ln(value) if self.used else value)  # type: ignore[no-any-return]


class NormedCell(nn.Module):
    """A cell whose state is normalised before it is read again, or only before the output."""

    def __init__(self, *, inside: bool) -> None:
        super().__init__()
        self.inside = inside
        self.emb, self.cell = nn.Embedding(V, E), nn.GRUCell(E, H)
        self.norm, self.out = nn.LayerNorm(H), nn.Linear(H, V)
        nn.init.normal_(self.norm.weight)

    def forward(self, tokens: Tensor) -> Tensor:
        h, outputs = torch.zeros(len(tokens), H), []
        for x in self.emb(tokens).unbind(1):
            h = self.cell(x, h)
            normed = self.norm(h)
            h = normed if self.inside else h
            outputs.append(self.out(normed))
        return torch.stack(outputs, 1)


class Tempered(nn.Module):
    """Logits divided by a learned number."""

    def __init__(self) -> None:
        super().__init__()
        self.emb, self.rnn, self.out = nn.Embedding(V, E), lstm(), nn.Linear(H, V)
        self.temperature = nn.Parameter(torch.tensor(1.7))

    def forward(self, tokens: Tensor) -> Tensor:
        return self.out(self.rnn(self.emb(tokens))[0]) / self.temperature  # type: ignore[no-any-return]


class Lists(nn.Module):
    """Layers and normalisations in two lists, applied in turns."""

    def __init__(self) -> None:
        super().__init__()
        self.emb, self.lstms = nn.Embedding(V, H), nn.ModuleList(lstm(H) for _ in range(2))
        self.norms, self.out = nn.ModuleList(nn.LayerNorm(H) for _ in range(2)), nn.Linear(H, V)
        for norm in self.norms:
            nn.init.normal_(norm.weight)  # type: ignore[arg-type]

    def forward(self, tokens: Tensor) -> Tensor:
        value = self.emb(tokens)
        for layer, norm in zip(self.lstms, self.norms, strict=True):
            value = norm(layer(value)[0])
        return self.out(value)  # type: ignore[no-any-return]


class OwnLSTM(nn.Module):
    """A cell of one's own under PyTorch's names: x W, with the output gate before the candidate."""

    def __init__(self) -> None:
        super().__init__()
        self.weight_ih, self.weight_hh = (nn.Parameter(torch.randn(n, 4 * H) * 0.3) for n in (E, H))
        self.bias = nn.Parameter(torch.randn(4 * H) * 0.3)

    def forward(self, x: Tensor, h: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
        i, f, o, g = (x @ self.weight_ih + h @ self.weight_hh + self.bias).chunk(4, dim=1)
        c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
        return torch.sigmoid(o) * torch.tanh(c), c


class WithOwnLSTM(nn.Module):
    """An embedding, `OwnLSTM`, a linear layer."""

    def __init__(self) -> None:
        super().__init__()
        self.emb, self.cell, self.out = nn.Embedding(V, E), OwnLSTM(), nn.Linear(H, V)

    def forward(self, tokens: Tensor) -> Tensor:
        h = c = torch.zeros(len(tokens), H)
        outputs = []
        for x in self.emb(tokens).unbind(1):
            h, c = self.cell(x, h, c)
            outputs.append(self.out(h))
        return torch.stack(outputs, 1)


class GatesOfItsOwn(nn.Module):
    """A cell with the names and the shapes of `nn.GRUCell`, whose update gate stands first."""

    def __init__(self) -> None:
        super().__init__()
        self.emb, self.cell, self.out = nn.Embedding(V, E), nn.GRUCell(E, H), nn.Linear(H, V)

    def forward(self, tokens: Tensor) -> Tensor:
        h, outputs = torch.zeros(len(tokens), H), []
        for x in self.emb(tokens).unbind(1):
            z, r, n = functional.linear(x, self.cell.weight_ih, self.cell.bias_ih).chunk(3, 1)
            of_z, of_r, of_n = functional.linear(h, self.cell.weight_hh, self.cell.bias_hh).chunk(3, 1)
            z, n = torch.sigmoid(z + of_z), torch.tanh(n + torch.sigmoid(r + of_r) * of_n)
            h = z * h + (1 - z) * n
            outputs.append(self.out(h))
        return torch.stack(outputs, 1)


class Mogrifier(nn.Module):
    """Melis et al. (2020): features and state gate each other before the cell reads them."""

    def __init__(self) -> None:
        super().__init__()
        self.emb, self.cell, self.out = nn.Embedding(V, E), nn.LSTMCell(E, H), nn.Linear(H, V)
        self.mogrifier = nn.ModuleList([nn.Linear(H, E), nn.Linear(E, H)])

    def forward(self, tokens: Tensor) -> Tensor:
        h = c = torch.zeros(len(tokens), H)
        outputs = []
        for x in self.emb(tokens).unbind(1):
            features = 2 * torch.sigmoid(self.mogrifier[0](h)) * x
            h, c = self.cell(features, (2 * torch.sigmoid(self.mogrifier[1](features)) * h, c))
            outputs.append(self.out(h))
        return torch.stack(outputs, 1)


class Peepholes(nn.Module):
    """Gers and Schmidhuber (2000): gates that see the cell's state."""

    def __init__(self) -> None:
        super().__init__()
        self.emb, self.out = nn.Embedding(V, E), nn.Linear(H, V)
        self.cell = nn.ModuleDict({f"W_{gate}": nn.Linear(E + H, H) for gate in "ifco"})
        self.peep = _parameters(**{f"p_{gate}": (H,) for gate in "ifo"})

    def forward(self, tokens: Tensor) -> Tensor:
        h = c = torch.zeros(len(tokens), H)
        outputs = []
        for x in self.emb(tokens).unbind(1):
            i, f, g, o = (self.cell[f"W_{gate}"](torch.cat([x, h], 1)) for gate in "ifco")
            i, f = torch.sigmoid(i + self.peep["p_i"] * c), torch.sigmoid(f + self.peep["p_f"] * c)
            c = f * c + i * torch.tanh(g)
            h = torch.sigmoid(o + self.peep["p_o"] * c) * torch.tanh(c)
            outputs.append(self.out(h))
        return torch.stack(outputs, 1)


class Shift(nn.Module):
    """Has an effect and no tensors."""

    def forward(self, value: Tensor) -> Tensor:
        return value + 0.5


class Highway(nn.Module):
    """Srivastava et al. (2015), after the embedding."""

    def __init__(self) -> None:
        super().__init__()
        self.emb, self.linear, self.gate = nn.Embedding(V, E), nn.Linear(E, E), nn.Linear(E, E)
        self.rnn, self.out = lstm(), nn.Linear(H, V)

    def forward(self, tokens: Tensor) -> Tensor:
        x = self.emb(tokens)
        t = torch.sigmoid(self.gate(x))
        x = t * torch.relu(self.linear(x)) + (1 - t) * x
        return self.out(self.rnn(x)[0])  # type: ignore[no-any-return]


class ConcatenatedSkips(nn.Module):
    """The output reads both layers side by side."""

    def __init__(self) -> None:
        super().__init__()
        self.emb, self.lstm1, self.lstm2 = nn.Embedding(V, E), lstm(), lstm(H)
        self.out = nn.Linear(2 * H, V)

    def forward(self, tokens: Tensor) -> Tensor:
        first = self.lstm1(self.emb(tokens))[0]
        return self.out(torch.cat([first, self.lstm2(first)[0]], dim=-1))  # type: ignore[no-any-return]


class Tied(nn.Module):
    """Both in one: the output multiplies by the embedding, after a projection where widths differ."""

    def __init__(self, *, project: bool = False, scale: float = 1.0, width: int = E) -> None:
        super().__init__()
        self.scale = scale
        self.emb, self.rnn = nn.Embedding(V, width if project else H), lstm(width if project else H)
        if project:
            self.proj = nn.Linear(H, width)

    def forward(self, tokens: Tensor) -> Tensor:
        value = self.rnn(self.emb(tokens) * self.scale)[0]
        value = self.proj(value) if hasattr(self, "proj") else value
        return functional.linear(value, self.emb.weight)


class Projected(nn.Module):
    """Tied, after a projection with tanh that is a sequence."""

    def __init__(self) -> None:
        super().__init__()
        self.emb, self.rnn, self.to_emb = nn.Embedding(V, E), lstm(), nn.Sequential(nn.Linear(H, E), nn.Tanh())

    def forward(self, tokens: Tensor) -> Tensor:
        return functional.linear(self.to_emb(self.rnn(self.emb(tokens))[0]), self.emb.weight)


class TanhTwice(nn.Module):
    """One module bends what the recurrent layer gives and what a linear one does."""

    def __init__(self) -> None:
        super().__init__()
        self.emb, self.rnn, self.fc, self.out = nn.Embedding(V, E), lstm(), nn.Linear(H, H), nn.Linear(H, V)
        self.tanh = nn.Tanh()

    def forward(self, tokens: Tensor) -> Tensor:
        return self.out(self.tanh(self.fc(self.tanh(self.rnn(self.emb(tokens))[0]))))  # type: ignore[no-any-return]


class OfAClass(nn.Module):
    """The features of a class are the first state. The embedding is as wide as the vocabulary."""

    def __init__(self) -> None:
        super().__init__()
        self.char_emb, self.country_emb, self.rnn = nn.Embedding(V, V), nn.Embedding(3, H), nn.GRU(V, H)
        self.fc = nn.Linear(H, V)

    def forward(self, tokens: Tensor) -> Tensor:
        state = self.country_emb(torch.ones(1, len(tokens), dtype=torch.long))
        return self.fc(self.rnn(self.char_emb(tokens).transpose(0, 1), state)[0].transpose(0, 1))  # type: ignore[no-any-return]


class BesideAClass(nn.Module):
    """A class of three stands before every token, both one-hot."""

    def __init__(self) -> None:
        super().__init__()
        self.rnn, self.fc = lstm(V + 3), nn.Linear(H, V)

    def forward(self, tokens: Tensor) -> Tensor:
        kinds = functional.one_hot(torch.ones_like(tokens), 3)
        features = torch.cat([kinds, functional.one_hot(tokens, V)], -1)
        return self.fc(self.rnn(features.float())[0])  # type: ignore[no-any-return]


class MixtureOfSoftmaxes(nn.Module):
    """Yang et al. (2018)."""

    def __init__(self, experts: int = 3) -> None:
        super().__init__()
        self.experts = experts
        self.encoder, self.rnn = nn.Embedding(V, E), lstm()
        self.prior, self.latent = nn.Linear(H, experts, bias=False), nn.Sequential(nn.Linear(H, experts * E), nn.Tanh())
        self.decoder = nn.Linear(E, V)

    def forward(self, tokens: Tensor) -> Tensor:
        value = self.rnn(self.encoder(tokens))[0]
        latent = self.latent(value).unflatten(-1, (self.experts, E))
        each = functional.softmax(self.decoder(latent), -1) * functional.softmax(self.prior(value), -1)[..., None]
        return torch.log(each.sum(-2) + 1e-8)


class OwnNorm(nn.Module):
    """A normalisation of one's own: by the standard deviation of n - 1, or by the root mean square."""

    def __init__(self, *, rms: bool) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(H))
        if not rms:
            self.gamma, self.beta = self.weight, nn.Parameter(torch.randn(H))
            del self.weight
        self.rms = rms

    def forward(self, value: Tensor) -> Tensor:
        if self.rms:
            return value * torch.rsqrt(value.square().mean(-1, keepdim=True) + 1e-6) * self.weight
        centred = value - value.mean(-1, keepdim=True)
        return self.gamma * centred / (value.std(-1, keepdim=True) + 1e-6) + self.beta


class ResidualBlocks(nn.Module):
    """LSTM and linear layer in blocks: an activation of the sum, or a sum of the activation."""

    def __init__(self, *, of_sum: bool) -> None:
        super().__init__()
        self.of_sum = of_sum
        self.emb, self.out = nn.Embedding(V, H), nn.Linear(H, V)
        blocks = ({"lstm": lstm(H), "linear": nn.Linear(H, H)} for _ in range(2))
        self.blocks = nn.ModuleList(nn.ModuleDict(block) for block in blocks)

    def forward(self, tokens: Tensor) -> Tensor:
        x = self.emb(tokens)
        for block in self.blocks:
            y = block["linear"](block["lstm"](x)[0])  # type: ignore[index]
            x = functional.elu(x + y) if self.of_sum else x + functional.elu(y)
        return self.out(x)  # type: ignore[no-any-return]


class PastTheLayer(nn.Module):
    """A linear layer from the embedding to the output, beside the recurrent one."""

    def __init__(self) -> None:
        super().__init__()
        self.emb, self.rnn, self.i2o = nn.Embedding(V, H), lstm(H), nn.Linear(H, H)
        self.out = nn.Linear(H, V)

    def forward(self, tokens: Tensor) -> Tensor:
        x = self.emb(tokens)
        return self.out(torch.tanh(self.rnn(x)[0] + self.i2o(x)))  # type: ignore[no-any-return]


class DeepCell(nn.Module):
    """Two layers from state to state: Pascanu et al. (2014). The embedding is as wide as the state.

    bare: without a module of the cell's own.
    """

    def __init__(self, *, bare: bool = False) -> None:
        super().__init__()
        self.emb, self.path = nn.Embedding(V, H), "" if bare else "cell."
        if not bare:
            self.cell = nn.Module()
        for name in ("i2h", "h2h", "h2h2"):
            self.get_submodule(self.path[:-1]).add_module(name, nn.Linear(H, H))
        self.out = nn.Linear(H, V)

    def forward(self, tokens: Tensor) -> Tensor:
        i2h, h2h, h2h2 = (self.get_submodule(self.path + name) for name in ("i2h", "h2h", "h2h2"))
        h, outputs = torch.zeros(len(tokens), H), []
        for x in self.emb(tokens).unbind(1):
            h = torch.tanh(h2h2(torch.tanh(i2h(x) + h2h(h))))
            outputs.append(self.out(h))
        return torch.stack(outputs, 1)


class OwnLayers(nn.Module):
    """Cells of one's own in a list: W x and W h, with a bias each and the output gate third; `W` and `b` everywhere."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.fc = _parameters(W=(V, E)), _parameters(W=(V, H), b=(V,))
        shapes = ({"W_x": (4 * H, n), "W_h": (4 * H, H), "b_x": (4 * H,), "b_h": (4 * H,)} for n in (E, H))
        self.rnns = nn.ModuleList(_parameters(**shape) for shape in shapes)

    def forward(self, tokens: Tensor) -> Tensor:
        states = [(torch.zeros(len(tokens), H), torch.zeros(len(tokens), H)) for _ in self.rnns]
        outputs = []
        for x in self.embed["W"][tokens].unbind(1):
            value = x
            for at, cell in enumerate(self.rnns):
                h, c = states[at]
                gates = value @ cell["W_x"].T + cell["b_x"] + h @ cell["W_h"].T + cell["b_h"]  # type: ignore[index]
                i, f, o, g = gates.chunk(4, dim=1)
                c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
                value = torch.sigmoid(o) * torch.tanh(c)
                states[at] = value, c
            outputs.append(value @ self.fc["W"].T + self.fc["b"])
        return torch.stack(outputs, 1)


def _parameters(**shapes: tuple[int, ...]) -> nn.ParameterDict:
    return nn.ParameterDict({name: nn.Parameter(torch.randn(shape) * 0.3) for name, shape in shapes.items()})
