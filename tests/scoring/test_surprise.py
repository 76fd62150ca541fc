"""Bits of surprise: per token, in total, in bands, and however long the text is."""

from __future__ import annotations

import itertools
import math
import random
from pathlib import Path

import numpy as np
import pytest

from tests.support import toys
from tui_gen.card import ModelCard
from tui_gen.errors import TuiGenError
from tui_gen.generation.generate import generate
from tui_gen.library import LoadedModel, open_model
from tui_gen.runtime.model import Model
from tui_gen.sampling.params import SamplingParams
from tui_gen.scoring.score import BANDS, Scorer, StreamScorer, Surprisal, TopSurprisals, Totals, band, bits, score
from tui_gen.text.tokenizer import Piece


def piece(*ids: int) -> Piece:
    return Piece(list(ids), [f" {token}" for token in ids])


def measured(measure: StreamScorer, *pieces: Piece) -> list[Surprisal]:
    return [found for part in pieces for found in itertools.chain.from_iterable(measure.text(part))]


def test_bits_are_those_of_the_logprobs_that_generating_reports(text: LoadedModel) -> None:
    steps = list(generate(text.model, text.codec.prompt(["the"]), SamplingParams(), length=30, seed=4))
    tokens = np.array([[text.card.bos, *(int(step.tokens[0]) for step in steps)]])
    expected = [-step.logprob[0] / math.log(2) for step in steps]
    assert bits(text.model, tokens)[0] == pytest.approx(expected, abs=1e-6)


def test_a_text_fed_in_pieces_is_scored_like_the_whole(text: LoadedModel) -> None:
    tokens = np.random.default_rng(1).integers(0, len(toys.WORDS), (2, 400))
    scorer = Scorer(text.model, tokens[:, :3])
    cuts = [3, 3, 4, 100, 301, 400]
    found = np.concatenate([scorer.feed(tokens[:, first:end]) for first, end in itertools.pairwise(cuts)], axis=1)
    assert np.allclose(found, score(text.model, tokens)[:, 2:], rtol=0, atol=1e-6)


def test_what_no_model_predicts_is_infinitely_surprising(image: LoadedModel) -> None:
    assert bits(image.model, np.array([[toys.START, toys.BRIGHT]])).tolist() == [[math.inf]]


def test_pieces_are_numbered_on_and_what_an_end_token_ends_starts_again(text: LoadedModel) -> None:
    measure = StreamScorer(text.model, text.codec.prompt([""]))
    found = measured(measure, piece(toys.THE, toys.CAT), piece(toys.END), piece(toys.THE, toys.CAT))
    assert [surprise.index for surprise in found] == list(range(5))
    assert [surprise.text for surprise in found] == [" 2", " 3", " 0", " 2", " 3"]
    assert [surprise.bits for surprise in found[3:]] == [surprise.bits for surprise in found[:2]]
    assert measure.restarts == 1


def test_an_end_token_at_the_end_starts_nothing(text: LoadedModel) -> None:
    measure = StreamScorer(text.model, text.codec.prompt([""]))
    assert len(measured(measure, piece(toys.THE, toys.END), piece())) == 2
    assert measure.restarts == 0


def test_the_context_counts_but_is_not_scored(text: LoadedModel) -> None:
    whole = measured(StreamScorer(text.model, text.codec.prompt([""])), piece(toys.THE, toys.DOG, toys.RAN))
    [ran] = measured(StreamScorer(text.model, text.codec.prompt(["the dog"])), piece(toys.RAN))
    assert (ran.index, ran.bits) == (0, whole[2].bits)


def test_a_picture_is_scored_in_the_order_in_which_it_is_drawn(image: LoadedModel) -> None:
    measure = StreamScorer(image.model, image.codec.prompt([""]))
    [found] = measure.picture(toys.STRIPES)
    assert [surprise.token for surprise in found] == toys.STRIPES.ravel().tolist()
    assert max(surprise.bits for surprise in found) < 0.1  # it is what the model draws


def test_a_certain_token_has_no_bits_and_not_minus_none() -> None:
    table = np.full((len(toys.WORDS), len(toys.WORDS)), -1e4, dtype=np.float32)
    table[:, toys.CAT] = 0
    card = ModelCard("sure", "text", "", len(toys.WORDS), bos=toys.END)
    model = Model(toys.text_graph(table), card, provider="cpu")
    [sure] = measured(StreamScorer(model, np.array([[toys.END]])), piece(toys.CAT))
    assert str(sure.bits) == str(sure.logprob) == "0.0"


def test_logits_that_are_not_finite_are_told_with_the_token_of_the_text(tmp_path: Path) -> None:
    table = toys.BIGRAMS.copy()
    table[toys.CAT, 0] = float("nan")
    broken = open_model(toys.text_folder(tmp_path / "nan", graph=toys.text_graph(table)), provider="cpu")
    measure = StreamScorer(broken.model, broken.codec.prompt([""]))
    with pytest.raises(TuiGenError, match="non-finite logits at token 3"):
        measured(measure, piece(toys.DOG, toys.THE, toys.CAT, toys.SAT))


@pytest.mark.parametrize(("value", "expected"), [(0, 0), (0.99, 0), (1, 1), (3, 2), (9.9, 3), (10, 4), (math.inf, 4)])
def test_bands_begin_at_their_borders(value: float, expected: int) -> None:
    assert band(value) == expected
    assert len(BANDS) == band(math.inf)


def test_totals_are_per_token_and_per_character() -> None:
    totals = Totals("character", units=16)
    totals.add(Surprisal(index, 0, "", value) for index, value in enumerate((1.0, 2.0, 3.0, 2.0)))
    assert (totals.tokens, totals.bits, totals.perplexity, totals.bits_per_unit) == (4, 8, 4, 0.5)


def test_a_perplexity_that_no_number_can_hold_is_infinite() -> None:
    totals = Totals("pixel")
    assert math.isnan(totals.perplexity)
    totals.add([Surprisal(0, 0, "", 5000.0)])
    assert totals.perplexity == math.inf


def test_the_greatest_come_first_with_what_stands_before_them() -> None:
    rng, greatest = random.Random(0), TopSurprisals(5)
    found = [Surprisal(index, 0, f" w{index}", float(rng.randrange(50))) for index in range(300)]
    for surprise in found:
        greatest.add(surprise)
    ranking = greatest.ranking()
    assert [place.surprisal for place in ranking] == sorted(found, key=lambda s: (-s.bits, s.index))[:5]
    for place in ranking:
        before = "".join(surprise.text for surprise in found[: place.surprisal.index])
        assert before.endswith(place.before)
        assert len(place.before) == min(40, len(before))
