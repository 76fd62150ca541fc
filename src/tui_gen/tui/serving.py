"""Opening models, and what the screen takes from the one that was opened."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from textual.app import ComposeResult
from textual.widget import Widget

from tui_gen.errors import TuiGenError
from tui_gen.learning import read_learning
from tui_gen.library import Playable
from tui_gen.sitting import Sitting
from tui_gen.tui.about import About, about_text
from tui_gen.tui.opener import Opener
from tui_gen.tui.settings import Settings

if TYPE_CHECKING:
    from tui_gen.tui.app import TuiGen


class Serving(Widget):
    """Has no look. Each model has a sitting of its own, which stays when another model is opened."""

    DEFAULT_CSS = "Serving { display: none; }"

    def __init__(self, desk: TuiGen, settings: Settings) -> None:
        super().__init__()
        self._desk, self._settings = desk, settings
        self._opener = Opener(settings)
        self._sittings: dict[Path, Sitting] = {}
        self._prompts: dict[str, str] = {}
        self._start_when_open = self._serving = False
        self._session = settings.session

    def compose(self) -> ComposeResult:
        """What opens them."""
        yield self._opener

    @property
    def busy(self) -> bool:
        """Whether a model is being opened."""
        return self._opener.busy or self._serving

    def sit(self, playable: Playable, sitting: Sitting) -> Sitting:
        """Takes a sitting in the place of the one that the model has."""
        self._sittings[playable.path] = sitting
        return sitting

    def start_when_open(self) -> None:
        """Somebody could not wait."""
        self._start_when_open = True

    def open(self, folder: Path) -> None:
        """Opens a model beside the screen; the one that plays goes on."""
        playing = self._desk.playable
        if playing and playing.path == folder and not self.busy:
            return
        self._desk.header.show(f"opening {folder.name} ...")
        self._opener.open(folder)

    def show_learning(self) -> None:
        """How the model on the screen learned, if its folder says."""
        from tui_gen.tui.learned import LearnedDialog

        if not (playable := self._desk.playable):
            return
        try:
            learning = read_learning(playable.path, playable.card)
        except TuiGenError as fault:
            self._desk.complain(str(fault))
            return
        if learning.epochs:
            self._desk.push_screen(LearnedDialog(playable.card, learning))
        else:
            self._desk.say(f"{playable.path.name} does not say how it learned: it has no training log")

    def on_opener_refused(self, message: Opener.Refused) -> None:
        """A model that cannot be opened; what is on the screen stays."""
        desk = self._desk
        if desk.closing:
            return
        self._start_when_open = False
        desk.complain(message.fault)
        desk.showing.facts()
        if desk.playable is None:
            desk.stage.mount(About(f"{message.fault}\n\nChoose another model with f3."))

    async def on_opener_opened(self, message: Opener.Opened) -> None:
        """A model is ready; its card is shown until it runs."""
        if self._desk.closing:
            return
        self._serving = True
        await self._serve(message.playable)
        self._serving = False
        if self._session:
            from tui_gen.tui.replaying import Replaying

            loaded, self._session = self._session, None
            await Replaying(self._desk, loaded).start(message.playable)
        if self._start_when_open:
            self._start_when_open = False
            await self._desk.action_generate()

    async def _serve(self, playable: Playable) -> None:
        desk, card = self._desk, playable.card
        if desk.playable:
            self._prompts[desk.playable.card.name] = desk.prompt_line.value
            desk.prompt_line.value = self._prompts.get(card.name, "")
        desk.playable = playable
        desk.dials.serve(card, self._settings.temperature)
        desk.stage.sitting = self._sittings.setdefault(playable.path, Sitting(playable))
        desk.surprising.hide()
        await desk.stage.put(About(about_text(playable)))
        desk.prompt_line.serve(playable.codec, card.prompt_example)
        desk.models.mark(playable.path.name)
        desk.next_token.clear(playable.codec)
        desk.knobs.serve(desk.dials.knobs)
        desk.showing.facts()
        desk.stage.show_progress()
        desk.showing.everything()
        sitting = desk.stage.sitting
        if sitting.shown in sitting.tree:
            await desk.stage.show(sitting.tree[sitting.shown])
            desk.prompt_line.focus()
