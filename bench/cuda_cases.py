"""How fast networks run on a GPU: ours beside PyTorch, beside the CPU, and beside what the device allows."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from bench import cuda_peers
from bench.cuda_agreement import how, names, shipped
from tui_gen.bench import peers
from tui_gen.bench.cases import LARGE_SIZES, generating, load_network
from tui_gen.bench.networks import SIDE, weight_bytes
from tui_gen.bench.timing import Result, Run, Timing, format_timing, in_turns, per_unit
from tui_gen.generation.generate import generate
from tui_gen.generation.protocol import Endless
from tui_gen.runtime.model import Model
from tui_gen.runtime.session import Place
from tui_gen.sampling.params import SamplingParams

_LSTM, _NAME = "lstm2x1024", "LSTM 2x1024, 10,000 words"
TOKENS, PIXELS = 300, 6
_PIXELS_AT_ONCE = {64: 12, 1024: 3}
"""Pixels that PyTorch is timed for, each a pass over whole images."""


def language_model() -> Iterator[Result]:
    """LSTM 2x1024 with 10,000 words beside PyTorch, for 1, 64 and 1,024 samples."""
    model = load_network(_LSTM, 1, "cuda")
    for samples, eager_bar, graph_bar in ((1, 3.0, 1.0), (64, 1.5, None), (1024, 1.5, None)):
        words = f"{_NAME}, {samples} sample{'s' if samples > 1 else ''}"
        for tf32 in (False, True):
            times = in_turns(_language_runs(model, samples, tf32=tf32))
            mode = "; cuDNN in TF32, as PyTorch has it by default" if tf32 else ""
            bars = (None, None) if tf32 else (eager_bar, graph_bar)
            for peer, label, bar in zip(("eager", "graph"), ("eager", "with CUDA graphs"), bars, strict=True):
                yield _beside(f"{words}, beside PyTorch {label}{mode}", model, times["ours"], times[peer], bar)
        if samples in (1, 1024):
            yield _limit(model, samples, times["ours"])


def _language_runs(model: Model, samples: int, *, tf32: bool) -> dict[str, Run]:
    """Ours, and PyTorch's, which keeps the precision that it was captured with."""
    cuda_peers.use_tf32(on=tf32)
    count = TOKENS if samples < 1024 else TOKENS // 5
    parts = cuda_peers.language_model(LARGE_SIZES[_LSTM])
    eager, graph = peers.keeping_state(parts, 1, samples=samples), cuda_peers.captured(parts, samples)
    return {
        "ours": generating(model, count=count, samples=samples),
        "eager": lambda: per_unit(lambda: eager(count), count),
        "graph": lambda: per_unit(lambda: graph(count), count),
    }


def pictures() -> Iterator[Result]:
    """PixelCNN of 128 filters and 5 blocks, 28x28, beside PyTorch on the whole image for each pixel."""
    model = load_network("pixelcnn", 1, "cuda")
    cuda_peers.use_tf32(on=False)
    for samples, bar in ((64, 20.0), (1024, 50.0)):
        count, whole = _PIXELS_AT_ONCE[samples], peers.whole_image(samples, "cuda")
        times = in_turns(
            {
                "ours": generating(model, count=SIDE * SIDE, samples=samples),
                "whole": lambda work=whole, count=count: per_unit(lambda: work(count), count),
            },
            rounds=3,
        )
        yield _beside(
            f"PixelCNN 128x5, 28x28, {samples} images, beside PyTorch", model, times["ours"], times["whole"], bar
        )
        floor = in_turns({"floor": _floor(samples)})["floor"]
        share = floor.over(times["ours"])
        said = f"a call that computes next to nothing {format_timing(floor)}"
        yield Result(f"PixelCNN, {samples} images: what several tokens in a call could save at most", said, "", share)


def traffic() -> Iterator[Result]:
    """What crosses the bus for a token."""
    model = load_network(_LSTM, 1, "cuda")
    device = model._placement.of(1)
    generating(model, count=8)()
    before = device.traffic
    generating(model, count=1024)()
    each = (device.traffic - before) / 1024
    yield Result(
        f"{_NAME}: bytes that cross the bus for a token", f"{each:.0f} bytes", "", each / 1000, 1, at_most=True
    )


def choices() -> Iterator[Result]:
    """Each shipped model on the CPU and on CUDA: what `--provider auto` has to choose from."""
    for name in names():
        for samples in (1, 16, 64, 256):
            cpu, cuda = shipped(name, "cpu"), shipped(name, "cuda")
            count = 60 if samples > 16 else 200
            times = in_turns(
                {
                    "cpu": _endless(cpu, count, samples),
                    "cuda": _endless(cuda, count, samples),
                },
                rounds=3,
            )
            yield _beside(
                f"{name}, {samples} at once, CUDA and one CPU thread", cuda, times["cuda"], times["cpu"], None
            )


def _endless(model: Model, count: int, samples: int) -> Run:
    """Seconds for a step of a run that does not end early."""
    prompt = np.full((samples, 1), model.card.bos)

    def work() -> None:
        for _ in generate(Endless(model), prompt, SamplingParams(), length=count, seed=0):
            pass

    return lambda: per_unit(work, count)


def _beside(case: str, model: Model, ours: Timing, theirs: Timing, bar: float | None) -> Result:
    note = "see the row on the limit"
    return Result(
        case, f"a step {format_timing(ours)}, {how(model)}", format_timing(theirs), theirs.over(ours), bar, note=note
    )


def _limit(model: Model, samples: int, ours: Timing) -> Result:
    """How near a step is to reading the weights once, or to launching anything at all."""
    reading = weight_bytes(_LSTM) / cuda_peers.bandwidth()
    floor = in_turns({"floor": _floor(samples)})["floor"].median
    limit = max(reading, floor)
    which = f"reading the weights {reading * 1e6:.0f} us, a call that computes next to nothing {floor * 1e6:.0f} us"
    return Result(
        f"{_NAME}, {samples} at once: the step as a multiple of its limit",
        format_timing(ours),
        which,
        ours.median / limit,
    )


def _floor(samples: int) -> Run:
    """Seconds for a step of the smallest model there is, with all that goes with it."""
    model = shipped("names", "cuda")
    device = model._open_device(Place("cuda"))
    tokens, uniform, rows = np.zeros(samples, dtype=np.int64), np.full(samples, 0.5), SamplingParams().row()

    def work() -> None:
        state = device.bring(model.start(samples))
        for _ in range(TOKENS):
            _, state = device.draw(tokens, state, uniform, rows)

    return lambda: per_unit(work, TOKENS)
