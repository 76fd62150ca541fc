"""config.json."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from tests.support import toys
from tui_gen.card import ImageSpec, LayerSpec, ModelCard, Quality
from tui_gen.errors import TuiGenError

TEXT = {"name": "toy", "kind": "text", "vocab_size": 8, "bos": 0}
NEAR = "logits within 2.0e-06 of the network as it was read, over 1,200 steps"
LAYERS = (LayerSpec("first", ((-1, 0), (-1, 1)), 3, "vertical", 2), LayerSpec("last", ((0, 0),), -2))
PALETTE = ((0, 0, 0), (255, 0, 0), (255, 255, 255))
IMAGE = {"name": "toy", "kind": "image", "vocab_size": 3, "bos": 3, "image": toys.IMAGE}


HASH = "0123456789abcdef" * 4


def read(facts: object) -> ModelCard:
    return ModelCard.from_json(json.dumps(facts))


@pytest.mark.parametrize(
    "card",
    [
        ModelCard(
            "toy", "image", "PixelCNN", 3, 3, image=ImageSpec(4, 6, 3, PALETTE, (4, 5)), prompt_example="rouge, é",
            temperature=0.7, quality=Quality(1.25, "bits per pixel", "test"), export={"opset": 18}, sha256="ab",
            replaces=(HASH,),
        ),
        ModelCard("toy", "image", "PixelCNN", 3, 3, image=ImageSpec(4, 6, 3, channels=3, warm_up=(4, 4))),
        ModelCard("toy", "image", "PixelCNN", 3, 3, image=ImageSpec(4, 6, 3, conditions=(4, 5, 6), exclusive=(5, 6))),
        ModelCard("toy", "image", "PixelCNN", 3, 3, image=ImageSpec(4, 6, 3, layers=LAYERS, copies=("a", "b"))),
    ],
    ids=["everything", "colour and warm-up", "conditions that exclude each other", "layers and copies"],
)  # fmt: skip
def test_a_card_survives_being_written_and_read(card: ModelCard) -> None:
    assert ModelCard.from_json(card.to_json()) == card


def test_what_a_graph_says_of_itself_is_not_of_its_file_nor_of_what_was_measured_of_it() -> None:
    proof = {"parity": {"steps": 1}, "versions": "torch 2", "source_sha256": HASH, "guidance": 1.25}
    quality = Quality(1.25, "nats", "test")
    card = replace(
        read(TEXT), quality=quality, measured={"figures": {"a": "1"}}, export=proof, sha256=HASH, replaces=(HASH,)
    )
    assert ModelCard.from_json(card.lasting_json()) == replace(read(TEXT), export={"guidance": 1.25})


def test_facts_that_are_unknown_are_left_out_of_the_file() -> None:
    assert list(json.loads(read(TEXT).to_json())) == ["name", "kind", "vocab_size", "bos", "temperature"]


def test_an_end_token_of_0_is_a_fact_and_not_left_out() -> None:
    assert read(json.loads(read({**TEXT, "eos": 0}).to_json())).eos == 0
    assert read(TEXT).eos is None


def test_keys_from_a_later_version_are_ignored() -> None:
    assert read({**TEXT, "sparkle": 1}) == read(TEXT)


def test_without_a_palette_levels_are_greys_from_black_to_white() -> None:
    assert ImageSpec(1, 1, 3).colours() == ((0, 0, 0), (128, 128, 128), (255, 255, 255))


def test_what_is_usual_of_a_picture_is_left_out_of_the_file() -> None:
    assert json.loads(read(IMAGE).to_json())["image"].keys() == {*toys.IMAGE, "palette"}


def test_a_picture_has_a_token_per_channel_of_every_pixel() -> None:
    assert (ImageSpec(4, 6, 3).area, ImageSpec(4, 6, 3, channels=3).area) == (24, 72)


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"name": None}, "'name' is missing"),
        ({"kind": None}, "'kind' is missing"),
        ({"kind": "sound"}, "'kind' must be text or image, not 'sound'"),
        ({"vocab_size": None}, "'vocab_size' is missing"),
        ({"vocab_size": 0}, "'vocab_size' must be a whole number of at least 1, not 0"),
        ({"vocab_size": True}, "'vocab_size' must be a whole number"),
        ({"vocab_size": 8.5}, "'vocab_size' must be a whole number, not 8.5"),
        ({"bos": -1}, "'bos' must be a whole number of at least 0, not -1"),
        ({"bos": 10**30}, "'bos' must be a whole number"),
        ({"eos": "0"}, "'eos' must be a whole number, not '0'"),
        ({"eos": 8}, r"'eos' must be a token id below vocab_size \(8\), not 8"),
        ({"bos": 99}, "'bos' must be a token id below vocab_size"),
        ({"temperature": 11}, "'temperature' must be from 0 to 10"),
        ({"temperature": float("nan")}, "'temperature' must be a finite number, not nan"),
        ({"temperature": 10**400}, "'temperature' must be a finite number"),
        ({"temperature": "hot"}, "'temperature' must be a number, not 'hot'"),
        ({"prompt_prefix": 3}, "'prompt_prefix' must be text, not 3"),
        ({"export": []}, r"'export' must be an object, not \[\]"),
        ({"quality": {"value": 1}}, "'quality.unit' is missing"),
        ({"replaces": HASH}, "'replaces' must be a list"),
        ({"replaces": [HASH, "ab"]}, "'replaces' must be sha256 sums"),
        ({"replaces": [3]}, "'replaces' must be sha256 sums"),
        ({"vocab_size": 2**23}, "'vocab_size' must be a whole number of at most 4194304, not 8388608"),
        ({"name": "x" * 10**6}, "'name' must have at most 300 characters, not 1,000,000"),
        ({"prompt_prefix": "x" * 10**6}, "'prompt_prefix' must have at most 4,000 characters, not 1,000,000"),
        ({"description": "x" * 10**6}, "'description' must have at most 50,000 characters, not 1,000,000"),
        ({"measured": {"description": "x" * 2**22}}, "is too long for what it is to say: more than 4,096 KiB"),
        ({"image": toys.IMAGE}, "'image' is needed for an image model, and only there"),
        ({"kind": "image"}, "'image' is needed for an image model, and only there"),
    ],
)
def test_a_text_models_card_names_the_key_at_fault(change: dict[str, Any], fault: str) -> None:
    with pytest.raises(TuiGenError, match=fault):
        read({**TEXT, **change})


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"height": None}, "'image.height' is missing"),
        ({"width": 0}, "'image.width' must be a whole number of at least 1"),
        ({"levels": 1}, "'image.levels' must be a whole number of at least 2"),
        ({"levels": 3 * 10**7}, "'image.levels' must be a whole number of at most 65536, not 30000000"),
        ({"levels": 4}, r"'vocab_size' must equal image.levels \(4\), not 3"),
        ({"conditions": ["red"]}, "'image.conditions' must be token ids"),
        ({"conditions": [1]}, "'image.conditions' must be token ids past the 3 levels"),
        ({"height": 2**20, "width": 2**20}, "'image.height' x width must be at most"),
        ({"palette": [[0, 0, 0]]}, "'image.palette' must have 3 colours, one per level, not 1"),
        ({"palette": [[0, 0, 256]] * 3}, "'image.palette' must list colours as"),
        ({"palette": "grey"}, "'image.palette' must be a list"),
        ({"channels": 2}, "'image.channels' must be 1, or 3 for red, green, blue without a palette, not 2"),
        ({"channels": 3, "palette": [[0, 0, 0]] * 3}, "'image.channels' must be 1, or 3 .* without a palette, not 3"),
        ({"channels": "rgb"}, "'image.channels' must be a whole number"),
        ({"conditions": [4, 5, 6], "exclusive": [5, 7]}, r"'image.exclusive' must be conditions, as 7 is not"),
        ({"warm_up": 6}, "'image.warm_up' must be a list"),
        ({"warm_up": [6.5]}, "'image.warm_up' must be token ids"),
        ({"warm_up": [True]}, "'image.warm_up' must be token ids"),
        ({"warm_up": [10**30]}, "'image.warm_up' must be token ids"),
        ({"warm_up": [2]}, "'image.warm_up' must be token ids past the 3 levels"),
        ({"warm_up": [6, 4]}, "'image.warm_up' must not be conditions, as 4 is"),
        ({"layers": {}}, "'image.layers' must be a list"),
        ({"layers": ["first"]}, "'image.layers' must be at most 2000 objects"),
        ({"layers": [{"taps": []}]}, "'image.layers.0.name' is missing"),
        ({"layers": [{"name": "x" * 301}]}, "'image.layers.0.name' must have at most 300 characters"),
        (
            {"layers": [{"name": "a"}, {"name": "b", "taps": [[0]]}]},
            "'image.layers.1.taps' must be at most 10000 pairs",
        ),
        ({"layers": [{"name": "a", "taps": [[0, 2**40]]}]}, "'image.layers.0.taps' must be at most 10000 pairs"),
        ({"layers": [{"name": "a", "mask": "C"}]}, "'image.layers.0.mask' must be one of A, B, vertical, horizontal"),
        ({"layers": [{"name": "a", "lead": -(2**23)}]}, "'image.layers.0.lead' must be a whole number"),
        ({"copies": [1]}, "'image.copies' must be at most 16 names"),
        ({"warm_up": [6] * 25}, "'image.warm_up' must be at most as long as the picture has pixels, not 25"),
    ],
)
def test_an_image_models_card_names_the_key_at_fault(change: dict[str, Any], fault: str) -> None:
    with pytest.raises(TuiGenError, match=fault):
        read({**IMAGE, "image": {**toys.IMAGE, **change}})


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        *((text, "is not JSON") for text in ("", "{", "\ufeff{}", "{'name': 1}", "[" * 100_000)),
        *((text, "must hold a JSON object") for text in ("[]", "null", "3", '"text"')),
    ],
)
def test_a_file_that_is_no_json_object_is_told(content: str, fault: str) -> None:
    with pytest.raises(TuiGenError, match=fault):
        ModelCard.from_json(content)


@pytest.mark.parametrize(
    ("facts", "proof"),
    [
        (
            {},
            f"{NEAR}, not with the original",
        ),
        (
            {"against": "the trainer's own network"},
            "logits within 2.0e-06 of the trainer's own network, over 1,200 steps",
        ),
        (
            {"against": "the original: the logits in a.npz", "original_difference": 1e-7},
            f"{NEAR}, and this within 1.0e-07 of the original: the logits in a.npz",
        ),
        ({"steps": "many"}, ""),
    ],
)
def test_a_card_says_what_its_proof_is_of(facts: dict[str, Any], proof: str) -> None:
    parity = {"max_abs_logit_difference": 2e-6, "steps": 1200, **facts}
    assert read({**TEXT, "export": {"parity": parity}}).proof == proof
    assert read({**TEXT, "export": {"parity": list(parity)}}).proof == ""
