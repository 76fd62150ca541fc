"""The cases: each is a function that times ours and its peers in turns and returns rows of the table."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from tui_gen.bench import networks, timing
from tui_gen.bench.networks import SIDE, graph, image_card, text_card, weight_bytes
from tui_gen.bench.timing import Result, Run, Timing, format_timing, in_turns, per_unit
from tui_gen.generation.generate import generate
from tui_gen.runtime.model import Model
from tui_gen.runtime.placement import cores, thread_counts
from tui_gen.runtime.session import Provider
from tui_gen.sampling.params import SamplingParams, draw_tokens, weights

PROMPT, TOKENS = 100, 200
PIXELS = 20
"""Of an image, where each takes a pass over all of it."""
_NO_TORCH = "PyTorch is not installed"

_SMALL = "the profile: beside a step so small, sampling from 10,000 words and Python take most of a token"
_CACHED = (
    "the profile: the fp32 weights of so small a network stay in the cache and two threads share them; int8 gains less"
)
_QUANTISING = (
    "the profile: a quarter of the bytes is read, but inputs are quantised and results scaled back at every step; "
    "without AVX-512 runs give 2.8 to 3.0, with it 3.8 to 5"
)
_NODES = (
    "the profile: of a pixel, a third is products, a third onnxruntime's cost for each of 55 nodes, and a third Python "
    "and NumPy around the step"
)

SIZES = {"lstm": (100, 128, 1), "lstm2": (512, 512, 2)}
LARGE_SIZES = {"lstm2x1024": (512, 1024, 2)}
"""Embedding, units, layers; the large ones are for GPUs."""
NAMES = {"lstm": "LSTM 128, 10,000 words", "lstm2": "LSTM 2x512, 10,000 words"}


def load_network(name: str, threads: int, provider: Provider = "cpu") -> Model:
    """A network of the benchmark's own."""
    card = image_card(name) if name.startswith("pixelcnn") else text_card(name)
    return Model(graph(name), card, provider=provider, threads=threads)


def generating(model: Model, *, prompt: int = 1, count: int = TOKENS, samples: int = 1) -> Run:
    """Seconds for a new token through `generate`, its 20 likeliest included; reading the prompt takes its part."""
    tokens = np.full((samples, prompt), model.card.bos, dtype=np.int64)

    def run() -> float:
        steps = generate(model, tokens, SamplingParams(), length=count, seed=0)

        def work() -> None:
            for step in steps:
                if not step.given[0]:
                    step.likeliest(networks.TOP)

        return per_unit(work, count)

    return run


def stepping(model: Model, *, count: int = TOKENS) -> Run:
    """Seconds for a step alone."""

    def work() -> None:
        state, tokens = model.start(1), np.zeros(1, dtype=np.int64)
        for _ in range(count):
            _, state = model.step(tokens, state)

    return lambda: per_unit(work, count)


def language_models() -> Iterator[Result]:
    """End to end, beside PyTorch that keeps the state, and beside the book's loop."""
    for name in SIZES:
        runs: dict[str, Run] = {}
        for threads in thread_counts(cores()):
            runs[f"ours {threads}"] = generating(load_network(name, threads), prompt=PROMPT)
            runs[f"int8 {threads}"] = generating(load_network(f"{name}-int8", threads), prompt=PROMPT)
            runs |= _torch_runs(name, threads)
        times = in_turns(runs, rounds=3)
        yield from _beside_torch(NAMES[name], "ours", times, eager=2.0, prefix=6.0 if name == "lstm" else None)
        yield from _beside_torch(f"{NAMES[name]}, int8", "int8", times, eager=4.0, prefix=None)


def _torch_runs(name: str, threads: int) -> dict[str, Run]:
    if not timing.torch_version():
        return {}
    parts = networks.language_model(*SIZES[name])
    works = {"eager": networks.keeping_state(parts, PROMPT)}
    works |= {"prefix": networks.whole_prefix(parts, PROMPT)} if name == "lstm" else {}
    return {f"{kind} {threads}": _with_threads(work, TOKENS, threads) for kind, work in works.items()}


def _with_threads(work: Callable[[int], object], count: int, threads: int) -> Run:
    def run() -> float:
        networks.set_threads(threads)
        return per_unit(lambda: work(count), count)

    return run


def best(times: dict[str, Timing], kind: str) -> tuple[str, Timing] | None:
    """The fastest number of threads, and its time."""
    timings = {name: timing for name, timing in times.items() if name.rpartition(" ")[0] == kind}
    if not timings:
        return None
    name = min(timings, key=lambda key: timings[key].median)
    count = name.rpartition(" ")[2]
    return f"{count} thread{'s' if count != '1' else ''}", timings[name]


