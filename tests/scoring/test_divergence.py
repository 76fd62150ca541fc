"""Two models over the same text: KL divergence token by token, bits per character, and where they first differ."""

from __future__ import annotations

import itertools
import math
import threading
from pathlib import Path

import numpy as np
import pytest

from export.build_tokenizer import character_tokenizer
from tests.support import toys
from tests.support.branches import PLAIN, grow
from tui_gen.errors import TuiGenError
from tui_gen.generation.branch import Branch, BranchStart
from tui_gen.library import LoadedModel, open_model, shipped_folder
from tui_gen.scoring.comparison import ModelBranch, ModelComparison
from tui_gen.scoring.divergence import Divergence, kl_divergence, vocabulary_difference
from tui_gen.scoring.score import score_given
from tui_gen.text.codec import TextCodec
from tui_gen.text.tokenizer import PromptTokenizer


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> LoadedModel:
    return open_model(toys.running_text_folder(tmp_path_factory.mktemp("models") / "other"), provider="cpu")


@pytest.fixture(scope="module")
def letters(toy_models: Path) -> LoadedModel:
    return open_model(toy_models / "letters", provider="cpu")


def begun(loaded_model: LoadedModel, text: str = "the", samples: int = 2) -> Branch:
    start = BranchStart(loaded_model.codec.prompt([text] * samples), 5, PLAIN, text=text)
    return Branch("1", start, loaded_model.model)


def grown(loaded_model: LoadedModel, count: int = 60, text: str = "the", samples: int = 2) -> Branch:
    branch = begun(loaded_model, text, samples)
    grow(branch, count)
    return branch


def read(branch: Branch, loaded_model: LoadedModel, other: LoadedModel) -> Divergence:
    divergence = Divergence(branch, loaded_model.codec, other.model)
    assert divergence.update()
    return divergence


def compared(one: LoadedModel, other: LoadedModel, text: str, count: int = 60) -> ModelComparison:
    columns = [ModelBranch(model, grown(model, count, text)) for model in (one, other)]
    comparison = ModelComparison(*columns)
    assert comparison.update(final=True)
    return comparison


def test_the_divergence_of_two_coins_is_what_a_book_says() -> None:
    fair, biased = np.log([[0.5, 0.5]]).astype(np.float32), np.log([[0.25, 0.75]]).astype(np.float32)
    assert kl_divergence(fair, biased) == pytest.approx([0.5 * math.log2(2) + 0.5 * math.log2(2 / 3)], abs=1e-6)
    assert kl_divergence(biased, fair) == pytest.approx([0.25 * math.log2(0.5) + 0.75 * math.log2(1.5)], abs=1e-6)
    assert kl_divergence(fair, fair + 3).tolist() == [0.0]
    assert kl_divergence(np.array([[3e38, -3e38]], dtype=np.float32), fair) == pytest.approx([1.0])


def test_each_token_has_the_divergence_of_what_both_predict_there(endless: LoadedModel, other: LoadedModel) -> None:
    branch = grown(endless)
    divergence = read(branch, endless, other)
    mirror = Branch("1", BranchStart(branch.tokens.T.astype(np.int64), 5, PLAIN), other.model)
    grow(mirror, len(branch) - 1)
    for at in (1, 2, 17, len(branch) - 1):
        expected = kl_divergence(branch.look(at).logits, mirror.look(at).logits)
        np.testing.assert_allclose(divergence.bits[at - 1], expected, atol=1e-6)
    assert divergence.bits.max() > 0.1
    assert divergence.total(1) == pytest.approx(divergence.bits[1:, 1].sum())  # the prompt is not the model's
    assert divergence.total(1, "all") == pytest.approx(divergence.bits[:, 1].sum())
    assert divergence.count(1) == len(branch) - 2


@pytest.mark.parametrize("name", ["recipes-gru", "fashion"])
def test_a_shipped_model_has_exactly_no_divergence_from_itself(name: str) -> None:
    one, again = (open_model(shipped_folder() / name, provider="cpu", threads=1) for _ in range(2))
    divergence = read(grown(one, 40, one.card.prompt_example), one, again)
    known = divergence.bits[~np.isnan(divergence.bits)]
    assert len(known) >= 30
    assert not known.any()


def test_nothing_is_said_after_the_end_of_a_text_and_before_a_picture(text: LoadedModel, image: LoadedModel) -> None:
    branch = grown(text)
    divergence = read(branch, text, text)
    np.testing.assert_array_equal(np.isnan(divergence.bits), ~branch.live[1:])
    drawn = grown(image, 10, "bright")
    bits = read(drawn, image, image).bits
    assert np.isnan(bits[0]).all()
    assert not bits[1:].any()


