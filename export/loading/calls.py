"""Decides what a pickle may call and make: what is known to be harmless, and inert stand-ins for classes."""

from __future__ import annotations

from typing import Any

from export.loading.known import CALLS, CLASSES, INERT
from export.loading.stubs import Global, Stub
from tui_gen.errors import TuiGenError

_DANGEROUS = {
    *("builtins", "__builtin__", "io", "_io", "nt", "os", "posix", "subprocess", "sys", "importlib", "runpy", "pdb"),
    *("bdb", "shutil", "socket", "ctypes", "marshal", "codeop", "pty", "pickle", "_pickle", "webbrowser", "asyncio"),
    *("multiprocessing", "threading", "operator", "_operator", "functools", "inspect", "gc", "tempfile", "urllib"),
    *("pip", "zipimport", "pkgutil", "concurrent"),
}
"""Modules whose objects no checkpoint needs, not even as stand-ins."""


def call(function: Any, arguments: Any) -> Any:
    """Calls what is known to be harmless. Raises TuiGenError that names anything else."""
    name = _name(function)
    if isinstance(function, Global) and isinstance(arguments, tuple):
        known = CALLS.get(name) or CLASSES.get(name)
        if known:
            return known(*arguments)
        if name in INERT:
            return Stub(name, arguments)
    raise _refusal(name)


def instance(kind: Any, arguments: Any) -> Any:
    """An object of a class: a plain container, or else a Stub. Raises TuiGenError for what no checkpoint needs."""
    if not isinstance(kind, Global) or not isinstance(arguments, tuple):
        raise TuiGenError("its pickle is damaged: it makes an object of something that is not a class")
    if kind.name in CLASSES:
        return CLASSES[kind.name](*arguments)
    if kind.name.partition(".")[0] in _DANGEROUS and kind.name not in INERT:
        raise _refusal(kind.name)
    return Stub(kind.name, arguments)


def old_instance(kind: Any, arguments: tuple[Any, ...]) -> Any:
    """An object as protocols 0 and 1 make it, which with arguments cannot be told from a call of a function."""
    if arguments and isinstance(kind, Global) and kind.name not in CLASSES:
        raise _refusal(kind.name)
    return instance(kind, arguments)


def _name(function: Any) -> str:
    """What a file asks to call, as people know it; of a prepared call, the function that it would run."""
    if isinstance(function, Stub):
        inner = next((_name(value) for value in function.arguments[:1] if isinstance(value, Global)), "")
        return f"{function.kind} of {inner}" if inner else function.kind
    return function.name if isinstance(function, Global) else type(function).__name__


def _refusal(name: str) -> TuiGenError:
    return TuiGenError(f"it asks to run {name}, which is refused; save the network's state_dict instead")
