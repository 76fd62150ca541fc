"""Prompts to conditions and ids to pixels."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tests.support import toys
from tests.support.toys import BRIGHT, DARK, START, WARM_UP
from tui_gen.card import ImageSpec, ModelCard
from tui_gen.errors import TuiGenError
from tui_gen.generation.generate import generate
from tui_gen.images.codec import ImageCodec
from tui_gen.images.picture import UNDRAWN
from tui_gen.library import LoadedModel, codec_for
from tui_gen.sampling.params import SamplingParams

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


def test_phrases_that_exclude_each_other_are_refused_together() -> None:
    assert PICTURES.image
    codec = ImageCodec(replace(PICTURES, image=replace(PICTURES.image, exclusive=(BRIGHT, DARK))), toys.phrases())
    assert codec.prompt(["bright, bright"]).tolist() == [[START, BRIGHT]]
    with pytest.raises(TuiGenError, match="pictures takes one of 'deep dark' or 'bright', not several"):
        codec.prompt(["deep dark, bright"])


def test_the_order_of_phrases_does_not_change_the_picture(image: LoadedModel) -> None:
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


def test_a_picture_is_drawn_in_raster_order_and_skips_the_conditions(image: LoadedModel) -> None:
    assert isinstance(image.codec, ImageCodec)
    picture = image.codec.picture(2)
    prompt = image.codec.prompt(["bright", "bright, deep dark"])
    steps = list(generate(image.model, prompt, SamplingParams(0), length=24, seed=0))
    drawn = [picture.add(step) for step in steps[:12]]
    assert drawn == [False, False] + [True] * 10
    assert picture.drawn == 10
    assert picture.rgb[0].reshape(24, 3).tolist() == [[255] * 3] * 10 + [[UNDRAWN] * 3] * 14
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
    assert (pictures.token_text(1), pictures.token_colour(1, 7)) == ("1", (128, 128, 128))
    assert pictures.token_colour(BRIGHT, 7) is None
    assert pictures.unit == "pixel"


def test_a_value_of_a_pixel_in_colour_is_shown_as_so_much_red_green_or_blue(colour: LoadedModel) -> None:
    shown = [colour.codec.token_colour(1, place) for place in range(4)]
    assert shown == [(128, 0, 0), (0, 128, 0), (0, 0, 128), (128, 0, 0)]
    assert colour.codec.token_colour(START, 0) is None
    assert colour.codec.unit == "value"


def test_a_pixel_in_colour_is_drawn_when_its_three_values_are_known(colour: LoadedModel) -> None:
    assert isinstance(colour.codec, ImageCodec)
    picture, prompt = colour.codec.picture(2), colour.codec.prompt(["", ""])
    steps = list(generate(colour.model, prompt, SamplingParams(0), length=colour.codec.length(None), seed=0))
    drawn = [picture.add(step) and picture.drawn for step in steps[:5]]
    assert drawn == [0, 0, 1, 1, 1]
    assert picture.rgb[1, 0, :2].tolist() == [[255, 0, 0], [UNDRAWN] * 3]
    for step in steps[5:]:
        picture.add(step)
    np.testing.assert_array_equal(picture.rgb[1], toys.FLAG * 255 // 2)
    assert picture.drawn == 24


def test_a_length_in_colour_counts_three_values_a_pixel(colour: LoadedModel) -> None:
    assert [colour.codec.length(wanted) for wanted in (None, 5, 9999)] == [72, 5, 72]


def test_warm_up_tokens_end_every_prompt_after_its_conditions(warmed: LoadedModel) -> None:
    prompt = warmed.codec.prompt(["", "bright"])
    assert prompt.tolist() == [[START, START, WARM_UP, WARM_UP], [START, BRIGHT, WARM_UP, WARM_UP]]


def test_a_model_that_reads_ahead_draws_the_same_and_its_warm_up_is_no_pixel(warmed: LoadedModel) -> None:
    assert isinstance(warmed.codec, ImageCodec)
    picture, length = warmed.codec.picture(1), warmed.codec.length(None)
    steps = list(generate(warmed.model, warmed.codec.prompt([""]), SamplingParams(0), length=length, seed=0))
    assert [picture.add(step) for step in steps] == [False] * 2 + [True] * 24
    np.testing.assert_array_equal(picture.rgb[0, :, :, 0], np.array([0, 128, 255])[toys.STRIPES])
