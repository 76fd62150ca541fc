"""Bits of surprisal: of given data, in pieces and in total, and of a branch as it grows."""

from __future__ import annotations

import itertools
import math
import random
import threading
from pathlib import Path

import numpy as np
import pytest

from tests.support import toys
from tests.support.branches import PLAIN, grow
from tui_gen.card import ModelCard
from tui_gen.errors import TuiGenError
from tui_gen.generation.branch import Branch, BranchStart
from tui_gen.library import LoadedModel, open_model, shipped_folder
from tui_gen.runtime.model import Model
from tui_gen.sampling.params import FREE, Floats, Tokens
from tui_gen.sampling.step import Step
from tui_gen.scoring.branch_scores import BranchSurprisal
from tui_gen.scoring.score import BANDS, Scorer, StreamScorer, Surprisal, TopSurprisals, Totals, band, bits, score
from tui_gen.text.codec import TextCodec
from tui_gen.text.tokenizer import Piece


def piece(*ids: int) -> Piece:
    return Piece(list(ids), [f" {token}" for token in ids])


def measured(measure: StreamScorer, *pieces: Piece) -> list[Surprisal]:
    return [found for part in pieces for found in itertools.chain.from_iterable(measure.text(part))]


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
    with pytest.raises(TuiGenError, match="non-finite logits at position 3"):
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


def begun(loaded_model: LoadedModel, *, text: str = "", samples: int = 2, prompt: Tokens | None = None) -> Branch:
    given = loaded_model.codec.prompt([text] * samples) if prompt is None else prompt
    return Branch("1", BranchStart(given, 5, PLAIN), loaded_model.model)


def said(steps: list[Step]) -> Floats:
    """Bits of the tokens of these steps as the model said them: [steps, samples], NaN where nothing is live."""
    return np.array([np.where(step.live, -step.logprob / math.log(2), np.nan) for step in steps])


def read(branch: Branch, loaded_model: LoadedModel) -> BranchSurprisal:
    surprise = BranchSurprisal(branch, loaded_model.codec)
    assert surprise.update()
    return surprise


@pytest.mark.parametrize(("name", "count"), [("recipes", 330), ("shakespeare", 330), ("fashion", 300)])
@pytest.mark.parametrize("samples", [1, 3])
def test_the_bits_of_a_shipped_model_are_those_that_making_the_tokens_said(name: str, count: int, samples: int) -> None:
    loaded_model = open_model(shipped_folder() / name, provider="cpu", threads=1)
    branch = begun(loaded_model, text=loaded_model.card.prompt_example, samples=samples)
    steps = grow(branch, count)
    np.testing.assert_allclose(read(branch, loaded_model).bits, said(steps), atol=2e-4)


def test_it_does_not_matter_in_which_pieces_a_branch_grows_and_is_read(text: LoadedModel, image: LoadedModel) -> None:
    for loaded_model in (text, image):
        branch = begun(loaded_model, samples=3)
        surprise, steps = BranchSurprisal(branch, loaded_model.codec), list[Step]()
        for count in (1, 0, 2, 5, 1, 9, 60):
            steps += grow(branch, count)
            assert surprise.update()
            assert (len(surprise), surprise.behind) == (len(branch) - 1, 0)
        np.testing.assert_allclose(surprise.bits, said(steps), atol=1e-5)
        assert not surprise.bits.size or np.isnan(surprise.bits).any() == (loaded_model is text)  # a text ends


def test_tokens_that_a_person_chose_are_as_surprising_as_the_model_finds_them(text: LoadedModel) -> None:
    branch = begun(text, text="the", samples=2)
    grow(branch, 12)
    chosen = Branch("2", branch.changed(4, np.array([[toys.RAN], [FREE]])), text.model, parent=branch)
    grow(chosen, 8)
    surprise = read(chosen, text)
    expected = [-chosen.look(at).logprob / math.log(2) for at in range(1, len(chosen))]
    np.testing.assert_allclose(surprise.bits, np.where(chosen.live[1:], expected, np.nan), atol=1e-5)
    [peak] = [peak for peak in surprise.top(0, 99) if peak.position == 4]
    assert (peak.token, peak.origin) == (toys.RAN, "chosen")
    assert {peak.origin for peak in surprise.top(1, 99)} == {"given", "drawn"}
    counts = [surprise.totals(sample, "made").tokens for sample in (0, 1)]
    assert counts == [chosen.live[2:, 0].sum() - 1, chosen.live[2:, 1].sum()]  # neither prompt nor choice is made


