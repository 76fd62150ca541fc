"""Image files as levels of a model."""

from __future__ import annotations

import os
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tui_gen.card import ImageSpec
from tui_gen.errors import TuiGenError
from tui_gen.images import read as read_module
from tui_gen.images.encode import png
from tui_gen.images.picture import Picture
from tui_gen.images.read import read_levels
from tui_gen.library import read_card, shipped_folder
from tui_gen.sampling.params import FREE

GREYS = ImageSpec(height=2, width=3, levels=3)
BLACK, GREY, WHITE = range(3)
STRIPES = np.array([[0, 128, 255], [255, 0, 128]], dtype=np.uint8)
STRIPE_LEVELS = [[BLACK, GREY, WHITE], [WHITE, BLACK, GREY]]
PALETTE = ImageSpec(height=2, width=3, levels=4, palette=((0, 0, 0), (200, 30, 30), (30, 200, 30), (240, 240, 240)))
COLOURS = ImageSpec(height=2, width=3, levels=3, channels=3)


def shipped_spec(name: str) -> ImageSpec:
    spec = read_card(shipped_folder() / name).image
    assert spec
    return spec


@pytest.fixture
def read(tmp_path: Path) -> Any:
    """Saves an image and reads it as a model's levels."""

    def read(picture: Image.Image, spec: ImageSpec = GREYS, form: str = "PNG", **options: Any) -> Any:
        picture.save(tmp_path / "picture", form, **options)
        return read_levels(tmp_path / "picture", spec).tolist()

    return read


@pytest.mark.parametrize(
    "spec", [GREYS, PALETTE, COLOURS, ImageSpec(5, 40, 256), *map(shipped_spec, ("fashion", "adventurers"))]
)
@pytest.mark.parametrize("gaps", [False, True])
def test_a_png_that_was_saved_is_read_back_as_it_was(spec: ImageSpec, gaps: bool, tmp_path: Path) -> None:
    shape = (spec.height, spec.width, 3)[: 3 if spec.channels == 3 else 2]
    levels = np.resize(np.random.default_rng(0).permutation(spec.levels), shape)
    if gaps:
        levels[0, 1:] = FREE
    picture = Picture(spec, 1)
    picture.preset(levels)
    (tmp_path / "saved.png").write_bytes(png(picture))
    np.testing.assert_array_equal(read_levels(tmp_path / "saved.png", spec), levels)


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA", "LA", "P", "CMYK", "I", "I;16", "F"])
def test_every_kind_of_pixel_means_the_same(mode: str, read: Any) -> None:
    picture = Image.fromarray(STRIPES)
    if mode in ("I", "I;16"):
        picture = Image.fromarray((STRIPES.astype(np.uint16) * 257).astype(np.int32 if mode == "I" else np.uint16))
    elif mode == "F":
        picture = Image.fromarray((STRIPES / 255).astype(np.float32))
    else:
        picture = picture.convert(mode)
    assert picture.mode == mode
    assert read(picture, form="TIFF" if mode in ("CMYK", "I", "F") else "PNG") == STRIPE_LEVELS


def test_black_and_white_and_a_palette_with_a_transparent_colour_are_read_too(read: Any) -> None:
    assert read(Image.fromarray(STRIPES > 100)) == [[BLACK, WHITE, WHITE], [WHITE, BLACK, WHITE]]
    indexed = Image.fromarray(STRIPES).convert("P")
    assert read(indexed, transparency=0) == [[FREE, GREY, WHITE], [WHITE, FREE, GREY]]


def test_a_level_is_that_of_the_nearest_colour(read: Any) -> None:
    rgb = np.array([[[160, 70, 20], [90, 210, 100], [255, 255, 255]], [[9, 9, 9], [200, 200, 250], [60, 0, 0]]])
    assert read(Image.fromarray(rgb.astype(np.uint8)), PALETTE) == [[1, 2, 3], [0, 3, 0]]


def test_colours_become_greys_by_how_bright_they_look(read: Any) -> None:
    rgb = np.array([[[0, 255, 0], [0, 0, 255], [255, 255, 0]]] * 2, dtype=np.uint8)
    assert read(Image.fromarray(rgb)) == [[GREY, BLACK, WHITE]] * 2


def test_each_channel_has_a_level_of_its_own(read: Any) -> None:
    rgba = np.array([[[255, 120, 10, 255], [0, 0, 255, 255], [9, 9, 9, 0]]] * 2, dtype=np.uint8)
    assert read(Image.fromarray(rgba), COLOURS) == [[[2, 1, 0], [0, 0, 2], [FREE] * 3]] * 2


def test_half_transparent_is_free_and_what_shines_through_is_kept_in_its_own_colour(read: Any) -> None:
    rgba = np.array([[[255, 255, 255, 127], [255, 255, 255, 128], [0, 0, 0, 255]]] * 2, dtype=np.uint8)
    assert read(Image.fromarray(rgba)) == [[FREE, WHITE, BLACK]] * 2


def test_the_colour_behind_transparency_does_not_bleed_into_what_is_seen(read: Any) -> None:
    rgba = np.random.default_rng(0).integers(0, 40, (40, 60, 4), dtype=np.uint8)  # what is behind is nearly black
    rgba[..., 3] = 0
    rgba[:32, :, :] = 255
    assert read(Image.fromarray(rgba)) == [[WHITE] * 3] * 2  # of the lower pixels, a bit more than half is white


