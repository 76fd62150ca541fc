"""How a model learned: reading its log, and `tui-gen learned`."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.conftest import Run
from tests.support import toys
from tui_gen.errors import TuiGenError
from tui_gen.library import read_card
from tui_gen.training_log import SampleSettings, picture_of, read_learning

STRIPES, BLACK = toys.STRIPES.tolist(), np.zeros_like(toys.STRIPES).tolist()


@pytest.fixture
def cats(tmp_path: Path) -> Path:
    """A text model that learned for three epochs."""
    return toys.learned(toys.text_folder(tmp_path / "cats"), "the the", "the \x1b]0;sat", "the cat sat.\nthe end")


@pytest.fixture
def stripes(tmp_path: Path) -> Path:
    """A picture model that learned for two."""
    return toys.learned(toys.image_folder(tmp_path / "stripes"), BLACK, STRIPES, unit="bits per pixel", prompt="")


def test_every_epoch_has_its_losses_and_its_sample(cats: Path) -> None:
    learning = read_learning(cats, read_card(cats))
    assert (learning.unit, learning.prompt, len(learning)) == ("nats per token", "the", 3)
    last = learning.epochs[-1]
    assert (last.number, last.train_loss, last.validation_loss) == (3, 4 / 3, 1.0)
    assert last.samples == ("the cat sat.\nthe end",)
    assert last.headings == [""]


def test_pictures_are_drawn_in_the_models_colours(stripes: Path) -> None:
    card = read_card(stripes)
    assert card.image
    picture = picture_of([epoch.samples[0] for epoch in read_learning(stripes, card).epochs], card.image)
    np.testing.assert_array_equal(picture.rgb[:, ..., 0], [np.zeros_like(toys.STRIPES), toys.STRIPE_GREYS])


def test_a_log_says_how_its_samples_were_drawn(cats: Path, stripes: Path) -> None:
    """The first version drew one, texts at the temperature of their card and pictures at 1, and did not say so."""
    warm, guided = replace(read_card(cats), temperature=0.7), replace(read_card(stripes), temperature=0.85)
    guided = replace(guided, export={"guidance": 1.25})
    first = [read_learning(folder, card).epochs[0].settings for folder, card in ((cats, warm), (stripes, guided))]
    assert first[0].caption(warm) == "one sample, temperature 0.7, seed 1"
    assert first[1].caption(guided) == "one sample, temperature 1, no guidance, seed 1"
    assert [settings.remark(card) for settings, card in zip(first, (warm, guided), strict=True)] == [
        "",
        "the model: 0.85, guidance 1.25",
    ]
    toys.learned(stripes, [BLACK, STRIPES], seeds=[1, 2], temperature=0.85, guidance=1.25)
    (epoch,) = read_learning(stripes, guided).epochs
    assert (epoch.settings.caption(guided), epoch.settings.remark(guided)) == (
        "temperature 0.85, guidance 1.25, seeds 1 to 2",
        "",
    )
    assert epoch.headings == ["seed 1", "seed 2"]
    np.testing.assert_array_equal(epoch.samples, [BLACK, STRIPES])
    assert SampleSettings((7, 3), 1, None).caption(warm) == "temperature 1, seeds 7 3"


def test_a_log_that_two_versions_have_written_is_read(cats: Path, tui_gen: Run) -> None:
    toys.learned(cats, "the old")
    old = (cats / "training.jsonl").read_text()
    toys.learned(cats, ["the new", "the newer"], seeds=[1, 2], temperature=0.5)
    (cats / "training.jsonl").write_text(
        old + (cats / "training.jsonl").read_text().replace('"epoch": 1', '"epoch": 2')
    )
    written = tui_gen("learned", str(cats)).stdout.decode()
    assert "made after it from “the”: one sample, temperature 1, seed 1\n\nafter epoch 1:\nthe old\n" in written
    assert (
        "made after it from “the”: temperature 0.5, seeds 1 to 2 (the model: 1)\n\nafter epoch 2, seed 1:\n" in written
    )
    assert written.endswith("after epoch 2, seed 2:\nthe newer\n\n")


@pytest.mark.parametrize("content", [None, b"", b"\n\n"])
def test_a_model_without_a_log_has_no_epochs(content: bytes | None, cats: Path) -> None:
    learning = read_learning(toys.spoil(cats, "training.jsonl", content), read_card(cats))
    assert not len(learning)


ENTRY = {"epoch": 1, "unit": "nats", "train_loss": 2.0, "validation_loss": 3.0, "prompt": "", "sample": "x"}


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        ("{", "line 2 is not JSON"),
        ("[" * 100_000, "line 2 is not JSON"),
        ("[]", "line 2 must hold a JSON object"),
        ({**ENTRY, "epoch": "one"}, "line 2: epoch' must be a whole number"),
        ({**ENTRY, "train_loss": "low"}, "line 2: train_loss' must be a number"),
        ({**ENTRY, "sample": [[1]]}, "line 2: sample' must be text"),
        ({**ENTRY, "samples": ["x", 3]}, "line 2: samples' must be text"),
        ({**ENTRY, "samples": []}, "line 2: samples' must hold one sample at least"),
        ({**ENTRY, "samples": ["x", "y"], "seeds": [1]}, "line 2: seeds' must be 2 whole numbers, one a sample"),
        ({**ENTRY, "samples": ["x"], "temperature": "hot"}, "line 2: temperature' must be a number"),
        ({**ENTRY, "unit": 3}, "line 2: unit' must be text"),
        ({**ENTRY, "unit": "x" * 301}, "unit' must have at most 300 characters, not 301"),
        ({**ENTRY, "sample": "x" * 50_001}, "line 2: sample' must have at most 50,000 characters, not 50,001"),
        ("{}\n" * 20_000, "has more than 20,000 lines, one an epoch"),
    ],
)
def test_a_damaged_log_is_told_with_its_line(line: Any, fault: str, cats: Path) -> None:
    text = line if isinstance(line, str) else json.dumps(line)
    toys.spoil(cats, "training.jsonl", f"{json.dumps(ENTRY)}\n{text}\n".encode())
    with pytest.raises(TuiGenError, match=fault):
        read_learning(cats, read_card(cats))


@pytest.mark.parametrize("sample", [[[0, 1], [1]], [[0] * 6] * 3, [[0.5] * 6] * 4, [[3] * 6] * 4, [[-1] * 6] * 4, []])
def test_a_sample_that_is_no_picture_of_the_model_is_told(sample: Any, stripes: Path) -> None:
    toys.learned(stripes, sample)
    with pytest.raises(TuiGenError, match="must be 4 rows of 6 levels from 0 to 2"):
        read_learning(stripes, read_card(stripes))


def test_the_command_writes_losses_and_samples(cats: Path, tui_gen: Run) -> None:
    done = tui_gen("learned", str(cats))
    assert (done.returncode, done.stderr) == (0, b"")
    head, first, second, third, _, remark, *rest = done.stdout.decode().splitlines()
    assert head.split() == ["EPOCH", "TRAINING", "HELD", "OUT", "nats", "per", "token"]
    assert [row.split() for row in (first, second, third)] == [
        ["1", "4.000", "3.000"],
        ["2", "2.000", "1.500"],
        ["3", "1.333", "1.000"],
    ]
    assert remark.startswith("the training loss is averaged over the epoch")
    assert "made after each from “the”: one sample, temperature 1, seed 1" in rest
    assert rest[-4:] == ["after epoch 3:", "the cat sat.", "the end", ""]


def test_one_epoch_can_be_asked_for(cats: Path, tui_gen: Run) -> None:
    written = tui_gen("learned", str(cats), "--epoch", "1").stdout.decode()
    assert "    1     4.000     3.000\n\n" in written
    assert "made after it from “the”" in written
    assert "2.000" not in written
    assert written.endswith("after epoch 1:\nthe the\n\n")
    assert tui_gen("learned", str(cats), "--epoch", "4").stderr == b"tui-gen: --epoch must be from 1 to 3, not 4\n"


def test_pictures_stand_side_by_side(stripes: Path, tui_gen: Run) -> None:
    written = tui_gen("learned", str(stripes), "--format", "ascii").stdout.decode()
    assert written.splitlines()[-3] == "epoch   epoch"  # as far as there is room
    assert written.splitlines()[-2:] == ["        :#+:#+", "        +:#+:#"]
    assert tui_gen("learned", str(stripes)).stdout.decode() == written
    toys.learned(stripes, [BLACK, STRIPES], [STRIPES, BLACK], seeds=[1, 2], temperature=1.0)
    written = tui_gen("learned", str(stripes)).stdout.decode()
    assert written.splitlines()[-4:] == ["after epoch 2:", "seed 1  seed 2", ":#+:#+", "+:#+:#"]


def test_what_cannot_be_shown_is_told_in_a_line(cats: Path, tui_gen: Run, tmp_path: Path) -> None:
    silent = toys.text_folder(tmp_path / "silent")
    done = tui_gen("learned", str(silent))
    assert (done.returncode, done.stderr.count(b"\n")) == (1, 1)
    assert b"does not say how silent learned: it has no training.jsonl, or an empty one" in done.stderr
    done = tui_gen("learned", str(cats), "--format", "ascii")
    assert (done.returncode, done.stdout) == (2, b"")
    assert b"writes text; --format ascii is for pictures" in done.stderr
