"""Models beside each other on the screen: the same prompt and random numbers, and what each makes of them."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import numpy as np
import pytest

from tests.support import toys
from tests.support.driver import ScreenDriver, headless_text, on_screen
from tui_gen.sessions.file import read_session
from tui_gen.sessions.replay import LoadedSession
from tui_gen.tui.widgets.image_view import SinglePicture
from tui_gen.tui.widgets.run_view import RunView
from tui_gen.tui.widgets.text_view import TextView

WIDE = (120, 30)


@pytest.fixture
def several(models: Path) -> Path:
    """The toys, with one more of words and one more of pictures."""
    toys.running_text_folder(models / "running")
    toys.image_folder(models / "tilted", graph=toys.image_graph(np.roll(toys.STRIPES, 1, axis=0)))
    return models


def columns(driver: ScreenDriver) -> list[RunView]:
    runs = driver.playground.output.runs
    return runs.views if runs else []


def underlined(page: TextView) -> list[str]:
    strips = [page.render_line(y) for y in range(page.size.height)]
    return [part.text for strip in strips for part in strip if part.style and part.style.underline]


async def compare(driver: ScreenDriver, *names: str) -> None:
    """Chooses models in their list, one after the other, to stand beside the one that plays."""
    for name in names:
        count = len(columns(driver)) or 1
        await driver.press("f3", "home")
        while not str(driver.playground.models.highlighted_option.id).endswith(f"/{name}"):
            await driver.press("down")
        await driver.press("c")
        await driver.until(lambda count=count: len(columns(driver)) == count + 1)


async def rest(driver: ScreenDriver) -> None:
    await driver.until(lambda: driver.playground.output.runs and not driver.playground.output.runs.running)


async def test_a_second_and_a_third_model_play_the_same_and_are_walked_through_together(several: Path) -> None:
    async with on_screen(several / "endless", prompt="the", length=20, size=WIDE) as driver:
        await driver.run_to_end()
        page = driver.page
        await compare(driver, "running", "cats")
        await rest(driver)
        texts = [headless_text(several / name, "the", seed=42, length=20) for name in ("endless", "running", "cats")]
        assert driver.pages == texts
        first, running, _ = columns(driver)
        differ = np.flatnonzero(first.branch.tokens[:, 0] != running.branch.tokens[:, 0])
        heading = f"running  differs from {first.workspace.title(first.branch, differ[0])} on"
        await driver.shows(heading)
        marks = " ".join(underlined(running.query_one(TextView))).split()
        assert marks == [toys.WORDS[token] for token in running.branch.tokens[differ, 0]]
        await driver.shows("from endless")
        await driver.press("home", "right", "right")
        await driver.shows("token 2    in all")
        await driver.shows(heading)
        assert [view.position for view in columns(driver)] == [3, 3, 3]
        await driver.click(running.query_one(TextView), (2, 0))
        assert [view.position for view in columns(driver)] == [1, 1, 1]
        await driver.press("home")
        await driver.hides("token 1    in all")
        await driver.press("ctrl+y")
        await driver.until(lambda: "endless alone" in driver.notice)
        await driver.press("right", "ctrl+g")
        await driver.says("a new branch of endless alone; the list of branches leads back to the comparison")
        await driver.press("f4", "home", "enter")
        await driver.until(lambda: driver.pages == texts)
        await driver.press("escape")
        await driver.until(lambda: driver.pages == [page])
        await compare(driver, "running")
        assert driver.pages == texts[:2]


@pytest.mark.skipif(os.name == "nt", reason="a process cannot be stopped there")
async def test_a_comparison_waits_for_the_tokenizers_of_all(several: Path) -> None:
    waiting = "the tokenizer still reads what was typed; when it has, this begins"
    async with on_screen(several / "endless", prompt="the", length=8, size=WIDE) as driver:
        await compare(driver, "running")
        process = columns(driver)[1].workspace.loaded_model.codec.tokenizer.encoder._encoder._process
        os.kill(process.pid, signal.SIGSTOP)
        await driver.type("the dog\r")
        await driver.says(waiting)
        assert driver.shown == "1"
        os.kill(process.pid, signal.SIGCONT)
        await driver.until(lambda: [view.branch.start.text for view in columns(driver)] == ["the dog"] * 2)
        await rest(driver)
        await driver.press("escape")
        await driver.until(lambda: len(columns(driver)) == 1)
        os.kill(process.pid, signal.SIGSTOP)
        await driver.type("the cat")
        await driver.press("f4", "f3", "home")
        driver.playground.models.post_message(driver.playground.models.Compared(several / "running"))
        await driver.says(waiting)
        os.kill(process.pid, signal.SIGCONT)
        await driver.until(lambda: [view.branch.start.text for view in columns(driver)] == ["the cat"] * 2)


async def test_pause_knobs_and_prompt_are_those_of_all(several: Path) -> None:
    async with on_screen(several / "endless", pace=64, length=100_000, size=WIDE) as driver:
        await driver.type("the")
        await compare(driver, "running")
        await driver.until(lambda: all(len(view.branch) > 6 for view in columns(driver)))
        await driver.press("space")
        await driver.until(lambda: all(view.still for view in columns(driver)))
        await driver.press("up", "up", "up")
        lengths = [len(view.branch) for view in columns(driver)]
        await driver.press("right")
        await driver.until(lambda: [len(view.branch) for view in columns(driver)] == [each + 1 for each in lengths])
        await driver.press("space")
        await driver.until(lambda: all(len(view.branch) > max(lengths) + 3 for view in columns(driver)))
        await driver.press("escape")
        await rest(driver)
        for view in columns(driver):
            drawn_at = [view.branch.params_at(position).temperature for position in range(1, max(lengths) + 3)]
            assert set(drawn_at[: min(lengths) - 1]) == {1.0}
            assert set(drawn_at[max(lengths) - 1 :]) == {driver.params.temperature}
        assert "esc back" in driver.footer
        await driver.type("dog\r")
        await driver.until(lambda: driver.shown == "2" and all(len(view.branch) > 4 for view in columns(driver)))
        assert [view.branch.start.text for view in columns(driver)] == ["dog", "dog"]


async def test_pixels_that_differ_are_marked(several: Path) -> None:
    async with on_screen(several / "stripes", prompt="", temperature=0.0) as driver:
        await compare(driver, "tilted")
        await rest(driver)
        differ = np.roll(toys.STRIPES, 1, axis=0) != toys.STRIPES
        await driver.shows(f"tilted  {differ.sum()} pixels differ")
        picture = driver.app.query_one(SinglePicture)._picture
        assert picture is not None
        assert ((picture == 255).all(axis=2) == differ).all()
        await driver.shows("from stripes")


async def test_a_comparison_is_made_again_with_its_session(several: Path) -> None:
    async with on_screen(several / "endless", prompt="the", length=20) as driver:
        await compare(driver, "running")
        await rest(driver)
        pages = driver.pages
        session = read_session(driver.workspace.journal.path)
    folders = {0: several / "endless", 1: several / "running"}
    loaded = LoadedSession(session, folders, [], session.chosen())
    async with on_screen(several / "endless", session=loaded) as driver:
        await driver.until(lambda: driver.notice.startswith("replayed exactly"))
        assert driver.pages == pages
        await driver.shows("running  differs from")


async def test_what_cannot_stand_beside_it_is_told(several: Path) -> None:
    async with on_screen(several / "endless", prompt="the", length=8, size=(50, 20)) as driver:
        await driver.run_to_end()
        for folder, fault in (
            ("endless", "that is the model on the screen; choose another one to compare it with"),
            ("running", "2 models beside each other need 52 columns; the screen has 50"),
            ("stripes", "endless writes text and stripes draws pictures; models of one kind can be compared"),
            ("letters", "letters"),
        ):
            await driver.resize(*WIDE) if folder == "letters" else None
            await driver.press("f3")
            driver.playground.models.post_message(driver.playground.models.Compared(several / folder))
            await driver.until(lambda fault=fault: driver.notice.startswith(fault))
        assert len(columns(driver)) == 1


async def test_a_screen_that_becomes_too_narrow_shows_the_first_alone(several: Path) -> None:
    async with on_screen(several / "endless", prompt="the", length=8) as driver:
        await compare(driver, "running")
        await rest(driver)
        await driver.resize(40, 20)
        await driver.shows("endless  2 models need 52 columns")
        assert not columns(driver)[1].region
        await driver.resize(80, 24)
        await driver.until(lambda: columns(driver)[1].region)
