"""Draws what is inside a model that draws: features as small pictures, units that follow something, the prompt."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import chain, zip_longest
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from rich.cells import cell_len
from textual.geometry import Size

from tui_gen.card import Colour
from tui_gen.images.picture import HOTTEST, UNDRAWN, Pixels, heat, signed
from tui_gen.images.raster import BLANK, Cell, Raster, pointed
from tui_gen.inspection.units import chance, matches
from tui_gen.sampling.params import Floats
from tui_gen.terminal_text import scrub_line
from tui_gen.tui.widgets.cells import bar, fit
from tui_gen.tui.widgets.inside_drawing import GLYPHS, STEPS, Line, Piece, cut, joined, level, sentences
from tui_gen.tui.widgets.inside_influence import WAITS
from tui_gen.tui.widgets.inside_units import Ranking
from tui_gen.tui.widgets.inside_window import PictureInside, PromptToken, Values, Window

Block = list[Line]
"""Lines that stand together."""
Point = tuple[int, int]
"""Row and column of a pixel."""
GAP, _LEAST_UNITS, MOST_SCALE = 2, 4, 8
"""Columns between pictures; how many units are wanted in sight; how large a pixel may become."""
_SHRINKS = (2, 4, 8, 16)
_NAME, _BAR = 20, 12
"""Columns of a layer's name and of a bar."""
_RANKS = 12


# --- features ---


