"""A network that no reader recognises is exported when its owner's function builds it."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from export.images.factory import read_factory
from export.images.network import ImageNetwork
from export.images.streaming import StreamingNetwork
from export.loading.contents import Checkpoint
from export.reading import ReadOptions
from tui_gen.errors import TuiGenError

OWNER = '''
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

def plain(): return Odd()
def single(): return Odd(out=1)
def colour(): return Odd(3)
def five(): return Five(3)
def swapped(): return Swapped(3)
def last(): return Last()
def embedded(): return Embedded()
def named(): return Named()
def wrong(): return 3
def broken(): raise ValueError("no such\\nfile")
def leaky(): return nn.Conv2d(1, 4, 3, padding=1)
'''


@pytest.fixture(autouse=True)
def _owner(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "owners_net.py").write_text(OWNER)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delitem(sys.modules, "owners_net", raising=False)


def _network(name: str, *, weights: nn.Module | None = None, **told: object) -> ImageNetwork:
    found = None if weights is None else Checkpoint("t", weights.state_dict())
    reading = read_factory(f"owners_net:{name}", found, ReadOptions(size=(5, 6), **told))  # type: ignore[arg-type]
    network = reading.build().network
    assert isinstance(network, StreamingNetwork)
    assert network.slow_because == ""
    return network.network


def _module(name: str) -> nn.Module:
    import owners_net  # type: ignore[import-not-found]

    module: nn.Module = getattr(owners_net, name)().eval()
    return module


@pytest.mark.parametrize(
    ("name", "levels", "channels"),
    [("plain", 4, 1), ("colour", 4, 3), ("five", 4, 3), ("swapped", 4, 3), ("last", 4, 1), ("embedded", 4, 1)],
)
def test_how_it_is_called_is_found_out(name: str, levels: int, channels: int) -> None:
    network = _network(name)
    assert (network.levels, network.channels) == (levels, channels)
    pixels = torch.randint(levels, (2, network.area))
    image = pixels.view(2, 5, 6, channels).permute(0, 3, 1, 2)
    with torch.no_grad():
        logits = _module(name)(image[:, 0] if name == "embedded" else image / (levels - 1))
    if name == "last":
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


def test_a_class_is_found_and_counted() -> None:
    network = _network("named")
    assert (network.condition, network.conditions) == ("class", 5)
    pixels, label = torch.randint(4, (2, 30)), torch.tensor([4, 1])
    expected = _module("named")(pixels.view(2, 1, 5, 6) / 3, label).flatten(2).transpose(1, 2)
    torch.testing.assert_close(network.whole_logits(pixels, label), expected)


def test_the_weights_of_a_file_are_loaded() -> None:
    torch.manual_seed(9)
    _network("plain")
    trained = _module("plain")
    nn.init.normal_(trained.mix.weight)
    pixels = torch.randint(4, (2, 30))
    expected = trained(pixels.view(2, 1, 5, 6) / 3).flatten(2).transpose(1, 2)
    torch.testing.assert_close(_network("plain", weights=trained).whole_logits(pixels), expected)


@pytest.mark.parametrize(
    ("factory", "told", "says"),
    [
        ("owners_net", {}, "takes package.module:function"),
        ("no_such_net:plain", {}, "no_such_net:plain failed: ModuleNotFoundError"),
        ("owners_net:nothing", {}, "owners_net:nothing failed: AttributeError"),
        ("owners_net:wrong", {}, "must return a torch.nn.Module, not int"),
        ("owners_net:broken", {}, "owners_net:broken failed: ValueError: no such"),
        ("owners_net:plain", {"levels": 9}, "--levels 9 does not fit: the module puts out 4"),
        ("owners_net:plain", {"size": None}, "needs the size of its images: --size HxW"),
        ("owners_net:plain", {"assume": {"input": "text"}}, "--assume input must be float or int"),
        ("owners_net:leaky", {}, "the network is not causal: the pixel in row .* a mask is missing"),
    ],
)
def test_what_goes_wrong_is_told_in_a_line(factory: str, told: dict[str, object], says: str) -> None:
    with pytest.raises(TuiGenError, match=says) as fault:
        _exported(factory, told)
    assert "\n" not in str(fault.value)


def _exported(factory: str, told: dict[str, object]) -> None:
    options = ReadOptions(**{"size": (5, 6), **told})  # type: ignore[arg-type]
    read_factory(factory, None, options).build().network.step_graph()


def test_weights_of_another_network_are_told() -> None:
    says = r"it lacks 4 of the module's tensors, such as look.bias and is alone with 2 of its tensors, such as bias"
    with pytest.raises(TuiGenError, match=says):
        _network("plain", weights=nn.Linear(2, 2))


def test_weights_beside_the_modules_own_are_told() -> None:
    """Whoever loads part of a file must know."""
    _network("plain")
    more = _module("plain")
    more.extra = nn.Linear(2, 2)
    with pytest.raises(TuiGenError, match=r"it is alone with 2 of its tensors, such as extra\.bias"):
        _network("plain", weights=more)
