"""Where the cursor stands in what was made, and where it may go."""

from __future__ import annotations

from dataclasses import dataclass, replace

from tui_gen.branch import Branch


@dataclass(frozen=True)
class Cursor:
    """Stands on a token of a sample, or behind the last one: on the one that would be made next."""

    sample: int = 0
    position: int | None = None
    """None stands behind the last token, however many are made."""

    def at(self, branch: Branch, room: range) -> int:
        """The position, of the next token if there is none yet."""
        position = len(branch) if self.position is None else min(self.position, len(branch))
        return min(position, room.stop - 1)

    def moved(self, branch: Branch, by: int, room: range) -> Cursor:
        """So many tokens further on or back, within what the sample has."""
        return self.to(branch, self.at(branch, room) + by, room)

    def to(self, branch: Branch, position: int, room: range) -> Cursor:
        """On a position, or the nearest one that the sample has; past the last one, behind it.

        room: the positions that a cursor may stand on at all.
        """
        past = int(branch.live[:, self.sample].sum())
        goes_on = past == len(branch) and not branch.ended and past < room.stop
        if position >= past:
            return replace(self, position=None if goes_on else past - 1)
        return replace(self, position=max(room.start, position))

    def in_sample(self, sample: int) -> Cursor:
        """The same place in another sample."""
        return replace(self, sample=sample)
