"""Biases that a file stores and its network never adds: that of a masked convolution with a forward pass of its own."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch

from export.images.layers import Conv
from export.images.telling import Answers


def without_unused_biases(convs: Sequence[Conv], answers: Answers, *, blocks_of_own: bool) -> list[str]:
    """Takes away biases that are stored but not added, and says so; or else changes nothing.

    blocks_of_own: whether there are blocks that begin with a layer, whose scripts are known to do that.
    """
    stored = [conv for conv in convs if conv.masked and conv.bias is not None]
    others = [conv for conv in convs if not conv.masked]
    untouched = not any(map(_was_trained, stored)) and any(map(_was_trained, others))
    unused = untouched or (blocks_of_own and masked_for_themselves(convs))
    if not stored or not (unused or blocks_of_own):
        return []
    told = answers.assume(
        "masked_bias",
        "ignored" if unused else "added",
        "whether its masked convolutions add the bias that they store",
        choices=("ignored", "added"),
    )
    if told == "ignored":
        for conv in stored:
            conv.bias = None
    return [f"the stored biases of {len(stored)} masked convolutions are {told}"]


def _was_trained(conv: Conv) -> bool:
    """Whether a bias has left the interval that PyTorch draws it from: plus and minus 1 / sqrt(inputs of a feature)."""
    if conv.bias is None:
        return False
    bound = 1 / math.sqrt(conv.weight[0].numel())
    return bool((conv.bias.abs() > bound * (1 + 1e-5)).any()) and bool(torch.isfinite(conv.bias).all())


def masked_for_themselves(convs: Sequence[Conv]) -> bool:
    """Masked 1x1 convolutions before a last one without a mask: the masked are of a class with its own forward pass."""
    return not convs[-1].masked and any(conv.masked and conv.pointwise for conv in convs)
