"""Programs that hold a network's weights: archives of TorchScript and torch.export. What they compute is never run.

Of a TorchScript archive every module's class, tensors and plain attributes are read, and of its code the constants
that are written there as literals. Of torch.export's, the weights by name.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterator
from typing import Any

import torch

from tui_gen.errors import TuiGenError
from tui_gen.json_fields import parse_json

from .allowed_globals import QUANTISED
from .archive import Archive
from .unpickler import LazyTensor, Placeholder, Storage
from .values import SCRIPT

_CLASS = re.compile(r"class (\w+)\(Module\):")
_CONSTANT = re.compile(r"  (\w+) : Final\[\w+\] = (.{1,200})")
_TRACED = (
    (re.compile(r"torch\.(rnn_(?:relu|tanh))\("), "mode", str.upper),
    (re.compile(r"torch\.(?:layer|batch)_norm\([^()]*?\b(\d\.?\d*e-\d+)"), "eps", float),
    (re.compile(r"torch\.leaky_relu_?\(\w+, (-?\d[\d.e-]*)\)"), "negative_slope", float),
)
"""Of a traced module, which has no constants: what its code calls, and the attribute that says so in others."""
_MOST_CODE = 2**24
_FROZEN = (
    "is a TorchScript program whose weights are frozen into constants without names; save the state_dict of the "
    "network that it was made from"
)
_COMPILED = "is a program compiled ahead of time, without weights by name; save the state_dict of the network"
_DTYPES = (
    *(None, "uint8", "int8", "int16", "int32", "int64", "float16", "float32", "float64"),
    *(None, "complex64", "complex128", "bool", "bfloat16"),
)
"""The number types of torch.export by number: `torch/_export/serde/schema.py`."""
_CONFIG = "_config.json"
_DAMAGED = "is a damaged torch.export archive: save it anew, or the network's state_dict"


def read_script(archive: Archive, root: str, value: Any) -> Any:
    """The modules of a TorchScript archive with the constants of their classes.

    value: the object of its pickle. Raises TuiGenError for a program whose weights have no names.
    """
    placeholders = list(_placeholders(value))
    if any(placeholder.kind.startswith(f"{SCRIPT}torch.classes.") for placeholder in placeholders):
        raise TuiGenError(QUANTISED)
    has_tensors = any(isinstance(item, LazyTensor) for part in placeholders for item in part.state.values())
    if not has_tensors and any(archive.names("/constants/0")):
        raise TuiGenError(_FROZEN)
    constants = _constants(archive, root)
    for placeholder in placeholders:
        placeholder.state = {**constants.get(placeholder.kind, {}), **placeholder.state}
    return value


def _placeholders(value: Any) -> Iterator[Placeholder]:
    """Every object with attributes, each once."""
    pending, seen = [value], set[int]()
    while pending:
        item = pending.pop()
        if isinstance(item, Placeholder) and id(item) not in seen:
            seen.add(id(item))
            item.state = item.state if isinstance(item.state, dict) else {}
            yield item
            pending.extend(item.state.values())


def _constants(archive: Archive, root: str) -> dict[str, dict[str, Any]]:
    """Attributes that a class's code states as literals, by the class's qualified name."""
    constants: dict[str, dict[str, Any]] = {}
    budget = _MOST_CODE
    for name in archive.names(".py"):
        if not name.startswith(f"{root}code/"):
            continue
        code = archive.read(name).decode("utf-8", "replace")
        budget -= len(code)
        if budget < 0:
            raise TuiGenError("has more code than a network has")
        package = name.removeprefix(f"{root}code/").removesuffix(".py").replace("/", ".")
        parts = _CLASS.split(code)[1:]
        for kind, body in zip(parts[::2], parts[1::2], strict=True):
            constants[f"{package}.{kind}"] = {**_traced(body), **dict(_literals(body))}
    return constants


def _literals(body: str) -> Iterator[tuple[str, Any]]:
    for name, text in _CONSTANT.findall(body):
        try:
            yield name, ast.literal_eval(text)
        except (ValueError, SyntaxError):
            continue  # a constant that is computed


def _traced(body: str) -> dict[str, Any]:
    """What calls in the code say, where they all say the same."""
    attributes: dict[str, Any] = {}
    for pattern, attribute, value in _TRACED:
        spellings = set(pattern.findall(body))
        if len(spellings) == 1:
            attributes[attribute] = value(spellings.pop())
    return attributes


def is_exported(archive: Archive) -> bool:
    """Whether an archive is one of torch.export, or was compiled from one."""
    return any(archive.names("/archive_format", "/serialized_exported_program.json", "/serialized_state_dict.pt"))


def read_exported(archive: Archive, read_zip: Callable[[bytes], Any]) -> dict[str, Any]:
    """Weights and constants as `state_dict`; of an archive of several programs, one by each program's name.

    read_zip: the objects of a zip file of torch.save, which old versions put inside.
    """
    graphs = [bytes(archive.read(name)) for name in archive.names("/serialized_exported_program.json")]
    programs = list(archive.names("/serialized_state_dict.pt", f"_weights{_CONFIG}"))
    programs += [name for name in archive.names(".pt") if "data/weights/" in name]
    graphs += [bytes(archive.read(name)) for name in archive.names(".json") if "/models/" in f"/{name}"]
    if any(b"torch.ops.quantized" in graph for graph in graphs):
        raise TuiGenError(QUANTISED)
    if not programs:
        raise TuiGenError(_COMPILED)
    states = {name: _exported_state(archive, name, read_zip) for name in programs}
    relu = any(b"aten.rnn_relu" in graph for graph in graphs)
    facts = {"nonlinearity": "relu"} if relu and not any(b"aten.rnn_tanh" in graph for graph in graphs) else {}
    if len(states) == 1:
        return {"state_dict": next(iter(states.values())), **facts}
    return {name.rpartition("/")[2].removesuffix(f"_weights{_CONFIG}"): state for name, state in states.items()} | facts


def _exported_state(archive: Archive, name: str, read_zip: Callable[[bytes], Any]) -> Any:
    if not name.endswith(_CONFIG):
        return read_zip(bytes(archive.read(name)))
    constants = name.replace("/weights/", "/constants/").replace("_weights_", "_constants_")
    folders = [name, *([constants] if archive.has(constants) else [])]
    return {key: tensor for config in folders for key, tensor in _listed_tensors(archive, config, read_zip)}


def _listed_tensors(archive: Archive, config: str, read_zip: Callable[[bytes], Any]) -> Iterator[tuple[str, Any]]:
    """Tensors by name, as a list of them in JSON says where each one's numbers are."""
    storages: dict[str, Storage] = {}
    try:
        entries = parse_json(bytes(archive.read(config)))["config"].items()
        for name, entry in entries:
            meta, part = entry["tensor_meta"], config.rpartition("/")[0] + "/" + entry["path_name"]
            if entry["use_pickle"]:
                yield name, read_zip(bytes(archive.read(part)))
            elif meta:
                dtype = getattr(torch, _DTYPES[meta["dtype"]] or "")
                storage = storages.setdefault(f"{part} {dtype}", Storage(dtype))
                storage.data = archive.read(part) if storage.data is None else storage.data
                size, stride = (_whole_numbers(meta[key]) for key in ("sizes", "strides"))
                (offset,) = _whole_numbers([meta["storage_offset"]])
                yield name, LazyTensor(storage, offset, size, stride, dtype)
    except (TuiGenError, ValueError, KeyError, TypeError, IndexError, AttributeError):
        raise TuiGenError(_DAMAGED) from None


def _whole_numbers(entries: Any) -> tuple[int, ...]:
    numbers = tuple(entry["as_int"] for entry in entries)
    if len(numbers) > 64 or not all(type(number) is int and 0 <= number < 2**62 for number in numbers):
        raise ValueError
    return numbers
