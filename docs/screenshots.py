"""Draws the pictures of the screen: `python docs/screenshots.py` (an SVG each, made by Textual)."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from animation import animate, without_font

from tui_gen.library import find_models, locate
from tui_gen.tui.app import TuiGen
from tui_gen.tui.knob_state import Settings
from tui_gen.tui.tour import SHIPPED, read_tour
from tui_gen.tui.tour_screen import TourScreen

DOCS = Path(__file__).parent
SIZE, TOUR_SIZE, FILM_SIZE = (128, 36), (100, 30), (104, 30)


async def shoot(name: str, model: str, prompt: str, *, seed: int, samples: int = 1, keys: Sequence[str] = ()) -> None:
    """Runs a model to its end, presses keys and keeps the screen."""
    app = TuiGen(Settings(locate(model), prompt, samples=samples, seed=seed), find_models())
    async with app.run_test(size=SIZE) as pilot:
        screen = app.playground
        while screen.workspace is None:
            await pilot.pause(0.05)
        screen.knobs.rate = math.inf
        await screen.action_generate()
        while screen.run_view is None or screen.run_view.running:
            await pilot.pause(0.05)
        for key in keys:
            await pilot.press(key)
        await pilot.pause(0.5)
        (DOCS / f"{name}.svg").write_text(without_font(app.export_screenshot()), encoding="utf-8")


async def film(name: str, model: str, prompt: str, *, seed: int, keys: Sequence[str], every: int = 1) -> None:
    """Runs a model to its first token, presses keys and keeps a moving picture of the screen.

    every: after how many keys it is looked at.
    """
    app = TuiGen(Settings(locate(model), prompt, seed=seed, length=1), find_models())
    async with app.run_test(size=FILM_SIZE) as pilot:
        screen = app.playground
        while screen.workspace is None:
            await pilot.pause(0.05)
        pictures = [app.export_screenshot()]
        await screen.action_generate()
        while screen.run_view is None or screen.run_view.running:
            await pilot.pause(0.05)
        for at in range(0, len(keys), every):
            pictures.append(app.export_screenshot())
            await pilot.press(*keys[at : at + every])
            await pilot.pause(0.1)
        pictures.append(app.export_screenshot())
    (DOCS / f"{name}.svg").write_text(animate(pictures, 0.25), encoding="utf-8")


async def shoot_stop(name: str, number: int) -> None:
    """Goes to a stop of the tour that ships, and keeps the screen."""
    tour = read_tour(SHIPPED)
    tour = replace(tour, stops=tuple(replace(stop, knobs={**stop.knobs, "pace": math.inf}) for stop in tour.stops))
    app = TuiGen(Settings(locate(tour.stops[0].model)), find_models(), tour=tour)
    async with app.run_test(size=TOUR_SIZE) as pilot:
        screen = app.playground
        assert isinstance(screen, TourScreen)
        while screen.workspace is None:
            await pilot.pause(0.05)
        for _ in range(1, number):
            await pilot.press("n")
            await pilot.pause(0.05)
        while screen.errands or screen.number < number - 1:
            await pilot.pause(0.05)
        await pilot.pause(0.5)
        (DOCS / f"{name}.svg").write_text(without_font(app.export_screenshot()), encoding="utf-8")


async def main() -> None:
    """All pictures."""
    keys = [*["right"] * 64, *["left"] * 9, *["up"] * 9, *["down"] * 9]
    await film("text", "recipes", "roasted vegetables", seed=13, keys=keys)
    await film("picture", "adventurers", "elf woman, red cloak, bow", seed=38, keys=["right"] * 1023, every=24)
    await shoot("learned", "digits", "", seed=38, keys=["f9"])
    await shoot_stop("tour-token", 1)
    await shoot_stop("tour-cell", 5)
    await shoot_stop("tour-forgetting", 6)
    await shoot_stop("tour-eye", 11)


if __name__ == "__main__":
    asyncio.run(main())
