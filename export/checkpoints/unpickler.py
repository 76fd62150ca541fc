"""Reads a pickle without running anything in it: no class is imported, no function called, but for a short list."""

from __future__ import annotations

import io
import pickle
from _compat_pickle import IMPORT_MAPPING, NAME_MAPPING
from collections.abc import Callable, Mapping, Sequence, Sized
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch

from tui_gen.errors import TuiGenError

PersistentLoad = Callable[[Any], Any]
_ALLOWANCE = 2**18
"""Values that calls may copy, beside one for each byte of the pickle: no value takes less."""
_DANGEROUS = {
    *("builtins", "__builtin__", "io", "_io", "nt", "os", "posix", "subprocess", "sys", "importlib", "runpy", "pdb"),
    *("bdb", "shutil", "socket", "ctypes", "marshal", "codeop", "pty", "pickle", "_pickle", "webbrowser", "asyncio"),
    *("multiprocessing", "threading", "operator", "_operator", "functools", "inspect", "gc", "tempfile", "urllib"),
    *("pip", "zipimport", "pkgutil", "concurrent"),
}
"""Modules whose objects no checkpoint needs, not even as stand-ins."""
_MAX_KEY = 100
"""Values inside of a key: Python hashes a tuple anew each time, and tuples of tuples can be made to take for ever."""
_MAX_WHOLE = 2**60
"""Larger whole numbers can be chosen so that they all fall into one place of a dict."""
_MAX_NAME = 1_000
_MAX_OPCODES = 6_000_000
"""Of a pickle: three for each value that a checkpoint may hold. An opcode is a byte of the file, or less of a packed
one, and may make an object of a hundred bytes.
"""
_CALL = 6
"""Opcodes that a call, or a set, counts for besides: an object takes ten times the time and the memory of a number."""
_MAX_MARKS = 1_000
"""Containers that are begun and not finished."""
SET = "builtins.set"
"""The kind of a placeholder that stands for a set."""
_NEW_OBJECT: dict[str, Callable[..., tuple[Any, ...]]] = {
    "copyreg.__newobj__": lambda *arguments: arguments,
    "copyreg._reconstructor": lambda base, content: () if content is None else (content,),
}
"""Functions that make an object of their first argument: what the class is given, by the other arguments.

content: of the list, dict, text or number that the class extends.
"""


@dataclass(frozen=True)
class AllowedGlobals:
    """The globals of a pickle that are understood, by qualified name: code of our own that only makes values."""

    classes: Mapping[str, Callable[..., Any]]
    """Containers: what makes one from the arguments of its class."""
    functions: Mapping[str, Callable[..., Any]]
    inert: frozenset[str]
    """Calls that become placeholders and are never made: settings and random states have them."""


def unpickle(data: io.BytesIO, allowed_globals: AllowedGlobals, persistent: PersistentLoad | None = None) -> Any:
    """The next object of a stream. Raises TuiGenError for one that is damaged or asks to run something."""
    try:
        return _Unpickler(data, allowed_globals, persistent).load()
    except TuiGenError:
        raise
    except KeyError:
        raise TuiGenError("it is neither a pickle nor any other known format, or it is damaged") from None
    except RecursionError:
        raise TuiGenError("it is nested too deeply") from None
    except Exception as fault:  # a damaged pickle makes Python's unpickler raise almost anything
        reason = str(fault).strip().splitlines() or [type(fault).__name__]
        raise TuiGenError(f"its pickle is damaged: {reason[0]:.120}") from None


