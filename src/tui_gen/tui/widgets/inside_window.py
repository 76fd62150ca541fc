"""What is known of the inside of a model around the cursor: read in a thread, drawn elsewhere."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from tui_gen.card import ImageSpec
from tui_gen.generation.describe import head_of, number_of, shown_token
from tui_gen.images.codec import ImageCodec
from tui_gen.images.picture import Pixels
from tui_gen.sampling.params import Floats
from tui_gen.terminal_text import scrub_line
from tui_gen.text.codec import TextCodec
from tui_gen.text.transcript import Transcript

if TYPE_CHECKING:  # what looks inside is loaded when somebody looks
    from tui_gen.card import ModelCard
    from tui_gen.inspection.branch_trace import BranchTrace
    from tui_gen.inspection.conditioning import PromptEffect
    from tui_gen.inspection.influence import PictureInfluence
    from tui_gen.library import LoadedModel
    from tui_gen.runtime.inside_graph import Layer
    from tui_gen.sessions.workspace import Workspace

Values = NDArray[np.float32]
Order = Literal["movement", "number"]
Drawing = Literal["state", "cell", "influence", "units", "tokens"]
_STATE = "state."
_MOST = 0.5
"""The share of numbers by which a value of a cell is recognised in the state."""
_NAMED = 3
"""Unknown parts of a prompt that are named."""
_CONTEXT = 16
"""Tokens before those that are shown: how one is written may depend on them."""


@dataclass(frozen=True)
class Place:
    """Where somebody looks: the token at a position is being read."""

    position: int
    first: int
    past: int
    """Positions that are shown around it."""
    drawing: Drawing
    measures: bool
    """Whether influence is to be measured: the model has time for it, and somebody looks at it."""
    word: str = ""
    """Whose neighbours in the embedding are asked for; empty for those of the token that is read."""
    layer: int = 0
    """Of a picture, whose features are shown."""
    glyphs: bool = False
    """Of a picture, as of `PictureInside`."""


@dataclass(frozen=True)
class Measurement:
    """How much the prediction after the token at the cursor rests on each token, as far as it is known."""

    bits: Floats
    """[tokens]: as of `Exchange`; NaN where nothing is measured."""
    count: int
    """Of the tokens that are measured in the end."""
    fault: str = ""
    """Why there is nothing to measure."""
    prompt: float | None = None
    """Bits of the whole prompt; None where there is none, or it is not known."""
    picture: PictureInfluence | None = None
    """Of a picture, in place of `bits`."""


@dataclass(frozen=True)
class Split:
    """What each token of a text is to the model, and what came of the prompt."""

    ids: Sequence[int]
    numbers: Sequence[int]
    """As people count tokens: from 1 on behind the prompt."""
    sources: Sequence[str]
    """What a person typed for each, with the white space before it; nothing for others."""
    facts: Sequence[str]
    """What there is to say of the prompt as a whole."""
    begins: bool = False
    """Whether the first of these tokens is the one that every text begins with."""
    unknown: int | None = None
    """The id that stands for all that the vocabulary does not have."""
    neighbours: Sequence[tuple[str, float]] | None = ()
    """Of a token in the embedding, with their cosine; None where the model shows no embedding."""
    subject: str = ""
    """Which token that is."""


@dataclass(frozen=True)
class Selection:
    """What a person has chosen to look at."""

    order: Order = "movement"
    top: int = 0
    """How many units are above those in sight."""
    layer: int = 0
    """Whose cell is drawn."""
    unit: int = 0
    """Which unit of it."""
    trait: str = ""
    """Which property of the text the units are ranked by, where the text has it; empty for the first that it has."""
    pin: int | None = None
    """The unit whose activation colours the text; None for the one that follows the property most closely."""
    phrase: range | None = None
    """Positions of the tokens that are marked."""
    begun: int | None = None
    """The position where a person has begun to mark a phrase, which reaches to the cursor."""
    place: int | None = None
    """Which of the places is chosen where the same units are on; None where they are not listed."""
    step: int = -1
    """Which step of the eye is drawn; counted on from the last to the first."""


@dataclass(frozen=True)
class PromptToken:
    """A run of equal tokens before the picture."""

    first: int
    past: int
    """Positions."""
    id: int
    text: str
    """What it is: the phrase itself, or what it is for."""
    is_phrase: bool = False


@dataclass(frozen=True)
class PictureInside:
    """A picture, a pixel of it, and what it was drawn from."""

    image: ImageSpec
    pixel: int | None
    """In raster order; None before the first one."""
    rgb: Pixels
    """[height, width, 3]: what is drawn."""
    glyphs: bool = False
    """Whether it is to be drawn in characters that read without colour."""
    layers: Sequence[str] = ()
    """Those with features, in the order in which they are computed."""
    layer: int = 0
    """Whose features are known."""
    lead: int = 0
    """How many pixels ahead of the one that is drawn it is computed."""
    features: Values | None = None
    """[pixels, units]: as of `FeatureMap`."""
    prompt: Sequence[PromptToken] = ()
    condition: int = 0
    """How many numbers of the state the prompt sets; 0 where that has no name."""
    effect: PromptEffect | None = None


@dataclass(frozen=True)
class Window:
    """What was inside while some tokens in a row were read."""

    values: Mapping[str, Values]
    """As of `BranchTrace.values`."""
    labels: Sequence[str]
    """The text of each of these tokens."""
    cursor: int
    """Which of them it is about."""
    layers: Sequence[Layer] = ()
    title: str = ""
    """What the token at the cursor is, as in `token 14`."""
    pieces: Sequence[str] = ()
    """What each of these tokens wrote, with the white space before it; none of a picture."""
    influence: Measurement | None = None
    split: Split | None = None
    first: int = 0
    """The position of the first of these tokens."""
    selection: Selection = Selection()
    picture: PictureInside | None = None
    """Of a model that draws."""

    @property
    def cells(self) -> list[Layer]:
        """The layers that are recurrent."""
        return [layer for layer in self.layers if layer.kind]

    @property
    def phrase(self) -> range | None:
        """Which of these tokens are marked; None where none is."""
        at, begun = self.first + self.cursor, self.selection.begun
        phrase = self.selection.phrase if begun is None else range(min(at, begun), max(at, begun) + 1)
        if phrase is None:
            return None
        return range(max(0, phrase.start - self.first), min(len(self.labels), phrase.stop - self.first)) or None

    def state_of(self, layer: Layer, quantity: str, part: str) -> Values | None:
        """The rows of the state, float32[tokens, width], that keep a value of a layer; None where it is not known."""
        rows = [row for name, row in self.states if name.split()[-1].startswith(part)]
        values = self.values.get(f"{layer.name}.{quantity}")
        return next((row for row in rows if values is not None and _is_same(values, row)), None)

    @property
    def states(self) -> list[tuple[str, Values]]:
        """Each layer's part of the state with its name, float32[tokens, width]; of a picture the features of the layer
        that is selected, [pixels, width].
        """
        if self.picture:
            features = self.picture.features
            return [] if features is None else [(self.picture.layers[self.picture.layer], features)]
        rows = [(name.split(".")[1:], part) for name, part in self.values.items() if name.startswith(_STATE)]
        rows.sort(key=lambda row: int(row[0][-1]))
        states = [(f"layer {int(layer) + 1} {'.'.join(name)}", part) for (*name, layer), part in rows]
        return states or [
            (layer.name, self.values[f"{layer.name}.features"]) for layer in self.layers if not layer.kind
        ]


def _is_same(values: Values, state: Values) -> bool:
    """Whether a part of the state is a value of a cell, but for what surgery has changed."""
    same = np.isclose(values, state, rtol=0, atol=1e-5) if values.shape == state.shape else np.zeros(1)
    return bool(same.mean() > _MOST)


def read_window(trace: BranchTrace, place: Place, workspace: Workspace) -> Window:
    """What was inside around a place. Raises TuiGenError where the model fails."""
    codec = workspace.loaded_model.codec
    values = trace.values(place.first, place.past)
    tokens = trace.branch.tokens[place.first : place.past, trace.sample].tolist()
    sample = f" #{trace.sample + 1}" if trace.branch.samples > 1 else ""
    name = trace.branch.name
    source = "" if name.isdecimal() else f" of {scrub_line(name)}"
    return Window(
        values,
        [scrub_line(shown_token(token, codec)) for token in tokens],
        place.position - place.first,
        trace.inside.layers,
        title=workspace.title(trace.branch, place.position) + sample + source,
        pieces=_pieces(trace, place, codec) if isinstance(codec, TextCodec) else (),
        first=place.first,
        split=_split(trace, place, codec) if isinstance(codec, TextCodec) and place.drawing == "tokens" else None,
    )


def _pieces(trace: BranchTrace, place: Place, codec: TextCodec) -> list[str]:
    """What each token wrote; the first of all, which a text begins with, nothing."""
    first = max(1, place.first - _CONTEXT)
    script = Transcript(codec.reader)
    script.append(trace.branch.tokens[first : place.past, trace.sample].tolist())
    shown = range(place.first, place.past)
    return [script.written(position - first) if position else "" for position in shown]


def _split(trace: BranchTrace, place: Place, codec: TextCodec) -> Split:
    """What the tokens around a place are to the model. Raises TuiGenError."""
    from tui_gen.inspection.inside import neighbours

    branch, shown = trace.branch, range(place.first, place.past)
    text, tokens = branch.start.text, branch.tokens[:, trace.sample].tolist()
    prompt = codec.split(text)
    pairs = list(zip(prompt.ids, map(scrub_line, prompt.texts), strict=True))
    sources = ["", *(source if token == own else "" for (own, source), token in zip(pairs, tokens[1:], strict=False))]
    unknown = [source.strip() for token, source in pairs if token == codec.tokenizer.unknown_id]
    labels = [(source, scrub_line(shown_token(token, codec))) for token, source in pairs]
    near, table = None, trace.inside.embedding
    token, *others = codec.ids(place.word) if place.word else [tokens[place.position]]
    if table is not None and token < len(table):
        near = [(scrub_line(shown_token(each.token, codec)), each.cosine) for each in neighbours(table, token)]
    part = f", the first of {len(others) + 1} tokens of {place.word}" if others else ""
    return Split(
        [tokens[at] for at in shown],
        [number_of(at, head_of(branch, codec)) for at in shown],
        [sources[at] if at < len(sources) else "" for at in shown],
        list(map(scrub_line, prompt_facts(text, codec.complete(text), labels, unknown))),
        begins=place.first == 0,
        unknown=codec.tokenizer.unknown_id,
        neighbours=near,
        subject=scrub_line(shown_token(token, codec) + part),
    )


def measure(trace: BranchTrace, place: Place, loaded_model: LoadedModel) -> Iterator[Measurement]:
    """The influence on what follows the token at a place, or on the pixel there; more and more of it, and now and then
    the same again, so that one may stop.
    """
    codec = loaded_model.codec
    if isinstance(codec, ImageCodec):
        yield from _measure_picture(trace, place, loaded_model.card, head_of(trace.branch, codec))
    else:
        yield from _measure_text(trace, place, loaded_model.card.vocab_size, head_of(trace.branch, codec))


def _measure_picture(trace: BranchTrace, place: Place, card: ModelCard, first: int) -> Iterator[Measurement]:
    """On what the value at a place was drawn from, or within the prompt, the first one, which stands at `first`."""
    from tui_gen.inspection.influence import Influence, PictureExchanges

    unknown, past = np.zeros(0), max(place.position, first)
    if past < 2:
        yield Measurement(unknown, 0, "before the first pixel there is nothing that its prediction could rest on")
        return
    influence, known = Influence.on_branch(trace.branch, 0, past, trace.sample, card.vocab_size), None
    for picture in PictureExchanges(influence, card).measure():
        if known is None or picture is not known.picture:
            known = Measurement(unknown, 0, prompt=picture.prompt, picture=picture)
        yield known


def _measure_text(trace: BranchTrace, place: Place, vocab_size: int, head: int) -> Iterator[Measurement]:
    """The nearest first. head: the first position after the prompt."""
    from tui_gen.inspection.influence import Influence

    bits = np.full(place.position + 1 - place.first, np.nan)
    if len(bits) < 2:
        yield Measurement(bits, 0, "before the first token there is nothing that a prediction could rest on")
        return
    known = Measurement(bits.copy(), len(bits) - 1)
    yield known
    influence = Influence.on_branch(trace.branch, place.first, place.position + 1, trace.sample, vocab_size)
    groups = list(influence.exchangeable[:, None])
    if place.first == 0 and 2 < head <= len(bits):
        groups.append(influence.exchangeable[: head - 1])
    for part in influence.measure(groups):
        for exchange in part:
            if len(exchange.positions) == 1:
                bits[exchange.positions] = exchange.bits
        if part:
            whole = [exchange.bits for exchange in part if len(exchange.positions) > 1]
            known = Measurement(bits.copy(), len(influence.exchangeable), prompt=whole[0] if whole else None)
        yield known


def prompt_facts(text: str, whole: str, tokens: Sequence[tuple[str, str]], unknown: Sequence[str]) -> list[str]:
    """What came of a prompt. whole: with what the model's texts begin with. tokens: of each, what was typed and
    what the model reads. unknown: parts of it that the vocabulary does not have.
    """
    pairs = [(source.strip(), label) for source, label in tokens]
    lower = any(source != label and source.lower() == label for source, label in pairs)
    prefix = whole.removesuffix(text).strip()
    names = ", ".join(dict.fromkeys(unknown[:_NAMED])) + (", ..." if len(unknown) > _NAMED else "")
    return [
        f"{len(pairs)} tokens for {len(whole)} characters",
        *([f"begins with {prefix}"] if prefix else []),
        *(["read in lower case"] if lower else []),
        f"{len(unknown)} unknown: {names}" if unknown else "nothing unknown",
    ]
