"""Checkpoints: whole or not at all when written, harmless and clear when read."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from export.__main__ import main
from export.training import checkpoint
from tests.support.export_training import pixelcnn, recurrent
from tui_gen.card import Quality
from tui_gen.library import read_card


def _a_text(_: Path, bad: Path) -> None:
    bad.write_text("epoch 1: all is well\n")


def _a_list(_: Path, bad: Path) -> None:
    torch.save([1, 2, 3], bad)


def _weights_of_another(good: Path, bad: Path) -> None:
    torch.save({**checkpoint.load(good), "weights": recurrent().state_dict()}, bad)


def _unknown_network(good: Path, bad: Path) -> None:
    torch.save({**checkpoint.load(good), "network": {"family": "transformer", "heads": 8}}, bad)


def _card_without_name(good: Path, bad: Path) -> None:
    torch.save({**checkpoint.load(good), "card": '{"kind": "text"}'}, bad)


FAULTS: list[tuple[Callable[[Path, Path], None], str]] = [
    (_a_text, "is a text file, not a checkpoint"),
    (_a_list, "holds no weights of a network"),
    (_weights_of_another, "do not fit the network"),
    (_unknown_network, "'network.family' must be one of recurrent, pixelcnn, book"),
    (_card_without_name, "is missing"),
]


@pytest.mark.parametrize(("spoil", "says"), FAULTS, ids=[spoil.__name__ for spoil, _ in FAULTS])
def test_a_bad_checkpoint_is_one_clear_line(
    spoil: Callable[[Path, Path], None],
    says: str,
    names_checkpoint: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    bad, target = tmp_path / "bad.pt", tmp_path / "model"
    spoil(names_checkpoint, bad)
    assert main([str(bad), "-o", str(target)]) == 1
    output = capsys.readouterr()
    assert says in output.err
    assert output.err.startswith("python -m export: ")
    assert output.err.count("\n") == 1
    assert not target.exists()


KINDS: list[tuple[tuple[str | int, ...], Any, str]] = [
    (("options",), 5, "'options' must be an object, not 5"),
    (("options", "preset"), ["names"], "'options.preset' must be text"),
    (("options", "epochs"), "many", "'options.epochs' must be a whole number"),
    (("options", "batch_size"), b"\0", "says what no trainer writes"),
    (("network",), [], "'network' must be an object"),
    (("network", "cell"), "tanh", "'network.cell' must be one of rnn, lstm, gru"),
    (("network", "layers"), 2**30, "do not fit the network it describes"),
    (("network", "hidden"), 2**30, "do not fit the network it describes"),
    (("network", "hidden"), True, "'network.hidden' must be a whole number"),
    (("network", "width"), 3, "'network.width' is none of this network's sizes"),
    (("card",), {}, "'card' must be text"),
    (("tokenizer",), 1, "'tokenizer' must be text"),
    (("tokenizer",), "{", "its tokenizer is not JSON"),
    (("log",), {}, "'log' must be a list"),
    (("log", 0), 3, "'log' must hold an object for each epoch"),
    (("log", 0, "seconds"), "long", "'log.seconds' must be a number"),
    (("log", 0, "train_loss"), float("nan"), "'log.train_loss' must be a finite number"),
]


@pytest.mark.parametrize(
    ("place", "value", "says"), KINDS, ids=[f"{place[-1]} {value!r:.9}" for place, value, _ in KINDS]
)
def test_a_field_of_another_kind_is_named(
    place: tuple[str | int, ...],
    value: Any,
    says: str,
    names_checkpoint: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    contents = checkpoint.load(names_checkpoint)
    holder: Any = contents
    for key in place[:-1]:
        holder = holder[key]
    holder[place[-1]] = value
    torch.save(contents, tmp_path / "bad.pt")
    assert main([str(tmp_path / "bad.pt"), "-o", str(tmp_path / "model")]) == 1
    error = capsys.readouterr().err
    assert says in error
    assert error.count("\n") == 1
    assert "nobody foresaw" not in error


def test_half_characters_in_a_card_and_a_folders_name_are_written_as_signs(
    names_checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    contents = checkpoint.load(names_checkpoint)
    card = {**json.loads(contents["card"]), "description": "Half \ud800 \udcff."}
    log = [{**epoch, "unit": "nats\ud800"} for epoch in contents["log"]]
    torch.save({**contents, "card": json.dumps(card), "log": log}, tmp_path / "half.pt")
    folder = tmp_path / os.fsdecode(b"half\xff")
    assert main([str(tmp_path / "half.pt"), "-o", str(folder), "--keep-weights"]) == 0, capsys.readouterr().err
    for model in (folder, folder / "model.onnx"):
        assert read_card(model).description == "Half ? ?."
    assert main([str(folder / "weights.safetensors"), "-o", str(tmp_path / "again")]) == 0, capsys.readouterr().err


@pytest.mark.parametrize("preset", ["names", "adventurers"])
def test_a_tokenizer_that_panics_does_so_elsewhere(
    preset: str, request: pytest.FixtureRequest, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    contents = checkpoint.load(request.getfixturevalue(f"{preset}_checkpoint"))
    panic = {"type": "Precompiled", "precompiled_charsmap": "AAAA"}
    tokenizer = {**json.loads(contents["tokenizer"]), "normalizer": panic}
    torch.save({**contents, "tokenizer": json.dumps(tokenizer)}, tmp_path / "bad.pt")
    assert main([str(tmp_path / "bad.pt"), "-o", str(tmp_path / "model")]) == 1
    error = capfd.readouterr().err
    assert "is damaged: Precompiled" in error
    assert error.count("\n") == 1


def test_a_card_of_another_network_is_refused(
    adventurers_checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    contents = checkpoint.load(adventurers_checkpoint)
    card = json.loads(contents["card"])
    card["image"]["width"] += 1
    torch.save({**contents, "card": json.dumps(card)}, tmp_path / "bad.pt")
    assert main(["inspect", str(tmp_path / "bad.pt")]) == 1
    assert "its card is of another network" in capsys.readouterr().err


def test_a_failed_save_leaves_the_checkpoint_before(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.pt"
    checkpoint.save(path, {"epoch": 1})
    with pytest.raises(AttributeError):
        checkpoint.save(path, {"epoch": 2, "cannot be pickled": lambda: None})
    assert torch.load(path, weights_only=True) == {"epoch": 1}


@pytest.mark.parametrize("net", [recurrent("gru", 2), pixelcnn(conditions=3, kernel=5)], ids=["recurrent", "pixelcnn"])
def test_a_network_is_built_again_from_its_description(net: Any) -> None:
    again = checkpoint.load_network(checkpoint.describe_network(net.config), net.state_dict())
    assert again.config == net.config
    assert not again.training
    assert all(torch.equal(a, b) for a, b in zip(again.parameters(), net.parameters(), strict=True))


@pytest.fixture(params=["names", "adventurers"])
def kept(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A model whose weights were kept, and of which a figure was measured."""
    file, folder = request.getfixturevalue(f"{request.param}_checkpoint"), tmp_path / "kept"
    guidance = ["--guidance", "1.5"] if request.param == "adventurers" else []
    assert main([str(file), "-o", str(folder), "--keep-weights", *guidance]) == 0
    card = replace(read_card(folder), quality=Quality(1.5, "nats", "a part"), measured={"figures": {"a": "1"}})
    (folder / "config.json").write_text(card.to_json(), encoding="utf-8")
    return folder


