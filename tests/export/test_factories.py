"""A network that no reader recognises is exported when its owner's function builds it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from export.checkpoints.checkpoint import Checkpoint
from export.factory.read import read_factory
from export.image_network import ImageNetwork, check_causal
from export.images.streaming import StreamingNetwork
from export.reader import Missing, ReadOptions
from tests.support.causal_networks import assert_streams
from tui_gen.errors import TuiGenError

OWNER = '''
from functools import partial
import torch
from torch import nn
from torch.nn import functional as F

class Causal(nn.Conv2d):
    def forward(self, x):
        weight = self.weight.clone()
        weight[:, :, 1, 1:] = 0
        weight[:, :, 2] = 0
        return F.conv2d(x, weight, self.bias, padding=1)

class Odd(nn.Module):
    """A design that no reader knows."""
    def __init__(self, channels=1, levels=4, out=None):
        super().__init__()
        torch.manual_seed(1)
        self.look, self.mix = Causal(channels, 6, 3), nn.Conv2d(12, out or levels * channels, 1)
    def forward(self, x):
        h = self.look(x)
        return self.mix(torch.cat([torch.sin(h), h.square()], 1))

class Five(Odd):
    def forward(self, x):
        out = super().forward(x)
        return out.view(len(x), 4, 3, *x.shape[2:])

class Swapped(Odd):
    def forward(self, x):
        return super().forward(x).view(len(x), 4, 3, *x.shape[2:]).transpose(1, 2)

class Last(Odd):
    def forward(self, x):
        return super().forward(x).permute(0, 2, 3, 1)

class Embedded(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(2)
        self.pixels, self.odd = nn.Embedding(4, 1), Odd()
    def forward(self, x):
        return self.odd(self.pixels(x).permute(0, 3, 1, 2))

class Named(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(3)
        self.class_embedding, self.odd = nn.Embedding(5, 4), Odd()
    def forward(self, x, label):
        return self.odd(x) + self.class_embedding(label)[:, :, None, None]

class ByClass(nn.Module):
    """A class, in the way that is asked for."""
    def __init__(self, way):
        super().__init__()
        torch.manual_seed(4)
        self.way, self.first, self.last = way, Causal(1, 6, 3), nn.Conv2d(6, 4, 1)
        self.names, self.layer = nn.Embedding(5, 6), nn.Linear(5, 6)
    def forward(self, x, y):
        h = self.first(x)
        if self.way == "table":
            h = h + self.names(y).view(-1, 6, 1, 1)
        elif self.way == "spread":
            h = h + self.names(y)[:, :, None, None].expand_as(h)
        elif self.way == "scale":
            h = h * (1 + self.names(y)[:, :, None, None])
        else:
            ones = F.one_hot(y, 5).float() if self.way == "made one-hot" else y
            h = h + self.layer(ones)[:, :, None, None]
        return self.last(torch.relu(h))

class Joined(nn.Module):
    """A one-hot class, spread over the image and joined to it as channels."""
    def __init__(self):
        super().__init__()
        torch.manual_seed(6)
        self.first, self.last = Causal(1, 6, 3), nn.Conv2d(6, 4, 1)
        self.second = nn.Conv2d(11, 6, (1, 3), padding=(0, 1))
        self.second.weight.data[:, :, :, 2] = 0
    def forward(self, x, y):
        ones = F.one_hot(y, 5).float()[:, :, None, None].expand(-1, -1, *x.shape[2:])
        return self.last(torch.relu(self.second(torch.cat([self.first(x), ones], 1))))

class Optional(ByClass):
    def forward(self, x, y=None):
        return self.last(self.first(x)) if y is None else super().forward(x, y)

class TwoConvolutions(nn.Module):
    """A gate of two convolutions, and a normalisation of the features at each place."""
    def __init__(self):
        super().__init__()
        torch.manual_seed(5)
        self.first, self.norm = Causal(1, 6, 3), nn.LayerNorm(6)
        self.signal, self.gate, self.last = Causal(6, 6, 3), Causal(6, 6, 3), nn.Conv2d(6, 4, 1)
    def forward(self, x):
        h = self.norm(self.first(x).permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        return self.last(h + torch.tanh(self.signal(h)) * torch.sigmoid(self.gate(h)))

def over_places(): return nn.Sequential(Causal(1, 6, 3), nn.GroupNorm(2, 6), nn.Conv2d(6, 4, 1))
def wrong(): return 3
def broken(): raise ValueError("no such\\nfile")
def leaky(): return nn.Conv2d(1, 4, 3, padding=1)
plain, single, colour, five, swapped = Odd, partial(Odd, out=1), partial(Odd, 3), partial(Five, 3), partial(Swapped, 3)
ways = ("spread", "table", "scale", "made one-hot", "given one-hot")
spread, table, scale, made_one_hot, given_one_hot = (partial(ByClass, way) for way in ways)
optional = partial(Optional, "table")
'''


@pytest.fixture(autouse=True)
def _owner(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "owners_net.py").write_text(OWNER)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delitem(sys.modules, "owners_net", raising=False)


def _network(name: str, *, weights: nn.Module | None = None, **answers: Any) -> ImageNetwork:
    checkpoint = None if weights is None else Checkpoint("t", weights.state_dict())
    network = _streaming(f"owners_net:{name}", checkpoint, **answers)
    assert network.slow_because == ""
    return network.network


def _streaming(factory: str, checkpoint: Checkpoint | None = None, **answers: Any) -> StreamingNetwork:
    usual: dict[str, Any] = {"size": (5, 6), "scaling": "level/(levels-1)"}
    network = read_factory(factory, checkpoint, ReadOptions(**{**usual, **answers})).build().network
    assert isinstance(network, StreamingNetwork)
    return network


def _export(factory: str, **answers: Any) -> None:
    network = _streaming(factory, **answers)
    check_causal(network.network)
    network.step_graph()


def _module(name: str) -> nn.Module:
    import owners_net  # type: ignore[import-not-found]

    module: nn.Module = getattr(owners_net, name)().eval()
    return module


@pytest.mark.parametrize(
    ("name", "levels", "channels"),
    [("plain", 4, 1), ("colour", 4, 3), ("five", 4, 3), ("swapped", 4, 3), ("Last", 4, 1), ("Embedded", 4, 1)],
)
def test_how_it_is_called_is_found_out(name: str, levels: int, channels: int) -> None:
    network = _network(name, assume={"order": "levels-first"} if name == "colour" else {})
    assert (network.levels, network.channels) == (levels, channels)
    pixels = torch.randint(levels, (2, network.area))
    image = pixels.view(2, 5, 6, channels).permute(0, 3, 1, 2)
    with torch.no_grad():
        logits = _module(name)(image[:, 0] if name == "Embedded" else image / (levels - 1))
    if name == "Last":
        logits = logits.permute(0, 3, 1, 2)
    if name == "swapped":
        logits = logits.transpose(1, 2)
    if channels > 1:
        logits = logits.reshape(2, levels, 3, 5, 6).permute(0, 1, 3, 4, 2)
    torch.testing.assert_close(network.whole_logits(pixels), logits.flatten(2).transpose(1, 2))


def test_a_single_logit_is_that_of_the_brighter_level() -> None:
    network = _network("single")
    pixels = torch.randint(2, (2, 30))
    logits: Tensor = network.whole_logits(pixels)
    assert network.levels == 2
    torch.testing.assert_close(logits[:, :, 1], _module("single")(pixels.view(2, 1, 5, 6).float()).flatten(1))
    assert not logits[:, :, 0].any()


def test_outputs_in_a_row_are_sorted_as_they_are_told() -> None:
    network = _network("colour", assume={"order": "channels-first"})
    pixels = torch.randint(4, (2, network.area))
    with torch.no_grad():
        logits = _module("colour")(pixels.view(2, 5, 6, 3).permute(0, 3, 1, 2) / 3).view(2, 3, 4, 5, 6)
    torch.testing.assert_close(network.whole_logits(pixels), logits.permute(0, 3, 4, 1, 2).flatten(1, 3))


WAYS = ("Named", "table", "spread", "Joined", "scale", "made_one_hot", "given_one_hot", "optional")


@pytest.mark.parametrize("name", WAYS)
def test_a_class_is_found_and_counted_and_streams_exactly_however_it_is_given(name: str) -> None:
    network = _network(name, assume={"classes": "5"} if name == "optional" else {})
    assert (network.condition, network.conditions) == ("class", 5)
    pixels, label = torch.randint(4, (3, 30)), torch.tensor([4, 1, 0])
    condition = torch.eye(5)[label] if name == "given_one_hot" else label
    expected = _module(name)(pixels.view(3, 1, 5, 6) / 3, condition).flatten(2).transpose(1, 2)
    torch.testing.assert_close(network.whole_logits(pixels, label), expected)
    assert_streams(network, conditions=label[:, None].numpy(), condition=label)


def test_an_argument_that_is_left_out_is_told() -> None:
    reading = read_factory("owners_net:optional", None, ReadOptions(size=(5, 6)))
    assert (
        Missing("what its argument y is, without which these do nothing: names, layer", "--assume classes=N|none")
        in reading.diagnosis.missing
    )


def test_gates_of_two_convolutions_and_normalised_places_stream_exactly() -> None:
    assert_streams(_network("TwoConvolutions"))


def test_the_weights_of_a_file_are_loaded() -> None:
    torch.manual_seed(9)
    _network("plain")
    module = _module("plain")
    nn.init.normal_(module.mix.weight)
    pixels = torch.randint(4, (2, 30))
    expected = module(pixels.view(2, 1, 5, 6) / 3).flatten(2).transpose(1, 2)
    torch.testing.assert_close(_network("plain", weights=module).whole_logits(pixels), expected)


@pytest.mark.parametrize(
    ("factory", "answers", "says"),
    [
        ("owners_net", {}, "takes package.module:function"),
        ("nets/owners_net.py:single", {}, "not that of its file: --factory nets.owners_net:single"),
        (
            "no_such_net:plain",
            {},
            "no_such_net:plain failed: ModuleNotFoundError: .*; it is looked for in the folder where you are, /",
        ),
        ("owners_net:nothing", {}, "owners_net:nothing failed: AttributeError"),
        ("owners_net:wrong", {}, "must return a torch.nn.Module, not int"),
        ("owners_net:broken", {}, "owners_net:broken failed: ValueError: no such"),
        ("owners_net:plain", {"levels": 9}, "--levels 9 does not fit: the module puts out 4"),
        ("owners_net:plain", {"size": None}, "pictures of a size that nothing in it tells: --size HxW"),
        ("owners_net:plain", {"assume": {"input": "text"}}, "--assume input must be float, int or one-hot"),
        ("owners_net:table", {"assume": {"classes": "9"}}, "classes=9 does not fit: the module takes no class 8"),
        ("owners_net:over_places", {}, "not causal: .* mask is missing, .*; 1 is a GroupNorm, which mixes all pixels"),
        ("owners_net:leaky", {}, "the network is not causal: the pixel in row .* a mask is missing"),
    ],
)
def test_what_goes_wrong_is_told_in_a_line(factory: str, answers: dict[str, Any], says: str) -> None:
    with pytest.raises(TuiGenError, match=says) as fault:
        _export(factory, **answers)
    assert "\n" not in str(fault.value)


def test_weights_of_another_network_are_told() -> None:
    says = r"it lacks 4 of the module's tensors, such as look.bias and is alone with 2 of its tensors, such as bias"
    with pytest.raises(TuiGenError, match=says):
        _network("plain", weights=nn.Linear(2, 2))
    more = _module("plain")
    more.extra = nn.Linear(2, 2)  # whoever loads part of a file must know
    with pytest.raises(TuiGenError, match=r"it is alone with 2 of its tensors, such as extra\.bias"):
        _network("plain", weights=more)