def _beside_torch(
    case: str, kind: str, times: dict[str, Timing], *, eager: float, prefix: float | None
) -> Iterator[Result]:
    ours = best(times, kind)
    assert ours
    summary = f"a token {format_timing(ours[1])}, {ours[0]}"
    for peer, words, bar in (("eager", "PyTorch keeping its state", eager), ("prefix", "the book's loop", prefix)):
        if bar is None:
            continue
        theirs = best(times, peer)
        beside = f"{words} {format_timing(theirs[1])}, {theirs[0]}" if theirs else _NO_TORCH
        ratio = theirs[1].over(ours[1]) if theirs else None
        yield Result(f"{case}, beside {words}", summary, beside, ratio, bar, note=_SMALL)


def steps() -> Iterator[Result]:
    """The step alone: int8 beside fp32, and both beside what memory allows; sampling beside the step."""
    for name in SIZES:
        runs: dict[str, Run] = {}
        for threads in thread_counts(cores()):
            runs[f"fp32 {threads}"] = stepping(load_network(name, threads))
            runs[f"int8 {threads}"] = stepping(load_network(f"{name}-int8", threads))
            runs[f"memory {threads}"] = timing.reader(threads)
        runs["sampling 1"] = sampling()
        times = in_turns(runs)
        full, small, memory = (best(times, kind) for kind in ("fp32", "int8", "memory"))
        assert full
        assert small
        assert memory
        summary = f"a step {format_timing(full[1])}, {full[0]}"
        yield Result(
            f"{NAMES[name]}, int8 step beside fp32",
            f"{format_timing(small[1])}, {small[0]}",
            summary,
            full[1].over(small[1]),
            3,
            note=_CACHED if name == "lstm" else _QUANTISING,
        )
        limit = memory[1].median * weight_bytes(name)
        rate = (
            f"{weight_bytes(name) / 1e6:.1f} MB at {1e-9 / memory[1].median:.1f} GB/s would take {limit * 1e6:.0f} us"
        )
        bar = 0.75 if name == "lstm2" else None
        yield Result(f"{NAMES[name]}, step beside reading its weights", summary, rate, limit / full[1].median, bar)
        share = times["sampling 1"].over(full[1])
        bar = 0.15 if name == "lstm2" else None
        yield Result(
            f"{NAMES[name]}, sampling as a part of the step",
            format_timing(times["sampling 1"]),
            summary,
            share,
            bar,
            at_most=True,
        )


def sampling() -> Run:
    """Seconds to turn 10,000 logits into a token."""
    rng = np.random.default_rng(0)
    logits, uniform = (rng.normal(size=(1, 10_000)) * 2).astype(np.float32), np.array([0.5])
    count, rows = 5 * TOKENS, SamplingParams().row()
    return lambda: per_unit(lambda: [draw_tokens(weights(logits, rows), uniform) for _ in range(count)], count)


def pictures() -> Iterator[Result]:
    """One pixel at a time beside the whole image for every pixel, for one image and for 16."""
    for samples, torch_bar, runtime_bar in ((1, 80, 35), (16, 280, 140)):
        runs: dict[str, Run] = {}
        count = max(4, PIXELS // samples)
        for threads in thread_counts(cores()):
            runs[f"ours {threads}"] = generating(load_network("pixelcnn", threads), count=SIDE * SIDE, samples=samples)
            runs[f"whole {threads}"] = generating(load_network("pixelcnn-whole", threads), count=count, samples=samples)
            if timing.torch_version():
                runs[f"torch {threads}"] = _with_threads(networks.whole_image(samples), count, threads)
        times = in_turns(runs, rounds=3)
        ours = best(times, "ours")
        assert ours
        summary = f"a pixel {format_timing(ours[1])}, {ours[0]}"
        for kind, words, bar in (("torch", "PyTorch", torch_bar), ("whole", "onnxruntime", runtime_bar)):
            theirs = best(times, kind)
            beside = f"{words}, the whole image {format_timing(theirs[1])}, {theirs[0]}" if theirs else _NO_TORCH
            case = f"PixelCNN 128x5, 28x28, {samples} image{'s' if samples > 1 else ''}, beside {words}"
            yield Result(case, summary, beside, theirs[1].over(ours[1]) if theirs else None, bar, note=_NODES)
