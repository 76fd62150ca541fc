"""The Python interface: its names, what they load, and every program of docs/api.md and README."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import tui_gen
from tests.support import toys
from tui_gen.library import LoadedModel
from tui_gen.scoring.score import score as score_tokens

ROOT = Path(__file__).parents[1]
PAGE, README = ((ROOT / name).read_text(encoding="utf-8") for name in ("docs/api.md", "README.md"))
PROGRAMS = dict(re.findall(r"^## (.+?)\n.*?^```python\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL))


@pytest.mark.parametrize(
    ("title", "pattern"),
    [
        ("Play a text", r"(?s)\w+.{100,}\n"),
        ("Draw a picture", ""),
        ("Turn a knob in the middle of a run", r"(?s)ROMEO:.{290,}\n"),
        ("A batch as a NumPy array", r"\(100, \d+\) \['a\w+'.*\]\n"),
        ("Score a file", r"53 tokens, [123]\.\d{3} nats each, perplexity \d+\.\d\d\n"),
        ("Keep a state and fork", r"(mar\w*\n){3}"),
        ("Change a state", r"(?s).{100,}\n"),
    ],
)
def test_each_program_of_the_page_runs(
    title: str, pattern: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "scene.txt").write_text("ROMEO:\nO, she doth teach the torches to burn bright!\n", encoding="utf-8")
    exec(compile(PROGRAMS[title], "docs/api.md", "exec"), {})
    assert re.fullmatch(pattern, capsys.readouterr().out)
    for path in tmp_path.glob("*.png"):
        with Image.open(path) as image:
            assert image.size[0] > 4 * 28


def test_the_program_of_the_readme_runs(capsys: pytest.CaptureFixture[str]) -> None:
    [program] = re.findall(r"^```python\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
    exec(compile(program, "README.md", "exec"), {})
    assert len(capsys.readouterr().out) > 100


def test_the_page_has_eight_programs() -> None:
    assert len(PROGRAMS) == 8
    assert all(len(program.splitlines()) <= 16 for program in PROGRAMS.values())


def test_every_public_name_is_there_and_no_other() -> None:
    assert set(tui_gen.__all__) <= set(dir(tui_gen))
    for name in tui_gen.__all__:
        assert getattr(tui_gen, name) is getattr(tui_gen, name)
        assert f"`{name}`" in PAGE
    with pytest.raises(AttributeError, match="module 'tui_gen' has no attribute 'opne_model'"):
        _ = tui_gen.opne_model  # type: ignore[attr-defined]


def test_a_text_is_scored_token_by_token_after_its_prompt(text: LoadedModel) -> None:
    ids = [toys.END, *text.codec.ids("the cat sat.")]  # type: ignore[union-attr]
    expected = score_tokens(text.model, np.array([ids], dtype=np.int64))[0]
    assert tui_gen.score(text, "the cat sat.") == pytest.approx(expected)
    assert tui_gen.score(text, "cat sat.", prompt="the") == pytest.approx(expected[1:])
    assert tui_gen.score(text, "").shape == (0,)


def test_texts_of_any_lengths_are_scored_together_as_each_is_alone(text: LoadedModel) -> None:
    texts = ["the cat sat.", "", "dog", "the dog ran. " * 30, "the cat ran. <end> the dog", "the"] * 7
    prompts = ["the", "", "the dog sat."] * 14
    together = tui_gen.score(text, texts, prompt=prompts)
    for given, prompt, logprobs in zip(texts, prompts, together, strict=True):
        assert logprobs == pytest.approx(tui_gen.score(text, given, prompt=prompt), abs=1e-5)
    assert tui_gen.score(text, []) == []
    with pytest.raises(tui_gen.TuiGenError, match="one prompt or as many, not with 2"):
        tui_gen.score(text, texts, prompt=["the", "a"])


@pytest.mark.parametrize("name", ["names", "recipes"])
def test_a_text_of_a_list_is_scored_the_same_to_the_last_bit_beside_any_others(name: str) -> None:
    model = tui_gen.open_model(name, provider="cpu")
    texts = {
        "names": ["emma", "christopher", "al", "maximiliane"],
        "recipes": ["chop the onion.", "salt", "boil " * 50],
    }
    texts = [text * count for text in texts[name] for count in (1, 2, 5)]
    together = tui_gen.score(model, texts)
    backwards = tui_gen.score(model, texts[::-1])[::-1]
    for at, text in enumerate(texts):
        [alone] = tui_gen.score(model, [text])
        assert np.array_equal(together[at], alone)
        assert np.array_equal(together[at], backwards[at])


def test_pictures_of_a_list_have_the_shape_of_each_and_a_fault_the_number_of_its_picture(image: LoadedModel) -> None:
    levels = [np.full((toys.HEIGHT, toys.WIDTH), level) for level in (0, 1, 2)]
    scores = tui_gen.score(image, levels, prompt=["bright", "", "deep dark"])
    assert [values.shape for values in scores] == [(toys.HEIGHT, toys.WIDTH)] * 3
    assert scores[0] == pytest.approx(tui_gen.score(image, levels[0], prompt="bright"), abs=1e-6)
    levels[1][2, 3] = toys.BRIGHT
    with pytest.raises(tui_gen.TuiGenError, match="number 2 of 3: the model gave non-finite logits at position 15"):
        tui_gen.score(image, levels)


def test_a_picture_is_scored_in_its_shape(image: LoadedModel, colour: LoadedModel) -> None:
    for loaded_model in (image, colour):
        spec = loaded_model.card.image
        assert spec
        levels = np.zeros((spec.height, spec.width, spec.channels), dtype=np.int64)
        levels = levels if spec.channels > 1 else levels[..., 0]
        logprobs = tui_gen.score(loaded_model, levels)
        assert logprobs.shape == levels.shape
        assert (logprobs < 0).all()


def test_what_a_model_cannot_score_is_refused_in_a_line(text: LoadedModel, image: LoadedModel) -> None:
    with pytest.raises(tui_gen.TuiGenError, match="text scores text"):
        tui_gen.score(text, np.zeros((2, 2), dtype=np.int64))
    with pytest.raises(tui_gen.TuiGenError, match="image scores levels of pixels"):
        tui_gen.score(image, "a text")
    with pytest.raises(tui_gen.TuiGenError, match=r"levels of 0 or more of shape \["):
        tui_gen.score(image, np.full((2, 2), tui_gen.FREE))
