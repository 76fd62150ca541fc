"""Prompts to conditions, ids to pixels, and pictures to complete: what is given stays, what is free is drawn."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from export.build_tokenizer import phrase_tokenizer
from tests.support import toys
from tests.support.toys import BRIGHT, DARK, START, WARM_UP
from tui_gen.card import ImageSpec, ModelCard
from tui_gen.errors import TuiGenError, UsageError
from tui_gen.generation.generate import generate
from tui_gen.images.codec import ImageCodec
from tui_gen.images.completion import (
    Rectangle,
    completion_prompt,
    erased,
    free_pixels,
    parse_part,
    parse_pixel,
    parse_rectangle,
    shortened,
)
from tui_gen.images.picture import UNDRAWN, Picture
from tui_gen.library import LoadedModel, codec_for
from tui_gen.sampling.params import FREE, SamplingParams, Tokens

PICTURES = ModelCard("pictures", "image", "toy", 3, bos=START, image=ImageSpec(4, 6, 3, conditions=(BRIGHT, DARK)))


@pytest.fixture
def pictures() -> ImageCodec:
    return ImageCodec(PICTURES, toys.phrases())


@pytest.mark.parametrize(
    "typed", ["bright, deep dark", "Bright,deep dark", "  BRIGHT ,, deep   Dark ,", "bright, deep dark, bright"]
)
def test_phrases_are_read_in_any_case_and_spacing_and_once_each(pictures: ImageCodec, typed: str) -> None:
    ids = pictures.prompt([typed])
    assert ids.tolist() == [[START, BRIGHT, DARK]]
    assert ids.dtype == np.int64
    assert pictures.unknown(typed) == []


def test_phrases_that_exclude_each_other_are_refused_together() -> None:
    assert PICTURES.image
    codec = ImageCodec(replace(PICTURES, image=replace(PICTURES.image, exclusive=(BRIGHT, DARK))), toys.phrases())
    assert codec.prompt(["bright, bright"]).tolist() == [[START, BRIGHT]]
    with pytest.raises(TuiGenError, match="pictures takes one of 'deep dark' or 'bright', not several"):
        codec.prompt(["deep dark, bright"])


def test_shorter_image_prompts_begin_with_more_start_tokens(pictures: ImageCodec) -> None:
    prompt = pictures.prompt(["", "bright", "bright, deep dark", " , "])
    assert prompt.tolist() == [[START] * 3, [START, START, BRIGHT], [START, BRIGHT, DARK], [START] * 3]


def test_of_many_phrases_the_nearest_are_named_and_the_others_counted() -> None:
    things = ("hat", "cloak", "robe", "bow", "axe")
    phrases = [f"{colour} {thing}" for colour in ("red", "blue", "green") for thing in things]
    image = ImageSpec(4, 6, 3, conditions=tuple(range(BRIGHT, BRIGHT + len(phrases))))
    codec = ImageCodec(replace(PICTURES, image=image), phrase_tokenizer(phrases, first_id=BRIGHT).to_str())
    with pytest.raises(TuiGenError, match=r"it knows red hat, .* and 11 others, which tui-gen inspect lists$"):
        codec.prompt(["rod hat"])


def test_an_unknown_phrase_is_marked_and_close_ones_are_suggested(pictures: ImageCodec) -> None:
    assert pictures.unknown("bright, shiny ") == [(8, 13)]
    with pytest.raises(TuiGenError, match=r"pictures cannot draw 'Dark'; it knows deep dark, bright$"):
        pictures.prompt(["bright, Dark"])
    with pytest.raises(TuiGenError, match=r"cannot draw 'zzz'; it knows bright, deep dark$"):
        pictures.prompt(["zzz"])


def test_a_prompt_for_a_picture_has_an_end(pictures: ImageCodec) -> None:
    for read in (pictures.prompt, lambda texts: pictures.unknown(texts[0])):
        with pytest.raises(TuiGenError, match="at most 4,000 characters, not 30,002"):
            read([" " * 30_000 + "x,"])


def test_so_many_large_pictures_that_they_fill_the_memory_are_refused(colour: LoadedModel) -> None:
    card = replace(
        colour.card, image=replace(colour.card.image, height=2048, width=2048) if colour.card.image else None
    )
    codec = codec_for(card, None)
    assert len(codec.prompt([""] * 8)) == 8
    with pytest.raises(TuiGenError, match=r"9 pictures of 2048x2048 pixels are 37,748,736 pixels, .*; at most 8"):
        codec.prompt([""] * 9)


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


def test_a_length_is_never_more_than_the_values_of_the_picture(pictures: ImageCodec, colour: LoadedModel) -> None:
    assert [pictures.length(length) for length in (None, 0, 5, 9999)] == [24, 0, 5, 24]
    assert [colour.codec.length(length) for length in (None, 5, 9999)] == [72, 5, 72]


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


def test_warm_up_tokens_end_every_prompt_after_its_conditions(warmed: LoadedModel) -> None:
    prompt = warmed.codec.prompt(["", "bright"])
    assert prompt.tolist() == [[START, START, WARM_UP, WARM_UP], [START, BRIGHT, WARM_UP, WARM_UP]]


def test_a_model_that_reads_ahead_draws_the_same_and_its_warm_up_is_no_pixel(warmed: LoadedModel) -> None:
    assert isinstance(warmed.codec, ImageCodec)
    picture, length = warmed.codec.picture(1), warmed.codec.length(None)
    steps = list(generate(warmed.model, warmed.codec.prompt([""]), SamplingParams(0), length=length, seed=0))
    assert [picture.add(step) for step in steps] == [False] * 2 + [True] * 24
    np.testing.assert_array_equal(picture.rgb[0, :, :, 0], np.array([0, 128, 255])[toys.STRIPES])


SPEC = ImageSpec(height=28, width=20, levels=16)
GIVEN = 2 - toys.STRIPES
"""Levels that the toy model would not draw."""


def completed(loaded_model: LoadedModel, levels: Tokens, *, text: str = "", samples: int = 2, seed: int = 0) -> Picture:
    """The pictures that the model draws around what is given."""
    assert isinstance(loaded_model.codec, ImageCodec)
    prompt = completion_prompt(loaded_model.codec, text, levels, samples)
    picture = loaded_model.codec.picture(samples)
    for step in generate(loaded_model.model, prompt, SamplingParams(0), length=0, seed=seed):
        picture.add(step)
    return picture


def test_given_pixels_stay_wherever_they_are_and_the_others_are_drawn(image: LoadedModel, warmed: LoadedModel) -> None:
    scattered = np.where(np.random.default_rng(1).random(GIVEN.shape) < 0.5, GIVEN, FREE)
    expected = np.where(scattered == FREE, toys.STRIPE_GREYS, np.array([0, 128, 255])[GIVEN])
    for loaded_model in (image, warmed):
        picture = completed(loaded_model, scattered)
        for sample in picture.rgb:
            np.testing.assert_array_equal(sample[..., 0], expected)


def test_a_condition_counts_for_what_is_drawn_and_not_for_what_is_given(image: LoadedModel) -> None:
    lower = erased(np.zeros((4, 6), dtype=np.int64), Rectangle(0, 2, 5, 3))
    picture = completed(image, lower, text="bright")
    assert (picture.rgb[:, :2] == 0).all()
    assert (picture.rgb[:, 2:] == 255).all()


def test_three_channels_are_kept_and_drawn_together(colour: LoadedModel) -> None:
    white = np.full((4, 6, 3), 2)
    picture = completed(colour, erased(white, Rectangle(1, 1, 1, 1)))
    assert picture.rgb[0, 1, 1].tolist() == [0, 255, 0]
    picture.rgb[:, 1, 1] = 255
    assert (picture.rgb == 255).all()


def test_a_whole_picture_is_drawn_as_it_is_and_an_empty_one_as_the_model_would(image: LoadedModel) -> None:
    assert (completed(image, GIVEN).rgb[0, ..., 0] == np.array([0, 128, 255])[GIVEN]).all()
    assert (completed(image, np.full_like(GIVEN, FREE)).rgb[0, ..., 0] == toys.STRIPE_GREYS).all()


def test_a_picture_that_is_not_the_models_is_refused(image: LoadedModel, colour: LoadedModel) -> None:
    assert isinstance(image.codec, ImageCodec)
    assert isinstance(colour.codec, ImageCodec)
    with pytest.raises(TuiGenError, match=r"must be 4 x 6, not \(6, 4\)"):
        completion_prompt(image.codec, "", GIVEN.T, 1)
    with pytest.raises(TuiGenError, match=r"must be 4 x 6 x 3, not \(4, 6\)"):
        completion_prompt(colour.codec, "", GIVEN, 1)
    for levels in (GIVEN + 1, GIVEN - 2):
        with pytest.raises(TuiGenError, match="levels from 0 to 2, and -1 where it is free"):
            completion_prompt(image.codec, "", levels, 1)
    with pytest.raises(TuiGenError, match="cannot draw 'red'"):
        completion_prompt(image.codec, "red", GIVEN, 1)


def test_a_shortened_prompt_has_so_many_free_positions_and_what_is_given_after_them() -> None:
    prompt = np.array([[9, 1, FREE, 2, FREE, 3, FREE, 4]] * 2)
    assert [shortened(prompt, length).shape[1] for length in (0, 1, 2, 3, 99)] == [2, 4, 6, 8, 8]


def test_what_is_given_is_seen_from_the_start_and_stays_when_its_turn_comes(image: LoadedModel) -> None:
    assert isinstance(image.codec, ImageCodec)
    levels = erased(GIVEN, Rectangle(0, 0, 5, 1))
    picture = image.codec.picture(2)
    assert picture.empty
    picture.preset(levels)
    assert (picture.empty, picture.drawn) == (False, 0)
    assert (picture.rgb[:, :2] == UNDRAWN).all()
    lower = picture.rgb[:, 2:].copy()
    assert (lower[0, ..., 0] == np.array([0, 128, 255])[GIVEN[2:]]).all()
    prompt = completion_prompt(image.codec, "", levels, 2)
    for step in generate(image.model, prompt, SamplingParams(0), length=0, seed=0):
        picture.add(step)
        np.testing.assert_array_equal(picture.rgb[:, 2:], lower)
    assert (picture.rgb != UNDRAWN).all()


def test_a_pixel_in_colour_is_seen_from_the_start_only_if_it_is_whole(colour: LoadedModel) -> None:
    assert isinstance(colour.codec, ImageCodec)
    levels = np.full((4, 6, 3), 2)
    levels[0, 0, 1] = FREE
    picture = colour.codec.picture(1)
    picture.preset(levels)
    assert (picture.rgb[0, 0, 0] == UNDRAWN).all()
    assert (picture.rgb == 255).sum() == (4 * 6 - 1) * 3


def test_erasing_frees_a_part_of_a_copy_its_corners_included() -> None:
    levels = np.zeros((28, 20), dtype=np.int64)
    made = erased(levels, parse_rectangle("4,5,6,7", SPEC), parse_pixel("0,27", SPEC))
    assert (levels == 0).all()
    assert free_pixels(made) == 3 * 3 + 1
    assert (made[5:8, 4:7] == FREE).all()
    assert made[27, 0] == FREE
    assert free_pixels(erased(np.zeros((4, 6, 3), dtype=np.int64), Rectangle(0, 0, 1, 1))) == 4


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("rows:14-27", (0, 14, 19, 27)),
        ("rows:0", (0, 0, 19, 0)),
        ("rect:4,4,19,20", (4, 4, 19, 20)),
        ("rect:1, 2, 3, 4", (1, 2, 3, 4)),
        ("pixel:3,5", (3, 5, 3, 5)),
    ],
)
def test_parts_are_read(text: str, part: tuple[int, int, int, int]) -> None:
    assert parse_part(text, SPEC) == part


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "what to erase is rows:14-27, rect:4,4,20,20 or pixel:3,5, not ''"),
        ("lower half", "what to erase is"),
        ("column:3", "what to erase is"),
        ("rows:", "rows are the first and the last one"),
        ("rows:-3", "rows are the first and the last one"),
        ("rows:1-2-3", "rows are the first and the last one"),
        ("rows:1.5", "rows are the first and the last one"),
        ("rows:" + "9" * 5000, "rows are the first and the last one"),
        ("rows:9-3", "9-3 ends before it begins"),
        ("rows:20-28", "20-28 is not inside the picture: columns 0-19, rows 0-27"),
        ("rect:1,2,3", "a rectangle is left,top,right,bottom"),
        ("rect:5,5,4,6", "ends before it begins"),
        ("rect:0,0,20,3", "0,0,20,3 is not inside the picture"),
        ("pixel:1", "a pixel is column,row"),
        ("pixel:20,0", "20,0 is not inside the picture"),
    ],
)
def test_nonsense_is_refused_in_one_short_line(text: str, reason: str) -> None:
    with pytest.raises(UsageError) as told:
        parse_part(text, SPEC)
    assert reason in str(told.value)
    assert len(str(told.value)) < 160


def test_the_phrase_after_the_last_comma_is_completed_by_those_that_can_still_be_said(pictures: ImageCodec) -> None:
    assert pictures.endings("") == ["bright", "deep dark"]
    assert pictures.endings("Bright,  DE") == ["ep dark"]
    assert pictures.endings("deep  dark, ") == ["bright"]
    assert pictures.endings("bright") == pictures.endings("bright, br") == pictures.endings("hat") == []
    assert PICTURES.image
    rivals = ImageCodec(replace(PICTURES, image=replace(PICTURES.image, exclusive=(BRIGHT, DARK))), toys.phrases())
    assert rivals.endings("bright, ") == []
