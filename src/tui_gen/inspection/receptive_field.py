"""The receptive field of a pixel: what of a picture a network can see of it, by the taps of its layers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import takewhile, zip_longest

import numpy as np
from numpy.typing import NDArray

from tui_gen.card import ImageSpec, LayerSpec
from tui_gen.errors import TuiGenError
from tui_gen.sampling.params import Mask

ITSELF, SEEN, ADDED, BLIND, FAR, LATER = "@#+o-."
"""A character for each pixel of a picture, as one pixel sees it."""
MEANINGS = {
    ITSELF: "itself",
    SEEN: "seen",
    ADDED: "added here",
    BLIND: "blind spot (within reach)",
    FAR: "out of reach",
    LATER: "not yet drawn",
}
_ONE_STACK, _TWO_STACKS = {"A", "B"}, ("vertical", "horizontal")
Taps = Sequence[tuple[int, int]]
IMAGE = -1
"""Among the sources of a layer: the picture itself."""
Source = tuple[int, Taps]
"""The number of a layer, or `IMAGE`, and through which taps it is looked at."""
_OWN: Taps = ((0, 0),)


@dataclass(frozen=True, eq=False)
class ReceptiveField:
    """What one pixel sees of a picture. Rows and columns count from 0."""

    row: int
    column: int
    sees: Mask
    """[height, width]: earlier pixels."""

    @property
    def summary(self) -> str:
        """Its size, for people."""
        earlier, visible, blind = (int(mask.sum()) for mask in (self.earlier, self.sees, self.blind_spot))
        return (
            f"row {self.row}, column {self.column} sees {visible:,} of {earlier:,} earlier pixels; blind spot {blind:,}"
        )

    @property
    def earlier(self) -> Mask:
        """[height, width]: what is drawn before the pixel."""
        target = self.row * self.sees.shape[1] + self.column
        return (np.arange(self.sees.size) < target).reshape(self.sees.shape)

    @property
    def blind_spot(self) -> Mask:
        """[height, width]: earlier pixels that it does not see, though it sees as far up and as far to a side."""
        rows, columns = np.nonzero(self.sees)
        within = np.zeros_like(self.sees)
        if len(rows):
            reach = int(np.abs(columns - self.column).max())
            within[rows.min() :, max(0, self.column - reach) : self.column + reach + 1] = True
        unseen: Mask = within & self.earlier & ~self.sees
        return unseen

    @property
    def dead_lines(self) -> list[str]:
        """Rows and columns of which nothing is seen, though what lies beyond is; by where they lie from the pixel."""
        rows, columns = np.nonzero(self.sees)
        if not len(rows):
            return []
        lines = []
        for axis, at, first, last, words in (
            (0, self.row, rows.min(), self.row, ("row", "up", "down")),
            (1, self.column, columns.min(), columns.max(), ("column", "left", "right")),
        ):
            reachable, seen = (np.atleast_1d(mask.any(axis=1 - axis)) for mask in (self.earlier, self.sees))
            for line in range(first, last + 1):
                if reachable[line] and not seen[line]:
                    away = f"{words[0]} {abs(line - at)} {words[1] if line < at else words[2]}"
                    lines.append(away if line != at else f"its own {words[0]}")
        return lines

    def signs(self, before: Mask | None = None) -> NDArray[np.str_]:
        """[height, width]: a character per pixel, as of `MEANINGS`. before: what was seen without the last layer."""
        added = self.sees & ~before if before is not None else np.zeros_like(self.sees)
        signs = np.select([added, self.sees, self.blind_spot, self.earlier], [ADDED, SEEN, BLIND, FAR], LATER)
        signs[self.row, self.column] = ITSELF
        return signs


def taps_field(image: ImageSpec, pixel: int, layer: int | None = None) -> Mask:
    """[height, width]: which earlier pixels reach a pixel, in raster order, through the taps of the layers up to one,
    the last one by default.

    Raises TuiGenError where the card does not tell how the layers follow each other.
    """
    sources, order = layer_sources(image.layers), _from_last_to_first(image.layers)
    if not sources:
        raise TuiGenError("the card does not tell which places the layers look at")
    needs = np.zeros((len(image.layers), image.height, image.width), dtype=bool)
    needs[order[0] if layer is None else layer].flat[pixel] = True
    field = np.zeros((image.height, image.width), dtype=bool)
    for number in order:
        for source, taps in sources[number] if needs[number].any() else []:
            seen = field if source == IMAGE else needs[source]
            seen |= _looked_at(needs[number], taps)
    field.flat[pixel:] = False  # of its own channels a pixel sees the earlier ones, which are no pixels
    return field


def field_of(image: ImageSpec, pixel: int) -> ReceptiveField | None:
    """The field of a pixel by the taps of all layers; None where the card does not tell them."""
    return ReceptiveField(*divmod(pixel, image.width), taps_field(image, pixel)) if stacks(image.layers) else None


def layer_sources(layers: Sequence[LayerSpec]) -> list[list[Source]]:
    """What each layer looks at; nothing where masks do not tell.

    One stack is a chain. Of two (van den Oord et al., Conditional Image Generation with PixelCNN Decoders, 2016) each
    is one, and a horizontal layer takes besides what the vertical one of its block has at the same place.
    """
    if stacks(layers) == 2:
        return _sources_of_two(layers)
    return [[(number - 1, layer.taps)] for number, layer in enumerate(layers)] if stacks(layers) else []


def stacks(layers: Sequence[LayerSpec]) -> int:
    """1 or 2; 0 where the masks do not tell."""
    masks = [layer.mask for layer in layers if looks_around(layer)]
    if not masks or not set(masks) <= {*_ONE_STACK, *_TWO_STACKS}:
        return 0
    split = next((at for at, mask in enumerate(masks) if mask in _TWO_STACKS), len(masks))
    if split == len(masks):
        return 1
    return 2 if set(masks[split:]) == {*_TWO_STACKS} else 0


def looks_around(layer: LayerSpec) -> bool:
    """Whether a layer looks at more than its own place."""
    return not set(layer.taps) <= {(0, 0)}


def _sources_of_two(layers: Sequence[LayerSpec]) -> list[list[Source]]:
    """Before both there may be a stem of one stack. The first vertical layer is linked to the first horizontal one only
    in a block that they share, or where there is nothing else.
    """
    pairs = [step for step in eye_steps(layers) if len(step) == 2]
    partners = {horizontal: vertical for vertical, horizontal in pairs}
    stem, last, sources = IMAGE, dict[str, int](), list[list[Source]]()
    for number, layer in enumerate(layers):
        stack = stack_of(layers, number)
        before = last.get(stack, stem)
        sources.append([(before, layer.taps)])
        linked = partners.get(number, IMAGE)
        if linked > IMAGE and (before != stem or len(pairs) == 1 or _shared_modules(layers[linked], layer)):
            sources[-1].append((linked, _OWN))
        if not stack:
            stem = number
        elif layer.mask or stack == "horizontal":
            last[stack] = number
        else:  # a link, beside the chain of its stack
            around = [at for at in range(number) if layers[at].mask == "vertical"]
            sources[-1] = [(max(around, key=lambda at: _shared_modules(layers[at], layer)), layer.taps)]
    return sources


def stack_of(layers: Sequence[LayerSpec], number: int) -> str:
    """`vertical` or `horizontal`; empty for a network of one stack, and for what comes before both. A layer that looks
    at its own place alone goes with the horizontal one before it, if there is one.
    """
    masks = [layer.mask for layer in layers[: number + 1]]
    if masks[-1] in _TWO_STACKS:
        return masks[-1]
    return next((stack for stack in reversed(_TWO_STACKS) if stack in masks), "")


def _from_last_to_first(layers: Sequence[LayerSpec]) -> list[int]:
    """The numbers of the layers, each before those that it looks at."""
    ranks = {"": 0, "vertical": 1, "horizontal": 2}
    return sorted(range(len(layers)), key=lambda number: (ranks[stack_of(layers, number)], number), reverse=True)


def eye_steps(layers: Sequence[LayerSpec]) -> list[tuple[int, ...]]:
    """The numbers of the layers that look around, in the order in which the field grows: of two stacks a vertical and a
    horizontal one together.
    """
    around = [number for number, layer in enumerate(layers) if looks_around(layer)] if stacks(layers) else []
    by_stack = {
        stack: [number for number in around if stack_of(layers, number) == stack] for stack in ("", *_TWO_STACKS)
    }
    pairs = zip_longest(*(reversed(by_stack[stack]) for stack in _TWO_STACKS))
    both = [tuple(number for number in pair if number is not None) for pair in pairs][::-1]
    return [*((number,) for number in by_stack[""]), *both]


def step_fields(image: ImageSpec, pixel: int) -> list[ReceptiveField]:
    """What the pixel sees after each of the `eye_steps`."""
    fields = list[ReceptiveField]()
    for step in eye_steps(image.layers):
        sees = np.logical_or.reduce([taps_field(image, pixel, layer) for layer in step])
        fields.append(ReceptiveField(*divmod(pixel, image.width), sees))
    return fields


def of_other_kind(image: ImageSpec) -> ImageSpec:
    """A picture whose network has two stacks in place of one, or one in place of two, with kernels of like sizes."""
    layers = list[LayerSpec]()
    for number, step in enumerate(eye_steps(image.layers)):
        taps = {tap for layer in step for tap in image.layers[layer].taps}
        above, beside = {tap for tap in taps if tap[0] < 0}, {tap for tap in taps if tap[0] == 0 and tap[1] <= 0}
        if stacks(image.layers) == 2:
            layers.append(LayerSpec(f"{number}", (*sorted(above | beside),), mask="B" if (0, 0) in beside else "A"))
            continue
        own_row = {(0, side * column) for _, column in beside for side in (1, -1)} if (0, 0) in beside else set()
        layers.append(LayerSpec(f"{number}.vertical", (*sorted(above | own_row),), mask="vertical"))
        layers.append(LayerSpec(f"{number}.horizontal", (*sorted(beside),), mask="horizontal"))
    return replace(image, layers=tuple(layers))


def _shared_modules(one: LayerSpec, other: LayerSpec) -> int:
    """In how many modules, one within the other, both layers lie by their names."""
    pairs = zip(one.name.split("."), other.name.split("."), strict=False)
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))


def _looked_at(places: Mask, taps: Taps) -> Mask:
    """The places within the picture that lie a tap away from some."""
    height, width = places.shape
    result = np.zeros_like(places)
    rows, columns = np.nonzero(places)
    for down, right in taps:
        row, column = rows + down, columns + right
        inside = (row >= 0) & (row < height) & (column >= 0) & (column < width)
        result[row[inside], column[inside]] = True
    return result
