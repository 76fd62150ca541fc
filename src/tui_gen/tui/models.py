"""The list of models."""

from __future__ import annotations

from collections.abc import Sequence

from textual.widgets import OptionList
from textual.widgets.option_list import Option

from tui_gen.library import Entry
from tui_gen.scrub import scrub_line


class ModelList(OptionList):
    """Models under their kinds; the one that plays is marked."""

    def __init__(self, entries: Sequence[Entry]) -> None:
        super().__init__(markup=False, compact=True)
        self._entries = {entry.name: entry for entry in entries}
        self._playing = ""
        self._fill()

    def entry(self, option: Option) -> Entry:
        """The model folder behind an option."""
        return self._entries[str(option.id)]

    def mark(self, name: str) -> None:
        """Marks the model that plays."""
        self._playing = name
        highlighted = self.highlighted
        self._fill()
        self.highlighted = self.get_option_index(name) if name in self._entries else highlighted

    def _fill(self) -> None:
        self.clear_options()
        heading = ""
        for entry in self._entries.values():
            kind = entry.card.kind if entry.card else "damaged"
            if kind != heading:
                self.add_option(Option(kind, disabled=True))
                heading = kind
            sign = "▸" if entry.name == self._playing else " "
            self.add_option(Option(f"{sign} {scrub_line(entry.name)}", id=entry.name))
