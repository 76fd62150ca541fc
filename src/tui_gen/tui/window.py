"""Which part of a list is in sight, and which of its entries is selected."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class Window:
    """Numbers of entries, from 0 on."""

    selected: int = 0
    top: int = 0
    """The first entry in sight."""

    def select(self, number: int, *, count: int, room: int) -> None:
        """Selects an entry of `count`, or the nearest there is, and brings it in sight where `room` of them are."""
        room = max(1, room)
        self.selected = max(0, min(count - 1, number))
        self.top = max(self.selected - room + 1, min(self.top, self.selected, max(0, count - room)))
