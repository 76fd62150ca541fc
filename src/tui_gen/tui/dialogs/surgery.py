"""The dialogs of surgery: what of a state to forget, which unit to hold, whose state to take."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence

from textual.app import ComposeResult
from textual.widgets import OptionList
from textual.widgets.option_list import Option

from tui_gen.errors import TuiGenError
from tui_gen.generation.branch import Branch
from tui_gen.generation.describe import place
from tui_gen.generation.state_parts import RECURRENT, Arrays, layers_of
from tui_gen.generation.surgery import Forget, Hold, Intervention, Take, check_intervention
from tui_gen.runtime.model import Model
from tui_gen.sessions.workspace import Workspace
from tui_gen.terminal_text import scrub_line
from tui_gen.text.codec import Codec
from tui_gen.tui.dialogs.dialog import Ask, Dialog, Frame, KeyHints, complaint_of
from tui_gen.tui.widgets.cells import SteadyOptionList
from tui_gen.tui.widgets.inside_panel import InsideView

_FORM = re.compile(r"([hc])\s+([0-9]{1,4})\s+([0-9]{1,6})(?:\s+(\S+))?")
_HINT = "h or c, layer, unit, value; without a value, the one that it has now"
Reader = Callable[[str], Intervention]
"""From what a dialog returns to what it means. Raises TuiGenError."""


class Choose(Dialog[str]):
    """One of a few lines."""

    DEFAULT_CSS = """
    Choose OptionList, Choose OptionList:focus {
        height: auto;
        max-height: 16;
        border: none;
        padding: 0;
        background: $surface;
        background-tint: $background 0%;
        text-wrap: nowrap;
        text-overflow: ellipsis;
        scrollbar-size-vertical: 1;
    }
    """

    def __init__(self, title: str, choices: Sequence[str]) -> None:
        super().__init__()
        self._title, self._choices = title, choices
        self._list = SteadyOptionList(*(Option(scrub_line(choice)) for choice in choices), markup=False)

    def compose(self) -> ComposeResult:
        """The lines, and the keys."""
        with Frame(self._title):
            yield self._list
            yield KeyHints(("↑↓", "choose", ""), ("enter", "accept", "accept"), ("esc", "cancel", "leave"))

    def on_mount(self) -> None:
        """The first one is proposed."""
        self._list.highlighted = 0
        self._list.focus()

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        """Enter, or a click."""
        event.stop()
        self.dismiss(self._choices[event.option_index])

    def action_accept(self) -> None:
        """The one that is highlighted."""
        self._list.action_select()


def surgery_dialog(
    asked: InsideView.Surgery, workspace: Workspace, stood: Mapping[Branch, int]
) -> tuple[Dialog[str], Reader]:
    """The dialog for what a person asked for, and what its answer means.

    stood: where cursors stood in branches. Raises TuiGenError for a model that has no such state, a token
    that nothing follows, and where there is nothing to choose from.
    """
    model, codec = workspace.loaded_model.model, workspace.loaded_model.codec
    check_intervention(model, Forget())
    asked.branch.operated(asked.position)
    where = place(asked.branch, asked.position, codec)
    if asked.deed == "hold":
        state = [part[[asked.sample]] for part in asked.branch.donation(asked.position + 1)]
        proposal = _proposal(model, state, asked.layer, asked.unit)

        def read(text: str) -> Intervention:
            return read_hold(text, model, state)

        return Ask(f"hold a unit from {where} on", proposal, _HINT, complaint_of(read)), read
    if asked.deed == "forget":
        choices: dict[str, Intervention] = {str(each): each for each in _forgettable(model, asked.layer)}
    else:
        branches = [row.branch for row in workspace.tree.rows() if row.branch is not asked.branch]
        choices = {label: take for branch in branches for label, take in _donations(asked, branch, stood, codec)}
        if not choices:
            count = asked.branch.samples
            several = f" of {count} samples, as this one has," if count > 1 else " of one sample" if branches else ""
            raise TuiGenError(
                f"there is no other branch{several} whose state could be taken; another prompt or token begins one"
            )
    return Choose(f"{asked.deed} before {where} is read", list(choices)), choices.__getitem__


def _forgettable(model: Model, layer: int) -> Iterator[Forget]:
    """First what is of the layer that is selected."""
    places = layers_of(model, model.start(1).arrays())
    if not places:
        yield Forget()
        return
    parts, layers = (list(dict.fromkeys(each)) for each in zip(*places, strict=True))
    for at in [layers[layer % len(layers)], None] if len(layers) > 1 else [None]:
        for part in ["", *parts] if len(parts) > 1 else parts:
            if at is None or not part or (part, at) in places:
                yield Forget(part, at)


def _proposal(model: Model, state: Arrays, layer: int, unit: int) -> str:
    """The unit that is selected, with its value now."""
    check_intervention(model, Hold("h", 0, 0, 0.0))
    values = layers_of(model, state)
    layers = list(dict.fromkeys(layer for _, layer in values))
    own = layers[layer % len(layers)]
    part = next(part for part in RECURRENT if (part, own) in values)
    row = values[part, own][0]
    unit = min(unit, len(row) - 1)
    return f"{part} {own + 1} {unit} {row[unit]:.2f}"


def read_hold(text: str, model: Model, state: Arrays) -> Hold:
    """What a line such as `h 1 4 0.5` means. state: of one sample, for a value that is left out. Raises TuiGenError."""
    match = _FORM.fullmatch(text.strip())
    if not match:
        raise TuiGenError(f"{text.strip()!r:.40} is no unit and value; write them as in: h 1 4 0.5")
    part, layer, unit, value = match[1], int(match[2]) - 1, int(match[3]), match[4]
    try:
        hold = Hold(part, layer, unit, float(value or 0))
    except ValueError:
        raise TuiGenError(f"{value!r:.20} is no value; write a number such as 0.5") from None
    check_intervention(model, hold)
    return hold if value else Hold(part, layer, unit, float(layers_of(model, state)[part, layer][0, unit]))


def _donations(
    asked: InsideView.Surgery, donor: Branch, stood: Mapping[Branch, int], codec: Codec
) -> Iterator[tuple[str, Take[Branch]]]:
    """What a branch has to give that this one can take: the state where its cursor stood, and the one at its end."""
    if donor.samples != asked.branch.samples:
        return
    name, end = f"branch {donor.name}" + (f", {donor.samples} samples" if donor.samples > 1 else ""), _end(donor)
    at = min(stood.get(donor, end), end)
    takes = {f"{name}, before {place(donor, at, codec)}, where its cursor stood": Take(donor, at)} if at < end else {}
    for label, take in {**takes, f"{name}, at its end": Take(donor, end)}.items():
        if _can_take(asked, take):
            yield label, take


def _can_take(asked: InsideView.Surgery, take: Take[Branch]) -> bool:
    """Whether every sample that goes on has a state to take."""
    try:
        asked.branch.operated(asked.position, take)
    except TuiGenError:
        return False
    return True


def _end(branch: Branch) -> int:
    """The last position before which every sample has a state."""
    ended = [branch.has_ended(sample) for sample in range(branch.samples)]
    return int((branch.live.sum(axis=0) - ended).min())
