"""The trainer's checkpoint files: everything to resume from and to export, and nothing that needs code to load."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from export.training.networks import (
    BookConfig,
    BookPixelCNN,
    NetworkConfig,
    PictureNet,
    PixelCNN,
    PixelCNNConfig,
    RecurrentConfig,
    RecurrentNet,
    TrainedNet,
    TwoStackPixelCNN,
)
from tui_gen.errors import TuiGenError


def _picture_network(config: PixelCNNConfig) -> PictureNet:
    return TwoStackPixelCNN(config) if config.stacks == 2 else PixelCNN(config)


_NETWORKS: dict[str, tuple[type[Any], Callable[[Any], Any]]] = {
    "recurrent": (RecurrentConfig, RecurrentNet),
    "pixelcnn": (PixelCNNConfig, _picture_network),
    "book": (BookConfig, BookPixelCNN),
}
KEYS = {"options", "network", "card", "tokenizer", "weights", "log"}
"""What `export.train` writes and an export needs."""


def describe_network(config: NetworkConfig) -> dict[str, Any]:
    """A network's sizes as plain values; `build_network` turns them back."""
    family = next(name for name, (kind, _) in _NETWORKS.items() if isinstance(config, kind))
    return {"family": family, **asdict(config)}


def build_network(description: dict[str, Any]) -> TrainedNet:
    """A network with fresh weights from `describe_network`'s values."""
    config_of, network = _NETWORKS[description["family"]]
    config = config_of(**{key: value for key, value in description.items() if key != "family"})
    built: TrainedNet = network(config)
    return built


def save(path: Path, contents: dict[str, Any]) -> None:
    """Writes a checkpoint whole or not at all: whatever happens, the previous one stays until the new one is safe."""
    partial = path.with_suffix(".partial")
    with partial.open("wb") as file:
        torch.save(contents, file)
        file.flush()
        os.fsync(file.fileno())
    os.replace(partial, path)


def load(path: Path) -> dict[str, Any]:
    """Reads a checkpoint that `export.train` wrote, without running anything in it. Raises TuiGenError otherwise."""
    try:
        contents = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError as fault:
        raise TuiGenError(f"{path} does not exist") from fault
    except Exception as fault:  # torch raises whatever its readers meet in a damaged file
        reason = str(fault).strip().splitlines() or [type(fault).__name__]
        raise TuiGenError(f"{path} is not a checkpoint that can be read: {reason[0]:.200}") from fault
    if not isinstance(contents, dict) or not contents.keys() >= KEYS:
        raise TuiGenError(f"{path} was not written by export.train; only such checkpoints can be exported")
    return contents


def trained_network(contents: dict[str, Any]) -> TrainedNet:
    """The network of a checkpoint with its averaged weights, ready to evaluate. Raises TuiGenError if they disagree."""
    try:
        net = build_network(contents["network"])
        net.load_state_dict(contents["weights"])
    except (KeyError, TypeError, RuntimeError) as fault:
        reason = " ".join(str(fault).split())
        raise TuiGenError(f"the checkpoint's weights do not fit the network it describes: {reason:.200}") from fault
    return net.eval()