def test_it_is_read_in_pieces_and_while_the_branch_grows(endless: LoadedModel, other: LoadedModel) -> None:
    branch, asked = grown(endless, 300), itertools.count()
    divergence = Divergence(branch, endless.codec, other.model)
    assert not divergence.update(stopped=lambda: next(asked) == 2)
    assert (len(divergence), divergence.behind) == (128, 172)
    grow(branch, 100)
    threads = [threading.Thread(target=divergence.update) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    np.testing.assert_allclose(divergence.bits, read(branch, endless, other).bits, atol=1e-6)


def test_a_model_that_breaks_is_told_with_the_token_and_what_was_read_stays(
    endless: LoadedModel, tmp_path: Path
) -> None:
    table = toys.BIGRAMS.copy()
    table[toys.DOT, :] = np.nan
    broken = open_model(toys.endless_text_folder(tmp_path / "nan", graph=toys.text_graph(table)), provider="cpu")
    divergence = Divergence(grown(endless), endless.codec, broken.model)
    for _ in range(2):
        with pytest.raises(TuiGenError, match="non-finite logits at position"):
            divergence.update()
        assert len(divergence) == 0


def test_models_have_the_same_vocabulary_if_their_ids_mean_the_same(
    text: LoadedModel,
    endless: LoadedModel,
    other: LoadedModel,
    letters: LoadedModel,
    image: LoadedModel,
    tmp_path: Path,
) -> None:
    assert vocabulary_difference(endless, other) == ""
    assert vocabulary_difference(image, image) == ""
    assert vocabulary_difference(text, endless) == "text and endless begin or end a sample with other tokens"
    assert vocabulary_difference(endless, letters) == "endless and letters have 8 and 5 tokens"
    assert vocabulary_difference(endless, image) == "endless writes text and image draws pictures"
    swapped = toys.words().replace('"cat":3', '"cat":4').replace('"dog":4', '"dog":3')
    assert swapped != toys.words()
    exchanged = open_model(toys.endless_text_folder(tmp_path / "swapped", tokenizer=swapped), provider="cpu")
    assert vocabulary_difference(endless, exchanged) == "endless and swapped have other tokens under the same ids"
    recipes = [open_model(shipped_folder() / name, provider="cpu", threads=1) for name in ("recipes", "recipes-rnn")]
    assert vocabulary_difference(*recipes) == ""


def test_the_first_other_token_is_the_first_that_both_have(endless: LoadedModel, other: LoadedModel) -> None:
    comparison = compared(endless, other, "the")
    one, two = (column.branch for column in comparison.columns)
    for sample in (0, 1):
        expected = np.flatnonzero(one.tokens[:, sample] != two.tokens[:, sample])[0]
        assert comparison.first_difference(1, sample) == expected
        assert comparison.first_difference(0, sample) is None
    short = ModelComparison(comparison.columns[0], ModelBranch(other, begun(other)))
    assert short.first_difference(1, 0) is None


def test_texts_of_other_vocabularies_are_compared_by_characters() -> None:
    shakespeare, grimm = (
        open_model(shipped_folder() / name, provider="cpu", threads=1) for name in ("shakespeare", "grimm")
    )
    comparison = compared(grimm, shakespeare, "The king ", 9 + 60)
    assert comparison.divergences == [None, None]
    one, two = (column.branch for column in comparison.columns)
    assert isinstance(grimm.codec, TextCodec)
    text = grimm.codec.decode(one.tokens[1:, 1].tolist())
    for reading, model in zip(comparison.readings, (grimm, shakespeare), strict=True):
        assert reading
        totals = reading.totals(1)
        assert totals.units == 60
        expected = -score_given(model, text)[len("The king ") :].sum() / math.log(2)
        assert totals.bits == pytest.approx(expected, rel=1e-3)
        assert totals.bits_per_unit == pytest.approx(totals.bits / 60)
    assert isinstance(shakespeare.codec, TextCodec)
    pair = zip(text, shakespeare.codec.decode(two.tokens[1:, 1].tolist()), strict=True)
    different = next(at for at, (a, b) in enumerate(pair) if a != b)
    assert comparison.first_difference(1, 1) == different - comparison.prompt_length(1, 1)
    assert comparison.prompt_length(1, 1) == len("The king ")


def test_a_comparison_begins_while_a_tokenizer_is_busy(
    endless: LoadedModel, letters: LoadedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    columns = [ModelBranch(model, begun(model, text)) for model, text in ((endless, "the"), (letters, "ab"))]
    monkeypatch.setattr(PromptTokenizer, "encode", lambda *_: pytest.fail("it waits for an answer"))
    ModelComparison(*columns)


def test_a_text_is_read_word_by_word_as_it_grows(endless: LoadedModel, text: LoadedModel) -> None:
    whole = compared(endless, text, "the cat", 60)
    branch = begun(endless, "the cat")
    pieces = ModelComparison(ModelBranch(endless, branch), ModelBranch(text, begun(text, "the cat")))
    for _ in range(12):
        grow(branch, 5)
        assert pieces.update()
    behind = [reading.totals(0).units for reading in pieces.readings if reading]
    pieces.update(final=True)
    for piece, reading, units in zip(pieces.readings, whole.readings, behind, strict=True):
        assert piece
        assert reading
        assert piece.totals(0).units == reading.totals(0).units >= units > 0
        assert piece.totals(0).bits == pytest.approx(reading.totals(0).bits, rel=1e-4)


def test_what_a_model_cannot_read_is_said(endless: LoadedModel, letters: LoadedModel) -> None:
    comparison = compared(letters, endless, "cab", 30)
    own, reading = comparison.readings
    assert own
    assert reading
    assert (own.fault(0), reading.fault(0)) == ("", "")
    assert reading.unknown > 0
    own, reading = compared(endless, letters, "", 30).readings
    assert reading
    assert reading.fault(0).startswith("letters has never seen 't'")
    assert math.isnan(reading.totals(0).bits_per_unit)


def test_what_stands_before_something_that_a_model_cannot_read_still_counts(tmp_path: Path) -> None:
    tokenizer, graph = (
        str(character_tokenizer("\n ab", lowercase=True).to_str()),
        toys.text_graph(np.zeros((5, 5)), growth=-1.0),
    )
    facts = {"eos": None, "graph": graph}
    folders = toys.character_folder(tmp_path / "all", **facts), toys.character_folder(tmp_path / "few", **facts)
    toys.spoil(folders[1], "tokenizer.json", tokenizer.encode())
    comparison = compared(*(open_model(folder, provider="cpu") for folder in folders), "abba")
    reading, branch, codec = comparison.readings[1], comparison.columns[0].branch, comparison.columns[0].model.codec
    assert reading
    assert isinstance(codec, TextCodec)
    text = codec.decode(branch.tokens[1:, 0].tolist())
    assert reading.fault(0) == "few has never seen 'c'"
    assert reading.totals(0).units == text.index("c") - len("abba") > 0


def test_pictures_differ_where_both_are_drawn_and_have_other_colours(image: LoadedModel, tmp_path: Path) -> None:
    turned = toys.STRIPES.copy()
    turned[1, 2] = (turned[1, 2] + 1) % toys.LEVELS
    other = open_model(toys.image_folder(tmp_path / "turned", graph=toys.image_graph(turned)), provider="cpu")
    palette = {**toys.IMAGE, "palette": [[0, 0, 0], [0, 0, 255], [255, 255, 255]]}
    blue = open_model(toys.image_folder(tmp_path / "blue", image=palette), provider="cpu")
    cold = [BranchStart(model.codec.prompt([""]), 5, PLAIN) for model in (image, other, blue)]
    branches = [Branch("1", start, model.model) for start, model in zip(cold, (image, other, blue), strict=True)]
    for branch in branches:
        grow(branch, 10, params=type(PLAIN)(0))
    comparison = ModelComparison(*map(ModelBranch, (image, other, blue), branches))
    assert np.argwhere(comparison.pixel_differences(1, 0)).tolist() == [[1, 2]]
    assert comparison.first_difference(1, 0) == 1 + 6 + 2
    assert comparison.vocabulary_differences[2] == "image and blue draw pictures with other palette"
    drawn = np.arange(24).reshape(4, 6) < 10
    np.testing.assert_array_equal(comparison.pixel_differences(2, 0), drawn & (toys.STRIPES == 1))
    assert comparison.first_difference(2, 0) == 1


def test_what_cannot_be_compared_is_refused(endless: LoadedModel, image: LoadedModel, tmp_path: Path) -> None:
    words, picture = ModelBranch(endless, begun(endless)), ModelBranch(image, begun(image, ""))
    with pytest.raises(TuiGenError, match="at most 3 models are compared at once, not 4"):
        ModelComparison(*[words] * 4)
    with pytest.raises(TuiGenError, match="endless writes text and image draws pictures; models of one kind can be"):
        ModelComparison(words, picture)
    spec = {**toys.IMAGE, "width": 5}
    graph = toys.image_graph(toys.STRIPES[:, :5])
    narrow = open_model(toys.image_folder(tmp_path / "narrow", image=spec, graph=graph), provider="cpu")
    with pytest.raises(
        TuiGenError, match="image draws 6x4 pixels and narrow 5x4; pictures of one size can be compared"
    ):
        ModelComparison(picture, ModelBranch(narrow, begun(narrow, "")))
