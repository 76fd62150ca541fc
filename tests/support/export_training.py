"""Tiny networks of the trainer, the models exported from them, tiny data files, and trainings on them."""

from __future__ import annotations

import gzip
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray

from export.training.native import network_of
from export.training.networks import (
    BookConfig,
    BookPixelCNN,
    CellName,
    PictureNet,
    PixelCNNConfig,
    RecurrentConfig,
    RecurrentNet,
    TrainedNet,
    build_network,
)
from export.training.presets import PRESETS, Training
from export.training.trainer import Options, Trainer
from tui_gen.card import ImageSpec, ModelCard
from tui_gen.runtime.model import Model

RECURRENT: dict[str, tuple[CellName, int]] = {
    "rnn": ("rnn", 1),
    "lstm": ("lstm", 1),
    "stacked lstm": ("lstm", 3),
    "gru": ("gru", 1),
    "stacked gru": ("gru", 2),
}
PIXELCNN: dict[str, dict[str, Any]] = {
    "plain": {"gated": False},
    "plain, grey, 5x5, conditions": {"gated": False, "one_hot": False, "kernel": 5, "conditions": 4},
    "plain, one block": {"gated": False, "blocks": 1, "conditions": 2},
    "gated": {},
    "gated, grey": {"one_hot": False, "height": 7, "width": 9},
    "gated, 5x5": {"kernel": 5, "height": 9, "width": 7},
    "gated, one block, conditions": {"blocks": 1, "conditions": 3},
    "gated, conditions": {"conditions": 5, "kernel": 5},
    "narrower than the 7x7 kernel": {"width": 4, "kernel": 5},
    "as narrow as half a kernel": {"width": 3, "kernel": 7},
    "one pixel wide": {"width": 1, "height": 9, "kernel": 5},
    "one pixel high": {"width": 9, "height": 1, "conditions": 2},
    "two stacks": {"stacks": 2, "width": 9, "conditions": 3},
    "two stacks, 5x5": {"stacks": 2, "width": 10, "kernel": 5, "one_hot": False, "height": 4},
}
BOOK = "the book's"
PICTURES = (*PIXELCNN, BOOK)


def recurrent(cell: CellName = "lstm", layers: int = 1, *, vocab_size: int = 13) -> RecurrentNet:
    """A network with random weights."""
    torch.manual_seed(layers)
    return RecurrentNet(RecurrentConfig(cell, vocab_size, embedding=5, hidden=7, layers=layers)).eval()


def pixelcnn(**sizes: Any) -> PictureNet:
    """A network with random weights, also where training starts from zeros; 3 blocks on 6x5 pixels by default."""
    torch.manual_seed(1)
    defaults = {"height": 6, "width": 5, "levels": 4, "channels": 8, "blocks": 3, "head": 6}
    net = build_network(PixelCNNConfig(**{**defaults, **sizes})).eval()
    assert not isinstance(net, RecurrentNet | BookPixelCNN)
    for learned in (net.rows, net.columns, net.condition):
        torch.nn.init.normal_(learned)
    return net


def book() -> BookPixelCNN:
    """The book's network with random weights."""
    torch.manual_seed(1)
    return BookPixelCNN(BookConfig(6, 5, 4, filters=8, blocks=3)).eval()


def network(name: str) -> TrainedNet:
    """One of the networks of RECURRENT and PIXELCNN, or the book's."""
    if name == BOOK:
        return book()
    return recurrent(*RECURRENT[name]) if name in RECURRENT else pixelcnn(**PIXELCNN[name])


def card_of(net: TrainedNet) -> ModelCard:
    """As little as a player needs to know."""
    if isinstance(net, RecurrentNet):
        return ModelCard("tiny", "text", net.config.label, net.config.vocab_size, bos=0)
    config = net.config
    conditions = tuple(range(config.start + 1, config.vocab_size))
    spec = ImageSpec(config.height, config.width, config.levels, conditions=conditions)
    card = ModelCard("tiny", "image", config.label, config.levels, bos=config.start, image=spec)
    return network_of(net).completed(card)


def step_graph(net: TrainedNet) -> onnx.ModelProto:
    """The network's step function."""
    return network_of(net).step_graph()


def sequence_logits(net: TrainedNet, tokens: NDArray[np.int64]) -> NDArray[np.float32]:
    """PyTorch's logits by the full forward pass: of a picture, those after the last token of the prompt and later."""
    logits: NDArray[np.float32] = network_of(net).sequence_logits(torch.from_numpy(tokens)).numpy()
    return logits


def exported(net: TrainedNet) -> Model:
    """The network's step function, as the player opens it."""
    return Model(step_graph(net).SerializeToString(), card_of(net), provider="cpu")


