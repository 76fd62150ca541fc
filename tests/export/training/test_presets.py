"""The trainings that can be asked for by name, on data files as small as can be."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

import pytest
import torch

from export import files as provenance
from export.training.networks import build_network
from export.training.presets import PRESETS
from tests.support.export_training import write_data
from tui_gen.card import ModelCard
from tui_gen.library import codec_for

FACTS = {
    "recipes": ("text", "LSTM 2x192"),
    "recipes-lstm": ("text", "LSTM 128"),
    "recipes-gru": ("text", "GRU 128"),
    "recipes-rnn": ("text", "RNN 128"),
    "grimm": ("text", "GRU 2x256"),
    "shakespeare": ("text", "GRU 2x256"),
    "names": ("text", "RNN 128"),
    "fashion": ("image", "Two-stack gated PixelCNN 6x34"),
    "fashion-book": ("image", "PixelCNN 5x128"),
    "digits": ("image", "Two-stack gated PixelCNN 6x34"),
    "adventurers": ("image", "Two-stack gated PixelCNN 7x40"),
}


def test_every_preset_is_tested() -> None:
    assert PRESETS.keys() == FACTS.keys()


@pytest.mark.parametrize("name", PRESETS)
def test_what_a_preset_reads_has_a_name_that_a_command_can_show(name: str) -> None:
    assert re.match(r"[\w.]+: \w", PRESETS[name].data)


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_fits_its_data(name: str, tmp_path: Path) -> None:
    training = PRESETS[name].prepare(write_data(name, tmp_path), 2)
    net = build_network(training.network)
    loss, count = training.task.loss(net, next(training.task.held_out_batches()))
    assert torch.isfinite(loss)
    assert count > 0
    assert len(training.task) > 0
    assert (training.card.kind, training.network.label) == FACTS[name]


@pytest.mark.parametrize("name", PRESETS)
def test_a_card_is_complete_and_its_tokenizer_fits(name: str, tmp_path: Path) -> None:
    training = PRESETS[name].prepare(write_data(name, tmp_path), 2)
    card = training.card
    assert ModelCard.from_json(card.to_json()) == card
    assert card.name == name
    assert card.description
    codec = codec_for(card, training.tokenizer.to_str())
    assert not codec.unknown(card.prompt_example)


@pytest.mark.parametrize(
    ("name", "example"),
    [("names", "ma"), ("fashion", "ankle boot"), ("digits", "7"), ("adventurers", "elf woman, red cloak, bow")],
)
def test_an_example_that_the_data_knows_is_kept(name: str, example: str, tmp_path: Path) -> None:
    assert PRESETS[name].prepare(write_data(name, tmp_path), 2).card.prompt_example == example


def test_an_example_that_the_data_cannot_spell_is_dropped(tmp_path: Path) -> None:
    path = tmp_path / "plays"
    path.write_text("to be or not to be\n" * 200)
    training = PRESETS["shakespeare"].prepare(path, 2)
    assert training.card.prompt_example == ""


@pytest.mark.parametrize("name", ["names", "fashion"])
def test_a_card_claims_only_what_the_bytes_of_the_data_prove(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_data(name, tmp_path)
    own = PRESETS[name].prepare(path, 2).card
    assert (own.data, own.credit, own.licence) == (name, "", "")
    files = sorted(path.iterdir()) if path.is_dir() else [path]
    digest = hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()
    monkeypatch.setitem(provenance._KNOWN, digest, provenance.Source("known data", "its author", "MIT"))
    card = PRESETS[name].prepare(path, 2).card
    size = ", at 16 grey levels and 5x9 pixels" if name == "fashion" else ""
    assert (card.data, card.credit, card.licence) == (f"known data{size}", "its author", "MIT")
