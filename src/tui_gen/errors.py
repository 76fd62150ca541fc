"""The errors that a person is told in one line."""

import contextlib
from collections.abc import Iterator

from tui_gen.terminal_text import brief


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


@contextlib.contextmanager
def errors_of(subject: str) -> Iterator[None]:
    """Puts before a TuiGenError what it is of."""
    try:
        yield
    except TuiGenError as fault:
        raise TuiGenError(f"{subject} {fault}") from fault
