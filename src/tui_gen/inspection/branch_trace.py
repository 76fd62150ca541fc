"""What goes on inside a model along a branch, computed where somebody looks and forgotten when he looks elsewhere."""

from __future__ import annotations

from collections import OrderedDict

import numpy as np

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
        width] each.

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