class _Unpickler(pickle._Unpickler):
    """Python's own unpickler (the one written in Python, whose memory a forged index cannot exhaust), made harmless.

    Every global becomes its name, every object of an unknown class a placeholder, every set one too (which hashes
    nothing). A call of anything that is not among the allowed globals raises TuiGenError that names it.
    """

    dispatch: ClassVar[dict[int, Callable[..., None]]] = dict(pickle._Unpickler.dispatch)
    stack: list[Any]
    metastack: list[list[Any]]
    append: Callable[[Any], None]
    proto: int
    pop_mark: Callable[[], list[Any]]
    read: Callable[[int], bytes]

    def __init__(
        self, data: io.BytesIO, allowed_globals: AllowedGlobals, persistent: PersistentLoad | None = None
    ) -> None:
        super().__init__(data, encoding="latin1")
        self._globals, self._persistent = allowed_globals, persistent
        self._budget = _ALLOWANCE + len(data.getbuffer())
        self._opcodes = vars(self)["dispatch"] = _CountedOpcodes(self.dispatch)

    def find_class(self, module: str, name: str) -> Global:
        """The name of a class or function; old protocols go by those of Python 2."""
        if self.proto < 3:
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

    def _pay_for(self, arguments: Any) -> Any:
        """The arguments of a call, which may copy them: a small file could ask for that again and again."""
        self._opcodes.spend(_CALL)
        if isinstance(arguments, tuple):
            self._budget -= len(arguments) + sum(len(value) for value in arguments if isinstance(value, Sized))
        if self._budget < 0:
            raise TuiGenError("it asks for more copies than a checkpoint of its size needs")
        return arguments

    def load_mark(self) -> None:
        if len(self.metastack) >= _MAX_MARKS:
            raise TuiGenError("it is nested too deeply")
        self.metastack.append(self.stack)
        self.stack = []
        self.append = self.stack.append

    def load_reduce(self) -> None:
        arguments = self._pay_for(self.stack.pop())
        self.stack[-1] = self._call(self.stack[-1], arguments)

    def load_newobj(self) -> None:
        arguments = self._pay_for(self.stack.pop())
        self.stack[-1] = self._instance(self.stack[-1], arguments)

    def load_newobj_ex(self) -> None:
        self.stack.pop()  # named arguments, which say nothing that the object's state does not
        self.load_newobj()

    def _instantiate(self, kind: Any, arguments: Any) -> None:
        """What the opcodes INST and OBJ of old protocols do."""
        arguments = self._pay_for(tuple(arguments))
        if arguments and isinstance(kind, Global) and kind.name not in self._globals.classes:
            raise _refusal(kind.name)  # with arguments, it cannot be told from a call of a function
        self.stack.append(self._instance(kind, arguments))

    def _call(self, function: Any, arguments: Any) -> Any:
        """Calls what is known to be harmless. Raises TuiGenError that names anything else."""
        name = _name(function)
        if isinstance(function, Global) and isinstance(arguments, tuple):
            if name in _NEW_OBJECT and arguments:
                return self._instance(arguments[0], _NEW_OBJECT[name](*arguments[1:]))
            make = self._globals.functions.get(name) or self._globals.classes.get(name)
            if make:
                return make(*arguments)
            if name in self._globals.inert:
                return Placeholder(name, arguments)
        raise _refusal(name)

    def _instance(self, kind: Any, arguments: Any) -> Any:
        """A plain container, or a placeholder of any other class. Raises TuiGenError for what no checkpoint needs."""
        if not isinstance(kind, Global) or not isinstance(arguments, tuple):
            raise TuiGenError("its pickle is damaged: it makes an object of something that is not a class")
        if kind.name in self._globals.classes:
            return self._globals.classes[kind.name](*arguments)
        if kind.name.partition(".")[0] in _DANGEROUS and kind.name not in self._globals.inert:
            raise _refusal(kind.name)
        return Placeholder(kind.name, arguments)

    def load_build(self) -> None:
        """Attributes of objects; those of plain containers and tensors say nothing about a network."""
        state, owner = self.stack.pop(), self.stack[-1]
        if isinstance(owner, Global):
            raise TuiGenError(f"it asks to change {owner.name}, which is refused")
        if isinstance(owner, (Placeholder, LazyArray)):
            owner.state = state

    def load_append(self) -> None:
        item = self.stack.pop()
        _add_items(self.stack[-1], (item,))

    def load_appends(self) -> None:
        items = self.pop_mark()
        _add_items(self.stack[-1], items)

    def load_setitem(self) -> None:
        value, key = self.stack.pop(), self.stack.pop()
        add_entries(self.stack[-1], (key, value))

    def load_setitems(self) -> None:
        entries = self.pop_mark()
        add_entries(self.stack[-1], entries)

    def load_dict(self) -> None:
        entries = self.pop_mark()
        self.stack.append({})
        add_entries(self.stack[-1], entries)

    def load_empty_set(self) -> None:
        self._opcodes.spend(_CALL)
        self.stack.append(Placeholder(SET))

    def load_frozenset(self) -> None:
        self.pop_mark()
        self.load_empty_set()

    def load_bytearray8(self) -> None:
        size = int.from_bytes(self.read(8), "little")
        self.stack.append(self.read(size))

    dispatch |= {
        pickle.MARK[0]: load_mark,
        pickle.REDUCE[0]: load_reduce,
        pickle.NEWOBJ[0]: load_newobj,
        pickle.NEWOBJ_EX[0]: load_newobj_ex,
        pickle.BUILD[0]: load_build,
        pickle.APPEND[0]: load_append,
        pickle.APPENDS[0]: load_appends,
        pickle.ADDITEMS[0]: load_appends,
        pickle.SETITEM[0]: load_setitem,
        pickle.SETITEMS[0]: load_setitems,
        pickle.DICT[0]: load_dict,
        pickle.EMPTY_SET[0]: load_empty_set,
        pickle.FROZENSET[0]: load_frozenset,
        pickle.BYTEARRAY8[0]: load_bytearray8,
    }


