"""Numbers of a file as tensors; nothing is believed that the file's size does not bear out."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor

from export.loading.stubs import LazyArray, LazyTensor, Storage
from tui_gen.errors import TuiGenError

_MAX_EXPANSION = 2**20
"""Numbers by which a tensor may exceed its storage; strides of zero repeat numbers at no cost."""


def item_size(dtype: torch.dtype) -> int:
    """Bytes of a number."""
    return torch.empty(0, dtype=dtype).element_size()


def tensor_of(lazy: LazyTensor) -> Tensor:
    """The tensor, with memory of its own. Raises TuiGenError for one that reaches outside of its storage."""
    data, offset = _bytes_of(lazy.storage)
    size = item_size(lazy.dtype)
    first = offset * item_size(lazy.storage.dtype) + lazy.offset * size
    count = math.prod(lazy.size)
    if count == 0:
        return torch.empty(lazy.size, dtype=lazy.dtype) if max(lazy.size, default=0) < 2**40 else torch.empty(0)
    reach = 1 + sum((length - 1) * step for length, step in zip(lazy.size, lazy.stride, strict=True))
    if first + reach * size > len(data) or count > reach + _MAX_EXPANSION:
        raise TuiGenError("it has a tensor that is larger than the file")
    numbers = torch.frombuffer(bytearray(data[first : first + reach * size]), dtype=lazy.dtype)
    return numbers.as_strided(lazy.size, lazy.stride).clone()


def _bytes_of(storage: Storage) -> tuple[bytes, int]:
    """The bytes of a storage, and at which of its numbers it begins in them."""
    source = storage.base or storage
    if source.data is None:
        raise TuiGenError("it has a tensor whose numbers are not in the file")
    return source.data, storage.offset


def array_of(lazy: LazyArray) -> Any:
    """A NumPy array as a tensor; None for one of texts or objects, or for a mere number type."""
    if not isinstance(lazy.state, tuple) or len(lazy.state) != 5:
        return None
    _, shape, kind, fortran, data = lazy.state
    if not isinstance(kind, LazyArray) or kind.dtype is None or kind.dtype.kind not in "biuf":
        return None
    if not isinstance(data, (bytes, bytearray)) or not isinstance(shape, tuple):
        return None
    dtype = kind.dtype
    if isinstance(kind.state, tuple) and len(kind.state) > 1 and kind.state[1] in ("<", ">"):
        dtype = dtype.newbyteorder(kind.state[1])
    if not all(type(size) is int and size >= 0 for size in shape) or math.prod(shape) * dtype.itemsize != len(data):
        raise TuiGenError("it has an array that is larger than the file")
    array = np.frombuffer(data, dtype=dtype).reshape(shape, order="F" if fortran else "C")
    return torch.from_numpy(array.astype(dtype.newbyteorder("=")))


def texts_of(lazy: LazyArray) -> list[Any] | None:
    """The items of a NumPy array of texts or of objects; None for any other."""
    if not isinstance(lazy.state, tuple) or len(lazy.state) != 5:
        return None
    _, shape, kind, _, data = lazy.state
    if isinstance(data, list):
        return data
    if not isinstance(kind, LazyArray) or kind.dtype is None or kind.dtype.kind != "U" or not isinstance(data, bytes):
        return None
    if not isinstance(shape, tuple) or not kind.dtype.itemsize or len(data) % kind.dtype.itemsize:
        raise TuiGenError("it has an array that is larger than the file")
    texts: list[str] = np.frombuffer(data, dtype=kind.dtype).tolist()
    return texts
