"""The dialog of image completion: which parts of which picture to draw anew, and how often."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Horizontal, Vertical
from textual.timer import Timer
from textual.widgets import Input, Static

from tui_gen.card import ImageSpec
from tui_gen.errors import TuiGenError, UsageError
from tui_gen.images.codec import ImageCodec
from tui_gen.images.completion import MAX_COMPLETIONS, Rectangle, erased, free_pixels, parse_part
from tui_gen.sampling.params import Tokens
from tui_gen.tui.dialogs.dialog import PATIENCE, Dialog, Frame, KeyHints, LineInput, Note
from tui_gen.tui.dialogs.image_picker import PictureFile, Preview
from tui_gen.tui.widgets.prompt import Prompt

_FEW = 4
"""Completions, if nobody asks for another number."""
_DRAW, _LEAVE = ("enter", "draw", "accept"), ("esc", "cancel", "leave")
_IN_FIELDS = (_DRAW, ("tab", "next", "app.focus_next"), _LEAVE)
_IN_PICTURE = (
    ("←↑→↓", "move", ""),
    ("space", "rectangle", ""),
    ("del", "erase row", ""),
    ("u", "undo", ""),
    _DRAW,
    _LEAVE,
)
_IN_RECTANGLE = (("←↑→↓", "stretch it", ""), ("space", "erase it", ""), ("esc", "drop it", ""))


@dataclass(frozen=True, eq=False)
class Completion:
    """What to complete."""

    levels: Tokens
    """int64[height, width], or [height, width, 3] for three channels; FREE is drawn, all else kept."""
    samples: int
    """How many times."""
    text: str
    """The prompt."""


class CompletionDialog(Dialog[Completion]):
    """A picture, of which parts are erased by their words or with a cursor; always shown as it would be completed."""

    DEFAULT_CSS = """
    CompletionDialog {
        Frame {
            width: 1fr;
            max-width: 140;
            height: 1fr;
            max-height: 46;
        }
        Horizontal {
            height: 1fr;
        }
        Preview {
            width: 1fr;
            height: 100%;
            margin: 0 1 0 0;
        }
        Vertical.fields {
            width: 36;
            max-width: 60%;
        }
        Prompt {
            height: 3;
            padding: 0 1;
            border: round $foreground 35%;
            background: $background;
            border-title-color: $text-muted;
        }
        Prompt:focus {
            border: round $accent;
        }
        .count {
            padding: 0 1;
        }
    }
    """
    BINDINGS: ClassVar[list[BindingType]] = [("enter", "accept", "draw")]

    def __init__(self, codec: ImageCodec, present: Tokens | None, text: str) -> None:
        """present: the levels on the screen, FREE where nothing is drawn; None without a picture. text: the prompt."""
        super().__init__()
        self._codec = codec
        self._waiting: Timer | None = None
        self._accepting = False
        self._preview, self._note = Preview(), Note()
        self._count, self._key_hints = Static(markup=False, classes="count"), KeyHints(*_IN_PICTURE)
        self._file = PictureFile(codec.image, present)
        self._erase = LineInput(title="erase", placeholder="rows:9-13 rect:4,4,9,9 pixel:3,5")
        self._prompt = Prompt(text)
        self._samples = LineInput(f"{_FEW}", title=f"completions, 1 to {MAX_COMPLETIONS}")

    def compose(self) -> ComposeResult:
        """The picture on the left, what is asked on the right."""
        with Frame("complete a picture"):
            with Horizontal():
                yield self._preview
                with Vertical(classes="fields"):
                    yield self._file
                    yield self._erase
                    if self._codec.phrases:
                        yield self._prompt
                    yield self._samples
                    yield self._count
            yield self._note
            yield self._key_hints

    def on_mount(self) -> None:
        """Starts in the picture, or with the file if there is none."""
        self._prompt.serve(self._codec, "")
        self._prompt.placeholder = "may be empty"
        (self._preview if self._levels() is not None or self._file.disabled else self._file).focus()
        self._show()

    def on_descendant_focus(self) -> None:
        """Says what the keys do now."""
        self._show_keys()

    def on_input_changed(self, event: Input.Changed) -> None:
        """The picture follows at once; reading files and complaining wait until typing pauses."""
        event.stop()
        if self._waiting:
            self._waiting.stop()
        self._accepting = False
        self._waiting = self.set_timer(PATIENCE, self._look)
        self._note.tell("")
        self._show()

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Enter."""
        event.stop()
        self.action_accept()

    def on_preview_erase(self, event: Preview.Erase) -> None:
        """Adds the word for it, if it is not there, so that the command line can be told the same."""
        event.stop()
        words, word = self._erase.value.split(), word_for(event.part, self._codec.image)
        if word not in words:
            self._set_erase(" ".join([*words, word]))

    def on_preview_undo(self, event: Preview.Undo) -> None:
        """Takes the last word away."""
        event.stop()
        self._set_erase(" ".join(self._erase.value.split()[:-1]))

    def _set_erase(self, words: str) -> None:
        """As if it had been typed: what is typed next comes behind it."""
        self._erase.value = words
        self._erase.cursor_position = len(words)

    def on_preview_selection_changed(self, event: Preview.SelectionChanged) -> None:
        """Says what the keys do now."""
        event.stop()
        self._show_keys()

    def on_picture_file_read(self, event: PictureFile.Read) -> None:
        """Shows the file; goes on where enter waited for it."""
        event.stop()
        if self._file.ready:
            self._look()
            if self._accepting:
                self.action_accept()

    def action_accept(self) -> None:
        """Closes the dialog, unless something is wrong; a file that is not read yet is waited for."""
        if self._waiting:
            self._waiting.stop()
        self._look()
        levels = self._levels()
        self._accepting = not self._file.ready
        if self._accepting or self._complaint() or levels is None:
            return
        if free_pixels(levels):
            self.dismiss(Completion(levels, int(self._samples.value), self._prompt.text))
        else:
            self._note.tell("no pixel is free, so there is nothing to draw; erase a part")

    def _look(self) -> None:
        """Reads the file that is named, if it is another one, or says what is wrong."""
        if self._file.ready:
            self._show()
            self._note.tell(self._complaint())
        else:
            self._note.tell("", f"reading {self._file.path} ...")
            self._file.look()

    def _show(self) -> None:
        """The picture, and how much of it is free."""
        levels, picture = self._levels(), self._codec.picture(1)
        if levels is None:
            self._preview.show(None)
            self._count.update("")
        else:
            picture.preset(levels)
            self._preview.show(picture.rgb[0])
            self._count.update(free_pixels_text(free_pixels(levels), picture.given.size))

    def _show_keys(self) -> None:
        inside = _IN_RECTANGLE if self._preview.is_selecting else _IN_PICTURE
        self._key_hints.show(inside if self._preview.has_focus else _IN_FIELDS)

    def _levels(self) -> Tokens | None:
        """The picture that was read last, with the parts erased."""
        levels = self._file.read.levels
        return None if levels is None else erased(levels, *self._parts[0])

    def _complaint(self) -> str:
        """The first thing that is wrong."""
        return self._file.read.fault or self._parts[1] or self._fault_of_prompt() or self._fault_of_number()

    def _fault_of_prompt(self) -> str:
        try:
            self._codec.prompt([self._prompt.text])
        except TuiGenError as fault:
            return str(fault)
        return ""

    def _fault_of_number(self) -> str:
        text = self._samples.value.strip()
        inside = text.isdecimal() and len(text) < 4 and 1 <= int(text) <= MAX_COMPLETIONS
        return "" if inside else f"the number of completions is from 1 to {MAX_COMPLETIONS}, not {text!r:.20}"

    @property
    def _parts(self) -> tuple[list[Rectangle], str]:
        return read_words(self._erase.value, self._codec.image)


def read_words(text: str, image: ImageSpec) -> tuple[list[Rectangle], str]:
    """The parts that the words erase, and what is wrong with the first word that is wrong, if any."""
    parts, faults = list[Rectangle](), list[str]()
    for word in text.split():
        try:
            parts.append(parse_part(word, image))
        except UsageError as fault:
            faults.append(str(fault))
    return parts, next(iter(faults), "")


def word_for(part: Rectangle, image: ImageSpec) -> str:
    """A part as people and the command line write it."""
    left, top, right, bottom = part
    if (left, right) == (0, image.width - 1):
        return f"rows:{top}-{bottom}" if bottom > top else f"rows:{top}"
    return f"pixel:{left},{top}" if (left, top) == (right, bottom) else f"rect:{left},{top},{right},{bottom}"


def free_pixels_text(free: int, of: int) -> str:
    """How many pixels are free, and what that means."""
    if not free:
        return f"None of {of:,} pixels is free. Erase a part that is to be drawn anew."
    if free == of:
        return f"All {of:,} pixels are free and will be drawn."
    verb = "is" if free == 1 else "are"
    return f"{free:,} of {of:,} pixels {verb} free and will be drawn; the given ones stay as they are."
