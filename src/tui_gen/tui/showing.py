"""What the rest of the screen says of the stage: the first line, the knobs, the branches, what the keys do."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tui_gen.tui.context import Context

if TYPE_CHECKING:
    from tui_gen.tui.app import TuiGen


class Showing:
    """Looks at the parts of the screen and tells others of them."""

    def __init__(self, desk: TuiGen) -> None:
        self._desk = desk
        self._placed = ("", "")

    def everything(self) -> None:
        """Knobs, branches and keys, after something else has come on the stage."""
        desk = self._desk
        self.knobs()
        if desk.playable and desk.stage.sitting:
            name = desk.stage.branch.name if desk.stage.branch else ""
            desk.branches.show(desk.stage.sitting.tree, name, desk.playable.codec)

    def facts(self) -> None:
        """The model, in the first line."""
        desk = self._desk
        if desk.playable:
            card, self._placed = desk.playable.card, desk.playable.model.placed
            desk.header.show(card.name, card.architecture, *self._placed)

    def device(self) -> None:
        """Where the model runs, if that has changed, and what went wrong there."""
        model = self._desk.playable.model if self._desk.playable else None
        if model is None or (model.placed == self._placed and not model.has_news):
            return
        for line in model.news():
            self._desk.say(line, severity="warning")
        self.facts()

    def knobs(self) -> None:
        """Where the knobs stand."""
        desk = self._desk
        if desk.playable:
            desk.knobs.show(desk.dials.values(), changed_for_next=desk.stage.changed_for_next())
        self.summary()
        self.keys()

    def summary(self) -> None:
        """Where the knobs have no room, the prompt's frame says the most important of them."""
        desk = self._desk
        place = desk.next_token.title if desk.walking.cursor else ""
        facts = (place, f"{desk.dials.params.temperature:.2f}", f"seed {desk.dials.seed}", desk.knobs.progress)
        said = "" if desk.side.display else "  ".join(fact for fact in facts if fact)
        if desk.prompt_line.border_subtitle != said:  # the same again would draw the prompt again
            desk.prompt_line.border_subtitle = said

    def keys(self) -> None:
        """What the keys do now."""
        self._desk.key_bar.show(self.context())

    def context(self) -> Context:
        """What a person is doing."""
        desk, stage = self._desk, self._desk.stage
        focused, branch = desk.focused, stage.branch
        return Context(
            running=stage.running,
            paused=stage.paused,
            unfinished=stage.can_grow,
            walking=desk.walking.cursor is not None,
            in_prompt=focused is desk.prompt_line,
            in_list=focused is desk.models,
            in_branches=focused is desk.branches,
            in_panel=focused is desk.next_token,
            in_knobs=focused is desk.knobs,
            in_surprise=focused is desk.side.surprise,
            several=branch is not None and branch.samples > 1,
            drawing=desk.playable is not None and desk.playable.card.image is not None,
            made=branch is not None,
            comparing=bool(stage.query("Comparison")),
        )
