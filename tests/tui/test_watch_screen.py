"""The screen beside a training: what has come is played as soon as nobody minds."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.support import toys
from tests.support.checkpoints import Exporter, use
from tests.support.driver import ScreenDriver, headless_text, on_screen
from tests.support.runs import published
from tui_gen.card import ModelCard
from tui_gen.run_watch import RunWatch, Scores, Training
from tui_gen.training_log import TrainingLog
from tui_gen.tui import watch_screen
from tui_gen.tui.dialogs import training
from tui_gen.tui.widgets.run_view import RunView

CHARACTERS = toys.text_graph(np.zeros((len(toys.CHARACTERS),) * 2, np.float32), growth=-1.0)


@pytest.fixture
def run_folder(tmp_path: Path, models: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A run after its first epoch, which is looked at often."""
    monkeypatch.setattr(watch_screen, "_SECONDS", 0.05)
    monkeypatch.setattr(training, "_SECONDS", 0.05)
    return publish(tmp_path / "mine", 1)


def publish(run: Path, epoch: int, part: float = 1.0, **changes: Any) -> Path:
    graph = toys.text_graph(toys.BIGRAMS + part * np.roll(toys.BIGRAMS, epoch, axis=1), growth=-1.0)
    changes = {"graph": graph, "eos": None, "validation_loss": 1 / epoch, **changes}
    return published(run, epoch, part=part, **changes)


def watched(run: Path, *, scores: Scores | None = None, **settings: Any) -> Any:
    watch = RunWatch(run)
    newest = watch.look().newest
    assert newest
    settings = {"prompt": "the", "length": 8, **settings}
    return on_screen(newest.path, training=Training(watch, scores), **settings)


def headings(driver: ScreenDriver) -> list[str]:
    """What stands on the screen, each after which epoch."""
    runs = driver.playground.output.runs
    return [view.workspace.loaded_model.name for view in runs.views] if runs else []


def views(driver: ScreenDriver) -> list[RunView]:
    runs = driver.playground.output.runs
    return runs.views if runs else []


async def rests(driver: ScreenDriver, *epochs: int) -> None:
    """Waits until the networks after these epochs stand beside each other, and their runs are over."""
    names = [f"mine · epoch {epoch}" for epoch in epochs]
    await driver.until(lambda: headings(driver) == names and not driver.playground.output.runs.running)


async def test_each_new_network_is_played_beside_the_one_before_or_the_one_chosen(run_folder: Path) -> None:
    async with watched(run_folder, size=(120, 30)) as driver:
        await rests(driver, 1)
        await driver.shows("mine · epoch 1 · held out 1.000")
        assert driver.page == headless_text(run_folder / "model", "the", seed=42, length=8)
        publish(run_folder, 2)
        await rests(driver, 2, 1)
        folders = [run_folder / "model", run_folder / "epochs" / "0001"]
        assert driver.pages == [headless_text(folder, "the", seed=42, length=8) for folder in folders]
        await driver.shows("mine · epoch 1  differs from")
        await driver.press("up")
        publish(run_folder, 3)
        await rests(driver, 3, 2)
        assert driver.branch.start.params.temperature == pytest.approx(1.05)
        await driver.press("f3", "down", "down", "c")
        await rests(driver, 3, 2, 1)
        publish(run_folder, 4)
        await rests(driver, 4, 1)
        await driver.press("f3")
        await driver.until(lambda: "▸ mine · epoch 4" in driver.screen() and "  mine · epoch 1" in driver.screen())


async def test_a_long_epoch_is_played_while_it_goes_on(run_folder: Path) -> None:
    async with watched(run_folder, size=(80, 24)) as driver:
        await rests(driver, 1)
        for part in (0.12, 0.5):
            publish(run_folder, 2, part, validation_loss=None)
            await driver.shows(f"mine · epoch 2, {100 * part:.0f} % · training 2.000")
        await driver.shows("mine · epoch 2, 12 %  ≠ token 3")
        publish(run_folder, 2)
        await driver.until(lambda: headings(driver) == ["mine · epoch 2", "mine · epoch 2, 50 %"])
        await driver.shows("mine · epoch 2 · held out 0.500")


