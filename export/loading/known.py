"""The few functions and classes of a pickle that are understood, each by code of our own that only makes values."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from export.loading.stubs import Global, LazyArray, LazyTensor, Storage, Stub
from tui_gen.errors import TuiGenError

_MAX_DIMENSIONS = 64
DTYPES = {
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


def _tensor(storage: Any, offset: Any, size: Any, stride: Any, *_: Any) -> LazyTensor:
    return _view(storage, offset, size, stride, None)


def _typed_tensor(storage: Any, offset: Any, size: Any, stride: Any, *rest: Any) -> LazyTensor:
    """The form that names the type of the numbers, whose storage is untyped."""
    kind = rest[2] if len(rest) > 2 else None
    dtype = getattr(torch, kind.name.removeprefix("torch."), None) if isinstance(kind, Global) else None
    if not isinstance(dtype, torch.dtype):
        raise TuiGenError("it has a tensor of a type that is not known")
    return _view(storage, offset, size, stride, dtype)


def _view(storage: Any, offset: Any, size: Any, stride: Any, dtype: torch.dtype | None) -> LazyTensor:
    if not isinstance(storage, Storage):
        raise TuiGenError("it has a tensor without numbers")
    sizes, strides = _whole(size), _whole(stride)
    if len(sizes) != len(strides) or len(sizes) > _MAX_DIMENSIONS or _whole((offset,))[0] < 0:
        raise TuiGenError("it has a tensor of an impossible shape")
    return LazyTensor(storage, int(offset), sizes, strides, dtype or storage.dtype)


def _whole(numbers: Any) -> tuple[int, ...]:
    values = tuple(numbers)
    if not all(type(value) is int and 0 <= value < 2**62 for value in values):
        raise TuiGenError("it has a tensor of an impossible shape")
    return values


def _first(value: Any, *_: Any) -> Any:
    return value


def _from_type(function: Any, kind: Any, arguments: Any, state: Any = None) -> Any:
    """A tensor of a subclass, or with attributes: what it is made by, without those."""
    known = CALLS.get(function.name) if isinstance(function, Global) else None
    if known is None:
        raise TuiGenError(f"it asks to run {getattr(function, 'name', 'something')}, which is refused")
    return known(*arguments)


def _unsupported(what: str) -> Callable[..., Any]:
    def refuse(*_: Any) -> Any:
        raise TuiGenError(f"it holds {what}; save plain tensors")

    return refuse


def _mapping(*arguments: Any) -> OrderedDict[Any, Any]:
    pairs = next((a for a in arguments if not isinstance(a, Global) and a is not None), ())
    return OrderedDict(pairs)


def _listed(items: Any = (), *_: Any) -> list[Any]:
    return list(items)


def _set(items: Any = (), *_: Any) -> Any:
    """A set; what cannot be in one stays a list."""
    try:
        return set(items)
    except TypeError:
        return list(items)


def _tupled(items: Any = (), *_: Any) -> tuple[Any, ...]:
    return tuple(items)


def _text_of_path(*parts: Any) -> str:
    return "/".join(str(part) for part in parts).replace("//", "/")


def _latin1(text: Any, encoding: Any = "latin1") -> bytes:
    if not isinstance(text, str) or encoding not in ("latin1", "latin-1"):
        raise TuiGenError("it asks to run _codecs.encode on something that is not text")
    return text.encode("latin1")


def _bytes(*arguments: Any) -> bytes:
    content = arguments[0] if arguments else b""
    if isinstance(content, str):
        return content.encode("latin1")
    if not isinstance(content, (bytes, bytearray)):
        raise TuiGenError("it makes bytes of something that is neither text nor bytes")
    return bytes(content)


def _reconstructed(kind: Any, base: Any, state: Any) -> Any:
    """An object of protocol 0 or 1."""
    from export.loading.unpickler import instance

    made = instance(kind, ())
    if isinstance(made, Stub) and isinstance(state, (list, tuple)):
        made.items.extend(state)
    if isinstance(made, Stub) and isinstance(state, dict):
        made.entries.update(state)
    return made


def _named_inside(owner: Any, name: Any) -> Global:
    """How a function of C code is named, such as an activation; the name is all that is kept."""
    if not isinstance(owner, Global) or not isinstance(name, str):
        raise TuiGenError("it asks to run builtins.getattr, which is refused; only plain weights are read")
    return Global(f"{owner.name}.{name}")


def _nothing(*_: Any) -> None:
    """What says nothing about a network."""


def _array(*_: Any) -> LazyArray:
    return LazyArray()


def _number_type(name: Any, *_: Any) -> LazyArray:
    if not isinstance(name, str) or len(name) > 16:
        raise TuiGenError("it has NumPy numbers of a type that is not known")
    return LazyArray(dtype=np.dtype(name))


def _numpy_scalar(dtype: Any, data: Any = b"") -> Any:
    if not isinstance(dtype, LazyArray) or dtype.dtype is None or dtype.dtype.hasobject or not isinstance(data, bytes):
        return None
    return np.frombuffer(data, dtype=dtype.dtype, count=1)[0].item()


_CORE = ("numpy.core", "numpy._core")
CALLS: dict[str, Callable[..., Any]] = {
    "torch._utils._rebuild_tensor": _tensor,
    "torch._utils._rebuild_tensor_v2": _tensor,
    "torch._utils._rebuild_tensor_v3": _typed_tensor,
    "torch._utils._rebuild_parameter": _first,
    "torch._utils._rebuild_parameter_with_state": _first,
    "torch._tensor._rebuild_from_type_v2": _from_type,
    "torch._utils._rebuild_sparse_tensor": _unsupported("sparse tensors"),
    "torch._utils._rebuild_qtensor": _unsupported("quantised tensors"),
    "torch._utils._rebuild_meta_tensor_no_storage": _unsupported("tensors without numbers"),
    "torch.nn.parameter.Parameter": _first,
    "torch.Size": lambda sizes=(): tuple(sizes),
    "torch.device": lambda *parts: ":".join(map(str, parts)),
    "torch.serialization._get_layout": _first,
    "_codecs.encode": _latin1,
    "copyreg._reconstructor": _reconstructed,
    "builtins.getattr": _named_inside,
    **{f"{core}.multiarray._reconstruct": _array for core in _CORE},
    **{f"{core}.multiarray.scalar": _numpy_scalar for core in _CORE},
    "numpy.dtype": _number_type,
}
"""Functions, by name."""

CLASSES: dict[str, Callable[..., Any]] = {
    "collections.OrderedDict": _mapping,
    "collections.defaultdict": _mapping,
    "collections.Counter": _mapping,
    "builtins.dict": _mapping,
    "builtins.list": _listed,
    "builtins.set": _set,
    "builtins.frozenset": _set,
    "types.SimpleNamespace": lambda *_: Stub("types.SimpleNamespace"),
    "builtins.tuple": _tupled,
    "builtins.bytearray": _bytes,
    "builtins.bytes": _bytes,
    "builtins.complex": _nothing,
    "builtins.object": _nothing,
    **{
        f"pathlib{module}.{name}": _text_of_path
        for module in ("", "._local")
        for name in ("PosixPath", "PurePosixPath", "WindowsPath", "PureWindowsPath")
    },
    **{f"datetime.{name}": _nothing for name in ("datetime", "date", "time", "timedelta", "timezone")},
}
"""Classes, by name; plain containers keep what is put into them."""
