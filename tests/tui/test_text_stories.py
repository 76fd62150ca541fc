"""What a person does with a text model, key by key."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from textual import events

from tests.support import toys
from tests.support.driver import headless_text, on_screen
from tests.support.instrument import panel, shares
from tui_gen.tui.widgets.knob_panel import KnobPanel
from tui_gen.tui.widgets.prompt import Prompt
from tui_gen.tui.widgets.text_view import TextView


async def test_typing_a_prompt_and_enter_is_all_that_a_first_run_takes(models: Path) -> None:
    async with on_screen(models / "cats", temperature=0.0) as (driver, _):
        await driver.type("the")
        await driver.run_to_end()
        assert driver.page == "the " + toys.GREEDY_TEXT
        await driver.shows("the cat sat.")
        assert isinstance(driver.app.focused, TextView)


@pytest.mark.parametrize("seed", [1, 7])
async def test_the_screen_shows_the_text_that_the_command_line_prints_for_that_seed(models: Path, seed: int) -> None:
    async with on_screen(models / "cats", seed=seed, prompt="dog") as (driver, _):
        await driver.run_to_end()
        command = [sys.executable, "-m", "tui_gen", "generate", "cats", "dog", "--seed", str(seed)]
        printed = subprocess.run(command, capture_output=True, check=True, text=True).stdout
        assert driver.page + "\n" == printed


async def test_every_sample_has_its_page_and_none_depends_on_how_many_there_are(models: Path) -> None:
    async with on_screen(models / "cats", seed=3, samples=3) as (driver, _):
        await driver.run_to_end()
        pages = [page.text for page in driver.app.query(TextView)]
    assert pages == [headless_text(models / "cats", "", seed=3, sample=i, samples=5) for i in range(3)]


async def test_many_samples_can_be_scrolled_to(models: Path) -> None:
    async with on_screen(models / "cats", seed=3, samples=8) as (driver, _):
        await driver.run_to_end()
        await driver.shows("sample 1 of 8")
        await driver.press(*["pagedown"] * 5)
        await driver.shows("sample 8 of 8")
        await driver.press(*["pageup"] * 5)
        await driver.shows("sample 1 of 8")


async def test_lines_that_are_pasted_are_all_kept_and_read_as_lines(models: Path) -> None:
    async with on_screen(models / "letters") as (driver, _):
        driver.playground.prompt.post_message(events.Paste("ab\r\nc\x1b[2J\n"))
        await driver.until(lambda: driver.playground.prompt.value)
        assert driver.playground.prompt.text == "ab\nc\u241b[2J"


async def test_a_new_run_is_not_disturbed_by_the_end_of_the_old(models: Path) -> None:
    async with on_screen(models / "endless", pace=512, length=100_000) as (driver, _):
        for _ in range(5):
            await driver.press("enter")
            await driver.until(lambda: driver.running)
            before = driver.view
            driver.app.simulate_key("escape")
            driver.app.simulate_key("enter")
            await driver.until(lambda before=before: driver.view is not before and driver.running)
            await driver.until(lambda: driver.app.query(TextView) and len(driver.page) > 40)
            assert isinstance(driver.app.focused, TextView)


async def test_the_temperature_turned_in_mid_run_counts_for_the_next_tokens(models: Path) -> None:
    async with on_screen(models / "endless", pace=64, length=100_000) as (driver, _):
        await driver.press("enter")
        await driver.until(lambda: len(driver.steps) > 3)
        before = driver.params.temperature
        await driver.press("up", "up")
        await driver.until(lambda: driver.steps[-1].params.temperature == pytest.approx(before + 0.10))
        await driver.press("down")
        await driver.until(lambda: driver.steps[-1].params.temperature == pytest.approx(before + 0.05))
        await driver.shows(f"temperature {before + 0.05:.2f}")
        assert driver.steps[0].params.temperature == before


async def test_the_temperature_stays_between_0_and_2(models: Path) -> None:
    async with on_screen(models / "cats", temperature=0.05) as (driver, _):
        await driver.press("down", "down", "down")
        assert driver.params.temperature == 0
        await driver.press(*["up"] * 45)
        assert driver.params.temperature == 2


async def test_escape_stops_and_keeps_what_was_made(models: Path) -> None:
    async with on_screen(models / "endless", pace=64, length=100_000) as (driver, _):
        await driver.press("enter")
        await driver.until(lambda: len(driver.steps) > 3)
        await driver.press("escape")
        await driver.until(lambda: not driver.running)
        made = driver.page
        assert made
        assert "stopped at" in driver.app.query_one(KnobPanel).progress
        await driver.press("escape", "left")
        assert driver.app.focused is driver.app.query_one(Prompt)
        assert driver.page == made


async def test_space_pauses_and_goes_on(models: Path) -> None:
    async with on_screen(models / "endless", pace=512, length=100_000) as (driver, pilot):
        await driver.press("enter")
        await driver.until(lambda: len(driver.steps) > 3)
        await driver.press("space")
        await driver.shows("space go on")
        await driver.shows("paused at")
        await pilot.pause(0.2)
        made = len(driver.steps)
        await pilot.pause(0.2)
        assert len(driver.steps) == made
        await driver.press("space")
        await driver.until(lambda: len(driver.steps) > made)


async def test_a_new_seed_is_shown_and_used(models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("secrets.randbelow", lambda _: 99)
    async with on_screen(models / "cats", seed=1) as (driver, _):
        await driver.press("ctrl+n")
        await driver.until(driver.says_end)
        await driver.shows("seed        99")
        assert driver.page == headless_text(models / "cats", "", seed=99)


async def test_the_pace_can_be_turned_in_mid_run(models: Path) -> None:
    async with on_screen(models / "endless", pace=2) as (driver, _):
        await driver.press("enter")
        await driver.until(lambda: driver.steps)
        await driver.press(*["right_square_bracket"] * 8)
        await driver.shows("pace        512 a second")
        await driver.until(lambda: len(driver.steps) > 50)
        await driver.press("left_square_bracket")
        await driver.shows("pace        256 a second")


async def test_the_bars_show_what_the_newest_token_was_drawn_from(models: Path) -> None:
    async with on_screen(models / "cats", temperature=0.0, length=1) as (driver, _):
        await driver.type("the")
        await driver.run_to_end()
        rows = [line for line in driver.screen().splitlines() if "▸ cat " in line]
        assert rows
        assert "100.0%" in rows[0]


async def test_a_token_that_was_drawn_is_shown_even_when_it_is_not_among_the_likeliest(models: Path) -> None:
    async with on_screen(models / "cats", prompt="the <unk>", size=(80, 17), temperature=0.0, length=0) as (driver, _):
        await driver.run_to_end()
        assert driver.playground.side.next_token.size.height < len(toys.WORDS)
        await driver.shows("= <unk>")


async def test_unknown_words_are_marked_before_anything_runs_and_read_as_unknown(models: Path) -> None:
    async with on_screen(models / "cats") as (driver, _):
        await driver.type("the zebra")
        prompt = driver.app.query_one(Prompt)
        assert prompt.unknown() == ["zebra"]
        styled = [segment.text for segment in prompt.render_line(0) if segment.style and segment.style.underline]
        assert "".join(styled) == "zebra"
        await driver.run_to_end()
        assert driver.page.startswith("the <unk>")


async def test_a_character_that_cannot_be_read_is_refused_and_nothing_is_lost(models: Path) -> None:
    async with on_screen(models / "letters") as (driver, _):
        await driver.type("abz")
        await driver.press("enter")
        await driver.until(lambda: driver.app._notifications)
        assert driver.view is None
        assert driver.app.query_one(Prompt).value == "abz"


async def test_an_empty_prompt_and_a_length_of_nothing_are_fine(models: Path) -> None:
    async with on_screen(models / "cats", length=0) as (driver, _):
        await driver.run_to_end()
        assert driver.page == ""
        await driver.type("cat")
        await driver.run_to_end()
        assert driver.page == "cat"


async def test_what_is_typed_after_a_run_is_a_new_prompt(models: Path) -> None:
    async with on_screen(models / "cats", prompt="the dog", length=0) as (driver, _):
        await driver.run_to_end()
        await driver.type(" [cat sat")
        await driver.until(lambda: driver.playground.prompt.value == "cat sat")
        driver.app.query_one(TextView).focus()
        await driver.until(lambda: isinstance(driver.app.focused, TextView))
        driver.app.post_message(events.Paste("the cat"))
        await driver.until(lambda: driver.playground.prompt.value == "the cat")
        await driver.press(*["backspace"] * 7)
        await driver.type("cat sat")
        await driver.run_to_end()
        assert driver.page == "cat sat"


async def test_a_text_longer_than_the_screen_is_followed_unless_a_person_scrolls_away(models: Path) -> None:
    async with on_screen(models / "endless", pace=4096, length=2000) as (driver, _):
        await driver.run_to_end()
        last = driver.app.query_one(TextView)._body.lines[-2].text
        await driver.shows(last)
        await driver.press(*["pageup"] * 3)
        await driver.hides(last)
        await driver.press(*["pagedown"] * 4)
        await driver.shows(last)


async def test_text_is_body_for_the_page_also_when_the_description_was_scrolled(models: Path) -> None:
    toys.endless_text_folder(models / "wordy", description="word " * 300)
    async with on_screen(models / "wordy", pace=4096, length=200) as (driver, _):
        await driver.press("pagedown", "pagedown")
        await driver.run_to_end()
        page = driver.app.query_one(TextView)
        assert page._body.width == page.scrollable_content_region.width - 1


async def test_escape_in_the_list_of_models_does_not_stop_the_run(models: Path) -> None:
    async with on_screen(models / "endless", pace=64, length=100_000) as (driver, _):
        await driver.press("enter")
        await driver.until(lambda: driver.steps)
        await driver.press("f3", "escape")
        assert driver.running
        assert isinstance(driver.app.focused, TextView)


async def test_complaints_do_not_pile_up_and_go_when_the_prompt_is_mended(models: Path) -> None:
    async with on_screen(models / "letters") as (driver, _):
        await driver.type("abz")
        await driver.press("ctrl+n", "ctrl+n", "ctrl+n")
        assert len(driver.app._notifications) == 1
        await driver.press("backspace")
        await driver.until(lambda: not driver.app._notifications)


async def test_without_room_for_the_knobs_the_prompts_frame_shows_them(models: Path) -> None:
    async with on_screen(models / "cats", size=(60, 16), seed=7) as (driver, _):
        await driver.press("up")
        await driver.shows("1.05  seed 7")
        await driver.run_to_end()
        await driver.shows("the model ended at")


@pytest.mark.parametrize(("words", "prompt"), [("the dog", "the dog"), ("道可道", "道可道")])
async def test_keys_that_come_in_one_chunk_all_arrive_after_a_run(models: Path, words: str, prompt: str) -> None:
    async with on_screen(models / "cats", prompt="the cat", temperature=0.0) as (driver, _):
        await driver.run_to_end()
        await driver.type(words)
        assert driver.playground.prompt.value == prompt


async def test_a_prompt_and_enter_in_one_chunk_make_a_text_from_all_of_it(models: Path) -> None:
    async with on_screen(models / "cats", prompt="the cat", temperature=0.0) as (driver, _):
        await driver.run_to_end()
        await driver.type("the dog\r")
        await driver.until(lambda: driver.says_end_of("2"))
        assert driver.branch.start.text == "the dog"
        assert driver.page.startswith("the dog ")


async def test_keys_in_one_chunk_find_the_focus_where_the_key_before_left_it(models: Path) -> None:
    async with on_screen(models / "cats", prompt="the", temperature=0.0, size=(120, 30)) as (driver, _):
        await driver.run_to_end()
        for key in ("home", "enter", "down", "enter", "f4", "up", "enter"):  # choose otherwise, and back to the first
            driver.app.simulate_key(key)
        await driver.until(lambda: len(driver.workspace.tree) == 2 and driver.says_end_of("1"))
        assert driver.workspace.tree["2"].start.at == 1


@pytest.mark.parametrize("keys", [(), ("left", "left"), ("left", "escape")], ids=["ended", "walking", "left again"])
async def test_a_knob_turned_at_rest_redraws_the_distribution_at_once(models: Path, keys: tuple[str, ...]) -> None:
    async with on_screen(models / "endless", prompt="the", length=20, temperature=1.0, size=(120, 30)) as (driver, _):
        await driver.run_to_end()
        await driver.press(*keys)
        position = driver.view.position or len(driver.branch) - 1
        await driver.press("down", "down", "down", "down")
        assert driver.params.temperature == pytest.approx(0.8)
        await driver.until(lambda: set(shares(driver, position, driver.params)) & set(panel(driver).split()))
        assert all(share in panel(driver) for share in shares(driver, position, driver.params))
