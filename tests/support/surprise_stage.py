"""The surprise panel alone on a screen, and what it shows: a branch of a toy model."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from itertools import islice

from textual import on
from textual.app import App, ComposeResult
from textual.pilot import Pilot

from tui_gen.generation.branch import Branch, BranchStart
from tui_gen.library import LoadedModel
from tui_gen.sampling.params import SamplingParams
from tui_gen.scoring.branch_scores import BranchSurprisal
from tui_gen.tui.widgets.candidates import label
from tui_gen.tui.widgets.surprisal_panel import SurprisalPanel


class Beside(App[None]):
    """The panel, alone, and what it said was chosen."""

    AUTO_FOCUS = None

    def __init__(self, theme: str) -> None:
        super().__init__()
        self.theme, self.chosen, self.panel = theme, list[int](), SurprisalPanel()

    def compose(self) -> ComposeResult:
        yield self.panel

    @on(SurprisalPanel.Chosen)
    def note(self, message: SurprisalPanel.Chosen) -> None:
        self.chosen.append(message.position)


@asynccontextmanager
async def beside(
    *, size: tuple[int, int] = (28, 20), theme: str = "textual-dark"
) -> AsyncIterator[tuple[Beside, Pilot[None]]]:
    app = Beside(theme)
    async with app.run_test(size=size) as pilot:
        yield app, pilot


def lines(app: Beside) -> list[str]:
    """What stands below the title."""
    strips = app.screen._compositor.render_strips(app.size)
    assert all(strip.cell_length == app.size.width for strip in strips)
    return [strip.text.rstrip() for strip in strips[1:]]


class Run:
    """A branch, its surprise, and how to show it."""

    def __init__(self, loaded_model: LoadedModel, text: str, *, samples: int = 1) -> None:
        self.loaded_model = loaded_model
        prompt = loaded_model.codec.prompt([text] * samples)
        self.branch = Branch("1", BranchStart(prompt, 5, SamplingParams(1.5), text=text), loaded_model.model)
        self.head = prompt.shape[1]
        self.surprise = BranchSurprisal(self.branch, loaded_model.codec)

    def grow(self, count: int) -> Run:
        made = self.branch.step_buffer()
        for step in islice(self.branch.steps(SamplingParams(1.5)), count):
            made.append(step)
        self.branch.record(made)
        self.surprise.update()
        return self

    def show(self, panel: SurprisalPanel, sample: int = 0, name_of: Callable[[int], str] | None = None) -> None:
        panel.show(self.surprise, sample, name_of or self.name, self.head)

    def name(self, token: int) -> str:
        return label(self.loaded_model.codec, token)
