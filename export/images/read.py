"""Recognises networks over images by the shapes and the names of their tensors."""

from __future__ import annotations

from export.images.layers import find_layers
from export.images.reading_gated import read_gated
from export.images.single import read_single
from export.images.telling import Answers
from export.loading.contents import Checkpoint
from export.reading import Reading, ReadOptions
from tui_gen.errors import TuiGenError


def read_image(checkpoint: Checkpoint, options: ReadOptions) -> Reading | None:
    """The reading of a PixelCNN; None if there is nothing of convolutions in it.

    Raises TuiGenError for convolutions that make no network that is known.
    """
    layers = find_layers(checkpoint.tensors)
    if not layers.convs:
        return None
    for reader in (read_gated, read_single):
        answers = Answers(options, checkpoint)
        reading = reader(layers, answers)
        if reading:
            answers.check_all_used()
            return reading
    first = layers.convs[0]
    beside = f"; of no known use are {', '.join(layers.left[:3])}" if layers.left else ""
    raise TuiGenError(
        f"it has {len(layers.convs)} convolutions, from {first.name} {list(first.weight.shape)} on, which make no "
        f"network that is known{beside}; a network over images can be exported with --factory package.module:function"
    )
