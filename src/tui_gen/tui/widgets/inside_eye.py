"""Draws the eye of a PixelCNN: what a pixel sees of the picture, step by step through the layers, and their masks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from textual.geometry import Size

from tui_gen.card import Colour, LayerSpec
from tui_gen.images.picture import UNDRAWN, Pixels
from tui_gen.images.raster import BLANK
from tui_gen.inspection.receptive_field import (
    ADDED,
    BLIND,
    FAR,
    ITSELF,
    LATER,
    MEANINGS,
    SEEN,
    ReceptiveField,
    eye_steps,
    of_other_kind,
    stacks,
    step_field,
)
from tui_gen.sampling.params import Mask
from tui_gen.terminal_text import scrub_line
from tui_gen.tui.widgets.inside_drawing import Line, Piece, cut, joined, sentences
from tui_gen.tui.widgets.inside_picture import (
    GAP,
    MOST_SCALE,
    Block,
    coloured_block,
    line_width,
    side_by_side,
)
from tui_gen.tui.widgets.inside_window import PictureInside, Window

NO_FIELD = (
    "the card does not tell which places the layers look at; tui-gen inspect --audit measures what a pixel sees, "
    "and 3 here what it rests on"
)
NOT_YET = "the picture has not begun; → walks on to its first pixel"
_SIGHT = {SEEN: 2, ADDED: 3, BLIND: -3, FAR: 0, LATER: 0}
"""Where each sign stands on the scale."""
_COLOURS: dict[str, Colour] = {
    ITSELF: (255, 255, 255),
    SEEN: (105, 175, 235),
    ADDED: (255, 240, 150),
    BLIND: (190, 45, 45),
    FAR: (55, 55, 62),
}
_KINDS = {1: "one stack", 2: "two stacks"}
_TINT = 0.65
"""The share of these colours; the rest is the pixel's own."""
_FOOT = "by the taps of the layers; {} computed from kernels of the same sizes"
_WIDEST_KERNEL = 15
"""Columns of the largest kernel that is drawn."""


class Sight(NamedTuple):
    """What a pixel sees after a step through the layers of a network."""

    name: str
    """Of which network."""
    field: ReceptiveField
    before: Mask
    """[height, width]: what it sees without this step."""

    @property
    def size(self) -> str:
        """In a few words."""
        return f"sees {self.field.sees.sum():,}, blind spot {self.field.blind_spot.sum():,}"


def eye_lines(window: Window, width: int, height: int) -> Block:
    """What the pixel at the cursor sees after a step through the layers, beside a network of the other kind."""
    picture = window.picture
    if not picture or height < 1:
        return []
    steps, pixel = eye_steps(picture.image.layers), picture.pixel
    if not steps or pixel is None:
        return [cut(line, width) for line in sentences(NOT_YET if steps else NO_FIELD, width)[:height]]
    number, own = window.selection.step % len(steps), stacks(picture.image.layers)
    images = {f"this model, {_KINDS[own]}": picture.image, f"computed, {_KINDS[3 - own]}": of_other_kind(picture.image)}
    sights = [
        Sight(name, step_field(image, pixel, number), step_field(image, pixel, number - 1).sees)
        for name, image in images.items()
    ]
    head, legend = _head(picture, sights[0], number), _legend(picture, width)
    foot = [*sentences(_FOOT.format(_KINDS[3 - own]), width), *legend]
    foot = foot if len(foot) + len(head) + 8 <= height else legend if len(legend) + len(head) + 4 <= height else []
    room = max(1, height - len(head) - len(foot))
    drawing = [[Piece(" "), *line] for line in _drawing(picture, sights, number, Size(width - 1, room))]
    return [cut(line, width) for line in [*head, *drawing[:room], *foot][:height]]


def _head(picture: PictureInside, sight: Sight, number: int) -> Block:
    steps = eye_steps(picture.image.layers)
    names = " and ".join(picture.image.layers[layer].name for layer in steps[number])
    field, added = sight.field, int((sight.field.sees & ~sight.before).sum())
    return [
        [Piece(f" after step {number + 1} of {len(steps)}", strong=True), Piece(f" · {scrub_line(names)}")],
        [
            Piece(
                f" sees {field.sees.sum():,} of {field.earlier.sum():,} earlier pixels, {added:,} of them by this step"
            )
        ],
    ]


