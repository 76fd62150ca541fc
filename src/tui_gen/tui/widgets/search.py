"""The line in which a person searches what was made, and the search: over all samples and branches of a text model."""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Horizontal
from textual.message import Message
from textual.widgets import Input, Static

from tui_gen.generation.branch import Branch
from tui_gen.generation.tree import Tree, differences
from tui_gen.terminal_text import scrub_line
from tui_gen.text.codec import TextCodec
from tui_gen.text.transcript import Transcript
from tui_gen.tui.widgets.prompt import SignedInput, one_line


class TextMatch(NamedTuple):
    """Where a text is that is searched for; matches are sorted as they are gone through."""

    row: int
    """Of the branch, in the list of branches."""
    sample: int
    start: int
    """The first character."""


class BranchSearch:
    """Searches the texts of all branches. What several of them share, because one left the other, counts once."""

    def __init__(self, tree: Tree, codec: TextCodec, shown: Branch) -> None:
        """shown: the branch to which that counts which others share with it."""
        self.branches = [row.branch for row in tree.rows()]
        """In the order of their list."""
        self.shown = self.branches.index(shown)
        self._roots = [_root(branch, tree) for branch in self.branches]
        self._codec = codec
        self._scripts: dict[tuple[int, int], Transcript] = {}

    def matches(self, pattern: re.Pattern[str]) -> list[TextMatch]:
        """All of them, sorted."""
        searched: list[int] = []
        matches: list[TextMatch] = []
        for row in sorted(range(len(self.branches)), key=lambda row: row != self.shown):
            relatives = [other for other in searched if self._roots[other] is self._roots[row]]
            matches += self._matches_in(row, pattern, relatives)
            searched.append(row)
        return sorted(matches)

    def place(self, sample: int, position: int) -> TextMatch:
        """Where a position of the branch that is shown would stand among the matches."""
        script = self._script(self.shown, sample)
        start = script.span(position - 1)[0] if position <= len(script) else script.length
        return TextMatch(self.shown, sample, start)

    def position(self, match: TextMatch) -> int:
        """Of the token that wrote the first character."""
        return self._script(match.row, match.sample).token_at(match.start) + 1

    def _matches_in(self, row: int, pattern: re.Pattern[str], relatives: list[int]) -> Iterator[TextMatch]:
        branch = self.branches[row]
        for sample in range(branch.samples):
            script = self._script(row, sample)
            shared = max((_shared(branch, self.branches[other], sample) for other in relatives), default=0)
            shared_end = script.span(min(shared - 1, len(script)) - 1)[1] if shared > 1 and len(script) else 0
            ends = ((match.start(), match.end()) for match in pattern.finditer(script.text))
            yield from (TextMatch(row, sample, start) for start, end in ends if end > shared_end)

    def _script(self, row: int, sample: int) -> Transcript:
        """Of all tokens but the first, which no view shows; of a branch that grows, as far as it is."""
        script, branch = self._scripts.get((row, sample)), self.branches[row]
        if script is None:
            script = self._scripts[row, sample] = Transcript(self._codec.reader)
        script.append(branch.tokens[1:, sample][branch.live[1:, sample]][len(script) :].tolist())
        return script


def _root(branch: Branch, tree: Tree) -> Branch:
    while branch.start.parent in tree:
        branch = tree[branch.start.parent]
    return branch


def _shared(one: Branch, other: Branch, sample: int) -> int:
    """The number of positions before the first at which they differ."""
    differ = differences(one, other, sample)
    return int(differ.argmax()) if differ.any() else len(differ)


def pattern_of(text: str) -> re.Pattern[str] | None:
    """Matches a text as it stands there, one without capitals in any case; None for an empty one."""
    return re.compile(re.escape(text), 0 if text != text.lower() else re.IGNORECASE) if text else None


