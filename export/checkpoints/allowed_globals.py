"""The functions and classes that a pickle may name, each with code of our own that only makes plain values."""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from tui_gen.errors import TuiGenError

from .unpickler import (
    SET,
    AllowedGlobals,
    Global,
    LazyArray,
    LazyTensor,
    Placeholder,
    Storage,
    add_entries,
)

_MAX_PATH = 10_000
_CORE = ("numpy.core", "numpy._core")
_INERT = frozenset(
    {
        *("functools.partial", "builtins.range", "builtins.slice", "types.SimpleNamespace", "contextlib.nullcontext"),
        *("re._compile", "random.Random", "decimal.Decimal", "fractions.Fraction", "uuid.UUID", "torch._C.Generator"),
        *(f"numpy.random._pickle.__{name}_ctor" for name in ("randomstate", "generator", "bit_generator")),
        *("numpy.random.__RandomState_ctor", "numpy.random.bit_generator.__pyx_unpickle_SeedSequence"),
        *("torch._dynamo.eval_frame.OptimizeContext", "torch.distributed.checkpoint.metadata._MEM_FORMAT_ENCODING"),
        *("regex._regex.compile", "_regex.compile"),
    }
)
"""Calls that become placeholders and are never made: settings and random states have them."""
_MAX_DIMENSIONS = 64
_STORAGES = {
    "Double": torch.float64,
    "Float": torch.float32,
    "Half": torch.float16,
    "BFloat16": torch.bfloat16,
    "Long": torch.int64,
    "Int": torch.int32,
    "Short": torch.int16,
    "Char": torch.int8,
    "Byte": torch.uint8,
    "Bool": torch.bool,
    "ComplexFloat": torch.complex64,
    "ComplexDouble": torch.complex128,
    "Untyped": torch.uint8,
}
"""By the name of torch's storage class, without `Storage`."""
DTYPES = {
    f"torch.{name}": getattr(torch, name)
    for name in (
        *("float64", "float32", "float16", "bfloat16", "complex64", "complex128", "bool"),
        *("int64", "int32", "int16", "int8", "uint64", "uint32", "uint16", "uint8"),
        *("float8_e4m3fn", "float8_e5m2", "float8_e4m3fnuz", "float8_e5m2fnuz"),
    )
}
_UTILS = "torch._utils._rebuild_"
QUANTISED = (
    "holds quantised weights, which are no longer those that were trained; save the state_dict of the network before "
    "it is quantised"
)
_SPREAD = (
    "holds one process's share of tensors that are spread over several; save them whole: get_model_state_dict(model, "
    "options=StateDictOptions(full_state_dict=True)) of torch.distributed.checkpoint.state_dict"
)
DAMAGED_STORAGES = "its storages are damaged"


def _mapping(*arguments: Any) -> dict[Any, Any]:
    """From a dict, or from pairs; the factory of a defaultdict stands first and is dropped."""
    pairs = next((a for a in arguments if not isinstance(a, Global) and a is not None), ())
    if isinstance(pairs, dict):
        return pairs
    mapping = OrderedDict[Any, Any]()
    add_entries(mapping, [part for key, value in pairs for part in (key, value)])
    return mapping


def _list(items: Any = (), *_: Any) -> list[Any]:
    return items if isinstance(items, list) else list(items)


def _set(*_: Any) -> Placeholder:
    """Without its items, which are never hashed: texts of a set have another order in every run."""
    return Placeholder(SET)


def _tuple(items: Any = (), *_: Any) -> tuple[Any, ...]:
    return items if isinstance(items, tuple) else tuple(items)


def _text_of_path(*parts: Any) -> str:
    if not all(isinstance(part, str) for part in parts) or sum(map(len, parts)) > _MAX_PATH:
        raise TuiGenError("it has a path that is none")
    return "/".join(parts).replace("//", "/")


def _latin1(text: Any, encoding: Any = "latin1") -> bytes:
    if not isinstance(text, str) or encoding not in ("latin1", "latin-1"):
        raise TuiGenError("it asks to run _codecs.encode on something that is not text, which is refused")
    return text.encode("latin1")


def _bytes(content: Any = b"", *_: Any) -> bytes:
    if isinstance(content, str):
        return content.encode("latin1")
    if not isinstance(content, (bytes, bytearray)):
        raise TuiGenError("it makes bytes of something that is neither text nor bytes")
    return bytes(content)


def _attribute_name(owner: Any, name: Any) -> Global:
    """A function of C code, such as an activation, or an object's method, by its name alone."""
    if not isinstance(owner, (Global, Placeholder)) or not isinstance(name, str):
        raise TuiGenError("it asks to run builtins.getattr, which is refused; save the network's state_dict instead")
    return Global(f"{owner.kind if isinstance(owner, Placeholder) else owner.name}.{name}")