def test_a_model_is_made_again_in_its_folder_of_the_weights_it_kept(kept: Path) -> None:
    before = {path.name: path.read_bytes() for path in kept.iterdir()}
    card = read_card(kept)
    assert main([str(kept / "weights.safetensors"), "-o", str(kept)]) == 0
    after = {path.name: path.read_bytes() for path in kept.iterdir()}
    changed = {name for name in before.keys() | after.keys() if before.get(name) != after.get(name)}
    assert changed == {"config.json", "README.md"}  # which has the figures now
    again = read_card(kept)
    assert replace(again, export=card.export) == card
    assert again.export["source_sha256"] != card.export["source_sha256"]
    assert again.replaces == ()


@pytest.mark.parametrize("kept", ["names"], indirect=True)
def test_an_older_file_of_the_same_network_is_replaced_and_one_of_other_numbers_is_not(
    kept: Path, tmp_path: Path
) -> None:
    card = read_card(kept)
    (kept / "config.json").write_text(replace(card, sha256="0a" * 32, replaces=("0b" * 32,)).to_json())
    source = [str(kept / "weights.safetensors"), "--name", "kept", "-o"]
    for folder, options in (("same", []), ("small", ["--dtype", "fp16", "--force"])):
        assert main([*source, str(tmp_path / folder), *options]) == 0
    same, small = read_card(tmp_path / "same"), read_card(tmp_path / "small")
    assert (same.sha256, same.replaces) == (card.sha256, ("0b" * 32, "0a" * 32))
    assert same.quality == card.quality
    assert (small.quality, small.measured, small.replaces) == (None, {}, ())


