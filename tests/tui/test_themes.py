"""The themes: ours can be read and have nothing of Textual's blue; Textual's and a person's own can be chosen."""

from __future__ import annotations

from itertools import product
from pathlib import Path

import pytest
from textual.color import Color
from textual.theme import BUILTIN_THEMES, Theme

from tests.support.driver import on_screen
from tui_gen.tui.themes import DARK, LIGHT, Themes

GROUNDS = ("background", "surface", "panel", "panel-lighten-1", "surface-active", "footer-background")
TEXTS = ("text", "text-muted", "text-disabled", "text-primary", "text-secondary", "text-accent", "text-warning",
         "text-error", "text-success", "foreground", "accent", "footer-key-foreground")  # fmt: skip
PAIRS = (
    ("block-cursor-foreground", "block-cursor-background"),
    ("block-cursor-blurred-foreground", "block-cursor-blurred-background"),
    ("text-muted", "block-cursor-blurred-background"),
    ("text-accent", "block-cursor-blurred-background"),
    ("input-selection-foreground", "input-selection-background"),
    ("input-cursor-foreground", "input-cursor-background"),
    ("link-color-hover", "link-background-hover"),
)
"""What stands on a ground of its own."""
OURS = pytest.mark.parametrize("theme", [DARK, LIGHT], ids=lambda theme: theme.name)


def colours(theme: Theme) -> dict[str, str]:
    return {**theme.to_color_system().generate(), **theme.variables}


def luminance(colour: Color) -> float:
    """Relative luminance, of WCAG 2.2."""
    parts = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in colour.normalized)
    return sum(weight * part for weight, part in zip((0.2126, 0.7152, 0.0722), parts, strict=True))


def contrast(text: str, ground: str) -> float:
    """Of two colours as style sheets write them, the ground opaque: from 1 to 21 (WCAG 2.2)."""
    below = Color.parse(ground)
    above = Color.parse(text) if not text.startswith("auto") else below.get_contrast_text(float(text[5:-1]) / 100)
    high, low = sorted((luminance(below + above), luminance(below)), reverse=True)
    return (high + 0.05) / (low + 0.05)


def test_contrast_is_what_wcag_says() -> None:
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    assert contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.01)


@OURS
def test_every_text_can_be_read_on_every_ground(theme: Theme) -> None:
    values = colours(theme)
    low = {(text, ground): round(contrast(values[text], values[ground]), 2)
           for text, ground in (*product(TEXTS, GROUNDS), *PAIRS)}  # fmt: skip
    assert {pair: value for pair, value in low.items() if value < 4.5} == {}


@OURS
def test_nothing_of_textuals_blue_is_left(theme: Theme) -> None:
    for name, value in colours(theme).items():
        if value.startswith("#"):
            colour = Color.parse(value)
            assert colour.b <= max(colour.r, colour.g), name


def test_a_persons_own_theme_has_the_fields_of_textuals() -> None:
    themes = Themes("mine", {"mine": {"primary": "red", "dark": False, "luminosity_spread": 0.2,
                                      "variables": {"border": "#00ff00 50%", "link-style": "bold not underline",
                                                    "text-muted": "auto 70%"}}})  # fmt: skip
    assert (themes.first, themes.faults) == ("mine", [])
    theme = themes.added["mine"]
    assert (theme.primary, theme.dark, theme.variables["border"]) == ("red", False, "#00ff00 50%")


@pytest.mark.parametrize(("values", "fault"), [
    ({}, "themes.mine: primary, a colour, is missing"),
    ({"primary": "redd"}, """.primary must be a colour such as "#ffa62b" or "orange", not 'redd'"""),
    ({"primary": 7}, '.primary must be a colour such as "#ffa62b" or "orange", not 7'),
    ({"primary": "red", "dark": 1}, ".dark must be true or false, not 1"),
    ({"primary": "red", "text_alpha": 2}, ".text_alpha must be a number from 0 to 1, not 2"),
    ({"primary": "red", "acent": "red"}, ".acent: a theme has no such field; did you mean accent?"),
    ({"primary": "red", "prim\ry": "red"}, ".prim␍y: a theme has no such field; did you mean primary?"),
    ({"primary": "red", "variables": {"border": 1}}, ".variables must be a section of texts, not {'border': 1}"),
    ({"primary": "red", "variables": {"border": "rad 5"}},
     ".variables.border must be a value for color in Textual's style sheets, not 'rad 5'"),
    ({"primary": "red", "variables": {"border": "}"}},
     ".variables.border must be a value for color in Textual's style sheets, not '}'"),
    ({"primary": "red", "variables": {"link-style": "boldd"}},
     ".variables.link-style must be a value for text-style in Textual's style sheets, not 'boldd'"),
])  # fmt: skip
def test_what_is_wrong_with_a_theme_is_told_with_its_place(values: dict[str, object], fault: str) -> None:
    themes = Themes("", {"mine": values})
    assert themes.first == DARK.name
    [told] = themes.faults
    assert told.startswith("themes.mine")
    assert told.endswith(fault)


def test_a_theme_that_there_is_not_is_told_and_ours_is_taken() -> None:
    themes = Themes("gruvbx", {})
    assert (themes.first, themes.faults) == (DARK.name, ["theme: there is no theme 'gruvbx'; did you mean gruvbox?"])
    assert Themes("nord", {}).first == "nord"
    assert Themes("mine", {"\tine": {"primary": "red"}}).faults == [
        "theme: there is no theme 'mine'; did you mean ␉ine?"
    ]


async def test_every_theme_can_be_chosen_and_one_key_goes_between_dark_and_light(models: Path) -> None:
    own = {"mine": {"primary": "#00ff00", "background": "#102030"}}
    async with on_screen(models / "cats", theme="mine", themes=own) as driver:
        assert driver.app.screen.styles.background.hex == "#102030"
        for theme, other in (("mine", LIGHT), (LIGHT.name, DARK), (DARK.name, LIGHT), ("textual-light", DARK)):
            driver.app.theme = theme
            await driver.press("ctrl+t")
            assert driver.app.theme == other.name
        for theme in BUILTIN_THEMES:
            driver.app.theme = theme
            await driver.settle()
            await driver.shows("Writes about cats.")


async def test_mistakes_in_the_configuration_are_told_when_the_screen_opens(models: Path) -> None:
    async with on_screen(models / "cats", prompt="the", theme="nrod", keys={"sav": "f2"}, faults=["one"]) as driver:
        await driver.says("configuration: one (2 more: tui-gen config lists them)")
        await driver.until(lambda: driver.playground.workspace)
        await driver.run_to_end()
