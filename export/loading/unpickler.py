"""Reads a pickle without running anything in it: no class is imported, no function called, but for a short list."""

from __future__ import annotations

import io
import pickle
from _compat_pickle import IMPORT_MAPPING, NAME_MAPPING
from collections.abc import Callable, Sized
from typing import Any, ClassVar

from export.loading.building import add_entries, add_items, set_state
from export.loading.calls import call, instance, old_instance
from export.loading.stubs import SET, Global, Stub
from tui_gen.errors import TuiGenError

PersistentLoad = Callable[[Any], Any]
_ALLOWANCE = 2**18
"""Values that calls may copy, beside one for each byte of the pickle: no value takes less."""


class RestrictedUnpickler(pickle._Unpickler):
    """Python's own unpickler (the one written in Python, whose memory a forged index cannot exhaust), made harmless.

    Every global becomes its name, every object of an unknown class a Stub, every set one too (which hashes nothing).
    A call of anything that is not in `export.loading.known` raises TuiGenError that names it.
    """

    dispatch: ClassVar[dict[int, Callable[..., None]]] = dict(pickle._Unpickler.dispatch)
    stack: list[Any]
    proto: int
    pop_mark: Callable[[], list[Any]]
    read: Callable[[int], bytes]

    def __init__(self, data: io.BytesIO, persistent: PersistentLoad | None = None) -> None:
        super().__init__(data, encoding="latin1")
        self._persistent = persistent
        self._left = _ALLOWANCE + len(data.getbuffer())

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

    def _paid(self, arguments: Any) -> Any:
        """The arguments of a call, which may copy them: a small file could ask for that again and again."""
        if isinstance(arguments, tuple):
            self._left -= len(arguments) + sum(len(value) for value in arguments if isinstance(value, Sized))
        if self._left < 0:
            raise TuiGenError("it asks for more copies than a checkpoint of its size needs")
        return arguments

    def load_reduce(self) -> None:
        arguments = self._paid(self.stack.pop())
        self.stack[-1] = call(self.stack[-1], arguments)

    def load_newobj(self) -> None:
        arguments = self._paid(self.stack.pop())
        self.stack[-1] = instance(self.stack[-1], arguments)

    def load_newobj_ex(self) -> None:
        self.stack.pop()  # named arguments, which say nothing that the object's state does not
        self.load_newobj()

    def _instantiate(self, kind: Any, arguments: Any) -> None:
        """What the opcodes INST and OBJ of old protocols do."""
        self.stack.append(old_instance(kind, self._paid(tuple(arguments))))

    def load_build(self) -> None:
        state = self.stack.pop()
        set_state(self.stack[-1], state)

    def load_append(self) -> None:
        item = self.stack.pop()
        add_items(self.stack[-1], (item,))

    def load_appends(self) -> None:
        items = self.pop_mark()
        add_items(self.stack[-1], items)

    def load_setitem(self) -> None:
        value, key = self.stack.pop(), self.stack.pop()
        add_entries(self.stack[-1], (key, value))

    def load_setitems(self) -> None:
        entries = self.pop_mark()
        add_entries(self.stack[-1], entries)

    def load_dict(self) -> None:
        entries, made = self.pop_mark(), dict[Any, Any]()
        add_entries(made, entries)
        self.stack.append(made)

    def load_empty_set(self) -> None:
        self.stack.append(Stub(SET))

    def load_frozenset(self) -> None:
        self.pop_mark()
        self.stack.append(Stub(SET))

    def load_bytearray8(self) -> None:
        size = int.from_bytes(self.read(8), "little")
        self.stack.append(self.read(size))

    dispatch |= {
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
