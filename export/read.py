"""Recognises networks over images by the shapes and the names of their tensors."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from export.assumptions import Answers
from export.checkpoints.checkpoint import Checkpoint
from export.checkpoints.load import load_checkpoint
from export.images.factory import read_factory
from export.images.gated import read_gated
from export.images.layers import find_layers
from export.images.pixelcnnpp import read_pixelcnnpp
from export.images.single_stack import read_single
from export.reader import Reading, ReadOptions
from export.text.read import read_text, refuse_foreign
from export.training.native import read_trained
from tui_gen.errors import TuiGenError


def read_image(checkpoint: Checkpoint, options: ReadOptions) -> Reading | None:
    """The reading of a PixelCNN; None if there is nothing of convolutions in it.

    Raises TuiGenError for convolutions that make no network that is known.
    """
    layers = find_layers(checkpoint.tensors)
    if not layers.convs:
        return None
    for reader in (read_gated, read_single):
        answers = Answers(options, checkpoint)
        reading = reader(layers, answers)
        if reading:
            answers.check_all_used()
            return reading
    first = layers.convs[0]
    beside = f"; of no known use are {', '.join(layers.left[:3])}" if layers.left else ""
    raise TuiGenError(
        f"it has {len(layers.convs)} convolutions, from {first.name} {list(first.weight.shape)} on, which make no "
        f"network that is known{beside}; a network over images can be exported with --factory package.module:function"
    )


_READERS: tuple[Callable[[Checkpoint, ReadOptions], Reading | None], ...] = (read_text, read_pixelcnnpp, read_image)


def read(path: Path | None, options: ReadOptions, *, factory: str | None = None) -> tuple[Checkpoint | None, Reading]:
    """What a file is. Raises TuiGenError that says why it cannot be converted.

    factory: `package.module:function` of a network that only its owner can build; its weights come from the file, if
    one is given.
    """
    weights = options.assume.get("weights", "")
    options = replace(options, assume={key: told for key, told in options.assume.items() if key != "weights"})
    found = None if path is None else load_checkpoint(path, weights=weights)
    if factory:
        return found, read_factory(factory, found, options)
    if path is None or found is None:
        raise TuiGenError("name a checkpoint file, or a --factory that builds the network")
    trained = read_trained(found)
    if trained:
        return replace(found, notes=()), trained  # what it chose among its own parts is nobody's question
    return found, _read(path, found, options)


def _read(path: Path, found: Checkpoint, options: ReadOptions) -> Reading:
    for reader in _READERS:
        reading = reader(found, options)
        if reading:
            return reading
    refuse_foreign(found)
    raise TuiGenError(
        f"{path} holds neither a recurrent language model nor a PixelCNN that is recognised ({_glance(found)}); a text "
        "model needs weights of RNN, LSTM or GRU layers under names that tell their gates; a network over images can "
        "be exported with --factory package.module:function"
    )


def _glance(found: Checkpoint) -> str:
    names = list(found.tensors)
    shown = ", ".join(f"{name} {list(found.tensors[name].shape)}" for name in names[:3])
    return f"{len(names)} tensors: {shown}" + (", ..." if len(names) > 3 else "") if names else "no tensors"
