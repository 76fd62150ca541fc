"""Networks of one stack, of other people's scripts: read by structure, exact, and honest about what had to be told."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from export.checkpoints.checkpoint import Checkpoint, ModuleFacts
from export.read import read_image
from export.reader import ReadOptions
from tests.support.causal_networks import MaskedConv
from tests.support.gated_networks import AfterStem, TutorialGated
from tests.support.image_layouts import (
    Layout,
    as_codes,
    assert_exact_whole_and_by_steps,
    assert_same,
    assumptions,
    network_of,
    read,
    signed,
)
from tests.support.picture_kinds import Mixture
from tests.support.single_stack_networks import (
    Attributes,
    BookPixelCNN,
    Codes,
    GatedSingle,
    GenerativePixelCNN,
    Homework,
    activation_before_norm,
    blocks_within_activations,
    colour_bits,
    normalised_blocks,
    one_hot,
    sequential,
    without_activation_at_one_place,
)
from tui_gen.errors import TuiGenError

LAYOUTS: dict[str, Layout] = {
    "sequential": Layout(sequential, size=(6, 7)),
    "sequential, deeper": Layout(lambda: sequential(depth=6, width=4, kernel=3), size=(9, 5)),
    "sequential, colour": Layout(
        lambda: sequential(levels=5, channels=3), size=(5, 6), answers={"assume": {"order": "levels-first"}}
    ),
    "book": Layout(BookPixelCNN, lambda pixels: pixels.float() / 4, (6, 7)),
    "book, wider": Layout(lambda: BookPixelCNN(width=12, blocks=4, levels=8, first=5), lambda p: p.float() / 8, (7, 6)),
    "generative": Layout(GenerativePixelCNN, size=(6, 7)),
    "generative, deeper": Layout(lambda: GenerativePixelCNN(blocks=5, width=4), size=(6, 7)),
    "attributes, masks of every pass": Layout(Attributes, answers={"assume": {"masks": "a-then-b"}}),
    "activation before normalisation": Layout(activation_before_norm),
    "no activation at one place": Layout(without_activation_at_one_place),
    "one-hot": Layout(
        one_hot,
        lambda p: nn.functional.one_hot(p[:, 0], 5).permute(0, 3, 1, 2).float(),
        answers={"assume": {"planes": "one-hot"}},
    ),
    "colour, a bit a channel": Layout(colour_bits, answers={"assume": {"planes": "colour"}}),
    "embedded codes": Layout(Codes, as_codes),
    "normalised blocks": Layout(normalised_blocks, answers={"assume": {"activation": "relu"}}),
    "blocks within activations": Layout(
        blocks_within_activations,
        answers={"assume": {"block_end": "before", "activation": "relu"}, "scaling": "level/(levels-1)"},
    ),
    "homework, colour": Layout(
        Homework,
        lambda p: p.float() / 1.5 - 1,
        answers={"assume": {"order": "channels-first", "activation": "relu"}, "scaling": "-1..1"},
    ),
    "gated, one stack": Layout(GatedSingle, answers={"assume": {"after_blocks": "activation", "activation": "relu"}}),
}


@pytest.mark.parametrize("name", LAYOUTS)
def test_a_layout_says_what_its_script_says_whole_and_step_by_step(name: str) -> None:
    assert_exact_whole_and_by_steps(LAYOUTS[name])


def test_a_guess_is_told_with_the_option_that_corrects_it() -> None:
    guesses = {
        blocks_within_activations(): {
            "how often a block adds its input": "once",
            "the activation between its layers": "",
        },
        Homework(): {"whether its outputs are sorted by level or by channel first": ""},
        AfterStem(): {"the activation after its first convolution": "relu"},
    }
    for net, defaults in guesses.items():
        assert assumptions(net).items() >= defaults.items()


@pytest.mark.parametrize("build", [sequential, GatedSingle, TutorialGated, AfterStem])
def test_settings_that_are_taken_at_their_word_are_printed(build: Callable[[], nn.Module]) -> None:
    state = build().state_dict()
    reading = read_image(Checkpoint("t", state, facts={"scaling": "-1..1"}), ReadOptions())
    assert reading is not None
    assert "scaling='-1..1' in the file: taken at its word" in reading.diagnosis.notes


def test_where_normalisations_are_is_told_unless_numbers_show_it() -> None:
    what = "whether its normalisations come before activations or after"
    assert assumptions(Attributes())[what] == "before-activations"
    assert what not in {**assumptions(sequential()), **assumptions(activation_before_norm())}


def test_a_mask_by_colour_tells_how_the_outputs_are_sorted() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(MaskedConv("A", 3, 6, 3), nn.ReLU(), MaskedConv("B", 6, 12, 1))
    colour_of_input, colour = torch.arange(6) // 2, torch.arange(12) // 4
    net[2].mask[:, :, 0, 0] = (colour_of_input <= colour[:, None]).float()
    assert not any("sorted" in what for what in assumptions(net))
    network, pixels = network_of(read(net)), torch.randint(4, (2, 240))
    with torch.no_grad():
        logits = net(pixels.view(2, 5, 16, 3).permute(0, 3, 1, 2) / 3).view(2, 3, 4, 5, 16)
    expected = logits.permute(0, 3, 4, 1, 2).flatten(1, 3)
    torch.testing.assert_close(network.whole_logits(pixels), expected, atol=1e-5, rtol=0)


def test_a_mixture_of_logistics_is_exact_once_it_is_told() -> None:
    torch.manual_seed(0)
    net = Mixture()
    assert any("mixture of logistics" in what for what in assumptions(net, scaling="-1..1"))
    assert_same(read(net, scaling="-1..1", assume={"output": "mixture"}), net, signed)


def test_layers_in_a_row_are_no_block() -> None:
    """1x1, 3x3 and 1x1 in one Sequential look like a block but for where they are."""
    row = [nn.Conv2d(8, 4, 1), nn.ReLU(), MaskedConv("B", 4, 4, 3), nn.ReLU(), nn.Conv2d(4, 8, 1), nn.ReLU()]
    net = nn.Sequential(MaskedConv("A", 1, 8, 7), *row, nn.Conv2d(8, 4, 1))
    reading = read(net)
    assert "0 blocks" in reading.diagnosis.notes[0]
    assert_same(reading, net)


@pytest.mark.parametrize("how", ["ignored", "added"])
def test_stored_biases_of_masked_layers_are_as_they_are_told(how: str) -> None:
    torch.manual_seed(0)
    net = BookPixelCNN()
    for part in net.modules():
        if isinstance(part, MaskedConv):
            assert part.bias is not None
            nn.init.normal_(part.bias)  # far from untouched, so the layout no longer says that they are ignored
    pixels = torch.randint(4, (2, 80))
    with torch.no_grad():
        expected = net(pixels.view(2, 1, 5, 16) / 4).flatten(2).transpose(1, 2)
    script = {"block_end": "after", "before_blocks": "activation", "activation": "relu"}
    network = network_of(read(net, scaling="level/levels", assume={"masked_bias": how, **script}))
    assert torch.allclose(network.whole_logits(pixels), expected, atol=1e-5) == (how == "ignored")
    guesses = assumptions(net)
    assert guesses["whether its masked convolutions add the bias that they store"] == "added"
    with pytest.raises(TuiGenError, match="block_end=after"):
        network_of(read(net, scaling="level/levels"))


def test_biases_that_training_never_touched_are_ignored_aloud() -> None:
    """All others have moved away from where PyTorch starts them."""
    torch.manual_seed(0)
    net = nn.Sequential(MaskedConv("A", 1, 8, 3), nn.ReLU(), MaskedConv("B", 8, 8, 3), nn.ReLU(), nn.Conv2d(8, 4, 1))
    what = "whether its masked convolutions add the bias that they store"
    assert what not in assumptions(net)
    nn.init.constant_(net[4].bias, 3.0)
    assert assumptions(net)[what] == "ignored"
    nn.init.constant_(net[2].bias, 3.0)
    assert what not in assumptions(net)


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
    reading = read(net, modules)
    assert not any("activation between" in missing.what for missing in reading.diagnosis.missing)
    assert_same(reading, net)


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
    reading = read(net, {path: ModuleFacts(kind) for path, kind in kinds.items()})
    assert any(missing.what == "the activation between its layers" for missing in reading.diagnosis.missing)
    assert_same(reading, nn.Sequential(net["look"], nn.ReLU(), net["mix"], net["head"]))


def test_a_module_of_unknown_effect_is_told() -> None:
    net = nn.Sequential(MaskedConv("A", 1, 6, 3), nn.ReLU(), nn.Identity(), nn.Conv2d(6, 4, 1))
    kinds = "train.MaskedConv", "torch.nn.modules.activation.ReLU", "train.Shuffle", "torch.nn.modules.conv.Conv2d"
    with pytest.raises(TuiGenError, match=r"what 2 does, a train\.Shuffle, is not known; .*--factory"):
        read(net, _modules(*kinds))


@pytest.mark.parametrize(
    ("net", "answers", "says"),
    [
        (
            colour_bits(),
            {"levels": 256, "assume": {"planes": "colour"}},
            "--levels 256 does not fit: it puts out 1 number, for 2 levels, per channel",
        ),
        (one_hot(), {"scaling": "/255", "levels": 9}, "--levels 9 does not fit: it puts out 5"),
        (Attributes(), {"scaling": "one-hot"}, "one-hot does not fit: it reads 1 planes and puts out 4 levels"),
        (Attributes(), {"assume": {"masks": "odd"}}, "--assume masks must be one of a-then-b, none"),
        (Codes(), {"scaling": "raw"}, "the file has an embedding of the levels"),
        (
            nn.Sequential(MaskedConv("A", 2, 6, 3), nn.Conv2d(6, 4, 1)),
            {},
            "what the 2 planes are .* --assume planes=grey.ones",
        ),
        (
            nn.Sequential(MaskedConv("A", 3, 6, 3), nn.Conv2d(6, 4, 1)),
            {},
            "reads 3 planes and its last puts out 4 .* neither",
        ),
        (nn.Sequential(MaskedConv("A", 1, 6, 3), nn.GroupNorm(2, 6), nn.Conv2d(6, 4, 1)), {}, "no known use are 1.wei"),
    ],
)
def test_what_does_not_fit_is_told_in_a_line(net: nn.Module, answers: dict[str, Any], says: str) -> None:
    with pytest.raises(TuiGenError, match=says) as fault:
        read(net, **answers).build()
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


def test_the_size_may_stand_in_the_file() -> None:
    assert network_of(read(GenerativePixelCNN(), size=None)).width == 7


def test_masks_that_the_file_lacks_are_asked_about() -> None:
    """The tensors are also those of a network that removes noise, or colours what it is given."""
    torch.manual_seed(0)
    net = sequential()
    state = {name: tensor for name, tensor in net.state_dict().items() if not name.endswith("mask")}
    with pytest.raises(TuiGenError, match=r"whether its script masks its convolutions.* --assume masks=a-then-b.none"):
        read(state).build()
    assert_same(read(state, assume={"masks": "a-then-b"}), net)


@pytest.mark.parametrize(
    "head", [nn.Linear(6, 10), nn.Sequential(nn.Flatten(), nn.Linear(6 * 9, 20), nn.ReLU(), nn.Linear(20, 10))]
)
def test_what_turns_pictures_into_classes_is_told_so(head: nn.Module) -> None:
    net = nn.ModuleDict({"body": nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Conv2d(4, 6, 3)), "head": head})
    with pytest.raises(TuiGenError, match=r"head.* reads what its 2 convolutions make: .*classifier") as fault:
        read(net)
    assert "ignore" not in str(fault.value)


def test_what_is_left_out_as_told_is_not_named_again() -> None:
    net = nn.ModuleDict({"a": nn.Conv2d(1, 4, 3), "b": nn.Conv2d(8, 2, 3), "x": nn.Linear(5, 7), "y": nn.Linear(7, 5)})
    with pytest.raises(TuiGenError, match=r"b .* cannot read what a"):
        read(net, assume={"ignore": "x,y"})


def test_convolutions_that_make_no_known_network_are_told() -> None:
    net = nn.ModuleDict({"encoder": nn.Conv2d(1, 4, 3), "decoder": nn.Conv2d(8, 2, 3)})
    with pytest.raises(TuiGenError, match=r"2 convolutions, from encoder \[4, 1, 3, 3\] on.*--factory"):
        read(net)


def test_no_convolutions_are_somebody_elses_business() -> None:
    assert read_image(Checkpoint("t", nn.LSTM(2, 3).state_dict()), ReadOptions()) is None


@pytest.mark.parametrize(
    ("first", "second", "says"),
    [
        ("conv_tanh", "conv_sigmoid", "conv_tanh and layers.0.conv_sigmoid seem to make a gate"),
        ("conv_filter", "conv_gate", "seem to make a gate together, .* --factory"),
        ("f", "g", "seem to make a gate"),
        ("conv", "skip", "layers.0.skip seems to skip layers"),
    ],
)
def test_a_gate_or_a_skip_is_no_chain(first: str, second: str, says: str) -> None:
    size = 1 if second == "skip" else 3
    shapes = {"first": (6, 1, 5, 5), f"layers.0.{first}": (6, 6, 3, 3), f"layers.0.{second}": (6, 6, size, size)}
    shapes["out"] = (4, 6, 1, 1)
    tensors = {f"{name}.weight": torch.ones(shape) for name, shape in shapes.items()}
    with pytest.raises(TuiGenError, match=says):
        read(tensors)