async def test_what_goes_on_inside_follows_the_newest_network(run_folder: Path) -> None:
    async with watched(run_folder, size=(200, 50)) as driver:
        await rests(driver, 1)
        await driver.press("f10")
        publish(run_folder, 2)
        await rests(driver, 2, 1)
        await driver.until(lambda: driver.playground.inside.view.view is views(driver)[0])
        assert driver.playground.inside.view.has_focus
        await driver.press("l", "up")  # the keys are still those of the inside
        assert driver.params.temperature == 1


async def test_what_a_person_does_comes_first(run_folder: Path) -> None:
    async with watched(run_folder) as driver:
        await rests(driver, 1)
        told = [f"mine · epoch {epoch} is there; ^l plays it" for epoch in range(6)]
        await driver.type("dog")
        publish(run_folder, 2)
        await driver.says(told[2])
        assert "^l load anew" in driver.footer
        assert headings(driver) == ["mine · epoch 1"]
        await driver.press("enter")
        await rests(driver, 2, 1)
        assert driver.branch.start.text == "dog"
        await driver.press("home")
        publish(run_folder, 3)
        await driver.says(told[3])
        await driver.press("escape")
        await rests(driver, 3, 2)
        await driver.press("f10")
        publish(run_folder, 4)
        await driver.says(told[4])
        await driver.press("escape")
        await rests(driver, 4, 3)
        await driver.press("home")
        publish(run_folder, 5)
        await driver.says(told[5])
        publish(run_folder, 6)
        await driver.shows("epoch 6, held out")
        assert driver.notice == told[5]  # once is enough
        await driver.press("ctrl+l")
        await rests(driver, 6, 4)
        assert not driver.notice


async def test_another_model_that_a_person_plays_stays(run_folder: Path, models: Path) -> None:
    async with watched(run_folder) as driver:
        await rests(driver, 1)
        driver.playground.open(models / "cats")
        await driver.until(lambda: driver.workspace.loaded_model.name == "cats")
        publish(run_folder, 2)
        await driver.says("mine · epoch 2 is there; ^l plays it")
        await driver.press("ctrl+l")
        await driver.until(lambda: headings(driver) == ["mine · epoch 2", "cats"])
        publish(run_folder, 3)
        await rests(driver, 3, 2)
        driver.playground.open(models / "cats")
        await driver.until(lambda: driver.workspace.loaded_model.name == "cats")
        await driver.press("ctrl+l")
        await driver.until(lambda: headings(driver) == ["mine · epoch 3", "cats"])


async def test_f9_lists_epochs_as_they_come_and_keeps_what_is_selected(run_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "held.txt").write_text("the cat sat.")
    publish(run_folder, 2)
    async with watched(run_folder, scores=Scores(tmp_path / "held.txt")) as driver:
        await rests(driver, 2)
        await driver.press("f9")
        await driver.shows("after epoch 2")
        await driver.press("up")
        await driver.shows("after epoch 1")
        publish(run_folder, 3, train_loss=0.25)
        await driver.shows("0.250")
        await driver.shows("after epoch 1")
        assert headings(driver) == ["mine · epoch 2"]
        await driver.shows("score")
        await driver.until(lambda: all(len(line.split()) > 5 for line in driver.screen().splitlines()[2:5]))
        await driver.press("escape")
        await rests(driver, 3, 2)


