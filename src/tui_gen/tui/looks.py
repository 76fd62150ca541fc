"""The styles of a widget's parts."""

from __future__ import annotations

from rich.style import Style
from textual.widget import Widget


def part_style(widget: Widget, name: str) -> Style:
    """The style of a component class; the widget's own as long as it has none.

    A widget may be drawn once before it is styled, and once more while it goes away.
    """
    return widget.get_component_rich_style(name, default=widget.rich_style)
