"""Reads a checkpoint file: the first reader that recognises its network says what it is and builds it."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from tui_gen.errors import TuiGenError
from tui_gen.terminal_text import scrub_line

from .assumptions import OF_PICTURES, OF_TEXTS, Assumptions
from .checkpoints.checkpoint import Checkpoint
from .checkpoints.load import load_checkpoint
from .factory.read import read_factory
from .images.gated import read_gated
from .images.layers import find_layers, obstacle, refuse_classifier
from .images.pixelcnnpp import read_pixelcnnpp
from .images.single_stack import read_single
from .reader import Missing, Reading, ReadOptions
from .text.metadata import refuse_foreign
from .text.read import read_text
from .training.native import read_trained

_LONGEST_LIST = 6
_MAX_LISTING = 600
_VOCABULARY = re.compile(
    r"(vocab|^meta\.|tokenizer|alphabet|stoi|itos|(char|word|token|idx|ix|int|id)s?_?(2|to)_?[a-z]).*"
    r"\.(json|txt|pkl|pickle)$",
    re.IGNORECASE,
)
"""What scripts call the file of a vocabulary."""


def read(path: Path | None, options: ReadOptions, *, factory: str | None = None) -> tuple[Checkpoint | None, Reading]:
    """What a file is. Raises TuiGenError that says why it cannot be converted.

    factory: `package.module:function` of a network that only its owner can build; its weights come from the file, if
    one is given.
    """
    weights = options.assume.get("weights", "")
    options = replace(options, assume={key: answer for key, answer in options.assume.items() if key != "weights"})
    checkpoint = None if path is None else load_checkpoint(path, weights=weights)
    if factory:
        return checkpoint, _with_choice(read_factory(factory, checkpoint, options), checkpoint)
    if path is None or checkpoint is None:
        raise TuiGenError("name a checkpoint file, or a --factory that builds the network")
    _refuse_without_numbers(checkpoint)
    native = read_trained(checkpoint, path)
    if native:
        idle = dict.fromkeys((*OF_PICTURES, *OF_TEXTS), "whose file has all that the trainer knows")
        Assumptions(options, checkpoint).check_all_used(idle)
        return replace(checkpoint, notes=()), native  # what it chose among its own parts is nobody's question
    try:
        return checkpoint, _with_choice(_with_neighbours(_recognise(path, checkpoint, options), path), checkpoint)
    except TuiGenError as fault:
        if not checkpoint.others or str(fault).startswith("--"):  # of an answer, not of the network
            raise
        others = scrub_line(", ".join(checkpoint.others[:_LONGEST_LIST])[:_MAX_LISTING])
        raise TuiGenError(
            f"{fault}; if only a part of the file is to be played: --assume weights=NAME, of {others}"
        ) from None


def _refuse_without_numbers(checkpoint: Checkpoint) -> None:
    """Raises TuiGenError for weights of no size, and for those of a training that went astray."""
    for name, tensor in checkpoint.tensors.items():
        if "weight" in name and not tensor.numel():
            raise TuiGenError(f"{scrub_line(name)} {list(tensor.shape)} holds no numbers: no layer has such weights")
        if tensor.dtype.itemsize > 1 and tensor.is_floating_point() and bool(tensor.isnan().any()):
            raise TuiGenError(
                f"{scrub_line(name)} holds NaN, which is no number: its training went astray; take an earlier file"
            )


def _with_choice(reading: Reading, checkpoint: Checkpoint | None) -> Reading:
    """With what was guessed of the networks in the file."""
    choice = checkpoint.choice if checkpoint else None
    if choice is None:
        return reading
    usage = f"--assume weights={'|'.join(choice.others)}"
    missing = Missing("which of its networks is to be played", usage, choice.name, tuple(choice.others))
    return replace(reading, diagnosis=replace(reading.diagnosis, missing=(missing, *reading.diagnosis.missing)))


def _with_neighbours(reading: Reading, path: Path) -> Reading:
    """With a note on files beside the checkpoint that may have the vocabulary, where it is not told."""
    diagnosis = reading.diagnosis
    if not any(missing.option.startswith("--vocab") for missing in diagnosis.missing):
        return reading
    folder = path if path.is_dir() else path.parent
    files = sorted(file for file in folder.iterdir() if _VOCABULARY.search(file.name) and file.is_file())
    if not files:
        return reading
    note = f"{', '.join(file.name for file in files[:_LONGEST_LIST])} beside it may be its vocabulary: "
    note += f"--vocab {shlex.quote(str(files[0]))}"
    return replace(reading, diagnosis=replace(diagnosis, notes=(*diagnosis.notes, note)))


def _recognise(path: Path, checkpoint: Checkpoint, options: ReadOptions) -> Reading:
    for reader in _READERS:
        reading = reader(checkpoint, options)
        if reading:
            return reading
    refuse_foreign(checkpoint)
    if not checkpoint.tensors:
        inside = f"it holds {', '.join([*checkpoint.facts][:_LONGEST_LIST])}" if checkpoint.facts else "none has a name"
        raise TuiGenError(
            f"{path} holds no weights of a network ({scrub_line(inside[:_MAX_LISTING])}); name the file that has them; "
            "--vocab takes that of a vocabulary"
        )
    raise TuiGenError(
        f"{path} holds neither a recurrent language model nor a PixelCNN that is recognised ({_glance(checkpoint)}); a "
        "text model needs weights of RNN, LSTM or GRU layers under names that tell their gates; a network over images "
        "can be exported with --factory package.module:function"
    )


def read_image(checkpoint: Checkpoint, options: ReadOptions) -> Reading | None:
    """The reading of a PixelCNN; None if there is nothing of convolutions in it.

    Raises TuiGenError for convolutions that make no network that is known.
    """
    layers = find_layers(checkpoint.tensors, checkpoint.modules)
    if not layers.convs:
        return None
    for reader in (read_gated, read_single):
        assumptions = Assumptions(options, checkpoint)
        reading = reader(layers, assumptions)
        if reading:
            assumptions.check_all_used(OF_TEXTS)
            return reading
    layers = layers.without(assumptions.names("ignore", "NAME,NAME"))
    refuse_classifier(layers)
    first = layers.convs[0]
    raise TuiGenError(
        f"it has {len(layers.convs)} convolutions, from {first.name} {list(first.weight.shape)} on, which make no "
        f"network that is known{obstacle(layers)}; a network over images can be exported with "
        "--factory package.module:function"
    )


_READERS: tuple[Callable[[Checkpoint, ReadOptions], Reading | None], ...] = (read_text, read_pixelcnnpp, read_image)


def _glance(checkpoint: Checkpoint) -> str:
    names = list(checkpoint.tensors)
    listing = ", ".join(f"{name} {list(checkpoint.tensors[name].shape)}" for name in names[:3])
    return f"{len(names)} tensor{'s' * (len(names) > 1)}: {listing}" + (", ..." if len(names) > 3 else "")
