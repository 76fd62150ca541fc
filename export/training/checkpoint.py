"""The trainer's checkpoint files: everything to resume from and to export, and nothing that needs code to load."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from tui_gen.errors import TuiGenError

from .networks import (
    BookConfig,
    NetworkConfig,
    PixelCNNConfig,
    RecurrentConfig,
    TrainedNet,
    build_network,
)

_FAMILIES: dict[str, type[NetworkConfig]] = {
    "recurrent": RecurrentConfig,
    "pixelcnn": PixelCNNConfig,
    "book": BookConfig,
}
DESCRIPTION = {"options", "network", "card", "tokenizer", "log"}
"""What an export needs besides the weights."""


def describe_network(config: NetworkConfig) -> dict[str, Any]:
    """A network's sizes as plain values, which `load_network` reads."""
    family = next(name for name, kind in _FAMILIES.items() if isinstance(config, kind))
    return {"family": family, **asdict(config)}


def load_network(description: Mapping[str, Any], weights: Mapping[str, Tensor]) -> TrainedNet:
    """The network of `describe_network`'s values, ready to evaluate. Raises TuiGenError if its weights do not fit."""
    try:
        sizes = {key: value for key, value in description.items() if key != "family"}
        net = build_network(_FAMILIES[description["family"]](**sizes))
        net.load_state_dict(weights)
    except (KeyError, TypeError, RuntimeError) as fault:
        reason = " ".join(str(fault).split())
        raise TuiGenError(f"the checkpoint's weights do not fit the network it describes: {reason:.200}") from fault
    return net.eval()


def save(path: Path, contents: dict[str, Any]) -> None:
    """Writes a checkpoint whole or not at all: whatever happens, the previous one stays until the new one is safe."""
    partial = path.with_suffix(".partial")
    with partial.open("wb") as file:
        torch.save(contents, file)
        file.flush()
        os.fsync(file.fileno())
    os.replace(partial, path)


def load(path: Path) -> dict[str, Any]:
    """Reads a checkpoint to resume from, without running anything in it. Raises TuiGenError for any other file."""
    try:
        contents = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError as fault:
        raise TuiGenError(f"{path} does not exist") from fault
    except Exception as fault:  # torch raises whatever its readers meet in a damaged file
        reason = str(fault).strip().splitlines() or [type(fault).__name__]
        raise TuiGenError(f"{path} is not a checkpoint that can be read: {reason[0]:.200}") from fault
    if not isinstance(contents, dict) or not contents.keys() >= DESCRIPTION | {"weights"}:
        raise TuiGenError(f"{path} was not written by export.train; only such checkpoints can be exported")
    return contents
