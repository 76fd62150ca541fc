"""From a prompt to a text: runs, samples, seeds, what is refused, and the model on a GPU."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from textual import events

from tests.support import toys
from tests.support.devices import failing_after
from tests.support.driver import headless_text, on_screen
from tui_gen.errors import DeviceLostError
from tui_gen.runtime import placement
from tui_gen.runtime.cuda import Driver
from tui_gen.runtime.cuda_model import CudaModel
from tui_gen.runtime.model import Model
from tui_gen.runtime.session import Place
from tui_gen.tui.widgets.knob_panel import KnobPanel
from tui_gen.tui.widgets.prompt import Prompt
from tui_gen.tui.widgets.text_view import TextView


async def test_typing_a_prompt_and_enter_is_all_that_a_first_run_takes(models: Path) -> None:
    async with on_screen(models / "cats", temperature=0.0) as driver:
        await driver.type("the")
        await driver.run_to_end()
        assert driver.page == "the " + toys.GREEDY_TEXT
        await driver.shows("the cat sat.")
        assert isinstance(driver.app.focused, TextView)


async def test_every_sample_has_its_page_and_none_depends_on_how_many_there_are(models: Path) -> None:
    async with on_screen(models / "cats", seed=3, samples=3) as driver:
        await driver.run_to_end()
        pages = driver.pages
    assert pages == [headless_text(models / "cats", "", seed=3, sample=i, samples=5) for i in range(3)]


async def test_many_samples_can_be_scrolled_to(models: Path) -> None:
    async with on_screen(models / "cats", seed=3, samples=8) as driver:
        await driver.run_to_end()
        await driver.shows("sample 1 of 8")
        await driver.press(*["pagedown"] * 5)
        await driver.shows("sample 8 of 8")
        await driver.press(*["pageup"] * 5)
        await driver.shows("sample 1 of 8")


async def test_a_new_run_is_not_disturbed_by_the_end_of_the_old(models: Path) -> None:
    async with on_screen(models / "endless", pace=512, length=100_000) as driver:
        for _ in range(5):
            await driver.press("enter")
            await driver.until(lambda: driver.running)
            before = driver.view
            driver.post_key("escape")
            driver.post_key("enter")
            await driver.until(lambda before=before: driver.running and driver.view is not before)
            await driver.until(lambda: len(driver.page) > 40)
            assert isinstance(driver.app.focused, TextView)


async def test_escape_stops_and_keeps_what_was_made(models: Path) -> None:
    async with on_screen(models / "endless", pace=64, length=100_000) as driver:
        await driver.grow_beyond(3)
        await driver.stop()
        page = driver.page
        assert page
        assert "stopped at" in driver.app.query_one(KnobPanel).progress
        await driver.press("escape", "left")
        assert driver.app.focused is driver.app.query_one(Prompt)
        assert driver.page == page


async def test_a_new_seed_is_shown_and_used(models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("secrets.randbelow", lambda _: 99)
    async with on_screen(models / "cats", seed=1) as driver:
        await driver.press("ctrl+n")
        await driver.until(driver.says_end)
        await driver.shows("seed        99")
        assert driver.page == headless_text(models / "cats", "", seed=99)


async def test_a_prompt_that_cannot_be_read_leaves_the_seed_as_it_is(models: Path) -> None:
    async with on_screen(models / "letters", seed=1) as driver:
        await driver.type("7")
        await driver.press("ctrl+n")
        await driver.until(lambda: "has never seen '7'" in driver.notice)
        assert driver.playground.knobs.seed == 1


async def test_a_character_that_cannot_be_read_is_refused_and_nothing_is_lost(models: Path) -> None:
    async with on_screen(models / "letters") as driver:
        await driver.type("abz")
        await driver.press("enter")
        await driver.until(lambda: "z" in driver.notice)
        assert not driver.shown
        assert driver.app.query_one(Prompt).value == "abz"


async def test_an_empty_prompt_and_a_length_of_nothing_are_fine(models: Path) -> None:
    async with on_screen(models / "cats", length=0) as driver:
        await driver.run_to_end()
        assert driver.page == ""
        await driver.type("cat")
        await driver.run_to_end()
        assert driver.page == "cat"


async def test_what_is_typed_after_a_run_is_a_new_prompt(models: Path) -> None:
    async with on_screen(models / "cats", prompt="the dog", length=0) as driver:
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
    async with on_screen(models / "endless", pace=4096, length=2000) as driver:
        await driver.run_to_end()
        last = driver.app.query_one(TextView)._body.lines[-2].text
        await driver.shows(last)
        await driver.press(*["pageup"] * 3)
        await driver.hides(last)
        await driver.press(*["pagedown"] * 4)
        await driver.shows(last)


async def test_text_is_body_for_the_page_also_when_the_description_was_scrolled(models: Path) -> None:
    toys.endless_text_folder(models / "wordy", description="word " * 300)
    async with on_screen(models / "wordy", pace=4096, length=200) as driver:
        await driver.press("pagedown", "pagedown")
        await driver.run_to_end()
        page = driver.app.query_one(TextView)
        assert page._body.width == page.scrollable_content_region.width - 1


async def test_escape_in_the_list_of_models_does_not_stop_the_run(models: Path) -> None:
    async with on_screen(models / "endless", pace=64, length=100_000) as driver:
        await driver.press("enter")
        await driver.until(lambda: driver.steps)
        await driver.press("f3", "escape")
        assert driver.running
        assert isinstance(driver.app.focused, TextView)


async def test_complaints_do_not_pile_up_and_go_when_the_prompt_is_mended(models: Path) -> None:
    async with on_screen(models / "letters") as driver:
        await driver.type("abz")
        await driver.press("ctrl+n", "ctrl+n", "ctrl+n")
        assert len(driver.app._notifications) == 1
        await driver.press("backspace")
        await driver.until(lambda: not driver.app._notifications)


async def test_without_room_for_the_knobs_the_prompts_frame_shows_them(models: Path) -> None:
    async with on_screen(models / "cats", size=(60, 16), seed=7) as driver:
        await driver.press("up")
        await driver.shows("1.05  seed 7")
        await driver.run_to_end()
        await driver.shows("the model ended at")


WIDE = (160, 40)


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine with a GPU, in whose place the processor does the work, twice as fast."""
    opened: Callable[[Model, Place], CudaModel] = Model._open_device
    monkeypatch.setattr(placement, "cuda_trouble", lambda device: "")
    monkeypatch.setattr(placement, "device_name", lambda device: "NVIDIA H100")
    monkeypatch.setattr(placement, "driver", lambda: Driver((13, 0), ("NVIDIA H100",)))
    monkeypatch.setattr(placement, "median_seconds", lambda turns: [2.0, 1.0])
    monkeypatch.setattr(Model, "_open_device", lambda self, place: opened(self, Place("cpu")))
    monkeypatch.setattr(CudaModel, "providers", property(lambda self: ["CUDAExecutionProvider"]))


