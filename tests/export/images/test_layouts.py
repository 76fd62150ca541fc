"""Image networks of other people's scripts are recognised, and say what the scripts' own forward passes say."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from export.checkpoints.checkpoint import Checkpoint
from export.image_network import ImageNetwork
from export.images.streaming import StreamingNetwork
from export.read import read_image
from export.reader import Reading, ReadOptions
from export.verify import step_logits
from tests.export.images.scripts import (
    BookPixelCNN,
    ColourGated,
    GenerativeGated,
    GenerativePixelCNN,
    PriorGated,
    TutorialGated,
    sequential,
)
from tui_gen.errors import TuiGenError
from tui_gen.runtime.model import Model


def _unit(levels: int) -> Callable[[Tensor], Tensor]:
    return lambda pixels: pixels.float() / (levels - 1)


def _to_signed(pixels: Tensor) -> Tensor:
    return pixels.float() / 255 * 2 - 1


LAYOUTS: dict[str, tuple[Callable[[], nn.Module], tuple[int, int], Callable[[Tensor], Tensor]]] = {
    "sequential": (sequential, (6, 7), _unit(8)),
    "sequential, deeper": (lambda: sequential(depth=6, width=4, kernel=3), (9, 5), _unit(8)),
    "sequential, colour": (lambda: sequential(levels=5, channels=3), (5, 6), _unit(5)),
    "book": (BookPixelCNN, (6, 7), lambda pixels: pixels.float() / 4),
    "book, wider": (lambda: BookPixelCNN(width=12, blocks=4, levels=8, first=5), (7, 6), lambda p: p.float() / 8),
    "generative": (GenerativePixelCNN, (6, 7), _unit(2)),
    "generative, deeper": (lambda: GenerativePixelCNN(blocks=5, width=4), (6, 7), _unit(2)),
    "generative gated": (GenerativeGated, (6, 9), _unit(2)),
    "tutorial": (TutorialGated, (6, 15), _to_signed),
    "tutorial, colour": (lambda: TutorialGated(channels=3, width=4), (4, 14), _to_signed),
    "colour": (ColourGated, (5, 8), _unit(5)),
    "prior": (PriorGated, (6, 8), lambda pixels: pixels),
    "prior, without classes": (lambda: PriorGated(classes=0, layers=5, first=7), (6, 9), lambda pixels: pixels),
}


def _read(state: Mapping[str, Tensor], size: tuple[int, int] | None, **answers: Any) -> Reading:
    reading = read_image(Checkpoint("test", dict(state)), ReadOptions(size=size, **answers))
    assert reading is not None
    return reading


def _network(reading: Reading) -> ImageNetwork:
    network = reading.build().network
    assert isinstance(network, StreamingNetwork)
    return network.network


def _script_logits(net: nn.Module, network: ImageNetwork, pixels: Tensor, scale: Callable[[Tensor], Tensor]) -> Tensor:
    """The script's own logits, [batch, area, levels]."""
    size = (len(pixels), network.height, network.width)
    values = pixels.view(*size, network.channels).permute(0, 3, 1, 2)
    image = scale(values if scale(values).is_floating_point() else values[:, 0])
    labels = (torch.arange(len(pixels)) % network.conditions,) if network.conditions else ()
    with torch.no_grad():
        logits = net(image, *labels)
    if logits.ndim == 4 and network.channels > 1:
        logits = logits.view(len(pixels), network.levels, network.channels, *logits.shape[2:])
    if logits.ndim == 5:
        logits = logits.permute(0, 1, 3, 4, 2)
    return logits.flatten(2).transpose(1, 2)


@pytest.mark.parametrize("name", LAYOUTS)
def test_a_layout_says_what_its_script_says(name: str) -> None:
    torch.manual_seed(0)
    build, size, scale = LAYOUTS[name]
    net = build().eval()
    network = _network(_read(net.state_dict(), size))
    assert (network.height, network.width) == size
    pixels = torch.from_numpy(np.random.default_rng(0).integers(network.levels, size=(4, network.area)))
    labels = torch.arange(4) % network.conditions if network.conditions else None
    expected = _script_logits(net, network, pixels, scale)
    torch.testing.assert_close(network.whole_logits(pixels, labels), expected, atol=1e-5, rtol=0)
    assert float((expected[0, 1:] - expected[1, 1:]).abs().max()) > 1e-3  # it looks at the image


