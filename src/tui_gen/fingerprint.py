"""Whether two runs made the same tokens, without keeping both."""

from __future__ import annotations

import hashlib

import numpy as np

from tui_gen.branch import Branch
from tui_gen.generate import FREE


class Fingerprint:
    """The sha256 of a branch's tokens, of those samples that still ran. Hashes each position once, however it grows."""

    def __init__(self) -> None:
        self._hash, self._positions = hashlib.sha256(), 0

    def of(self, branch: Branch, positions: int) -> str:
        """Of the first so many positions, in hexadecimal; never fewer than the last time, and of the same branch."""
        new = slice(self._positions, positions)
        rows = np.where(branch.live[new], branch.tokens[new], FREE).astype("<i4")
        self._hash.update(rows.tobytes())
        self._positions = positions
        return self._hash.copy().hexdigest()
