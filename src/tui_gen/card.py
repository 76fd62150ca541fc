"""What a model says about itself, and its JSON form (config.json)."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, cast

from tui_gen.errors import TuiGenError
from tui_gen.json_fields import JsonFields, parse_json, readable_json

Kind = Literal["text", "image"]
Colour = tuple[int, int, int]
AS_READ = "the network as it was read"
"""What an export is compared with where nobody asked the original."""
MAX_PIXELS = 2**22
MASKS = ("", "A", "B", "vertical", "horizontal")
MAX_LAYERS, MAX_TAPS, MAX_COPIES = 2000, 10_000, 16
"""Of a picture's network, as a card describes it."""
MAX_LENGTH, MAX_NAME, MAX_PROMPT, MAX_SENTENCES = 2**22, 300, 4000, 50_000
"""Characters: of a card, and in it of a name, a prompt, and what is told at length."""
MAX_LEVELS, MAX_VOCABULARY = 2**16, 2**22
_OF_THE_FILE = {"sha256", "replaces", "quality", "measured", "parity", "source_sha256", "versions"}
_SHA256 = re.compile("[0-9a-f]{64}")
MAX_TEMPERATURE = 10.0
LIMITS: dict[str, tuple[float, float]] = {
    "temperature": (0, MAX_TEMPERATURE),
    "top_k": (0, math.inf),
    "top_p": (0.0, 1.0),
    "min_p": (0.0, 1.0),
    "pace": (1, 1e6),
    "samples": (1, 4096),
    "length": (0, 1e7),
    "seed": (0, math.inf),
    "first": (0, math.inf),
    "rows": (1, 1e12),
    "batch": (1, 4096),
    "part": (1, 1e7),
    "workers": (1, 1e5),
    "epochs": (1, math.inf),
    "device": (0, 1023),
    "threads": (1, 256),
}
"""The lowest and the highest value that can be asked for: on the screen, the command line, in the configuration."""


@dataclass(frozen=True)
class LayerSpec:
    """A convolution of a picture's network, as the exported step computes it."""

    name: str
    """`inside.<name>.features` is what it gives, [samples * copies, width], where the graph has such a value."""
    taps: tuple[tuple[int, int], ...]
    """The places that it looks at: rows below and columns to the right of its own."""
    lead: int = 0
    """How many pixels ahead of the one that is drawn it is computed; less than 0 where only later ones look at it."""
    mask: str = ""
    """`A` or `B` by raster order, without its own place or with it; `vertical` or `horizontal`; empty for others."""
    dilation: int = 1
    """How many places lie from one tap to the next."""


@dataclass(frozen=True)
class ImageSpec:
    """The picture that a model draws: row by row, pixel by pixel, channel by channel, a token each."""

    height: int
    width: int
    levels: int
    """How many values a pixel, or each of its channels, can have; token ids 0 to levels - 1."""
    palette: tuple[Colour, ...] | None = None
    """RGB of each level, 0 to 255; without it, levels are even steps from black to white."""
    conditions: tuple[int, ...] = ()
    """Token ids past the levels that a prompt can name; tokenizer.json has their words."""
    channels: int = 1
    """Tokens per pixel: 1, or 3 for red, green and blue."""
    warm_up: tuple[int, ...] = ()
    """Token ids that end every prompt, after the conditions: a model that computes ahead reads them first."""
    exclusive: tuple[int, ...] = ()
    """Those of the conditions of which a prompt can name one at most."""
    layers: tuple[LayerSpec, ...] = ()
    """The network's convolutions in the order in which they are computed; empty where nobody said."""
    copies: tuple[str, ...] = ()
    """What runs side by side for each sample, one row of every value inside after the other: `prompted`, `unprompted`
    of a guided network. Empty for one that runs once.
    """

    @property
    def area(self) -> int:
        """Tokens of a picture."""
        return self.height * self.width * self.channels

    @property
    def shape(self) -> tuple[int, ...]:
        """Of a picture's tokens as an array: height and width, and 3 where there are three channels."""
        return (self.height, self.width, 3)[: 3 if self.channels == 3 else 2]

    def place(self, value: int) -> tuple[int, int, int]:
        """Row, column and channel of a picture's token; all, and the tokens, are counted from 0."""
        pixel, channel = divmod(value, self.channels)
        return *divmod(pixel, self.width), channel

    def named_place(self, value: int) -> dict[str, int]:
        """The same for programs, as `row`, `col` and `channel`; the last only where there are several."""
        named = dict(zip(("row", "col", "channel"), self.place(value), strict=True))
        return named if self.channels > 1 else {key: named[key] for key in ("row", "col")}

    def colours(self) -> tuple[Colour, ...]:
        """RGB of each level; of three channels, each takes its own part of it."""
        if self.palette:
            return self.palette
        greys = (round(255 * level / (self.levels - 1)) for level in range(self.levels))
        return tuple((grey, grey, grey) for grey in greys)