def _drawing(picture: PictureInside, sights: Sequence[Sight], number: int, room: Size) -> Block:
    """The model's own field, the other kind's and the kernels, as far as there is room for them."""
    layers = [picture.image.layers[layer] for layer in eye_steps(picture.image.layers)[number]]
    spaced, tight = ([_kernel(layer, gap) for layer in layers] for gap in (" ", ""))
    for count, kernels in ((2, spaced), (2, tight), (2, []), (1, tight), (1, [])):
        column = [line for kernel in kernels for line in (*kernel, Line())][:-1]
        taken = max((line_width(line) + GAP for line in column), default=0)
        columns = (room.width - taken - GAP * (count - 1)) // count
        if columns >= picture.image.width:
            break
    fields = [_field_block(picture, sight, Size(max(1, columns), room.height)) for sight in sights[:count]]
    lines = side_by_side([*fields, *([column] if column else [])])
    below = [] if column else [Line(), *side_by_side(spaced)]
    return [*lines, *below] if len(lines) + len(below) <= room.height else lines


def _field_block(picture: PictureInside, sight: Sight, room: Size) -> Block:
    """Two lines of words, then the picture, at the largest scale that has room, or what is around the pixel."""
    field, signs = sight.field, sight.field.signs(sight.before)
    caption: Block = [[Piece(sight.name, strong=True)], [Piece(sight.size)]]
    lines = max(1, room.height - len(caption))
    rows = _around(field.row, len(signs), lines if picture.glyphs else lines * 2)
    columns = _around(field.column, signs.shape[1], room.width)
    part = signs[rows, columns]
    if picture.glyphs:
        return [*caption, *(joined([_sign(each) for each in row]) for row in part.tolist())]
    scale = max(1, min(MOST_SCALE, room.width // part.shape[1], lines * 2 // len(part)))
    return [
        *caption,
        *coloured_block(
            _tinted(picture.rgb[rows, columns], part), scale, (field.row - rows.start, field.column - columns.start)
        ),
    ]


def _around(at: int, size: int, room: int) -> slice:
    """As much as there is room for, with a little after the place: what is seen lies before it."""
    start = max(0, min(at - room + max(1, room // 4), size - room))
    return slice(start, start + room)


def _sign(sign: str) -> Piece:
    return Piece(sign, strong=True) if sign == ITSELF else Piece(sign, _SIGHT[sign], sign == ADDED)


def _tinted(rgb: Pixels, signs: NDArray[np.str_]) -> Pixels:
    """The picture, each pixel in the colour of its sign."""
    pixels = np.full_like(rgb, UNDRAWN)
    for sign, colour in _COLOURS.items():
        own = rgb[signs == sign] @ np.array([[0.299], [0.587], [0.114]])  # grey, so that the sign alone has a colour
        pixels[signs == sign] = np.where(own < 0, colour, (1 - _TINT) * own + _TINT * np.array(colour))
    return pixels


def _legend(picture: PictureInside, width: int) -> Block:
    """What the signs mean, in as many lines as they take."""
    lines, line = Block(), [Piece(" ")]
    for sign, meaning in MEANINGS.items():
        part = [*_swatch(picture, sign), Piece(f" {meaning.partition(' (')[0]}  ")]
        if line_width(line) + line_width(part) > width + 2 and len(line) > 1:
            lines.append(line)
            line = [Piece(" ")]
        line += part
    return [*lines, line]


def _swatch(picture: PictureInside, sign: str) -> list[Piece]:
    if picture.glyphs:
        return [_sign(sign)]
    if sign == LATER:
        return [Piece(BLANK, 0)]
    if sign == ITSELF:
        return [Piece("X", colours=((0, 0, 0), _COLOURS[sign]))]
    return [Piece("█", colours=(_COLOURS[sign], None))]


def _kernel(layer: LayerSpec, gap: str) -> Block:
    """The mask of a layer as it stands in the kernel: 1 for a place that is looked at."""
    taps = {(row // layer.dilation, column // layer.dilation) for row, column in layer.taps}
    up, aside = max(abs(row) for row, _ in taps), max(abs(column) for _, column in taps)
    is_raster = layer.mask in ("A", "B")
    size = f"{2 * up + 1 if is_raster else up + 1}x{2 * aside + 1}"
    title: Block = [[Piece(f"mask {layer.mask}" if is_raster else layer.mask, strong=True), Piece(f" {size}")]]
    title += [[Piece(f"dilation {layer.dilation}")]] if layer.dilation > 1 else []
    if 2 * aside + 1 > _WIDEST_KERNEL:
        return title
    for row in range(-up, up + 1 if is_raster else 1):
        cells = [
            Piece(
                ("1" if (row, column) in taps else "0") + gap,
                2 if (row, column) in taps else 0,
                (row, column) == (0, 0),
            )
            for column in range(-aside, aside + 1)
        ]
        title.append(joined(cells))
    return title
