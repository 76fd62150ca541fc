"""Checkpoints of a released version are read, exported to the same networks, and resumed.

Safe on any processor: the exporter only copies and adds the weights of a text network, but it finds those of a picture
network by running it, so that logits may differ in the last bits; so may the losses of a resumed training.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from numpy.typing import NDArray
from onnx import numpy_helper

import export.__main__ as exporter
from export.build_tokenizer import with_unknown
from export.train import main
from export.training import checkpoint
from export.training.presets import PRESETS, Training
from export.verify import step_logits
from tui_gen.library import open_model
from tui_gen.sampling.params import Logits

CHECKPOINTS = Path(__file__).parents[1] / "fixtures" / "checkpoints"
TEXT, PICTURES = ("names", "recipes", "shakespeare"), ("adventurers", "fashion", "fashion-book")
VERSIONS = ("2.13.0", "1.23.2")
"""Of torch and onnx, with which the models were exported."""


def _parts(path: Path) -> tuple[list[Any], dict[str, NDArray[Any]]]:
    """What a model computes, whatever the names of its nodes and of values on the way; and its weights by name."""
    graph, names = onnx.load(path).graph, dict[str, str]()
    ports = {port.name for port in (*graph.input, *graph.output)}
    for number, value in enumerate(value for node in graph.node for value in node.output):
        names[value] = value if value in ports else f"value {number}"
    steps = [
        (node.op_type, [names.get(each, each) for each in node.input], list(node.attribute)) for node in graph.node
    ]
    weights = {each.name: numpy_helper.to_array(each) for each in graph.initializer}
    return [steps, list(graph.input), list(graph.output)], weights


def _logits(folder: Path) -> Logits:
    """Of a picture model, on two pictures of chance; its graph may compute less than a released one did, and may read
    more tokens before the first pixel.
    """
    loaded_model = open_model(folder, provider="cpu")
    image = loaded_model.card.image
    assert image
    pixels = np.random.default_rng(0).integers(0, image.levels, (2, image.area))
    prompt = loaded_model.codec.prompt([""] * 2)
    logits: Logits = step_logits(loaded_model.model, np.concatenate([prompt, pixels[:, :-1]], axis=1))
    return logits[:, prompt.shape[1] - 1 :]


def _facts(folder: Path) -> dict[str, Any]:
    """What config.json says, but for what depends on the machine, on versions and on the form of the step."""
    config: dict[str, Any] = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    for fact in ("layers", "copies", "warm_up") if "image" in config else ():
        config["image"].pop(fact, None)
    origin = {key: config["export"][key] for key in ("trained_with", "data_sha256", "source_sha256", "made_with")}
    return {**config, "sha256": "", "export": origin}


def _losses(path: Path) -> list[tuple[Any, ...]]:
    entries = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    return [(each["epoch"], each["step"], each["train_loss"], each["validation_loss"]) for each in entries]


@pytest.mark.parametrize("name", [*TEXT, *PICTURES])
def test_a_checkpoint_is_exported_to_the_same_model(name: str, tmp_path: Path) -> None:
    folder, reference = tmp_path / "model", CHECKPOINTS / name / "exported"
    assert exporter.main([str(CHECKPOINTS / name / "checkpoint.pt"), "-o", str(folder), "--name", name]) == 0
    if name in TEXT:
        graph, weights = _parts(folder / "model.onnx")
        reference_graph, reference_weights = _parts(reference / "model.onnx")
        assert graph == reference_graph
        assert weights.keys() == reference_weights.keys()
        for key, values in reference_weights.items():
            np.testing.assert_allclose(weights[key], values, rtol=1e-5, atol=1e-6, err_msg=key)
    else:
        np.testing.assert_allclose(_logits(folder), _logits(reference), rtol=1e-4, atol=1e-5)
    if name in TEXT and (torch.__version__.partition("+")[0], onnx.__version__) == VERSIONS:
        assert all(np.array_equal(weights[key], values) for key, values in reference_weights.items())
    assert _facts(folder) == _facts(reference)
    assert (folder / "training.jsonl").read_bytes() == (reference / "training.jsonl").read_bytes()
    tokenizer, earlier = (each.joinpath("tokenizer.json").read_text(encoding="utf-8") for each in (folder, reference))
    assert tokenizer == with_unknown(earlier)


@pytest.mark.parametrize("name", [*TEXT, *PICTURES])
def test_a_training_that_was_interrupted_is_resumed(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copy(CHECKPOINTS / name / "checkpoint.pt", tmp_path)
    preset, contents = PRESETS[name], checkpoint.load(tmp_path / "checkpoint.pt")
    small = checkpoint.load_network(contents["network"], contents["weights"]).config

    def set_up(name: str, path: Path, batch_size: int) -> Training:
        return replace(preset.set_up(name, path, batch_size), network=small, sample_length=20)

    monkeypatch.setitem(PRESETS, name, replace(preset, set_up=set_up))
    words = ["--epochs", "3", "--batch-size", "4", "--learning-rate", "0.1", "--seed", "7", "--precision", "fp32"]
    words += ["--stacks", "1"] if name == "fashion" else []
    data = str(CHECKPOINTS / name / "training_data")
    assert main([name, "--data", data, "-o", str(tmp_path), "--device", "cpu", *words]) == 0
    assert "resumed after epoch 2" in capsys.readouterr().out
    losses, reference = _losses(tmp_path / "training.jsonl"), _losses(CHECKPOINTS / name / "finished.jsonl")
    assert losses[:2] == reference[:2] == _losses(CHECKPOINTS / name / "training.jsonl")
    assert losses[2] == pytest.approx(reference[2], rel=0.01)
    assert checkpoint.load(tmp_path / "checkpoint.pt")["epoch"] == 3
