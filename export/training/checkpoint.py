"""The trainer's checkpoint files: everything to resume from and to export, and nothing that needs code to load.

Beside the checkpoint to resume from there is a smaller file, `weights.safetensors`: the network alone, from which a
model folder is made again. What stands in that folder anyway, the tokenizer and the log, it leaves there.
"""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from dataclasses import MISSING, Field, asdict, fields
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import Tensor

from tui_gen.errors import TuiGenError
from tui_gen.files import HALF, read_text, replace_file
from tui_gen.json_fields import JsonFields, parse_json
from tui_gen.training_run import LOG

from ..checkpoints.load import load_values
from ..reader import MAX_PIXELS
from .networks import (
    CELLS,
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
_LEAST = {"levels": 2, "channels": 2, "filters": 2, "conditions": 0}
"""Of a network's sizes; the others are 1 at least."""
TOKENIZER = "tokenizer.json"


def describe_network(config: NetworkConfig) -> dict[str, Any]:
    """A network's sizes as plain values, which `load_network` reads."""
    family = next(name for name, kind in _FAMILIES.items() if isinstance(config, kind))
    return {"family": family, **asdict(config)}


def read_network(description: Mapping[str, Any]) -> NetworkConfig:
    """The sizes of `describe_network`'s values. Raises TuiGenError for what the trainer never writes."""
    facts = JsonFields(dict(description), "network.")
    kind = _FAMILIES.get(facts.text("family"))
    if kind is None:
        raise facts.fault("family", f"must be one of {', '.join(_FAMILIES)}")
    named = {size.name: size for size in fields(kind)}
    if unknown := description.keys() - {"family", *named}:
        raise facts.fault(min(unknown), "is none of this network's sizes")
    stated = [size for size in named.values() if facts.has(size.name) or size.default is MISSING]
    config = kind(**{size.name: _read_size(facts, description, size) for size in stated})
    if not isinstance(config, RecurrentConfig) and config.height * config.width > MAX_PIXELS:
        raise facts.fault("height", f"x width must be at most {MAX_PIXELS:,} pixels")
    return config


def _read_size(facts: JsonFields, description: Mapping[str, Any], size: Field[Any]) -> Any:
    name = size.name
    if size.type == "bool":
        if not isinstance(description[name], bool):
            raise facts.fault(name, "must be true or false")
        return description[name]
    if size.type == "CellName":
        if facts.text(name) not in CELLS:
            raise facts.fault(name, f"must be one of {', '.join(CELLS)}")
        return facts.text(name)
    if size.type == "float":
        if not 0 <= facts.number(name) <= 1:
            raise facts.fault(name, "must be from 0 to 1")
        return facts.number(name)
    value = facts.integer(name, minimum=_LEAST.get(name, 1))
    if (name == "kernel" and value % 2 == 0) or (name == "stacks" and value > 2):
        raise facts.fault(name, f"must be {'odd' if name == 'kernel' else '1 or 2'}, not {value}")
    return value


def load_network(description: Mapping[str, Any], weights: Mapping[str, Tensor]) -> TrainedNet:
    """The network of `describe_network`'s values, ready to evaluate. Raises TuiGenError if its weights do not fit."""
    config = read_network(description)
    _check_fits(config, weights)
    net = build_network(config)
    net.load_state_dict(weights)
    return net.eval()


def _check_fits(config: NetworkConfig, weights: Mapping[str, Tensor]) -> None:
    """Raises TuiGenError unless a network of these sizes has such weights; takes no memory for what it could have."""
    depth = config.layers if isinstance(config, RecurrentConfig) else config.blocks
    shapes = {name: tuple(tensor.shape) for name, tensor in weights.items() if tensor.is_floating_point()}
    try:
        with torch.device("meta"):
            state = build_network(config).state_dict() if depth <= len(weights) else {}
        expected = {name: tuple(tensor.shape) for name, tensor in state.items()}
    except RuntimeError:  # sizes whose product is no number
        expected = {}
    if expected != shapes:
        names = sorted(name for name in expected.keys() | shapes.keys() if expected.get(name) != shapes.get(name))
        what = f"{len(names)} of them differ, such as {names[0]}" if names else "they are no numbers"
        raise TuiGenError(f"the checkpoint's weights do not fit the network it describes: {what:.200}")


def save(path: Path, contents: dict[str, Any]) -> None:
    """Writes a checkpoint whole or not at all: whatever happens, the previous one stays until the new one is safe.

    Raises OSError.
    """
    buffer = io.BytesIO()  # for PyTorch says of a full disk only that it failed
    torch.save(contents, buffer)
    replace_file(path, buffer.getbuffer(), durable=True)


def load(path: Path) -> dict[str, Any]:
    """Reads a checkpoint to resume from, without running anything in it. Raises TuiGenError for any other file."""
    contents = load_values(path)
    if not isinstance(contents, dict) or not contents.keys() >= DESCRIPTION | {"weights"}:
        raise TuiGenError(f"{path} was not written by export.train; only such checkpoints can be resumed")
    return {**contents, **_checked(path, contents)}


def weights_file(facts: Mapping[str, Any], weights: Mapping[str, Tensor]) -> bytes:
    """The content of `weights.safetensors`, the same for the same network. facts: of a checkpoint."""
    metadata = {key: json.dumps(facts[key]) for key in _OBJECTS}
    metadata |= {key: facts[key] for key in _TEXTS if facts.get(key)}
    content = safetensors.torch.save({name: weights[name].contiguous() for name in sorted(weights)})
    size = int.from_bytes(content[:8], "little")
    # written anew, because the library has the metadata in another order in every run
    header = {"__metadata__": metadata, **parse_json(content[8 : 8 + size])}
    text = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode("utf-8", HALF)
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + content[8 + size :]


def facts_beside(path: Path, facts: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """A checkpoint's facts, of a `weights.safetensors` too, whose tokenizer and log lie in its folder.

    None for a file that the trainer did not write. Raises TuiGenError if what must lie beside it does not, or for what
    the trainer never writes.
    """
    if facts.keys() >= DESCRIPTION:
        return _checked(path, facts)
    stated = _stated(facts.get("metadata"))
    if stated is None:
        return None
    folder = folder_of(path)
    missing = [name for name in (TOKENIZER, LOG) if not (folder / name).is_file()]
    if missing:
        names = " and ".join(missing)
        raise TuiGenError(f"{path} has the weights of a model, and its folder lacks {names}; copy them there too")
    beside = {"tokenizer": read_text(folder / TOKENIZER), "log": read_log(folder / LOG)}
    return _checked(path, {**stated, **beside})


def _checked(path: Path, facts: Mapping[str, Any]) -> dict[str, Any]:
    """What a checkpoint says, in values of JSON and of the kinds that the trainer writes.

    Raises TuiGenError that names the file and what is wrong in it.
    """
    try:
        values = parse_json(json.dumps({key: facts[key] for key in (*DESCRIPTION, *_TEXTS) if key in facts}))
        _check_kinds(JsonFields(values, ""))
    except (TypeError, ValueError, RecursionError) as fault:
        raise TuiGenError(f"{path} says what no trainer writes: {fault!s:.100}") from fault
    except TuiGenError as fault:
        raise TuiGenError(f"{path}: {fault}") from fault
    return values


def _check_kinds(facts: JsonFields) -> None:
    for key in ("card", "tokenizer"):
        facts.text(key)
    for key in ("made_with", "vocabulary"):
        facts.text(key, "")
    for key in ("options", "network", "log"):
        if not facts.has(key):
            raise facts.fault(key, "is missing")
    _check_options(JsonFields(facts.raw("options"), "options."))
    facts.raw("network")
    _check_log(facts)


def _check_options(options: JsonFields) -> None:
    for key in ("preset", "data"):
        options.text(key)
    options.text("precision", "")
    options.integer("epochs", minimum=1)
    for key in filter(options.has, ("batch_size", "stacks")):
        options.integer(key, minimum=1)
    for key in ("learning_rate", "ema", "seed"):
        options.number(key, 0.0)


def _check_log(facts: JsonFields) -> None:
    for entry in facts.items("log"):
        if not isinstance(entry, dict):
            raise facts.fault("log", "must hold an object for each epoch")
        epoch = JsonFields(entry, "log.")
        epoch.integer("epoch")
        epoch.text("unit")
        for key in ("train_loss", "validation_loss", "seconds"):
            epoch.number(key)


def folder_of(path: Path) -> Path:
    """Where a checkpoint lies, given as its file or as that folder."""
    return path if path.is_dir() else path.parent


def _stated(metadata: Any) -> dict[str, Any] | None:
    """None for the metadata of a file that others wrote."""
    if not isinstance(metadata, dict) or not metadata.keys() >= {*_OBJECTS, "card"}:
        return None
    try:
        stated = {key: parse_json(metadata[key]) for key in _OBJECTS}
    except TuiGenError:
        return None
    if not all(isinstance(value, dict) for value in stated.values()) or not stated["options"].keys() >= _NEEDED:
        return None
    return stated | {key: metadata[key] for key in _TEXTS if key in metadata}


def read_log(path: Path) -> list[dict[str, Any]]:
    """The epochs of a training.jsonl; none of an empty one, which there is where nothing is known of the training.

    Raises TuiGenError for what the trainer never writes.
    """
    if path.is_file() and not path.stat().st_size:
        return []
    try:
        entries = [parse_json(line) for line in read_text(path).splitlines()]
    except TuiGenError as fault:
        raise TuiGenError(f"{path} is not a training log: {fault}") from fault
    _check_log(JsonFields({"log": entries}, ""))
    return entries
