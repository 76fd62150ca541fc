"""Training by the command line: what it prints and writes, what it refuses, and runs that were interrupted."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from export.files import fingerprint
from export.train import main
from export.training import checkpoint, train
from tests.support.export_training import write_data
from tui_gen.errors import TuiGenError
from tui_gen.library import open_model
from tui_gen.training_log import read_learning

ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize(
    ("option", "device", "recurrent", "precision"),
    [
        ("fp32", "cuda", False, "fp32"),
        ("bf16", "cpu", True, "bf16"),
        ("bf16", "cuda", False, "bf16"),
        ("auto", "cuda", False, "bf16"),
        ("auto", "cuda", True, "fp32"),
    ],
)
def test_a_precision_is_what_it_says(
    option: str, device: str, recurrent: bool, precision: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """PyTorch's autocast runs cuDNN's recurrent layers in fp16 whatever it is asked for."""
    monkeypatch.setattr(train, "_fast_bfloat16", lambda device: True)
    assert train._precision(option, device, recurrent=recurrent) == precision
    with pytest.raises(TuiGenError, match="runs recurrent layers in fp16"):
        train._precision("bf16", "cuda", recurrent=True)


def test_a_gpu_that_is_full_is_one_clear_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(*_: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(train, "_train", full)
    assert main(["names", "--data", str(tmp_path), "-o", str(tmp_path)]) == 1
    assert "too little memory for such batches; ask for smaller ones with --batch-size" in capsys.readouterr().err


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_the_command_line_trains(precision: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data, run = write_data("names", tmp_path), tmp_path / "deep" / "run"
    command = ["names", "--data", str(data), "-o", str(run), "--epochs", "1", "--device", "cpu"]
    assert main([*command, "--precision", precision]) == 0
    output = capsys.readouterr()
    assert f"cpu, {precision}, new run" in output.out
    assert "epoch 1: train " in output.out
    assert output.err == ""
    files = ["checkpoint.pt", "epochs", "model", "training.jsonl", "training.lock"]
    assert sorted(path.name for path in run.iterdir()) == files
    assert open_model(str(run)).name == "run · epoch 1"
    options = checkpoint.load(run / "checkpoint.pt")["options"]
    defaults = {"preset": "names", "epochs": 1, "batch_size": 64, "learning_rate": 4e-3, "ema": 0.999, "seed": 0}
    assert options == {**defaults, "precision": precision, "data": fingerprint(data), "stacks": None}


@pytest.mark.parametrize("size", ["no data", "too small", "output taken"])
def test_what_cannot_be_trained_is_one_clear_line(
    size: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data, run = tmp_path / "data", tmp_path / "run"
    if size != "no data":
        data.write_text("but soft\n" * 300)
    if size == "output taken":
        run.write_text("mine")
    command = ["shakespeare", "--data", str(data), "-o", str(run), "--device", "cpu"]
    assert main(command, prog="tui-gen train") == 1
    fault = capsys.readouterr().err
    assert fault.startswith("tui-gen train: ")
    assert fault.count("\n") == 1
    assert {"no data": str(data), "too small": "--batch-size", "output taken": str(run)}[size] in fault


def test_a_run_that_is_done_has_nothing_left_to_train(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["names", "--data", str(write_data("names", tmp_path)), "-o", str(tmp_path), "--epochs", "1"]
    assert main(command) == 0
    before, _ = (tmp_path / "checkpoint.pt").read_bytes(), capsys.readouterr()
    assert main(command) == 0
    assert "resumed after epoch 1" in capsys.readouterr().out
    assert (tmp_path / "checkpoint.pt").read_bytes() == before


def test_a_network_that_the_disk_has_no_room_for_is_noted_and_the_training_goes_on(tmp_path: Path) -> None:
    data, run = write_data("names", tmp_path), tmp_path / "run"
    (run / "epochs").mkdir(parents=True)
    (run / "epochs" / "next").touch()  # in the way, as a full disk is, of the network alone
    command = ["names", "--data", str(data), "-o", str(run), "--epochs", "2", "--device", "cpu"]
    assert main(command) == 0
    epochs = read_learning(run, None).epochs
    assert [bool(epoch.trouble) for epoch in epochs] == [True, True]
    assert [len(line["samples"]) for line in checkpoint.load(run / "checkpoint.pt")["log"]] == [4, 4]
    assert main(command) == 0  # which is resumed, and has nothing left to do
    assert [epoch.trouble for epoch in read_learning(run, None).epochs] == [epoch.trouble for epoch in epochs]


def test_a_run_that_another_training_writes_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fcntl = pytest.importorskip("fcntl")
    data, run = write_data("names", tmp_path), tmp_path / "run"
    run.mkdir()
    with open(run / "training.lock", "w", encoding="utf-8") as lock:
        lock.write("process 7 on earth: train")
        lock.flush()
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert main(["names", "--data", str(data), "-o", str(run), "--device", "cpu"]) == 1
    assert "another training writes into" in (fault := capsys.readouterr().err)
    assert "process 7 on earth: train; give this one a folder of its own" in fault
    assert [path.name for path in run.iterdir()] == ["training.lock"]


def test_a_killed_run_loses_at_most_the_epoch_in_progress(tmp_path: Path) -> None:
    data, run = write_data("names", tmp_path), tmp_path / "run"
    data.write_text(data.read_text() * 15)
    command = ["names", "--data", str(data), "-o", str(run), "--epochs", "2", "--batch-size", "4", "--device", "cpu"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    arguments = [sys.executable, "-m", "export.train", *command]
    with subprocess.Popen(arguments, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        assert any(line.startswith("epoch 1: ") for line in process.stdout)  # printed when it is saved
        process.kill()
    assert process.returncode == -signal.SIGKILL
    [first, *_] = checkpoint.load(run / "checkpoint.pt")["log"]
    assert main(command) == 0
    log = [json.loads(line) for line in (run / "training.jsonl").read_text(encoding="utf-8").splitlines()]
    assert log[0] == first
    assert [entry["epoch"] for entry in log] == [1, 2]
