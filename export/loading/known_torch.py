"""PyTorch's own functions in a pickle: what tensors, parameters, shapes and devices are made by."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import torch

from export.loading.stubs import Global, LazyTensor, Storage
from tui_gen.errors import TuiGenError

_MAX_DIMENSIONS = 64
STORAGES = {
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
_DTYPES = {
    f"torch.{name}": getattr(torch, name)
    for name in (
        *("float64", "float32", "float16", "bfloat16", "complex64", "complex128", "bool"),
        *("int64", "int32", "int16", "int8", "uint64", "uint32", "uint16", "uint8"),
        *("float8_e4m3fn", "float8_e5m2", "float8_e4m3fnuz", "float8_e5m2fnuz"),
    )
}


def _tensor(storage: Any, offset: Any, size: Any, stride: Any, *_: Any) -> LazyTensor:
    return _view(storage, offset, size, stride, None)


def _typed_tensor(storage: Any, offset: Any, size: Any, stride: Any, *rest: Any) -> LazyTensor:
    """The form that names the type of the numbers, whose storage is untyped."""
    kind = rest[2] if len(rest) > 2 else None
    if not isinstance(kind, Global) or kind.name not in _DTYPES:
        raise TuiGenError("it has a tensor of a type that is not known")
    return _view(storage, offset, size, stride, _DTYPES[kind.name])


def _view(storage: Any, offset: Any, size: Any, stride: Any, dtype: torch.dtype | None) -> LazyTensor:
    if not isinstance(storage, Storage):
        raise TuiGenError("it has a tensor without numbers")
    sizes, strides = _whole(size), _whole(stride)
    if len(sizes) != len(strides):
        raise TuiGenError("it has a tensor of an impossible shape")
    return LazyTensor(storage, _whole((offset,))[0], sizes, strides, dtype or storage.dtype)


def _whole(numbers: Any) -> tuple[int, ...]:
    known = isinstance(numbers, (tuple, list)) and len(numbers) <= _MAX_DIMENSIONS
    if not known or not all(type(value) is int and 0 <= value < 2**62 for value in numbers):
        raise TuiGenError("it has a tensor of an impossible shape")
    return tuple(numbers)


def _first(value: Any, *_: Any) -> Any:
    return value


def _from_type(function: Any, kind: Any, arguments: Any, state: Any = None) -> Any:
    """A tensor of a subclass, or with attributes: what it is made by, without those."""
    name = function.name if isinstance(function, Global) else "something"
    if not name.startswith("torch._utils._rebuild_") or name not in CALLS:
        raise TuiGenError(f"it asks to run {name}, which is refused; save the network's state_dict instead")
    return CALLS[name](*arguments)


def _loaded_storage(content: Any) -> Storage:
    """The numbers of a tensor that was pickled without torch.save: a legacy file inside of the file."""
    from export.loading.legacy import read_legacy

    storage = read_legacy(io.BytesIO(content)) if isinstance(content, (bytes, bytearray)) else None
    if not isinstance(storage, Storage):
        raise TuiGenError("its storages are damaged")
    return storage


def _unsupported(what: str) -> Callable[..., Any]:
    def refuse(*_: Any) -> Any:
        raise TuiGenError(f"it holds {what}; save plain tensors")

    return refuse


def _device(*parts: Any) -> str:
    return ":".join(str(part) for part in parts if isinstance(part, str) or type(part) is int)


def _size(sizes: Any = ()) -> tuple[int, ...]:
    return _whole(sizes)


_UTILS = "torch._utils._rebuild_"
CALLS: dict[str, Callable[..., Any]] = {
    f"{_UTILS}tensor": _tensor,
    f"{_UTILS}tensor_v2": _tensor,
    f"{_UTILS}tensor_v3": _typed_tensor,
    f"{_UTILS}parameter": _first,
    f"{_UTILS}parameter_with_state": _first,
    f"{_UTILS}device_tensor_from_numpy": _first,
    f"{_UTILS}device_tensor_from_cpu_tensor": _first,
    f"{_UTILS}xla_tensor": _first,
    **dict.fromkeys((f"{_UTILS}sparse_tensor", f"{_UTILS}sparse_csr_tensor"), _unsupported("sparse tensors")),
    f"{_UTILS}qtensor": _unsupported("quantised tensors"),
    f"{_UTILS}meta_tensor_no_storage": _unsupported("tensors without numbers"),
    f"{_UTILS}nested_tensor": _unsupported("nested tensors"),
    f"{_UTILS}wrapper_subclass": _unsupported("tensors of a class that hides its numbers"),
    "torch.nn.parameter.UninitializedParameter": _unsupported("parameters that never got their size"),
    "torch._tensor._rebuild_from_type_v2": _from_type,
    "torch.storage._load_from_bytes": _loaded_storage,
    "torch.nn.parameter.Parameter": _first,
    "torch.autograd.variable.Variable": _first,
    "torch._dynamo.eval_frame.OptimizedModule": _first,
    "torch.Size": _size,
    "torch.device": _device,
    "torch.serialization._get_layout": _first,
}
"""Functions, by name."""
