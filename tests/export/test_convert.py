"""From a trained checkpoint to a folder that plays: `python -m export`."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from onnx import ModelProto, numpy_helper

import export.__main__ as exporter
from export.convert import convert
from export.folder import FILES
from export.read import read
from export.reader import ReadOptions
from export.text.step import TextNetwork
from export.training import checkpoint
from export.training.trainer import SAMPLE_SEED
from tui_gen.cli.inspect import inspect
from tui_gen.errors import TuiGenError
from tui_gen.generation.generate import generate
from tui_gen.images.codec import ImageCodec
from tui_gen.library import open_model
from tui_gen.sampling.params import SamplingParams
from tui_gen.scoring.score import score

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def names(names_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models") / "first-names"
    assert exporter.main([str(names_checkpoint), "-o", str(folder)]) == 0
    return folder


def test_the_command_line_writes_a_model_folder(adventurers_checkpoint: Path, tmp_path: Path) -> None:
    folder = tmp_path / "deep" / "heroes"
    command = [sys.executable, "-m", "export", str(adventurers_checkpoint), "-o", str(folder), "--name", "heroes!"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert "Two-stack gated PixelCNN 2x8" in done.stdout
    assert f"play it with: tui-gen {folder}" in done.stdout
    assert {path.name for path in folder.iterdir()} == FILES
    assert [path.name for path in folder.parent.iterdir()] == ["heroes"]
    loaded_model = open_model(folder, provider="cpu")
    assert isinstance(loaded_model.codec, ImageCodec)
    assert loaded_model.card.name == "heroes!"
    assert loaded_model.codec.phrases == ("bow", "elf woman", "orc", "red cloak")
    prompt = loaded_model.codec.prompt(["elf woman, BOW", "orc"])
    steps = list(generate(loaded_model.model, prompt, SamplingParams(), length=30, seed=0))
    assert sum(not step.given[0] for step in steps) == 30


def test_config_json_tells_what_was_exported_and_how_it_was_proved(names: Path, names_checkpoint: Path) -> None:
    facts = json.loads((names / "config.json").read_text(encoding="utf-8"))
    assert facts["name"] == "first-names"
    assert (facts["kind"], facts["architecture"], facts["vocab_size"]) == ("text", "RNN 16", 13)
    assert facts["bos"] == facts["eos"] == 0
    assert facts["sha256"] == hashlib.sha256((names / "model.onnx").read_bytes()).hexdigest()
    assert facts["export"]["source_sha256"] == hashlib.sha256(names_checkpoint.read_bytes()).hexdigest()
    assert facts["export"]["opset"] == 18
    assert facts["export"]["parity"]["max_abs_logit_difference"] < 1e-5
    assert facts["export"]["parity"]["steps"] == 2200
    assert "--epochs 2 --batch-size 8 --learning-rate 0.05 --seed 0" in facts["export"]["trained_with"]


def test_the_log_and_the_readme_go_with_it(names: Path, names_checkpoint: Path) -> None:
    log = (names / "training.jsonl").read_text(encoding="utf-8")
    assert log == (names_checkpoint.parent / "training.jsonl").read_text(encoding="utf-8")
    readme = (names / "README.md").read_text(encoding="utf-8")
    assert readme.startswith("# first-names\n")
    assert "python -m export.train names" in readme
    assert len([line for line in readme.splitlines() if line.startswith(("| 1 |", "| 2 |"))]) == 2


def test_the_player_says_what_the_training_log_shows(names: Path) -> None:
    """The same seed, prompt and temperature give the sample of the last epoch."""
    loaded_model = open_model(names, provider="cpu")
    last = json.loads((names / "training.jsonl").read_text(encoding="utf-8").splitlines()[-1])
    knobs = SamplingParams(temperature=loaded_model.card.temperature)
    prompt = loaded_model.codec.prompt([last["prompt"]])
    steps = generate(loaded_model.model, prompt, knobs, length=20, seed=SAMPLE_SEED)
    assert loaded_model.codec.decode([int(step.tokens[0]) for step in steps]) == last["sample"]


def test_averaged_weights_are_exported(names: Path, names_checkpoint: Path) -> None:
    contents = checkpoint.load(names_checkpoint)
    tokens = np.array([[0, 7, 1, 9, 0]])
    averaged = checkpoint.load_network(contents["network"], contents["weights"])
    logits = averaged.sequence_logits(torch.from_numpy(tokens[:, :-1])).log_softmax(-1)
    expected = -logits[0, torch.arange(4), torch.from_numpy(tokens[0, 1:])].sum().item()
    assert -score(open_model(names, provider="cpu").model, tokens).sum() == pytest.approx(expected, abs=1e-4)
    assert any(not torch.equal(contents["weights"][name], raw) for name, raw in contents["raw_weights"].items())


def test_inspect_reads_it(names: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert inspect(str(names), "cpu") == 0
    printed = capsys.readouterr().out
    assert "state.h: tensor(float)[batch, 1, 16]" in printed
    assert "provider        CPU" in printed


def test_an_older_model_folder_is_replaced(names_checkpoint: Path, names: Path, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    for name in FILES:
        (folder / name).write_text("old")
    assert exporter.main([str(names_checkpoint), "-o", str(folder), "--name", "first-names"]) == 0
    assert (folder / "model.onnx").read_bytes() == (names / "model.onnx").read_bytes()
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


@pytest.mark.parametrize(
    "files", [["thesis.tex"], ["config.json", "package.json"], ["README.md"], [*FILES, "notes.txt"]]
)
def test_a_folder_that_holds_anything_else_is_left_alone(
    files: list[str], names_checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "precious"
    folder.mkdir()
    for name in files:
        (folder / name).write_text("mine")
    assert exporter.main([str(names_checkpoint), "-o", str(folder)]) == 1
    assert "is not a model folder" in capsys.readouterr().err
    assert {path.name: path.read_text() for path in folder.iterdir()} == dict.fromkeys(files, "mine")
    assert [path.name for path in tmp_path.iterdir()] == ["precious"]


def test_a_file_in_the_way_is_left_alone(
    names_checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    taken = tmp_path / "taken"
    taken.write_text("mine")
    for target in (taken, taken / "model"):
        assert exporter.main([str(names_checkpoint), "-o", str(target)]) == 1
        assert capsys.readouterr().err.count("\n") == 1
    assert taken.read_text() == "mine"


def test_nothing_is_written_when_the_proof_fails(
    names_checkpoint: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def damaged(network: TextNetwork) -> ModelProto:
        graph = right(network)
        bias = next(tensor for tensor in graph.graph.initializer if tensor.name == "output.bias")
        values = numpy_helper.to_array(bias).copy()
        values[3] += 1
        bias.CopyFrom(numpy_helper.from_array(values, bias.name))
        return graph

    right = TextNetwork.step_graph
    monkeypatch.setattr(TextNetwork, "step_graph", damaged)
    assert exporter.main([str(names_checkpoint), "-o", str(tmp_path / "model")]) == 1
    fault = capsys.readouterr().err
    assert fault.startswith("export: the exported model differs from PyTorch by 1 in its logits")
    assert fault.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def _export(source: Path, target: Path, *, name: str) -> None:
    _, reading = read(source, ReadOptions())
    convert(reading, target, source=source, name=name)


def test_an_interrupted_write_leaves_the_old_folder(
    names_checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "model"
    _export(names_checkpoint, folder, name="old")

    def fail(*_: object) -> str:
        raise TuiGenError("disk full")

    monkeypatch.setattr("export.folder.model_readme", fail)
    with pytest.raises(TuiGenError, match="disk full"):
        _export(names_checkpoint, folder, name="new")
    assert json.loads((folder / "config.json").read_text())["name"] == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["model"]
