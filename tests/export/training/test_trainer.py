"""The trainer learns, keeps a log that can be compared over epochs, and goes on where it was interrupted."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import export.__main__ as exporter
from export.evaluation.evaluate import evaluate
from export.samples import OpenStep
from export.training import checkpoint
from export.training import trainer as loop
from export.training.trainer import Trainer, exportable_of, samples_of
from tests.support.export_training import exported, trainer, training
from tui_gen.errors import TuiGenError
from tui_gen.generation.generate import generate
from tui_gen.library import open_model
from tui_gen.sampling.params import SamplingParams

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


@pytest.mark.parametrize("bfloat16", [False, True], ids=["float32", "bfloat16"])
@pytest.mark.parametrize("run", RUNS)
def test_a_few_steps_lower_the_loss(run: str, bfloat16: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    preset, sizes = RUNS[run]
    monkeypatch.setattr(loop, "WARM_UP_STEPS", 5)
    if bfloat16 and preset.startswith("recipes") and not _trains_lstms_in_bfloat16():
        pytest.skip("this processor has no bfloat16 kernel for LSTMs")
    log = list(trainer(training(preset, tmp_path, batch_size=4, **sizes), tmp_path, epochs=3, bfloat16=bfloat16).run())
    assert log[-1]["train_loss"] < 0.9 * log[0]["train_loss"]
    assert log[-1]["validation_loss"] < log[0]["validation_loss"]


def test_the_log_has_a_line_for_every_epoch(tmp_path: Path) -> None:
    run = trainer(training("names", tmp_path), tmp_path, epochs=3)
    entries = list(run.run())
    lines = [json.loads(line) for line in (tmp_path / "training.jsonl").read_text(encoding="utf-8").splitlines()]
    assert lines == entries == run.log
    assert [line["epoch"] for line in lines] == [1, 2, 3]
    assert [line["step"] for line in lines] == [10, 20, 30]
    keys = {"epoch", "step", "unit", "train_loss", "validation_loss", "seconds", "prompt", "samples"}
    assert all(line.keys() == keys | {"seeds", "temperature"} for line in lines)
    assert {(line["unit"], line["prompt"], line["temperature"]) for line in lines} == {
        ("nats per character", "ma", 0.9)
    }
    assert [line["seeds"] for line in lines] == [[1, 2, 3, 4]] * 3
    assert all(sample.startswith("ma") for line in lines for sample in line["samples"])
    assert len(set(lines[-1]["samples"])) > 1


def test_a_pictures_samples_are_its_rows_and_its_loss_is_in_bits(tmp_path: Path) -> None:
    (entry,) = trainer(training("adventurers", tmp_path), tmp_path, epochs=1).run()
    assert entry["unit"] == "bits per pixel"
    assert entry["validation_loss"] == pytest.approx(2, abs=0.5)  # four levels, little learned
    assert np.shape(entry["samples"]) == (4, 6, 7)
    assert set(np.unique(entry["samples"])) <= set(range(4))


def test_samples_are_what_the_exported_model_draws_with_its_knobs_and_its_guidance(tmp_path: Path) -> None:
    run = trainer(training("adventurers", tmp_path), tmp_path, epochs=1)
    (entry,) = run.run()
    assert (entry["guidance"], entry["temperature"]) == (1.25, 0.85)
    words = [str(tmp_path / "checkpoint.pt"), "-o", str(tmp_path / "heroes"), "--guidance", "1.25"]
    assert exporter.main(words) == 0
    heroes = open_model(tmp_path / "heroes", provider="cpu")
    prompt = heroes.codec.prompt([entry["prompt"]])
    for seed, sample in zip(entry["seeds"], entry["samples"], strict=True):
        steps = generate(heroes.model, prompt, SamplingParams(heroes.card.temperature), length=42, seed=seed)
        assert [int(step.tokens[0]) for step in steps if not step.given[0]] == np.ravel(sample).tolist()


def _samples(run: Trainer, weights: dict[str, Any]) -> dict[str, Any]:
    return samples_of(run.training, OpenStep.of(exportable_of(run.training, weights)))


def test_samples_differ_only_by_what_was_learned(tmp_path: Path) -> None:
    """The seeds and the prompt are the same every time, so weights that stay say the same."""
    run = trainer(training("names", tmp_path), tmp_path, epochs=2)
    before = _samples(run, run.average.module.state_dict())
    assert before == _samples(run, run.average.module.state_dict())
    last = list(run.run())[-1]
    assert last["samples"] != before["samples"]
    weights = checkpoint.load(tmp_path / "checkpoint.pt")["weights"]  # which are exported, too
    assert last["samples"] == _samples(run, weights)["samples"]


@pytest.mark.parametrize(("preset", "sizes"), [("recipes", {"dropout": 0.5}), ("adventurers", {})])
def test_the_held_out_loss_is_that_of_the_averaged_weights_at_rest(
    preset: str, sizes: dict[str, Any], tmp_path: Path
) -> None:
    run = trainer(training(preset, tmp_path, **sizes), tmp_path, epochs=1)
    (entry,) = run.run()
    contents = checkpoint.load(tmp_path / "checkpoint.pt")
    net = checkpoint.load_network(contents["network"], contents["weights"])
    quality = evaluate(exported(net), run.training.task)
    assert entry["validation_loss"] == pytest.approx(quality.value, abs=2e-4)


def test_the_seed_decides_how_the_weights_come_out(tmp_path: Path) -> None:
    setup = training("names", tmp_path)
    first, same, other = (list(trainer(setup, tmp_path / str(n), seed=n // 2).run())[-1] for n in range(3))
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
    contents = checkpoint.load(tmp_path / "checkpoint.pt")
    assert contents["epoch"] == 1
    assert all(torch.isfinite(weight).all() for weight in contents["raw_weights"].values())


def test_a_first_epoch_that_fails_does_not_speak_of_a_checkpoint(tmp_path: Path) -> None:
    run = trainer(training("names", tmp_path), tmp_path)
    run.net.output.bias.data[3] = float("nan")
    with pytest.raises(TuiGenError, match="the loss is nan at step 0; there is no checkpoint yet"):
        next(run.run())


def _log(run: Path) -> list[dict[str, Any]]:
    lines = (run / "training.jsonl").read_text(encoding="utf-8").splitlines()
    return [{**json.loads(line), "seconds": 0} for line in lines]


@pytest.mark.parametrize(
    ("preset", "sizes"),
    [("recipes", {"dropout": 0.3}), ("shakespeare", {"layers": 2, "dropout": 0.2}), ("adventurers", {})],
)
def test_a_resumed_run_ends_like_one_in_one_go(preset: str, sizes: dict[str, Any], tmp_path: Path) -> None:
    setup = training(preset, tmp_path, batch_size=4, **sizes)
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    list(trainer(setup, whole).run())
    next(trainer(setup, parts).run())
    again = trainer(setup, parts)
    assert again.resume()
    assert [entry["epoch"] for entry in again.run()] == [2]
    assert _log(whole) == _log(parts)
    expected, actual = (checkpoint.load(run / "checkpoint.pt") for run in (whole, parts))
    for kind in ("weights", "raw_weights"):
        assert all(torch.equal(actual[kind][name], weight) for name, weight in expected[kind].items())
    assert expected["step"] == actual["step"]
    assert expected["averaged"] == actual["averaged"]


def test_a_long_epoch_shows_its_network_while_it_goes_on_and_ends_as_one_that_does_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    setup, shown, lines = training("recipes", tmp_path, batch_size=4, dropout=0.3), list[dict[str, Any]](), list[Any]()

    def publish(_: object, step: OpenStep, entry: Mapping[str, Any]) -> None:
        shown.append({**entry, "graph": step.graph})
        lines.append([line["epoch"] for line in _log(tmp_path / "parts")])

    list(trainer(setup, tmp_path / "whole").run())
    monkeypatch.setattr(loop, "PART_SECONDS", 0)
    monkeypatch.setattr(loop, "_GROWTH", 0)
    list(trainer(setup, tmp_path / "parts", publish=publish).run())
    steps = len(setup.task)
    assert [entry.get("part") for entry in shown] == [*(round(at / steps, 4) for at in range(1, steps)), None] * 2
    assert lines == [[1]] * steps + [[1, 2]] * steps
    assert len({entry["graph"] for entry in shown}) == 2 * steps
    assert all(entry.get("validation_loss") is None for entry in shown if "part" in entry)
    assert _log(tmp_path / "whole") == _log(tmp_path / "parts")


def test_a_new_run_has_nothing_to_resume(tmp_path: Path) -> None:
    assert not trainer(training("names", tmp_path), tmp_path).resume()


@pytest.mark.parametrize(
    ("changes", "difference"),
    [
        ({"epochs": 3}, "with epochs 2, not 3"),
        ({"seed": 5}, "with seed 0, not 5"),
        ({"batch_size": 7}, "with batch_size 8, not 7"),
        ({"learning_rate": 0.1}, "with learning_rate 0.05, not 0.1"),
        ({"data": "other"}, "on other data"),
    ],
)
def test_a_run_with_other_options_is_refused(
    changes: dict[str, Any], difference: str, names_checkpoint: Path, tmp_path: Path
) -> None:
    run, before = trainer(training("names", tmp_path), names_checkpoint.parent), names_checkpoint.read_bytes()
    run.options = replace(run.options, **changes)
    with pytest.raises(TuiGenError, match=f"was trained {difference}; .* use another -o"):
        run.resume()
    assert names_checkpoint.read_bytes() == before


def test_a_checkpoint_of_something_else_is_not_resumed(tmp_path: Path) -> None:
    torch.save({"state_dict": {}}, tmp_path / "checkpoint.pt")
    with pytest.raises(TuiGenError, match=r"was not written by export.train"):
        trainer(training("names", tmp_path), tmp_path).resume()


@pytest.mark.parametrize("leftover", ["checkpoint.pt.tmp", "training.jsonl.tmp"])
def test_a_half_written_file_does_not_hinder(leftover: str, tmp_path: Path) -> None:
    setup = training("names", tmp_path)
    next(trainer(setup, tmp_path).run())
    (tmp_path / leftover).write_bytes(b"\x80 half")
    again = trainer(setup, tmp_path)
    assert again.resume()
    list(again.run())
    assert [entry["epoch"] for entry in _log(tmp_path)] == [1, 2]
    assert not (tmp_path / leftover).exists()
