"""Numbers of a file as tensors; nothing is believed that the file's size does not bear out."""

from __future__ import annotations

import math
import sys
from typing import Any

import numpy as np
import torch
from torch import Tensor

from export.loading.known_numpy import stored_type
from export.loading.stubs import LazyArray, LazyTensor, Storage
from tui_gen.errors import TuiGenError

_LARGER = "it has a tensor that is larger than the file"
_NUMBERS = {np.dtype(kind) for kind in ("b1", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f2", "f4", "f8")}


def item_size(dtype: torch.dtype) -> int:
    """Bytes of a number."""
    return torch.empty(0, dtype=dtype).element_size()


class Tensors:
    """Makes the tensors of one file, which all in all may take no more memory than the file makes credible."""

    def __init__(self, limit: int) -> None:
        """limit: bytes."""
        self._left = limit

    def tensor(self, lazy: LazyTensor) -> Tensor:
        """A view of the storage's numbers, which tensors share as they did when they were saved.

        Raises TuiGenError for one that reaches outside of its storage.
        """
        data, start = _bytes_of(lazy.storage)
        size = item_size(lazy.dtype)
        self._spend(math.prod(lazy.size) * size)
        if 0 in lazy.size:
            return _empty(lazy)
        first = start + lazy.offset * size
        reach = 1 + sum((length - 1) * step for length, step in zip(lazy.size, lazy.stride, strict=True))
        if first + reach * size > len(data):
            raise TuiGenError(_LARGER)
        return torch.frombuffer(data, dtype=lazy.dtype, count=reach, offset=first).as_strided(lazy.size, lazy.stride)

    def array(self, lazy: LazyArray) -> Any:
        """A NumPy array as a tensor, one of texts as a list, one of objects as the objects; None for any other."""
        dtype = lazy.state[2] if isinstance(lazy.state, tuple) and len(lazy.state) == 5 else None
        kind = stored_type(dtype) if isinstance(dtype, LazyArray) else None
        if kind is None:
            return None
        _, shape, _, fortran, data = lazy.state
        if kind.kind == "O":
            return data
        content = data.encode("latin1") if isinstance(data, str) else data  # Python 2 has bytes as texts
        if not isinstance(content, (bytes, bytearray)) or not isinstance(shape, tuple):
            return None
        if not all(type(size) is int and size >= 0 for size in shape) or kind.itemsize == 0:
            return None
        self._spend(2 * len(content))
        if math.prod(shape) * kind.itemsize != len(content):
            raise TuiGenError("it has an array that is larger than the file")
        return _numbers_or_texts(np.frombuffer(content, dtype=kind).reshape(shape, order="F" if fortran else "C"))

    def _spend(self, size: int) -> None:
        self._left -= size
        if self._left < 0:
            raise TuiGenError(_LARGER)


def _numbers_or_texts(stored: Any) -> Any:
    array = stored.astype(stored.dtype.newbyteorder("="))
    if array.dtype in _NUMBERS:
        return torch.from_numpy(array)
    if array.dtype.kind == "U" and np.frombuffer(array.tobytes(), np.uint32).max(initial=0) > sys.maxunicode:
        raise TuiGenError("it has an array of texts with impossible characters")
    return array.tolist() if array.dtype.kind in "SU" else None


def _empty(lazy: LazyTensor) -> Tensor:
    if math.prod(length or 1 for length in lazy.size) > 2**40:
        raise TuiGenError("it has a tensor of an impossible shape")
    return torch.empty(lazy.size, dtype=lazy.dtype)


def _bytes_of(storage: Storage) -> tuple[bytearray, int]:
    """The bytes of a storage, and at which of them it begins."""
    source = storage.base or storage
    if source.data is None:
        raise TuiGenError("it has a tensor whose numbers are not in the file")
    return source.data, storage.offset * item_size(storage.dtype)
