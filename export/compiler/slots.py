"""Where in the kept columns a tap finds what it sees, for every position of the image."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from export.compiler.nodes import Node, Placed, Read
from export.compiler.schedule import Schedule

NOTHING = -1
"""The slot of a tap that sees no place of the tensor."""


class Positions:
    """All positions of a run: `warm_up` steps before the first pixel, then the pixels, `channels` tokens each."""

    def __init__(self, plan: Schedule, area: int, channels: int) -> None:
        self._plan, self.channels = plan, channels
        steps = np.arange((area + plan.warm_up) * channels)
        self.drawn, self.channel = steps // channels - plan.warm_up, steps % channels
        self.count = len(steps)

    def depth(self, node: Node, uses: list[tuple[Node, Read]]) -> int:
        """Earlier columns of a node to keep. With several channels, one more: the pixel's own, until it is complete."""
        plan = self._plan
        delays = [plan.delay(r, read, read.taps[index]) for r, read in uses for index in plan.taps(r, read)]
        needed = max(delays, default=0)
        return needed + 1 if self.channels > 1 and (needed or node.operation == "Image") else needed

    def slots(self, reader: Node, read: Read, depth: int) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        """int64[positions, taps]: index into (kept columns, newest), or `NOTHING`; bool[positions]: which rows count.

        depth: how many columns of the node that is read are kept.
        """
        plan = self._plan
        taps = [read.taps[index] for index in plan.taps(reader, read)]
        rows, columns = plan.place(reader, self.drawn + plan.leads[reader])
        box = plan.needed[reader]
        counts = (rows >= box.top) & (rows < box.bottom) & (columns >= box.left) & (columns < box.right)
        table = np.full((self.count, len(taps)), NOTHING, dtype=np.int64)
        for index, tap in enumerate(taps):
            delay = plan.delay(reader, read, tap)
            earlier = depth - delay - (self.channel > 0 if delay else 0)
            row, column, seen = rows + tap[0], columns + tap[1], read.box
            inside = (row >= seen.top) & (row < seen.bottom) & (column >= seen.left) & (column < seen.right)
            table[:, index] = np.where(counts & inside, earlier, NOTHING)
        return table, counts

    def places(self, reader: Node, constant: Placed) -> NDArray[np.int64]:
        """int64[positions]: which row of `constant`, flattened over its places, belongs to the reader's place."""
        height, width = constant.values.shape[:2]
        rows, columns = self._plan.place(reader, self.drawn + self._plan.leads[reader])
        row = np.clip(rows, 0, height - 1) if height > 1 else 0
        column = np.clip(columns, 0, width - 1) if width > 1 else 0
        return np.asarray(row * width + column, dtype=np.int64)
