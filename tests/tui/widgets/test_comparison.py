"""Two branches beside each other: what differs is marked and counted, and stays side by side when it is scrolled."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from rich.segment import Segment
from textual.widgets import Static

from tests.support import toys
from tests.support.widget_app import alone, grow
from tui_gen.generation.branch import Branch, BranchStart
from tui_gen.generation.tree import Tree, differences
from tui_gen.images.picture import UNDRAWN
from tui_gen.library import LoadedModel, open_model
from tui_gen.sampling.params import SamplingParams
from tui_gen.tui.widgets.comparison import Comparison, TwoTexts
from tui_gen.tui.widgets.image_view import ImageView

PLAIN = SamplingParams(1.2)


def two(loaded_model: LoadedModel, at: int, token: int, *, prompt: str = "", times: int = 1) -> tuple[Branch, Branch]:
    """A branch of 50 tokens, times so many, and one that left it with another token."""
    tree = Tree(loaded_model.model)
    one = tree.begin(BranchStart(loaded_model.codec.prompt([prompt]), 7, PLAIN, text=prompt))
    grow(one, 50 * times)
    other = tree.begin(one.changed(at, np.array([[token]])))
    grow(other, 50 * times)
    return one, other


@pytest.fixture
def endless_one(tmp_path: Path) -> LoadedModel:
    return open_model(toys.endless_text_folder(tmp_path / "endless"), provider="cpu", threads=1)


def underlined(view: TwoTexts, y: int) -> list[str]:
    segments: list[Segment] = list(view.render_lines(view.size.region)[y])
    return [part.text for part in segments if part.style and part.style.underline]


async def test_two_texts_stand_side_by_side_and_what_differs_is_underlined(endless_one: LoadedModel) -> None:
    one, other = two(endless_one, 20, toys.UNKNOWN, prompt="the")
    async with alone(Comparison(one, other, endless_one), (120, 20)) as driver:
        screen, view = driver.lines(), driver.app.query_one(TwoTexts)
        assert screen[1].split(" │ ")[0].strip() == "1  seed 7: the"
        assert screen[1].split(" │ ")[1].strip() == "2  token 19: <unk>"
        left, right = (" ".join(row.partition("│")[side] for row in screen[2:]) for side in (0, 2))
        assert left.split() == str(endless_one.codec.decode(one.tokens[1:, 0].tolist())).split()
        assert "<unk>" in right
        marks = [word for y in range(view.size.height) for word in underlined(view, y)]
        assert "<unk>" in marks
        assert not any(mark != mark.strip() for mark in marks)


async def test_a_line_says_how_many_tokens_differ_and_which_is_the_first(endless_one: LoadedModel) -> None:
    one, other = two(endless_one, 20, toys.UNKNOWN)
    differ = differences(one, other)
    total = max(len(one), len(other)) - 1
    was = endless_one.codec.token_text(int(one.tokens[20, 0]))
    comparison = Comparison(one, other, endless_one)
    assert comparison.summary == f"{differ.sum()} of {total} tokens differ; the first is token 20: {was} | <unk>"
    assert Comparison(one, one, endless_one).summary == f"all {len(one) - 1} tokens are the same"
    async with alone(comparison, (30, 12)) as driver:
        assert driver.app.query_one(Static).size.height > 1  # all of it, also where there is little room


async def test_where_one_has_ended_the_rest_of_the_other_differs(text: LoadedModel) -> None:
    tree = Tree(text.model)
    one = grow(tree.begin(BranchStart(text.codec.prompt(["the"]), 7, SamplingParams(0.0))))
    other = tree.begin(one.changed(len(one) - 4, params=SamplingParams(0.0)))
    assert one.ended
    assert "4 of" in (summary := Comparison(one, other, text).summary)
    assert summary.endswith("| no more")
    grow(other)
    assert Comparison(one, other, text).summary == f"all {len(one) - one.head} tokens are the same"


async def test_both_texts_scroll_together_and_their_headings_stay(endless_one: LoadedModel) -> None:
    one, other = two(endless_one, 3, toys.DOG, times=12)
    async with alone(Comparison(one, other, endless_one), (80, 12)) as driver:
        view = driver.app.query_one(TwoTexts)
        driver.app.widget.focus()
        await driver.settle()
        before = driver.lines()
        await driver.press("pagedown")
        await driver.until(lambda: view.scroll_y == view.size.height)
        driver.app.widget.scroll_page_up(animate=False)
        await driver.until(lambda: view.scroll_y == 0)
        driver.app.widget.scroll_page_down(animate=False)
        await driver.until(lambda: view.scroll_y > 0)
        after = driver.lines()
        assert after[1].split(" │ ")[0] == before[1].split(" │ ")[0]
        for side in (0, 1):
            assert after[2].split(" │ ")[side] != before[2].split(" │ ")[side]
        await driver.press("end")
        await driver.until(lambda: view.scroll_y == view.max_scroll_y)
        longest = max(len(wrapped.lines) for wrapped in view._bodies)
        assert view.max_scroll_y == longest - (view.size.height - 1)
        assert any(wrapped.lines[-1].text.strip()[-5:] in driver.lines()[-1] for wrapped in view._bodies)


async def test_where_there_is_little_room_one_text_stands_below_the_other(endless_one: LoadedModel) -> None:
    one, other = two(endless_one, 3, toys.DOG, times=12)
    async with alone(Comparison(one, other, endless_one), (40, 21)) as driver:
        view = driver.app.query_one(TwoTexts)
        await driver.settle()
        assert view.is_stacked
        screen = [row[:38].rstrip() for row in driver.lines()]
        headings = [y for y, row in enumerate(screen) if row.strip() in ("1  seed 7", "2  token 3: dog")]
        assert len(headings) == 2
        view.focus()
        await driver.press("down", "down")
        await driver.until(lambda: view.scroll_y == 2)
        scrolled = [row[:38].rstrip() for row in driver.lines()]
        for heading in headings:
            assert scrolled[heading] == screen[heading]
            assert scrolled[heading + 1] == screen[heading + 3]
        await driver.resize(100, 20)
        assert not view.is_stacked


async def test_two_pictures_stand_beside_the_pixels_that_differ(image: LoadedModel) -> None:
    one, other = two(image, 8, 1, prompt="bright")
    first = one.tokens[2:26, 0].reshape(toys.HEIGHT, toys.WIDTH)
    second = other.tokens[2:26, 0].reshape(toys.HEIGHT, toys.WIDTH)
    differ = first != second
    async with alone(Comparison(one, other, image), (100, 20)) as driver:
        rgb = driver.app.query_one(ImageView).picture.rgb
        greys = np.array([0, 128, 255])
        assert (rgb[0, :, :, 0] == greys[first]).all()
        assert (rgb[1, :, :, 0] == greys[second]).all()
        assert (rgb[2][differ] == 255).all()
        assert (rgb[2][~differ] < 64).all()
        screen = "\n".join(driver.lines())
        assert f"{differ.sum()} of 24 pixels differ; the first is pixel 7: row 1, column 0" in screen
        assert "2  pixel 7: 1" in screen
        assert screen.count("▀") > 24
        driver.app.widget.draw_in("ascii")
        await driver.settle()
        assert "@" in "\n".join(driver.lines())


async def test_pictures_that_are_not_finished_and_have_other_prompts_are_compared_pixel_by_pixel(
    image: LoadedModel,
) -> None:
    tree = Tree(image.model)
    whole = grow(tree.begin(BranchStart(image.codec.prompt(["bright"]), 7, SamplingParams(0.0), text="bright")))
    part = tree.begin(BranchStart(image.codec.prompt(["bright, deep dark"]), 7, SamplingParams(0.0)))
    made = part.step_buffer()
    for step, _ in zip(part.steps(SamplingParams(0.0)), range(9), strict=False):
        made.append(step)
    part.record(made)
    comparison = Comparison(whole, part, image)
    assert comparison.summary.split(";")[0].endswith("of 24 pixels differ")
    assert isinstance(comparison.view, ImageView)
    rgb = comparison.view.picture.rgb
    drawn = (rgb[1] != UNDRAWN).all(axis=2)
    assert drawn.sum() == 7  # two of the nine tokens were the prompt's
    assert (rgb[2][~drawn] == 255).all()


def test_a_picture_in_colour_differs_where_any_channel_does(colour: LoadedModel) -> None:
    one, other = two(colour, 1 + 3 * 4 + 1, 1)
    other_colours = Comparison(one, other, colour)
    assert isinstance(other_colours.view, ImageView)
    rgb = other_colours.view.picture.rgb
    assert (rgb[0] != rgb[1]).any(axis=2)[0, 4]
    assert "the first is pixel 5: row 0, column 4" in other_colours.summary


async def test_foreign_text_is_shown_and_never_obeyed(tmp_path: Path) -> None:
    hostile = toys.word_tokenizer(["the \x1b]0;owned\x07 [/b]\u202e"], vocab_size=8, min_count=1).to_str()
    folder = toys.endless_text_folder(tmp_path / "hostile", tokenizer=str(hostile))
    loaded_model = open_model(folder, provider="cpu", threads=1)
    tree = Tree(loaded_model.model)
    one = grow(tree.begin(BranchStart(loaded_model.codec.prompt(["the"]), 7, PLAIN, text="\x1b[2J[/b]")))
    other = grow(tree.begin(one.changed(2, np.array([[4]]))))
    tree.rename("2", "\x9b2J[/b]")
    async with alone(Comparison(one, other, loaded_model), (80, 20)) as driver:
        screen = "".join(driver.lines())
        assert not any(
            ord(character) < 32 or 127 <= ord(character) < 160 or character == "\u202e" for character in screen
        )
        assert "[/b]" in screen


async def test_a_click_on_a_compared_picture_is_no_wish_to_walk_there(image: LoadedModel) -> None:
    async with alone(Comparison(*two(image, 8, 1), image), (100, 20)) as driver:
        tiling = driver.app.query_one(ImageView)._tiling
        await driver.click(driver.app.query_one(ImageView), (tiling.left + 1, tiling.top + 1))
        assert not driver.app.leaks
