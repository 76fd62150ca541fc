"""Of what Textual repaints, only what differs is written, and the terminal shows the same."""

from __future__ import annotations

import random
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from rich.cells import cell_len
from textual.driver import Driver
from textual.drivers.headless_driver import HeadlessDriver

from tests.support.driver import ScreenDriver, on_screen
from tui_gen.tui.driver import TerminalContent, sparing, style_change

_PIECE = re.compile(r"\x1b\[(?P<row>\d+);(?P<column>\d+)H|\x1b\[(?P<style>[\d;]*)m|(?P<text>[^\x1b]+)")
_COLOUR = re.compile(r"[34]8;2;\d+;\d+;\d+|\d+")


class Emulator:
    """A terminal without anything but characters, styles and moves of the cursor."""

    def __init__(self) -> None:
        self.cells = dict[tuple[int, int], tuple[str, frozenset[str]]]()
        self.place, self.style = (1, 1), dict[str, str]()

    def write(self, data: str) -> None:
        for match in _PIECE.finditer(data):
            if match["row"]:
                self.place = int(match["row"]), int(match["column"])
            elif match["text"]:
                self._put(match["text"])
            else:
                self._dress(match["style"])

    def lines(self, width: int, height: int) -> list[str]:
        blank = (" ", frozenset[str]())
        return [
            "".join(self.cells.get((row, column), blank)[0] for column in range(1, width + 1)).rstrip()
            for row in range(1, height + 1)
        ]

    def _put(self, text: str) -> None:
        row, column = self.place
        style = frozenset(self.style.values())
        for character in text.replace("\n", ""):
            width = cell_len(character)
            if not width:
                self.cells[row, column - 1] = self.cells[row, column - 1][0] + character, style
            for cell in [character, ""][:width]:
                self._break(row, column)
                self.cells[row, column] = cell, style
                column += 1
        self.place = row, column

    def _break(self, row: int, column: int) -> None:
        """What is left of a wide character of which one half is written over, is blank."""
        here, beside = self.cells.get((row, column)), self.cells.get((row, column + 1))
        if beside and beside[0] == "":
            self.cells[row, column + 1] = " ", beside[1]
        if here and here[0] == "":
            self.cells[row, column - 1] = " ", here[1]

    def _dress(self, numbers: str) -> None:
        for number in _COLOUR.findall(numbers or "0"):
            if number == "0":
                self.style = {}
            else:
                self.style[number[:2] if ";" in number else number] = number


class Tap(HeadlessDriver):
    """A driver whose output can be seen, in place of the one for tests, which writes nothing."""

    def __init__(self, app: Any, **options: Any) -> None:
        super().__init__(app, **options)
        self.output = ""

    @property
    def is_headless(self) -> bool:
        return False

    def write(self, data: str) -> None:
        self.output += data

    def take(self) -> str:
        output, self.output = self.output, ""
        return output


def random_updates(seed: int) -> Iterator[str]:
    """Repaints of parts of three rows of twenty columns, as Textual writes them; little differs between them."""
    rng = random.Random(seed)
    styles = ["", "1", "38;2;9;9;9", "38;2;9;9;9;48;2;1;1;1", "38;2;7;7;7;48;2;1;1;1", "1;7;38;2;9;9;9;48;2;1;1;1"]
    words = ["a", "word", "words", "─────────────", "語", "e\u0301t", "語e\u0301", "  "]
    for _ in range(200):
        update = ""
        for _ in range(rng.randint(1, 3)):
            update += f"\x1b[{rng.randint(1, 3)};{rng.choice([1, 1, 2, 5, 12])}H"
            for _ in range(rng.randint(0, 3)):
                style, text = rng.choice(styles), rng.choice(words)
                update += f"\x1b[{style}m{text}\x1b[0m" if style else text
        yield update + "\x1b[3;7H"


@pytest.mark.parametrize("seed", range(5))
def test_the_terminal_shows_what_it_would_show_if_everything_were_written(seed: int) -> None:
    whole, sparse, content = Emulator(), Emulator(), TerminalContent()
    for update in random_updates(seed):
        whole.write(update)
        sparse.write(content.difference(update, 3))
        assert sparse.cells == whole.cells
        assert (sparse.place, sparse.style) == (whole.place, {})