async def test_the_score_of_a_checkpoint_stands_beside_its_name(
    run_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    use(Exporter(), monkeypatch)
    (tmp_path / "held.txt").write_text("the cat sat.")
    (tmp_path / "files").mkdir()
    (tmp_path / "files" / "step-1.pt").write_bytes(b"\x80\2one.")
    async with watched(tmp_path / "files", scores=Scores(tmp_path / "held.txt"), size=(120, 30)) as driver:
        await driver.until(lambda: "step-1 · held.txt " in driver.screen() and "bits per character" in driver.screen())


async def test_a_long_log_is_read_while_its_dialog_is_on_the_screen(
    run_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(training, "_AT_ONCE", 0)
    publish(run_folder, 60)
    log = run_folder / "training.jsonl"
    last = json.loads(log.read_text().splitlines()[-1])
    log.write_text("".join(json.dumps({**last, "epoch": number}) + "\n" for number in range(1, 61)))
    reads, update = threading.Event(), TrainingLog.update

    def wait(log: TrainingLog, card: ModelCard | None) -> bool:
        assert reads.wait(60)
        return update(log, card)

    async with watched(run_folder) as driver:
        await rests(driver, 60)
        monkeypatch.setattr(TrainingLog, "update", wait)
        await driver.press("f9")
        await driver.shows("reading ...")
        await driver.press("up", "space", "right")
        reads.set()
        await driver.shows("after epoch 60")
        await driver.until(lambda: "   60 " in driver.screen())
        await driver.press("escape")
        (run_folder / "training.jsonl").write_text("{")
        await driver.press("f9")
        await driver.until(lambda: "line 1 is not JSON" in driver.notice)


async def test_a_network_with_other_tokens_is_played_beside_the_one_before(run_folder: Path) -> None:
    async with watched(run_folder, prompt="") as driver:
        await rests(driver, 1)
        published(run_folder, 2, folder=toys.character_folder, graph=CHARACTERS, eos=None)
        await rests(driver, 2, 1)
        assert driver.pages[0] == headless_text(run_folder / "model", "", seed=42, length=8)


async def test_what_cannot_be_compared_is_told_and_the_newest_is_played_alone(run_folder: Path) -> None:
    async with watched(run_folder, prompt="") as driver:
        await rests(driver, 1)
        published(run_folder, 2, folder=toys.image_folder)
        await driver.until(lambda: "models of one kind can be compared" in driver.notice)
        await rests(driver, 2)
        await driver.press("f3")
        await driver.shows("▸ mine · epoch 2")
        assert [line[:8].strip() for line in driver.screen().splitlines()].count("text") == 1


async def test_a_run_that_is_opened_as_a_model_is_called_by_its_name_when_it_has_gone_on(run_folder: Path) -> None:
    async with on_screen(run_folder / "model") as driver:
        publish(run_folder, 2)
        for _ in range(2):
            driver.playground.loader.look()
        await driver.says("mine was written anew; ^l loads it, and prompt and branches stay")
        await driver.press("ctrl+l")
        await driver.shows("mine · epoch 2")
        await driver.press("f3")
        await driver.shows("▸ mine · epoch 2")


async def test_why_an_epoch_has_no_network_is_told(run_folder: Path) -> None:
    async with watched(run_folder) as driver:
        await rests(driver, 1)
        entry = {"epoch": 2, "unit": "", "train_loss": 1.0, "validation_loss": None, "trouble": "it is a transformer"}
        with (run_folder / "training.jsonl").open("a") as log:
            log.write(json.dumps(entry) + "\n")
        await driver.says("it is a transformer")


async def test_a_run_that_is_removed_is_told_and_waited_for(run_folder: Path) -> None:
    async with watched(run_folder) as driver:
        await rests(driver, 1)
        run_folder.rename(run_folder.with_name("away"))
        await driver.until(lambda: "mine is gone" in driver.notice)
        publish(run_folder, 2)
        await driver.until(lambda: headings(driver)[:1] == ["mine · epoch 2"])


async def test_of_a_long_training_few_networks_stay_open_and_few_sessions_are_kept(run_folder: Path) -> None:
    async with watched(run_folder) as driver:
        for epoch in range(2, 10):
            publish(run_folder, epoch)
            await rests(driver, epoch, epoch - 1)
        assert len(driver.app.workspaces) <= 6
        journals = driver.workspace.journal.path.parent
        assert len([*journals.glob("*mine*"), *journals.glob("*-00*")]) <= 7