def _annotation(owner: Any, inside: Any) -> Global:
    """`Optional[int]` and the like, which settings of a network may carry, without what stands in brackets."""
    if not isinstance(owner, Global) or not owner.name.startswith("typing."):
        raise TuiGenError("it asks to run operator.getitem, which is refused; save the network's state_dict instead")
    return owner


_CLASSES: dict[str, Callable[..., Any]] = {
    "collections.OrderedDict": _mapping,
    "collections.defaultdict": _mapping,
    "collections.Counter": _mapping,
    "collections.deque": _list,
    "builtins.dict": _mapping,
    "builtins.list": _list,
    "builtins.set": _set,
    "builtins.frozenset": _set,
    "builtins.tuple": _tuple,
    "builtins.bytearray": _bytes,
    "builtins.bytes": _bytes,
    "builtins.complex": lambda real=0.0, imaginary=0.0: (real, imaginary),
    "builtins.object": lambda *_: None,
    **{
        f"pathlib{module}.{name}": _text_of_path
        for module in ("", "._local")
        for name in ("PosixPath", "PurePosixPath", "WindowsPath", "PureWindowsPath")
    },
    **{f"datetime.{name}": lambda *_: None for name in ("datetime", "date", "time", "timedelta", "timezone")},
}
"""Classes, by name; plain containers keep what is put into them."""


def _number_type(name: Any, *_: Any) -> LazyArray:
    """A type of one number or text each; those of several fields are kept as nothing."""
    if not isinstance(name, str) or len(name) > 16:
        raise TuiGenError("it has NumPy numbers of a type that is not known")
    is_plain = name[:1] in "biufcSUO" and name[1:].isdigit()
    return LazyArray(dtype=np.dtype(name if is_plain else "V1"))


def _scalar(dtype: Any, data: Any = b"") -> Any:
    """A number or a text."""
    content = data.encode("latin1") if isinstance(data, str) else data  # Python 2 has bytes as texts
    if not isinstance(dtype, LazyArray) or not isinstance(content, bytes):
        return None
    kind = number_type(dtype)
    if kind is None or kind.kind not in "biufSU" or kind.itemsize != len(content):
        return None
    return np.frombuffer(content, dtype=kind)[0].item() if content else ""


def number_type(lazy: LazyArray) -> Any:
    """The number type with the byte order that its state names; None for what is no number type."""
    if lazy.dtype is None:
        return None
    order = lazy.state[1] if isinstance(lazy.state, tuple) and len(lazy.state) > 1 else None
    return lazy.dtype.newbyteorder(order) if order in ("<", ">") else lazy.dtype


_NUMPY_FUNCTIONS: dict[str, Callable[..., Any]] = {
    **{f"{core}.multiarray._reconstruct": lambda *_: LazyArray() for core in _CORE},
    **{f"{core}.multiarray.scalar": _scalar for core in _CORE},
    "numpy.dtype": _number_type,
}
"""Functions, by name."""


def _tensor(storage: Any, offset: Any, size: Any, stride: Any, *_: Any) -> LazyTensor:
    return _view(storage, offset, size, stride, None)


def _typed_tensor(storage: Any, offset: Any, size: Any, stride: Any, *rest: Any) -> LazyTensor:
    """The form that names the type of the numbers, whose storage is untyped."""
    kind = rest[2] if len(rest) > 2 else None
    if not isinstance(kind, Global) or kind.name not in DTYPES:
        raise TuiGenError("it has a tensor of a type that is not known")
    return _view(storage, offset, size, stride, DTYPES[kind.name])


def _view(storage: Any, offset: Any, size: Any, stride: Any, dtype: torch.dtype | None) -> LazyTensor:
    if not isinstance(storage, Storage):
        raise TuiGenError("it has a tensor without numbers")
    sizes, strides = _whole_numbers(size), _whole_numbers(stride)
    if len(sizes) != len(strides):
        raise TuiGenError("it has a tensor of an impossible shape")
    return LazyTensor(storage, _whole_numbers((offset,))[0], sizes, strides, dtype or storage.dtype)


def _whole_numbers(numbers: Any) -> tuple[int, ...]:
    fits = isinstance(numbers, (tuple, list)) and len(numbers) <= _MAX_DIMENSIONS
    if not fits or not all(type(value) is int and 0 <= value < 2**62 for value in numbers):
        raise TuiGenError("it has a tensor of an impossible shape")
    return tuple(numbers)


def _first(value: Any, *_: Any) -> Any:
    return value


