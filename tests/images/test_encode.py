"""Pictures as PNG and as animated GIF, read with what anybody would read them with."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageSequence

from tests.support import toys
from tui_gen.card import ImageSpec
from tui_gen.images.encode import MAX_FRAMES, gif, png
from tui_gen.images.picture import Picture
from tui_gen.sampling.params import FREE, SamplingParams, Tokens
from tui_gen.sampling.step import Step

SPEC = ImageSpec(height=4, width=6, levels=3)
DARK, LIGHT = 112, 144
"""The greys of what is not drawn."""


def drawn(spec: ImageSpec, values: Tokens, *, given: Tokens | None = None) -> Picture:
    """Pictures of which so many values [n, samples] have come."""
    picture = Picture(spec, values.shape[1])
    if given is not None:
        picture.preset(given)
    for index, tokens in enumerate(values):
        nothing: Any = None
        picture.add(Step(index + 1, tokens, nothing, nothing, nothing, None, SamplingParams(), 0.0, None))
    return picture


def stripes(count: int = 24, samples: int = 1) -> Tokens:
    return np.repeat(toys.STRIPES.reshape(-1, 1)[:count], samples, axis=1)


def frames(content: bytes, scale: int = 1) -> tuple[NDArray[np.uint8], list[int], Any]:
    """What is seen one after the other [frames, height, width, 3] at one pixel each, for how long, and how often."""
    with Image.open(io.BytesIO(content)) as opened:
        assert opened.format == "GIF"
        shown = [(np.asarray(frame.convert("RGB")), frame.info["duration"]) for frame in ImageSequence.Iterator(opened)]
        times = opened.info["loop"]
    whole = np.stack([frame for frame, _ in shown])
    small = whole[:, ::scale, ::scale]
    np.testing.assert_array_equal(small.repeat(scale, axis=1).repeat(scale, axis=2), whole)
    return small, [time for _, time in shown], times


def test_each_frame_draws_a_pixel_more_the_last_is_held_and_it_never_ends() -> None:
    seen, times, loops = frames(gif(drawn(SPEC, stripes())), scale=85)
    assert seen.shape == (25, 4, 6, 3)
    checker = np.indices((4, 6)).sum(axis=0) % 2 * (LIGHT - DARK) + DARK
    for count, frame in enumerate(seen):
        known = np.arange(24).reshape(4, 6) < count
        np.testing.assert_array_equal(frame[..., 0], np.where(known, toys.STRIPE_GREYS, checker))
    assert min(times) >= 20
    assert times[-1] >= 1000
    assert loops == 0


def test_what_was_given_is_there_from_the_start_and_takes_no_time() -> None:
    given = np.where(np.arange(24).reshape(4, 6) < 20, toys.STRIPES, FREE)
    seen, _, _ = frames(gif(drawn(SPEC, stripes(), given=given)), scale=85)
    assert len(seen) == 1 + 4
    assert (seen[:, :3, :, 0] == toys.STRIPE_GREYS[:3]).all()
    assert set(seen[0, 3, 2:, 0]) == {DARK, LIGHT}


def test_a_picture_that_was_stopped_ends_as_it_was_left() -> None:
    seen, _, _ = frames(gif(drawn(SPEC, stripes(9))), scale=85)
    assert len(seen) == 10
    assert set(seen[-1, 2:].ravel()) == {DARK, LIGHT}


@pytest.mark.parametrize("samples", [1, 2, 16])
def test_nothing_drawn_is_one_frame(samples: int) -> None:
    with Image.open(io.BytesIO(gif(Picture(SPEC, samples)))) as opened:
        assert getattr(opened, "n_frames", 1) == 1


def test_samples_stand_in_rows_one_pixel_apart_within_a_size_that_can_be_looked_at() -> None:
    values = stripes(samples=5)
    values[:, 3] = 2
    content = gif(drawn(SPEC, values))
    scale = 512 // (3 * 7 - 1)
    seen, _, _ = frames(content, scale)
    assert seen.shape[1:3] == (2 * 5 - 1, 3 * 7 - 1)
    np.testing.assert_array_equal(seen[-1, :4, 14:, 0], toys.STRIPE_GREYS)
    assert (seen[-1, 5:, :6] == 255).all()
    assert (seen[-1, 4] == DARK).all()


def test_however_many_pixels_there_are_the_frames_are_about_a_hundred() -> None:
    spec = ImageSpec(height=40, width=33, levels=3)
    values = np.random.default_rng(0).integers(0, 3, (40 * 33, 1))
    seen, _, _ = frames(gif(drawn(spec, values)), scale=12)
    assert 50 < len(seen) <= MAX_FRAMES + 1
    np.testing.assert_array_equal(seen[-1, ..., 0], np.array([0, 128, 255])[values.reshape(40, 33)])


def test_a_palette_is_kept_exactly() -> None:
    palette = ((1, 2, 3), (200, 100, 50), (0, 255, 9))
    seen, _, _ = frames(gif(drawn(ImageSpec(4, 6, 3, palette), stripes())), scale=85)
    np.testing.assert_array_equal(seen[-1], np.array(palette)[toys.STRIPES])


@pytest.mark.parametrize("channels", [1, 3])
def test_more_colours_than_a_gif_can_hold_are_brought_near(channels: int) -> None:
    spec = ImageSpec(height=32, width=32, levels=256, channels=channels)
    slope = np.linspace(0, 255, 32).astype(int)
    levels = np.stack([np.tile(slope, (32, 1)), np.tile(slope[:, None], (1, 32)), np.full((32, 32), 60)], axis=2)
    values = levels.reshape(-1, 1) if channels == 3 else np.arange(32 * 32).reshape(-1, 1) % 256
    picture = drawn(spec, values)
    seen, _, _ = frames(gif(picture), scale=16)
    assert np.abs(seen[-1].astype(int) - picture.rgb[0]).mean() < 5
    assert np.abs(seen[-1].astype(int) - picture.rgb[0]).max() < 40


GREYS = ImageSpec(height=4, width=6, levels=16)


def grey_pictures(samples: int) -> Picture:
    """Each all of the level that is its number."""
    picture = Picture(GREYS, samples)
    picture.take(np.tile(np.arange(samples), (GREYS.area, 1)))
    return picture


def read_png(content: bytes) -> NDArray[np.uint8]:
    """[height, width, 4] at one pixel each."""
    with Image.open(io.BytesIO(content)) as opened:
        shown: Any = np.asarray(opened)
    small = shown[::85, ::85]
    np.testing.assert_array_equal(small.repeat(85, axis=0).repeat(85, axis=1), shown)
    found: NDArray[np.uint8] = small
    return found


@pytest.mark.parametrize(("samples", "down", "across"), [(1, 1, 1), (4, 1, 4), (5, 2, 3), (9, 3, 3), (16, 4, 4)])
def test_a_few_pictures_stand_in_a_row_and_more_in_about_as_many_rows_as_columns(
    samples: int, down: int, across: int
) -> None:
    assert read_png(png(grey_pictures(samples))).shape == (down * 5 - 1, across * 7 - 1, 4)


def test_pictures_follow_each_other_row_by_row_one_pixel_apart() -> None:
    shown = read_png(png(grey_pictures(5)))
    for sample, (top, left) in enumerate(((0, 0), (0, 7), (0, 14), (5, 0), (5, 7))):
        assert (shown[top : top + 4, left : left + 6] == (*[17 * sample] * 3, 255)).all()
    assert not shown[4, :, 3].any()
    assert not shown[:, [6, 13], 3].any()
    assert not shown[5:, 14:, 3].any()
