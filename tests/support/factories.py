"""Networks as their owners write them, for --factory: every way of calling, answering and keeping masks."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

H, W, LEVELS, CLASSES = 4, 5, 4, 3


class Causal(nn.Conv2d):
    """Masks its own weights whenever it runs, in the way that is asked for."""

    def __init__(self, inputs: int, outputs: int, way: str = "data") -> None:
        super().__init__(inputs, outputs, 3, padding=1)
        self.way = way
        mask = torch.ones(3, 3)
        mask[1, 1:] = mask[2] = 0
        self.register_buffer("mask", mask)

    def forward(self, image: Tensor) -> Tensor:
        assert isinstance(self.mask, Tensor)
        if self.way == "data":
            self.weight.data *= self.mask
        elif self.way == "slices":
            self.weight.data[:, :, -1].zero_()
            self.weight.data[:, :, 1, 1:].zero_()
        elif self.way == "no_grad":
            with torch.no_grad():
                self.weight *= self.mask
        elif self.way == "new parameter":
            self.weight = nn.Parameter(self.weight * self.mask)
        return super().forward(image)


class Drawing(nn.Module):
    """A causal convolution and what follows from it."""

    def __init__(self, channels: int = 1, outputs: int | None = None, *, way: str = "data", planes: int = 0) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.first = Causal(planes or channels, 6, way)
        self.last = nn.Conv2d(6, outputs or LEVELS * channels, 1)

    def logits(self, image: Tensor, extra: Tensor | None = None) -> Tensor:
        features = self.first(image)
        logits: Tensor = self.last(torch.tanh(features if extra is None else features + extra))
        return logits

    def forward(self, image: Tensor) -> Any:
        return self.logits(image)


class Answering(Drawing):
    """Returns its logits in some other form."""

    def __init__(self, form: Callable[[Tensor], Any], channels: int = 1, outputs: int | None = None) -> None:
        super().__init__(channels, outputs)
        self.form = form

    def forward(self, image: Tensor) -> Any:
        return self.form(self.logits(image))


class Remembering(Drawing):
    """Keeps ones for the batch that it saw first, counts its calls, and lists what it made."""

    ones: Tensor | None = None

    def __init__(self) -> None:
        super().__init__(planes=2)
        self.calls, self.history = 0, list[Tensor]()

    def forward(self, image: Tensor) -> Any:
        if self.ones is None:
            self.ones = torch.ones_like(image)
        self.calls += 1
        self.history.append(image)
        return self.logits(torch.cat([image, self.ones], 1))


class Squeezing(Drawing):
    """Drops the batch where it is one."""

    def forward(self, image: Tensor) -> Any:
        features = self.first(image).squeeze()
        return self.last(torch.tanh(features.permute(0, 1, 2, 3)))


class Sized(Drawing):
    """Adds a table of places, and so draws in one size alone."""

    def __init__(self) -> None:
        super().__init__()
        self.places = nn.Parameter(torch.randn(1, 6, H, W))

    def forward(self, image: Tensor) -> Any:
        return self.logits(image, self.places)


class Conditional(Drawing):
    """Draws a class, or what else it is told, given as `form` says."""

    def __init__(self, form: str) -> None:
        super().__init__()
        self.form = form
        self.table = nn.Embedding(CLASSES, 6) if form == "label" else nn.Linear(CLASSES, 6)
        self.planes = nn.Conv2d(CLASSES, 6, 1) if form == "planes" else None
        self.matrix = nn.Parameter(torch.randn(6, CLASSES)) if form == "matrix" else None
        self.table = None if form == "matrix" else self.table

    def forward(self, image: Tensor, told: Tensor) -> Any:
        if self.matrix is not None:
            return self.logits(image, (self.matrix @ told.T).T[:, :, None, None])
        extra = self.planes(told) if self.planes is not None else self.table(told)[:, :, None, None]
        return self.logits(image, extra)


class Codes(Drawing):
    """Reads whole numbers: a prior over codes."""

    def __init__(self, form: str) -> None:
        super().__init__(planes=6 if form == "embedding" else LEVELS)
        self.codes = nn.Embedding(LEVELS, 6) if form == "embedding" else None

    def forward(self, codes: Tensor) -> Any:
        planes = self.codes(codes) if self.codes is not None else functional.one_hot(codes, LEVELS).float()
        return self.logits(planes.permute(0, 3, 1, 2)), {"cache": codes}


class AttendingOnce(Drawing):
    """Cannot be streamed: every place looks at the mean of all rows above it."""

    def forward(self, image: Tensor) -> Any:
        features = self.first(image)
        above = functional.pad(features, (0, 0, 1, 0))[:, :, :-1].mean(3, keepdim=True)
        return self.last(torch.tanh(features + above))


class Noisy(Drawing):
    """Dropout that is never off."""

    def forward(self, image: Tensor) -> Any:
        return self.last(functional.dropout(self.first(image), 0.5))


class OverTheBatch(Drawing):
    """Each image is told apart from the mean of all."""

    def forward(self, image: Tensor) -> Any:
        features = self.first(image)
        return self.last(features - features.mean(0, keepdim=True))


class Leaving(Drawing):
    """A class that may be left out."""

    def __init__(self) -> None:
        super().__init__()
        self.classes = nn.Embedding(CLASSES, 6)

    def forward(self, image: Tensor, label: Tensor | None = None) -> Any:
        return self.logits(image, None if label is None else self.classes(label)[:, :, None, None])


class LeavingSecond(Leaving):
    """A class that may be left out, after a picture that may be; and a mask that is a parameter."""

    def __init__(self) -> None:
        super().__init__()
        mask = self.first.mask
        del self.first.mask
        self.first.mask = nn.Parameter(mask, requires_grad=False)

    def __call__(self, image: Tensor, other: Tensor | None = None, label: Tensor | None = None) -> Any:
        return self.forward(image, label)


class Waiting(Drawing):
    """Has a layer that only its training uses."""

    def __init__(self) -> None:
        super().__init__()
        self.auxiliary = nn.Conv2d(6, 1, 1)


class Raising(Drawing):
    """Cannot be called, for a reason of its own."""

    def forward(self, image: Tensor) -> Any:
        features = self.first(image)
        raise RuntimeError(f"Expected all tensors of {len(features)} to be on the same device, cuda:0 and cpu!")


class Lazy(Drawing):
    """Has a layer whose size its first call tells."""

    def __init__(self) -> None:
        super().__init__()
        self.last = nn.LazyConv2d(LEVELS, 1)  # type: ignore[assignment]


class Attention(nn.Module):
    """A language model without a state."""

    def __init__(self) -> None:
        super().__init__()
        self.tokens, self.layer, self.out = nn.Embedding(7, 8), nn.TransformerEncoderLayer(8, 2, 8), nn.Linear(8, 7)

    def forward(self, tokens: Tensor) -> Any:
        return self.out(self.layer(self.tokens(tokens)))


V, E, HIDDEN = 7, 5, 6


class Writing(nn.Module):
    """A language model, called and answering as `form` says."""

    def __init__(self, form: str = "ids", *, cell: type[nn.RNNBase] = nn.LSTM) -> None:
        super().__init__()
        torch.manual_seed(2)
        self.form = form
        one_hot = form.startswith("one-hot")
        self.encoder = None if one_hot else nn.Embedding(V, E)
        batch_first = form in ("ids", "one-hot flat", "residual", "features", "dict")
        self.rnn = cell(V if one_hot else E, HIDDEN, 2, batch_first=batch_first)  # type: ignore[call-arg]
        self.decoder = nn.Linear(HIDDEN, V)

    def init_hidden(self, batch: int) -> Any:
        zeros = torch.zeros(2, batch, HIDDEN)
        return (zeros, zeros.clone()) if isinstance(self.rnn, nn.LSTM) else zeros

    def forward(self, tokens: Tensor, state: Any = None) -> Any:
        features = tokens if self.encoder is None else self.encoder(tokens)
        if self.form == "token by token":
            outputs, state = self.rnn(features.view(1, len(tokens), -1), state)
            return self.decoder(outputs[0]), state
        outputs, state = self.rnn(features, state)
        if self.form == "features":
            return outputs, state
        if self.form == "residual":
            outputs = outputs + self.rnn(features)[0].roll(1, 2)
        logits = self.decoder(outputs)
        if self.form == "time-major log-probabilities":
            return functional.log_softmax(logits.view(-1, V), dim=1), state
        if self.form == "one-hot flat":
            return logits.reshape(-1, V), state
        return {"logits": logits} if self.form == "dict" else logits if self.form == "ids" else (logits, state)


class Keeping(Writing):
    """Keeps its state as an attribute."""

    state: Any = None

    def __init__(self) -> None:
        super().__init__("time-major")

    def init_hidden(self, batch: int) -> Any:
        self.state = super().init_hidden(batch)

    def forward(self, tokens: Tensor, state: Any = None) -> Any:
        logits, self.state = super().forward(tokens, self.state)
        return logits


class Lengths(Writing):
    """Is told how long each text is."""

    def forward(self, tokens: Tensor, lengths: Tensor) -> Any:
        packed = nn.utils.rnn.pack_padded_sequence(self.encoder(tokens), lengths, batch_first=True)  # type: ignore[misc]
        return self.decoder(nn.utils.rnn.pad_packed_sequence(self.rnn(packed)[0], batch_first=True)[0]), lengths


class LengthsAndState(Writing):
    """Must be told both, lengths in a list."""

    def forward(self, tokens: Tensor, lengths: list[int], state: Any) -> Any:  # type: ignore[override]
        assert isinstance(lengths, list)
        features = nn.utils.rnn.pack_padded_sequence(self.encoder(tokens.T), lengths)  # type: ignore[misc]
        outputs, state = self.rnn(features, state)
        return self.decoder(nn.utils.rnn.pad_packed_sequence(outputs, batch_first=True)[0]), state


class TwoStates(Writing):
    """Takes and returns the hidden and the cell state apart."""

    def init_state(self, batch: int) -> Any:
        return super().init_hidden(batch)

    def forward(self, tokens: Tensor, hidden: Tensor, cell: Tensor) -> Any:  # type: ignore[override]
        outputs, (hidden, cell) = self.rnn(self.encoder(tokens), (hidden, cell))  # type: ignore[misc]
        return self.decoder(outputs), hidden, cell


class Forgetful(Writing):
    """Dropout that is never off."""

    def forward(self, tokens: Tensor, state: Any = None) -> Any:
        return functional.dropout(super().forward(tokens), 0.5), state


class Padding(Writing):
    """Takes token 0 for what fills a text up, wherever it stands, and says nothing of so many at its end."""

    def forward(self, tokens: Tensor, state: Any = None) -> Any:
        lengths = (tokens != 0).sum(1, keepdim=True).clamp(min=1)
        visible = torch.arange(tokens.shape[1]) < lengths
        return super().forward(tokens) * visible[:, :, None], state


class Listing(Writing):
    """Cuts the end token 1 out of its texts, and returns a list of what it says at each step."""

    def forward(self, tokens: Tensor, state: Any = None) -> Any:
        texts = tokens[tokens != 1].view(len(tokens), -1)
        return list(functional.log_softmax(super().forward(texts), 2).unbind(1)), state


class Single(Writing):
    """Reads a token of one text at a time."""

    def init_hidden(self, batch: int = 1) -> Any:
        return super().init_hidden(1)

    def forward(self, tokens: Tensor, state: Any) -> Any:
        outputs, state = self.rnn(self.encoder(tokens.view(1, -1)).view(1, 1, -1), state)  # type: ignore[misc]
        return self.decoder(outputs.view(1, -1)), state


def _levels_last(logits: Tensor) -> Tensor:
    """[batch, channels * levels, h, w] -> [batch, channels, h, w, levels]."""
    batch, _, height, width = logits.shape
    return logits.view(batch, -1, LEVELS, height, width).permute(0, 1, 3, 4, 2)


def broken() -> nn.Module:
    """Weights that are no numbers."""
    module = Drawing()
    nn.init.constant_(module.last.bias, torch.nan)  # type: ignore[arg-type]
    return module


def wrapped() -> nn.Module:
    """As a script has it that trains on several devices, compiled, in halves of precision."""
    return nn.DataParallel(torch.compile(Drawing().half(), backend="eager"))  # type: ignore[arg-type]


def scripted() -> nn.Module:
    return torch.jit.script(nn.Conv2d(1, 4, 1))  # type: ignore[no-any-return]


def empty() -> nn.Module:
    with torch.device("meta"):
        return Drawing()


masks_data, masks_slices, masks_no_grad, masks_new_parameter = (
    partial(Drawing, way=way) for way in ("data", "slices", "no_grad", "new parameter")
)
one_channel = partial(Answering, lambda logits: logits[:, :, None])
in_a_row = partial(Drawing, 3)
levels_last = partial(Answering, _levels_last, 3)
flat_places = partial(Answering, lambda logits: logits.flatten(2).transpose(1, 2))
pair = partial(Answering, lambda logits: (logits.mean(), [logits]))
mapping = partial(Answering, lambda logits: {"loss": logits.mean(), "logits": logits})
alike = partial(Answering, lambda logits: (logits.exp(), logits))
probabilities = partial(Answering, lambda logits: logits.softmax(1))
probability = partial(Answering, torch.sigmoid, 1, 1)
mixture = partial(Drawing, 3, 30)
label, one_hot, vector, planes, matrix = (
    partial(Conditional, form) for form in ("label", "one-hot", "vector", "planes", "matrix")
)
codes, codes_one_hot = partial(Codes, "embedding"), partial(Codes, "one-hot")
levels_as_planes = partial(Drawing, planes=LEVELS)
ids, features, residual, as_mapping, token_by_token, time_major, flat_one_hot, with_state = (
    partial(Writing, form)
    for form in (
        "ids",
        "features",
        "residual",
        "dict",
        "token by token",
        "time-major log-probabilities",
        "one-hot flat",
        "time-major",
    )
)