def test_what_stands_there_is_not_written_again() -> None:
    content = TerminalContent()
    row = "\x1b[2;1H\x1b[1mtoken\x1b[0m of this run \x1b[38;2;9;9;9m{}\x1b[0m\x1b[2;1H"
    assert "of this run" in content.difference(row.format(12), 24)
    assert content.difference(row.format(12), 24) == ""
    assert content.difference(row.format(13), 24) == "\x1b[2;19H\x1b[38;2;9;9;9m13\x1b[0m\x1b[2;1H"
    assert content.difference("\x1b[1;1H", 24) == "\x1b[1;1H"  # where an input method writes


def test_emoji_that_a_terminal_takes_for_narrower_leave_nothing_behind_and_move_nothing() -> None:
    update = TerminalContent().difference("\x1b[2;1H❤\ufe0f\x1b[1m|\x1b[0m\x1b[2;1H", 24)
    assert update == "\x1b[2;1H  \x1b[2;1H❤\ufe0f\x1b[2;3H\x1b[1m|\x1b[0m\x1b[2;1H"


def test_a_whole_screen_is_written_whole_for_the_terminal_may_have_changed_its_size() -> None:
    content = TerminalContent()
    screen = "\x1b[1;1Hfirst\n\x1b[2;1Hsecond\x1b[1;1H"
    content.difference(screen, 2)
    assert content.difference("\x1b[1;1Hfirst\x1b[1;1H", 2) == ""
    assert "second" in content.difference(screen, 2)


def test_what_is_not_understood_is_passed_on_and_nothing_is_known_of_it() -> None:
    content, link = TerminalContent(), "\x1b[1;1H\x1b]8;id=1;x\x1b\\here\x1b]8;;\x1b\\\x1b[2;1H"
    for _ in range(2):
        assert content.difference(link, 24) == link


@pytest.mark.parametrize(
    ("before", "after", "sequence"),
    [
        ("1", "1", ""),
        ("", "38;2;1;2;3;48;2;4;5;6", "\x1b[38;2;1;2;3;48;2;4;5;6m"),
        ("38;2;1;2;3;48;2;4;5;6", "38;2;9;2;3;48;2;4;5;6", "\x1b[38;2;9;2;3m"),
        ("38;5;12;44", "91;44", "\x1b[91m"),
        ("44", "1;44", "\x1b[1m"),
        ("1;44", "44", "\x1b[0;44m"),
        ("38;2;1;2;3;44", "44", "\x1b[0;44m"),
        ("7", "", "\x1b[0m"),
    ],
)
def test_a_style_changes_in_as_few_numbers_as_it_takes(before: str, after: str, sequence: str) -> None:
    assert style_change(before, after) == sequence


async def watch(driver: ScreenDriver) -> Tap:
    """Shows the screen on a terminal that writes sparingly, from its next repaint on."""
    kind: type[Driver] = sparing(Tap)
    tap: Any = kind(driver.app)
    driver.app._driver = tap
    driver.app.screen.refresh()
    await driver.settle()
    return tap


@pytest.mark.parametrize("model", ["cats", "stripes"])
async def test_after_a_visit_the_terminal_shows_the_screen(models: Path, model: str) -> None:
    emulator = Emulator()
    async with on_screen(models / model, samples=2) as driver:
        tap = await watch(driver)
        for keys in (["enter"], ["space", "left", "left"], ["f6"], ["f1"], ["escape"], ["f3"], ["escape", "tab"]):
            await driver.press(*keys)
            await driver.settle()
            emulator.write(tap.take())
            assert emulator.lines(80, 24) == driver.screen().split("\n")[:24]
        tap.write("\x1b[?1049h")  # the terminal was another program's in between
        tap.take()
        driver.app.screen.refresh()
        await driver.settle()
        assert len(tap.take()) > 80 * 24


async def test_a_prompt_that_waits_does_not_blink_over_the_line(models: Path) -> None:
    async with on_screen(models / "cats") as driver:
        assert driver.app.focused is driver.playground.prompt
        assert not driver.playground.prompt.cursor_blink
