"""The keys: one table for the bindings and the help, and what the last line of the screen says of them."""

from __future__ import annotations

from dataclasses import dataclass

from textual.binding import Binding


@dataclass(frozen=True)
class Key:
    """A key and what it does."""

    key: str
    """As Textual names it; several between commas."""
    shown: str
    action: str
    meaning: str
    group: str
    priority: bool = False
    """Whether it works whatever has the focus."""

    def binding(self) -> Binding:
        """For Textual."""
        return Binding(self.key, self.action, self.meaning, show=False, priority=self.priority)


KEYS = (
    Key("enter", "enter", "generate", "generate from the prompt", "run"),
    Key("escape", "esc", "stop", "stop; what was made stays", "run", priority=True),
    Key("space", "space", "pause", "pause and go on (outside of the prompt)", "run"),
    Key("ctrl+n", "^n", "new_seed", "draw another seed and generate", "run", priority=True),
    Key("up", "↑", "temperature(1)", "raise the temperature by 0.05, also in mid-run", "knobs", priority=True),
    Key("down", "↓", "temperature(-1)", "lower it", "knobs", priority=True),
    Key("left_square_bracket", "[", "pace(-1)", "half the pace (outside of the prompt)", "knobs"),
    Key("right_square_bracket", "]", "pace(1)", "twice the pace, up to unlimited", "knobs"),
    Key("f2", "f2", "rendering", "pictures in half blocks, ASCII or braille", "look", priority=True),
    Key("f3", "f3", "models", "choose a model: arrows, then enter", "look", priority=True),
    Key("pageup", "pgup", "scroll_output(-1)", "scroll up", "look", priority=True),
    Key("pagedown", "pgdn", "scroll_output(1)", "scroll down", "look", priority=True),
    Key("tab", "tab", "app.focus_next", "go to the next part of the screen", "look"),
    Key("f1,question_mark", "f1", "help", "this help (? outside of the prompt)", "program"),
    Key("ctrl+q", "^q", "quit", "quit", "program", priority=True),
)


def pairs_now(
    *, running: bool, paused: bool, in_prompt: bool, in_list: bool, drawing: bool
) -> tuple[tuple[str, str], ...]:
    """Key and meaning for the last line of the screen, the most useful first."""
    if in_list:
        return (("↑↓", "choose"), ("enter", "open"), ("esc", "back"), ("tab", "focus"), ("?", "help"), ("^q", "quit"))
    pairs = [("esc", "stop")] if running else [("enter", "generate")]
    if running and not in_prompt:
        pairs.append(("space", "go on" if paused else "pause"))
    pairs.append(("↑↓", "temperature"))
    pairs.append(("[ ]", "pace") if running and not in_prompt else ("^n", "seed"))
    if drawing:
        pairs.append(("f2", "style"))
    if not running:
        pairs.append(("f3", "models"))
    return (*pairs, ("f1" if in_prompt else "?", "help"), ("^q", "quit"))
