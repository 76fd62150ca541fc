"""A tour on the real screen: the one that ships, a teacher's own, and whoever goes on fast, or does something else."""

from __future__ import annotations

import math
import tempfile
from dataclasses import replace
from pathlib import Path

import pytest
from textual.geometry import Size

from tests.support.driver import ScreenDriver, on_screen
from tui_gen.tui.layout import Content, layout, tour_place
from tui_gen.tui.tour import SHIPPED, Tour, read_tour
from tui_gen.tui.tour_screen import TourScreen
from tui_gen.tui.widgets.cells import wrap

MODELS = Path(__file__).parents[2] / "models"
TAUGHT = """
title = "cats"
[[stops]]
title = "cats and dogs"
text = "Look at\\nthe cat. {inside} looks inside."
try = "{temperature_up} warms"
model = "cats"
prompt = "the cat"
length = 6
temperature = 0.5
do = ["generate", "walk 3"]
[[stops]]
title = "gone"
text = "Nobody has it."
model = "nowhere"
do = ["generate"]
[[stops]]
title = "letters"
text = "One letter after the other."
model = "letters"
seed = 5
length = 30
do = ["generate", "wait"]
"""


def unlimited(tour: Tour) -> Tour:
    """The same without a pace."""
    return replace(tour, stops=tuple(replace(each, knobs={**each.knobs, "pace": math.inf}) for each in tour.stops))


def taught(models: Path, text: str = TAUGHT) -> Tour:
    path = models.parent / "mine.toml"
    path.write_text(text)
    return unlimited(read_tour(path))


def tour_of(text: str) -> Tour:
    with tempfile.TemporaryDirectory() as folder:
        return taught(Path(folder) / "models", text)


def guide(driver: ScreenDriver) -> TourScreen:
    screen = driver.playground
    assert isinstance(screen, TourScreen)
    return screen


async def arrives(driver: ScreenDriver, number: int, *signs: str) -> None:
    """Waits until the tour has done all at a stop, and these are on the screen with its title."""
    await driver.until(lambda: guide(driver).number == number - 1 and not guide(driver).errands)
    await driver.until(lambda: all(sign in driver.screen() for sign in (f"{number} of ", *signs)))


@pytest.mark.parametrize("size", [(80, 24), (200, 60)])
async def test_every_stop_of_the_tour_that_ships_shows_what_it_says(size: tuple[int, int]) -> None:
    async with on_screen(MODELS / "recipes", size=size, tour=unlimited(read_tour(SHIPPED))) as driver:
        signs: list[tuple[str, ...]] = [
            ("─ token 10 ─", "▸ salt", "cauliflower"),
            ("inside: tokens", "unknown: quinoa", "<unk>"),
            ("while it reads token 10 salt", "mace", "parsley"),
            ("inside: state", "layer 1 h · 256 units"),
            ("inside: cell", "c before", "──── h", "c = f·c + i·g", "while it reads token 18"),
            ("forget the state at token 20", "recipe for", "italian"),
            ("recipes-rnn ", "differs from token 3" if size[0] > 100 else "≠ token 3", "divergence from"),
            ("follow: place in the line", "> unit   75 -0.92", "layer 2 h · unit 75 "),
            ("how digits learned",),
            ("inside: eye · pixel 120", "after step 1 of 6", "mask A 7x7"),
            ("inside: eye · pixel 120", "after step 6 of 6", "sees 104, blind spot 15", "sees 119, blind spot 0"),
            ("elf woman, red cloak, bow", "complete: 1,024"),
        ]
        for number, expected in enumerate(signs, start=1):
            await arrives(driver, number, *expected)
            await driver.press("n")
        await driver.until(lambda: "this is the last stop" in driver.notice)
        await driver.press("p")
        await arrives(driver, 11)
        await driver.press("x")
        await driver.hides("11 of 12")
        assert driver.playground.inside.display
        assert driver.workspace.loaded_model.card.name == "fashion-book"


def test_what_the_tour_says_leaves_room_for_what_it_explains() -> None:
    for stop in read_tour(SHIPPED).stops:
        text, attempt = stop.words()
        below = len(wrap(text, 78)) + len(wrap(f"Try: {attempt}", 78))
        assert below <= 5, stop.title
        column = sum(len(wrap(part, 30)) + 1 for part in (f"12 of 12 · {stop.title}", text, f"Try: {attempt}", "keys"))
        assert column <= 24, stop.title


@pytest.mark.parametrize("content", ["text", "picture", "comparison"])
def test_what_goes_on_inside_stands_beside_the_output_also_in_a_tour(content: Content) -> None:
    for width in range(150, 260):
        place = tour_place(Size(width, 45), content, 6, inside=True)
        assert layout(Size(width - place.columns, 45 - place.lines), content, inside=True).inside, width
        assert bool(place.columns) != bool(place.lines)


