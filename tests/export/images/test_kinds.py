"""Picture networks as strangers save them: each is exact, asked about, or refused."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from export.reader import ReadOptions
from tests.support.gated_networks import ColourGated
from tests.support.kinds import Kind, Logits, check

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
    name: str = "model.pt",
) -> Callable[[Path], tuple[Path, Logits]]:
    """As a state dict. sees: what the script gives its network, of int64[batch, channels, h, w]."""

    def save(folder: Path) -> tuple[Path, Logits]:
        net = build().eval()
        torch.save(net.state_dict(), folder / name)

        def logits(levels: Tensor) -> Tensor:
            label = (torch.zeros(len(levels), dtype=torch.int64),) if classes else ()
            out = net(sees(_pictures(levels, channels)), *label)  # [b, levels(, channels), h, w]
            return (out.permute(0, 3, 4, 2, 1) if out.ndim == 5 else out.permute(0, 2, 3, 1)).reshape(
                len(levels), -1, out.shape[1]
            )

        return folder / name, logits

    return save


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


KINDS = [_crops(in_place=True), _crops(in_place=False)]


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_is_exact_or_asked_or_refused(kind: Kind, tmp_path: Path) -> None:
    check(kind, tmp_path)
