"""Branches in words and pictures: how one began, and where two of them differ."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np

from tui_gen.card import ImageSpec
from tui_gen.generation.branch import Branch
from tui_gen.generation.surgery import Forget, Hold, Operation
from tui_gen.generation.tree import differences
from tui_gen.images.codec import ImageCodec
from tui_gen.images.picture import UNDRAWN, Picture, Pixels, first_pixel
from tui_gen.sampling.knobs import SHOWN
from tui_gen.sampling.params import FREE, Mask, SamplingParams, Tokens
from tui_gen.text.codec import Codec, TextCodec
from tui_gen.text.transcript import Transcript

_DIMMED = 5
"""How many times darker pixels are that both have: dark enough for any rendering to set those apart that differ."""
_LINE_END = "↵"


def describe(branch: Branch, codec: Codec, parent: Branch | None = None) -> str:
    """How a branch began, such as `seed 42: the cat`, `token 31: dog`, `completion`, `sweep temperature` or
    `forget h of layer 1 at token 31`.

    parent: the branch that it left; without it, what was turned there is not known. The text holds what models and
    people wrote, so scrub it before a terminal shows it.
    """
    start = branch.start
    if start.interventions:
        return _surgery_text(branch, codec, parent)
    if start.sweep:
        return _with_prompt(f"sweep {start.sweep.knob.replace('_', '-')}", start.text)
    if isinstance(codec, ImageCodec) and _completes(branch, codec.image, parent):
        return _with_prompt("completion", start.text)
    if not start.parent:
        return _with_prompt(f"seed {start.seed}", start.text)
    if start.override is not None and (start.override != FREE).any():
        return f"{place(branch, start.at, codec)}: {_override_text(start.override, codec)}"
    return _resample_text(branch, codec, parent)


def describe_difference(branch: Branch, codec: Codec, parent: Branch) -> str:
    """How a branch began, and the first token that differs from its parent's: `token 31: dog | the`, `seed 7 at token
    31: dog | the`, or where another one differs first, `seed 7 at token 31, token 33: dog | the`.

    Of several samples, that of the one which differs first; nothing as long as all is the same that both have.
    """
    text, end = describe(branch, codec, parent), min(len(branch), len(parent))
    differ = branch.tokens[:end] != parent.tokens[:end]
    differ &= branch.live[:end] & parent.live[:end]
    if not differ.any():
        return text
    position = int(differ.any(axis=1).argmax())
    sample = int(differ[position].argmax())
    own, other = (shown_token(int(one.tokens[position, sample]), codec) for one in (branch, parent))
    where = place(branch, position, codec)
    if text.startswith(f"{where}: "):
        return f"{text} | {other}"
    return f"{text}: {own} | {other}" if text.endswith(f" at {where}") else f"{text}, {where}: {own} | {other}"


def _with_prompt(what: str, prompt: str) -> str:
    """With the prompt, if there is one."""
    text = " ".join(prompt.split())
    return f"{what}: {text}" if text else what


def head_of(branch: Branch, codec: Codec) -> int:
    """The first position after the prompt: of what the model writes, or of the picture, be it given or drawn."""
    return first_pixel(branch.start.prompt, codec.image) if isinstance(codec, ImageCodec) else branch.head


def number_of(position: int, head: int) -> int:
    """The number of a token as people count: 1 for the first after the prompt, which stands at position `head`.

    So after token 44 a run stands at 44, and 44 is the length to ask for. What is below 1 stands in the prompt. Only
    coordinates (rows, columns) and what programs read (`index` in JSON, positions of a branch) count from 0.
    """
    return position - head + 1


def place(branch: Branch, position: int, codec: Codec) -> str:
    """A position as people count it, by `number_of`: `token 31`, `pixel 413`, or `prompt token 3`.

    A value of a picture in colour is a `value`, three to a pixel.
    """
    number = number_of(position, head_of(branch, codec))
    return f"{codec.unit} {number:,}" if number >= 1 else f"prompt token {position:,}"


def shown_token(token: int, codec: Codec) -> str:
    """A token by itself; of white space, a sign."""
    text = codec.token_text(token)
    return text.strip() or text.replace(" ", "␣")


def _override_text(override: Tokens, codec: Codec) -> str:
    """What stands in the first sample in which a choice was made."""
    row = override[int((override != FREE).any(axis=1).argmax())]
    tokens = row[row != FREE].tolist()
    if isinstance(codec, TextCodec) and len(tokens) > 1:
        return codec.decode(tokens).strip()
    return " ".join(shown_token(token, codec) for token in tokens)


def _resample_text(branch: Branch, codec: Codec, parent: Branch | None) -> str:
    """What is another than in the parent, and from where on."""
    start = branch.start
    at = f"at {place(branch, start.at, codec)}"
    if parent is None:
        return f"anew {at}"
    return f"{', '.join(_changes(branch, parent)) or 'anew'} {at}"


def _changes(branch: Branch, parent: Branch) -> list[str]:
    """Seed and knobs that are others than the parent's."""
    start = branch.start
    changes = [f"seed {start.seed}"] if start.seed != parent.start.seed else []
    return changes + _differing_knobs(start.params, parent.params_at(start.at))


def _surgery_text(branch: Branch, codec: Codec, parent: Branch | None) -> str:
    """What is another than in the parent, and what was done to the state."""
    changes, own = _changes(branch, parent) if parent else [], branch.start.interventions
    return ", ".join([*changes, *operations_text(branch, codec)[-len(own) :]])


def operations_text(branch: Branch, codec: Codec) -> list[str]:
    """All that is done to the state of a branch, by those that it comes from too: `forget h of layer 1 at token 31`.

    As of `describe`, scrub it.
    """
    return [_operation_text(branch, each, codec) for each in branch.operations]


def _operation_text(branch: Branch, operation: Operation, codec: Codec) -> str:
    intervention, where = operation.intervention, place(branch, operation.position, codec)
    if isinstance(intervention, Hold):
        return f"{intervention} from {where}"
    if isinstance(intervention, Forget):
        return f"{intervention} at {where}"
    donor = intervention.donor
    name = "a deleted branch" if donor.is_deleted else f"branch {donor.name}"
    return f"take the state that {name} has at {place(donor, intervention.position, codec)} at {where}"


def _differing_knobs(params: SamplingParams, before: SamplingParams) -> list[str]:
    """Each knob that is turned elsewhere, with its value."""
    names = [field.name for field in fields(SamplingParams)]
    return [
        f"{name.replace('_', '-')} {SHOWN[name](getattr(params, name))}"
        for name in names
        if getattr(params, name) != getattr(before, name)
    ]


def _completes(branch: Branch, image: ImageSpec, parent: Branch | None) -> bool:
    """Whether pixels were given that no parent had made."""
    start = branch.start
    own = max(1, start.at if start.parent else 1)
    pixels = _given_pixels(start.prompt[:, own:], image)
    if start.override is not None or (pixels == FREE).all():
        return False
    return parent is None or not np.array_equal(pixels, _given_pixels(parent.start.prompt[:, own:], image))


def _given_pixels(prompt: Tokens, image: ImageSpec) -> Tokens:
    return np.where(prompt < image.levels, prompt, FREE)


@dataclass(frozen=True)
class Marked:
    """A text, and which of its characters belong to tokens that differ."""

    text: str
    """Harmless to a terminal. A line end that differs is shown by a sign before it."""
    marks: Mask
    """bool[characters]; of words without the space before them."""


def marked(branch: Branch, codec: TextCodec, differ: Mask, sample: int = 0) -> Marked:
    """The text of one sample, where tokens at the positions `differ` are marked."""
    tokens = branch.tokens[1:][branch.live[1:, sample], sample].tolist()
    script, text, marks = Transcript(codec.reader), "", list[bool]()
    script.append(tokens)
    for number, differs in enumerate(differ[1 : len(tokens) + 1]):
        piece = script.written(number)
        if differs:
            piece = piece.replace("\n", f"{_LINE_END}\n")
        blank = not piece.strip()
        text += piece
        marks += [bool(differs) and (blank or not character.isspace()) for character in piece]
    return Marked(text, np.array(marks, dtype=bool))


def text_summary(one: Branch, other: Branch, codec: TextCodec, sample: int = 0) -> str:
    """How many of how many tokens after the prompt differ, and which is the first."""
    head = min(one.head, other.head)
    differ = differences(one, other, sample)[head:]
    total = max(int(branch.live[head:, sample].sum()) for branch in (one, other))
    if not differ.any():
        return f"all {total:,} tokens are the same"
    first = int(differ.argmax()) + head
    pair = " | ".join(_token(branch, first, sample, codec) for branch in (one, other))
    return f"{int(differ.sum()):,} of {total:,} tokens differ; the first is {place(one, first, codec)}: {pair}"


def compared_pictures(one: Branch, other: Branch, image: ImageSpec, sample: int = 0) -> Picture:
    """Three pictures: one, the other, and the pixels that differ in white on a dark copy of those that do not."""
    both = np.concatenate([pixels_of(branch, image, sample) for branch in (one, other)])
    picture = Picture(image, 3)
    picture.rgb[:] = np.concatenate([both, with_differences(both[0], pixel_differences(both))[None]])
    return picture


def with_differences(pixels: Pixels, differ: Mask) -> Pixels:
    """Some pixels in white on a dark copy of a picture [height, width, 3]. differ: bool[height, width]."""
    dark: Pixels = np.where(pixels == UNDRAWN, UNDRAWN, pixels // _DIMMED)
    dark[differ] = 255
    return dark


def pixel_differences(rgb: Pixels) -> Mask:
    """bool[height, width]: where the first two of some pictures [n, height, width, 3] differ, or one has no pixel."""
    differ: Mask = (rgb[0] != rgb[1]).any(axis=2)
    return differ


def picture_summary(rgb: Pixels) -> str:
    """How many of how many pixels of the first two pictures differ, and which is the first."""
    differ, visible = pixel_differences(rgb), (rgb[:2, :, :, 0] != UNDRAWN).any(axis=0)
    total = int(visible.sum())
    if not differ.any():
        return f"all {total:,} pixels are the same"
    first = int(differ.argmax())
    row, column = divmod(first, differ.shape[1])
    count = f"{int(differ.sum()):,} of {total:,} pixels differ"
    return f"{count}; the first is pixel {number_of(first, 0):,}: row {row}, column {column}"


def _token(branch: Branch, position: int, sample: int, codec: TextCodec) -> str:
    if position >= len(branch) or not branch.live[position, sample]:
        return "no more"
    return shown_token(int(branch.tokens[position, sample]), codec)


def pixels_of(branch: Branch, image: ImageSpec, sample: int) -> Pixels:
    """[1, height, width, 3]: what a branch has drawn."""
    picture, levels = Picture(image, 1), np.full(image.area, FREE, dtype=np.int64)
    values: Tokens = branch.tokens[first_pixel(branch.start.prompt, image) :, sample][: image.area]
    levels[: len(values)] = values
    picture.preset(levels)
    return picture.rgb
