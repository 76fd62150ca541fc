"""A terminal that is closed and a polite kill quit like the key does, so that the terminal is left sane."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from textual import events
from textual.app import App, ComposeResult
from textual.binding import BindingType
from textual.containers import Horizontal
from textual.notifications import SeverityLevel
from textual.screen import ModalScreen

from tui_gen.generation.branch import Branch
from tui_gen.images.raster import Rendering
from tui_gen.library import Entry, LoadedModel
from tui_gen.terminal_text import scrub
from tui_gen.tui.bindings import KEYS, Context, is_bound, works
from tui_gen.tui.cursor import BEHIND, Walking
from tui_gen.tui.dialogs.help import HelpScreen
from tui_gen.tui.knob_state import Dials, Settings
from tui_gen.tui.model_loader import Serving
from tui_gen.tui.playground import Branching, Keeping, Showing, Side
from tui_gen.tui.widgets.header import Header, KeyBar
from tui_gen.tui.widgets.lists import Lists
from tui_gen.tui.widgets.prompt import Prompt
from tui_gen.tui.widgets.run_view import Stage
from tui_gen.tui.widgets.surprisal_panel import Surprising

if TYPE_CHECKING:
    from textual.command import Provider

THEMES = ("textual-dark", "textual-light")


def quit_on_signals(app: App[Any]) -> None:
    """To be called in the app's event loop. The exit status is 128 and the signal's number."""
    for number in (signal.SIGTERM, getattr(signal, "SIGHUP", signal.SIGTERM)):
        with contextlib.suppress(NotImplementedError, RuntimeError):  # Windows; not in the main thread
            asyncio.get_running_loop().add_signal_handler(number, app.exit, None, 128 + number)


def _actions() -> type[Provider]:
    """What the command palette finds; it is loaded when somebody asks."""
    from tui_gen.tui.dialogs.help import Actions

    return Actions


class TuiGen(App[None]):
    """The playground. Its parts do the work; they find each other here."""

    CSS_PATH = "app.tcss"
    TITLE = "tui-gen"
    COMMANDS = {_actions}  # noqa: RUF012 (so it is in Textual)
    HORIZONTAL_BREAKPOINTS = [(0, "-narrow"), (70, "-normal"), (100, "-roomy"), (150, "-wide")]  # noqa: RUF012 (likewise)
    VERTICAL_BREAKPOINTS = [(0, "-short"), (20, "-tall")]  # noqa: RUF012 (likewise)
    BINDINGS: ClassVar[list[BindingType]] = [key.binding() for key in KEYS]
    COMMAND_PALETTE_BINDING = "ctrl+p"

    def __init__(self, settings: Settings, entries: Sequence[Entry]) -> None:
        super().__init__()
        self.animation_level = "none"  # what is scrolled to is there at once, also over a slow line
        self.settings = settings
        self.loaded_model: LoadedModel | None = None
        self.dials = Dials(settings.params, samples=settings.samples, seed=settings.seed, length=settings.length)
        self.rendering: Rendering = "blocks"
        self.compared: Branch | None = None
        """The branch to which escape leads back from a comparison."""
        self.walking, self.branching, self.keeping = Walking(self), Branching(self), Keeping(self)
        self.showing = Showing(self)
        self.surprising, self.serving = Surprising(self), Serving(self, settings)
        self.header, self.lists, self.stage, self.side = Header(), Lists(self, entries), Stage(self), Side(self)
        self.models, self.branches = self.lists.models, self.lists.branches
        self.next_token, self.knobs = self.side.next_token, self.side.knobs
        self.prompt_line, self.key_bar = Prompt(""), KeyBar()

    def compose(self) -> ComposeResult:
        """Header, three columns, prompt, keys."""
        yield self.header
        with Horizontal(id="body"):
            yield self.lists
            yield self.stage
            yield self.side
        yield self.prompt_line
        yield self.key_bar
        yield self.serving

    def on_mount(self) -> None:
        """Opens the first model; the prompt has the focus."""
        self.prompt_line.value = self.settings.prompt
        self.prompt_line.focus()
        self.serving.open(self.settings.folder)
        quit_on_signals(self)

    def action_command_palette(self) -> None:
        """Shows the list of all actions, once."""
        from tui_gen.tui.dialogs.help import Palette

        if not isinstance(self.screen, ModalScreen):
            self.push_screen(Palette(id="--command-palette"))

    async def on_input_submitted(self) -> None:
        """Enter in the prompt."""
        await self.action_generate()

    async def action_generate(self) -> None:
        """Starts a run with the prompt and the knobs as they are; while a model is being opened, as soon as it is."""
        if self.serving.busy:
            self.serving.start_when_open()
        elif self.loaded_model:
            unknown = ", ".join(dict.fromkeys(self.prompt_line.unknown()))
            if await self.branching.begin(self.prompt_line.text) and unknown:
                self.say(f"read as unknown: {unknown}")

    def action_temperature(self, direction: int) -> None:
        """Turns the temperature; over a picture that is walked through, moves the cursor by a row."""
        image, now = self.loaded_model.card.image if self.loaded_model else None, self.context
        if image and now.walking and not now.in_prompt:
            self.walking.by(-direction * image.width * image.channels)
        else:
            self.side.turn("temperature", direction)

    def action_turn(self, direction: int) -> None:
        """Turns the knob that is selected in the panel."""
        self.side.turn(self.knobs.selected, direction)

    def action_pace(self, direction: int) -> None:
        """Faster or slower."""
        self.side.turn("pace", direction)

    def action_pause(self) -> None:
        """Pauses, or goes on."""
        self.stage.pause()

    async def action_stop(self) -> None:
        """Leaves where one is, step by step: a comparison, a list, the cursor; then ends the run; then the prompt."""
        now, player = self.context, self.stage.player
        if now.comparing and self.compared:
            await self.stage.show(self.compared)
        elif player and not (now.on_output() or now.in_prompt):
            player.views[0].focus()
        elif self.walking.leave():
            return
        elif player and player.running:
            player.stop()
        else:
            self.prompt_line.focus()

    async def action_new_seed(self) -> None:
        """Another seed, and what it makes."""
        self.dials.draw_seed()
        self.showing.knobs()
        await self.action_generate()

    def action_walk(self, by: int) -> None:
        """Moves the cursor by a token; at the end, makes one."""
        self.walking.by(by)

    def action_walk_to(self, end: str) -> None:
        """To the first token, or behind the last one."""
        self.walking.to(1 if end == "first" else BEHIND)

    def action_sample(self, direction: int) -> None:
        """The panels and the cursor go to another sample."""
        self.walking.turn_to(direction)

    def action_choose(self) -> None:
        """Goes into the panel, where another token can be chosen."""
        self.surprising.hide()
        self.side.unfold(self.next_token)

    async def action_anew(self) -> None:
        """A branch that begins at the cursor."""
        await self.branching.anew()

    async def action_sweep(self) -> None:
        """The prompt at five values of the selected knob."""
        await self.branching.sweep(self.prompt_line.text, self.knobs.selected)

    def action_surprise(self) -> None:
        """Shows how surprised the model was, or no longer."""
        self.surprising.toggle()

    def action_learned(self) -> None:
        """Shows how the model learned."""
        self.serving.show_learning()

    def action_rendering(self) -> None:
        """Draws pictures in another way."""
        self.stage.draw_otherwise()

    def action_models(self) -> None:
        """Goes to the list of models."""
        self.lists.unfold(self.models)

    def action_branches(self) -> None:
        """Goes to the list of branches."""
        self.lists.unfold(self.branches)

    def action_knobs(self) -> None:
        """Goes to the knobs, also where they are folded away."""
        self.side.unfold(self.knobs)

    def action_complete(self) -> None:
        """Asks for a picture to complete."""
        self.branching.ask_for_completion(self.prompt_line.text)

    def action_save(self) -> None:
        """Asks where to save what is on the screen."""
        self.keeping.save()

    def action_command(self) -> None:
        """Shows the command that makes this again."""
        self.keeping.show_command()

    def action_copy(self) -> None:
        """Copies what was made to the terminal's clipboard."""
        self.keeping.copy()

    def action_theme(self) -> None:
        """Light or dark."""
        self.theme = THEMES[self.theme == THEMES[0]]

    def action_scroll_output(self, direction: int) -> None:
        """Scrolls what was made."""
        player = self.stage.player
        for widget in player.views if player and len(player.views) == 1 else list(self.stage.children):
            (widget.scroll_page_down if direction > 0 else widget.scroll_page_up)(animate=False)

    def action_help(self) -> None:
        """Shows the help, once."""
        if not isinstance(self.screen, ModalScreen):
            self.push_screen(HelpScreen())

    def on_key(self, event: events.Key) -> None:
        """What is typed while nothing is typed into goes to the prompt, or in the place of the token at the cursor."""
        typed = event.character if event.is_printable else None
        now = self.context
        if typed and isinstance(self.screen, ModalScreen):
            self.branching.hurry(typed)
        elif typed and not is_bound(event.key) and now.on_output():
            event.stop()
            if now.can_type_over() or (now.can_choose() and now.drawing and typed.isdigit()):
                self.branching.ask_for_word(typed)
            else:
                self.prompt_line.begin(typed)

    def on_paste(self, event: events.Paste) -> None:
        """What is pasted goes to the prompt, or in the place of the token at the cursor."""
        if isinstance(self.screen, ModalScreen):
            return
        if self.context.can_type_over():
            self.branching.ask_for_word(event.text.strip())
        else:
            self.prompt_line.begin(event.text)

    def on_input_changed(self) -> None:
        """A prompt that is mended needs no complaint."""
        self.clear_notifications()

    @property
    def closing(self) -> bool:
        """Whether the screens are gone already, while messages from them may still come."""
        return not self.screen_stack

    @property
    def failure(self) -> Exception | None:
        """What ended the screen, if it was not a person."""
        return self._exception

    @property
    def context(self) -> Context:
        """What a person is doing."""
        return self.showing.context()

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Leaves keys to dialogs and lists where they mean something there."""
        if action == "quit":
            return True
        if isinstance(self.screen, ModalScreen):
            return action not in {key.verb for key in KEYS}
        return works(action, self.context)

    def on_resize(self) -> None:
        """The knobs may have come or gone."""
        self.call_after_refresh(self.showing.summary)

    def on_descendant_focus(self) -> None:
        """The keys mean other things elsewhere."""
        if not self.closing:
            self.lists.fold()
            self.side.fold()
            self.walking.follow_focus(self.focused)
            self.showing.keys()

    def on_unmount(self) -> None:
        """What is noted is closed."""
        self.keeping.close()

    def complain(self, fault: str) -> None:
        """Tells what went wrong."""
        self.say(fault, severity="error")

    def say(self, what: str, severity: SeverityLevel = "information") -> None:
        """Tells one thing at a time."""
        self.clear_notifications()
        self.notify(scrub(what), severity=severity, timeout=5, markup=False)
