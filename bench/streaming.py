"""Times a compiled PixelCNN step against the whole image for every pixel, in one run: `python bench/streaming.py`.

The network is the plain PixelCNN with 128 filters and 5 blocks on 28x28 pixels. Each is measured in turn, several times
over; what is printed is the median of an image, the spread, and the ratio.
"""

from __future__ import annotations

import platform
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).parents[1]))

from export.compiler.compile import compile_step
from export.image_network import ImageNetwork
from export.images.whole_image import whole_image_step
from export.training.native import image_network
from export.training.networks import PixelCNN, PixelCNNConfig
from tui_gen.card import ImageSpec, ModelCard
from tui_gen.runtime.model import Model
from tui_gen.runtime.session import RUNTIME

SIDE, ROUNDS, WHOLE_PIXELS = 28, 5, 40
AREA = SIDE * SIDE


def main() -> None:
    """Prints a table."""
    torch.manual_seed(0)
    config = PixelCNNConfig(SIDE, SIDE, 4, channels=128, blocks=5, gated=False, one_hot=False, head=128)
    network = image_network(PixelCNN(config).eval())
    rows: dict[str, Callable[[], float]] = {"compiled step, 1 thread": _stepping(network, compiled=True, threads=1)}
    for threads in (1, 2):
        rows[f"onnxruntime, whole image, {threads} threads"] = _stepping(network, compiled=False, threads=threads)
        rows[f"PyTorch, whole image, {threads} threads"] = _eager(network, threads)
    times: dict[str, list[float]] = {name: [] for name in rows}
    for number in range(ROUNDS + 1):
        for name, run in rows.items():
            seconds = run()
            if number:  # the first round warms up
                times[name].append(seconds)
    _report(times)


def _stepping(network: ImageNetwork, *, compiled: bool, threads: int) -> Callable[[], float]:
    """Seconds for an image, token by token through `Model`; the slow form is timed for some pixels and multiplied."""
    graph = compile_step(network).graph if compiled else whole_image_step(network)
    card = ModelCard("bench", "image", "", 4, bos=4, image=ImageSpec(SIDE, SIDE, 4))
    model = Model(graph.SerializeToString(), card, provider="cpu", threads=threads)
    pixels = AREA if compiled else WHOLE_PIXELS

    def run() -> float:
        state, token = model.start(1), np.zeros(1, dtype=np.int64)
        start = time.perf_counter()
        for _ in range(pixels):
            _, state = model.step(token, state)
        return (time.perf_counter() - start) * AREA / pixels

    return run


def _eager(network: ImageNetwork, threads: int) -> Callable[[], float]:
    pixels = torch.zeros(1, AREA, dtype=torch.int64)
    condition = torch.zeros(1, network.conditions)

    def run() -> float:
        torch.set_num_threads(threads)
        start = time.perf_counter()
        for _ in range(WHOLE_PIXELS):
            network.whole_logits(pixels, condition)
        return (time.perf_counter() - start) * AREA / WHOLE_PIXELS

    return run


def _report(times: dict[str, list[float]]) -> None:
    versions = f"Python {platform.python_version()}, torch {torch.__version__}, onnxruntime {RUNTIME}"
    print(f"{versions}, {platform.machine()}; an image of {SIDE}x{SIDE}, batch 1, median of {ROUNDS} rounds")
    step = statistics.median(next(iter(times.values())))
    for name, seconds in times.items():
        median = statistics.median(seconds)
        spread = f"{min(seconds):.3f} to {max(seconds):.3f}"
        print(f"{name:40} {median:8.3f} s ({spread})  {median / AREA * 1e6:8.1f} us a pixel  {median / step:6.1f} x")


if __name__ == "__main__":
    main()
