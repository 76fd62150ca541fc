"""The right of the screen: the distribution or the surprise, and the knobs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from textual.app import ComposeResult

from tui_gen.errors import TuiGenError
from tui_gen.tui.distribution import NextToken
from tui_gen.tui.folding import Folding
from tui_gen.tui.knobs import Knobs
from tui_gen.tui.surprise_panel import SurprisePanel

if TYPE_CHECKING:
    from tui_gen.tui.app import TuiGen


class Side(Folding):
    """Passes on what is chosen, turned and typed there."""

    def __init__(self, desk: TuiGen) -> None:
        super().__init__(id="side")
        self._desk = desk
        self.next_token, self.surprise, self.knobs = NextToken(), SurprisePanel(), Knobs()
        self.surprise.display = False

    def compose(self) -> ComposeResult:
        """One panel above, the knobs below."""
        yield self.next_token
        yield self.surprise
        yield self.knobs

    async def on_next_token_chosen(self, message: NextToken.Chosen) -> None:
        """Another token is to stand at the cursor."""
        await self._desk.branching.otherwise([message.token])

    def on_surprise_panel_chosen(self, message: SurprisePanel.Chosen) -> None:
        """One of the most surprising tokens: the cursor goes there."""
        self._desk.walking.to(message.position)

    def on_knobs_turned(self, message: Knobs.Turned) -> None:
        """A knob was turned."""
        self.turn(message.name, message.direction)

    def on_knobs_reset(self, message: Knobs.Reset) -> None:
        """A knob goes back to its default."""
        self._desk.dials.reset(message.name)
        self.obey(message.name)

    def on_knobs_typed(self, message: Knobs.Typed) -> None:
        """A value was typed."""
        try:
            self._desk.dials.type(message.name, message.text)
        except TuiGenError as fault:
            self._desk.complain(str(fault))
        self.obey(message.name)

    def turn(self, name: str, direction: int) -> None:
        """One step of a knob."""
        if self._desk.playable:
            self._desk.dials.turn(name, direction)
            self.obey(name)

    def obey(self, knob: str) -> None:
        """A knob stands elsewhere now."""
        self._desk.stage.obey(knob)
        self._desk.showing.knobs()
