"""Networks that their owners' functions build: each is exact, asked about, or refused; and what the proof is of."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from export.factory.read import read_factory
from export.images.input_output import LogisticMixture
from export.images.streaming import StreamingNetwork
from export.original import compare_original
from export.reader import ReadOptions
from tests.support import factories
from tests.support.factories import LEVELS, H, V, W
from tests.support.kinds import Kind, Logits, check
from tui_gen.errors import TuiGenError

SCALED = {"scaling": "level/(levels-1)"}
Call = Callable[[nn.Module, Tensor], Tensor]


def _saved(name: str, call: Call) -> Callable[[Path], tuple[Path, Logits]]:
    """As a state dict, after other weights than those that the function begins with."""

    def save(folder: Path) -> tuple[Path, Logits]:
        module = getattr(factories, name)().eval()
        with torch.no_grad():
            for parameter in filter(lambda parameter: parameter.requires_grad, module.parameters()):
                parameter.add_(torch.randn_like(parameter) / 4)
        torch.save(module.state_dict(), folder / "weights.pt")
        return folder / "weights.pt", lambda tokens: call(module, tokens)

    return save


def _drawn(
    form: Callable[[Tensor], Tensor] = lambda logits: logits,
    *,
    pick: Callable[[Any], Tensor] = lambda result: result,
    whole: bool = False,
    channels: int = 1,
    told: Tensor | None = None,
    levels: int = LEVELS,
) -> Call:
    """Levels in raster order to logits. form: what it returns to [batch, levels, channels, h, w]; told: its class."""

    def call(module: nn.Module, tokens: Tensor) -> Tensor:
        image = tokens.view(len(tokens), H, W, channels).permute(0, 3, 1, 2)
        given = image[:, 0] if whole else image / (levels - 1)
        extra = () if told is None else (told.expand(len(tokens), *told.shape[1:]),)
        logits = form(pick(module(given, *extra))).reshape(len(tokens), -1, channels, H, W)
        return logits.permute(0, 3, 4, 2, 1).flatten(1, 3)

    return call


def _of_wrapped(module: Any, tokens: Tensor) -> Tensor:
    return _drawn()(module.module._orig_mod.float(), tokens)


def _of_two(logits: Tensor) -> Tensor:
    return torch.cat([torch.zeros_like(logits), torch.logit(logits)], 1)


def _kind(name: str, factory: str, call: Call, **facts: Any) -> Kind:
    options = {"size": (H, W), **(SCALED if facts.pop("scaled", True) else {}), **facts.pop("options", {})}
    factory_path = f"tests.support.factories:{factory}"
    return Kind(name, _saved(factory, call), options=ReadOptions(**options), factory=factory_path, **facts)


def _levels_last(logits: Tensor) -> Tensor:
    return logits.permute(0, 4, 1, 2, 3)


def _in_a_row(logits: Tensor) -> Tensor:
    return logits.view(len(logits), 3, LEVELS, H, W).transpose(1, 2)


def _one_hot_class(planes: bool = False) -> Tensor:
    first = torch.eye(factories.CLASSES)[:1]
    return first[:, :, None, None].expand(-1, -1, H, W) if planes else first


def _of_planes(module: nn.Module, tokens: Tensor) -> Tensor:
    planes = functional.one_hot(tokens, LEVELS).float().transpose(1, 2).view(len(tokens), LEVELS, H, W)
    logits: Tensor = module(planes).flatten(2).transpose(1, 2)
    return logits


PICTURES = [
    _kind("a scaling that nothing tells", "masks_data", _drawn(), outcome="asked", says="--scaling", scaled=False,
          replies=SCALED),
    _kind("weight.data *= mask", "masks_data", _drawn()),
    _kind("several devices, compiled, halves", "wrapped", _of_wrapped),
    _kind("weight.data[...].zero_()", "masks_slices", _drawn()),
    _kind("weight *= mask without gradients", "masks_no_grad", _drawn()),
    _kind("a new parameter in forward", "masks_new_parameter", _drawn()),
    _kind("masks of a network that cannot be streamed", "AttendingOnce", _drawn()),
    _kind("[N, levels, 1, H, W]", "one_channel", _drawn()),
    _kind("[N, C*levels, H, W]", "in_a_row", _drawn(_in_a_row, channels=3), outcome="asked",
          says="sorted by level or by channel first", answers={"order": "channels-first"}),
    _kind("[N, C, H, W, levels]", "levels_last", _drawn(_levels_last, channels=3)),
    _kind("[N, H*W, levels]", "flat_places", _drawn(lambda logits: logits.transpose(1, 2))),
    _kind("a tuple with a list", "pair", _drawn(pick=lambda result: result[1][0])),
    _kind("a dict with a loss", "mapping", _drawn(pick=lambda result: result["logits"])),
    _kind("two answers of one shape", "alike", _drawn(pick=lambda result: result[1]), outcome="asked",
          says="which of what it returns are its logits, where 0 and 1 have the same shape", answers={"returns": "1"}),
    _kind("probabilities", "probabilities", _drawn(torch.log)),
    _kind("a probability of the brighter level", "probability", _drawn(_of_two, levels=2), scaled=False),
    _kind("a tensor kept for the first batch, a counter, a list", "Remembering", _drawn()),
    _kind("a squeeze that drops a batch of one", "Squeezing", _drawn()),
    _kind("a size that the network knows", "Sized", _drawn(), options={"size": None}),
    _kind("a class as a number", "label", _drawn(told=torch.zeros(1).long())),
    _kind("a class as one-hot", "one_hot", _drawn(told=_one_hot_class())),
    _kind("a class as one-hot times a matrix", "matrix", _drawn(told=_one_hot_class())),
    _kind("a vector", "vector", _drawn(told=torch.zeros(1, factories.CLASSES)),
          options={"assume": {"condition": "vector"}}),
    _kind("a class as planes", "planes", _drawn(told=_one_hot_class(planes=True)), outcome="asked",
          says="second argument is a class as planes", answers={"condition": "planes"}),
    _kind("codes by an embedding, with a cache beside", "codes", _drawn(pick=lambda result: result[0], whole=True),
          scaled=False),
    _kind("codes made one-hot inside", "codes_one_hot", _drawn(pick=lambda result: result[0], whole=True),
          scaled=False),
    _kind("planes as many as levels", "levels_as_planes", _of_planes, outcome="asked",
          says="the 4 planes that it reads",
          answers={"input": "one-hot"}, scaled=False),
    _kind("a class that may be left out", "Leaving", _drawn(), outcome="asked",
          says="argument label is, without which these do nothing: classes", answers={"classes": "none"}),
    _kind("a class that may be left out, further on", "LeavingSecond", _drawn(), outcome="asked",
          says="argument other or label is, without which these do nothing: classes;", answers={"classes": "none"}),
    _kind("a GPU that it asks for", "Raising", _drawn(), outcome="refused",
          says=r"with floats \[batch, 1, height, width\], it raises RuntimeError: .* \(factories.py, line \d+\), "
          "which asks for a GPU: let it build and run on the CPU"),
    _kind("dropout that is never off", "Noisy", _drawn(), outcome="refused", says="differently when it is asked again"),
    _kind("a mean over the batch", "OverTheBatch", _drawn(), outcome="refused", says="depends on the other images"),
]  # fmt: skip


@pytest.mark.parametrize("kind", PICTURES, ids=str)
def test_a_picture_network_is_exact_or_asked_or_refused(kind: Kind, tmp_path: Path) -> None:
    check(kind, tmp_path)


def _written(name: str, call: Call) -> Kind:
    return Kind(name, _saved(name, call), factory=f"tests.support.factories:{name}")


def _one_hot(tokens: Tensor) -> Tensor:
    return functional.one_hot(tokens, V).float()


def _by_steps(module: nn.Module, tokens: Tensor) -> Tensor:
    state, rows = module.init_hidden(len(tokens)), []
    for token in tokens.T:
        logits, state = module(token, state)
        rows.append(logits)
    return torch.stack(rows, 1)


def _kept(module: nn.Module, tokens: Tensor) -> Tensor:
    module.init_hidden(len(tokens))
    logits: Tensor = module(tokens.T).transpose(0, 1)
    return logits


TEXTS = [
    _written("ids", lambda module, tokens: module(tokens)),
    _written("as_mapping", lambda module, tokens: module(tokens)["logits"]),
    _written("with_state", lambda module, tokens: module(tokens.T)[0].transpose(0, 1)),
    _written("time_major", lambda module, tokens: module(tokens.T)[0].view(*tokens.T.shape, V).transpose(0, 1)),
    _written("flat_one_hot", lambda module, tokens: module(_one_hot(tokens))[0].view(*tokens.shape, V)),
    _written("token_by_token", _by_steps),
    _written("Keeping", _kept),
    _written("Lengths", lambda module, tokens: module(tokens, torch.full((len(tokens),), tokens.shape[1]))[0]),
    _written("LengthsAndState", lambda module, tokens: module(tokens, [tokens.shape[1]] * len(tokens), None)[0]),
    _written("TwoStates", lambda module, tokens: module(tokens, *module.init_state(len(tokens)))[0]),
    _written("Padding", factories.Writing.forward),
    _written("Listing", factories.Writing.forward),
    _written("Single", lambda module, tokens: torch.cat([_by_steps(module, text) for text in tokens.split(1)])),
]


@pytest.mark.parametrize("kind", TEXTS, ids=str)
def test_the_owners_language_model_proves_its_reading_however_it_is_called(kind: Kind, tmp_path: Path) -> None:
    check(kind, tmp_path)
    reading = read_factory(kind.factory, None, ReadOptions())
    exportable = reading.build()
    assert compare_original(exportable.network, exportable.references, reading.diagnosis).positions == 64


@pytest.mark.parametrize(
    ("factory", "says"),
    [
        ("residual", r"not the original: .*first in sample 0 after token 1 of 32, so what a single token passes is at"),
        ("features", r"gives \[2, 32, 6\], .*and not 7 numbers after each, as many as it predicts"),
        ("Forgetful", "answers the same tokens differently when it is asked again: something in it is random"),
        ("Attention", "neither recurrent layers .* such as a transformer, cannot be played"),
    ],
)
def test_a_language_model_that_is_another_or_cannot_be_played_is_told(factory: str, says: str) -> None:
    with pytest.raises(TuiGenError, match=says) as fault:
        _prove(factory)
    assert "\n" not in str(fault.value)


def test_a_layer_that_has_no_say_is_told() -> None:
    options = ReadOptions(size=(H, W), scaling="raw")
    reading = read_factory("tests.support.factories:Waiting", None, options)
    assert "these parts have no say in what it answers: auxiliary" in reading.diagnosis.notes


@pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated")
@pytest.mark.parametrize(
    ("factory", "says"),
    [
        ("Lazy", r"a module whose last\.weight has no size before its first call: call it there"),
        ("empty", r"a module whose first\.weight has no numbers; build it on the CPU"),
        ("scripted", "a program of TorchScript; let it return the module that it was made from"),
        ("broken", "Drawing answers with numbers that are not finite: its weights are damaged"),
    ],
)
def test_a_module_that_cannot_be_asked_is_told(factory: str, says: str) -> None:
    with pytest.raises(TuiGenError, match=says):
        read_factory(f"tests.support.factories:{factory}", None, ReadOptions(size=(H, W), scaling="raw"))


def _prove(factory: str) -> None:
    reading = read_factory(f"tests.support.factories:{factory}", None, ReadOptions())
    exportable = reading.build()
    compare_original(exportable.network, exportable.references, reading.diagnosis)


def test_a_mixture_of_logistics_is_asked_about_and_gives_probabilities_of_256_levels() -> None:
    factory, options = "tests.support.factories:mixture", ReadOptions(size=(2, 3))
    with pytest.raises(TuiGenError, match="are 3 logistics in the order of PixelCNN"):
        read_factory(factory, None, options).build()
    network = read_factory(factory, None, replace(options, assume={"head": "mixture"})).build().network
    assert isinstance(network, StreamingNetwork)
    tokens = torch.randint(256, (2, 18))
    image = tokens.view(2, 2, 3, 3).permute(0, 3, 1, 2) / 127.5 - 1
    logits = LogisticMixture(3, 3)(factories.mixture().eval()(image), image).permute(0, 3, 4, 2, 1).flatten(1, 3)
    torch.testing.assert_close(network.network.whole_logits(tokens), logits)
    torch.testing.assert_close(logits.exp().sum(2), torch.ones(2, 18), rtol=0, atol=1e-4)
