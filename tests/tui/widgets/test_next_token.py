"""The distribution at one position, as a person reads it and takes an entry from it, and its numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest
from textual import events
from tokenizers import Tokenizer, models

from tests.support import toys
from tests.support.widget_app import WidgetDriver, alone, check_panel
from tui_gen.card import ModelCard
from tui_gen.errors import TuiGenError
from tui_gen.library import LoadedModel
from tui_gen.sampling.params import FREE, SamplingParams, weights
from tui_gen.sampling.step import Step
from tui_gen.text.codec import TextCodec
from tui_gen.tui.widgets.candidates import percent, short_number
from tui_gen.tui.widgets.cells import bar, column, gauge
from tui_gen.tui.widgets.next_token import NextToken

WORD_PROBS = (0.02, 0.01, 0.04, 0.5, 0.25, 0.1, 0.05, 0.03)
"""Of `toys.WORDS`, in their order."""
SIZES = [(width, height) for width in (24, 33, 65) for height in (6, 12)]
"""Those that the panel has in the smallest and the largest terminals, and at 80x24."""


def codec_of(words: Sequence[str]) -> TextCodec:
    tokenizer = Tokenizer(models.WordLevel({word: token for token, word in enumerate(words)}, unk_token=words[0]))
    return TextCodec(ModelCard("words", "text", "toy", len(words), 0), str(tokenizer.to_str()))


def step_of(
    probs: Sequence[float],
    token: int = FREE,
    params: SamplingParams | None = None,
    *,
    given: bool = False,
    index: int = 14,
) -> Step:
    """One position of one sample."""
    logits, knobs = np.log(np.array([probs], dtype=np.float32)), params or SamplingParams()
    made = None if given else weights(logits, knobs.row())
    flags = np.array([given]), np.array([True])
    return Step(index, np.array([token]), *flags, logits, made, knobs, 0.001, None)


async def show(driver: WidgetDriver, step: Step, **facts: Any) -> None:
    driver.app.widget.show_step(step, **{"title": "token 14", "place": 13, **facts})
    await driver.settle()


def rows(driver: WidgetDriver) -> dict[str, list[str]]:
    """The parts of the entries between spaces, by their label."""
    found = (line[2:].split() for line in driver.lines())
    return {parts[0]: parts[1:] for parts in found if parts}


@pytest.fixture
def words() -> TextCodec:
    return codec_of(toys.WORDS)


@pytest.fixture
def panel(words: TextCodec) -> NextToken:
    made = NextToken()
    made.clear(words)
    return made


async def test_a_person_reads_what_the_token_was_drawn_from(words: TextCodec) -> None:
    screens = {}
    for size in SIZES:
        panel = NextToken()
        panel.clear(words)
        async with alone(panel, size) as driver:
            await show(driver, step_of(WORD_PROBS, toys.RAN, SamplingParams(0.8, top_p=0.95)))
            screens[size] = driver.lines()
    check_panel("distribution-panel", screens)


async def test_both_columns_are_the_probabilities_before_and_after_the_knobs(panel: NextToken) -> None:
    async with alone(panel, (40, 12)) as driver:
        await show(driver, step_of(WORD_PROBS, toys.CAT, SamplingParams(top_k=2)))
        assert rows(driver)["cat"][-2:] == ["66.7%", "50.0%"]
        assert rows(driver)["dog"][-2:] == ["33.3%", "25.0%"]


async def test_what_a_knob_has_cut_stays_in_sight_and_says_so(panel: NextToken) -> None:
    async with alone(panel, (40, 12)) as driver:
        await show(driver, step_of(WORD_PROBS, toys.CAT, SamplingParams(top_k=2)))
        assert rows(driver)["sat"][-2:] == ["cut", "10.0%"]
        assert rows(driver)["<unk>"][-2:] == ["cut", "1.0%"]


async def test_turning_a_knob_changes_the_bars_of_the_position_that_is_shown(panel: NextToken) -> None:
    async with alone(panel, (40, 12)) as driver:
        await show(driver, step_of(WORD_PROBS, toys.CAT))
        params = SamplingParams(top_k=1)
        panel.show_knobs(params)
        await driver.settle()
        assert rows(driver)["cat"][-2:] == ["100.0%", "50.0%"]
        params.top_k = 2  # the app's own, which it goes on turning
        await show(driver, step_of(WORD_PROBS, toys.DOG, index=15))
        assert rows(driver)["cat"][-2:] == ["100.0%", "50.0%"]
        panel.show_knobs(params)
        await driver.settle()
        assert rows(driver)["dog"][-2:] == ["33.3%", "25.0%"]


@pytest.mark.parametrize(
    "params", [SamplingParams(0.3), SamplingParams(2, top_k=3), SamplingParams(0), SamplingParams(top_p=0.6, min_p=0.1)]
)
async def test_entries_stand_in_the_order_of_both_columns(panel: NextToken, params: SamplingParams) -> None:
    probs = np.random.default_rng(1).integers(1, 5, 8) / 20  # with many equals
    step = step_of(probs.tolist(), params=params)
    async with alone(panel, (40, 12), focus=True) as driver:
        await show(driver, step)
        shown = list(panel._panel_lines.tokens.values())
    assert shown == sorted(range(8), key=lambda token: (-step.probs[0, token], -probs[token], token))


@pytest.mark.parametrize(
    ("facts", "given", "says"),
    [({}, False, "▸ drawn"), ({"chosen": True}, True, "* chosen"), ({}, True, "= given")],
    ids=["drawn", "chosen", "given"],
)
async def test_a_sign_tells_how_the_token_came_there(
    panel: NextToken, facts: Mapping[str, bool], given: bool, says: str
) -> None:
    async with alone(panel, (40, 12)) as driver:
        await show(driver, step_of(WORD_PROBS, toys.DOG, given=given), **facts)
        marked = [line for line in driver.lines() if line.startswith(says[0])]
        assert marked[0].split()[:2] == says.split()
        assert marked[1].startswith(f"{says[0]} dog")
        assert len(marked) == 2


async def test_nothing_is_marked_before_anything_is_drawn(panel: NextToken) -> None:
    async with alone(panel, (40, 12)) as driver:
        await show(driver, step_of(WORD_PROBS))
        assert "cat" in rows(driver)
        assert not any(line.startswith(("▸", "*", "=")) for line in driver.lines())


async def test_a_token_that_is_not_among_the_likeliest_is_shown_below_them(panel: NextToken) -> None:
    async with alone(panel, (28, 6)) as driver:
        await show(driver, step_of(WORD_PROBS, toys.UNKNOWN))
        assert [line.split()[0] for line in driver.lines()[3:]] == ["cat", "dog", "▸"]
        assert driver.lines()[-1].startswith("▸ <unk>")


async def test_how_much_is_not_shown_is_counted(words: TextCodec) -> None:
    panel = NextToken()
    panel.clear(codec_of([f"word{number}" for number in range(1000)]))
    async with alone(panel, (33, 12)) as driver:
        await show(driver, step_of([0.001] * 1000, 999, SamplingParams(top_k=500)))
        assert driver.lines()[-2].startswith("▸ word999")
        assert driver.lines()[-1].split() == ["and", "993", "others", "98.8%", "99.3%"]


async def test_every_entry_can_be_scrolled_to_and_enter_takes_it(panel: NextToken) -> None:
    async with alone(panel, (28, 6), focus=True) as driver:
        await show(driver, step_of(WORD_PROBS, toys.CAT))
        for _ in toys.WORDS:
            await driver.press("enter", "down")
            assert len(driver.reversed_lines()) == 1
        assert [token for _, token in driver.contents] == [3, 4, 5, 6, 2, 7, 0, 1]
        assert driver.reversed_lines()[0].startswith(" ><unk>")
        assert any(line.startswith("▸ cat") for line in driver.lines())


async def test_pages_and_ends_of_a_long_list(words: TextCodec) -> None:
    panel = NextToken()
    panel.clear(codec_of([f"word{number}" for number in range(10_000)]))
    async with alone(panel, (28, 12), focus=True) as driver:
        await show(driver, step_of(np.linspace(2, 1, 10_000).tolist()))
        for key, rank in [("end", 10_000), ("pageup", 9_993), ("home", 1), ("pagedown", 8), ("up", 7), ("up", 6)]:
            await driver.press(key)
            assert driver.lines()[1].startswith(f" rank {rank:,} ")
            assert driver.reversed_lines()[0].startswith(f" >word{rank - 1}")


async def test_the_selection_starts_at_the_token_that_stands_there(panel: NextToken) -> None:
    async with alone(panel, (28, 12)) as driver:
        await show(driver, step_of(WORD_PROBS, toys.SAT))
        panel.focus()
        await driver.settle()
        assert driver.reversed_lines()[0].startswith("▸>sat")


async def test_the_selection_stays_while_a_knob_is_turned(panel: NextToken) -> None:
    async with alone(panel, (28, 12), focus=True) as driver:
        await show(driver, step_of(WORD_PROBS, toys.CAT))
        await driver.press("down", "down")
        panel.show_knobs(SamplingParams(top_k=1))
        await show(driver, step_of(WORD_PROBS, toys.CAT))  # the same, looked up anew
        assert driver.reversed_lines()[0].startswith(" >sat")


async def test_a_click_takes_the_entry_under_it(panel: NextToken) -> None:
    async with alone(panel, (28, 12)) as driver:
        await show(driver, step_of(WORD_PROBS, toys.CAT))
        line = next(number for number, line in enumerate(driver.lines()) if "sat" in line)
        await driver.click(panel, offset=(5, line))
        assert driver.contents == [("Chosen", toys.SAT)]
        assert driver.reversed_lines()[0].startswith(" >sat")


async def test_a_click_beside_the_entries_takes_nothing(words: TextCodec) -> None:
    panel = NextToken()
    panel.clear(codec_of([f"word{number}" for number in range(100)]))
    async with alone(panel, (28, 12)) as driver:
        await show(driver, step_of([0.01] * 100, 50))
        for line in (0, 1, 2, 11):  # title, headings, the count of the others: an entry once the focus has come
            await driver.click(panel, offset=(5, line))
            driver.app.set_focus(None)
            await driver.settle()
        assert not driver.messages


async def test_the_wheel_moves_through_the_list_only_where_a_person_is_at_it(panel: NextToken) -> None:
    async with alone(panel, (28, 6)) as driver:
        await show(driver, step_of(WORD_PROBS, toys.CAT))
        await driver.mouse(events.MouseScrollDown, (3, 3))
        assert rows(driver)["cat"]
        panel.focus()
        await driver.mouse(events.MouseScrollDown, (3, 3))
        assert driver.reversed_lines()[0].startswith(" >dog")


async def test_keys_mean_nothing_while_nothing_is_shown(panel: NextToken) -> None:
    async with alone(panel, (28, 6), focus=True) as driver:
        await driver.press("down", "end", "pageup", "enter")
        assert not driver.messages
        assert driver.lines()[0].startswith("─ next token ─")


@pytest.mark.parametrize(("width", "shown"), [(40, "pixel 412, row 12, column 28"), (28, "row 12, column 28")])
async def test_of_a_long_title_what_is_nearest_stays(image: LoadedModel, width: int, shown: str) -> None:
    panel = NextToken()
    panel.clear(image.codec)
    async with alone(panel, (width, 12)) as driver:
        await show(driver, step_of([0.2, 0.3, 0.5], 2), title="pixel 412, row 12, column 28")
        assert driver.lines()[0].startswith(f"─ {shown} ─")


async def test_pixel_values_are_shown_with_their_grey(image: LoadedModel) -> None:
    panel = NextToken()
    panel.clear(image.codec)
    async with alone(panel, (28, 12)) as driver:
        await show(driver, step_of([0.2, 0.3, 0.5], 1, SamplingParams(top_k=2)), title="pixel 5", place=4)
        assert [line[:6] for line in driver.lines()[4:7]] == ["  ██ 2", "▸ ██ 1", "  ██ 0"]
        assert swatches(panel) == ["#ffffff", "#808080", "#000000"]
        assert "equal values" in "\n".join(driver.lines())


async def test_values_of_a_channel_are_shown_as_so_much_of_its_colour(colour: LoadedModel) -> None:
    panel = NextToken()
    panel.clear(colour.codec)
    async with alone(panel, (28, 12), focus=True) as driver:
        await show(driver, step_of([0.2, 0.3, 0.5], 2), title="value 5", place=4)
        assert swatches(panel) == ["#00ff00", "#008000", "#000000"]


def swatches(panel: NextToken) -> list[str]:
    segments = [segment for line in panel._panel_lines.lines for segment in line if segment.text == "██ "]
    return [segment.style.color.name for segment in segments if segment.style and segment.style.color]


async def test_what_a_prompt_gives_past_the_vocabulary_is_no_entry(image: LoadedModel) -> None:
    panel = NextToken()
    panel.clear(image.codec)
    async with alone(panel, (28, 12)) as driver:
        await show(driver, step_of([0.2, 0.3, 0.5], toys.BRIGHT, given=True))
        assert "given" not in "\n".join(driver.lines())


async def test_hostile_tokens_are_shown_and_never_obeyed() -> None:
    hostile = ["[/b]", "\x1b[2J", "a\nb", "\u202eevil", "x" * 1000, "日本語日本語日本語日本語", "[@click=quit]"]
    panel = NextToken()
    panel.clear(codec_of(hostile))
    async with alone(panel, (40, 12), focus=True) as driver:
        await show(driver, step_of(np.linspace(2, 1, 7).tolist()), title="token [/b]\x1b")
        screen = "\n".join(driver.lines())
        assert not set("\x1b\u202e") & set(screen)
        for seen in ("─ token [/b]␛ ─", "[/b]", "␛[2J", "a␊b", "\ufffdevil", "xxx…", "日本", "[@click=q"):
            assert seen in screen


async def test_logits_that_cannot_be_had_are_told_in_place_of_the_bars(panel: NextToken) -> None:
    def fail() -> Any:
        raise TuiGenError("the model gave non-finite logits at position 3: its weights are damaged or it overflows")

    whole = step_of(WORD_PROBS, toys.CAT)
    flags = np.array([True]), np.array([True])
    damaged = Step(3, np.array([2]), *flags, fail, None, SamplingParams(), 0.001, None)
    async with alone(panel, (28, 12), focus=True) as driver:
        await show(driver, damaged)
        await driver.press("enter")
        assert "non-finite" in "\n".join(driver.lines())
        assert not driver.messages
        await show(driver, whole)
        assert rows(driver)["cat"][-1] == "50.0%"


def test_what_is_possible_never_looks_impossible_nor_what_is_uncertain_certain() -> None:
    shown = [percent(share) for share in (1e-9, 0.0004, 0.0006, 0.5, 0.9994, 0.9996, 1 - 1e-9, 1)]
    assert shown == ["<0.1%", "<0.1%", "0.1%", "50.0%", "99.9%", ">99.9%", ">99.9%", "100.0%"]


def test_numbers_of_equal_tokens_fit_their_column() -> None:
    assert [short_number(number) for number in (1, 99.94, 99.96, 10_000, 128_000.4)] == [
        "1.0",
        "99.9",
        "100",
        "10,000",
        "128000",
    ]


def test_a_bar_has_a_fixed_scale_and_is_full_for_certainty_alone() -> None:
    assert [bar(share, 8) for share in (0.34, 0.53, 0.99)] == ["██▊     ", "████▎   ", "███████▉"]
    assert [bar(share, 8) for share in (0, 0.001, 0.01, 0.999, 1)] == [
        " " * 8, " " * 8, "▏       ", "███████▉", "████████"
    ]  # fmt: skip
    assert [column(share, 2) for share in (0, 0.5, 0.75, 1)] == ["  ", " █", "▄█", "██"]
    assert [gauge(share, 5) for share in (0, 0.5, 0.99, 1)] == ["●────", "━━●──", "━━━●─", "━━━━●"]


@pytest.mark.parametrize("height", [6, 12, 40])
async def test_tokens_that_are_hardly_possible_are_summed_up(words: TextCodec, height: int) -> None:
    panel = NextToken()
    panel.clear(codec_of([f"word{number}" for number in range(1000)]))
    async with alone(panel, (33, height)) as driver:
        await show(driver, step_of([0.6, 0.39, *[0.01 / 998] * 998], 1, SamplingParams(0.5)))
        others = driver.lines()[5 if height == 6 else 6 :]
        assert [line.split() for line in others if line] == [["and", "998", "others", "<0.1%", "1.0%"]]
    async with alone(panel, (33, height)) as driver:
        await show(driver, step_of([0.6, 0.39, *[0.01 / 998] * 998], 900))
        assert any(line.startswith("▸ word900") for line in driver.lines())