@pytest.mark.usefixtures("gpu")
async def test_the_first_line_says_where_the_model_runs_and_why(models: Path) -> None:
    async with on_screen(models / "cats", prompt="the", size=WIDE, seed=3) as driver:
        await driver.shows("CUDA · NVIDIA H100, 2 times as fast as the CPU for 1 sample")
        await driver.run_to_end()
        assert driver.lines()[0].count("CUDA") == 1
        expected = headless_text(models / "cats", "the", seed=3, temperature=driver.params.temperature)
        assert driver.page.endswith(expected)


@pytest.mark.usefixtures("gpu")
async def test_where_there_is_little_room_the_reason_is_left_out(models: Path) -> None:
    async with on_screen(models / "cats", prompt="the", size=(60, 24)) as driver:
        await driver.shows("CUDA")
        assert "times as fast" not in driver.lines()[0]


@pytest.mark.usefixtures("gpu")
async def test_what_ran_there_can_be_walked_through_and_changed(models: Path) -> None:
    async with on_screen(models / "endless", prompt="the", length=90, size=WIDE) as driver:
        await driver.run_to_end()
        await driver.press("left", "left", "left")
        await driver.until(lambda: driver.view.cursor is not None and "▸" in driver.panel)
        before = driver.tokens()
        assert np.isfinite(driver.branch.look(70).logits).all()
        await driver.press("ctrl+g")
        await driver.ends("2")
        assert driver.length > 80
        assert driver.tokens()[:85] == before[:85]


@pytest.mark.usefixtures("gpu")
async def test_a_gpu_that_fails_is_told_and_the_run_goes_on(models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with on_screen(models / "endless", prompt="the", length=200, seed=7, size=WIDE) as driver:
        failing_after(monkeypatch, 60, DeviceLostError("CUDA failure 700: an illegal memory access was encountered"))
        await driver.run_to_end()
        await driver.until(lambda: "the CPU goes on with the run" in driver.notice)
        assert "CPU · the GPU failed: " in driver.lines()[0]
        assert "CUDA failure 700" in driver.lines()[0]
        assert driver.page.endswith(headless_text(models / "endless", "the", seed=7, length=200))


async def test_panels_are_drawn_less_often_than_tokens_and_at_once_where_somebody_looks(models: Path) -> None:
    async with on_screen(models / "endless", pace=64, length=100_000) as driver:
        driver.playground.panels.clock = lambda: 0.0  # no time goes by
        side, titles = driver.playground.side, [f"token {number}" for number in range(1000)]
        await driver.grow_beyond(12)
        assert titles.index(side.next_token.title) < 6
        for key in ("f12", "up"):  # one that means nothing, and one that turns a knob
            length = driver.length
            await driver.press(key)
            await driver.until(lambda length=length: driver.length > length + 12)
            assert length - 2 <= titles.index(side.next_token.title) < length + 10
        knobs = {step.position: step.params for step in driver.steps}
        assert knobs[titles.index(side.next_token.title)] == driver.params
        for key in ("space", "right"):
            await driver.press(key)
            await driver.stands_still()
            assert side.next_token.title == f"next: {titles[driver.length]}"
            assert side.knobs.progress == driver.view.progress()
        await driver.stop()
        assert side.knobs.progress == driver.view.progress()
