"""Layouts that no reader was written for: read by structure, exact, and honest about what had to be told."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from export.checkpoints.checkpoint import Checkpoint, ModuleFacts
from export.images.streaming import StreamingNetwork
from export.read import read_image
from export.reader import Reading, ReadOptions
from export.verify import step_logits
from tests.export.images.scripts import BookPixelCNN, MaskedConv, TutorialGated, sequential
from tests.export.images.unlisted import (
    AfterStem,
    Attributes,
    Codes,
    GatedSingle,
    Homework,
    RasterStacks,
    ShiftedStacks,
    activation_before_norm,
    as_logits,
    blocks_within_activations,
    colour_bits,
    normalised_blocks,
    one_hot,
    without_activation_at_one_place,
)
from tui_gen.errors import TuiGenError
from tui_gen.runtime.model import Model


@dataclass(frozen=True)
class Layout:
    """A network, and what its owner must tell beyond the size."""

    build: Callable[[], nn.Module]
    sees: Callable[[Tensor], Tensor] = lambda levels: levels.float()
    """int64[b, c, h, w] -> what the script gives its network."""
    answers: Mapping[str, Any] = field(default_factory=dict)


def _unit(levels: int) -> Callable[[Tensor], Tensor]:
    return lambda pixels: pixels.float() / (levels - 1)


LAYOUTS: dict[str, Layout] = {
    "attributes, masks of every pass": Layout(Attributes, _unit(4)),
    "activation before normalisation": Layout(activation_before_norm, _unit(5)),
    "no activation at one place": Layout(without_activation_at_one_place, _unit(4)),
    "one-hot": Layout(one_hot, lambda p: nn.functional.one_hot(p[:, 0], 5).permute(0, 3, 1, 2).float()),
    "colour, a bit a channel": Layout(colour_bits),
    "embedded codes": Layout(Codes, lambda pixels: pixels[:, 0]),
    "normalised blocks": Layout(normalised_blocks, _unit(4)),
    "blocks within activations": Layout(
        blocks_within_activations, _unit(4), {"assume": {"block_end": "before"}, "scaling": "level/(levels-1)"}
    ),
    "homework, colour": Layout(
        Homework, lambda p: p.float() / 1.5 - 1, {"assume": {"order": "channels-first"}, "scaling": "-1..1"}
    ),
    "gated, one stack": Layout(GatedSingle, _unit(4)),
    "two stacks, masks of every pass": Layout(RasterStacks, _unit(4), {"scaling": "level/(levels-1)"}),
    "two stacks after a stem": Layout(AfterStem, _unit(4)),
    "two stacks, moved down": Layout(ShiftedStacks, answers={"assume": {"first": "moved", "head": "none"}}),
    "two stacks, wide kernels": Layout(
        partial(TutorialGated, dilations=(1, 1, 1), columns=5), lambda pixels: pixels.float() / 127.5 - 1
    ),
}


def _read(state: Mapping[str, Tensor], modules: Mapping[str, ModuleFacts] | None = None, **answers: Any) -> Reading:
    reading = read_image(Checkpoint("test", dict(state), modules or {}), ReadOptions(**{"size": (5, 16), **answers}))
    assert reading is not None
    return reading


def _streaming(reading: Reading) -> StreamingNetwork:
    network = reading.build().network
    assert isinstance(network, StreamingNetwork)
    return network


def _assumptions(reading: Reading) -> dict[str, str]:
    return {missing.what: missing.default for missing in reading.diagnosis.missing}


@pytest.mark.parametrize("name", LAYOUTS)
def test_a_layout_says_what_its_script_says_whole_and_step_by_step(name: str) -> None:
    torch.manual_seed(0)
    layout = LAYOUTS[name]
    net = layout.build().eval()
    exportable = _read(net.state_dict(), **layout.answers).build()
    streaming = exportable.network
    assert isinstance(streaming, StreamingNetwork)
    network = streaming.network
    pixels = torch.from_numpy(np.random.default_rng(0).integers(network.levels, size=(3, network.area)))
    image = pixels.view(3, 5, 16, network.channels).permute(0, 3, 1, 2)
    with torch.no_grad():
        logits = as_logits(net(layout.sees(image)), network.channels)
    logits = logits.permute(0, 1, 3, 4, 2) if logits.ndim == 5 else logits
    expected = logits.flatten(2).transpose(1, 2)
    torch.testing.assert_close(network.whole_logits(pixels), expected, atol=1e-5, rtol=0)
    assert float((expected[0, 1:] - expected[1, 1:]).abs().max()) > 1e-3  # it looks at the image

    assert streaming.slow_because == ""
    card = streaming.completed(exportable.card)
    assert card.image is not None
    prompt = np.tile([network.start, *card.image.warm_up], (3, 1))
    model = Model(streaming.step_graph().SerializeToString(), card, provider="cpu")
    stream = step_logits(model, np.concatenate([prompt, pixels[:, :-1].numpy()], axis=1))
    np.testing.assert_allclose(stream[:, prompt.shape[1] - 1 :], expected.numpy(), atol=1e-5, rtol=0)


def test_a_guess_is_told_with_the_option_that_corrects_it() -> None:
    assumptions = _assumptions(_read(blocks_within_activations().state_dict()))
    assert assumptions["how often a block adds its input"] == "once"
    assert assumptions["whether a block ends with an activation, before or after it adds its input"] == "none"
    assumptions = _assumptions(_read(Homework().state_dict()))
    assert assumptions["whether its outputs are sorted by level or by channel first"] == "levels-first"
    assumptions = _assumptions(_read(Attributes().state_dict()))
    assert assumptions["the masks of its convolutions, of which the file has none"] == "a-then-b"
    assumptions = _assumptions(_read(AfterStem().state_dict()))
    assert assumptions["the activation after its first convolution"] == "relu"


def test_a_mask_by_colour_tells_how_the_outputs_are_sorted() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(MaskedConv("A", 3, 6, 3), nn.ReLU(), MaskedConv("B", 6, 12, 1))
    colour_of_input, colour = torch.arange(6) // 2, torch.arange(12) // 4
    net[2].mask[:, :, 0, 0] = (colour_of_input <= colour[:, None]).float()
    reading = _read(net.state_dict())
    assert not any("sorted" in what for what in _assumptions(reading))
    pixels = torch.randint(4, (2, 240))
    with torch.no_grad():
        logits = net(pixels.view(2, 5, 16, 3).permute(0, 3, 1, 2) / 3).view(2, 3, 4, 5, 16)
    expected = logits.permute(0, 3, 4, 1, 2).flatten(1, 3)
    torch.testing.assert_close(_streaming(reading).network.whole_logits(pixels), expected, atol=1e-5, rtol=0)


def test_layers_in_a_row_are_no_block() -> None:
    """1x1, 3x3 and 1x1 in one Sequential look like a block but for where they are."""
    row = [nn.Conv2d(8, 4, 1), nn.ReLU(), MaskedConv("B", 4, 4, 3), nn.ReLU(), nn.Conv2d(4, 8, 1), nn.ReLU()]
    net = nn.Sequential(MaskedConv("A", 1, 8, 7), *row, nn.Conv2d(8, 4, 1))
    reading = _read(net.state_dict())
    assert "0 blocks" in reading.diagnosis.notes[0]
    pixels = torch.randint(4, (2, 80))
    with torch.no_grad():
        expected = net(pixels.view(2, 1, 5, 16) / 3).flatten(2).transpose(1, 2)
    torch.testing.assert_close(_streaming(reading).network.whole_logits(pixels), expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("how", ["ignored", "added"])
def test_stored_biases_of_masked_layers_are_as_they_are_told(how: str) -> None:
    torch.manual_seed(0)
    net = BookPixelCNN()
    for part in net.modules():
        if isinstance(part, MaskedConv):
            assert part.bias is not None
            nn.init.normal_(part.bias)  # far from untouched; the layout says that they are ignored
    pixels = torch.randint(4, (2, 80))
    with torch.no_grad():
        expected = net(pixels.view(2, 1, 5, 16) / 4).flatten(2).transpose(1, 2)
    network = _streaming(_read(net.state_dict(), assume={"masked_bias": how})).network
    assert torch.allclose(network.whole_logits(pixels), expected, atol=1e-5) == (how == "ignored")
    assumptions = _assumptions(_read(net.state_dict()))
    assert assumptions["whether its masked convolutions add the bias that they store"] == "ignored"


def test_biases_that_training_never_touched_are_ignored_aloud() -> None:
    """All others have moved away from where PyTorch starts them."""
    torch.manual_seed(0)
    net = nn.Sequential(MaskedConv("A", 1, 8, 3), nn.ReLU(), MaskedConv("B", 8, 8, 3), nn.ReLU(), nn.Conv2d(8, 4, 1))
    what = "whether its masked convolutions add the bias that they store"
    assert what not in _assumptions(_read(net.state_dict()))
    nn.init.constant_(net[4].bias, 3.0)
    assert _assumptions(_read(net.state_dict()))[what] == "ignored"
    nn.init.constant_(net[2].bias, 3.0)
    assert what not in _assumptions(_read(net.state_dict()))


def _modules(*kinds: str) -> dict[str, ModuleFacts]:
    return {"": ModuleFacts("x.Net"), **{str(index): ModuleFacts(kind) for index, kind in enumerate(kinds)}}


def test_the_activations_of_a_pickled_network_keep_their_shapes() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(MaskedConv("A", 1, 6, 3), nn.LeakyReLU(0.4), nn.Dropout(), nn.Conv2d(6, 4, 1)).eval()
    modules = _modules(
        "train.MaskedConv",
        "torch.nn.modules.activation.LeakyReLU",
        "torch.nn.modules.dropout.Dropout",
        "torch.nn.modules.conv.Conv2d",
        "torch.nn.modules.activation.Softmax",
    )
    modules[""] = ModuleFacts("torch.nn.modules.container.Sequential")
    modules["1"] = ModuleFacts(modules["1"].kind, {"negative_slope": 0.4})
    reading = _read(net.state_dict(), modules)
    assert "the activation between its layers" not in _assumptions(reading)
    pixels = torch.randint(4, (2, 80))
    with torch.no_grad():
        expected = net(pixels.view(2, 1, 5, 16) / 3).flatten(2).transpose(1, 2)
    torch.testing.assert_close(_streaming(reading).network.whole_logits(pixels), expected, atol=1e-5, rtol=0)


def test_activations_of_code_are_assumed_beside_those_of_modules() -> None:
    """A network whose head alone is made of modules."""
    torch.manual_seed(0)
    net = nn.ModuleDict({"look": MaskedConv("A", 1, 6, 3), "mix": nn.Conv2d(6, 6, 1)})
    net["head"] = nn.Sequential(nn.ReLU(), nn.Conv2d(6, 4, 1))
    kinds = {
        "": "train.Net",
        "look": "train.MaskedConv",
        "mix": "torch.nn.modules.conv.Conv2d",
        "head": "torch.nn.modules.container.Sequential",
        "head.0": "torch.nn.modules.activation.ReLU",
        "head.1": "torch.nn.modules.conv.Conv2d",
    }
    reading = _read(net.state_dict(), {path: ModuleFacts(kind) for path, kind in kinds.items()})
    assert _assumptions(reading)["the activation between its layers"] == "relu"
    pixels = torch.randint(4, (2, 80))
    with torch.no_grad():
        image = net["look"](pixels.view(2, 1, 5, 16) / 3)
        expected = net["head"](net["mix"](torch.relu(image))).flatten(2).transpose(1, 2)
    torch.testing.assert_close(_streaming(reading).network.whole_logits(pixels), expected, atol=1e-5, rtol=0)


def test_a_module_of_unknown_effect_is_told() -> None:
    net = nn.Sequential(MaskedConv("A", 1, 6, 3), nn.ReLU(), nn.Identity(), nn.Conv2d(6, 4, 1))
    kinds = "train.MaskedConv", "torch.nn.modules.activation.ReLU", "train.Shuffle", "torch.nn.modules.conv.Conv2d"
    with pytest.raises(TuiGenError, match=r"what 2 does, a train\.Shuffle, is not known; .*--factory"):
        _read(net.state_dict(), _modules(*kinds))


@pytest.mark.parametrize(
    ("net", "answers", "says"),
    [
        (colour_bits(), {"levels": 256}, "--levels 256 does not fit: it puts out 1 number, for 2 levels, per channel"),
        (one_hot(), {"scaling": "/255", "levels": 9}, "--levels 9 does not fit: it puts out 5"),
        (Attributes(), {"scaling": "one-hot"}, "one-hot does not fit: it reads 1 planes and puts out 4 levels"),
        (Attributes(), {"assume": {"masks": "odd"}}, "--assume masks must be one of a-then-b, none"),
        (Codes(), {"scaling": "raw"}, "the file has an embedding of the levels"),
        (nn.Sequential(MaskedConv("A", 2, 6, 3), nn.Conv2d(6, 4, 1)), {}, "reads 2 planes, which are neither"),
        (nn.Sequential(MaskedConv("A", 3, 6, 3), nn.Conv2d(6, 4, 1)), {}, "4 numbers per pixel, which 3 channels"),
        (nn.Sequential(MaskedConv("A", 1, 6, 3), nn.GroupNorm(2, 6), nn.Conv2d(6, 4, 1)), {}, "no known use are 1.wei"),
    ],
)
def test_what_does_not_fit_is_told_in_a_line(net: nn.Module, answers: dict[str, Any], says: str) -> None:
    with pytest.raises(TuiGenError, match=says) as fault:
        _read(net.state_dict(), **answers).build()
    assert "\n" not in str(fault.value)


@pytest.mark.parametrize(
    ("facts", "size"),
    [
        ({"kwargs": {"input_shape": (1, 4, 6)}}, (4, 6)),
        ({"config": {"image_shape": [7, 5, 3]}}, (7, 5)),
        ({"img_size": [8, 9]}, (8, 9)),
        ({"args": {"image_size": 6}}, (6, 6)),
        ({"h": 3, "w": 4}, (3, 4)),
        ({"input_shape": [1, 2, 3, 4]}, None),
    ],
)
def test_the_size_is_found_among_hyper_parameters(facts: dict[str, Any], size: tuple[int, int] | None) -> None:
    reading = read_image(Checkpoint("t", sequential().state_dict(), facts=facts), ReadOptions())
    assert reading is not None
    assert dict(reading.diagnosis.facts)["image"] == (f"{size[0]}x{size[1]}" if size else "unknown")
