"""The receptive field of a pixel: what a picture's network can see of it by the taps of its layers."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import takewhile

import numpy as np

from tui_gen.card import ImageSpec, LayerSpec
from tui_gen.errors import TuiGenError
from tui_gen.sampling.params import Mask

_ONE_STACK, _TWO_STACKS = {"A", "B"}, ("vertical", "horizontal")
IMAGE = -1
"""Among the sources of a layer: the picture itself."""


def taps_field(image: ImageSpec, pixel: int, layer: int | None = None) -> Mask:
    """[height, width]: which earlier pixels reach a pixel, in raster order, through the taps of the layers up to one,
    the last one by default.

    Raises TuiGenError where the card does not tell how the layers follow each other.
    """
    sources = layer_sources(image.layers)
    if not sources:
        raise TuiGenError("the card does not tell which places the layers look at")
    last = len(image.layers) - 1 if layer is None else layer
    needs = np.zeros((last + 1, image.height, image.width), dtype=bool)
    needs[last].flat[pixel] = True
    field = np.zeros((image.height, image.width), dtype=bool)
    for number in range(last, -1, -1):
        for source, taps in sources[number]:
            seen = field if source == IMAGE else needs[source]
            seen |= _looked_at(needs[number], taps)
    field.flat[pixel:] = False  # of its own channels a pixel sees the earlier ones, which are no pixels
    return field


Taps = Sequence[tuple[int, int]]
Source = tuple[int, Taps]
"""The number of a layer, or `IMAGE`, and through which taps it is looked at."""
_OWN: Taps = ((0, 0),)


def layer_sources(layers: Sequence[LayerSpec]) -> list[list[Source]]:
    """What each layer looks at, all of it before the layer itself; nothing where masks do not tell.

    One stack is a chain. Of two (van den Oord et al., Conditional Image Generation with PixelCNN Decoders, 2016) each
    is one, and a horizontal layer takes besides what the vertical one of its block has at the same place.
    """
    masks = {layer.mask for layer in layers if not _is_pointwise(layer)}
    if masks and masks <= _ONE_STACK:
        return [[(number - 1, layer.taps)] for number, layer in enumerate(layers)]
    return _sources_of_two(layers) if masks == {*_TWO_STACKS} else []


def _sources_of_two(layers: Sequence[LayerSpec]) -> list[list[Source]]:
    verticals, horizontals = ([at for at, each in enumerate(layers) if each.mask == mask] for mask in _TWO_STACKS)
    sources = list[list[Source]]()
    for number, layer in enumerate(layers):
        before = [at for at in verticals if at < number], [at for at in horizontals if at < number]
        if layer.mask == "vertical":
            sources.append([(before[0][-1] if before[0] else IMAGE, layer.taps)])
        elif layer.mask == "horizontal":
            sources.append([(before[1][-1] if before[1] else IMAGE, layer.taps)])
            rank = len(before[1]) - len(horizontals)
            linked = verticals[rank] if -rank <= len(verticals) else IMAGE
            if IMAGE < linked < number and (before[1] or _shared_modules(layers[linked], layer)):
                sources[-1].append((linked, _OWN))
        elif before[1]:
            sources.append([(before[1][-1], layer.taps)])
        else:
            linked = max(before[0], default=IMAGE, key=lambda at: _shared_modules(layers[at], layer))
            sources.append([(linked, layer.taps)])
    return sources


def _is_pointwise(layer: LayerSpec) -> bool:
    return set(layer.taps) <= {(0, 0)}


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