@pytest.mark.parametrize("kept", ["adventurers"], indirect=True)
def test_guidance_other_than_the_kept_one_is_another_network(kept: Path, tmp_path: Path) -> None:
    assert main([str(kept / "weights.safetensors"), "-o", str(tmp_path / "other"), "--guidance", "3"]) == 0
    other = read_card(tmp_path / "other")
    assert (other.export["guidance"], other.quality, other.replaces) == (3, None, ())
    assert "guidance 1.5" in (tmp_path / "other" / "tokenizer.json").read_text(encoding="utf-8")


@pytest.mark.parametrize("kept", ["names"], indirect=True)
def test_figures_of_a_network_that_was_trained_otherwise_are_left(kept: Path, tmp_path: Path) -> None:
    card = read_card(kept)
    (kept / "config.json").write_text(replace(card, export={**card.export, "data_sha256": "other"}).to_json())
    assert main([str(kept / "weights.safetensors"), "-o", str(tmp_path / "made")]) == 0
    made = read_card(tmp_path / "made")
    assert (made.quality, made.measured, made.replaces) == (None, {}, ())


@pytest.mark.parametrize("kept", ["names"], indirect=True)
def test_weights_without_the_files_beside_them_are_refused_by_name(
    kept: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lone = shutil.copy(kept / "weights.safetensors", tmp_path)
    capsys.readouterr()
    assert main([str(lone), "-o", str(tmp_path / "made")]) == 1
    assert "its folder lacks tokenizer.json and training.jsonl" in capsys.readouterr().err
    assert not (tmp_path / "made").exists()


@pytest.mark.parametrize("kept", ["names"], indirect=True)
def test_another_vocabulary_beside_the_weights_is_refused(
    kept: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tokenizer = json.loads((kept / "tokenizer.json").read_text(encoding="utf-8"))
    vocab = tokenizer["model"]["vocab"]
    vocab["a"], vocab["e"] = vocab["e"], vocab["a"]
    (kept / "tokenizer.json").write_text(json.dumps(tokenizer), encoding="utf-8")
    assert main([str(kept / "weights.safetensors"), "-o", str(tmp_path / "made")]) == 1
    assert "has other tokens than the weights beside it were trained on" in capsys.readouterr().err


@pytest.mark.parametrize("kept", ["names"], indirect=True)
def test_a_folder_that_keeps_weights_is_not_replaced_by_another_network(
    kept: Path, names_checkpoint: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(names_checkpoint), "-o", str(kept)]) == 1
    assert "holds other things than a model, such as weights.safetensors" in capsys.readouterr().err
    assert (kept / "weights.safetensors").is_file()


def test_weights_of_others_are_not_kept(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "theirs.pt"
    torch.save(recurrent().state_dict(), file)
    letters = tmp_path / "letters.txt"
    letters.write_text("\n".join("abcdefghijklm"))
    assert main([str(file), "-o", str(tmp_path / "made"), "--keep-weights", "--vocab", str(letters)]) == 1
    assert "is for checkpoints of the trainer" in capsys.readouterr().err
