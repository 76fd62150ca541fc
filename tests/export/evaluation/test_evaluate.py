"""The figure in config.json is what PyTorch computes on the same held-out data."""

from __future__ import annotations

import json
import math
import re
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch.nn import functional

from export.__main__ import main as export_main
from export.evaluation import evaluate as evaluate_module
from export.evaluation.evaluate import evaluate, main
from export.files import fingerprint
from export.folder import update_card
from export.training.networks import TrainedNet, build_network
from export.training.presets import Training
from tests.support.export_training import exported, training, write_data
from tui_gen.library import read_card


def _network(setup: Training) -> TrainedNet:
    """Random weights that are far enough from uniform for a wrong sum to show."""
    torch.manual_seed(0)
    net = build_network(setup.network)
    for parameter in net.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    return net.eval()


@pytest.mark.parametrize(
    ("preset", "unit", "split"),
    [
        ("recipes", "nats per token", "{} held-out words and marks, ends counted"),
        ("names", "nats per character", "{} held-out characters, ends counted"),
        ("shakespeare", "nats per character", "{} held-out characters"),
    ],
)
def test_a_texts_figure_is_the_mean_over_all_its_tokens(preset: str, unit: str, split: str, tmp_path: Path) -> None:
    setup = training(preset, tmp_path)
    net, nats, count = _network(setup), 0.0, 0
    for document in setup.task.texts.held_out:
        tokens = torch.from_numpy(document)
        logits = net(tokens[None, :-1])[0][0]
        nats += functional.cross_entropy(logits, tokens[1:], reduction="sum").item()
        count += len(tokens) - 1
    quality = evaluate(exported(net), setup.task)
    assert quality.value == pytest.approx(nats / count, abs=1e-4)
    assert (quality.unit, quality.split) == (unit, split.format(f"{count:,}"))


