"""A run that is looked at again and again, and `tui-gen watch --plain`."""

from __future__ import annotations

import json
import math
import os
import shutil
import time
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Run
from tests.support import toys
from tests.support.checkpoints import Exporter, use
from tests.support.runs import published
from tui_gen.child import Ending
from tui_gen.cli.watch import _looks
from tui_gen.errors import TuiGenError
from tui_gen.library import locate, networks_beside, open_model, read_card
from tui_gen.run_watch import RunState, RunWatch, Scores, Training
from tui_gen.training_log import TrainingLog


@pytest.fixture
def run_folder(tmp_path: Path) -> Path:
    return tmp_path / "mine"


def epochs(state: RunState) -> list[int | None]:
    return [network.epoch for network in state.networks]


def test_a_run_is_watched_from_before_its_beginning_until_it_is_removed(run_folder: Path) -> None:
    watch = RunWatch(run_folder)
    assert not watch.look().is_there
    for epoch in (1, 2, 3):
        published(run_folder, epoch)
    state = watch.look()
    assert epochs(state) == [3, 2, 1]
    assert [network.name for network in state.networks] == [f"mine · epoch {number}" for number in (3, 2, 1)]
    assert len(state.learning) == 3
    assert watch.look() == state
    shutil.rmtree(run_folder)
    state = watch.look()
    assert (state.is_there, state.networks, len(state.learning)) == (False, (), 0)
    published(run_folder, 1)
    assert (epochs(watch.look()), len(watch.state.learning)) == ([1], 1)


def test_a_network_is_opened_by_its_epoch_before_and_after_later_ones_have_come(run_folder: Path) -> None:
    published(run_folder, 4)
    path = RunWatch(run_folder).look().networks[0].path
    assert path == run_folder / "epochs" / "0004"
    newest = open_model(str(path))
    assert (newest.name, newest.path) == ("mine · epoch 4", path)
    assert locate(str(run_folder)) == run_folder / "model"
    published(run_folder, 5)
    assert open_model(path).card.sha256 == newest.card.sha256
    assert open_model(str(run_folder)).name == "mine · epoch 5"


def test_a_run_that_is_played_is_listed_with_the_networks_that_it_keeps(run_folder: Path) -> None:
    for epoch in (1, 2, 3):
        published(run_folder, epoch)
    entries = networks_beside(locate(str(run_folder)))
    assert [entry.name for entry in entries] == [f"mine · epoch {number}" for number in (3, 2, 1)]
    assert [open_model(entry.path).name for entry in entries] == [entry.name for entry in entries]
    assert networks_beside(toys.text_folder(run_folder / "cats")) == []


def test_between_two_renames_nothing_is_new(run_folder: Path) -> None:
    published(run_folder, 1)
    published(run_folder, 2)
    watch = RunWatch(run_folder)
    before = watch.look().newest
    (run_folder / "model").rename(run_folder / "epochs" / "0002")
    between = watch.look().newest
    assert between
    assert before
    assert (between.path, between.digest) == (before.path, before.digest)


