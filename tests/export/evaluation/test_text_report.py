"""What is said of the texts that a model writes is so."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tokenizers import Tokenizer

from export.__main__ import main as export_main
from export.evaluation import text_report
from export.evaluation.evaluate import main
from export.evaluation.text_report import distinct, longest_copy
from export.folder import report_lines
from export.training.data import Texts
from tests.support import toys
from tests.support.export_training import trainer, training
from tui_gen.library import LoadedModel, read_card

BOOK = [np.array([1, 2, 3, 4, 5, 6, 7, 8, 9]), np.array([20, 21, 22, 23])]


@pytest.mark.parametrize(
    ("samples", "length"),
    [
        ([[3, 4, 5, 6, 7]], 5),
        ([[9, 9, 4, 5, 6, 9]], 3),
        ([[8, 9, 20, 21]], 2),  # a run does not go on from one document to the next
        ([[30, 31], [22, 23, 30]], 2),
        ([[40]], 0),
        ([list(range(1, 10))], 9),
        ([[]], 0),
    ],
)
def test_the_longest_copy_is_found(samples: list[list[int]], length: int) -> None:
    assert longest_copy([np.array(sample, dtype=np.int64) for sample in samples], BOOK) == length


def test_the_longest_copy_of_many_is_what_looking_everywhere_finds() -> None:
    rng = np.random.default_rng(0)
    book = [rng.integers(3, size=400) for _ in range(3)]
    samples = [rng.integers(3, size=60) for _ in range(4)]
    texts = ["".join(map(str, document)) for document in book]

    def is_copied(size: int) -> bool:
        runs = ("".join(map(str, sample[at : at + size])) for sample in samples for at in range(60 - size + 1))
        return any(run in text for run in runs for text in texts)

    assert longest_copy(samples, book) == max(size for size in range(1, 61) if is_copied(size))


def test_distinct_runs_are_a_part_of_all() -> None:
    assert distinct(["ababa"], 2) == 0.5
    assert distinct([["stir", "well", "and"], ["serve"]], 2) == 1
    assert distinct([["serve"]], 2) == 0


def test_figures_leave_out_the_prompt_and_the_end(text: LoadedModel, monkeypatch: pytest.MonkeyPatch) -> None:
    end, the, cat, dog, sat, ran, dot = toys.END, toys.THE, toys.CAT, toys.DOG, toys.SAT, toys.RAN, toys.DOT
    train = [np.array([end, the, cat, sat, dot, end]), np.array([end, cat, sat, ran, end])]
    samples = [[end, the, cat, sat, dot, end], [end, the, dog, ran, end], [end, the, cat, cat, cat, cat]]
    texts = Texts(Tokenizer.from_str(toys.words()), end, end, train, [])
    loaded_model = replace(text, card=replace(text.card, prompt_example="the", temperature=0.5))
    monkeypatch.setattr(text_report, "_sample", lambda *_: [np.array(sample) for sample in samples])
    figures = text_report.text_report(loaded_model, texts)["figures"]
    how = "3 samples of up to 300 words and marks at temperature 0.5"
    assert figures == {
        "distinct-2 of words": f"0.600, of {how}",  # cat sat., dog ran, cat cat three times
        "end by themselves": f"2 of {how}",
        "stand whole in the training data": f"1 of {how}",
        "longest run copied from the training text": f"3 words and marks, in {how}",
    }


def test_a_sample_with_a_fence_in_it_stays_inside_its_own() -> None:
    lines = report_lines({"samples": [{"temperature": 1, "text": "a\n```\nb"}]})
    assert lines[2:5] == ["````text", "a\n```\nb", "````"]


@pytest.mark.parametrize(("preset", "ends"), [("names", True), ("shakespeare", False)])
def test_evaluating_a_text_model_shows_what_it_writes(preset: str, ends: bool, tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    setup = training(preset, data, batch_size=4)
    for _ in trainer(setup, tmp_path / "run", epochs=1).run():
        pass
    assert export_main([str(tmp_path / "run" / "checkpoint.pt"), "-o", str(tmp_path / preset)]) == 0
    assert main([str(tmp_path / preset), "--data", str(data / preset)]) == 0
    measured = read_card(tmp_path / preset).measured
    assert [sample["temperature"] for sample in measured["samples"]] == [0.5, 0.8, 1.1]
    assert ("end by themselves" in measured["figures"]) == ends
    readme = (tmp_path / preset / "README.md").read_text(encoding="utf-8")
    assert all(sample["text"] in readme for sample in measured["samples"])
    assert "longest run copied from the training text: " in readme
