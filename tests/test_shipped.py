"""The models that ship with the package: whole, playable, described, and at the figures that their cards claim."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tui_gen.generation.generate import generate
from tui_gen.library import open_model, read_card
from tui_gen.sampling.params import SamplingParams, Tokens
from tui_gen.training_log import read_learning

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
BARS = {
    "recipes": 3.35,
    "recipes-lstm": 3.15,
    "recipes-gru": 3.0,
    "recipes-rnn": 3.25,
    "shakespeare": 1.45,
    "names": 2.10,
    "grimm": 1.25,
    "fashion": 0.98,
    "fashion-book": 0.345,
    "digits": 0.43,
    "adventurers": 0.120,
}
"""The least that each model must reach on held-out data, in the unit of its card."""
MAX_BYTES, MAX_BYTES_TOGETHER = 12_000_000, 60_000_000


def shipped_files(folder: Path) -> list[Path]:
    """Those of the wheel: what models are made of again stays in the checkout."""
    return [path for path in folder.rglob("*") if path.is_file() and path.name != "weights.safetensors"]


def sampled(name: str, samples: int, *, seed: int = 5, length: int = 400) -> Tokens:
    """Tokens [samples, n] of a run from the model's example prompt, half a picture long."""
    loaded_model = open_model(ROOT / "models" / name)
    assert not loaded_model.codec.unknown(loaded_model.card.prompt_example)
    prompt = loaded_model.codec.prompt([loaded_model.card.prompt_example] * samples)
    steps = generate(
        loaded_model.model, prompt, SamplingParams(loaded_model.card.temperature), length=length, seed=seed
    )
    return np.stack([np.where(step.live, step.tokens, -1) for step in steps], axis=1)


def test_all_of_them_are_there() -> None:
    assert {path.name for path in (ROOT / "models").iterdir() if path.is_dir()} == BARS.keys()


@pytest.mark.parametrize("name", BARS)
def test_a_sample_depends_on_its_seed_and_not_on_how_many_are_drawn_with_it(name: str) -> None:
    alone, together = sampled(name, 2), sampled(name, 5)
    width = min(alone.shape[1], together.shape[1])
    np.testing.assert_array_equal(alone[:, :width], together[:2, :width])
    assert alone.tolist() != sampled(name, 2, seed=6).tolist()


@pytest.mark.parametrize("name", BARS)
def test_its_figure_meets_its_bar_and_stands_in_its_readme(name: str) -> None:
    card = read_card(ROOT / "models" / name)
    assert card.quality
    assert card.quality.value <= BARS[name]
    figure = f"{card.quality.value:.3f} {card.quality.unit}"
    assert figure in (ROOT / "models" / name / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", BARS)
def test_its_folder_says_where_it_comes_from(name: str) -> None:
    folder = ROOT / "models" / name
    card = read_card(folder)
    readme = (folder / "README.md").read_text(encoding="utf-8")
    assert card.licence == "MIT"
    assert all(fact in readme for fact in (card.data, card.credit, card.licence, card.export["trained_with"]))
    assert card.export["parity"]["max_abs_logit_difference"] <= 1e-4
    assert sum(path.stat().st_size for path in shipped_files(folder)) <= MAX_BYTES


@pytest.mark.parametrize("name", BARS)
def test_its_training_can_be_watched(name: str) -> None:
    folder = ROOT / "models" / name
    learning = read_learning(folder, read_card(folder))
    assert [epoch.number for epoch in learning.epochs] == list(range(1, len(learning) + 1))
    assert len(learning) > 1
    assert learning.epochs[-1].validation_loss < learning.epochs[0].validation_loss
    assert len({np.array(epoch.samples[0]).tobytes() for epoch in learning.epochs}) > 1


@pytest.mark.parametrize("name", [name for name in BARS if read_card(ROOT / "models" / name).kind == "text"])
def test_a_texts_card_shows_what_it_writes(name: str) -> None:
    measured = read_card(ROOT / "models" / name).measured
    assert [sample["temperature"] for sample in measured["samples"]] == [0.5, 0.8, 1.1]
    readme = (ROOT / "models" / name / "README.md").read_text(encoding="utf-8")
    assert all(sample["text"] in readme for sample in measured["samples"])
    assert "longest run copied from the training text" in readme


def test_all_of_them_together_are_small() -> None:
    assert sum(path.stat().st_size for path in shipped_files(ROOT / "models")) <= MAX_BYTES_TOGETHER


def test_ci_runs_the_readmes_test_command() -> None:
    command = next(line for line in README.splitlines() if ".venv/bin/pytest" in line)
    assert command in (ROOT / ".ci" / "run").read_text(encoding="utf-8").splitlines()
