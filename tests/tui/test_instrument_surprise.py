"""What surprised the model in a text, and the same noise at five values of a knob."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from textual import events

from tests.support import toys
from tests.support.driver import ScreenDriver, headless_text, on_screen
from tests.support.instrument import at_rest, branch, footer, grown, lines, panel, tokens, workspace
from tui_gen.scoring.branch_scores import BranchSurprisal
from tui_gen.scoring.score import band
from tui_gen.tui.widgets.text_view import TextView

TALL = (110, 44)


def said(driver: ScreenDriver) -> str:
    """The panel of surprise as it can be read."""
    return "\n".join(lines(driver, driver.playground.side.surprisal))


def read(driver: ScreenDriver) -> BranchSurprisal:
    """The same, read at once by the core."""
    assert driver.playground.workspace
    surprise = BranchSurprisal(branch(driver), driver.workspace.loaded_model.codec)
    surprise.update()
    return surprise


def totals(driver: ScreenDriver, sample: int = 0) -> list[str]:
    """What the panel is to say first."""
    total = read(driver).totals(sample)
    return [f"{total.bits:,.0f} bits in {total.tokens:,} tokens", f"{total.bits / total.tokens:.2f} bits a token"]


async def test_the_totals_of_a_finished_run_are_what_the_core_computes(models: Path) -> None:
    async with on_screen(models / "cats", prompt="the", seed=5, size=TALL) as (driver, _):
        await driver.run_to_end()
        await driver.press("f6")
        await driver.until(lambda: all(line in said(driver) for line in totals(driver)))
        await driver.shows(f"perplexity {read(driver).totals(0).perplexity:.2f}")
        await driver.press("f6")
        await driver.shows(f"─ token {len(branch(driver)) - 1} ─")
        assert not said(driver)


async def test_a_run_under_way_is_read_along(models: Path) -> None:
    async with on_screen(models / "endless", prompt="the", pace=64, length=100_000, size=TALL) as (driver, _):
        await driver.press("enter")
        await driver.until(lambda: grown(driver, 3))
        await driver.press("f6")
        await driver.shows("bits a token")
        first = said(driver)
        await driver.until(lambda: grown(driver, 20) and said(driver) != first)
        await driver.press("space")
        await driver.until(lambda: at_rest(driver))
        await driver.until(lambda: all(line in said(driver) for line in totals(driver)))


async def test_every_token_is_marked_by_its_bits(models: Path) -> None:
    async with on_screen(models / "endless", prompt="the", seed=5, length=40, size=TALL) as (driver, _):
        await driver.run_to_end()
        await driver.press("f6")
        await driver.until(lambda: totals(driver)[0] in said(driver))
        await driver.until(lambda: _marks(driver) == _bands(read(driver).bits[:, 0].tolist()))
        assert len(set(_marks(driver))) > 1
        await driver.press("f6")
        await driver.until(lambda: len(set(_marks(driver))) < 2)


async def test_a_text_that_was_pasted_is_read_without_a_word_being_made(models: Path) -> None:
    async with on_screen(models / "cats", length=0, size=TALL) as (driver, _):
        driver.playground.prompt.post_message(events.Paste("the cat ran. the dog dog sat."))
        await driver.until(lambda: driver.playground.prompt.value)
        await driver.run_to_end()
        await driver.press("f6")
        await driver.shows("no token is made yet")
        given = read(driver).totals(0, "given")
        await driver.shows(f"given: {given.bits:.0f} bits in 9 tokens")
        assert branch(driver).given.all()
        await driver.until(lambda: _marks(driver) == _bands(read(driver).bits[:, 0].tolist()))


async def test_one_of_the_ten_most_surprising_tokens_is_chosen_and_walked_to(models: Path) -> None:
    async with on_screen(models / "endless", prompt="the", seed=5, length=60, size=TALL) as (driver, _):
        await driver.run_to_end()
        await driver.press("f6")
        await driver.until(lambda: totals(driver)[0] in said(driver))
        peaks = read(driver).top(0)
        found = [line.split() for line in said(driver).split("\n") if line[-5:].strip().isdigit()]
        assert [int(row[-1]) for row in found] == [peak.position - 1 for peak in peaks]
        await driver.until(lambda: driver.app.focused is not None)
        while not driver.playground.side.surprisal.has_focus_within:
            await driver.press("tab")
        await driver.press("down", "down", "enter")
        await driver.until(lambda: driver.view.cursor and driver.view.cursor.position == peaks[2].position)
        await driver.press("escape", "f6")
        await driver.shows(f"─ token {peaks[2].position} ─")
        await driver.until(lambda: f"▸ {toys.WORDS[peaks[2].token]} " in panel(driver))


async def test_the_last_line_says_what_the_keys_do_in_the_panel_of_surprise(models: Path) -> None:
    async with on_screen(models / "endless", prompt="the", length=60, size=TALL) as (driver, _):
        await driver.run_to_end()
        await driver.press("f6")
        while not driver.playground.side.surprisal.has_focus_within:
            await driver.press("tab")
        await driver.until(lambda: "esc back" in footer(driver))
        assert "0-9 type" not in footer(driver)


async def test_f5_shows_the_same_noise_at_five_temperatures(models: Path) -> None:
    async with on_screen(models / "cats", prompt="the", seed=5, size=(200, 40)) as (driver, _):
        await driver.press("f5")
        await driver.until(driver.says_end)
        values = (0.4, 0.7, 1.0, 1.3, 1.6)
        for value in values:
            await driver.shows(f"temperature {value:.2f}──")
        pages = [page.text for page in driver.app.query(TextView)]
        assert pages == [headless_text(models / "cats", "the", seed=5, temperature=value) for value in values]
        assert len(set(pages)) > 2


async def test_on_a_narrow_screen_five_columns_have_the_room_of_the_panels(models: Path) -> None:
    async with on_screen(models / "cats", prompt="the", seed=5, size=(80, 24)) as (driver, _):
        await driver.press("f5")
        await driver.until(driver.says_end)
        for value in ("0.40", "0.70", "1.00", "1.30", "1.60"):
            await driver.shows(value)
        assert not driver.playground.side.display


async def test_f5_sweeps_the_selected_knob(models: Path) -> None:
    async with on_screen(models / "cats", prompt="the", seed=5, size=(200, 40)) as (driver, _):
        await driver.press("f8", "down", "f5")
        await driver.until(driver.says_end)
        for value in (1, 2, 3, 5):
            await driver.shows(f"top-k {value}─")
        await driver.shows("top-k off─")
        pages = [page.text for page in driver.app.query(TextView)]
        assert pages[0] == "the " + toys.GREEDY_TEXT
        assert pages[4] == headless_text(models / "cats", "the", seed=5)
    async with on_screen(models / "cats", prompt="the", seed=5) as (driver, _):
        for number, top_k in enumerate((1, 2, 3, 5, 8)):
            driver.params.top_k = top_k
            await driver.run_to_end()
            assert driver.page == pages[number]
            await driver.press("escape")


async def test_a_column_of_a_sweep_is_left_like_any_run_and_keeps_its_value(models: Path) -> None:
    async with on_screen(models / "endless", prompt="the", seed=5, length=8, size=(200, 40)) as (driver, _):
        await driver.press("f5")
        await driver.until(driver.says_end)
        await driver.press("home", "right", "right")
        await driver.shows("─ token 3")
        await driver.type("dog")
        await driver.press("enter")
        await driver.until(lambda: branch(driver).name == "2" and driver.says_end())
        await driver.shows("temperature 0.40──")
        assert tokens(branch(driver), 0)[3] == toys.DOG
        assert np.array_equal(branch(driver).tokens[:, 1:], workspace(driver).tree["1"].tokens[:, 1:])


def _marks(driver: ScreenDriver) -> list[int]:
    """The bands of the words on the page, in order."""
    page = driver.app.query(TextView).first()
    looks = [page.get_component_rich_style(f"text-view--band-{number}") for number in range(5)]
    strips = [page.render_line(y) for y in range(len(page._body.lines))]
    segments = [segment for strip in strips for segment in strip if segment.text.strip()]
    return [looks.index(segment.style) for segment in segments if segment.style in looks]


def _bands(bits: list[float]) -> list[int]:
    return [band(value) for value in bits]
