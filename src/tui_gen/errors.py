"""The errors that a person is told in one line."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from contextvars import copy_context
from typing import TYPE_CHECKING, Any

from tui_gen.terminal_text import brief

if TYPE_CHECKING:
    from concurrent.futures import Future


class TuiGenError(Exception):
    """Something that the user can mend; the message names the cause and the cure in one line.

    As a text it is cut: it may echo whatever somebody gave.
    """

    def __str__(self) -> str:
        return brief(super().__str__())


class UsageError(TuiGenError):
    """The command was asked for in a way that cannot work."""


class DeviceFullError(TuiGenError):
    """A device has no room for what it was to compute; it still works."""


class DeviceLostError(TuiGenError):
    """A device does not answer any more; what lay in its memory is gone."""


class WaitingError(TuiGenError):
    """What was asked for is still being found out, and whoever asked may not wait; asked again later, it is known."""

    def __init__(self, what: str, answer: Future[Any]) -> None:
        super().__init__(what)
        self._answer = answer

    def when_known(self, tell: Callable[[], object]) -> None:
        """Calls a function in the event loop that runs here, unless that has ended by then."""
        import asyncio  # of a screen; commands start without it

        loop, context = asyncio.get_running_loop(), copy_context()

        def call(_: Future[Any]) -> None:
            with contextlib.suppress(RuntimeError):
                loop.call_soon_threadsafe(tell, context=context)

        self._answer.add_done_callback(call)


@contextlib.contextmanager
def errors_of(subject: str) -> Iterator[None]:
    """Puts before a TuiGenError what it is of."""
    try:
        yield
    except WaitingError:
        raise
    except TuiGenError as fault:
        raise TuiGenError(f"{subject} {fault}") from fault
