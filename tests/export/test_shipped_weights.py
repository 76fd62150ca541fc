"""What ships is made again from the weights that are kept beside it, as `make models` does."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch

from export.__main__ import main
from export.files import fingerprint
from export.verify import step_logits
from tui_gen.card import ModelCard
from tui_gen.library import LoadedModel, open_model, read_card, shipped_folder
from tui_gen.sampling.params import Tokens

NAMES = sorted(path.name for path in shipped_folder().iterdir() if path.is_dir())
SMALL = ("names", "fashion-book")
VERSIONS = f"torch {torch.__version__}, onnx {onnx.__version__}"


def tokens_of(model: LoadedModel) -> Tokens:
    """Two sequences of chance: int64[2, n]."""
    length = model.card.image.area if model.card.image else 200
    chance = np.random.default_rng(0).integers(model.card.vocab_size, size=(2, length))
    return np.concatenate([model.codec.prompt([""] * 2), chance], axis=1)


def stated(name: str) -> dict[str, Any]:
    """The metadata of its weights, without the weights."""
    with (shipped_folder() / name / "weights.safetensors").open("rb") as file:
        header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
    metadata: dict[str, Any] = header["__metadata__"]
    return metadata


@pytest.mark.parametrize("name", SMALL)
def test_a_model_is_made_again_of_its_weights(name: str, tmp_path: Path) -> None:
    shipped, folder = shipped_folder() / name, tmp_path / name
    assert main([str(shipped / "weights.safetensors"), "-o", str(folder)]) == 0
    before, after = open_model(shipped, provider="cpu", threads=1), open_model(folder, provider="cpu", threads=1)
    tokens = tokens_of(before)
    expected = step_logits(before.model, tokens)[:, :-1]  # nothing follows a picture's last pixel
    found = step_logits(after.model, tokens)[:, :-1]
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-6 * np.ptp(expected))
    made_of_these = before.card.export["source_sha256"] == fingerprint(shipped / "weights.safetensors")
    if made_of_these and before.card.export["versions"].endswith(VERSIONS):
        assert (folder / "model.onnx").read_bytes() == (shipped / "model.onnx").read_bytes()
    earlier = () if after.card.sha256 == before.card.sha256 else (before.card.sha256,)
    assert after.card.replaces == (*before.card.replaces, *earlier)
    assert replace(after.card, export={}, sha256="", replaces=()) == replace(
        before.card, export={}, sha256="", replaces=()
    )
    for file in ("tokenizer.json", "training.jsonl"):
        assert (folder / file).read_bytes() == (shipped / file).read_bytes()


@pytest.mark.parametrize("name", NAMES)
def test_its_weights_say_of_it_what_its_card_says(name: str) -> None:
    card, metadata = read_card(shipped_folder() / name), stated(name)
    own = ModelCard.from_json(metadata["card"])
    assert (own.name, own.architecture, own.data, own.credit) == (card.name, card.architecture, card.data, card.credit)
    assert own.licence == card.licence
    assert own.temperature == card.temperature
    assert card.description.startswith(own.description)
    assert own.export.get("guidance") == card.export.get("guidance")
    options = json.loads(metadata["options"])
    assert card.export["trained_with"].startswith(f"python -m export.train {options['preset']} ")
    assert card.export.get("data_sha256", options["data"]) == options["data"]