def test_a_large_picture_is_averaged(read: Any) -> None:
    noise = np.random.default_rng(0).choice(np.array([0, 255], dtype=np.uint8), (200, 300))
    assert read(Image.fromarray(noise)) == [[GREY] * 3] * 2


def test_a_small_picture_is_enlarged_without_blur(read: Any) -> None:
    spec = ImageSpec(height=4, width=6, levels=3)
    assert read(Image.fromarray(STRIPES), spec) == np.kron(STRIPE_LEVELS, np.ones((2, 2), dtype=int)).tolist()


def test_a_pixel_drawing_that_was_enlarged_is_read_pixel_by_pixel(read: Any) -> None:
    wide = STRIPES.repeat(170, axis=0).repeat(170, axis=1)
    assert read(Image.fromarray(wide)) == STRIPE_LEVELS
    larger = ImageSpec(height=4, width=6, levels=3)
    assert read(Image.fromarray(wide), larger) == np.kron(STRIPE_LEVELS, np.ones((2, 2), dtype=int)).tolist()


@pytest.mark.parametrize("size", [(90, 20), (30, 80)])
def test_the_middle_is_cropped_to_the_models_shape(size: tuple[int, int], read: Any) -> None:
    across, down = size
    picture = Image.new("L", size, 255)
    picture.paste(0, ((across - 30) // 2, (down - 20) // 2, (across + 30) // 2, (down + 20) // 2))
    assert read(picture) == [[BLACK] * 3] * 2


def test_one_pixel_is_enough(read: Any) -> None:
    assert read(Image.new("L", (1, 1), 128)) == [[GREY] * 3] * 2


def test_a_photograph_is_turned_as_the_camera_was(read: Any) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # the top of the picture is at the right side of the file
    lying = Image.fromarray(np.rot90(STRIPES))
    assert read(lying, exif=exif) == STRIPE_LEVELS


def test_the_first_picture_of_an_animation_counts(read: Any) -> None:
    first, second = Image.fromarray(STRIPES), Image.new("L", (3, 2), 255)
    assert read(first, form="GIF", save_all=True, append_images=[second]) == STRIPE_LEVELS


@pytest.mark.parametrize("form", ["BMP", "WEBP", "PPM", "TGA", "ICO"])
def test_other_formats_are_read(form: str, read: Any) -> None:
    options = {"lossless": True} if form == "WEBP" else {}
    enlarged = Image.fromarray(STRIPES.repeat(16, axis=0).repeat(16, axis=1)).convert("RGB")
    assert read(enlarged, form=form, **options) == STRIPE_LEVELS


def test_a_file_that_is_no_image_is_refused_in_one_line(tmp_path: Path) -> None:
    pipe, text, empty = (tmp_path / name for name in ("pipe", "text", "empty"))
    os.mkfifo(pipe)
    text.write_text("words\nand more")
    empty.touch()
    reasons = {
        pipe: "is not a file",
        tmp_path: "is not a file",
        text: "is not an image; PNG, ",
        empty: "is empty",
        tmp_path / "none": "cannot be read: No such file or directory",
    }
    for path, reason in reasons.items():
        with pytest.raises(TuiGenError, match=f"{path} {reason}") as told:
            read_levels(path, GREYS)
        assert "\n" not in str(told.value)


def test_a_program_in_a_picture_language_is_no_image(tmp_path: Path) -> None:
    Image.new("L", (3, 2)).save(tmp_path / "page.eps")
    with pytest.raises(TuiGenError, match="is not an image"):
        read_levels(tmp_path / "page.eps", GREYS)


@pytest.mark.parametrize("form", ["PNG", "JPEG", "GIF", "WEBP", "TIFF"])
def test_a_damaged_file_is_refused_in_one_line(form: str, tmp_path: Path) -> None:
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 255, (40, 60), dtype=np.uint8))
    noise.save(tmp_path / "cut", form)
    content = (tmp_path / "cut").read_bytes()
    (tmp_path / "cut").write_bytes(content[: len(content) // 2])
    with pytest.raises(TuiGenError, match=r"cut is (damaged or of a kind|not an image)") as told:
        read_levels(tmp_path / "cut", GREYS)
    assert "\n" not in str(told.value)


def test_an_immense_picture_in_a_small_file_is_refused_before_it_is_unpacked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Image.new("1", (8000, 7000)).save(tmp_path / "bomb.png")  # 56 million pixels
    monkeypatch.setattr(Image.Image, "load", lambda self: pytest.fail("was unpacked"))
    with pytest.raises(TuiGenError, match="has more than 50 million pixels; make it smaller first"):
        read_levels(tmp_path / "bomb.png", GREYS)


def test_one_that_pillow_itself_refuses_or_warns_of_is_told_alike(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Image.new("1", (300, 200)).save(tmp_path / "bomb.png")
    for limit in (20_000, 50_000):  # Pillow refuses twice its limit and warns of less
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", limit)
        monkeypatch.setattr(read_module, "MAX_FILE_PIXELS", limit)
        with warnings.catch_warnings(record=True) as said, pytest.raises(TuiGenError, match="million pixels"):
            read_levels(tmp_path / "bomb.png", GREYS)
        assert said == []
