"""Small drawings made of characters: bars and cut labels."""

from __future__ import annotations

from rich.cells import cell_len, set_cell_size

_EIGHTHS = " ▏▎▍▌▋▊▉█"


def bar(share: float, cells: int) -> str:
    """A bar that fills a share (0 to 1) of so many cells, to an eighth of a cell; never empty for a share above 0."""
    eighths = round(max(0.0, min(1.0, share)) * cells * 8)
    if share > 0:
        eighths = max(1, eighths)
    full, rest = divmod(eighths, 8)
    return ("█" * full + (_EIGHTHS[rest] if rest else "")).ljust(cells)


def gauge(share: float, cells: int) -> str:
    """A thin line with a mark at a share (0 to 1) of its length."""
    at = min(cells - 1, round(max(0.0, min(1.0, share)) * (cells - 1)))
    return "━" * at + "●" + "─" * (cells - 1 - at)


def fit(text: str, cells: int) -> str:
    """The text in exactly so many cells; a cut is marked."""
    return set_cell_size(text, cells) if cell_len(text) <= cells else set_cell_size(text, cells - 1) + "…"
