"""The themes: ours, dark and light, those of Textual by name, and a person's own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any, cast

from textual.color import Color, ColorParseError
from textual.css.errors import StylesheetError
from textual.css.stylesheet import Stylesheet
from textual.css.tokenizer import TokenError
from textual.theme import BUILTIN_THEMES, Theme

from tui_gen.errors import TuiGenError
from tui_gen.terminal_text import did_you_mean, scrub_line

DARK = Theme(
    "tui-gen-dark",
    primary="#ffa62b",
    secondary="#b08d57",
    accent="#ffa62b",
    warning="#f2d06b",
    error="#e8637a",
    success="#5fc77f",
    foreground="#e6e1d9",
    background="#12110f",
    surface="#1d1b18",
    panel="#282520",
    variables={
        "text-muted": "auto 64%",
        "text-disabled": "auto 54%",
        "block-cursor-foreground": "#12110f",
        "block-cursor-blurred-foreground": "#f5efe4",
        "block-cursor-blurred-background": "#4a3a20",
        "input-selection-background": "#6b4f1f",
        "input-selection-foreground": "#ffffff",
        "scrollbar": "#4a4339",
        "scrollbar-background": "#1a1815",
        "scrollbar-hover": "#6b5f4d",
        "scrollbar-active": "#ffa62b",
        "border-blurred": "#3a352d",
        "link-color-hover": "#12110f",
    },
)
LIGHT = Theme(
    "tui-gen-light",
    primary="#8a5200",
    secondary="#7a6238",
    accent="#8a5200",
    warning="#735c00",
    error="#b3243f",
    success="#1f7a3d",
    foreground="#2a251d",
    background="#fbf7ef",
    surface="#f2ecdf",
    panel="#e9e1d0",
    dark=False,
    variables={
        "text-muted": "auto 72%",
        "text-disabled": "auto 62%",
        "block-cursor-foreground": "#fffaf0",
        "block-cursor-blurred-foreground": "#2a251d",
        "block-cursor-blurred-background": "#ecd9b4",
        "input-selection-background": "#ecd29a",
        "input-selection-foreground": "#2a251d",
        "text-accent": "#8a5200",
        "text-error": "#a11d37",
        "text-warning": "#6e5800",
        "scrollbar": "#c9bda4",
        "scrollbar-background": "#efe8da",
        "scrollbar-hover": "#b0a082",
        "scrollbar-active": "#8a5200",
        "border-blurred": "#d5cab4",
        "link-color-hover": "#fffaf0",
    },
)
_COLOURS = {field.name for field in fields(Theme) if field.type in {"str", "str | None"}} - {"name"}
_SWITCHES, _SHARES = {"dark", "ansi"}, {"luminosity_spread", "text_alpha"}


class Themes:
    """What can be chosen, and what was."""

    def __init__(self, name: str, own: Mapping[str, Mapping[str, object]]) -> None:
        """name: of the one to start with; empty for ours. own: a person's, by name, as fields of Textual's `Theme`."""
        self.added = {DARK.name: DARK, LIGHT.name: LIGHT}
        """Those that Textual has not, by name."""
        self.faults: list[str] = []
        """What is wrong with the name or a person's own, with its place."""
        for title, values in own.items():
            try:
                self.added[title] = _read_theme(title, values)
            except TuiGenError as fault:
                self.faults.append(scrub_line(f"themes.{title}{fault}"))
        self.first = self._known(name or DARK.name)

    def _known(self, name: str) -> str:
        names = {*BUILTIN_THEMES, *self.added}
        if name in names:
            return name
        advice = did_you_mean(name, names) or f"there are {', '.join(sorted(names))}"
        self.faults.append(scrub_line(f"theme: there is no theme {name!r:.40}; {advice}"))
        return DARK.name


def _read_theme(name: str, values: Mapping[str, object]) -> Theme:
    for field, value in values.items():
        _check_field(field, value)
    if "primary" not in values:
        raise TuiGenError(": primary, a colour, is missing")
    theme = Theme(name, **cast(dict[str, Any], values))
    for variable in theme.variables:
        _check_variable(variable, theme)
    return theme


def _check_field(field: str, value: object) -> None:
    if field in _COLOURS:
        _check_colour(field, value)
    elif field in _SWITCHES:
        _demand(isinstance(value, bool), field, "true or false", value)
    elif field in _SHARES:
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        _demand(is_number and 0 <= cast(float, value) <= 1, field, "a number from 0 to 1", value)
    elif field == "variables":
        texts = isinstance(value, dict) and all(isinstance(text, str) for text in value.values())
        _demand(texts, field, "a section of texts", value)
    else:
        meant = did_you_mean(field, [*_COLOURS, *_SWITCHES, *_SHARES, "variables"])
        raise TuiGenError(f".{field}: a theme has no such field" + (f"; {meant}" if meant else ""))


def _check_colour(field: str, value: object) -> None:
    try:
        Color.parse(value if isinstance(value, str) else "")
    except ColorParseError:
        _demand(False, field, 'a colour such as "#ffa62b" or "orange"', value)


def _check_variable(name: str, theme: Theme) -> None:
    """Textual finds out while it draws; better before."""
    attribute = "text-style" if name.endswith("style") else "color"
    sheet = Stylesheet(variables={**theme.to_color_system().generate(), **theme.variables})
    sheet.add_source(f"Static {{ {attribute}: ${name}; }}")
    try:
        sheet.parse()
    except (StylesheetError, TokenError):
        _demand(False, f"variables.{name}", f"a value for {attribute} in Textual's style sheets", theme.variables[name])


def _demand(fits: bool, field: str, what: str, value: object) -> None:
    if not fits:
        raise TuiGenError(f".{field} must be {what}, not {value!r:.40}")
