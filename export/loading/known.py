"""The few functions and classes of a pickle that are understood, each by code of our own that only makes values."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Any

from export.loading import known_numpy, known_torch
from export.loading.building import add_entries
from export.loading.stubs import SET, Global, Stub
from tui_gen.errors import TuiGenError

_MAX_PATH = 10_000


def _mapping(*arguments: Any) -> dict[Any, Any]:
    """From a dict, or from pairs; the factory of a defaultdict stands first and is dropped."""
    pairs = next((a for a in arguments if not isinstance(a, Global) and a is not None), ())
    if isinstance(pairs, dict):
        return pairs
    made = OrderedDict[Any, Any]()
    add_entries(made, [part for key, value in pairs for part in (key, value)])
    return made


def _listed(items: Any = (), *_: Any) -> list[Any]:
    return items if isinstance(items, list) else list(items)


def _set(items: Any = (), *_: Any) -> Stub:
    """What it holds is put into no order, and never hashed: texts of a set have another order in every run."""
    return Stub(SET)


def _tupled(items: Any = (), *_: Any) -> tuple[Any, ...]:
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


def _complex(real: Any = 0.0, imaginary: Any = 0.0) -> tuple[Any, Any]:
    return real, imaginary


def _made(kind: Any, *arguments: Any) -> Any:
    """An object of a class, as copyreg makes it."""
    from export.loading.calls import instance

    return instance(kind, arguments)


def _reconstructed(kind: Any, base: Any, content: Any) -> Any:
    """An object of protocol 0 or 1; content: of the list, dict, text or number that its class extends."""
    return _made(kind) if content is None else _made(kind, content)


def _named_inside(owner: Any, name: Any) -> Global:
    """How a function of C code, such as an activation, or an object's method is named; the name is all that is kept."""
    if not isinstance(owner, (Global, Stub)) or not isinstance(name, str):
        raise TuiGenError("it asks to run builtins.getattr, which is refused; save the network's state_dict instead")
    return Global(f"{owner.kind if isinstance(owner, Stub) else owner.name}.{name}")


def _type_of_values(owner: Any, inside: Any) -> Global:
    """How annotations such as `Optional[int]` are written, which settings of a network may carry."""
    if not isinstance(owner, Global) or not owner.name.startswith("typing."):
        raise TuiGenError("it asks to run operator.getitem, which is refused; save the network's state_dict instead")
    return owner


def _nothing(*_: Any) -> None:
    """What says nothing about a network."""


CALLS: dict[str, Callable[..., Any]] = {
    **known_torch.CALLS,
    **known_numpy.CALLS,
    "_codecs.encode": _latin1,
    "copyreg._reconstructor": _reconstructed,
    "copyreg.__newobj__": _made,
    "builtins.getattr": _named_inside,
    "_operator.getitem": _type_of_values,
    "operator.getitem": _type_of_values,
}
"""Functions, by name."""

CLASSES: dict[str, Callable[..., Any]] = {
    "collections.OrderedDict": _mapping,
    "collections.defaultdict": _mapping,
    "collections.Counter": _mapping,
    "collections.deque": _listed,
    "builtins.dict": _mapping,
    "builtins.list": _listed,
    "builtins.set": _set,
    "builtins.frozenset": _set,
    "builtins.tuple": _tupled,
    "builtins.bytearray": _bytes,
    "builtins.bytes": _bytes,
    "builtins.complex": _complex,
    "builtins.object": _nothing,
    **{
        f"pathlib{module}.{name}": _text_of_path
        for module in ("", "._local")
        for name in ("PosixPath", "PurePosixPath", "WindowsPath", "PureWindowsPath")
    },
    **{f"datetime.{name}": _nothing for name in ("datetime", "date", "time", "timedelta", "timezone")},
}
"""Classes, by name; plain containers keep what is put into them."""

INERT = {
    *("functools.partial", "builtins.range", "builtins.slice", "types.SimpleNamespace", "contextlib.nullcontext"),
    *("re._compile", "random.Random", "decimal.Decimal", "fractions.Fraction", "uuid.UUID", "torch._C.Generator"),
    "torch._dynamo.eval_frame.OptimizeContext",
    *known_numpy.INERT,
}
"""Calls that are kept as what they were made of, never made: settings and random states have them."""