def test_what_a_model_made_and_what_it_was_given_add_up_to_all(endless: LoadedModel) -> None:
    branch = begun(endless, text="the cat sat", samples=2)
    steps = grow(branch, 300)
    surprise = read(branch, endless)
    for sample in (0, 1):
        made, given, both = (surprise.totals(sample, part) for part in ("made", "given", "all"))
        assert (given.tokens, made.tokens) == (3, 297)
        assert made.bits == pytest.approx(said(steps)[3:, sample].sum(), abs=1e-3)
        assert made.bits + given.bits == pytest.approx(both.bits)
        assert made.perplexity == pytest.approx(2 ** (made.bits / 297))
        assert isinstance(endless.codec, TextCodec)
        written = endless.codec.decode(branch.tokens[1:, sample].tolist())
        assert (given.units, both.units, both.unit) == (len("the cat sat"), len(written), "character")
        assert made.units == both.units - given.units


def test_before_anything_is_read_there_is_nothing_to_tell(text: LoadedModel, image: LoadedModel) -> None:
    for loaded_model in (text, image):
        surprise = BranchSurprisal(begun(loaded_model), loaded_model.codec)
        assert surprise.bits.shape == (0, 2)
        assert surprise.top(0) == []
        assert math.isnan(surprise.totals(0).perplexity)
        assert math.isnan(surprise.totals(0).bits_per_unit)
        assert not surprise.image or np.isnan(surprise.pixels()).all()


def test_the_bits_of_a_picture_lie_where_its_pixels_are(image: LoadedModel) -> None:
    branch = begun(image, text="bright", samples=2)
    surprise = BranchSurprisal(branch, image.codec)
    grow(branch, 8)  # the condition, then seven pixels
    surprise.update()
    assert np.isinf(surprise.bits[0]).all()  # no model predicts its condition
    pixels = surprise.pixels()
    assert pixels.shape == (2, toys.HEIGHT * toys.WIDTH)
    np.testing.assert_array_equal(pixels[:, :7], surprise.bits[1:].T)
    assert np.isnan(pixels[:, 7:]).all()
    assert surprise.totals(0).bits == pytest.approx(pixels[0, :7].sum())
    assert (surprise.totals(0, "all").tokens, surprise.totals(0).unit, surprise.totals(0).units) == (7, "pixel", 7)
    assert all(math.isfinite(peak.bits) for peak in surprise.top(0))


def test_a_pixel_in_colour_has_the_bits_of_its_channels_together_once_all_are_known(colour: LoadedModel) -> None:
    branch = begun(colour, samples=2)
    surprise = BranchSurprisal(branch, colour.codec)
    grow(branch, 8)
    surprise.update()
    pixels = surprise.pixels()
    np.testing.assert_allclose(pixels[:, 1], surprise.bits[3:6].sum(axis=0))
    assert np.isnan(pixels[:, 2:]).all()
    grow(branch, 3 * toys.HEIGHT * toys.WIDTH - 8)
    surprise.update()
    assert np.isfinite(surprise.pixels()).all()
    assert surprise.totals(1).units == toys.HEIGHT * toys.WIDTH
    assert surprise.totals(1).bits_per_unit == pytest.approx(surprise.pixels()[1].mean())


def test_warm_up_tokens_are_no_pixels(warmed: LoadedModel) -> None:
    branch = begun(warmed)
    grow(branch, 2 + toys.HEIGHT * toys.WIDTH)
    surprise = read(branch, warmed)
    np.testing.assert_array_equal(surprise.pixels(), surprise.bits[2:].T)


def test_given_pixels_count_as_given(image: LoadedModel) -> None:
    levels = np.where(np.arange(toys.HEIGHT * toys.WIDTH) < 6, 2, FREE)
    prompt = np.concatenate([image.codec.prompt([""] * 2), np.broadcast_to(levels, (2, len(levels)))], axis=1)
    branch = begun(image, prompt=prompt)
    grow(branch, len(levels))
    surprise = read(branch, image)
    assert [surprise.totals(0, part).units for part in ("made", "given", "all")] == [18, 6, 24]