def random_sequences(net: TrainedNet, batch: int, *, prefix: int = 3, seed: int = 0) -> NDArray[np.int64]:
    """Tokens [batch, n]: 30 of a text, or `prefix` start and condition tokens and all pixels but the last.

    Where the step function has to warm up, those tokens follow the prefix.
    """
    rng = np.random.default_rng(seed)
    if isinstance(net, RecurrentNet):
        return rng.integers(net.config.vocab_size, size=(batch, 30))
    config = net.config
    tokens = np.full((batch, prefix), config.start)
    if config.conditions:
        tokens[:, 1:] = rng.integers(config.start + 1, config.vocab_size, size=(batch, prefix - 1))
    warm_up = np.tile(np.array(card_of(net).image.warm_up, dtype=np.int64), (batch, 1))
    pixels = rng.integers(config.levels, size=(batch, config.height * config.width - 1))
    return np.concatenate([tokens, warm_up, pixels], axis=1)


def write_data(preset: str, folder: Path) -> Path:
    """A small data file for a preset; returns what `--data` names."""
    path = folder / preset
    _WRITERS[preset](path)
    return path


def _write_recipes(path: Path) -> None:
    methods = ("roasted", "Boiled", "baked", "fried", "stewed", "cold", "pickled", "plain")
    foods = ("vegetables", "Eggs", "apples", "fish", "rice", "ham", "pears", "beans", "plums", "corn")
    rows = [
        {"title": f"{how} {what}", "text": f"Take 1/2 cup of {what}, well-beaten. Then {how} it." + " Stir." * (at % 4)}
        for how in methods
        for at, what in enumerate(foods)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def _write_names(path: Path) -> None:
    middles, ends = ("ri", "na", "ta", "le", "se"), ("", "n", "sa", "ros")
    names = [first + middle + end for first in ("ma", "jo", "li", "su") for middle in middles for end in ends]
    path.write_text("\n".join(names) + "\n", encoding="utf-8")


def _write_shakespeare(path: Path) -> None:
    path.write_text("ROMEO:\nBut soft, what light breaks?\n\nJULIET:\nAy me!\n\n" * 150, encoding="utf-8")


def _write_grimm(path: Path) -> None:
    path.mkdir()
    for name in ("one", "two"):
        (path / f"{name}.txt").write_text(f"There was once a {name}.\n" * 300, encoding="utf-8")


def _write_fashion(path: Path) -> None:
    """9 wide: narrower, and two stacks would run over the whole picture for every pixel."""
    path.mkdir()
    rng = np.random.default_rng(0)
    for part, count in (("train", 80), ("t10k", 20)):
        labels = rng.integers(10, size=count)
        pixels = np.broadcast_to(25 * labels[:, None, None], (count, 5, 9))
        write_idx(path / f"{part}-labels-idx1-ubyte.gz", labels)
        write_idx(path / f"{part}-images-idx3-ubyte.gz", pixels)


def write_idx(path: Path, values: NDArray[Any]) -> None:
    """The format of MNIST's files."""
    header = bytes([0, 0, 8, values.ndim]) + np.array(values.shape, ">u4").tobytes()
    path.write_bytes(gzip.compress(header + values.astype(np.uint8).tobytes()))


def _write_adventurers(path: Path) -> None:
    kinds = ("elf woman, red cloak", "Elf woman,  red  cloak , bow", "orc, bow", "orc")
    captions = np.array([kinds[index % 4] for index in range(60)])
    pixels = np.stack([np.full((6, 7), index % 4) for index in range(60)]).astype(np.uint8)
    palette = np.array([[0, 0, 0], [250, 0, 0], [0, 250, 0], [9, 9, 9]], dtype=np.uint8)
    with path.open("wb") as file:
        np.savez(file, pixels=pixels, palette=palette, captions=captions)


_WRITERS = {
    "recipes": _write_recipes,
    "names": _write_names,
    **{f"recipes-{cell}": _write_recipes for cell in ("lstm", "gru", "rnn")},
    "grimm": _write_grimm,
    "shakespeare": _write_shakespeare,
    "fashion": _write_fashion,
    "digits": _write_fashion,
    "fashion-book": _write_fashion,
    "adventurers": _write_adventurers,
}


_SMALL: dict[type, dict[str, int]] = {
    RecurrentConfig: {"embedding": 8, "hidden": 16},
    PixelCNNConfig: {"channels": 8, "blocks": 2, "head": 8},
    BookConfig: {"filters": 8, "blocks": 2},
}


def training(preset: str, folder: Path, *, batch_size: int = 8, **sizes: Any) -> Training:
    """A preset on small data, with a small network; sizes: what to change in that."""
    setup = PRESETS[preset].prepare(write_data(preset, folder), batch_size)
    small = {**_SMALL[type(setup.network)], **sizes}
    return replace(setup, network=replace(setup.network, **small), sample_length=20)


def trainer(
    setup: Training, directory: Path, *, epochs: int = 2, bfloat16: bool = False, seed: int = 0, **changes: Any
) -> Trainer:
    """A run that learns fast enough for a test."""
    directory.mkdir(exist_ok=True)
    options = Options(
        setup.card.name,
        epochs,
        batch_size=8,
        learning_rate=0.05,
        ema=0.9,
        seed=seed,
        precision="bf16" if bfloat16 else "fp32",
        data="",
    )
    return Trainer(options, setup, directory, "cpu", **changes)
