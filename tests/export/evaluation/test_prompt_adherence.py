"""A model that draws what its prompt asks for is told from one that does not."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from export.__main__ import main as export_main
from export.evaluation import prompt_adherence
from export.evaluation.prompt_adherence import Classifier, attributes, main, measure, train_classifier
from export.training.data import Images, read_npz
from export.training.presets import PRESETS
from tests.support import toys
from tests.support.export_training import trainer
from tui_gen.library import read_card

COLOURS, ARMS = ("blue", "green", "red"), ("axe", "bow")


def pictures(count: int = 240) -> Images:
    """8x8: the left half has the cloak's colour, a row of the right half the weapon's."""
    rng = np.random.default_rng(0)
    phrases = (*ARMS, *(f"{colour} cloak" for colour in COLOURS))
    cloaks, arms = rng.integers(3, size=count), rng.integers(2, size=count)
    pixels, conditions = np.zeros((count, 8, 8), dtype=np.uint8), np.zeros((count, 5), dtype=np.uint8)
    for at in range(count):
        pixels[at, :, :4], pixels[at, 2 + 3 * arms[at], 4:] = 1 + cloaks[at], 4
        conditions[at, [arms[at], 2 + cloaks[at]]] = 1
    palette = tuple((60 * level, 0, 0) for level in range(5))
    return Images(5, phrases, palette, pixels, conditions, held_out=60)


@pytest.fixture(scope="module")
def images() -> Images:
    return pictures()


@pytest.fixture(scope="module")
def classifier(images: Images) -> Classifier:
    return train_classifier(images, epochs=70)


def test_the_classifier_knows_what_pictures_show(images: Images, classifier: Classifier) -> None:
    labels = np.stack([attribute.labels(images) for attribute in attributes(images)], axis=1)
    assert (classifier.classify(images.pixels[-60:]) == labels[-60:]).all()


@pytest.mark.parametrize("obeys", [True, False])
def test_a_model_that_obeys_is_told_from_one_that_does_not(
    obeys: bool, images: Images, classifier: Classifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    def draw(loaded_model: object, captions: list[str]) -> np.ndarray:
        shown = {prompt_adherence._caption(images, at): images.pixels[at] for at in range(len(images.pixels))}
        return np.stack([shown[caption if obeys else "axe, red cloak"] for caption in captions])

    monkeypatch.setattr(prompt_adherence, "_draw", draw)
    cloak, weapon = measure(None, images, classifier)  # type: ignore[arg-type]
    assert (cloak.attribute, weapon.attribute) == ("cloak colour", "weapon")
    assert (cloak.classifier_accuracy, weapon.classifier_accuracy) == (1, 1)
    assert (cloak.accuracy == weapon.accuracy == 1) == obeys
    assert cloak.chance < 0.7
    if not obeys:
        assert cloak.accuracy == pytest.approx(cloak.chance)


@pytest.fixture
def data(images: Images, tmp_path: Path) -> Path:
    """The pictures as a file that the trainer reads."""
    captions = [prompt_adherence._caption(images, at) for at in range(len(images.pixels))]
    with (tmp_path / "adventurers.npz").open("wb") as file:
        palette = np.array(images.palette, dtype=np.uint8)
        np.savez(file, pixels=images.pixels, palette=palette, captions=np.array(captions))
    return tmp_path / "adventurers.npz"


def test_the_command_writes_what_it_found_into_the_card(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nothing is replaced here but how long it all takes."""
    setup = PRESETS["adventurers"].prepare(data, 8)
    small = replace(setup.network, channels=16, blocks=2, head=16)  # type: ignore[type-var]
    list(trainer(replace(setup, network=small), tmp_path / "run", epochs=6).run())
    folder = tmp_path / "adventurers"
    assert export_main([str(tmp_path / "run" / "checkpoint.pt"), "-o", str(folder), "--guidance", "1.5"]) == 0
    monkeypatch.setattr(prompt_adherence, "train_classifier", partial(train_classifier, epochs=60))
    assert main([str(folder), "--data", str(data)]) == 0
    figures = read_card(folder).measured["figures"]
    cloak, weapon = (figures[f"prompts obeyed: {kind}"] for kind in ("cloak colour", "weapon"))
    assert cloak in capsys.readouterr().out
    assert " of 24 pictures at temperature 0.85 and guidance 1.5 show what was asked for, by chance " in cloak
    assert float(cloak.split("%")[0]) > 60  # a third by chance
    readme = (folder / "README.md").read_text(encoding="utf-8")
    assert f"prompts obeyed: weapon: {weapon}" in readme
    assert "python -m export.obedience models/adventurers --data adventurers.npz\n" in readme


def test_a_model_of_other_data_is_refused_before_anything_is_trained(
    data: Path, adventurers_checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    monkeypatch.setattr(prompt_adherence, "train_classifier", None)
    assert export_main([str(adventurers_checkpoint), "-o", str(tmp_path / "other")]) == 0
    for folder in (tmp_path / "other", toys.text_folder(tmp_path / "text")):
        capsys.readouterr()
        assert main([str(folder), "--data", str(data)]) == 1
        assert "this data has another vocabulary or size" in capsys.readouterr().err
    monkeypatch.setattr("tui_gen.library.MAX_GRAPH", 1)
    for words, says in (((), "--trust opens it"), (("--trust",), "this data has another vocabulary or size")):
        assert main([str(tmp_path / "other"), "--data", str(data), *words]) == 1
        assert says in capsys.readouterr().err


def test_data_without_cloaks_or_a_missing_file_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(tmp_path), "--data", str(tmp_path / "none.npz")]) == 1
    assert "python -m export.obedience: " in capsys.readouterr().err
    plain = tmp_path / "plain.npz"
    captions = np.array(["elf"] * 20)
    np.savez(plain, pixels=np.zeros((20, 4, 4), np.uint8), palette=np.zeros((2, 3), np.uint8), captions=captions)
    with pytest.raises(prompt_adherence.TuiGenError, match="name no cloaks or no weapons"):
        attributes(read_npz(plain))