def test_the_most_surprising_tokens_come_first_and_of_equals_the_earlier(endless: LoadedModel) -> None:
    branch = begun(endless, samples=2)
    grow(branch, 400)
    surprise = read(branch, endless)
    for sample in (0, 1):
        bits = surprise.bits[:, sample].tolist()
        expected = sorted(range(1, 401), key=lambda at: (-bits[at - 1], at))
        assert [peak.position for peak in surprise.top(sample)] == expected[:10]
        assert [peak.token for peak in surprise.top(sample, 3)] == branch.tokens[expected[:3], sample].tolist()
        assert len(surprise.top(sample, 1000)) == 400


def test_what_all_but_never_comes_leads_the_list_and_makes_no_number_overflow(tmp_path: Path) -> None:
    table = toys.BIGRAMS.copy()
    table[toys.CAT, toys.DOG] = -3e38
    strict = open_model(toys.endless_text_folder(tmp_path / "strict", graph=toys.text_graph(table)), provider="cpu")
    branch = begun(strict, text="the cat dog ran", samples=1)
    grow(branch, 20)
    surprise = read(branch, strict)
    assert (surprise.top(0)[0].token, surprise.top(0)[0].origin) == (toys.DOG, "given")
    assert surprise.totals(0, "given").bits > 1e38
    assert surprise.totals(0, "given").perplexity == math.inf
    assert math.isfinite(surprise.totals(0).perplexity)


def test_reading_can_be_stopped_between_pieces_and_goes_on_from_there(endless: LoadedModel) -> None:
    branch = begun(endless)
    steps = grow(branch, 500)
    surprise, asked = BranchSurprisal(branch, endless.codec), itertools.count()
    assert not surprise.update(stopped=lambda: next(asked) == 2)
    assert len(surprise) == 500 - surprise.behind == 128
    assert surprise.update()
    np.testing.assert_allclose(surprise.bits, said(steps), atol=1e-5)


def test_two_threads_that_read_the_same_branch_do_not_disturb_each_other(endless: LoadedModel) -> None:
    branch = begun(endless, samples=4)
    steps = grow(branch, 800)
    surprise = BranchSurprisal(branch, endless.codec)
    threads = [threading.Thread(target=surprise.update) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    np.testing.assert_allclose(surprise.bits, said(steps), atol=1e-5)


def test_it_can_be_asked_while_another_thread_reads(endless: LoadedModel) -> None:
    branch = begun(endless, samples=64)  # so many are read two tokens at a time
    grow(branch, 400)
    surprise = BranchSurprisal(branch, endless.codec)
    thread = threading.Thread(target=surprise.update)
    thread.start()
    while thread.is_alive():
        count = len(surprise)
        assert surprise.totals(63, "all").tokens >= count
        assert len(surprise.top(63, 999)) >= count
    thread.join()
    assert surprise.totals(63, "all").tokens == 400


def test_a_model_that_breaks_is_told_with_the_token_each_time_and_what_was_read_stays(tmp_path: Path) -> None:
    table = toys.BIGRAMS.copy()
    table[toys.DOT, :] = np.nan
    broken = open_model(toys.endless_text_folder(tmp_path / "nan", graph=toys.text_graph(table)), provider="cpu")
    prompt = np.array([[0, *[toys.THE, toys.CAT] * 100, toys.DOT, toys.THE]])
    branch = begun(broken, prompt=prompt)
    part, one, logits = branch.step_buffer(), np.ones(1, dtype=bool), np.zeros((1, len(toys.WORDS)), dtype=np.float32)
    for index, token in enumerate(prompt[0, 1:], start=1):  # what generating refuses to make
        part.append(Step(index, np.array([token]), one, one, logits, None, PLAIN, 0, broken.model.start(1)))
    branch.record(part)
    surprise = BranchSurprisal(branch, broken.codec)
    for _ in range(2):
        with pytest.raises(TuiGenError, match="non-finite logits at position 202"):
            surprise.update()
        assert len(surprise) == 128
        assert np.isfinite(surprise.bits).all()