async def test_a_teachers_tour_goes_on_past_a_model_that_is_gone_and_leaves_the_instrument_as_it_is(
    models: Path,
) -> None:
    async with on_screen(models / "cats", tour=taught(models)) as driver:
        await arrives(driver, 1, "Look at the cat. f10 looks inside.", "Try: ↑ warms", "token 3")
        assert driver.params.temperature == 0.5
        assert "token 3" in driver.panel
        await driver.press("n")
        await driver.until(lambda: "stop 2: there is no model 'nowhere'" in driver.notice)
        await arrives(driver, 2, "Nobody has it.")
        assert driver.workspace.loaded_model.card.name == "cats"
        await driver.press("n")
        await arrives(driver, 3, "One letter")
        assert driver.workspace.loaded_model.card.name == "letters"
        assert driver.branch.start.seed == 5
        assert driver.params.temperature != 0.5
        await driver.press("p", "p")
        await arrives(driver, 1, "token 3")
        assert len(driver.workspace.tree) == 2
        branch = driver.branch
        await driver.press("x")
        await driver.hides("1 of 3")
        assert driver.branch is branch
        assert "token 3" in driver.panel
        await driver.press("escape", "n", "o")
        assert driver.playground.prompt.value == "no"


async def test_who_goes_on_fast_waits_for_the_last_model_alone(models: Path) -> None:
    many = TAUGHT + "".join(
        f"[[stops]]\ntitle = 'stop {n}'\nmodel = '{('letters', 'cats', 'stripes')[n % 3]}'\n" for n in range(12)
    )
    async with on_screen(models / "cats", tour=taught(models, many)) as driver:
        await driver.type("n" * 14)
        await arrives(driver, 15, "stop 11")
        await driver.until(lambda: driver.workspace.loaded_model.card.name == "stripes")
        await driver.press("n")
        await driver.until(lambda: "this is the last stop" in driver.notice)
        await driver.type("p" * 20)
        await arrives(driver, 1, "Look at the cat", "token 3")


async def test_what_a_person_does_comes_before_what_the_tour_was_about_to_do(models: Path) -> None:
    endless = """[[stops]]
    title = "endless"
    text = "On and on."
    model = "endless"
    pace = 40
    do = ["generate", "walk 900", "inside"]
    [[stops]]
    title = "next"
    model = "cats"
    """
    path = models.parent / "endless.toml"
    path.write_text(endless)
    async with on_screen(models / "endless", tour=read_tour(path)) as driver:
        await driver.until(lambda: driver.length > 3)
        await driver.press("space")
        await driver.stands_still()
        assert not guide(driver).errands
        assert not driver.playground.inside.display
        await driver.press("n")  # in the middle of a run
        await arrives(driver, 2)
        await driver.until(lambda: driver.workspace.loaded_model.card.name == "cats")
        await driver.press("f3")
        await driver.until(lambda: driver.playground.context.in_list)
        await driver.press("escape", "t", "n", "p")
        assert driver.playground.prompt.value == "tnp"
        await driver.press("f1")
        await driver.shows("esc closes")
        await driver.press("p")
        await driver.hides("esc closes")
        await arrives(driver, 1, "On and on.")


async def test_keys_are_said_as_a_person_has_bound_them(models: Path) -> None:
    keys = {"next_stop": "f12", "leave_tour": "", "inside": "f11"}
    async with on_screen(models / "cats", tour=taught(models), keys=keys) as driver:
        await arrives(driver, 1, "f11 looks inside", "f12 next  p back")
        await driver.press("f12")
        await arrives(driver, 2)


async def test_a_dialog_that_the_tour_opens_leaves_its_words_in_sight() -> None:
    text = """
    [[stops]]
    title = "losses"
    text = "They fall."
    model = "digits"
    do = ["training"]
    [[stops]]
    title = "erasing"
    text = "Half of it."
    model = "digits"
    prompt = "7"
    do = ["generate", "wait", "complete"]
    """
    async with on_screen(MODELS / "digits", tour=tour_of(text)) as driver:
        await driver.shows("how digits learned")
        await driver.shows("1 of 2 · losses")
        await driver.shows("They fall.")
        await driver.press("n")
        await driver.shows("complete a picture")
        await driver.shows("Half of it.")
        await driver.press("p")
        await arrives(driver, 1, "how digits learned")
        await driver.press("escape")
        await driver.hides("how digits learned")
        await driver.shows("1 of 2 · losses")


def test_a_model_whose_name_no_file_can_have_is_missing_like_any_other(tmp_path: Path) -> None:
    path = tmp_path / "my.toml"
    path.write_text(f'title = "t"\n[[stops]]\ntitle = "s"\ntext = "t"\nmodel = "{"x" * 290}"\n', encoding="utf-8")
    assert ["there is no model" in fault for fault in read_tour(path).faults()] == [True]
