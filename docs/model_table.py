"""Writes the README's table of models from their cards: `python docs/model_table.py`."""

from __future__ import annotations

from pathlib import Path

from tui_gen.card import ModelCard
from tui_gen.library import read_card

ROOT = Path(__file__).parents[1]
HEAD = "| model | network | held-out figure | trained on |\n|---|---|---|---|\n"


def row(card: ModelCard) -> str:
    """A line of the table."""
    return f"| `{card.name}` | {card.architecture} | {card.quality or 'not measured'} | {card.data} |\n"


def main() -> None:
    """Replaces the lines under the table's head."""
    readme = ROOT / "README.md"
    before, head, after = readme.read_text(encoding="utf-8").partition(HEAD)
    if not head:
        raise SystemExit(f"{readme} has no table of models to replace")
    cards = sorted((read_card(path) for path in (ROOT / "models").iterdir()), key=lambda card: (card.kind, card.name))
    rest = after[after.index("\n\n") + 1 :]
    readme.write_text(before + HEAD + "".join(map(row, reversed(cards))) + rest, encoding="utf-8")


if __name__ == "__main__":
    main()
