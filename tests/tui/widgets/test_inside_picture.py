"""What is inside a model that draws is drawn on the picture, whatever the room; it reads without colour."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tui_gen.card import ImageSpec, LayerSpec
from tui_gen.images.picture import UNDRAWN, signed
from tui_gen.inspection.conditioning import PromptEffect
from tui_gen.tui.widgets.inside_drawing import GLYPHS, Line, Piece
from tui_gen.tui.widgets.inside_eye import NO_FIELD, NOT_YET, eye_lines
from tui_gen.tui.widgets.inside_influence import WAITS
from tui_gen.tui.widgets.inside_picture import features_lines, picture_ranking, picture_units_lines, prompt_lines
from tui_gen.tui.widgets.inside_window import PictureInside, PromptToken, Selection, Window

HEIGHT, WIDTH, UNITS = 8, 10, 12
FIRST = tuple((row, column) for row in (-1, 0) for column in (-1, 0, 1) if row or column < 0)
LAYERS = (
    LayerSpec("first", FIRST, mask="A"),
    LayerSpec("mix", ((0, 0),)),
    LayerSpec("second", (*FIRST, (0, 0)), mask="B"),
)
IMAGE = ImageSpec(HEIGHT, WIDTH, 4, conditions=(5, 6), layers=LAYERS)
PIXEL = 5 * WIDTH + 4
PROMPT = (PromptToken(0, 1, 4, "start"), PromptToken(1, 2, 5, "boot", True), PromptToken(2, 6, 7, "ahead"))


def inside(pixel: int | None = PIXEL, *, glyphs: bool = True, **facts: object) -> Window:
    """Unit u is u / UNITS everywhere that is drawn, but unit 3, which is the column."""
    rgb = np.full((HEIGHT, WIDTH, 3), UNDRAWN, dtype=np.int16)
    rgb.reshape(-1, 3)[: 6 * WIDTH] = np.arange(6 * WIDTH)[:, None] * 4 % 256
    features = np.full((HEIGHT * WIDTH, UNITS), np.nan, dtype=np.float32)
    features[: 6 * WIDTH] = np.arange(UNITS) / UNITS
    features[: 6 * WIDTH, 3] = np.tile(np.linspace(-1, 1, WIDTH), 6)
    picture = PictureInside(IMAGE, pixel, rgb, glyphs, ("first", "mix", "second"), 2, 0, features, PROMPT)
    return Window({}, ["2"], 0, title="pixel 55", picture=replace(picture, **facts))  # type: ignore[arg-type]


def chosen(window: Window | None = None, **facts: object) -> Window:
    return replace(window or inside(), selection=replace(Selection(), **facts))  # type: ignore[arg-type]


def texts(lines: list[Line]) -> list[str]:
    return ["".join(piece.text for piece in line) for line in lines]


def test_each_unit_is_a_small_picture_with_its_value_at_the_cursor() -> None:
    drawn = texts(features_lines(chosen(order="number"), 46, 8))
    assert drawn[0] == " layer 3 of 3 · second · 12 units, by number"
    assert drawn[6].split() == ["0", "+0.00", "1", "+0.08", "2", "+0.17", "3", "-0.11"]
    ramp = drawn[2][36:46]
    assert ramp == "≡≡=-··+*##"  # the column; the scale ends where few values are beyond
    assert [line[4] for line in drawn[2:6]] == ["·", "·", "X", " "]
    moving = texts(features_lines(inside(), 46, 8))
    assert moving[6].startswith("3 -0.11 ")


def test_in_colour_each_pixel_has_its_place_on_the_scale() -> None:
    lines = features_lines(chosen(inside(glyphs=False), order="number"), 46, 8)
    cells = [piece for piece in lines[2] for _ in piece.text]
    colours = [cell.colours[0] for cell in cells[36:46] if cell.colours and cell.colours[0]]
    ends = [tuple(signed(np.array(share)).tolist()) for share in (-1.0, 1.0)]
    assert [colours[0], colours[-1]] == ends
    assert len(set(colours)) == WIDTH
    assert [sum(colour) for colour in colours] == sorted(sum(colour) for colour in colours)


def test_the_eye_counts_what_is_seen_and_marks_the_blind_spot() -> None:
    window = inside()
    drawn = texts(eye_lines(window, 79, 22))
    assert drawn[0] == " after step 2 of 2 · second"
    assert drawn[1] == " sees 11 of 54 earlier pixels, 7 of them by this step"
    assert drawn[2].split("  ")[:1] == [" this model, one stack"]
    assert "computed, two stacks" in drawn[2]
    assert drawn[3].startswith(" sees 11, blind spot 1 ")
    assert "sees 12, blind spot 0" in drawn[3]
    assert [line[1:11] for line in drawn[7:11]] == ["--+++++---", "--+###o---", "--+#@.....", ".........."]
    assert "mask B 3x3" in drawn[2]
    assert [line.rstrip()[-5:] for line in drawn[3:6]] == ["1 1 1", "1 1 0", "0 0 0"]
    first = texts(eye_lines(chosen(window, step=0), 79, 22))
    assert first[0] == " after step 1 of 2 · first"
    assert first[1] == " sees 4 of 54 earlier pixels, 4 of them by this step"
    assert "mask A 3x3" in first[2]
    assert [line.rstrip()[-5:] for line in first[3:6]] == ["1 1 1", "1 0 0", "0 0 0"]


def test_the_eye_says_why_there_is_nothing_to_see() -> None:
    assert "".join(texts(eye_lines(inside(None), 200, 9))).strip() == NOT_YET
    bare = inside(image=replace(IMAGE, layers=()))
    assert "".join(texts(eye_lines(bare, 200, 9))).strip() == NO_FIELD


def test_units_are_ranked_by_what_they_follow_in_the_picture() -> None:
    order = picture_ranking(inside())
    assert order
    assert {"the row", "the column", "how bright the pixel becomes"} <= set(order.traits)
    early = picture_ranking(inside(features=None))
    assert early
    assert early.traits == order.traits
    drawn = texts(picture_units_lines(chosen(trait="the column"), 79, 20))
    assert "· second · unit 3" in drawn[0]
    assert any("> unit    3 +1.00" in line for line in drawn)
    assert any("follow: the column" in line for line in drawn)
    assert "unit 5" in texts(picture_units_lines(chosen(trait="the column", pin=5), 79, 20))[0]


def effect(*phrases: int) -> PromptEffect:
    bits = np.full(HEIGHT * WIDTH, np.nan)
    bits[: 6 * WIDTH] = 0.5
    bits[PIXEL] = 3.0
    return PromptEffect(bits, tuple((at, bits / 2) for at in phrases), (("first", 0.25), ("second", 0.5)))


def test_the_prompt_stands_token_by_token_with_what_it_moves() -> None:
    assert WAITS in " ".join(texts(prompt_lines(inside(), 79, 20)))
    drawn = texts(prompt_lines(inside(effect=effect(), condition=9), 79, 20))
    rows = [line.split() for line in drawn[1:4]]
    assert rows[0] == ["0", "4", "begins", "every", "picture"]
    assert rows[1] == ["1", "5", "boot", "0.542", "a", "pixel,", "3.000", "at", "this", "one"]
    assert rows[2][:4] == ["2", "to", "5", "7"]
    assert " they set 9 numbers of the state, which stay over the picture" in drawn
    assert any("up to 3 bits" in line for line in drawn)
    assert any(line.rstrip().endswith(" 25%") and "first" in line for line in drawn)
    alone = texts(prompt_lines(inside(effect=effect(1)), 79, 20))
    assert "0.271 a pixel, 1.500 at this one" in alone[2]
    guided = inside(image=replace(IMAGE, copies=("prompted", "unprompted")))
    assert "guidance: prompted and unprompted run side by side" in " ".join(texts(prompt_lines(guided, 79, 20)))
    unprompted = texts(prompt_lines(inside(prompt=PROMPT[:1]), 79, 20))
    assert "no prompt" in unprompted[2]


def test_names_of_a_foreign_file_are_made_harmless() -> None:
    name = "bad\x1b]0;title\x07"
    image = replace(IMAGE, layers=(replace(LAYERS[0], name=name),), copies=("prompted", name))
    window = inside(image=image, layers=(name,), layer=0, effect=replace(effect(), moved=((name, 0.5),)))
    for draw in (features_lines, eye_lines, picture_units_lines, prompt_lines):
        drawn = "".join(texts(draw(window, 200, 30)))
        assert "bad" in drawn
        assert "\x1b" not in drawn
        assert "\x07" not in drawn


@pytest.mark.parametrize("glyphs", [True, False])
@pytest.mark.parametrize("width", [1, 5, 12, 40, 300])
@pytest.mark.parametrize("height", [0, 1, 2, 5, 12, 60])
def test_any_room_is_drawn(width: int, height: int, *, glyphs: bool) -> None:
    for window in (inside(glyphs=glyphs, effect=effect(1)), inside(None, glyphs=glyphs), inside(features=None)):
        for draw in (features_lines, eye_lines, picture_units_lines, prompt_lines):
            lines = draw(window, width, height)
            assert len(lines) <= max(0, height)
            assert all(len(text) <= width for text in texts(lines))
            assert all(isinstance(piece, Piece) for line in lines for piece in line)
    assert set(GLYPHS.values()) >= set("".join(texts(features_lines(inside(), 60, 30))[2:6])) - set("X ")
