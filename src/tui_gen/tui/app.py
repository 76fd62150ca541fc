"""The app: puts the parts of the screen together and passes on what keys and runs say."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from textual import events
from textual.app import App, ComposeResult
from textual.binding import BindingType
from textual.containers import Container, Horizontal, Vertical
from textual.notifications import SeverityLevel
from textual.screen import ModalScreen
from textual.widgets import OptionList

from tui_gen.errors import TuiGenError
from tui_gen.library import Entry, Playable
from tui_gen.options import new_seed
from tui_gen.pace import Pace
from tui_gen.raster import RENDERING_NAMES, RENDERINGS, Rendering
from tui_gen.scrub import scrub
from tui_gen.tui.about import About, about_text
from tui_gen.tui.canvas import Canvas
from tui_gen.tui.distribution import NextToken
from tui_gen.tui.header import Header
from tui_gen.tui.help import HelpScreen
from tui_gen.tui.keybar import KeyBar
from tui_gen.tui.keys import KEYS, pairs_now
from tui_gen.tui.knobs import Knobs, starting_pace, turned_pace, turned_temperature
from tui_gen.tui.meter import Meter
from tui_gen.tui.models import ModelList
from tui_gen.tui.opener import Opener
from tui_gen.tui.player import Player, Run
from tui_gen.tui.prompt import Prompt
from tui_gen.tui.settings import Settings
from tui_gen.tui.signals import quit_on_signals

_EVERYWHERE = {"quit", "help"}


class TuiGen(App[None]):
    """The playground. Everything that a run needs is handed to its `Player`; knobs are turned in place."""

    CSS_PATH = "app.tcss"
    TITLE = "tui-gen"
    ENABLE_COMMAND_PALETTE = False  # its commands are Textual's own
    HORIZONTAL_BREAKPOINTS = [  # noqa: RUF012 (an instance variable in Textual)
        (0, "-narrow"),
        (76, "-normal"),
        (150, "-wide"),
    ]
    BINDINGS: ClassVar[list[BindingType]] = [key.binding() for key in KEYS]

    header: Header
    models: ModelList
    stage: Container
    side: Vertical
    next_token: NextToken
    knobs: Knobs
    prompt_line: Prompt
    key_bar: KeyBar
    opener: Opener

    def __init__(self, settings: Settings, entries: Sequence[Entry]) -> None:
        super().__init__()
        self.animation_level = "none"  # what is scrolled to is there at once, also over a slow line
        self.settings, self.entries = settings, entries
        self.playable: Playable | None = None
        self.params, self.seed = settings.params, settings.seed
        self.rate_limit, self.pace = math.inf, Pace()
        self.rendering: Rendering = "blocks"
        self.player: Player | None = None
        self._meter = Meter(goal=0)
        self._prompts: dict[str, str] = {}
        self._start_when_open = False

    def compose(self) -> ComposeResult:
        """Header, three columns, prompt, keys."""
        self.header, self.models, self.stage = Header(), ModelList(self.entries), Container(id="stage")
        self.side, self.next_token, self.knobs = Vertical(id="side"), NextToken(), Knobs()
        self.prompt_line, self.key_bar = Prompt(self.settings.prompt), KeyBar()
        self.opener = Opener(self.settings.provider, self.settings.threads)
        yield self.header
        with Horizontal(id="body"):
            yield self.models
            yield self.stage
            with self.side:
                yield self.next_token
                yield self.knobs
        yield self.prompt_line
        yield self.key_bar
        yield self.opener

    def on_mount(self) -> None:
        """Opens the first model; the prompt has the focus."""
        self.prompt_line.focus()
        self._show_knobs()
        self._open(self.settings.folder)
        quit_on_signals(self)

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        """Opens the chosen model."""
        self._open(self.models.entry(event.option).path)
        self.prompt_line.focus()

    def _open(self, folder: Path) -> None:
        self.header.show(f"opening {folder.name} ...")
        self.opener.open(folder)

    def on_opener_refused(self, message: Opener.Refused) -> None:
        """A model that cannot be opened; what is on the screen stays."""
        if self.closing:
            return
        self._start_when_open = False
        self._complain(message.fault)
        self._show_facts()
        if self.playable is None:
            self.stage.mount(About(f"{message.fault}\n\nChoose another model with f3."))

    async def on_opener_opened(self, message: Opener.Opened) -> None:
        """A model is ready; its card is shown until it runs."""
        if self.closing:
            return
        playable = message.playable
        if self.playable:
            self._prompts[self.playable.card.name] = self.prompt_line.value
            self.prompt_line.value = self._prompts.get(playable.card.name, "")
        self.playable, card = playable, playable.card
        self.params.temperature = card.temperature if self.settings.temperature is None else self.settings.temperature
        self.rate_limit = starting_pace(playable)
        await self._put_on_stage(About(about_text(playable)))
        self.prompt_line.serve(playable.codec, card.prompt_example)
        self.models.mark(playable.path.name)
        self.next_token.clear(playable.codec)
        self.knobs.show_progress("")
        self._show_facts()
        self._show_knobs()
        if self._start_when_open:
            self._start_when_open = False
            await self.action_generate()

    async def _put_on_stage(self, widget: About | Player) -> None:
        """Replaces what is there; a run that is there ends."""
        self.player = widget if isinstance(widget, Player) else None
        await self.stage.remove_children()
        await self.stage.mount(widget)

    async def on_input_submitted(self) -> None:
        """Enter in the prompt."""
        await self.action_generate()

    async def action_generate(self) -> None:
        """Starts a run with the prompt and the knobs as they are; while a model is being opened, as soon as it is."""
        self._start_when_open = self.opener.busy
        if self.opener.busy or self.playable is None:
            return
        codec, text = self.playable.codec, self.prompt_line.text
        try:
            prompt = codec.prompt([text] * self.settings.samples)
        except TuiGenError as fault:
            self._complain(str(fault))
            return
        if unknown := self.prompt_line.unknown():
            self._say(f"read as unknown: {', '.join(dict.fromkeys(unknown))}")
        length = codec.length(self.settings.length)
        self.pace, self._meter = Pace(self.rate_limit), Meter(length, codec.unit)
        run = Run(self.playable, prompt, self.params, self.pace, length, self.seed)
        player = Player(run, self.rendering)
        await self._put_on_stage(player)
        player.views[0].focus()
        self._show_facts()
        self._show_keys()

    def on_player_advanced(self, message: Player.Advanced) -> None:
        """Shows what was made, where the newest of it came from, and how far the run is: all in one repaint."""
        if message.player is not self.player or self.closing:  # late: of the run before
            return
        message.player.show(message.steps)
        self._meter.count(message.steps)
        for step in [step for step in message.steps if step.live[0]][-1:]:
            self.next_token.show_step(step, message.player.place(step))
        self.header.show_rate(self._meter.rate(), self._meter.step_seconds)
        self._show_progress()

    def on_player_ended(self, message: Player.Ended) -> None:
        """Says why it is over; the prompt is next."""
        if message.player is not self.player or self.closing:
            return
        message.player.finish(message.ending)
        self.knobs.show_progress(self._meter.result(message.ending))
        self._show_summary()
        self.header.show_rate(self._meter.average_rate(), self._meter.step_seconds)
        if message.fault:
            self._complain(message.fault)
        self._show_keys()

    @property
    def running(self) -> bool:
        """Whether a run is under way, be it paused."""
        return self.player is not None and self.player.ending is None

    @property
    def closing(self) -> bool:
        """Whether the screens are gone already, while messages from them may still come."""
        return not self.screen_stack

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Leaves keys to an open list and to the help where they mean something there."""
        if action in _EVERYWHERE:
            return True
        if isinstance(self.screen, ModalScreen):
            return False
        if action == "temperature":
            return not isinstance(self.focused, OptionList)
        return True

    def action_temperature(self, direction: int) -> None:
        """Turns the temperature by one step."""
        self.params.temperature = turned_temperature(self.params.temperature, direction)
        self._show_knobs()

    def action_pace(self, direction: int) -> None:
        """Doubles or halves the pace."""
        self.rate_limit = turned_pace(self.rate_limit, direction)
        self.pace.set_rate(self.rate_limit)
        self._show_knobs()

    def action_pause(self) -> None:
        """Pauses, or goes on."""
        if self.running:
            self.pace.toggle_pause()
            self._show_progress()
            self._show_keys()

    def action_stop(self) -> None:
        """Leaves the list of models; or ends the run; or goes back to the prompt."""
        if self.running and self.player and self.focused is self.models:
            self.player.views[0].focus()
        elif self.running and self.player:
            self.player.stop()
        else:
            self.prompt_line.focus()

    async def action_new_seed(self) -> None:
        """Another seed, and what it makes."""
        self.seed = new_seed()
        self._show_knobs()
        await self.action_generate()

    def action_rendering(self) -> None:
        """Draws pictures in another way."""
        if not (self.playable and self.playable.card.image):
            return
        self.rendering = RENDERINGS[(RENDERINGS.index(self.rendering) + 1) % len(RENDERINGS)]
        if not self.query(Canvas):
            self._say(f"pictures will be drawn in {RENDERING_NAMES[self.rendering]}")
        for canvas in self.query(Canvas):
            canvas.draw_in(self.rendering)

    def action_models(self) -> None:
        """Goes to the list of models, also where it is folded away."""
        self.models.add_class("-open").focus()

    def action_scroll_output(self, direction: int) -> None:
        """Scrolls what was made."""
        shown = self.player.views if self.player else list(self.query(About))
        for widget in [self.player] if self.player and len(shown) > 1 else shown:
            (widget.scroll_page_down if direction > 0 else widget.scroll_page_up)(animate=False)

    def action_help(self) -> None:
        """Shows the help, once."""
        if not isinstance(self.screen, ModalScreen):
            self.push_screen(HelpScreen())

    def on_key(self, event: events.Key) -> None:
        """What is typed while nothing is typed into goes to the prompt, but for the keys that mean something."""
        typed = event.character if event.is_printable else None
        if typed and typed not in " []?" and not isinstance(self.screen, ModalScreen):
            self._type(typed)
            event.stop()

    def on_paste(self, event: events.Paste) -> None:
        """What is pasted, too."""
        if not isinstance(self.screen, ModalScreen):
            self._type(event.text)

    def _type(self, text: str) -> None:
        """Begins a new prompt; tab and esc lead to the old one. The next letter may be on its way here already."""
        if not self.prompt_line.has_focus:
            self.screen.set_focus(self.prompt_line)
            self.prompt_line.value = ""
        self.prompt_line.take(text)

    def on_input_changed(self) -> None:
        """A prompt that is mended needs no complaint."""
        self.clear_notifications()

    def on_resize(self) -> None:
        """The knobs may have come or gone."""
        self.call_after_refresh(self._show_summary)

    def on_descendant_focus(self) -> None:
        """The keys mean other things elsewhere."""
        if self.closing:
            return
        self.models.set_class(self.focused is self.models, "-open")
        self._show_keys()

    def _show_facts(self) -> None:
        if self.playable:
            card = self.playable.card
            self.header.show(card.name, card.architecture, self.playable.model.provider)

    def _show_knobs(self) -> None:
        self.knobs.show(self.params, self.seed, self.rate_limit)
        self._show_summary()
        self._show_keys()

    def _show_progress(self) -> None:
        self.knobs.show_progress(self._meter.progress(paused=self.pace.paused))
        self._show_summary()

    def _show_summary(self) -> None:
        """Where the knobs have no room, the prompt's frame says the most important of them."""
        facts = (f"{self.params.temperature:.2f}", f"seed {self.seed}", self.knobs.progress)
        said = "" if self.side.display else "  ".join(fact for fact in facts if fact)
        if self.prompt_line.border_subtitle != said:  # the same again would draw the prompt again
            self.prompt_line.border_subtitle = said

    def _show_keys(self) -> None:
        drawing = self.playable is not None and self.playable.card.image is not None
        in_prompt, paused = isinstance(self.focused, Prompt), self.pace.paused
        in_list = isinstance(self.focused, ModelList)
        self.key_bar.show(
            pairs_now(running=self.running, paused=paused, in_prompt=in_prompt, in_list=in_list, drawing=drawing)
        )

    def _complain(self, fault: str) -> None:
        self._say(fault, severity="error")

    def _say(self, what: str, severity: SeverityLevel = "information") -> None:
        """Tells one thing at a time."""
        self.clear_notifications()
        self.notify(scrub(what), severity=severity, timeout=8, markup=False)
