"""A branch as a file or for the clipboard: its text, its picture, or its drawing animated."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from itertools import pairwise
from pathlib import Path

import numpy as np

from tui_gen.card import ImageSpec
from tui_gen.errors import TuiGenError
from tui_gen.files import write_new
from tui_gen.generation.branch import Branch
from tui_gen.images.codec import ImageCodec
from tui_gen.images.encode import RowWriter, gif, png
from tui_gen.images.picture import Picture, first_pixel, given_levels
from tui_gen.library import LoadedModel
from tui_gen.output.writers import text_gap, text_headings
from tui_gen.sampling.params import FREE, Mask, Tokens
from tui_gen.terminal_text import counted, listed, scrub
from tui_gen.text.codec import TextCodec

SESSION = ".jsonl"
_TEXT_FORMS = {".txt": "the text"}
_IMAGE_FORMS = {".png": "the picture", ".gif": "the drawing, animated", ".txt": "the picture in ASCII"}
_SESSION_FORMS = {SESSION: "the session, for tui-gen replay"}


def forms_of(loaded_model: LoadedModel) -> Mapping[str, str]:
    """What can be written of a branch, by the ending of the file's name; the first is what most want."""
    return (_IMAGE_FORMS if isinstance(loaded_model.codec, ImageCodec) else _TEXT_FORMS) | _SESSION_FORMS


def write_output(
    path: Path, loaded_model: LoadedModel, branch: Branch, session: Callable[[Path], None] | None = None
) -> None:
    """Writes what the path's ending says, of all samples, to a file that is not there yet.

    A text is what `tui-gen generate` would print. session: writes the session to a new file. Raises TuiGenError for an
    ending that does not suit the model, a file that exists, and one that cannot be written.
    """
    ending = path.suffix.lower()
    if ending == SESSION and session:
        session(path)
    elif ending in forms_of(loaded_model) and ending != SESSION:
        write_new(path, _content(ending, loaded_model, branch))
    else:
        known = [form for form in forms_of(loaded_model) if session or form != SESSION]
        raise TuiGenError(f"{path.name} must end in {listed(known)}; the ending says what to write")


def text_of(branch: Branch, loaded_model: LoadedModel, sample: int) -> str:
    """A sample's text with its prompt, or its picture in ASCII; as the model wrote it, so scrub it to show it."""
    codec = loaded_model.codec
    if isinstance(codec, ImageCodec):
        return _ascii(_only(picture_of(branch, codec), sample))
    length = len(branch)
    live = branch.live[1:length, sample]
    return codec.reader().read_all(branch.tokens[1:length, sample][live].tolist())


def clipboard_text(branch: Branch, loaded_model: LoadedModel, sample: int) -> tuple[str, str]:
    """What to copy of a sample, harmless wherever it is pasted, and what that is: `1,204 characters of text`."""
    text = scrub(text_of(branch, loaded_model, sample))
    if isinstance(loaded_model.codec, ImageCodec):
        lines = text.count("\n")
        return text, f"{counted(lines, 'line')} of ASCII"
    return text, f"{counted(len(text), 'character')} of text"


def picture_of(branch: Branch, codec: ImageCodec) -> Picture:
    """The pictures of all samples as far as they are drawn; what a completion was given is preset."""
    picture = codec.picture(branch.samples)
    picture.preset(_given_levels(branch, codec.image))
    picture.take(branch.tokens.astype(np.int64))
    return picture


def _content(ending: str, loaded_model: LoadedModel, branch: Branch) -> bytes:
    codec = loaded_model.codec
    if isinstance(codec, TextCodec):
        return _join_texts(branch, loaded_model).encode("utf-8", "replace")
    picture = picture_of(branch, codec)
    return _ascii(picture).encode() if ending == ".txt" else {".png": png, ".gif": gif}[ending](picture)


def _join_texts(branch: Branch, loaded_model: LoadedModel) -> str:
    """All texts; each of a sweep under its heading, others apart where one has several lines."""
    texts = [text_of(branch, loaded_model, sample) for sample in range(branch.samples)]
    headings = text_headings(len(texts), branch.start.sweep)
    if not headings[0]:
        headings = ["", *(text_gap(before, text) for before, text in pairwise(texts))]
    lines = (text if text.endswith("\n") else text + "\n" for text in texts)
    return "".join(heading + text for heading, text in zip(headings, lines, strict=True))


def _ascii(picture: Picture) -> str:
    file = io.BytesIO()
    RowWriter(picture, file, "ascii", coloured=False).close()
    return file.getvalue().decode()


def _only(picture: Picture, sample: int) -> Picture:
    """One of the pictures alone."""
    alone = Picture(picture.image, 1)
    alone.rgb, alone.given, alone.drawn = picture.rgb[sample : sample + 1], picture.given, picture.drawn
    return alone


def _given_levels(branch: Branch, image: ImageSpec) -> Tokens:
    """The levels [height, width] or [height, width, 3] that stood in the prompt for every sample; FREE elsewhere, and
    where a person chose a pixel or an earlier branch had drawn it: those were seen to appear.
    """
    levels, first = given_levels(branch.start.prompt, image), first_pixel(branch.start.prompt, image)
    stands = (levels != FREE).ravel()
    given = np.asarray(branch.given[first : len(branch)].all(axis=1))
    stands[: len(given)] &= given[: len(stands)]
    stands &= ~_pixels_by_hand(branch, first, stands)
    return np.where(stands.reshape(levels.shape), levels, FREE)


def _pixels_by_hand(branch: Branch, first: int, among: Mask) -> Mask:
    """Which of some pixels a person chose in place of others."""
    pixels = np.zeros_like(among)
    for pixel in np.flatnonzero(among).tolist():
        pixels[pixel] = any(branch.is_chosen(first + pixel, sample) for sample in range(branch.samples))
    return pixels
