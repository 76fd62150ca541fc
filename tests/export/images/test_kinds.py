"""Picture networks as strangers save them: each is exact, asked about, or refused."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from export.reader import ReadOptions
from tests.support.gated_networks import ColourGated
from tests.support.kinds import Kind, Logits, check
from tests.support.picture_kinds import (
    Beside,
    ConcatenatedGates,
    FunctionAsAttribute,
    GatedEnds,
    Keras,
    LastNorm,
    LinkedLower,
    Lists,
    MaskedStacks,
    NormLists,
    Sums,
    activations_on_both_sides,
    chain,
    channel_masks,
    hole,
    own_masks,
    sigmoid_first,
)

_SIZE = (5, 7)
_SIZED = ReadOptions(size=_SIZE)


def _pictures(levels: Tensor, channels: int = 1) -> Tensor:
    """int64[batch, tokens] in raster order -> int64[batch, channels, h, w]."""
    return levels.view(len(levels), *_SIZE, channels).permute(0, 3, 1, 2)


def _saved(
    build: Callable[[], nn.Module],
    sees: Callable[[Tensor], Tensor],
    *,
    channels: int = 1,
    classes: bool = False,
    first: bool = False,
    keep: Callable[[nn.Module], object] = nn.Module.state_dict,
) -> Callable[[Path], tuple[Path, Logits]]:
    """As a state dict, or what else `keep` makes of the network.

    sees: what the script gives its network, of int64[batch, channels, h, w]. first: whether it takes all numbers of red
    for those before green.
    """

    def save(folder: Path) -> tuple[Path, Logits]:
        net = build().eval()
        torch.save(keep(net), folder / "model.pt")

        def logits(levels: Tensor) -> Tensor:
            label = (torch.zeros(len(levels), dtype=torch.int64),) if classes else ()
            return _by_token(net(sees(_pictures(levels, channels)), *label), channels, channels_first=first)

        return folder / "model.pt", logits

    return save


def _by_token(numbers: Tensor, channels: int, *, channels_first: bool) -> Tensor:
    """[b, rows, h, w] or [b, levels, channels, h, w] -> [b, tokens, levels]."""
    if numbers.shape[1] == channels:
        numbers = torch.stack([torch.zeros_like(numbers), numbers], 1)
    if numbers.ndim == 4:
        shape = (channels, -1) if channels_first else (-1, channels)
        numbers = numbers.view(len(numbers), *shape, *numbers.shape[2:])
        numbers = numbers.transpose(1, 2) if channels_first else numbers
    return numbers.permute(0, 3, 4, 2, 1).flatten(1, 3)


def _crops(*, in_place: bool) -> Kind:
    answer = "views" if in_place else "copies"
    return Kind(
        f"two crops of one tensor, {answer}",
        _saved(partial(ColourGated, in_place=in_place), lambda p: p / 4, channels=3, classes=True),
        "asked",
        says=r"two crops .* share memory.*--assume crops=views\|copies",
        answers={"crops": answer},
        options=_SIZED,
    )


def _asked(
    name: str,
    build: Callable[[], nn.Module],
    says: str,
    answers: Mapping[str, str],
    sees: Callable[[Tensor], Tensor] = lambda p: p / 3,
    **how: Any,
) -> Kind:
    """Asked about with its levels from 0 to 1, if nothing else is told."""
    options = ReadOptions(size=_SIZE, scaling=how.pop("scaling", "level/(levels-1)"))
    return Kind(name, _saved(build, sees, **how), "asked", says, answers, options)


def _stacks(name: str, label: Callable[[], nn.Module], **options: Any) -> Kind:
    """Two stacks with a class, which have every answer but those to their only questions."""
    build = partial(MaskedStacks, label, **options)
    return _asked(
        f"two stacks, {name}", build, "activation before the head", {"head": "relu", "gate": "tanh"}, classes=True
    )


def _whole(name: str, build: Callable[[], nn.Module], *, says: str = "") -> Kind:
    """A pickled network, exact or refused."""
    scaled = ReadOptions(size=_SIZE, scaling="level/(levels-1)")
    save = _saved(build, lambda p: p / 3, keep=lambda net: net)
    return Kind(name, save, "refused" if says else "exact", says, options=scaled)


def _with_settings(name: str, settings: dict[str, Any], outcome: Any, says: str = "", **answers: Any) -> Kind:
    """A chain that reads levels from -1 to 1, with values beside its weights."""
    build = partial(chain, 1, 256)
    keep = lambda net: {"model": net.state_dict(), "config": settings}  # noqa: E731
    save = _saved(build, lambda p: p / 127.5 - 1, keep=keep)
    return Kind(name, save, outcome, says, options=_SIZED, **answers)


_SCALED = r"how levels became its input.*--scaling .*-1\.\.1"
_BEFORE = {
    "block_end": "before",
    "before_blocks": "activation",
    "after_blocks": "none",
    "residual": "once",
    "activation": "relu",
}
"""Of blocks whose last activation comes before the sum, between layers with activations."""
_PLANES = "what the {} planes are"

KINDS = [
    _crops(in_place=True),
    _crops(in_place=False),
    # classes
    _stacks("an embedding", lambda: nn.Embedding(4, 12)),
    _stacks("a linear layer of one-hot classes", lambda: nn.Linear(4, 12), one_hot=4),
    _stacks("a linear layer without bias", lambda: nn.Linear(4, 12, bias=False), one_hot=4),
    _asked(
        "two stacks, as many classes as features",
        partial(MaskedStacks, lambda: nn.Linear(12, 12, bias=False), one_hot=12, activation=lambda x: x),
        "embedding, or of a linear layer of a one-hot class",
        {"class_weights": "linear", "head": "none", "gate": "tanh"},
        classes=True,
    ),
    *(
        _asked(
            f"planes of a picture, {answer}",
            partial(Beside, channels, 5 if "classes" in answer else 0, 4 * channels, first=first),
            _PLANES.format(channels + (5 if "classes" in answer else 1)),
            {"planes": answer, **({"order": "levels-first"} if channels > 1 else {})},
            channels=channels,
            classes="classes" in answer,
        )
        for answer, channels, first in (
            ("grey+classes", 1, True),
            ("classes+grey", 1, False),
            ("colour+classes", 3, True),
            ("ones+grey", 1, False),
        )
    ),
    # planes, levels and outputs
    _asked(
        "as many planes as outputs, one-hot",
        partial(chain, 5, 5),
        _PLANES.format(5),
        {"planes": "one-hot"},
        lambda p: functional.one_hot(p[:, 0], 5).permute(0, 3, 1, 2).float(),
        scaling=None,
    ),
    _asked(
        "as many planes as outputs, a bit for each colour",
        partial(chain, 3, 3),
        _PLANES.format(3),
        {"planes": "colour"},
        lambda p: p.float(),
        channels=3,
    ),
    *(
        Kind(
            f"masked stacks over {scaling}",
            _saved(partial(MaskedStacks, levels=256, activation=functional.elu), sees),
            "asked",
            says=_SCALED,
            answers={"head": "elu", "gate": "tanh"},
            options=_SIZED,
            replies={"scaling": scaling},
        )
        for scaling, sees in (
            ("-1..1", lambda p: p / 127.5 - 1),
            ("/255", lambda p: p / 255),
            ("raw", lambda p: p * 1.0),
        )
    ),
    Kind(
        "a Sequential over 256 levels as ToTensor makes them",
        _saved(partial(chain, 1, 256), lambda p: p / 255),
        options=_SIZED,
    ),
    *(
        _asked(
            f"colours, {order}",
            partial(chain, 3, 12),
            "sorted by level or by channel",
            {"order": order, "dilations": "1"},
            channels=3,
            first=order == "channels-first",
        )
        for order in ("levels-first", "channels-first")
    ),
    _asked(
        "as many levels as a mixture has numbers",
        partial(chain, 1, 6),
        "mixture of logistics",
        {"output": "levels"},
        lambda p: p / 5,
    ),
    # order and activations
    *(
        _asked(name, build, "run in turns or one after another", {"lists": "in-turns", **_BEFORE}, **how)
        for name, build, how in (
            ("a whole module with lists that run in turns", Lists, {"keep": lambda net: net}),
            ("lists that run in turns", Lists, {}),
            ("lists of 1x1 convolutions that run in turns", partial(Lists, look=1), {}),
        )
    ),
    *(
        _asked(
            f"{where}s of convolutions and their normalisations, {residual} residual",
            partial(NormLists, attributes=where == "attribute", residual=residual == "a"),
            "whether layers as wide as their input, .*, add it to what they make",
            _BEFORE if residual == "a" else {"residual": "none"},
        )
        for where in ("list", "attribute")
        for residual in ("a", "no")
    ),
    _asked(
        "normalisations after activations",
        partial(NormLists, last=True),
        "whether layers as wide as their input",
        {"residual": "none", "norms": "after-activations"},
    ),
    *(
        _asked(
            f"a normalisation after the last layer, {answer}",
            partial(LastNorm, used=answer == "used"),
            "whether norm, a normalisation after its last layer, is used or forgotten",
            {"last_norm": answer},
        )
        for answer in ("used", "ignored")
    ),
    *(
        _asked(
            f"blocks with an activation {end}, {before} before, {after} after them",
            partial(Sums, end, before=before == "activation", after=after == "activation"),
            "where the activations of a block are",
            {"block_end": end, "activation": "relu", "residual": "once"} | around,
        )
        for end, before, after, around in (
            ("after", "activation", "none", {"before_blocks": "activation"}),
            ("before", "none", "activation", {"before_blocks": "none", "after_blocks": "activation"}),
            ("before", "activation", "none", {"before_blocks": "activation", "after_blocks": "none"}),
            ("none", "activation", "none", {"before_blocks": "activation", "after_blocks": "none"}),
            ("none", "none", "activation", {"before_blocks": "none", "after_blocks": "activation"}),
            ("first", "none", "activation", {"after_blocks": "activation"}),
        )
    ),
    _asked(
        "blocks of another activation",
        partial(Sums, "before", before=True, after=False, activation=functional.elu),
        "the activation between its layers",
        _BEFORE | {"activation": "elu"},
    ),
    _asked(
        "blocks of 1x1 convolutions",
        partial(Sums, "before", before=True, after=False, look=1),
        "where the activations of a block are",
        _BEFORE,
    ),
    _asked(
        "blocks that end with an activation, and one after each",
        activations_on_both_sides,
        "where the activations of a block are",
        {"block_end": "before", "activation": "relu"},
    ),
    _asked("a book's masks, in blocks of one's own", Keras, "where the activations of a block are", _BEFORE),
    _asked(
        "half kernels, linked a row further down",
        LinkedLower,
        "--assume first=zeroed.moved.shifted",
        {"first": "shifted", "crops": "copies", "vertical_residual": "no", "head": "none", "gate": "tanh"},
    ),
    _asked(
        "gates that begin with sigmoid",
        partial(MaskedStacks, gates=sigmoid_first),
        "what the first half of a gate's channels goes through",
        {"gate": "sigmoid", "head": "relu"},
    ),
    Kind(
        "colours by masks of channels that only zeros show",
        _saved(partial(channel_masks, zeros=True), lambda p: p / 3, channels=3, first=True),
        options=ReadOptions(size=_SIZE, scaling="level/(levels-1)"),
    ),
    Kind(
        "colours by masks of channels that nothing shows",
        _saved(partial(channel_masks, zeros=False), lambda p: p / 3, channels=3),
        "refused",
        "masks its convolutions, .* if between channels as well, --factory",
        options=_SIZED,
    ),
    Kind(
        "an activation after the last layer",
        _saved(lambda: nn.Sequential(chain(1, 4), nn.ReLU()), lambda p: p / 3),
        options=ReadOptions(size=_SIZE, scaling="level/(levels-1)", assume={"last_activation": "relu"}),
    ),
    _asked(
        "gates before and after two stacks", GatedEnds, "activation before the head", {"head": "none", "gate": "tanh"}
    ),
    Kind(
        "gates of which each stack makes a half",
        _saved(ConcatenatedGates, lambda p: p / 3),
        "refused",
        "h_to_h reads 6 features, .* joined in another way; .*--factory",
        options=_SIZED,
    ),
    Kind(
        "a second mask without its middle row",
        _saved(hole, lambda p: p / 3),
        options=ReadOptions(size=_SIZE, scaling="level/(levels-1)"),
    ),
    # what a pickle says of its modules
    _whole("masks by the letters that modules keep", partial(own_masks, "AB")),
    _whole("masks by the letters that modules keep, A twice", partial(own_masks, "AA")),
    _whole("one activation as an attribute", FunctionAsAttribute),
    _whole("blocks that end with an activation of modules", partial(activations_on_both_sides, nn.ELU)),
    _whole("dilated", partial(own_masks, "AB", dilation=2, padding=2)),
    _whole("strided", partial(own_masks, "AB", stride=2), says="3 is a convolution with stride .*--factory"),
    _whole("in groups", partial(own_masks, "AB", groups=2), says="3 is a convolution with groups 2"),
    _whole("around a circle", partial(own_masks, "AB", padding_mode="circular"), says="drawn later"),
    # settings beside the weights
    _with_settings("a scaling that is stated", {"scaling": "-1..1"}, "exact"),
    _with_settings(
        "classes that are stated",
        {"conditional": True},
        "asked",
        "no classes, but .*conditional=True",
        answers={"conditions": "as-read"},
        replies={"scaling": "-1..1"},
    ),
    _with_settings(
        "levels that are stated",
        {"color_levels": 2},
        "asked",
        "256 levels, but .*color_levels=2",
        answers={"output": "levels"},
        replies={"scaling": "-1..1"},
    ),
    _with_settings(
        "normalisations that are stated",
        {"batch_norm": True},
        "asked",
        "no normalisations, but",
        answers={"normalisation": "as-read"},
        replies={"scaling": "-1..1"},
    ),
]


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_is_exact_or_asked_or_refused(kind: Kind, tmp_path: Path) -> None:
    check(kind, tmp_path)
