"""What goes on inside a model along a branch, computed where somebody looks and forgotten when he looks elsewhere."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator

import numpy as np

from tui_gen.card import ImageSpec
from tui_gen.generation.branch import Branch
from tui_gen.generation.state_parts import StateParts
from tui_gen.inspection.inside import Inside, Values, join_states

_PIECE = 64
"""Positions that are computed at once, at most."""
_BYTES = 2**25
"""Of all pieces that are kept, and of the states that a piece is computed from."""
_SHOWN_BYTES = 2**17
"""Of a state, from which on its numbers are not kept: so large is what holds many tokens, and nobody looks at it."""


class BranchTrace:
    """Of one sample of a branch. Its parts may be computed in one thread while another one reads."""

    def __init__(self, branch: Branch, inside: Inside, sample: int = 0) -> None:
        self.branch, self.inside, self.sample = branch, inside, sample
        self._parts, self._state_bytes = StateParts(inside.model), inside.model.start(1).nbytes
        self._length = max(1, min(_PIECE, _BYTES // max(1, self._state_bytes)))
        self._pieces: OrderedDict[tuple[int, int], dict[str, Values]] = OrderedDict()

    def values(self, first: int, past: int) -> dict[str, Values]:
        """What was inside while the tokens at positions from first on were read: `embedding`, the likes of
        `layer0.input_gate`, and of a text the state after each token by part and layer, `state.h.0`: float32[tokens,
        width] each. Of the copies of a guided network, the one that has the prompt.

        Positions are at most those whose tokens are known. Raises TuiGenError where the model fails.
        """
        past = min(past, len(self.branch))
        start = first - first % self._length
        parts = [self._piece(at) for at in range(start, past, self._length)] if first < past else []
        return {
            name: np.concatenate([part[name] for part in parts])[first - start : past - start]
            for name in (parts[0] if parts else {})
        }

    def _piece(self, first: int) -> dict[str, Values]:
        past = min(first + self._length, len(self.branch))
        key = first, past
        if key not in self._pieces:
            self._pieces[key] = self._compute(first, past)
            size = sum(part.nbytes for part in self._pieces[key].values())
            while len(self._pieces) > max(2, _BYTES // max(1, size)):
                self._pieces.popitem(last=False)
        self._pieces.move_to_end(key)
        return self._pieces[key]

    def _compute(self, first: int, past: int) -> dict[str, Values]:
        tokens = self.branch.tokens[first:past, self.sample].astype(np.int64)
        states = [state.rows([self.sample]) for state in self.branch.states(first, past)]
        values = self.inside.values(tokens, join_states(states[:-1]))
        is_picture = self.inside.model.card.image  # its state is what layers saw of earlier pixels, shifted by one
        if is_picture or self._state_bytes > _SHOWN_BYTES:
            return values
        after = self._parts.rows(join_states(states[1:]))
        return {**values, **{f"state.{name}": part for name, part in after.items()}}


class FeatureMap:
    """The features of one layer over the whole of a picture. Grows in one thread while another one reads copies."""

    def __init__(self, trace: BranchTrace, image: ImageSpec, layer: str, head: int) -> None:
        """head: the position of the first value of the picture."""
        self.trace, self.layer = trace, layer
        self._image, self._head = image, head
        self._lead = next((each.lead for each in image.layers if each.name == layer), 0)
        self._known: set[range] = set()
        self._values: Values | None = None

    @property
    def lead(self) -> int:
        """How many pixels ahead of the one that is drawn the layer is computed."""
        return self._lead

    def copy(self) -> Values:
        """[pixels, units]: what each pixel was drawn from, in raster order; NaN where that is not known."""
        pixels = self._image.height * self._image.width
        return np.full((pixels, 0), np.nan, np.float32) if self._values is None else self._values.copy()

    def grow(self, position: int) -> Iterator[None]:
        """Computes what is not known, the tokens around a position first; gives way after each part."""
        length = len(self.trace.branch)
        parts = [range(at, min(at + _PIECE, length)) for at in range(0, length, _PIECE)]
        for part in sorted(parts, key=lambda part: abs(part.start - position + _PIECE // 2)):
            if part not in self._known:
                self._take(part, self.trace.values(part.start, part.stop)[f"{self.layer}.features"])
                self._known.add(part)
                yield

    def _take(self, positions: range, features: Values) -> None:
        """A step reads a value and draws the next one."""
        if self._values is None:
            self._values = np.full((self._image.height * self._image.width, features.shape[1]), np.nan, np.float32)
        values = np.arange(positions.start, positions.stop) + 1 - self._head
        pixels = np.where(values < 0, values, values // self._image.channels) + self._lead
        inside = (pixels >= 0) & (pixels < len(self._values))
        self._values[pixels[inside]] = features[inside]