@pytest.mark.parametrize("last", ["config.json", "model.onnx", "tokenizer.json"])
def test_what_comes_in_any_order_is_a_network_once_it_is_whole(run_folder: Path, tmp_path: Path, last: str) -> None:
    """As rsync fills a folder; while a file in place of an older one is of another network, the last one stays."""
    published(run_folder, 1)
    watch = RunWatch(run_folder)
    assert epochs(watch.look()) == [1]
    source = published(tmp_path / "other", 2, table=toys.BIGRAMS + 1, name="mine") / "model"
    content = (source / last).read_bytes()
    for name in sorted(file.name for file in source.iterdir() if file.name != last):
        shutil.copy(source / name, run_folder / "model" / name)
    (run_folder / "model" / last).write_bytes(content[: len(content) // 2])
    assert epochs(watch.look()) == [1]
    (run_folder / "model" / last).write_bytes(content)
    assert epochs(watch.look()) == [2]


def test_while_a_newest_network_is_half_written_the_last_one_stays_the_newest(run_folder: Path) -> None:
    published(run_folder, 1)
    published(run_folder, 2)
    watch = RunWatch(run_folder)
    watch.look()
    whole = (run_folder / "model" / "model.onnx").read_bytes()
    (run_folder / "model" / "model.onnx").write_bytes(whole[:100])
    assert epochs(watch.look()) == [2, 1]
    published(run_folder, 3)
    assert epochs(watch.look())[0] == 3
    (run_folder / "model" / "model.onnx").write_bytes(whole[:100])
    shutil.copytree(run_folder / "epochs" / "0001", run_folder / "epochs" / "0004")
    assert epochs(watch.look())[0] == 4


def test_clocks_that_differ_change_nothing(run_folder: Path) -> None:
    published(run_folder, 1)
    watch = RunWatch(run_folder)
    for shift in (-1e8, 1e8):
        for file in run_folder.rglob("*"):
            os.utime(file, (time.time() + shift,) * 2)
        state = watch.look()
        assert (epochs(state), len(state.learning)) == ([1], 1)


def test_a_training_that_began_anew_has_other_epochs(run_folder: Path) -> None:
    for epoch in (1, 2, 3):
        published(run_folder, epoch)
    watch = RunWatch(run_folder)
    first = watch.look()
    published(run_folder, 2, table=toys.BIGRAMS - 1, train_loss=math.nan)
    state = watch.look()
    assert state.newest
    assert (state.newest.epoch, [epoch.number for epoch in state.learning.epochs]) == (2, [1, 2])
    assert math.isnan(state.learning.epochs[-1].train_loss)
    assert state.newest.digest not in [network.digest for network in first.networks]
    assert state.newest.is_of(open_model(state.newest.path))  # the one before it is kept by that name


def test_of_a_long_log_only_what_is_new_is_read(run_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = published(run_folder, 1) / "training.jsonl"
    line = json.loads(log.read_text())
    log.write_text("".join(json.dumps(line | {"epoch": number}) + "\n" for number in range(1, 10_001)))
    reader, card = TrainingLog(run_folder), read_card(run_folder / "model")
    assert reader.update(card)
    first, parsed = reader.learning, list[Any]()
    parse = json.loads
    monkeypatch.setattr(json, "loads", lambda text, **options: (parsed.append(text), parse(text, **options))[1])
    assert not reader.update(card)
    with open(log, "a", encoding="utf-8") as file:
        file.write(json.dumps(line | {"epoch": 10_001}) + "\n" + '{"epoch": 10002, "tra')
    assert reader.update(card)
    assert (len(parsed), len(reader.learning)) == (1, 10_001)
    assert reader.learning.epochs[:10_000] == first.epochs


def test_a_damaged_log_is_told_and_its_networks_are_there(run_folder: Path) -> None:
    published(run_folder, 1)
    (run_folder / "training.jsonl").write_text("{\n{}\n")
    state = RunWatch(run_folder).look()
    assert "line 1 is not JSON" in state.fault
    assert epochs(state) == [1]


def test_networks_are_scored_on_a_file_the_newest_first(run_folder: Path, tmp_path: Path) -> None:
    for epoch in (1, 2):
        published(run_folder, epoch, table=toys.BIGRAMS * epoch)
    (tmp_path / "held.txt").write_text("the cat sat.")
    networks, scores = RunWatch(run_folder).look().networks, Scores(tmp_path / "held.txt")
    while network := scores.due(networks):
        scores.add(network, open_model(network.path))
    assert [*scores.bits] == [2, 1]
    assert scores.bits[2] < scores.bits[1]
    assert scores.unit == "bits per character"
    (tmp_path / "held.txt").write_text("")
    empty = Scores(tmp_path / "held.txt")
    with pytest.raises(TuiGenError, match="nothing can be scored"):
        empty.add(networks[0], open_model(networks[0].path))
    assert empty.due(networks) == networks[1]


def test_checkpoints_are_converted_as_they_come(
    run_folder: Path, tui_gen: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    exporter = use(Exporter(), monkeypatch)
    run_folder.mkdir()
    (run_folder / "notes.txt").write_text("nothing")
    (run_folder / "step-1.pt").write_bytes(b"\x80\x02one.")
    watch = RunWatch(run_folder)
    state = watch.look()
    assert [(network.name, network.path.name) for network in state.networks] == [("step-1", "step-1.pt")]
    assert watch.look() == state
    exporter.ending = Ending(1, "", "TuiGenError", "it is cut")
    (run_folder / "step-2.pt").write_bytes(b"\x80\x02tw")
    os.utime(run_folder / "step-2.pt", (1e10, 1e10))
    state = watch.look()
    assert ([network.name for network in state.networks], state.fault) == (["step-1"], "it is cut")
    exporter.ending = None
    (run_folder / "step-2.pt").write_bytes(b"\x80\x02two.")
    os.utime(run_folder / "step-2.pt", (2e10, 2e10))
    assert [network.name for network in watch.look().networks] == ["step-2", "step-1"]
    assert len(exporter.calls) == 3
    printed = tui_gen("watch", str(run_folder), "--plain", "--epochs", "1", "-t", "0", "-l", "2").stdout.decode()
    assert printed.startswith("step-2\n")


def test_what_is_waited_for_is_told_once(
    run_folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("tui_gen.cli.watch._SECONDS", 0)
    looks = _looks(Training(RunWatch(run_folder)))

    def told() -> str:
        states = [next(looks), next(looks)]
        assert states[0].is_there == states[1].is_there == (run_folder / "model").exists()
        return capsys.readouterr().err

    assert told() == f"tui-gen: {run_folder} is not there; waiting for a training; ctrl+c ends\n"
    run_folder.mkdir()
    assert told() == f"tui-gen: {run_folder} is empty; waiting for a training; ctrl+c ends\n"
    (run_folder / "training.lock").write_text("process 7 on earth: train.py")
    begun = f"tui-gen: {run_folder} has no network yet, and process 7 on earth: train.py has begun there; waiting for "
    assert told() == f"{begun}it; ctrl+c ends\n"
    published(run_folder, 1)
    assert told() == ""
    shutil.rmtree(run_folder)
    assert told() == f"tui-gen: {run_folder} is gone; waiting for a training; ctrl+c ends\n"


def test_plain_prints_a_line_and_a_sample_per_epoch(tui_gen: Run, run_folder: Path, tmp_path: Path) -> None:
    for epoch in (1, 2):
        published(run_folder, epoch, validation_loss=1.5)
    (tmp_path / "held.txt").write_text("the cat")
    words = ("watch", str(run_folder), "--plain", "--epochs", "2")
    lines = tui_gen(*words, "--prompt", "cat", "-t", "0", "-l", "2").stdout.decode().splitlines()
    assert lines == ["epoch 1: training 4.000, held out 1.500 nats per token", "the sample 1", "",
                     "epoch 2: training 2.000, held out 1.500 nats per token", "cat sat.", ""]  # fmt: skip
    scored = tui_gen(*words, "--score", str(tmp_path / "held.txt")).stdout.decode()
    assert scored.count("bits per character") == 2


def test_why_there_is_no_network_is_told_beside_the_losses(tui_gen: Run, run_folder: Path) -> None:
    run_folder.mkdir()
    entry = {"epoch": 1, "unit": "", "train_loss": 4.0, "validation_loss": None, "trouble": "it is a transformer"}
    (run_folder / "training.jsonl").write_text(json.dumps(entry) + "\n")
    printed = tui_gen("watch", str(run_folder), "--plain", "--epochs", "1").stdout.decode()
    assert printed == "epoch 1: training 4.000; it is a transformer\n\n"


def test_a_part_of_an_epoch_counts_as_none(tui_gen: Run, run_folder: Path) -> None:
    run_folder.mkdir()
    lines = [
        {"epoch": 1, "train_loss": 4.0, "trouble": "odd", "part": 0.5},
        {"epoch": 1, "train_loss": 3.0, "trouble": "odd"},
    ]
    (run_folder / "training.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    printed = tui_gen("watch", str(run_folder), "--plain", "--epochs", "1").stdout.decode()
    assert printed == "epoch 1, 50 %: training 4.000; odd\n\nepoch 1: training 3.000; odd\n\n"


def test_plain_draws_pictures(tui_gen: Run, run_folder: Path) -> None:
    published(run_folder, 1, folder=toys.image_folder)
    printed = tui_gen("watch", str(run_folder), "--plain", "--epochs", "1", "-t", "0").stdout.decode()
    drawn = tui_gen("generate", str(run_folder), "-t", "0", "--seed", "42").stdout.decode()
    assert printed == f"epoch 1: training 4.000 nats per token\n{drawn}\n"


@pytest.mark.parametrize(
    ("words", "fault"),
    [
        (["watch", "{model}"], "is a model, not the folder of a training"),
        (["watch", "{file}", "--plain"], "is a file, not the folder of a training"),
        (["watch", "{run}", "--epochs", "3"], "--epochs is for --plain"),
        (["watch", "{run}", "--plain", "--epochs", "0"], "--epochs: must be a whole number of at least 1, not '0'"),
        (["watch", "{run}", "--score", "{run}/none"], "there is no such file"),
    ],
)
def test_what_cannot_be_watched_is_told(tui_gen: Run, run_folder: Path, words: list[str], fault: str) -> None:
    published(run_folder, 1)
    places = {"run": run_folder, "model": run_folder / "model", "file": run_folder / "training.jsonl"}
    done = tui_gen(*(word.format(**places) for word in words))
    assert done.returncode in (1, 2)
    assert fault in done.stderr.decode()
