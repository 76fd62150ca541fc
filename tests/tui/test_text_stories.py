"""What a person does with a text model, key by key."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from textual import events

from tests.support import toys
from tests.support.stage import headless_text, on_stage
from tui_gen.tui.model_loader import Opener
from tui_gen.tui.widgets.knob_panel import KnobPanel
from tui_gen.tui.widgets.prompt import Prompt
from tui_gen.tui.widgets.text_view import TextView


async def test_typing_a_prompt_and_enter_is_all_that_a_first_run_takes(models: Path) -> None:
    async with on_stage(models / "cats", temperature=0.0) as (stage, _):
        await stage.type("the")
        await stage.run_to_end()
        assert stage.page == "the " + toys.GREEDY_TEXT
        await stage.shows("the cat sat.")
        assert isinstance(stage.app.focused, TextView)


@pytest.mark.parametrize("seed", [1, 7])
async def test_the_screen_shows_the_text_that_the_command_line_prints_for_that_seed(models: Path, seed: int) -> None:
    async with on_stage(models / "cats", seed=seed, prompt="dog") as (stage, _):
        await stage.run_to_end()
        command = [sys.executable, "-m", "tui_gen", "generate", "cats", "dog", "--seed", str(seed)]
        printed = subprocess.run(command, capture_output=True, check=True, text=True).stdout
        assert stage.page + "\n" == printed


async def test_every_sample_has_its_page_and_none_depends_on_how_many_there_are(models: Path) -> None:
    async with on_stage(models / "cats", seed=3, samples=3) as (stage, _):
        await stage.run_to_end()
        pages = [page.text for page in stage.app.query(TextView)]
    assert pages == [headless_text(models / "cats", "", seed=3, sample=i, samples=5) for i in range(3)]


async def test_many_samples_can_be_scrolled_to(models: Path) -> None:
    async with on_stage(models / "cats", seed=3, samples=8) as (stage, _):
        await stage.run_to_end()
        await stage.shows("sample 1 of 8")
        await stage.press(*["pagedown"] * 5)
        await stage.shows("sample 8 of 8")
        await stage.press(*["pageup"] * 5)
        await stage.shows("sample 1 of 8")


async def test_lines_that_are_pasted_are_all_kept_and_read_as_lines(models: Path) -> None:
    async with on_stage(models / "letters") as (stage, _):
        stage.app.prompt_line.post_message(events.Paste("ab\r\nc\x1b[2J\n"))
        await stage.until(lambda: stage.app.prompt_line.value)
        assert stage.app.prompt_line.text == "ab\nc\u241b[2J"


async def test_a_new_run_is_not_disturbed_by_the_end_of_the_old(models: Path) -> None:
    async with on_stage(models / "endless", pace=512, length=100_000) as (stage, _):
        for _ in range(5):
            await stage.press("enter")
            await stage.until(lambda: stage.running)
            before = stage.player
            stage.app.simulate_key("escape")
            stage.app.simulate_key("enter")
            await stage.until(lambda before=before: stage.player is not before and stage.running)
            await stage.until(lambda: stage.app.query(TextView) and len(stage.page) > 40)
            assert isinstance(stage.app.focused, TextView)


async def test_the_temperature_turned_in_mid_run_counts_for_the_next_tokens(models: Path) -> None:
    async with on_stage(models / "endless", pace=64, length=100_000) as (stage, _):
        await stage.press("enter")
        await stage.until(lambda: len(stage.steps) > 3)
        before = stage.params.temperature
        await stage.press("up", "up")
        await stage.until(lambda: stage.steps[-1].params.temperature == pytest.approx(before + 0.10))
        await stage.press("down")
        await stage.until(lambda: stage.steps[-1].params.temperature == pytest.approx(before + 0.05))
        await stage.shows(f"temperature {before + 0.05:.2f}")
        assert stage.steps[0].params.temperature == before


async def test_the_temperature_stays_between_0_and_2(models: Path) -> None:
    async with on_stage(models / "cats", temperature=0.05) as (stage, _):
        await stage.press("down", "down", "down")
        assert stage.params.temperature == 0
        await stage.press(*["up"] * 45)
        assert stage.params.temperature == 2


async def test_escape_stops_and_keeps_what_was_made(models: Path) -> None:
    async with on_stage(models / "endless", pace=64, length=100_000) as (stage, _):
        await stage.press("enter")
        await stage.until(lambda: len(stage.steps) > 3)
        await stage.press("escape")
        await stage.until(lambda: not stage.running)
        made = stage.page
        assert made
        assert "stopped at" in stage.app.query_one(KnobPanel).progress
        await stage.press("escape", "left")
        assert stage.app.focused is stage.app.query_one(Prompt)
        assert stage.page == made


async def test_space_pauses_and_goes_on(models: Path) -> None:
    async with on_stage(models / "endless", pace=512, length=100_000) as (stage, pilot):
        await stage.press("enter")
        await stage.until(lambda: len(stage.steps) > 3)
        await stage.press("space")
        await stage.shows("space go on")
        await stage.shows("paused at")
        await pilot.pause(0.2)
        made = len(stage.steps)
        await pilot.pause(0.2)
        assert len(stage.steps) == made
        await stage.press("space")
        await stage.until(lambda: len(stage.steps) > made)


async def test_a_new_seed_is_shown_and_used(models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("secrets.randbelow", lambda _: 99)
    async with on_stage(models / "cats", seed=1) as (stage, _):
        await stage.press("ctrl+n")
        await stage.until(stage.told_of_the_end)
        await stage.shows("seed        99")
        assert stage.page == headless_text(models / "cats", "", seed=99)


async def test_the_pace_can_be_turned_in_mid_run(models: Path) -> None:
    async with on_stage(models / "endless", pace=2) as (stage, _):
        await stage.press("enter")
        await stage.until(lambda: stage.steps)
        await stage.press(*["right_square_bracket"] * 8)
        await stage.shows("pace        512 a second")
        await stage.until(lambda: len(stage.steps) > 50)
        await stage.press("left_square_bracket")
        await stage.shows("pace        256 a second")


async def test_the_bars_show_what_the_newest_token_was_drawn_from(models: Path) -> None:
    async with on_stage(models / "cats", temperature=0.0, length=1) as (stage, _):
        await stage.type("the")
        await stage.run_to_end()
        rows = [line for line in stage.screen().splitlines() if "▸ cat " in line]
        assert rows
        assert "100.0%" in rows[0]


async def test_a_token_that_was_drawn_is_shown_even_when_it_is_not_among_the_likeliest(models: Path) -> None:
    async with on_stage(models / "cats", prompt="the <unk>", size=(80, 17), temperature=0.0, length=0) as (stage, _):
        await stage.run_to_end()
        assert stage.app.next_token.size.height < len(toys.WORDS)
        await stage.shows("= <unk>")


async def test_unknown_words_are_marked_before_anything_runs_and_read_as_unknown(models: Path) -> None:
    async with on_stage(models / "cats") as (stage, _):
        await stage.type("the zebra")
        prompt = stage.app.query_one(Prompt)
        assert prompt.unknown() == ["zebra"]
        styled = [segment.text for segment in prompt.render_line(0) if segment.style and segment.style.underline]
        assert "".join(styled) == "zebra"
        await stage.run_to_end()
        assert stage.page.startswith("the <unk>")


async def test_a_character_that_cannot_be_read_is_refused_and_nothing_is_lost(models: Path) -> None:
    async with on_stage(models / "letters") as (stage, _):
        await stage.type("abz")
        await stage.press("enter")
        await stage.until(lambda: stage.app._notifications)
        assert stage.player is None
        assert stage.app.query_one(Prompt).value == "abz"


async def test_an_empty_prompt_and_a_length_of_nothing_are_fine(models: Path) -> None:
    async with on_stage(models / "cats", length=0) as (stage, _):
        await stage.run_to_end()
        assert stage.page == ""
        await stage.type("cat")
        await stage.run_to_end()
        assert stage.page == "cat"


async def test_what_is_typed_after_a_run_is_a_new_prompt(models: Path) -> None:
    async with on_stage(models / "cats", prompt="the dog", length=0) as (stage, _):
        await stage.run_to_end()
        await stage.type(" [cat sat")
        await stage.until(lambda: stage.app.prompt_line.value == "cat sat")
        stage.app.query_one(TextView).focus()
        await stage.until(lambda: isinstance(stage.app.focused, TextView))
        stage.app.post_message(events.Paste("the cat"))
        await stage.until(lambda: stage.app.prompt_line.value == "the cat")
        await stage.press(*["backspace"] * 7)
        await stage.type("cat sat")
        await stage.run_to_end()
        assert stage.page == "cat sat"


async def test_a_text_longer_than_the_screen_is_followed_unless_a_person_scrolls_away(models: Path) -> None:
    async with on_stage(models / "endless", pace=4096, length=2000) as (stage, _):
        await stage.run_to_end()
        last = stage.app.query_one(TextView)._body.lines[-2].text
        await stage.shows(last)
        await stage.press(*["pageup"] * 3)
        await stage.hides(last)
        await stage.press(*["pagedown"] * 4)
        await stage.shows(last)


async def test_text_is_wrapped_for_the_page_also_when_the_description_was_scrolled(models: Path) -> None:
    toys.endless_text_folder(models / "wordy", description="word " * 300)
    async with on_stage(models / "wordy", pace=4096, length=200) as (stage, _):
        await stage.press("pagedown", "pagedown")
        await stage.run_to_end()
        page = stage.app.query_one(TextView)
        assert page._body.width == page.scrollable_content_region.width - 1


async def test_escape_in_the_list_of_models_does_not_stop_the_run(models: Path) -> None:
    async with on_stage(models / "endless", pace=64, length=100_000) as (stage, _):
        await stage.press("enter")
        await stage.until(lambda: stage.steps)
        await stage.press("f3", "escape")
        assert stage.running
        assert isinstance(stage.app.focused, TextView)


async def test_what_widgets_say_while_the_app_closes_is_not_heard(models: Path) -> None:
    async with on_stage(models / "endless", pace=64, length=100_000) as (stage, _):
        app = stage.app
    assert app.closing
    app.on_descendant_focus()
    app.serving.on_opener_refused(Opener.Refused("too late"))
    assert app.loaded_model
    await app.serving.on_opener_opened(Opener.Opened(app.loaded_model))


async def test_complaints_do_not_pile_up_and_go_when_the_prompt_is_mended(models: Path) -> None:
    async with on_stage(models / "letters") as (stage, _):
        await stage.type("abz")
        await stage.press("ctrl+n", "ctrl+n", "ctrl+n")
        assert len(stage.app._notifications) == 1
        await stage.press("backspace")
        await stage.until(lambda: not stage.app._notifications)


async def test_without_room_for_the_knobs_the_prompts_frame_shows_them(models: Path) -> None:
    async with on_stage(models / "cats", size=(60, 16), seed=7) as (stage, _):
        await stage.press("up")
        await stage.shows("1.05  seed 7")
        await stage.run_to_end()
        await stage.shows("the model ended at")