def test_a_long_text_is_measured_in_windows_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evaluate_module, "WINDOW", 8)
    setup = training("shakespeare", tmp_path)
    net, (text,) = _network(setup), setup.task.texts.held_out
    tokens = torch.from_numpy(text[: (len(text) - 1) // 8 * 8 + 1])
    logits = net(tokens[:-1].view(-1, 8))[0]
    expected = functional.cross_entropy(logits.flatten(0, 1), tokens[1:]).item()
    said = evaluate_module._in_windows(exported(net), setup.task)
    assert said.startswith(f"{expected:.3f} nats per character, each from a state of zeros")


def test_the_books_network_is_measured_in_nats_as_in_the_book(tmp_path: Path) -> None:
    setup = training("fashion-book", tmp_path)
    net, images = _network(setup), setup.task.images
    pixels = torch.from_numpy(images.pixels[-images.held_out :]).long()
    with torch.no_grad():
        nats = functional.cross_entropy(net(net.encode(pixels), torch.zeros(len(pixels), 0)), pixels).item()
    quality = evaluate(exported(net), setup.task)
    assert quality.value == pytest.approx(nats, abs=1e-4)
    assert (quality.unit, quality.split) == ("nats per pixel", f"{images.held_out} held-out pictures")
    training_set = torch.from_numpy(images.pixels[: -images.held_out]).long()
    with torch.no_grad():
        logits = net(net.encode(training_set), torch.zeros(len(training_set), 0))
    of_training = evaluate(exported(net), setup.task, split="training")
    assert of_training.value == pytest.approx(functional.cross_entropy(logits, training_set).item(), abs=1e-4)
    assert of_training.split == f"{len(training_set)} training pictures"


@pytest.mark.parametrize(
    ("preset", "sizes"),
    [("fashion", {}), ("adventurers", {}), ("fashion", {"stacks": 2, "blocks": 1})],
    ids=["fashion", "adventurers", "two stacks"],
)
def test_a_pictures_figure_is_in_bits_per_pixel_under_its_conditions(
    preset: str, sizes: dict[str, int], tmp_path: Path
) -> None:
    setup = training(preset, tmp_path, **sizes)
    net, images = _network(setup), setup.task.images
    pixels = torch.from_numpy(images.pixels[-images.held_out :]).long()
    conditions = torch.from_numpy(images.conditions[-images.held_out :]).float()
    with torch.no_grad():
        bits = functional.cross_entropy(net(net.encode(pixels), conditions), pixels).item() / math.log(2)
        without = functional.cross_entropy(net(net.encode(pixels), 0 * conditions), pixels).item() / math.log(2)
    quality = evaluate(exported(net), setup.task)
    assert quality.value == pytest.approx(bits, abs=1e-4)
    assert abs(bits - without) > 0.001
    assert (quality.unit, quality.split) == (
        "bits per pixel",
        f"{images.held_out} held-out pictures, their conditions given",
    )


@pytest.fixture
def folder(names_checkpoint: Path, tmp_path: Path) -> Path:
    """An exported model folder, with no figure yet."""
    assert export_main([str(names_checkpoint), "-o", str(tmp_path / "names")]) == 0
    return tmp_path / "names"


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """The data it was trained on."""
    (tmp_path / "data").mkdir()
    return write_data("names", tmp_path / "data")


def test_the_command_line_writes_the_figure(folder: Path, data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    assert "not measured" in (folder / "README.md").read_text(encoding="utf-8")
    graph = (folder / "model.onnx").read_bytes()
    assert main([str(folder), "--data", str(data)]) == 0
    facts = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    quality = facts.pop("quality")
    assert facts.pop("measured").keys() == {"samples", "figures"}
    assert facts == before
    assert quality["unit"] == "nats per character"
    assert f"names: {quality['value']} nats per character on {quality['split']}" in capsys.readouterr().out
    assert f"{quality['value']:.3f} nats per character" in (folder / "README.md").read_text(encoding="utf-8")
    assert (folder / "model.onnx").read_bytes() == graph


def test_a_model_of_another_name_needs_a_preset(
    names_checkpoint: Path, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = tmp_path / "other"
    assert export_main([str(names_checkpoint), "-o", str(other)]) == 0
    assert main([str(other), "--data", str(data)]) == 1
    assert "name a --preset" in capsys.readouterr().err
    assert main([str(other), "--data", str(data), "--preset", "names"]) == 0


def test_a_file_that_only_somebody_who_trusts_it_opens_is_measured_for_them(
    folder: Path, data: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("tui_gen.library.MAX_GRAPH", 1)
    assert main([str(folder), "--data", str(data)]) == 1
    assert "--trust opens it" in capsys.readouterr().err
    assert main([str(folder), "--data", str(data), "--trust"]) == 0


def test_the_training_data_is_scored_where_it_is_asked_for(folder: Path, data: Path) -> None:
    assert main([str(folder), "--data", str(data)]) == 0
    assert "figure on the training data" not in read_card(folder).measured["figures"]
    assert main([str(folder), "--data", str(data), "--train"]) == 0
    figure = read_card(folder).measured["figures"]["figure on the training data"]
    assert re.fullmatch(r"\d\.\d{3} nats per character on [\d,]+ training characters, ends counted", figure)
    readme = (folder / "README.md").read_text(encoding="utf-8")
    assert "python -m export.evaluate models/names --data names.txt --train\n" in readme
    assert f"- figure on the training data: {figure}" in readme


def test_data_that_it_was_not_trained_on_is_refused(
    folder: Path, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nothing of it was held out, though it has the same letters."""
    card = read_card(folder)
    update_card(folder, replace(card, export={**card.export, "data_sha256": fingerprint(data)}))
    assert main([str(folder), "--data", str(data)]) == 0
    other = tmp_path / "other.txt"
    other.write_text("".join(reversed(data.read_text(encoding="utf-8").splitlines(keepends=True))), encoding="utf-8")
    assert main([str(folder), "--data", str(other)]) == 1
    assert f"was trained on other data than {other}" in capsys.readouterr().err


@pytest.mark.parametrize("fault", ["other data", "no data", "no log", "no folder"])
def test_what_cannot_be_measured_is_one_clear_line_and_changes_nothing(
    fault: str, folder: Path, data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    spoil = {
        "other data": lambda: data.write_text(data.read_text().replace("a", "y")),
        "no data": data.unlink,
        "no log": (folder / "training.jsonl").unlink,
        "no folder": lambda: shutil.rmtree(folder),
    }
    says = {
        "other data": "another vocabulary",
        "no data": str(data),
        "no log": "training.jsonl",
        "no folder": str(folder),
    }
    spoil[fault]()
    before = {path.name: path.read_bytes() for path in folder.glob("*")}
    capsys.readouterr()
    assert main([str(folder), "--data", str(data)]) == 1
    output = capsys.readouterr().err
    assert output.startswith("python -m export.evaluate: ")
    assert says[fault] in output
    assert output.count("\n") == 1
    assert {path.name: path.read_bytes() for path in folder.glob("*")} == before
