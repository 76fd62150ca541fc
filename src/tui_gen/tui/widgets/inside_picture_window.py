"""What is known of the inside of a model that draws, around the cursor and over the picture: read in a thread."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from tui_gen.generation.branch import Branch
from tui_gen.generation.describe import head_of, shown_token
from tui_gen.images.codec import ImageCodec
from tui_gen.terminal_text import scrub_line
from tui_gen.tui.widgets.inside_window import PictureInside, Place, PromptToken, Window

if TYPE_CHECKING:  # what looks inside is loaded when somebody looks
    from tui_gen.inspection.branch_trace import BranchTrace, FeatureMap
    from tui_gen.inspection.conditioning import PromptEffect
    from tui_gen.sessions.workspace import Workspace

_PARTS = 5
"""Of a map of features, from one time that it is shown to the next."""


class PictureReader:
    """Reads what is inside along a branch, for one place after the other; keeps the features of one layer, and what was
    measured last of a prompt.
    """

    def __init__(self) -> None:
        self._map: FeatureMap | None = None
        self._effect: tuple[BranchTrace, int, PromptEffect] | None = None

    def read(self, trace: BranchTrace, place: Place, workspace: Workspace) -> Iterator[Window]:
        """What is known, and more and more of it. Raises TuiGenError where the model fails."""
        codec = workspace.loaded_model.codec
        assert isinstance(codec, ImageCodec)
        head, window = head_of(trace.branch, codec), _window(trace, place, workspace, codec)
        picture = window.picture
        assert picture
        if place.drawing in ("state", "units") and picture.layers:
            yield from self._read_features(trace, place, window, head)
        elif place.drawing == "tokens" and place.measures and any(each.is_phrase for each in picture.prompt):
            for effect in self._effects(trace, place, picture, head, workspace.loaded_model.card.bos):
                yield replace(window, picture=replace(picture, effect=effect))
        else:
            yield window

    def _read_features(self, trace: BranchTrace, place: Place, window: Window, head: int) -> Iterator[Window]:
        from tui_gen.inspection.branch_trace import FeatureMap

        picture = window.picture
        assert picture
        layer = picture.layers[picture.layer]
        if self._map is None or (self._map.trace, self._map.layer) != (trace, layer):
            self._map = FeatureMap(trace, picture.image, layer, head)
        features = self._map
        for number, _ in enumerate(features.grow(place.position)):
            if number % _PARTS == 1:
                yield _with_features(window, features)
        yield _with_features(window, features)

    def _effects(
        self, trace: BranchTrace, place: Place, picture: PictureInside, head: int, empty: int
    ) -> Iterator[PromptEffect]:
        """Where the picture is the one that was measured last, what the prompt moves at this place alone is new."""
        from tui_gen.inspection.conditioning import prompt_effect

        last = self._effect[2] if self._effect and self._effect[:2] == (trace, place.past) else None
        for effect in prompt_effect(trace, picture.image, head=head, position=place.position, empty=empty):
            yield effect if last is None else replace(last, moved=effect.moved or last.moved)
        self._effect = trace, place.past, effect


def _with_features(window: Window, features: FeatureMap) -> Window:
    assert window.picture
    return replace(window, picture=replace(window.picture, features=features.copy(), lead=features.lead))


def _window(trace: BranchTrace, place: Place, workspace: Workspace, codec: ImageCodec) -> Window:
    image, position = codec.image, place.position
    value = position - head_of(trace.branch, codec)
    tokens = trace.branch.tokens[:, trace.sample].astype(np.int64)
    picture = codec.picture(1)
    picture.take(tokens[:, None])
    names = [layer.name for layer in trace.inside.layers if "features" in layer.quantities]
    order = {layer.name: number for number, layer in enumerate(image.layers)}
    names.sort(key=lambda name: order.get(name, len(order)))
    sample = f" #{trace.sample + 1}" if trace.branch.samples > 1 else ""
    return Window(
        {},
        [scrub_line(shown_token(int(tokens[position]), codec))],
        0,
        trace.inside.layers,
        title=workspace.title(trace.branch, position) + sample,
        picture=PictureInside(
            image,
            value // image.channels if value >= 0 else None,
            picture.rgb[0],
            place.glyphs,
            names,
            place.layer % max(1, len(names)),
            prompt=_prompt(trace.branch, trace.sample, codec, workspace.loaded_model.card.bos),
            condition=_condition(trace),
        ),
    )


def _prompt(branch: Branch, sample: int, codec: ImageCodec, bos: int) -> list[PromptToken]:
    """What stands before the picture; equal tokens that follow each other stand together."""
    phrases = {token: phrase for phrase, token in codec.vocabulary.items()}
    parts = list[PromptToken]()
    for at, token in enumerate(branch.tokens[: head_of(branch, codec), sample].tolist()):
        if parts and parts[-1].id == token:
            parts[-1] = replace(parts[-1], past=at + 1)
            continue
        is_phrase = token in codec.image.conditions
        text = phrases.get(token, f"condition {token}") if is_phrase else "start" if token == bos else "ahead"
        parts.append(PromptToken(at, at + 1, token, scrub_line(text), is_phrase))
    return parts


def _condition(trace: BranchTrace) -> int:
    shapes = [port.shape for port in trace.inside.model.inputs if port.name == "state.condition"]
    return next((size for shape in shapes for size in shape[-1:] if isinstance(size, int)), 0)
