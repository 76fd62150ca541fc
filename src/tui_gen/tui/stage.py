"""The middle of the screen: what a person sees of a branch, and its run."""

from __future__ import annotations

from typing import TYPE_CHECKING

from textual.containers import Container

from tui_gen.branch import Branch
from tui_gen.raster import RENDERING_NAMES, RENDERINGS
from tui_gen.sitting import Sitting
from tui_gen.sweep import Sweep
from tui_gen.tui.about import About
from tui_gen.tui.canvas import Canvas
from tui_gen.tui.meter import Meter
from tui_gen.tui.page import TextPage
from tui_gen.tui.player import Player

if TYPE_CHECKING:
    from tui_gen.tui.app import TuiGen
    from tui_gen.tui.comparison import Comparison


class Stage(Container):
    """Shows one thing at a time, and tells the rest of the screen of its run."""

    def __init__(self, desk: TuiGen) -> None:
        super().__init__(id="stage")
        self.desk = desk
        self.sitting: Sitting | None = None
        self.player: Player | None = None
        self.meter = Meter(goal=0)

    @property
    def branch(self) -> Branch | None:
        """What is shown."""
        return self.player.branch if self.player else None

    @property
    def running(self) -> bool:
        """Whether tokens are being made, be it that they wait."""
        return self.player is not None and self.player.running

    @property
    def paused(self) -> bool:
        """Whether the run waits for a person."""
        return self.running and self.player is not None and self.player.pace.paused

    @property
    def can_grow(self) -> bool:
        """Whether what rests here could go on: a text that has not come to its end, a picture that is not whole."""
        branch, sitting = self.branch, self.sitting
        if not branch or not sitting or self.running or branch.ended:
            return False
        return not sitting.playable.card.image or len(branch) < sitting.limit(branch)

    async def put(self, widget: About | Player | Comparison) -> None:
        """Replaces what is there; a run that is there ends."""
        self.player = widget if isinstance(widget, Player) else None
        self.desk.walking.forget()
        await self.remove_children()
        await self.mount(widget)

    async def show(self, branch: Branch, *, go: bool = False) -> None:
        """Puts a branch on the stage, and lets it grow if it is told to."""
        desk, sitting, begun = self.desk, self.sitting, branch.begun.params
        assert sitting
        titles = begun.headings() if isinstance(begun, Sweep) else ()
        player = Player(
            sitting.playable,
            branch,
            head=sitting.head(branch),
            params=desk.dials.params_for(begun),
            rendering=desk.rendering,
            titles=titles,
        )
        sitting.shown = branch.name
        player.rest("length" if branch.ended or len(branch) >= sitting.limit(branch) else "stopped")
        await self.put(player)
        desk.set_class(bool(titles), "-sweeping")
        self.meter = Meter(sitting.limit(branch) - player.head, sitting.playable.codec.unit)
        player.views[min(desk.walking.sample, len(player.views) - 1)].focus()
        if go:
            player.go(desk.dials.rate, sitting.limit(branch))
        desk.walking.show()
        desk.surprising.follow(anew=True)
        desk.keeping.note_shown(branch)
        self.show_progress()
        desk.showing.everything()

    def on_player_advanced(self, message: Player.Advanced) -> None:
        """Shows what was made, where the newest of it came from, and how far the run is: all in one repaint."""
        if message.player is not self.player or self.desk.closing:  # late: of the run before
            return
        message.player.take(message.made)
        self.meter.count(message.made)
        self.desk.walking.follow(message.made)
        self.desk.showing.device()
        self.desk.header.show_rate(self.meter.rate(), self.meter.step_seconds)
        self.desk.surprising.follow()
        self.desk.keeping.note_made(message.player.branch)
        self.show_progress()

    def on_player_rested(self, message: Player.Rested) -> None:
        """Says why no more is made."""
        if message.player is not self.player or self.desk.closing:
            return
        message.player.rest(message.ending)
        if message.fault:
            self.desk.complain(message.fault)
        self.desk.header.show_rate(self.meter.average_rate(), self.meter.step_seconds)
        self.desk.surprising.follow()
        self.desk.keeping.note_made(message.player.branch, resting=True)
        self.show_progress()
        self.desk.showing.knobs()

    def on_text_page_clicked(self, message: TextPage.Clicked) -> None:
        """Walks to the token."""
        self.desk.walking.to(message.number + 1, message.sample)

    def on_canvas_clicked(self, message: Canvas.Clicked) -> None:
        """Walks to the pixel."""
        if self.player and self.player.playable.card.image:
            channels = self.player.playable.card.image.channels
            self.desk.walking.to(self.player.head + message.number * channels, message.sample)

    def pause(self) -> None:
        """Pauses, with the cursor behind the last token; goes on; makes a run that has reached its length longer."""
        player = self.player
        if not player:
            return
        if player.running:
            if player.pace.toggle_pause():
                self.desk.walking.to_end()
            else:
                self.desk.walking.leave()
        elif not player.branch.ended and self.sitting:
            self.desk.walking.leave()
            self.grow(self.sitting.playable.codec.length(self.desk.dials.length))
        self.desk.showing.everything()

    def draw_otherwise(self) -> None:
        """Draws pictures in the next of the ways."""
        desk = self.desk
        desk.rendering = RENDERINGS[(RENDERINGS.index(desk.rendering) + 1) % len(RENDERINGS)]
        if not self.query(Canvas):
            desk.say(f"pictures will be drawn in {RENDERING_NAMES[desk.rendering]}")
        for canvas in self.query(Canvas):
            canvas.draw_in(desk.rendering)

    def grow(self, count: int) -> None:
        """Makes so many more tokens, of a run that rests."""
        player, sitting = self.player, self.sitting
        assert player
        assert sitting
        count = count or sitting.playable.codec.length(None)
        if len(player.branch) >= sitting.limit(player.branch):
            sitting.lengthen(player.branch, count)
        limit = min(sitting.limit(player.branch), len(player.branch) + count)
        if len(player.branch) >= limit:
            self.desk.say("the picture is complete")
            return
        self.meter.goal = sitting.limit(player.branch) - player.head
        player.go(self.desk.dials.rate, limit)

    def obey(self, knob: str) -> None:
        """A knob was turned: what it means for the run that is shown."""
        player, dials = self.player, self.desk.dials
        if player and knob == "pace":
            player.pace.set_rate(dials.rate)
        if player and self.sitting and knob == "length":
            self.sitting.set_length(player.branch, dials.length)
            player.limit = self.sitting.limit(player.branch)
            self.meter.goal = player.limit - player.head
        self.desk.walking.show_knobs()
        self.show_progress()

    def changed_for_next(self) -> set[str]:
        """Knobs that count for the next run, and stand elsewhere than where this one began."""
        branch, dials = self.branch, self.desk.dials
        if not branch or not self.running or isinstance(branch.begun.params, Sweep):
            return set()
        now = {"samples": (branch.samples, dials.samples), "seed": (branch.begun.seed, dials.seed)}
        return {name for name, (there, here) in now.items() if there != here}

    def show_progress(self) -> None:
        """How far the run is."""
        player, said = self.player, ""
        if player:
            made = max(0, len(player.branch) - player.head)
            said = (
                self.meter.result(player.ending, made)
                if player.ending
                else self.meter.progress(made, paused=self.paused)
            )
        self.desk.knobs.show_progress(said)
        self.desk.showing.summary()
