"""The playground on a tour: at each stop it does what the tour says, one thing after the other."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import partial
from inspect import isawaitable
from pathlib import Path
from typing import ClassVar, cast

from textual import events, on
from textual.binding import BindingType
from textual.geometry import Size
from textual.message import Message
from textual.screen import ModalScreen

from tui_gen.errors import TuiGenError
from tui_gen.images.codec import ImageCodec
from tui_gen.images.completion import erased, parse_part
from tui_gen.library import Entry, locate
from tui_gen.sessions.workspace import Workspace
from tui_gen.tui.bindings import KEYS, Key, Owner, bindings_of, keys_of
from tui_gen.tui.dialogs.dialog import Dialog
from tui_gen.tui.dialogs.surgery import surgery_dialog
from tui_gen.tui.knob_state import Settings
from tui_gen.tui.layout import Content, TourPlace, tour_place
from tui_gen.tui.model_loader import ModelRefused
from tui_gen.tui.playground import PlaygroundScreen
from tui_gen.tui.tour import COMPARE, WAIT, WALK, Act, Stop, Tour
from tui_gen.tui.widgets.header import about_text
from tui_gen.tui.widgets.inside_panel import Deed
from tui_gen.tui.widgets.tour_panel import TourPanel

_TALL = 30
"""Lines of a screen on which the frame of the prompt is worth its two."""
Errand = Callable[[], Awaitable[bool]]
"""Does something, and says whether it is done; otherwise it is called again when something has happened."""


class TourScreen(PlaygroundScreen):
    """A playground that leads through a tour. What a person does comes before what the tour has still to do."""

    BINDINGS: ClassVar[list[BindingType]] = bindings_of("TourScreen")
    others: tuple[Owner, ...] = ("TourScreen",)

    class GoOn(Message):
        """Something has happened that the next errand may wait for."""

    @dataclass
    class Turned(Message):
        """A person wants to go so many stops on."""

        by: int

    def __init__(
        self,
        tour: Tour,
        settings: Settings,
        entries: Sequence[Entry],
        workspaces: list[Workspace],
        keys: Sequence[Key] = KEYS,
    ) -> None:
        super().__init__(settings, entries, workspaces, keys)
        self.tour, self.number, self.is_on = tour, 0, True
        """number: of the stop, from 0 on."""
        self.panel = self._new_panel()
        self.errands = deque[Errand]()
        """What the tour has still to do at this stop."""
        self._leads = True
        """Whether nobody has pressed a key at this stop."""
        self._opening: Path | None = None
        """The folder that this stop has asked for."""

    def _new_panel(self) -> TourPanel:
        words = {"next_stop": "next", "stop_before": "back", "leave_tour": "leave"}
        return TourPanel([(key.shown, words[key.id]) for key in keys_of("TourScreen", self._keys)])

    def on_mount(self) -> None:
        """Begins with the first stop."""
        self.mount(self.panel, before=self.search)
        self._go_to(0)
        self.call_later(self._free_letters)  # after the playground has asked for the prompt

    async def serve(self, workspace: Workspace) -> None:
        """Letters stay keys of the tour: what goes away with the focus would leave it to the prompt."""
        if self.is_on:
            self.set_focus(None)
        await super().serve(workspace)
        if self.is_on:
            self._free_letters()

    def _free_letters(self) -> None:
        """Takes the focus from the prompt; it is asked for by way of the app."""
        self.app.call_later(self.set_focus, None)

    # --- where it stands ---

    @property
    def stop(self) -> Stop:
        """The present one."""
        return self.tour.stops[self.number]

    @property
    def place(self) -> TourPlace:
        """Of the panel."""
        return self._beside(self.output.content, inside=self.inside.is_on)

    def _beside(self, content: Content, *, inside: bool = False) -> TourPlace:
        size = self.app.size
        lines = self.panel.lines_at(size.width)
        return tour_place(size, content, lines, inside=inside) if self.is_on else TourPlace()

    @property
    def room(self) -> Size:
        """What the panel leaves."""
        size, place = self.app.size, self.place
        return Size(size.width - place.columns, size.height - place.lines)

    def share_room(self) -> None:
        """The panel has room first; on a low screen the prompt goes without its frame."""
        place = self.place
        self.panel.take_place(place)
        self.set_class(place.lines > 0 and self.app.size.height < _TALL, "-slim")
        super().share_room()

    def _say(self, panel: TourPanel) -> None:
        """What there is to say at this stop."""
        text, attempt = self.stop.words(self._keys)
        title = f"{self.number + 1} of {len(self.tour.stops)} · {self.stop.title}"
        panel.show(title, text, f"Try: {attempt}" if attempt else "")

    def on_screen_suspend(self) -> None:
        """A dialog that the tour has opened leaves its words in sight."""
        dialog = self.app.screen
        if isinstance(dialog, Dialog) and self._leads and self.is_on:
            panel, place = self._new_panel(), self._beside("text")  # what dialogs have is wide
            self._say(panel)
            panel.take_place(place)
            dialog.mount(panel)

    # --- keys ---

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Without a tour, its letters are letters."""
        return self.is_on if action in ("tour", "leave_tour") else super().check_action(action, parameters)

    def heed(self, event: events.Key | events.Paste) -> None:
        """The tour does no more at this stop, unless it is a key of its own; a model that it opens is waited for."""
        own = isinstance(event, events.Key) and any(event.key in key.names for key in keys_of("TourScreen", self._keys))
        if not self.loader.folder and not own:
            self._leads = False
            self.errands.clear()

    async def take(self, key: str) -> bool:
        """A key that a dialog has no use for; for one of the tour, the dialog closes. False for any other."""
        own = next((each for each in keys_of("TourScreen", self._keys) if key in each.names), None)
        if not own or not self.is_on:
            return False
        await self._close_dialogs()
        name, arguments = own.parts
        getattr(self, f"action_{name}")(*arguments)
        return True

    async def _close_dialogs(self) -> None:
        while isinstance(self.app.screen, ModalScreen):
            await self.app.pop_screen()

    def action_tour(self, by: int) -> None:
        """So many stops on."""
        self.post_message(self.Turned(by))

    def action_leave_tour(self) -> None:
        """The panel goes; all else stays."""
        self.is_on, self.others = False, ()
        self.errands.clear()
        for screen in self.app.screen_stack:
            screen.query(TourPanel).remove()
        self.share_room()

    async def on_tour_screen_turned(self, message: Turned) -> None:
        """Another stop; dialogs close."""
        number = self.number + message.by
        if not self.is_on:
            return
        if not 0 <= number < len(self.tour.stops):
            which = "first" if number < 0 else "last"
            self.notify(f"this is the {which} stop; all that was made is in the list of branches of its model")
            return
        await self._close_dialogs()
        self._go_to(number)

    # --- what it does ---

    def _go_to(self, number: int) -> None:
        self.number, self._leads, self._opening = number, True, None
        self.set_focus(None)
        stop = self.stop
        self.errands = deque([
            partial(self._open_model, stop.model),
            self._let_go,
            partial(self._begin, stop),
            *(partial(self._play_beside, name) for name in stop.beside),
            *(partial(self._do, act) for act in stop.acts),
        ])  # fmt: skip
        self._say(self.panel)
        self.share_room()
        self.post_message(self.GoOn())

    async def on_tour_screen_go_on(self) -> None:
        """The next errand, if what it waits for is there."""
        errands = self.errands
        if not errands:
            return
        errand = errands[0]
        try:
            is_done = await errand()
        except TuiGenError as fault:
            errands.clear()
            self.notify(f"stop {self.number + 1}: {fault}", severity="error")
            return
        if is_done and errands and errands[0] is errand:  # else a key came in between
            errands.popleft()
            self.post_message(self.GoOn())

    def show_progress(self) -> None:
        """An errand may have waited for it."""
        super().show_progress()
        if self.errands:
            self.post_message(self.GoOn())

    @on(ModelRefused)
    def give_up(self) -> None:
        """What was to be done with it is not; the next stop may have another model."""
        if self._opening:
            self.errands.clear()
        self.post_message(self.GoOn())

    async def _open_model(self, name: str) -> bool:
        """One at a time: who goes on fast waits for one model, not for ten."""
        if self.loader.folder:
            return False
        if not name:
            return True
        folder = locate(name)
        if self.workspace and self.workspace.loaded_model.path.resolve() == folder.resolve():
            return True
        if workspace := self.loader.ready(folder):
            await self._return_to(workspace)
            return True
        self._opening = folder
        self.open(folder)
        return False

    async def _let_go(self) -> bool:
        """Nothing that goes away next has the focus, also of what was asked for by way of the app."""

        def free() -> None:
            self.set_focus(None)
            self.post_message(self.GoOn())

        if self.focused:
            self.app.call_later(free)
        return self.focused is None

    async def _begin(self, stop: Stop) -> bool:
        """Nothing is made yet, the knobs stand as the stop has them, and the focus is where letters are keys."""
        if self.workspace:
            if self.inside.is_on:
                self.inside.close()
            self.inside.view.begin_anew()
            self.inside.view.attend(None)
            self.side.attend(None)
            self.side.show_surprisal(False)
            await self.output.show_card(about_text(self.workspace.loaded_model, self._keys))
            for name in self.knobs.table:
                self.knobs.reset(name)
            for name, value in stop.knobs.items():
                self.knobs.type(name, "unlimited" if value == math.inf else f"{value}")
            self.prompt.show_text(stop.prompt)
            self.share_room()
            self.side.show_knobs()
            self.show_state()
            self._free_letters()
        return True

    async def _play_beside(self, name: str) -> bool:
        folder = locate(name)
        workspace = self.loader.ready(folder)
        if workspace and self._opening != folder:
            await self._compare(workspace.loaded_model)
        elif not workspace and self._opening != folder:
            self._opening = folder
            self.loader.open_beside(folder)
        return workspace is not None

    async def _do(self, act: Act) -> bool:
        view = self.run_view
        if act.name in (WALK, WAIT):
            return self._walk(act)
        if (act.answer or act.name == COMPARE) and view and view.running and not view.paused:
            return False
        if act.answer or act.name == COMPARE:
            self.set_focus(None)  # it is on what goes away, and would fall to the prompt
        if act.name == COMPARE:
            if view and view.branch.start.parent:
                await self._follow(self.output.compare_branches(view.branch.start.parent))
        elif act.answer:
            await self._answer(act)
        elif act.key:
            owner, (name, arguments) = self.inside.view if act.key.owner == "InsideView" else self, act.key.parts
            for _ in range(act.number):
                result = getattr(owner, f"action_{name}")(*arguments)
                if isawaitable(result):
                    await result
        return True

    def _walk(self, act: Act) -> bool:
        """To a token or pixel, or only until it is there; False while it is not."""
        view = self.run_view
        if not view:
            return True
        image = view.workspace.loaded_model.card.image
        position = view.head + (act.number - 1) * (image.channels if image else 1)
        is_there = act.number and len(view.branch) > position
        if not is_there and view.running and not view.paused:
            return False
        if act.name == WALK:
            view.walk_to(position)
        return True

    async def _answer(self, act: Act) -> None:
        """Does what a dialog would do with this answer. Raises TuiGenError for one that it would not take."""
        view = self.run_view
        if not view or not act.key:
            return
        codec = view.workspace.loaded_model.codec
        if act.name == "complete":
            levels = view.levels(view.sample)
            if isinstance(codec, ImageCodec) and levels is not None:
                levels = erased(levels, *(parse_part(word, codec.image) for word in act.answer.split()))
                await self._follow(self.output.complete(self.prompt.text, levels, self.knobs.samples))
        elif surgery := self.inside.view.surgery(cast(Deed, act.key.parts[1][0])):
            _, read = surgery_dialog(surgery, view.workspace, self._stood)
            try:
                intervention = read(act.answer)
            except KeyError:
                raise TuiGenError(f"{act.answer!r:.40} is none of the lines from which one chooses there") from None
            branch, position = surgery.branch, surgery.position
            await self._follow(self.output.begin(lambda workspace: workspace.operate(branch, position, intervention)))