@pytest.mark.parametrize("name", LAYOUTS)
def test_a_layout_streams(name: str) -> None:
    torch.manual_seed(0)
    build, size, scale = LAYOUTS[name]
    net = build().eval()
    exportable = _read(net.state_dict(), size).build()
    streaming = exportable.network
    assert isinstance(streaming, StreamingNetwork)
    assert streaming.slow_because == ""
    network = streaming.network
    card = streaming.completed(exportable.card)
    assert card.image is not None
    pixels = np.random.default_rng(1).integers(network.levels, size=(4, network.area))
    labels = network.start + 1 + np.arange(4)[:, None] % max(network.conditions, 1)
    start = [np.full((4, 1), network.start), labels[:, : min(network.conditions, 1)]]
    prompt = np.concatenate([*start, np.tile(card.image.warm_up, (4, 1)).astype(np.int64)], axis=1)
    model = Model(streaming.step_graph().SerializeToString(), card, provider="cpu")
    stream = step_logits(model, np.concatenate([prompt, pixels[:, :-1]], axis=1))[:, prompt.shape[1] - 1 :]
    expected = _script_logits(net, network, torch.from_numpy(pixels), scale)
    np.testing.assert_allclose(stream, expected.numpy(), atol=1e-5, rtol=0)


def test_forbidden_weights_of_a_raw_file_do_not_matter() -> None:
    """A script that masks only when it runs may save anything where its masks forbid."""
    torch.manual_seed(0)
    net = PriorGated()
    before = _network(_read(net.state_dict(), (4, 5)))
    net.layers[0].vert_stack.weight.data[:, :, -1] = 99
    net.layers[0].horiz_stack.weight.data[:, :, :, -1] = 99
    pixels, label = torch.randint(8, (2, 20)), torch.tensor([1, 2])
    after = _network(_read(net.state_dict(), (4, 5)))
    torch.testing.assert_close(before.whole_logits(pixels, label), after.whole_logits(pixels, label))


def _rename(state: Mapping[str, Tensor], *pairs: tuple[str, str]) -> dict[str, Tensor]:
    tensors = dict(state)
    for old, new in pairs:
        tensors = {name.replace(old, new): tensor for name, tensor in tensors.items()}
    return tensors


@pytest.mark.parametrize(
    ("build", "pairs"),
    [
        (
            lambda: TutorialGated(dilations=(1, 1)),
            [("conv_layers", "blocks"), ("conv_vert.", "vertical."), ("conv_out", "final")],
        ),
        (
            PriorGated,
            [
                ("vert_to_horiz", "v2h_link"),
                ("horiz_resid", "h_fc"),
                ("layers.", "body.stack."),
                ("output_conv", "head"),
            ],
        ),
        (BookPixelCNN, [("res_convs", "trunk"), ("pixel_conv", "look"), ("masked_conv_1", "stem")]),
        (sequential, [("0.", "body.conv0."), ("1.", "body.norm0.")]),
    ],
    ids=["tutorial", "prior", "book", "sequential"],
)
def test_other_names_for_the_same_layout_are_recognised(
    build: Callable[[], nn.Module], pairs: list[tuple[str, str]]
) -> None:
    torch.manual_seed(0)
    net = build().eval()
    own, other = _network(_read(net.state_dict(), (5, 9))), _network(_read(_rename(net.state_dict(), *pairs), (5, 9)))
    pixels = torch.randint(own.levels, (2, own.area))
    label = torch.tensor([0, 1]) if own.conditions else None
    torch.testing.assert_close(own.whole_logits(pixels, label), other.whole_logits(pixels, label))


