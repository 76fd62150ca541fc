"""An interrupted run goes on as if nothing had happened, and only as the run that it was."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch

from export.training import checkpoint
from export.training.train import main
from tests.support.export_training import trainer, training, write_data

ROOT = Path(__file__).parents[2]


def _log(run: Path) -> list[dict[str, Any]]:
    lines = (run / "training.jsonl").read_text(encoding="utf-8").splitlines()
    return [{**json.loads(line), "seconds": 0} for line in lines]


@pytest.mark.parametrize(
    ("preset", "sizes"),
    [("recipes", {"dropout": 0.3}), ("shakespeare", {"layers": 2, "dropout": 0.2}), ("adventurers", {})],
)
def test_a_resumed_run_ends_like_one_in_one_go(preset: str, sizes: dict[str, Any], tmp_path: Path) -> None:
    prepared = training(preset, tmp_path, batch_size=4, **sizes)
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    list(trainer(prepared, whole).run())
    next(trainer(prepared, parts).run())
    again = trainer(prepared, parts)
    assert again.resume()
    assert [entry["epoch"] for entry in again.run()] == [2]
    assert _log(whole) == _log(parts)
    expected, found = (checkpoint.load(run / "checkpoint.pt") for run in (whole, parts))
    for kind in ("weights", "raw_weights"):
        assert all(torch.equal(found[kind][name], weight) for name, weight in expected[kind].items())
    assert expected["step"] == found["step"]
    assert expected["averaged"] == found["averaged"]


def test_a_run_that_is_done_has_nothing_left_to_train(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["names", "--data", str(write_data("names", tmp_path)), "-o", str(tmp_path), "--epochs", "1"]
    assert main(command) == 0
    before, _ = (tmp_path / "checkpoint.pt").read_bytes(), capsys.readouterr()
    assert main(command) == 0
    assert "resumed after epoch 1" in capsys.readouterr().out
    assert (tmp_path / "checkpoint.pt").read_bytes() == before


def test_a_new_run_has_nothing_to_resume(tmp_path: Path) -> None:
    assert not trainer(training("names", tmp_path), tmp_path).resume()


@pytest.mark.parametrize(
    ("option", "value", "says"),
    [
        ("--epochs", "3", "with epochs 2, not 3"),
        ("--seed", "5", "with seed 0, not 5"),
        ("--batch-size", "7", "with batch_size 64, not 7"),
        ("--learning-rate", "0.1", "with learning_rate 0.004, not 0.1"),
    ],
)
def test_a_run_with_other_options_is_refused(
    option: str, value: str, says: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["names", "--data", str(write_data("names", tmp_path)), "-o", str(tmp_path)]
    assert main([*command, "--epochs", "2"]) == 0
    before, _ = (tmp_path / "checkpoint.pt").read_bytes(), capsys.readouterr()
    assert main([*command, "--epochs", "2", option, value]) == 1
    fault = capsys.readouterr().err
    assert says in fault
    assert "use another -o" in fault
    assert fault.count("\n") == 1
    assert (tmp_path / "checkpoint.pt").read_bytes() == before


@pytest.mark.parametrize("letters", ["bcdefgh", "bcdefghijkl", ""], ids=["other size", "other letters", "same letters"])
def test_a_run_on_other_data_is_refused(letters: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = write_data("names", tmp_path)
    command = ["names", "--data", str(data), "-o", str(tmp_path / "run"), "--epochs", "1"]
    assert main(command) == 0
    other = "".join(f"a{one}{two}\n" for one in letters for two in letters)
    data.write_text(other or data.read_text(encoding="utf-8")[::-1].strip() + "\n", encoding="utf-8")
    assert main(command) == 1
    assert "was trained on other data" in capsys.readouterr().err


def test_a_checkpoint_of_something_else_is_not_resumed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torch.save({"state_dict": {}}, tmp_path / "checkpoint.pt")
    assert main(["names", "--data", str(write_data("names", tmp_path)), "-o", str(tmp_path)]) == 1
    assert "was not written by export.train" in capsys.readouterr().err


def test_a_killed_run_loses_at_most_the_epoch_in_progress(tmp_path: Path) -> None:
    data, run = write_data("names", tmp_path), tmp_path / "run"
    names = data.read_text()
    data.write_text(names * 25)
    command = ["names", "--data", str(data), "-o", str(run), "--epochs", "2", "--batch-size", "4", "--device", "cpu"]
    process = subprocess.Popen(
        [sys.executable, "-m", "export.train", *command],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.DEVNULL,
    )
    try:
        _wait_for(run / "training.jsonl", process)
    finally:
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    kept = checkpoint.load(run / "checkpoint.pt")["log"]
    assert {**kept[0], "seconds": 0} == _log(run)[0]
    assert main(command) == 0
    again = _log(run)
    assert again[0] == {**kept[0], "seconds": 0}
    assert [entry["epoch"] for entry in again] == [1, 2]


def _wait_for(path: Path, process: subprocess.Popen[bytes]) -> None:
    for _ in range(1200):
        if path.exists():
            return
        assert process.poll() is None
        time.sleep(0.05)
    raise AssertionError("no epoch in a minute")


@pytest.mark.parametrize("leftover", ["checkpoint.partial", "training.jsonl.partial"])
def test_a_half_written_file_does_not_hinder(leftover: str, tmp_path: Path) -> None:
    prepared = training("names", tmp_path)
    next(trainer(prepared, tmp_path).run())
    (tmp_path / leftover).write_bytes(b"\x80 half")
    again = trainer(prepared, tmp_path)
    assert again.resume()
    list(again.run())
    assert [entry["epoch"] for entry in _log(tmp_path)] == [1, 2]
    assert not (tmp_path / leftover).exists()
