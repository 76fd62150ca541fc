"""The trainer's checkpoint files: everything to resume from and to export, and nothing that needs code to load.

Beside the checkpoint to resume from there is a smaller file, `weights.safetensors`: the network alone, from which a
model folder is made again. What stands in that folder anyway, the tokenizer and the log, it leaves there.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import Tensor

from tui_gen.errors import TuiGenError
from tui_gen.files import read_text
from tui_gen.training_run import LOG

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
WEIGHTS = "weights.safetensors"
_OBJECTS, _TEXTS = ("options", "network"), ("card", "made_with", "vocabulary")
"""What a `weights.safetensors` states itself: the first as JSON, `made_with` only where it is known, and a hash of the
vocabulary, which lies beside it.
"""
_NEEDED = {"preset", "epochs", "data"}
"""Options without which nothing can be told of a training."""
TOKENIZER = "tokenizer.json"


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


def weights_file(facts: Mapping[str, Any], weights: Mapping[str, Tensor]) -> bytes:
    """The content of `weights.safetensors`, the same for the same network. facts: of a checkpoint."""
    metadata = {key: json.dumps(facts[key]) for key in _OBJECTS}
    metadata |= {key: facts[key] for key in _TEXTS if facts.get(key)}
    content = safetensors.torch.save({name: weights[name].contiguous() for name in sorted(weights)})
    size = int.from_bytes(content[:8], "little")
    # written anew, because the library has the metadata in another order in every run
    header = {"__metadata__": metadata, **json.loads(content[8 : 8 + size])}
    text = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + content[8 + size :]


def facts_beside(path: Path, facts: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """A checkpoint's facts, of a `weights.safetensors` too, whose tokenizer and log lie in its folder.

    None for a file that the trainer did not write. Raises TuiGenError if what must lie beside it does not.
    """
    if facts.keys() >= DESCRIPTION:
        return facts
    stated = _stated(facts.get("metadata"))
    if stated is None:
        return None
    folder = folder_of(path)
    missing = [name for name in (TOKENIZER, LOG) if not (folder / name).is_file()]
    if missing:
        names = " and ".join(missing)
        raise TuiGenError(f"{path} has the weights of a model, and its folder lacks {names}; copy them there too")
    return {**stated, "tokenizer": read_text(folder / TOKENIZER), "log": _read_log(folder / LOG)}


def folder_of(path: Path) -> Path:
    """Where a checkpoint lies, given as its file or as that folder."""
    return path if path.is_dir() else path.parent


def _stated(metadata: Any) -> dict[str, Any] | None:
    """None for the metadata of a file that others wrote."""
    if not isinstance(metadata, dict) or not metadata.keys() >= {*_OBJECTS, "card"}:
        return None
    try:
        stated = {key: json.loads(metadata[key]) for key in _OBJECTS}
    except (ValueError, RecursionError):
        return None
    if not all(isinstance(value, dict) for value in stated.values()) or not stated["options"].keys() >= _NEEDED:
        return None
    return stated | {key: metadata[key] for key in _TEXTS if key in metadata}


def _read_log(path: Path) -> list[Any]:
    try:
        return [json.loads(line) for line in read_text(path).splitlines()]
    except (ValueError, RecursionError) as fault:
        raise TuiGenError(f"{path} is not a training log: {fault}") from fault
