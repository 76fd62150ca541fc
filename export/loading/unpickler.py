"""Reads a pickle without running anything in it: no class is imported, no function called, but for a short list."""

from __future__ import annotations

import io
import pickle
from _compat_pickle import IMPORT_MAPPING, NAME_MAPPING
from collections.abc import Callable
from typing import Any, ClassVar

from export.loading.known import CALLS, CLASSES
from export.loading.stubs import Global, Stub
from tui_gen.errors import TuiGenError

_DANGEROUS = {
    *("builtins", "io", "_io", "nt", "os", "posix", "subprocess", "sys", "importlib", "runpy"),
    *("shutil", "socket", "ctypes", "marshal", "code", "codeop", "pty", "pickle", "_pickle", "webbrowser", "asyncio"),
    *(
        "multiprocessing",
        "threading",
        "signal",
        "operator",
        "_operator",
        "functools",
        "inspect",
        "types",
        "gc",
        "timeit",
    ),
}
"""Modules of Python itself whose objects no checkpoint needs."""

PersistentLoad = Callable[[Any], Any]


class RestrictedUnpickler(pickle._Unpickler):
    """Python's own unpickler (the one written in Python, whose memory a forged index cannot exhaust), made harmless.

    Every global becomes its name, every object of an unknown class a Stub. A call of anything that is not in
    `export.loading.known` raises TuiGenError that names it.
    """

    dispatch: ClassVar[dict[int, Callable[..., None]]] = dict(pickle._Unpickler.dispatch)

    def __init__(self, data: io.BytesIO, persistent: PersistentLoad | None = None) -> None:
        super().__init__(data, encoding="latin1")
        self._persistent = persistent

    def find_class(self, module: str, name: str) -> Global:
        """The name of a class or function; old protocols go by those of Python 2."""
        if self.proto < 3:  # type: ignore[attr-defined]
            module, name = NAME_MAPPING.get((module, name), (IMPORT_MAPPING.get(module, module), name))
        return Global(f"{module}.{name}")

    def persistent_load(self, pid: Any) -> Any:
        """A storage; only torch's own files have such."""
        if self._persistent is None:
            raise TuiGenError("it refers to objects outside of the file")
        return self._persistent(pid)

    def get_extension(self, code: int) -> None:
        """Codes stand for globals that a running program registered."""
        raise TuiGenError(f"it names a global by the extension code {code}, which is refused")

    def load_reduce(self) -> None:
        arguments = self.stack.pop()  # type: ignore[attr-defined]
        self.stack[-1] = call(self.stack[-1], arguments)  # type: ignore[attr-defined]

    dispatch[pickle.REDUCE[0]] = load_reduce

    def load_newobj(self) -> None:
        arguments = self.stack.pop()  # type: ignore[attr-defined]
        self.stack[-1] = instance(self.stack[-1], arguments)  # type: ignore[attr-defined]

    dispatch[pickle.NEWOBJ[0]] = load_newobj

    def load_newobj_ex(self) -> None:
        named, arguments = self.stack.pop(), self.stack.pop()  # type: ignore[attr-defined]
        self.stack[-1] = instance(self.stack[-1], (*arguments, named))  # type: ignore[attr-defined]

    dispatch[pickle.NEWOBJ_EX[0]] = load_newobj_ex

    def _instantiate(self, kind: Any, arguments: Any) -> None:
        """What the opcodes INST and OBJ of old protocols do."""
        self.append(instance(kind, tuple(arguments)))  # type: ignore[attr-defined]


def call(function: Any, arguments: Any) -> Any:
    """Calls what is known to be harmless. Raises TuiGenError that names anything else."""
    name = function.name if isinstance(function, Global) else type(function).__name__
    known = CALLS.get(name) or CLASSES.get(name)
    if known is None or not isinstance(arguments, tuple):
        raise TuiGenError(f"it asks to run {name}, which is refused; only plain weights are read")
    return known(*arguments)


def instance(kind: Any, arguments: Any) -> Any:
    """An object of a class: a plain container, or else a Stub. Raises TuiGenError for what no checkpoint needs."""
    if not isinstance(kind, Global) or not isinstance(arguments, tuple):
        raise TuiGenError("it makes an object of something that is not a class")
    if kind.name in CLASSES:
        return CLASSES[kind.name](*arguments)
    if kind.name.partition(".")[0] in _DANGEROUS:
        raise TuiGenError(f"it asks to run {kind.name}, which is refused; only plain weights are read")
    return Stub(kind.name, arguments)


def unpickle(data: io.BytesIO, persistent: PersistentLoad | None = None) -> Any:
    """The next object of a stream. Raises TuiGenError for one that is damaged or asks to run something."""
    try:
        return RestrictedUnpickler(data, persistent).load()
    except TuiGenError:
        raise
    except KeyError:
        raise TuiGenError("it is neither a pickle nor any other known format, or it is damaged") from None
    except RecursionError:
        raise TuiGenError("it is nested too deeply") from None
    except Exception as fault:  # a damaged pickle makes Python's unpickler raise almost anything
        reason = str(fault).strip().splitlines() or [type(fault).__name__]
        raise TuiGenError(f"its pickle is damaged: {reason[0]:.120}") from None
