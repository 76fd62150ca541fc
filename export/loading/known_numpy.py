"""NumPy's own functions in a pickle: what arrays, numbers and number types are made by."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from export.loading.stubs import LazyArray
from tui_gen.errors import TuiGenError


def _array(*_: Any) -> LazyArray:
    return LazyArray()


def _number_type(name: Any, *_: Any) -> LazyArray:
    """A type of one number or text each; those of several fields are kept as nothing."""
    if not isinstance(name, str) or len(name) > 16:
        raise TuiGenError("it has NumPy numbers of a type that is not known")
    known = name[:1] in "biufcSUO" and name[1:].isdigit()
    return LazyArray(dtype=np.dtype(name if known else "V1"))


def _scalar(dtype: Any, data: Any = b"") -> Any:
    """A number or a text."""
    content = data.encode("latin1") if isinstance(data, str) else data  # Python 2 has bytes as texts
    if not isinstance(dtype, LazyArray) or not isinstance(content, bytes):
        return None
    kind = stored_type(dtype)
    if kind is None or kind.kind not in "biufSU" or kind.itemsize != len(content):
        return None
    return np.frombuffer(content, dtype=kind)[0].item() if content else ""


def stored_type(lazy: LazyArray) -> Any:
    """The number type with the byte order that its state names; None for what is no number type."""
    if lazy.dtype is None:
        return None
    order = lazy.state[1] if isinstance(lazy.state, tuple) and len(lazy.state) > 1 else None
    return lazy.dtype.newbyteorder(order) if order in ("<", ">") else lazy.dtype


_CORE = ("numpy.core", "numpy._core")
CALLS: dict[str, Callable[..., Any]] = {
    **{f"{core}.multiarray._reconstruct": _array for core in _CORE},
    **{f"{core}.multiarray.scalar": _scalar for core in _CORE},
    "numpy.dtype": _number_type,
}
"""Functions, by name."""

INERT = {
    *(f"numpy.random._pickle.__{made}_ctor" for made in ("randomstate", "generator", "bit_generator")),
    *("numpy.random.__RandomState_ctor", "numpy.random.bit_generator.__pyx_unpickle_SeedSequence"),
}
"""Random states."""
