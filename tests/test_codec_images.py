"""Prompts to conditions and ids to pixels."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tests import toys
from tests.toys import BRIGHT, DARK, START
from tui_gen.card import ImageSpec, ModelCard
from tui_gen.codec import ImageCodec, codec_for
from tui_gen.errors import TuiGenError
from tui_gen.generate import FREE, generate
from tui_gen.library import Playable
from tui_gen.sampling import SamplingParams

PICTURES = ModelCard("pictures", "image", "toy", 3, bos=START, image=ImageSpec(4, 6, 3, conditions=(BRIGHT, DARK)))


@pytest.fixture
def pictures() -> ImageCodec:
    return ImageCodec(PICTURES, toys.phrases())


@pytest.mark.parametrize(
    "typed", ["bright, deep dark", "Bright,deep dark", "  BRIGHT ,, deep   Dark ,", "bright, deep dark, bright"]
)
def test_phrases_are_read_in_any_case_and_spacing_and_once_each(pictures: ImageCodec, typed: str) -> None:
    assert pictures.prompt([typed]).tolist() == [[START, BRIGHT, DARK]]
    assert pictures.unknown(typed) == []


def test_the_order_of_phrases_does_not_change_the_picture(image: Playable) -> None:
    assert isinstance(image.codec, ImageCodec)
    first, second = (
        list(generate(image.model, image.codec.prompt([text]), SamplingParams(), length=24, seed=1))
        for text in ("bright, deep dark", "deep dark, bright")
    )
    assert [step.tokens for step in first[2:]] == [step.tokens for step in second[2:]]


def test_shorter_image_prompts_begin_with_more_start_tokens(pictures: ImageCodec) -> None:
    prompt = pictures.prompt(["", "bright", "bright, deep dark", " , "])
    assert prompt.tolist() == [[START] * 3, [START, START, BRIGHT], [START, BRIGHT, DARK], [START] * 3]


def test_an_unknown_phrase_is_marked_and_close_ones_are_suggested(pictures: ImageCodec) -> None:
    assert pictures.unknown("bright, shiny ") == [(8, 13)]
    with pytest.raises(TuiGenError, match=r"pictures cannot draw 'Brigt'; it knows bright, \.\.\."):
        pictures.prompt(["deep dark, Brigt"])
    with pytest.raises(TuiGenError, match=r"cannot draw 'zzz'; it knows bright, deep dark$"):
        pictures.prompt(["zzz"])


def test_a_model_without_conditions_takes_no_prompt() -> None:
    codec = ImageCodec(replace(PICTURES, image=ImageSpec(4, 6, 3)), None)
    assert codec.prompt(["", " "]).tolist() == [[START], [START]]
    assert codec.unknown("red") == [(0, 3)]
    with pytest.raises(TuiGenError, match="cannot draw 'red'; it takes no prompt"):
        codec.prompt(["red"])


def test_a_picture_is_drawn_in_raster_order_and_skips_the_conditions(image: Playable) -> None:
    assert isinstance(image.codec, ImageCodec)
    picture = image.codec.picture(2)
    prompt = image.codec.prompt(["bright", "bright, deep dark"])
    steps = list(generate(image.model, prompt, SamplingParams(0), length=24, seed=0))
    drawn = [picture.add(step) for step in steps[:12]]
    assert drawn == [False, False] + [True] * 10
    assert picture.drawn == 10
    assert picture.grid(0).ravel().tolist() == [2] * 10 + [FREE] * 14
    assert all(picture.add(step) for step in steps[12:])
    assert not picture.add(steps[-1])


def test_a_phrase_whose_id_is_not_a_condition_is_refused() -> None:
    with pytest.raises(TuiGenError, match="has the id 5, which is not one of"):
        ImageCodec(replace(PICTURES, image=ImageSpec(4, 6, 3, conditions=(BRIGHT,))), toys.phrases())


def test_phrases_that_must_be_there_are_asked_for() -> None:
    with pytest.raises(TuiGenError, match="is missing"):
        codec_for(PICTURES, None)


def test_a_length_is_never_more_than_the_picture(pictures: ImageCodec) -> None:
    assert [pictures.length(wanted) for wanted in (None, 0, 5, 9999)] == [24, 0, 5, 24]


def test_ids_are_int64_as_the_contract_wants(pictures: ImageCodec) -> None:
    assert pictures.prompt(["bright"]).dtype == np.int64


def test_a_pixel_value_is_named_by_its_number_and_shown_in_its_colour(pictures: ImageCodec) -> None:
    assert (pictures.token_text(1), pictures.token_colour(1)) == ("1", (128, 128, 128))
    assert pictures.token_colour(BRIGHT) is None