@dataclass(frozen=True)
class Quality:
    """How well the model predicts data that it was not trained on; lower is better."""

    value: float
    unit: str
    """Such as `nats per token`."""
    split: str
    """Which data it was measured on."""

    def __str__(self) -> str:
        return f"{self.value:.3f} {self.unit}"


@dataclass(frozen=True)
class ModelCard:
    """A model's facts. Constant while it runs; what a person may turn is in SamplingParams."""

    name: str
    kind: Kind
    architecture: str
    """A label for people, such as `LSTM 128`; nothing branches on it."""
    vocab_size: int
    """Width of the logits; a model may read further token ids (conditions) that it never predicts."""
    bos: int
    """The token before the first one; every prompt starts with it."""
    eos: int | None = None
    """The token that ends a sample."""
    image: ImageSpec | None = None
    prompt_prefix: str = ""
    """Text that is put before a prompt that does not start with it."""
    prompt_example: str = ""
    """A prompt that shows what the model expects."""
    temperature: float = 1.0
    """A good temperature to start with."""
    description: str = ""
    data: str = ""
    """What it was trained on, in a sentence."""
    credit: str = ""
    """Whose work that data is, at any length."""
    licence: str = ""
    quality: Quality | None = None
    measured: Mapping[str, Any] = field(default_factory=dict)
    """Samples, and figures besides `quality`, by name."""
    export: Mapping[str, Any] = field(default_factory=dict)
    """Source file's sha256, opset, parity."""
    sha256: str = ""
    """Of model.onnx, in hexadecimal; empty when unknown."""
    replaces: tuple[str, ...] = ()
    """The same of earlier files of this network, whose sessions are made again with this one."""

    @property
    def proof(self) -> str:
        """What the exported file was compared with, and how near it came; empty where the card does not say."""
        try:
            return _proof(JsonFields(dict(self.export), "export.").section("parity"))
        except TuiGenError:
            return ""

    @property
    def epoch(self) -> int | None:
        """After which it was published, of a network of a training; None where the card does not say."""
        epoch = self.export.get("epoch")
        return epoch if type(epoch) is int else None

    @property
    def part(self) -> float:
        """Of the data of that epoch that had been read; less than 1 of one that was published before its end."""
        part = self.export.get("part")
        return part if isinstance(part, float) and 0 < part < 1 else 1.0

    def to_json(self) -> str:
        """The text of config.json; facts that are unknown are left out."""
        return readable_json(self.known_facts()) + "\n"

    def known_facts(self) -> dict[str, Any]:
        """By name, without those that nobody stated."""
        facts = {key: value for key, value in asdict(self).items() if value not in (None, "", {}, ())}
        if self.image:
            facts["image"] = _known_image_facts(self.image)
        return facts

    def lasting_json(self) -> str:
        """Of the same facts, those that do not depend on the graph's file, its proof or figures: they stand in it."""
        facts = self.known_facts()
        export = {key: value for key, value in self.export.items() if key not in _OF_THE_FILE}
        others = {key: value for key, value in facts.items() if key not in _OF_THE_FILE and key != "export"}
        return json.dumps({**others, **({"export": export} if export else {})}, ensure_ascii=False, sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> ModelCard:
        """Reads config.json; unknown keys are ignored. Raises TuiGenError that names the key at fault."""
        facts = parse_json(text, longest=MAX_LENGTH)
        if not isinstance(facts, dict):
            raise TuiGenError("must hold a JSON object")
        return _read_card(JsonFields(facts, ""))


def _proof(parity: JsonFields | None) -> str:
    """In a line. Raises TuiGenError if facts are missing."""
    if parity is None:
        return ""
    against, steps = parity.text("against", AS_READ), parity.integer("steps")
    near, over = f"logits within {parity.number('max_abs_logit_difference'):.1e} of", f"over {steps:,} steps"
    if not parity.has("original_difference"):
        doubt = ", not with the original" if against.startswith(AS_READ) else ""
        return f"{near} {against}, {over}{doubt}"
    original = f"{parity.number('original_difference'):.1e} of {against}"
    return f"{near} {AS_READ}, {over}, and this within {original}"


def _known_image_facts(image: ImageSpec) -> dict[str, Any]:
    always = ("height", "width", "levels", "palette", "conditions")
    facts = {key: value for key, value in asdict(image).items() if key in always or value != getattr(ImageSpec, key)}
    if image.layers:
        facts["layers"] = [_known_layer_facts(layer) for layer in image.layers]
    return facts


def _known_layer_facts(layer: LayerSpec) -> dict[str, Any]:
    usual = {"lead": LayerSpec.lead, "mask": LayerSpec.mask, "dilation": LayerSpec.dilation}
    return {key: value for key, value in asdict(layer).items() if key not in usual or value != usual[key]}


def _read_card(facts: JsonFields) -> ModelCard:
    kind = facts.text("kind")
    if kind not in ("text", "image"):
        raise facts.fault("kind", f"must be text or image, not {kind!r}")
    vocab_size = facts.integer("vocab_size", minimum=1, maximum=MAX_VOCABULARY)
    image = facts.section("image")
    if (kind == "image") != (image is not None):
        raise facts.fault("image", "is needed for an image model, and only there")
    quality = facts.section("quality")
    card = ModelCard(
        name=facts.text("name", longest=MAX_NAME),
        kind=cast(Kind, kind),
        architecture=facts.text("architecture", "", longest=MAX_NAME),
        vocab_size=vocab_size,
        bos=facts.integer("bos"),
        eos=facts.integer("eos") if facts.has("eos") else None,
        image=_read_image(image) if image else None,
        prompt_prefix=facts.text("prompt_prefix", "", longest=MAX_PROMPT),
        prompt_example=facts.text("prompt_example", "", longest=MAX_PROMPT),
        temperature=facts.number("temperature", 1.0),
        description=facts.text("description", "", longest=MAX_SENTENCES),
        data=facts.text("data", "", longest=MAX_SENTENCES),
        credit=facts.text("credit", "", longest=MAX_SENTENCES),
        licence=facts.text("licence", "", longest=MAX_SENTENCES),
        quality=_read_quality(quality) if quality else None,
        measured=facts.raw("measured"),
        export=facts.raw("export"),
        sha256=facts.text("sha256", ""),
        replaces=_read_hashes(facts, "replaces"),
    )
    _check(card, facts)
    return card


def _check(card: ModelCard, facts: JsonFields) -> None:
    """Facts that do not go together."""
    levels = card.image.levels if card.image else card.vocab_size
    if levels != card.vocab_size:
        raise facts.fault("vocab_size", f"must equal image.levels ({levels}), not {card.vocab_size}")
    for key, token in (("eos", card.eos), ("bos", None if card.image else card.bos)):
        if token is not None and token >= card.vocab_size:
            raise facts.fault(key, f"must be a token id below vocab_size ({card.vocab_size}), not {token}")
    if card.image:
        _check_past_levels(card.image, facts)
    if not 0 <= card.temperature <= MAX_TEMPERATURE:
        raise facts.fault("temperature", f"must be from 0 to {MAX_TEMPERATURE:g}, not {card.temperature}")


def _check_past_levels(image: ImageSpec, facts: JsonFields) -> None:
    """Conditions and warm-up tokens are no levels, and none is both."""
    for key, tokens in (("conditions", image.conditions), ("warm_up", image.warm_up)):
        if any(token < image.levels for token in tokens):
            raise facts.fault(f"image.{key}", f"must be token ids past the {image.levels} levels")
    if both := set(image.warm_up) & set(image.conditions):
        raise facts.fault("image.warm_up", f"must not be conditions, as {min(both)} is")
    if others := set(image.exclusive) - set(image.conditions):
        raise facts.fault("image.exclusive", f"must be conditions, as {min(others)} is not")


def _read_image(facts: JsonFields) -> ImageSpec:
    palette = tuple(_read_colour(facts, colour) for colour in facts.items("palette"))
    conditions, warm_up = _read_ids(facts, "conditions"), _read_ids(facts, "warm_up")
    levels = facts.integer("levels", minimum=2, maximum=MAX_LEVELS)
    if palette and len(palette) != levels:
        raise facts.fault("palette", f"must have {levels} colours, one per level, not {len(palette)}")
    height, width = facts.integer("height", minimum=1), facts.integer("width", minimum=1)
    if height * width > MAX_PIXELS:
        raise facts.fault("height", f"x width must be at most {MAX_PIXELS} pixels, not {height * width}")
    if len(warm_up) > height * width:
        raise facts.fault("warm_up", f"must be at most as long as the picture has pixels, not {len(warm_up)}")
    channels = facts.integer("channels") if facts.has("channels") else 1
    if channels not in (1, 3) or (palette and channels == 3):
        raise facts.fault("channels", f"must be 1, or 3 for red, green, blue without a palette, not {channels}")
    exclusive, copies = _read_ids(facts, "exclusive"), facts.items("copies")
    if len(copies) > MAX_COPIES or not all(isinstance(copy, str) and len(copy) <= MAX_NAME for copy in copies):
        raise facts.fault("copies", f"must be at most {MAX_COPIES} names")
    layers = _read_layers(facts)
    return ImageSpec(
        height, width, levels, palette or None, conditions, channels, warm_up, exclusive, layers, tuple(copies)
    )


def _read_layers(facts: JsonFields) -> tuple[LayerSpec, ...]:
    rows = facts.items("layers")
    if len(rows) > MAX_LAYERS or not all(isinstance(row, dict) for row in rows):
        raise facts.fault("layers", f"must be at most {MAX_LAYERS} objects")
    return tuple(_read_layer(JsonFields(row, f"image.layers.{at}.")) for at, row in enumerate(rows))


def _read_layer(facts: JsonFields) -> LayerSpec:
    name, mask, taps = facts.text("name", longest=MAX_NAME), facts.text("mask", ""), facts.items("taps")
    if mask not in MASKS:
        raise facts.fault("mask", f"must be one of {', '.join(filter(None, MASKS))}, not {mask!r:.60}")
    if len(taps) > MAX_TAPS or not all(_is_tap(tap) for tap in taps):
        raise facts.fault("taps", f"must be at most {MAX_TAPS} pairs [rows, columns] of whole numbers")
    lead = facts.integer("lead", minimum=-MAX_PIXELS) if facts.has("lead") else LayerSpec.lead
    dilation = facts.integer("dilation", minimum=1) if facts.has("dilation") else LayerSpec.dilation
    return LayerSpec(name, tuple((tap[0], tap[1]) for tap in taps), lead, mask, dilation)


def _is_tap(value: Any) -> bool:
    pair = isinstance(value, list) and len(value) == 2
    return pair and all(type(number) is int and abs(number) <= MAX_PIXELS for number in value)


def _read_ids(facts: JsonFields, key: str) -> tuple[int, ...]:
    ids = facts.items(key)
    if not all(type(token) is int and 0 <= token < 2**31 for token in ids):
        raise facts.fault(key, "must be token ids")
    return tuple(ids)


def _read_hashes(facts: JsonFields, key: str) -> tuple[str, ...]:
    hashes = facts.items(key)
    if not all(isinstance(value, str) and _SHA256.fullmatch(value) for value in hashes):
        raise facts.fault(key, "must be sha256 sums, of 64 hexadecimal digits each")
    return tuple(hashes)


def _read_colour(facts: JsonFields, value: Any) -> Colour:
    if not (isinstance(value, list) and len(value) == 3 and all(isinstance(v, int) and 0 <= v <= 255 for v in value)):
        raise facts.fault("palette", f"must list colours as [red, green, blue] from 0 to 255, not {value!r:.60}")
    return (value[0], value[1], value[2])


def _read_quality(facts: JsonFields) -> Quality:
    return Quality(
        facts.number("value"), facts.text("unit", longest=MAX_NAME), facts.text("split", "", longest=MAX_NAME)
    )
