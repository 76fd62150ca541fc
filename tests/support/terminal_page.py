"""What stands on a screen that was drawn in pieces."""

from __future__ import annotations

import re
from collections import defaultdict

from tui_gen.bench.screen import SIZE

_PIECE = re.compile(
    r"\x1b\[(?P<row>\d+);(?P<column>\d+)H|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)|\x1b\[[<-?]?[\d;]*[a-z]|(?P<text>[^\x1b]+)",
    re.I,
)


def page(output: bytes, size: tuple[int, int] = SIZE) -> str:
    """Each piece is drawn at a place. Characters are as wide as those of toys. size: columns and rows."""
    rows, row, column = defaultdict[int, dict[int, str]](dict), 1, 1
    for match in _PIECE.finditer(output.decode(errors="replace")):
        if text := match["text"]:
            rows[row].update(enumerate(text, column))
            column += len(text)
        elif match["row"]:
            row, column = int(match["row"]), int(match["column"])
    return "\n".join(
        "".join(rows[at].get(place, " ") for place in range(1, size[0] + 1)) for at in range(1, size[1] + 1)
    )
