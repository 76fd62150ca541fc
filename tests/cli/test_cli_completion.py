"""Completing a picture on the command line."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageSequence

from tests.conftest import Run
from tests.support import toys
from tui_gen.images.encode import png
from tui_gen.images.picture import Picture

SPEC_GREYS = (0, 128, 255)


@pytest.fixture
def bright(tmp_path: Path, image: Any) -> Path:
    """A white picture for the toy model."""
    picture: Picture = image.codec.picture(1)
    picture.preset(np.full((toys.HEIGHT, toys.WIDTH), 2))
    (tmp_path / "bright.png").write_bytes(png(picture))
    return tmp_path / "bright.png"


def small(content: bytes, scale: int = 85) -> Any:
    """The pixels [height, width, 4] of a PNG that was enlarged."""
    with Image.open(io.BytesIO(content)) as opened:
        return np.asarray(opened)[::scale, ::scale].astype(int)


def test_what_is_erased_is_drawn_and_the_rest_stays(tui_gen: Run, bright: Path) -> None:
    done = tui_gen("generate", "image", "-t", "0", "--image", str(bright), "--erase", "rows:2-3", "--format", "png")
    assert done.returncode == 0
    drawn = small(done.stdout)
    assert (drawn[:2] == 255).all()
    assert (drawn[2:, :, 0] == toys.STRIPE_GREYS[2:]).all()
    [report] = done.stderr.decode().splitlines()
    assert " 12 tokens in " in report


def test_several_parts_can_be_erased_and_several_samples_drawn(tui_gen: Run, bright: Path) -> None:
    parts = ("--erase", "rect:0,0,1,1", "--erase", "pixel:5,3")
    command = ("generate", "image", "-t", "0", "-n", "3", "--image", str(bright), *parts)
    drawn = small(tui_gen(*command, "--format", "png").stdout)
    expected = np.full((4, 6), 255)
    expected[:2, :2], expected[3, 5] = toys.STRIPE_GREYS[:2, :2], toys.STRIPE_GREYS[3, 5]
    for left in (0, 7, 14):
        np.testing.assert_array_equal(drawn[:, left : left + 6, 0], expected)


def test_transparent_pixels_are_free_so_a_picture_that_was_cut_short_can_be_gone_on_with(
    tui_gen: Run, tmp_path: Path
) -> None:
    cut = tmp_path / "cut.png"
    tui_gen("generate", "image", "bright", "-t", "0", "-l", "9", "--format", "png", "-o", str(cut))
    done = tui_gen("generate", "image", "-t", "0", "--image", str(cut), "--format", "png")
    shown = small(done.stdout)[..., 0].ravel()
    assert (shown[:9] == 255).all()
    assert (shown[9:] == toys.STRIPE_GREYS.ravel()[9:]).all()


def test_the_length_0_shows_what_the_model_would_be_given(tui_gen: Run, bright: Path) -> None:
    command = ("generate", "image", "--image", str(bright), "--erase", "rows:0-1", "-l", "0")
    assert tui_gen(*command).stdout.decode().splitlines() == ["·" * 6, "@" * 6]
    shown = small(tui_gen(*command, "--format", "png").stdout)
    assert (shown[:2, :, 3] == 0).all()
    assert (shown[2:] == 255).all()


def test_the_length_counts_what_is_drawn(tui_gen: Run, bright: Path) -> None:
    done = tui_gen("generate", "image", "-t", "0", "--image", str(bright), "--erase", "rows:1-2", "-l", "8")
    assert b" 8 tokens in " in done.stderr


def test_json_lines_tell_the_places_of_what_was_drawn(tui_gen: Run, bright: Path) -> None:
    parts = ("--erase", "pixel:4,1", "--erase", "rows:3")
    done = tui_gen("generate", "image", "-n", "2", "--image", str(bright), *parts, "--format", "jsonl")
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    places = [(line["index"], line["row"], line["col"]) for line in lines if line["sample"] == 1]
    assert places == [(0, 1, 4), *((1 + col, 3, col) for col in range(6))]


def test_the_same_seed_completes_alike_in_every_format(tui_gen: Run, bright: Path) -> None:
    command = ("generate", "image", "-t", "2", "--seed", "4", "--image", str(bright), "--erase", "rows:0-3")
    lines = [json.loads(line)["id"] for line in tui_gen(*command, "--format", "jsonl").stdout.splitlines()]
    shown = small(tui_gen(*command, "--format", "png").stdout)[..., 0]
    np.testing.assert_array_equal(shown, np.array(SPEC_GREYS)[lines].reshape(4, 6))


def test_the_drawing_can_be_had_as_a_gif_that_starts_from_what_is_given(
    tui_gen: Run, bright: Path, tmp_path: Path
) -> None:
    gif = tmp_path / "drawing.gif"
    command = ("generate", "image", "-t", "0", "--format", "gif", "-o", str(gif))
    assert tui_gen(*command, "--image", str(bright), "--erase", "rows:3").returncode == 0
    with Image.open(gif) as opened:
        seen = [np.asarray(frame.convert("L")) for frame in ImageSequence.Iterator(opened)]
    assert len(seen) == 1 + 6
    assert (seen[0][: 3 * 85] == 255).all()
    assert (seen[-1][3 * 85 :: 85, ::85] == toys.STRIPE_GREYS[3]).all()


def test_a_picture_with_nothing_free_is_remarked_upon(tui_gen: Run, bright: Path) -> None:
    done = tui_gen("generate", "image", "--image", str(bright))
    assert (done.returncode, done.stdout) == (0, b"@@@@@@\n@@@@@@\n")
    remark, report = done.stderr.decode().splitlines()
    assert remark.endswith("so all of it is kept; --erase says what to draw anew")
    assert " 0 tokens in " in report


@pytest.mark.parametrize(
    ("words", "status", "reason"),
    [
        ("text --image BRIGHT", 2, "text writes text; --image and --erase are for models that draw pictures"),
        ("text --erase rows:1", 2, "text writes text; --image and --erase are for"),
        ("image --erase rows:1", 2, "--erase needs a picture to erase from; add --image FILE"),
        ("image --image BRIGHT --erase half", 2, "what to erase is rows:14-27, "),
        ("image --image BRIGHT --erase rows:3-4", 2, "3-4 is not inside the picture: columns 0-5, rows 0-3"),
        ("image --image /no/such/file", 1, "/no/such/file cannot be read: No such file or directory"),
        ("image --image /", 1, "/ is not a file"),
        ("image red --image BRIGHT", 1, "image cannot draw 'red'"),
    ],
)
def test_what_cannot_be_completed_is_told_in_one_line_and_no_file_is_touched(
    words: str, status: int, reason: str, tui_gen: Run, bright: Path, tmp_path: Path
) -> None:
    (tmp_path / "precious").write_text("years of work")
    done = tui_gen("generate", *words.replace("BRIGHT", str(bright)).split(), "-o", str(tmp_path / "precious"))
    assert (done.returncode, done.stdout) == (status, b"")
    [line] = done.stderr.decode().splitlines()
    assert reason in line
    assert (tmp_path / "precious").read_text() == "years of work"
