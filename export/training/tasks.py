"""What a network is trained on: batches and loss, for documents, for one long text and for pictures."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from tui_gen.sampling.params import FREE, Mask, Tokens

from .data import Images, Texts, pad
from .networks import HiddenState, PictureNet, RecurrentNet

Batch = tuple[Tensor, ...]


def in_unit(nats: float, unit: str) -> float:
    """A loss in its unit."""
    return nats / math.log(2) if unit.startswith("bits") else nats


class Task(Protocol):
    """Data in the shape in which a network learns from it."""

    @property
    def unit(self) -> str:
        """What a loss is counted in."""
        ...

    def __len__(self) -> int:
        """Batches in an epoch."""
        ...

    def train_batches(self, rng: np.random.Generator) -> Iterator[Batch]:
        """One epoch in random order."""
        ...

    def held_out_batches(self) -> Iterator[Batch]:
        """The held-out data, or a fixed part of it that is quick to score."""
        ...

    def loss(self, net: Any, batch: Batch) -> tuple[Tensor, int]:
        """Mean loss in nats per predicted token, and how many tokens that was."""
        ...


@dataclass
class TextTask:
    """What the tasks of texts share."""

    texts: Texts
    batch_size: int

    @property
    def unit(self) -> str:
        return self.texts.unit


@dataclass
class DocumentTask(TextTask):
    """Documents of about equal length together, padded at the end; padding does not count."""

    def __len__(self) -> int:
        return math.ceil(len(self.texts.train) / self.batch_size)

    def train_batches(self, rng: np.random.Generator) -> Iterator[Batch]:
        """Sorted by length with some jitter, so that neighbours change from epoch to epoch."""
        length = np.array([len(document) for document in self.texts.train])
        order = np.argsort(length * rng.uniform(0.9, 1.1, len(length)))
        batches = [order[at : at + self.batch_size] for at in range(0, len(order), self.batch_size)]
        for number in rng.permutation(len(batches)):
            yield _batch([self.texts.train[index] for index in batches[number]])

    def held_out_batches(self) -> Iterator[Batch]:
        documents = sorted(self.texts.held_out, key=len)
        for at in range(0, len(documents), self.batch_size):
            yield _batch(documents[at : at + self.batch_size])

    def loss(self, net: RecurrentNet, batch: Batch) -> tuple[Tensor, int]:
        inputs, targets = batch
        logits, _ = net(inputs)
        mean = functional.cross_entropy(logits.flatten(0, 1), targets.flatten(), ignore_index=FREE)
        return mean, int((targets != FREE).sum())


def _batch(documents: list[Tokens]) -> Batch:
    """Inputs and targets; `FREE` targets are padding."""
    tokens = torch.from_numpy(pad(documents))
    return tokens[:, :-1].clamp(min=0), tokens[:, 1:]


@dataclass
class StreamTask(TextTask):
    """One long text, cut into parallel streams; the hidden state is carried from window to window."""

    window: int = 128
    _state: HiddenState | None = None

    def __len__(self) -> int:
        return max(0, len(self.texts.train[0]) - self.window) // self.batch_size // self.window

    def train_batches(self, rng: np.random.Generator) -> Iterator[Batch]:
        """From a random first character, so that windows change from epoch to epoch."""
        yield from self._windows(self.texts.train[0][int(rng.integers(self.window)) :])

    def held_out_batches(self) -> Iterator[Batch]:
        yield from self._windows(self.texts.held_out[0])

    def loss(self, net: RecurrentNet, batch: Batch) -> tuple[Tensor, int]:
        inputs, targets = batch
        logits, state = net(inputs, self._state)
        self._state = tuple(part.detach() for part in state)
        return functional.cross_entropy(logits.flatten(0, 1), targets.flatten()), targets.numel()

    def _windows(self, ids: Tokens) -> Iterator[Batch]:
        self._state = None
        width = (len(ids) - 1) // self.batch_size
        streams = ids[: width * self.batch_size + 1]
        inputs = torch.from_numpy(streams[:-1].reshape(self.batch_size, width))
        targets = torch.from_numpy(streams[1:].reshape(self.batch_size, width))
        for at in range(0, width - self.window + 1, self.window):
            yield inputs[:, at : at + self.window], targets[:, at : at + self.window]
        self._state = None


@dataclass
class ImageTask:
    """Pictures with their conditions, some of which are dropped so that prompts may be short or empty."""

    images: Images
    batch_size: int
    drop_condition: float = 0.2
    short_prompts: float = 0.25
    """Share of pictures that drop conditions at a rate of their own, from none to all, so that prompts may be short."""
    quick: int = 1024
    """Held-out pictures scored after every epoch."""
    unit: str = "bits per pixel"

    def __len__(self) -> int:
        return max(0, self.images.train) // self.batch_size

    def train_batches(self, rng: np.random.Generator) -> Iterator[Batch]:
        order = rng.permutation(self.images.train)
        for at in range(0, len(self) * self.batch_size, self.batch_size):
            rows = order[at : at + self.batch_size]
            yield self._batch(rows, self.images.conditions[rows] * self._condition_mask(rng, len(rows)))

    def _condition_mask(self, rng: np.random.Generator, pictures: int) -> Mask:
        """bool[pictures, conditions]: which conditions stay."""
        own = rng.random(pictures) < self.short_prompts
        rate = np.where(own, rng.random(pictures), self.drop_condition)
        return rng.random((pictures, len(self.images.phrases))) >= rate[:, None]

    def held_out_batches(self) -> Iterator[Batch]:
        first = self.images.train
        for at in range(first, first + min(self.quick, self.images.held_out), self.batch_size):
            rows = np.arange(at, min(at + self.batch_size, len(self.images.pixels)))
            yield self._batch(rows, self.images.conditions[rows])

    def loss(self, net: PictureNet, batch: Batch) -> tuple[Tensor, int]:
        pixels, conditions = batch
        logits = net(net.encode(pixels), conditions)
        return functional.cross_entropy(logits, pixels), pixels.numel()

    def _batch(self, rows: Tokens, conditions: NDArray[np.uint8]) -> Batch:
        pixels = torch.from_numpy(self.images.pixels[rows].astype(np.int64))
        return pixels, torch.from_numpy(conditions.astype(np.float32))
