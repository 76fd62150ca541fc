"""The trainer learns, keeps a log that can be compared over epochs, and says why it stops."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from export.evaluation.evaluate import evaluate
from export.files import fingerprint
from export.training import checkpoint, train
from export.training import trainer as loop
from export.training.train import main
from export.training.trainer import draw_sample
from tests.support.export_training import exported, trainer, training, write_data
from tui_gen.errors import TuiGenError

RUNS = {
    "names, rnn": ("names", {}),
    "shakespeare, gru": ("shakespeare", {"layers": 2}),
    "recipes, stacked lstm": ("recipes", {"layers": 2}),
    "recipes, lstm": ("recipes-lstm", {}),
    "recipes, gru": ("recipes-gru", {}),
    "recipes, rnn": ("recipes-rnn", {}),
    "fashion, plain": ("fashion", {"gated": False, "stacks": 1}),
    "fashion, the book's": ("fashion-book", {}),
    "adventurers, gated": ("adventurers", {"kernel": 5, "stacks": 1}),
    "adventurers, two stacks": ("adventurers", {"stacks": 2}),
}


def _trains_lstms_in_bfloat16() -> bool:
    try:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            torch.nn.LSTM(4, 4)(torch.zeros(1, 1, 4))
    except RuntimeError:
        return False
    return True


@pytest.mark.parametrize("mixed", [False, True], ids=["float32", "bfloat16"])
@pytest.mark.parametrize("run", RUNS)
def test_a_few_steps_lower_the_loss(run: str, mixed: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    preset, sizes = RUNS[run]
    monkeypatch.setattr(loop, "WARM_UP_STEPS", 5)
    if mixed and preset.startswith("recipes") and not _trains_lstms_in_bfloat16():
        pytest.skip("this processor has no bfloat16 kernel for LSTMs")
    log = list(trainer(training(preset, tmp_path, batch_size=4, **sizes), tmp_path, epochs=3, mixed=mixed).run())
    assert log[-1]["train_loss"] < 0.9 * log[0]["train_loss"]
    assert log[-1]["validation_loss"] < log[0]["validation_loss"]


def test_the_log_has_a_line_for_every_epoch(tmp_path: Path) -> None:
    run = trainer(training("names", tmp_path), tmp_path, epochs=3)
    entries = list(run.run())
    lines = [json.loads(line) for line in (tmp_path / "training.jsonl").read_text(encoding="utf-8").splitlines()]
    assert lines == entries == run.log
    assert [line["epoch"] for line in lines] == [1, 2, 3]
    assert [line["step"] for line in lines] == [10, 20, 30]
    wanted = {"epoch", "step", "unit", "train_loss", "validation_loss", "seconds", "prompt", "sample"}
    assert all(line.keys() == wanted for line in lines)
    assert {(line["unit"], line["prompt"]) for line in lines} == {("nats per character", "ma")}
    assert all(line["sample"].startswith("ma") for line in lines)


def test_a_pictures_sample_is_its_rows_and_its_loss_is_in_bits(tmp_path: Path) -> None:
    (entry,) = trainer(training("adventurers", tmp_path), tmp_path, epochs=1).run()
    assert entry["unit"] == "bits per pixel"
    assert entry["validation_loss"] == pytest.approx(2, abs=0.5)  # four levels, little learned
    assert [len(row) for row in entry["sample"]] == [5] * 6
    assert {level for row in entry["sample"] for level in row} <= set(range(4))


def test_samples_differ_only_by_what_was_learned(tmp_path: Path) -> None:
    """The seed and the prompt are the same every time, so weights that stay say the same."""
    run = trainer(training("names", tmp_path), tmp_path, epochs=2)
    before = draw_sample(run.training, run.average.module.state_dict())
    assert before == draw_sample(run.training, run.average.module.state_dict())
    last = list(run.run())[-1]
    assert last["sample"] != before["sample"]
    averaged = checkpoint.load(tmp_path / "checkpoint.pt")["weights"]  # which are exported, too
    assert last["sample"] == draw_sample(run.training, averaged)["sample"]


@pytest.mark.parametrize(("preset", "sizes"), [("recipes", {"dropout": 0.5}), ("adventurers", {})])
def test_the_held_out_loss_is_that_of_the_averaged_weights_at_rest(
    preset: str, sizes: dict[str, Any], tmp_path: Path
) -> None:
    run = trainer(training(preset, tmp_path, **sizes), tmp_path, epochs=1)
    (entry,) = run.run()
    contents = checkpoint.load(tmp_path / "checkpoint.pt")
    net = checkpoint.load_network(contents["network"], contents["weights"])
    measured = evaluate(exported(net), run.training.task)
    assert entry["validation_loss"] == pytest.approx(measured.value, abs=2e-4)


def test_the_seed_decides_how_the_weights_come_out(tmp_path: Path) -> None:
    prepared = training("names", tmp_path)
    first, same, other = (list(trainer(prepared, tmp_path / str(n), seed=n // 2).run())[-1] for n in range(3))
    assert {**first, "seconds": 0} == {**same, "seconds": 0}
    assert first["train_loss"] != other["train_loss"]


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_loss_that_is_no_number_stops_and_names_the_step(value: float, tmp_path: Path) -> None:
    run = trainer(training("names", tmp_path), tmp_path)
    epochs = run.run()
    next(epochs)
    run.net.output.bias.data[3] = value
    with pytest.raises(TuiGenError, match="the loss is nan at step 10; the checkpoint of epoch 1 stands"):
        next(epochs)
    kept = checkpoint.load(tmp_path / "checkpoint.pt")
    assert kept["epoch"] == 1
    assert all(torch.isfinite(weight).all() for weight in kept["raw_weights"].values())


def test_a_first_epoch_that_fails_does_not_speak_of_a_checkpoint(tmp_path: Path) -> None:
    run = trainer(training("names", tmp_path), tmp_path)
    run.net.output.bias.data[3] = float("nan")
    with pytest.raises(TuiGenError, match="the loss is nan at step 0; there is no checkpoint yet"):
        next(run.run())


@pytest.mark.parametrize(
    ("asked", "device", "recurrent", "taken"),
    [
        ("fp32", "cuda", False, "fp32"),
        ("bf16", "cpu", True, "bf16"),
        ("bf16", "cuda", False, "bf16"),
        ("auto", "cuda", False, "bf16"),
        ("auto", "cuda", True, "fp32"),
    ],
)
def test_a_precision_is_what_it_says(
    asked: str, device: str, recurrent: bool, taken: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """PyTorch's autocast runs cuDNN's recurrent layers in fp16 whatever it is asked for."""
    monkeypatch.setattr(train, "_fast_bfloat16", lambda device: True)
    assert train._precision(asked, device, recurrent=recurrent) == taken
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
    printed = capsys.readouterr()
    assert f"cpu, {precision}, new run" in printed.out
    assert "epoch 1: train " in printed.out
    assert printed.err == ""
    assert sorted(path.name for path in run.iterdir()) == ["checkpoint.pt", "training.jsonl"]
    options = checkpoint.load(run / "checkpoint.pt")["options"]
    chosen = {"preset": "names", "epochs": 1, "batch_size": 64, "learning_rate": 4e-3, "ema": 0.999, "seed": 0}
    assert options == {**chosen, "precision": precision, "data": fingerprint(data), "stacks": None}


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
    assert main(command) == 1
    fault = capsys.readouterr().err
    assert fault.startswith("export.train: ")
    assert fault.count("\n") == 1
    assert {"no data": str(data), "too small": "--batch-size", "output taken": str(run)}[size] in fault
