"""The panel says in words how surprised the model was, and leads to the tokens that surprised it most."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tests.support import toys
from tests.support.widget_app import WidgetDriver, alone, grow
from tui_gen.generation.branch import Branch, BranchStart
from tui_gen.library import LoadedModel, open_model
from tui_gen.sampling.params import SamplingParams
from tui_gen.scoring.branch_scores import BranchSurprisal, Peak
from tui_gen.scoring.score import Totals
from tui_gen.tui.widgets.candidates import label
from tui_gen.tui.widgets.surprisal_panel import SurprisalPanel
from tui_gen.tui.widgets.surprisal_rows import first_that_fits, totals_lines

SIZE = (28, 20)


class Run:
    """A branch, its surprisal, and how to show it."""

    def __init__(self, loaded_model: LoadedModel, text: str) -> None:
        self.loaded_model = loaded_model
        prompt = loaded_model.codec.prompt([text])
        self.head = prompt.shape[1]
        self.take(Branch("1", BranchStart(prompt, 5, SamplingParams(1.5), text=text), loaded_model.model))

    def take(self, branch: Branch) -> None:
        self.branch, self.surprise = branch, BranchSurprisal(branch, self.loaded_model.codec)

    def leave(self, at: int, tokens: list[int]) -> None:
        """Goes on in a branch that leaves the present one with other tokens."""
        start = self.branch.changed(at, np.array([tokens]))
        self.take(Branch("2", start, self.loaded_model.model, parent=self.branch))

    def grow(self, count: int) -> Run:
        grow(self.branch, count, 1.5)
        self.surprise.update()
        return self

    async def show(self, driver: WidgetDriver, name_of: Callable[[int], str] | None = None) -> None:
        driver.app.widget.show(self.surprise, 0, name_of or self.name, self.head)
        await driver.settle()

    def name(self, token: int) -> str:
        return label(self.loaded_model.codec, token)


def lines(driver: WidgetDriver) -> list[str]:
    """What stands below the title."""
    return driver.lines()[1:]


def chosen(driver: WidgetDriver) -> list[int]:
    """The positions that the panel asked for."""
    return [position for _, position in driver.contents]


@pytest.fixture
def words(tmp_path: Path) -> Run:
    return Run(open_model(toys.endless_text_folder(tmp_path / "endless"), provider="cpu"), "the cat").grow(182)


async def test_a_person_reads_the_totals_in_words(words: Run) -> None:
    async with alone(SurprisalPanel(), SIZE) as driver:
        await words.show(driver)
        made, given = words.surprise.totals(0), words.surprise.totals(0, "given")
        assert lines(driver)[:6] == [
            f" {made.bits:,.0f} bits in 180 tokens",
            f" {made.bits / 180:.2f} bits a token",
            f" like {made.perplexity:.1f} equal choices",
            f" {made.bits_per_unit:.2f} bits a character",
            f" perplexity {made.perplexity:.2f}",
            f" given: {given.bits:.0f} bits in 2 tokens",
        ]


async def test_the_most_surprising_tokens_stand_with_their_bits_names_and_places(words: Run) -> None:
    async with alone(SurprisalPanel(), (34, 30)) as driver:
        await words.show(driver)
        shown = [line.split() for line in lines(driver)]
        for peak in words.surprise.top(0):
            place = [f"{peak.position - words.head + 1}"] if peak.origin == "drawn" else ["prompt", f"{peak.position}"]
            assert [f"{peak.bits:.1f}", words.name(peak.token), *place] in shown


async def test_what_a_person_chose_and_what_the_prompt_gave_is_marked_and_the_marks_are_explained(words: Run) -> None:
    run = Run(words.loaded_model, "the the").grow(9)
    run.leave(6, [toys.UNKNOWN])
    run.grow(4)
    async with alone(SurprisalPanel(), (28, 26)) as driver:
        await run.show(driver)
        shown = "\n".join(lines(driver))
        assert f" * {run.surprise.top(0)[0].bits:.1f} <unk>" in shown
        assert any(line.startswith(" =") and line.endswith(("prompt 1", "prompt 2")) for line in lines(driver))
        assert "= given  * chosen" in shown


@pytest.mark.parametrize("theme", ["textual-dark", "textual-light"])
async def test_the_bands_differ_without_colour(words: Run, theme: str) -> None:
    async with alone(SurprisalPanel(), (30, 30), theme=theme) as driver:
        await words.show(driver)
        looks = set()
        for word in ("expected", "likely", "possible", "surprising", "startling"):
            [style] = [segment.style for segment in driver.segments(word)]
            assert style
            assert style.color
            brightness = sum(style.color.get_truecolor())
            looks.add((style.bold, style.underline, style.reverse, brightness))
        assert len(looks) == 5


async def test_arrows_select_a_token_and_enter_leads_to_it(words: Run) -> None:
    async with alone(SurprisalPanel(), SIZE) as driver:
        await words.show(driver)
        driver.app.widget.focus()
        await driver.press("enter", "down", "down", "enter", "up", "enter", "end", "enter", "home", "up", "enter")
        top = [peak.position for peak in words.surprise.top(0)]
        assert chosen(driver) == [top[0], top[2], top[1], top[9], top[0]]


async def test_a_selected_token_is_in_sight_also_where_few_have_room_and_is_marked(words: Run) -> None:
    async with alone(SurprisalPanel(), (28, 9)) as driver:
        await words.show(driver)
        driver.app.widget.focus()
        for peak in words.surprise.top(0):
            await driver.settle()
            [line] = [line for line in lines(driver) if line.startswith(">")]
            assert f"{peak.bits:.1f} {words.name(peak.token)}" in line
            await driver.press("down")


async def test_a_click_leads_to_a_token_and_elsewhere_to_nothing(words: Run) -> None:
    async with alone(SurprisalPanel(), (28, 9)) as driver:
        await words.show(driver)
        row = next(at for at, line in enumerate(lines(driver)) if line.startswith("   bits token")) + 2
        await driver.click(driver.app.widget, offset=(5, 2))
        assert chosen(driver) == []
        await driver.click(driver.app.widget, offset=(5, row + 1))
        assert chosen(driver) == [words.surprise.top(0)[1].position]


async def test_the_selection_stays_on_its_token_while_others_come(words: Run) -> None:
    async with alone(SurprisalPanel(), SIZE) as driver:
        await words.show(driver)
        driver.app.widget.focus()
        before = [peak.position for peak in words.surprise.top(0)]
        number, kept = next((number, at) for number, at in enumerate(before) if at < 100)
        await driver.press(*["down"] * number)
        words.leave(100, [toys.UNKNOWN] * 3)
        await words.grow(60).show(driver)
        await driver.press("enter")
        assert chosen(driver) == [kept]
        assert words.surprise.top(0)[number].position != kept


async def test_nothing_is_worked_out_again_until_something_new_was_read(
    words: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = list[int]()
    top = BranchSurprisal.top

    def counted(self: BranchSurprisal, sample: int) -> list[Peak]:
        asked.append(sample)
        return top(self, sample)

    monkeypatch.setattr(BranchSurprisal, "top", counted)
    async with alone(SurprisalPanel(), SIZE) as driver:
        for _ in range(3):
            await words.show(driver)
        assert asked == [0]
        await words.grow(1).show(driver)
        assert asked == [0, 0]


async def test_it_says_what_it_waits_for_and_can_be_emptied(words: Run) -> None:
    async with alone(SurprisalPanel(), SIZE) as driver:
        driver.app.widget.waiting("reading 5,000 tokens [/b] \x1b[2J")
        await driver.settle()
        assert " ".join(" ".join(lines(driver)).split()) == "reading 5,000 tokens [/b] ␛[2J"
        await words.show(driver)
        assert "bits in 180 tokens" in lines(driver)[0]
        driver.app.widget.clear()
        driver.app.widget.focus()
        await driver.press("down", "enter")
        assert not any(lines(driver))
        assert chosen(driver) == []
        await words.show(driver)
        assert "bits in 180 tokens" in lines(driver)[0]


async def test_names_of_tokens_are_made_harmless(words: Run) -> None:
    async with alone(SurprisalPanel(), SIZE) as driver:
        await words.show(driver, name_of=lambda token: f"\x1b]0;{token}\n[b]")
        shown = "\n".join(lines(driver))
        assert "␛]0;" in shown
        assert "\x1b" not in shown


async def test_nothing_made_yet_is_said(words: Run) -> None:
    run = Run(words.loaded_model, "the cat")
    async with alone(SurprisalPanel(), SIZE) as driver:
        await run.show(driver)
        assert lines(driver)[0] == " no token is made yet"
        await run.grow(2).show(driver)
        assert lines(driver)[1].startswith(" given: ")


async def test_a_picture_has_rows_columns_and_the_colours_of_its_heat(image: LoadedModel) -> None:
    run = Run(image, "bright").grow(25)
    async with alone(SurprisalPanel(), (28, 26)) as driver:
        await run.show(driver)
        shown = lines(driver)
        assert shown[0].endswith(" bits in 24 pixels")
        assert not any("character" in line for line in shown)
        assert [line for line in shown if line.startswith(" ██")] == [
            " ██ 0 bits", " ██ 0.5", " ██ 2", " ██ 5", " ██ 8 and more"
        ]  # fmt: skip
        peak = run.surprise.top(0)[0]
        row, column = divmod(peak.position - run.head, toys.WIDTH)
        assert any(line.split()[2:] == [f"{peak.token}", f"{row},{column}"] for line in shown if "█ " in line)


async def test_a_picture_in_colour_counts_values_and_names_their_channel(colour: LoadedModel) -> None:
    run = Run(colour, "").grow(30)
    async with alone(SurprisalPanel(), (28, 26)) as driver:
        await run.show(driver)
        shown = "\n".join(lines(driver))
        assert " bits in 30 values" in shown
        assert " bits a pixel" in shown
        peak = run.surprise.top(0)[0]
        assert f",{(peak.position - run.head) // 3 % toys.WIDTH} {'RGB'[(peak.position - run.head) % 3]}" in shown


@pytest.mark.parametrize("size", [(34, 60), (28, 21), (28, 12), (28, 9), (18, 7), (9, 4), (2, 3)], ids=str)
async def test_it_fits_where_it_stands(words: Run, image: LoadedModel, size: tuple[int, int]) -> None:
    pictured = Run(image, "").grow(24)
    async with alone(SurprisalPanel(), size) as driver:
        for run in (words, pictured):
            await run.show(driver)
            driver.app.widget.focus()
            await driver.press("down", "end")
            assert any(lines(driver))


def test_long_numbers_are_told_in_fewer_words_and_infinite_ones_by_name() -> None:
    made, none = Totals("character", units=9, tokens=123_456, bits=1_234_567.0), Totals("character")
    wide, narrow = (first_that_fits(totals_lines(made, none, "token")[0], cells) for cells in (40, 26))
    assert wide == "1,234,567 bits in 123,456 tokens"
    assert narrow == "1,234,567 bits"
    infinite = totals_lines(Totals("pixel", 1, 1, float("inf")), none, "pixel")
    assert [first_that_fits(words, 26) for words in infinite] == [
        "infinite bits in 1 pixel", "infinite bits a pixel", "like infinite choices", "perplexity infinite"
    ]  # fmt: skip
