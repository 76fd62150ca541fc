"""Networks of two stacks, of other people's scripts: recognised under any names, exact, and honest about guesses."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
from torch import nn

from export.checkpoints.checkpoint import Checkpoint
from export.read import read_image
from export.reader import ReadOptions
from tests.support.gated_networks import (
    AfterStem,
    ColourGated,
    GenerativeGated,
    PriorGated,
    RasterStacks,
    ShiftedStacks,
    TutorialGated,
)
from tests.support.image_layouts import (
    Layout,
    as_codes,
    assert_exact_whole_and_by_steps,
    assert_same,
    network_of,
    read,
    script_logits,
    signed,
)
from tests.support.single_stack_networks import BookPixelCNN, sequential
from tui_gen.errors import TuiGenError
from tui_gen.images.codec import ImageCodec
from tui_gen.library import codec_for

LAYOUTS: dict[str, Layout] = {
    "generative gated": Layout(GenerativeGated, size=(6, 9)),
    "tutorial": Layout(TutorialGated, signed, (6, 15)),
    "tutorial, colour": Layout(lambda: TutorialGated(channels=3, width=4), signed, (4, 14)),
    "tutorial, wide kernels": Layout(partial(TutorialGated, dilations=(1, 1, 1), columns=5), signed),
    "colour": Layout(ColourGated, size=(5, 8), answers={"assume": {"crops": "copies"}}),
    "prior": Layout(PriorGated, as_codes, (6, 8)),
    "prior, without classes": Layout(lambda: PriorGated(classes=0, layers=5, first=7), as_codes, (6, 9)),
    "masks of every pass": Layout(RasterStacks, answers={"scaling": "level/(levels-1)"}),
    "after a stem": Layout(AfterStem),
    "moved down": Layout(ShiftedStacks, answers={"assume": {"first": "moved", "head": "none"}}),
}


@pytest.mark.parametrize("name", LAYOUTS)
def test_a_layout_says_what_its_script_says_whole_and_step_by_step(name: str) -> None:
    assert_exact_whole_and_by_steps(LAYOUTS[name])


def test_forbidden_weights_of_a_raw_file_do_not_matter() -> None:
    """A script that masks only when it runs may save anything where its masks forbid."""
    torch.manual_seed(0)
    net = PriorGated()
    before = network_of(read(net, size=(4, 5)))
    net.layers[0].vert_stack.weight.data[:, :, -1] = 99
    net.layers[0].horiz_stack.weight.data[:, :, :, -1] = 99
    pixels, label = torch.randint(8, (2, 20)), torch.tensor([1, 2])
    after = network_of(read(net, size=(4, 5)))
    torch.testing.assert_close(before.whole_logits(pixels, label), after.whole_logits(pixels, label))


@pytest.mark.parametrize(
    ("build", "names"),
    [
        (
            lambda: TutorialGated(dilations=(1, 1)),
            {"conv_layers": "blocks", "conv_vert.": "vertical.", "conv_out": "final"},
        ),
        (
            PriorGated,
            {"vert_to_horiz": "v2h_link", "horiz_resid": "h_fc", "layers.": "body.stack.", "output_conv": "head"},
        ),
        (BookPixelCNN, {"res_convs": "trunk", "pixel_conv": "look", "masked_conv_1": "stem"}),
        (sequential, {"0.": "body.conv0.", "1.": "body.norm0."}),
    ],
    ids=["tutorial", "prior", "book", "sequential"],
)
def test_other_names_for_the_same_layout_are_recognised(build: Callable[[], nn.Module], names: dict[str, str]) -> None:
    torch.manual_seed(0)
    net = build().eval()
    state = net.state_dict()
    for old, new in names.items():
        state = {name.replace(old, new): tensor for name, tensor in state.items()}
    own, other = network_of(read(net, size=(5, 9))), network_of(read(state, size=(5, 9)))
    pixels = torch.randint(own.levels, (2, own.area))
    label = torch.tensor([0, 1]) if own.conditions else None
    torch.testing.assert_close(own.whole_logits(pixels, label), other.whole_logits(pixels, label))


def test_what_was_found_and_what_is_missing_is_told() -> None:
    reading = read(TutorialGated(), size=None)
    assert reading.diagnosis.summary == "Gated PixelCNN 8x6, two stacks, draws grey images pixel by pixel"
    facts = dict(reading.diagnosis.facts)
    assert facts == {"image": "unknown", "levels": "256", "classes": "none", "parameters": facts["parameters"]}
    answers = {missing.what: (missing.default, missing.option) for missing in reading.diagnosis.missing}
    assert answers["the size of the images"] == ("", "--size HxW")
    assert answers["how levels became its input"] == (
        "-1..1",
        "--scaling level/levels|'level/(levels-1)'|/255|-1..1|raw",
    )
    assert answers["the dilations of its layers after the first"][0] == "1,2,1,4,1,2,1"
    assert answers["the activation before the head"] == ("elu", "--assume head=elu|relu|none")
    with pytest.raises(TuiGenError, match="does not say the size of the images; tell it with --size HxW"):
        reading.build()


def test_answers_change_what_is_assumed() -> None:
    torch.manual_seed(0)
    net = TutorialGated(dilations=(2, 1))
    assert_same(read(net, size=(4, 9), assume={"dilations": "2,1"}), net, signed)
    network = network_of(read(net, size=(4, 9)))
    pixels = torch.randint(256, (2, network.area))
    expected = script_logits(net, network, pixels, signed)
    assert not torch.allclose(network.whole_logits(pixels), expected, atol=1e-3)


@pytest.mark.parametrize(
    ("answers", "says"),
    [
        ({"assume": {"colour": "red"}}, "is no question of this network; its questions: .*dilations"),
        ({"assume": {"dilations": "1,2"}}, "must be 7 whole numbers"),
        ({"assume": {"head": "sine"}}, "must be one of relu, elu, none"),
        ({"scaling": "log"}, "--scaling must be one of"),
        ({"levels": 16}, "--levels 16 does not fit: it puts out 256"),
    ],
)
def test_answers_that_do_not_fit_are_told(answers: dict[str, Any], says: str) -> None:
    with pytest.raises(TuiGenError, match=says):
        read(TutorialGated(), **answers)


@pytest.mark.parametrize(
    ("names", "phrases"),
    [
        (["Shoe", "T-shirt/top", "bag"], ("bag", "shoe", "t-shirt/top")),
        (["shoe", "bag"], ("class 0", "class 1", "class 2")),  # of another data set
        (["a shoe, worn", "a shoe", "a bag"], ("class 0", "class 1", "class 2")),  # a comma ends a phrase
        (["bag", "Bag", "shoe"], ("class 0", "class 1", "class 2")),
    ],
)
def test_classes_go_by_the_names_that_the_file_gives_them(names: list[str], phrases: tuple[str, ...]) -> None:
    facts = {"class_names": names, "losses": [1.0]}
    net = PriorGated(classes=3, layers=3, first=3)
    options = ReadOptions(size=(4, 5), assume={"first": "zeroed"})
    reading = read_image(Checkpoint("t", dict(net.state_dict()), facts=facts), options)
    assert reading is not None
    exportable = reading.build()
    codec = codec_for(exportable.network.completed(exportable.card), exportable.tokenizer)
    assert isinstance(codec, ImageCodec)
    assert codec.phrases == phrases