def features_lines(window: Window, width: int, height: int) -> Block:
    """The features of a layer over the picture, a small picture for each unit, as many as have room."""
    picture = window.picture
    if not picture or not picture.layers or height < 1:
        return []
    if picture.features is None or not picture.features.shape[1]:
        return [[]]
    maps, bound = picture.features, _bound(picture.features)
    order = _by_movement(maps) if window.selection.order == "movement" else np.arange(maps.shape[1])
    head = _features_head(picture, window.selection.order, bound, width)
    room, least = Size(width, max(0, height - len(head))), min(maps.shape[1], _LEAST_UNITS)
    grid = _grid(picture, room, count=least, caption=1)
    first = min(window.selection.top, max(0, -(-len(order) // grid.columns) - grid.rows)) * grid.columns
    shown = order[first : first + grid.columns * grid.rows].tolist()
    blocks = [_unit_block(picture, unit, bound, grid) for unit in shown]
    rows = [side_by_side(blocks[at : at + grid.columns]) for at in range(0, len(blocks), grid.columns)]
    return [cut(line, width) for line in [*head, *chain.from_iterable(rows)][:height]]


def _features_head(picture: PictureInside, order: str, bound: float, width: int) -> Block:
    assert picture.features is not None
    title = f" layer {picture.layer + 1} of {len(picture.layers)} · {scrub_line(picture.layers[picture.layer])}"
    words = "those that move most first" if order == "movement" else "by number"
    facts = f" · {picture.features.shape[1]} units, {words}"
    return [
        [Piece(fit(title, min(width, cell_len(title))), strong=True), Piece(facts)],
        _scale_line(picture, bound),
    ]


def _scale_line(picture: PictureInside, bound: float) -> Line:
    """What the colours, or the characters, mean; and where the features stand."""
    steps = range(-STEPS, STEPS + 1)
    if picture.glyphs:
        swatches = [Piece(GLYPHS[step], step) for step in steps]
    else:
        swatches = [Piece("██", colours=(_colour(signed(np.array(step / STEPS))), None)) for step in steps]
    mark = " · X the pixel at the cursor" if picture.pixel is not None else ""
    ahead = f" · {picture.lead} pixels ahead" if picture.lead > 0 else ""
    return [Piece(f" {-bound:+.2g} "), *swatches, Piece(f" {bound:+.2g}{mark}{ahead}")]


def _bound(maps: Values) -> float:
    """The end of the scale: beyond it are two values in a hundred."""
    known = np.abs(maps[~np.isnan(maps)])
    return max(1e-6, float(np.percentile(known, 98))) if len(known) else 1.0


def _by_movement(maps: Values) -> NDArray[np.intp]:
    """Units that move most first, by whole quarters of the picture, so that the order lasts while it is drawn."""
    known = maps[~np.isnan(maps[:, 0])]
    quarter = max(1, len(maps) // 4)
    seen = known[: max(quarter, len(known) // quarter * quarter)]
    return np.argsort(-seen.std(axis=0), kind="stable") if len(seen) else np.arange(maps.shape[1])


class Grid(NamedTuple):
    """How small pictures are drawn."""

    scale: int
    shrink: int
    """How many pixels in a row and in a column become one."""
    columns: int
    rows: int
    """Of pictures."""


def _grid(picture: PictureInside, room: Size, *, count: int = 1, caption: int = 0) -> Grid:
    """The largest pictures of which so many have room, each with lines for a caption; the smallest where none has."""
    for scale, shrink in (*((scale, 1) for scale in range(MOST_SCALE, 0, -1)), *((1, by) for by in _SHRINKS)):
        across, down = _size(picture, scale, shrink)
        columns, rows = max(0, room.width + GAP) // (across + GAP), max(0, room.height) // (down + caption)
        if columns * rows >= count:
            break
    return Grid(scale, shrink, max(1, columns), max(1, rows))


def _size(picture: PictureInside, scale: int, shrink: int) -> tuple[int, int]:
    """Columns and lines of a picture; two rows of pixels share a line."""
    image = picture.image
    return Raster(scale=scale).size(-(-image.height // shrink), -(-image.width // shrink))


def _unit_block(picture: PictureInside, unit: int, bound: float, grid: Grid) -> Block:
    assert picture.features is not None
    values = picture.features[:, unit]
    now = "" if picture.pixel is None or np.isnan(values[picture.pixel]) else f" {values[picture.pixel]:+.2f}"
    width = _size(picture, grid.scale, grid.shrink)[0]
    return [*_signed_block(picture, values / bound, grid), [Piece(fit(f"{unit}{now}", width), 0)]]


def _signed_block(picture: PictureInside, shares: Floats | Values, grid: Grid) -> Block:
    """shares: [pixels], from -1 to 1 on the scale."""
    image, scale, shrink = picture.image, grid.scale, grid.shrink
    values = _shrunk(shares.reshape(image.height, image.width), shrink, shrink)
    point = _point(picture, shrink)
    if not picture.glyphs:
        return coloured_block(signed(values), scale, point)
    values = _shrunk(values.repeat(scale, axis=0).repeat(scale, axis=1), 2, 1)
    signs = [[_glyph(share) for share in row] for row in values.tolist()]
    if point:
        signs[point[0] * scale // 2][point[1] * scale] = Piece("X", strong=True)
    return [joined(row) for row in signs]


def _glyph(share: float) -> Piece:
    if np.isnan(share):
        return Piece(" ")
    step = level(share, 1.0)
    return Piece(GLYPHS[step], step)


def _point(picture: PictureInside, shrink: int = 1) -> Point | None:
    if picture.pixel is None:
        return None
    row, column = divmod(picture.pixel, picture.image.width)
    return row // shrink, column // shrink


def _shrunk(values: Floats | Values, down: int, across: int) -> Floats:
    """Means of blocks of so many rows and columns, of what is known in them; NaN where nothing is."""
    if down == across == 1:
        return values.astype(np.float64)
    height, width = (-(-size // step) for size, step in zip(values.shape, (down, across), strict=True))
    padded = np.full((height * down, width * across), np.nan)
    padded[: values.shape[0], : values.shape[1]] = values
    blocks = padded.reshape(height, down, width, across)
    count = (~np.isnan(blocks)).sum(axis=(1, 3))
    sums = np.nansum(blocks, axis=(1, 3))
    return np.where(count > 0, sums / np.maximum(count, 1), np.nan)


def coloured_block(pixels: Pixels, scale: int, point: Point | None) -> Block:
    """In half blocks, with a mark on a pixel."""
    raster, lines = Raster(scale=scale), Block()
    for number in range(raster.size(*pixels.shape[:2])[1]):
        cells = raster.row(pixels, number)
        lines.append(joined(_cells(pointed(raster, cells, pixels, number, point) if point else cells)))
    return lines


def _cells(cells: Iterable[Cell]) -> list[Piece]:
    return [
        Piece(cell.char, 0) if cell.char == BLANK else Piece(cell.char, colours=(cell.foreground, cell.background))
        for cell in cells
    ]


def _colour(pixel: Pixels) -> Colour:
    red, green, blue = pixel.tolist()
    return red, green, blue


def side_by_side(blocks: Sequence[Block], gap: int = GAP) -> Block:
    """Blocks of lines, each as wide as its longest line."""
    if not blocks:
        return []
    widths = [max((line_width(line) for line in block), default=0) for block in blocks]
    lines = Block()
    for parts in zip_longest(*blocks, fillvalue=Line()):
        line = Line()
        for part, width in zip(parts, widths, strict=True):
            line += [*part, Piece(" " * (width - line_width(part) + gap))]
        lines.append(line)
    return lines


def line_width(line: Line) -> int:
    """In columns."""
    return sum(cell_len(piece.text) for piece in line)


# --- units that follow something ---


def picture_ranking(window: Window) -> Ranking | None:
    """The units of the layer by how closely they follow something in the picture; none before they are known."""
    picture = window.picture
    if not picture or not picture.layers:
        return None
    features = np.zeros((picture.rgb[..., 0].size, 0), np.float32) if picture.features is None else picture.features
    known = ~np.isnan(features).any(axis=1) & (picture.rgb.reshape(-1, 3)[:, 0] != UNDRAWN)
    hidden, layer = features[known], picture.layers[picture.layer]
    series = {name: values[known] for name, values in _properties(picture).items()}
    series = {name: values for name, values in series.items() if len(values) and values.min() < values.max()}
    if not series:
        return Ranking(layer, hidden, (), "", [])
    name = window.selection.trait if window.selection.trait in series else next(iter(series))
    order = matches(hidden, series[name], count=hidden.shape[1])
    return Ranking(layer, hidden, tuple(series), name, order, chance(hidden, series[name]) if order else 0.0)


def _properties(picture: PictureInside) -> dict[str, Floats]:
    """What can be said of each pixel, [pixels]: it is what the features at its place are for."""
    image, rgb = picture.image, np.maximum(picture.rgb, 0)
    bright = (rgb @ np.array([0.299, 0.587, 0.114])) / 255
    above, left = np.roll(bright, 1, axis=0), np.roll(bright, 1, axis=1)
    above[0], left[:, 0] = 0, 0
    rows, columns = np.indices((image.height, image.width)).astype(np.float64)
    series = {
        "how bright the pixel becomes": bright,
        "the pixel to the left": left,
        "the pixel above": above,
        "an edge from above": np.abs(bright - above),
        "an edge from the left": np.abs(bright - left),
        "the row": rows,
        "the column": columns,
    }
    return {name: values.ravel() for name, values in series.items()}


def picture_units_lines(window: Window, width: int, height: int) -> Block:
    """A unit over the picture, and the units that follow something in it."""
    picture, order = window.picture, picture_ranking(window)
    if not picture or not picture.layers or height < 1:
        return []
    if not order or not order.hidden.shape[1] or picture.features is None:
        return [[]]
    unit, bound = order.unit(window.selection.pin), _bound(picture.features)
    title = f" layer {picture.layer + 1} of {len(picture.layers)} · {scrub_line(order.layer)} · unit {unit}"
    head: Block = [[Piece(title, strong=True)], _scale_line(picture, bound)]
    ranks = _rank_lines(order, unit, min(_RANKS, max(3, height - len(head))))
    beside = max(line_width(line) for line in ranks)
    grid = _grid(picture, Size(width - beside - GAP - 1, height - len(head)))
    block = _signed_block(picture, picture.features[:, unit] / bound, grid)
    lines = [*head, *([Piece(" "), *line] for line in side_by_side([block, ranks]))]
    return [cut(line, width) for line in lines[:height]]


def _rank_lines(order: Ranking, unit: int, room: int) -> Block:
    if not order.trait:
        return [[Piece("nothing changes in this picture yet")]]
    head: Block = [
        [Piece(f"follow: {order.trait}", strong=True)],
        [Piece(f"by chance up to {order.chance:.2f} · a: something else")],
    ]
    at = next((at for at, match in enumerate(order.matches) if match.unit == unit), 0)
    top = max(0, at - max(1, room - 2) + 1)
    for match in order.matches[top : top + room - 2]:
        mark = ">" if match.unit == unit else " "
        head.append(
            [
                Piece(f"{mark} unit {match.unit:>4} {match.correlation:+.2f} ", strong=match.unit == unit),
                Piece(bar(abs(match.correlation), _BAR), 1 if match.correlation > 0 else -1),
            ]
        )
    return head


# --- the prompt ---


def prompt_lines(window: Window, width: int, height: int) -> Block:
    """The tokens before the picture, and what they move in it."""
    picture = window.picture
    if not picture or height < 1:
        return []
    head: Block = [[Piece(f" {'position':>8} {'id':>6}  {'token':28} bits without it", strong=True)]]
    head += [_prompt_line(picture, token) for token in picture.prompt]
    head += [line for text in _prompt_facts(picture) for line in sentences(text, width)]
    if not any(token.is_phrase for token in picture.prompt):
        return [cut(line, width) for line in head[:height]]
    if not picture.effect:
        return [cut(line, width) for line in [*head, *sentences(WAITS, width)][:height]]
    room = height - len(head)
    beside = _moved_lines(picture, room)
    taken = max(line_width(line) for line in beside) + GAP + 1
    counts = _heat_block(picture, picture.effect.bits, Size(width - taken, room))
    lines = [*head, *([Piece(" "), *line] for line in side_by_side([counts, beside]))]
    return [cut(line, width) for line in lines[:height]]


def _heat_block(picture: PictureInside, bits: Floats, room: Size) -> Block:
    """Bits of each pixel on a scale of their own, with its end."""
    most, image = max(1e-3, float(np.nanmax(bits, initial=0.0))), picture.image
    grid = _grid(picture, Size(room.width, room.height - 1))
    title: Block = [[Piece("where it counts", strong=True), Piece(f": up to {most:.2g} bits")]]
    if picture.glyphs:
        return [*title, *_signed_block(picture, bits / most, grid)]
    values = _shrunk((bits / most * HOTTEST).reshape(image.height, image.width), grid.shrink, grid.shrink)
    return [*title, *coloured_block(heat(values), grid.scale, _point(picture, grid.shrink))]


def _prompt_line(picture: PictureInside, token: PromptToken) -> Line:
    where = f"{token.first}" if token.past == token.first + 1 else f"{token.first} to {token.past - 1}"
    text = {"start": "begins every picture", "ahead": "the layers above run ahead"}.get(token.text, token.text)
    bits = _bits_without(picture, token)
    return [Piece(f" {where:>8} {token.id:>6}  {fit(text, 28)} ", strong=token.is_phrase), Piece(bits)]


def _bits_without(picture: PictureInside, token: PromptToken) -> str:
    effect = picture.effect
    if not effect or not token.is_phrase:
        return ""
    bits = dict(effect.by_phrase).get(token.first, None if effect.by_phrase else effect.bits)
    if bits is None or np.isnan(bits).all():
        return ""
    here = bits[picture.pixel] if picture.pixel is not None else np.nan
    return f"{np.nanmean(bits):.3f} a pixel" + ("" if np.isnan(here) else f", {here:.3f} at this one")


def _prompt_facts(picture: PictureInside) -> list[str]:
    facts = []
    if picture.condition and any(token.is_phrase for token in picture.prompt):
        facts.append(f"they set {picture.condition} numbers of the state, which stay over the picture")
    if len(picture.image.copies) > 1:
        names = scrub_line(" and ".join(picture.image.copies))
        facts.append(f"guidance: {names} run side by side, their difference scaled")
    if not any(token.is_phrase for token in picture.prompt):
        facts.append("no prompt: nothing before the picture says what to draw")
    return facts


def _moved_lines(picture: PictureInside, room: int) -> Block:
    """How far the features of each layer are from those without the prompt."""
    assert picture.effect
    moved = dict(picture.effect.moved)
    rows: Block = [[Piece("features of this step, moved by it", strong=True)]]
    names = [name for name in picture.layers if name in moved]
    if len(names) > room - 1:
        names = sorted(sorted(names, key=lambda name: -moved[name])[: max(0, room - 1)], key=names.index)
    for name in names:
        share = min(1.0, moved[name])
        rows.append(
            [Piece(f"{fit(scrub_line(name), _NAME)} "), Piece(bar(share, _BAR), 1), Piece(f" {moved[name]:.0%}")]
        )
    return rows