def test_masks_that_the_file_lacks_are_assumed_aloud() -> None:
    torch.manual_seed(0)
    net = sequential()
    state = {name: tensor for name, tensor in net.state_dict().items() if not name.endswith("mask")}
    reading = _read(state, (5, 6))
    assert any(missing.what.startswith("the masks") for missing in reading.diagnosis.missing)
    pixels = torch.randint(8, (2, 30))
    expected = _network(_read(net.state_dict(), (5, 6))).whole_logits(pixels)
    torch.testing.assert_close(_network(reading).whole_logits(pixels), expected)


def test_what_was_found_and_what_is_missing_is_told() -> None:
    reading = _read(TutorialGated().state_dict(), None)
    assert reading.diagnosis.summary == "Gated PixelCNN 8x6, two stacks, draws grey images pixel by pixel"
    assert dict(reading.diagnosis.facts) | {"parameters": ""} == {
        "image": "unknown",
        "levels": "256",
        "classes": "none",
        "parameters": "",
    }
    answers = {missing.what: (missing.default, missing.option) for missing in reading.diagnosis.missing}
    assert answers["the size of the images"] == ("", "--size HxW")
    assert answers["how levels became its input"] == ("-1..1", "--scaling HOW")
    assert answers["the dilations of its layers after the first"][0] == "1,2,1,4,1,2,1"
    assert answers["the activation before the head"] == ("elu", "--assume head=elu|relu|none")
    with pytest.raises(TuiGenError, match="does not say the size of the images; tell it with --size HxW"):
        reading.build()


def test_answers_change_what_is_assumed() -> None:
    torch.manual_seed(0)
    net = TutorialGated(dilations=(2, 1))
    network = _network(_read(net.state_dict(), (4, 9), assume={"dilations": "2,1"}))
    pixels = torch.randint(256, (2, network.area))
    expected = _script_logits(net, network, pixels, _to_signed)
    torch.testing.assert_close(network.whole_logits(pixels), expected, atol=1e-5, rtol=0)
    assert not torch.allclose(_network(_read(net.state_dict(), (4, 9))).whole_logits(pixels), expected, atol=1e-3)


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
        _read(TutorialGated().state_dict(), (6, 15), **answers)


def test_the_size_may_stand_in_the_file() -> None:
    assert _network(_read(GenerativePixelCNN().state_dict(), None)).width == 7
    checkpoint = Checkpoint("t", sequential().state_dict(), facts={"hparams": {"image_size": 5}})
    reading = read_image(checkpoint, ReadOptions())
    assert reading is not None
    assert _network(reading).height == 5


def test_a_pickled_chain_says_its_own_activations() -> None:
    from export.checkpoints.checkpoint import ModuleFacts

    torch.manual_seed(0)
    kinds = ["torch.nn.modules.conv.Conv2d", "torch.nn.modules.activation.ELU", "torch.nn.modules.conv.Conv2d"]
    modules = {"": ModuleFacts("x.Net"), **{str(index): ModuleFacts(kind) for index, kind in enumerate(kinds)}}
    net = nn.Sequential(nn.Conv2d(1, 6, 3, padding=1), nn.ELU(), nn.Conv2d(6, 4, 1)).eval()
    state = net.state_dict()
    state["0.weight"][:, :, 1, 1:] = 0
    state["0.weight"][:, :, 2] = 0
    reading = read_image(Checkpoint("t", state, modules), ReadOptions(size=(4, 5)))
    assert reading is not None
    network = _network(reading)
    pixels = torch.randint(4, (2, 20))
    expected = _script_logits(net, network, pixels, _unit(4))
    torch.testing.assert_close(network.whole_logits(pixels), expected, atol=1e-5, rtol=0)


def test_convolutions_that_make_no_known_network_are_told() -> None:
    net = nn.ModuleDict({"encoder": nn.Conv2d(1, 4, 3), "decoder": nn.Conv2d(8, 2, 3)})
    with pytest.raises(TuiGenError, match=r"2 convolutions, from encoder \[4, 1, 3, 3\] on.*--factory"):
        read_image(Checkpoint("t", net.state_dict()), ReadOptions())


def test_no_convolutions_are_somebody_elses_business() -> None:
    assert read_image(Checkpoint("t", nn.LSTM(2, 3).state_dict()), ReadOptions()) is None
