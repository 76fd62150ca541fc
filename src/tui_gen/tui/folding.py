"""A part of the screen that folds away on narrow ones."""

from __future__ import annotations

from textual.containers import Vertical
from textual.widget import Widget


class Folding(Vertical):
    """Where it is folded away, it is there while it has the focus. The style sheet of the app says where that is."""

    _wanted = False

    def unfold(self, what: Widget) -> None:
        """Goes to a widget of this part, also where it is folded away."""
        self._wanted = True
        self.add_class("-open")
        what.focus()

    def fold(self) -> None:
        """Stays there only while it has the focus, or is about to get it."""
        inside = self.has_focus_within
        self._wanted = self._wanted and not inside
        self.set_class(inside or self._wanted, "-open")