class SearchBar(Horizontal):
    """A line at the bottom, there while something is searched for."""

    DEFAULT_CSS = """
    SearchBar {
        height: 1;
        padding: 0 1;
        background: $surface;
        display: none;
    }
    SearchBar.-open {
        display: block;
    }
    SearchBar > Static {
        width: auto;
        color: $text-muted;
    }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        ("enter,down", "step(1)", "the next match"),
        ("shift+enter,up", "step(-1)", "the match before"),
    ]

    @dataclass
    class Sought(Message):
        """What is to be marked; None for nothing."""

        pattern: re.Pattern[str] | None

    @dataclass
    class Reached(Sought):
        """The match to which the cursor is to go."""

        branch: Branch
        sample: int
        position: int

    def __init__(self) -> None:
        super().__init__()
        self._line, self._status = _SearchLine(), Static(markup=False)
        self._search: BranchSearch | None = None
        self._pattern: re.Pattern[str] | None = None
        self._matches = list[TextMatch]()
        self._origin = self._at = TextMatch(0, 0, 0)

    def compose(self) -> ComposeResult:
        """The line, and which match of how many it is."""
        yield Static("find ", markup=False)
        yield self._line
        yield self._status

    def open(self, search: BranchSearch, sample: int, position: int) -> None:
        """Begins to search at a position of the branch that is shown, again for what was searched for before."""
        self._search, self._origin = search, search.place(sample, position)
        self.add_class("-open")
        self._line.select_all()
        self.focus_line()
        self._seek()

    def focus_line(self) -> None:
        """Takes the focus, also back from a branch that was gone to."""
        self._line.focus()

    def fold(self) -> None:
        """Goes away once the focus is elsewhere."""
        if self._search and not self.has_focus_within:
            self._search = None
            self.remove_class("-open")
            self.post_message(self.Sought(None))

    def action_step(self, direction: int) -> None:
        """To the next match or the one before, in any branch."""
        self._find()
        if self._matches:
            at = bisect_left(self._matches, self._at)
            here = self._matches[at : at + 1] == [self._at]
            self._go(at + direction if here or direction < 0 else at)

    def on_input_changed(self, event: Input.Changed) -> None:
        """Goes to the first match after where the search began; to another branch only when a person says so."""
        event.stop()
        self._seek()

    def _seek(self) -> None:
        self._pattern, self._at = pattern_of(self._line.text), self._origin
        self._find()
        self.post_message(self.Sought(self._pattern))
        if self._search:
            shown = [number for number, match in enumerate(self._matches) if match.row == self._search.shown]
            after = [number for number in shown if self._matches[number] >= self._origin]
            if shown:
                self._go((after or shown)[0])

    def _find(self) -> None:
        self._matches = self._search.matches(self._pattern) if self._search and self._pattern else []
        self._show_status()

    def _go(self, number: int) -> None:
        assert self._search
        self._at = match = self._matches[number % len(self._matches)]
        self._show_status()
        branch, position = self._search.branches[match.row], self._search.position(match)
        self.post_message(self.Reached(self._pattern, branch, match.sample, position))

    def _show_status(self) -> None:
        self._status.update(scrub_line(self._status_text()))

    def _status_text(self) -> str:
        count = len(self._matches)
        if not (self._search and self._pattern):
            return ""
        if self._at not in self._matches:
            return f"{count:,} in other branches; enter goes there" if count else "nowhere"
        branch = self._search.branches[self._at.row]
        places = [f"{self._matches.index(self._at) + 1:,} of {count:,}"]
        places += [f"branch {branch.name}"] * (len(self._search.branches) > 1)
        places += [f"sample {self._at.sample + 1}"] * (branch.samples > 1)
        return ", ".join(places)


class _SearchLine(SignedInput):
    DEFAULT_CSS = """
    _SearchLine, _SearchLine:focus {
        width: 1fr;
        height: 1;
        border: none;
        padding: 0 1;
        background: $surface;
    }
    """

    def __init__(self) -> None:
        super().__init__(placeholder="in all samples and branches", select_on_focus=False)

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Leaves enter to the bar."""
        return action != "submit"

    def take(self, text: str) -> None:
        """Types text in place of what is selected; newlines around it are nothing."""
        self.replace(one_line(text.strip("\r\n")), *sorted(self.selection))