class _CountedOpcodes(dict[int, Callable[..., None]]):
    """What each opcode does, of which no more are looked up than a checkpoint has."""

    def __init__(self, opcodes: Mapping[int, Callable[..., None]]) -> None:
        super().__init__(opcodes)
        self._left = _MAX_OPCODES

    def __getitem__(self, opcode: int) -> Callable[..., None]:
        self._left -= 1
        if self._left < 0:
            self.spend(0)
        return super().__getitem__(opcode)

    def spend(self, count: int) -> None:
        """As if so many were looked up."""
        self._left -= count
        if self._left < 0:
            raise TuiGenError("it holds more values than a checkpoint does")


def _name(function: Any) -> str:
    """What a file asks to call, as people know it; of a prepared call, the function that it would run."""
    if isinstance(function, Placeholder):
        inner = next((_name(value) for value in function.arguments[:1] if isinstance(value, Global)), "")
        return f"{function.kind} of {inner}" if inner else function.kind
    return function.name if isinstance(function, Global) else type(function).__name__


def _refusal(name: str) -> TuiGenError:
    return TuiGenError(f"it asks to run {name}, which is refused; save the network's state_dict instead")


def _add_items(container: Any, items: Sequence[Any]) -> None:
    """Puts items into a list or set, or into an object whose class extends one."""
    if isinstance(container, Placeholder):
        container.items.extend(items)
    elif isinstance(container, list):
        container.extend(items)
    else:
        raise TuiGenError("its pickle is damaged: it adds items to something that is no list")


def add_entries(container: Any, alternating: Sequence[Any]) -> None:
    """Puts entries, given as key, value, key, value, into a dict or an object whose class extends it."""
    entries = container.entries if isinstance(container, Placeholder) else container
    if not isinstance(entries, dict) or len(alternating) % 2:
        raise TuiGenError("its pickle is damaged: it adds entries to something that is no dict")
    for at in range(0, len(alternating), 2):
        entries[_checked_key(alternating[at])] = alternating[at + 1]


def _checked_key(key: Any) -> Any:
    """A key that a dict can find quickly. Raises TuiGenError for any other."""
    if type(key) is str:
        return key
    pending = [key]
    for _ in range(_MAX_KEY):
        if not pending:
            return key
        part = pending.pop()
        if isinstance(part, tuple):
            pending.extend(part[:_MAX_KEY])
        elif isinstance(part, int) and abs(part) > _MAX_WHOLE:
            raise TuiGenError("it has a dict with an impossibly large number as a key")
    raise TuiGenError("it has a dict with a key that is nested without end")


@dataclass(frozen=True)
class Global:
    """A class or function that the pickle names. It is never imported. Raises TuiGenError for an endless name."""

    name: str

    def __post_init__(self) -> None:
        if len(self.name) > _MAX_NAME:
            raise TuiGenError("it names something in more letters than any name has")


@dataclass(eq=False, slots=True)
class Placeholder:
    """An object of a class that was not imported: what it was made of, and what was put into it."""

    kind: str
    arguments: tuple[Any, ...] = ()
    state: Any = None
    items: list[Any] = field(default_factory=list)
    entries: dict[Any, Any] = field(default_factory=dict)


@dataclass(eq=False)
class Storage:
    """Numbers of a file, of which tensors are views. Legacy files deliver them after the objects."""

    dtype: torch.dtype
    data: bytearray | None = None
    base: Storage | None = None
    """The storage that this one is a part of, from `offset` on."""
    offset: int = 0


@dataclass(eq=False)
class LazyTensor:
    """A tensor whose numbers are looked up when everything is read."""

    storage: Storage
    offset: int
    size: tuple[int, ...]
    stride: tuple[int, ...]
    dtype: torch.dtype


@dataclass(eq=False, slots=True)
class LazyArray:
    """A NumPy array, or a NumPy number type; its state comes after it was made."""

    dtype: Any = None
    state: Any = None