def _from_type(function: Any, kind: Any, arguments: Any, state: Any = None) -> Any:
    """A tensor of a subclass, or with attributes: what it is made by, without those."""
    name = function.name if isinstance(function, Global) else "something"
    if name == f"{_UTILS}wrapper_subclass":
        return _whole_of_spread(arguments, state)
    if not name.startswith("torch._utils._rebuild_") or name not in _TORCH_FUNCTIONS:
        raise TuiGenError(f"it asks to run {name}, which is refused; save the network's state_dict instead")
    return _TORCH_FUNCTIONS[name](*arguments)


def _whole_of_spread(arguments: Any, state: Any) -> LazyTensor:
    """The numbers of a tensor that several processes may share, if this one has all of them."""
    kind = arguments[0].name if arguments and isinstance(arguments[0], Global) else ""
    if "Quant" in kind or kind.startswith("torchao."):
        raise TuiGenError(QUANTISED)
    if not kind.endswith(".DTensor"):
        raise TuiGenError(f"it holds tensors of the class {kind}, which hides their numbers; save plain tensors")
    states = state if isinstance(state, tuple) else (state,)  # of attributes, and of those in slots
    local = next((part["_local_tensor"] for part in states if isinstance(part, dict) and "_local_tensor" in part), None)
    if not isinstance(local, LazyTensor) or len(arguments) < 3 or local.size != arguments[2]:
        raise TuiGenError(_SPREAD)
    return local


def _refuser(what: str) -> Callable[..., Any]:
    def refuse(*_: Any) -> Any:
        raise TuiGenError(f"it holds {what}; save plain tensors")

    return refuse


def _refuse_quantised(*_: Any) -> Any:
    raise TuiGenError(QUANTISED)


def _refuse_spread(*_: Any) -> Any:
    raise TuiGenError(_SPREAD)


def _device(*parts: Any) -> str:
    return ":".join(str(part) for part in parts if isinstance(part, str) or type(part) is int)


_TORCH_FUNCTIONS: dict[str, Callable[..., Any]] = {
    f"{_UTILS}tensor": _tensor,
    f"{_UTILS}tensor_v2": _tensor,
    f"{_UTILS}tensor_v3": _typed_tensor,
    f"{_UTILS}parameter": _first,
    f"{_UTILS}parameter_with_state": _first,
    f"{_UTILS}device_tensor_from_numpy": _first,
    f"{_UTILS}device_tensor_from_cpu_tensor": _first,
    f"{_UTILS}xla_tensor": _first,
    **dict.fromkeys((f"{_UTILS}sparse_tensor", f"{_UTILS}sparse_csr_tensor"), _refuser("sparse tensors")),
    f"{_UTILS}qtensor": _refuse_quantised,
    f"{_UTILS}meta_tensor_no_storage": _refuser("tensors without numbers"),
    f"{_UTILS}nested_tensor": _refuser("nested tensors"),
    f"{_UTILS}wrapper_subclass": _refuser("tensors of a class that hides its numbers"),
    "torch.distributed._shard.sharded_tensor.metadata.MEM_FORMAT_ENCODING": _refuse_spread,
    "torch.nn.parameter.UninitializedParameter": _refuser("parameters that never got their size"),
    "torch._tensor._rebuild_from_type_v2": _from_type,
    "torch.nn.parameter.Parameter": _first,
    "torch.autograd.variable.Variable": _first,
    "torch._dynamo.eval_frame.OptimizedModule": _first,
    "torch.Size": lambda sizes=(): _whole_numbers(sizes),
    "torch.device": _device,
    "torch.serialization._get_layout": _first,
    "torch.jit._pickle.restore_type_tag": _first,
    **{f"torch.jit._pickle.build_{kind}list": _list for kind in ("int", "tensor", "double", "bool")},
}
"""Functions, by name."""


def storage_type_and_key(pid: Any) -> tuple[torch.dtype, str]:
    """Number type and key of a storage, from ('storage', type, key, location, count, ...)."""
    if not (isinstance(pid, tuple) and len(pid) >= 5 and pid[0] == "storage" and isinstance(pid[1], Global)):
        raise TuiGenError(DAMAGED_STORAGES)
    dtype = _STORAGES.get(pid[1].name.rpartition(".")[2].removesuffix("Storage"))
    if re.search(r"\.QU?Int\d", pid[1].name):
        raise TuiGenError(QUANTISED)
    if dtype is None:
        raise TuiGenError(f"it has numbers of a type that is not known ({pid[1].name})")
    if not isinstance(pid[2], (str, int)):
        raise TuiGenError(DAMAGED_STORAGES)
    return dtype, str(pid[2])


ALLOWED = AllowedGlobals(
    _CLASSES,
    {
        **_TORCH_FUNCTIONS,
        **_NUMPY_FUNCTIONS,
        "_codecs.encode": _latin1,
        "builtins.getattr": _attribute_name,
        "_operator.getitem": _annotation,
        "operator.getitem": _annotation,
    },
    _INERT,
)
"""What the pickle of any checkpoint may name."""
