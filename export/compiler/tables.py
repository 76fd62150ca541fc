"""Index tables of a step, all behind one: which of the image's few kinds of positions a position is.

Positions differ only in which taps fall outside of the image, so the rows of all tables together take few values. A
step looks its kind up once, and every table has one row per kind.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from export.graph import StepGraph


class PatternTables:
    """Collects tables over positions; afterwards each is an initializer with a row per kind of position."""

    def __init__(self, graph: StepGraph, position: str, positions: int) -> None:
        self._graph, self._positions = graph, positions
        self._kind = graph.op("Gather", "kind", position)
        self._tables: dict[str, NDArray[np.int64]] = {}
        self._looked_up: dict[bytes, str] = {}

    def look_up(self, table: NDArray[np.int64]) -> str:
        """The row [batch, *columns] of a table int64[positions, *columns] that belongs to the sample's position."""
        key = table.tobytes() + str(table.shape).encode()
        if key not in self._looked_up:
            name = f"slots.{len(self._tables)}"
            self._tables[name] = table
            self._looked_up[key] = self._graph.op("Gather", name, self._kind)
        return self._looked_up[key]

    def finish(self) -> None:
        """Adds the initializers: the tables, and `kind`, int64[positions]."""
        flat = [np.zeros((self._positions, 1)), *(table.reshape(len(table), -1) for table in self._tables.values())]
        _, first, kinds = np.unique(np.concatenate(flat, axis=1), axis=0, return_index=True, return_inverse=True)
        for table_name, table in self._tables.items():
            self._graph.constant(table_name, table[first])
        self._graph.constant("kind", kinds.reshape(-1).astype(np.int64))
