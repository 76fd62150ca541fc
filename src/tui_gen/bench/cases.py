"""The cases: each is a function that times ours and its peers in turns and returns rows of the table."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from tui_gen.bench import machine, peers
from tui_gen.bench.networks import SIDE, graph, image_card, products, text_card
from tui_gen.bench.timing import Lap, Result, Run, Timing, format_timing, in_turns, per_unit
from tui_gen.generation.generate import generate
from tui_gen.generation.protocol import Endless
from tui_gen.runtime.model import Model
from tui_gen.runtime.placement import cores, thread_counts
from tui_gen.runtime.session import OnnxSession, Provider
from tui_gen.sampling.params import SamplingParams, draw_tokens, weights

PROMPT, TOKENS = 100, 200
PIXELS = 20
"""Of an image, where each takes a pass over all of it."""
_NO_TORCH = "PyTorch is not installed"
TOP = peers.TOP

_SMALL = "the profile: beside a step so small, sampling from 10,000 words and Python take most of a token"
_CACHED = (
    "the profile: the fp32 weights of so small a network stay in the cache and two threads share them; int8 gains less"
)
_QUANTISING = (
    "the profile: a quarter of the bytes is read, but inputs are quantised and results scaled back at every step; "
    "without AVX-512 runs give 2.8 to 3.0, with it 3.8 to 5"
)
_AROUND = (
    "the profile: what is between the products: gates, states that are copied, and onnxruntime's cost for each node"
)
_SORTING = "the profile: the 20 likeliest of 10,000 take as long as a step of so small a network"
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


def generating(
    model: Model, *, prompt: int = 1, count: int = TOKENS, samples: int = 1, top: int = TOP, endless: bool = False
) -> Run:
    """A new token through `generate`, with so many of the likeliest; reading the prompt takes its part.

    endless: the model's end token is a token like others.
    """
    tokens, network = np.full((samples, prompt), model.card.bos, dtype=np.int64), Endless(model) if endless else model

    def run() -> Lap:
        steps = generate(network, tokens, SamplingParams(), length=count, seed=0)

        def work() -> None:
            for step in steps:
                if top and not step.given[0]:
                    step.likeliest(top)

        return per_unit(work, count)

    return run


def stepping(model: Model, *, count: int = TOKENS) -> Run:
    """A step alone."""

    def work() -> None:
        state, tokens = model.start(1), np.zeros(1, dtype=np.int64)
        for _ in range(count):
            _, state = model.step(tokens, state)

    return lambda: per_unit(work, count)


def multiplying(name: str, threads: int, *, count: int = TOKENS) -> Run:
    """The products of a step alone, on weights that lie where they lie in use: what no step can be faster than."""
    session, rng = OnnxSession(products(name), threads), np.random.default_rng(0)
    rows, results = (
        [rng.standard_normal([int(size or 1) for size in port.shape], dtype=np.float32) for port in ports]
        for ports in (session.inputs, session.outputs)
    )
    call = session.bind(rows, results)

    def work() -> None:
        for _ in range(count):
            call()

    return lambda: per_unit(work, count)


def language_models() -> Iterator[Result]:
    """End to end, beside PyTorch that keeps the state, eager and compiled, and beside the book's loop."""
    for name in SIZES:
        runs: dict[str, Run] = {}
        for threads in thread_counts(cores()):
            runs[f"ours {threads}"] = generating(load_network(name, threads), prompt=PROMPT)
            runs[f"int8 {threads}"] = generating(load_network(f"{name}-int8", threads), prompt=PROMPT)
            runs |= _torch_runs(name, threads)
        times = in_turns(runs, rounds=3)
        prefix = {"prefix": 6.0} if name == "lstm" else {}
        yield from _beside_torch(NAMES[name], "ours", times, {"eager": 2.0, "compiled": 1.5, **prefix})
        yield from _beside_torch(f"{NAMES[name]}, int8", "int8", times, {"eager": 4.0})


def _torch_runs(name: str, threads: int) -> dict[str, Run]:
    if not machine.torch_version():
        return {}
    parts = peers.language_model(*SIZES[name])
    works = {"eager": peers.keeping_state(parts, PROMPT)}
    works |= {} if peers.compile_trouble() else {"compiled": peers.compiled(parts, PROMPT)}
    works |= {"prefix": peers.whole_prefix(parts, PROMPT)} if name == "lstm" else {}
    return {f"{kind} {threads}": _with_threads(work, TOKENS, threads) for kind, work in works.items()}


def _with_threads(work: Callable[[int], object], count: int, threads: int) -> Run:
    def run() -> Lap:
        peers.set_threads(threads)
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


_PEERS = {
    "eager": "PyTorch keeping its state",
    "compiled": "PyTorch keeping its state, compiled",
    "prefix": "the book's loop",
}


def _beside_torch(case: str, kind: str, times: dict[str, Timing], bars: dict[str, float]) -> Iterator[Result]:
    ours = best(times, kind)
    assert ours
    summary = f"a token {format_timing(ours[1])}, {ours[0]}"
    for peer, bar in bars.items():
        theirs = best(times, peer)
        beside, ratio = _of_torch(_PEERS[peer], theirs, ours[1])
        yield Result(f"{case}, beside {_PEERS[peer]}", summary, beside, ratio, bar, note=_SMALL)


def _of_torch(words: str, theirs: tuple[str, Timing] | None, ours: Timing) -> tuple[str, float | None]:
    """What is said of a peer, and how many times as long it takes; or why it was not measured."""
    if theirs:
        return f"{words} {format_timing(theirs[1])}, {theirs[0]}", theirs[1].over(ours)
    return (peers.compile_trouble() if machine.torch_version() else _NO_TORCH), None


def steps() -> Iterator[Result]:
    """The step alone: int8 beside fp32, and beside its products; sampling beside the step, and the likeliest tokens."""
    for name in SIZES:
        runs: dict[str, Run] = {}
        for threads in thread_counts(cores()):
            runs[f"fp32 {threads}"] = stepping(load_network(name, threads))
            runs[f"int8 {threads}"] = stepping(load_network(f"{name}-int8", threads))
            runs[f"products {threads}"] = multiplying(name, threads)
        runs["sampling 1"] = sampling()
        times = in_turns(runs)
        full, small = (best(times, kind) for kind in ("fp32", "int8"))
        assert full
        assert small
        summary = f"a step {format_timing(full[1])}, {full[0]}"
        yield Result(
            f"{NAMES[name]}, int8 step beside fp32",
            f"{format_timing(small[1])}, {small[0]}",
            summary,
            full[1].over(small[1]),
            3,
            note=_CACHED if name == "lstm" else _QUANTISING,
        )
        yield _beside_products(NAMES[name], full, times, bar=0.75 if name == "lstm2" else None)
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

    yield from _likeliest()


def _beside_products(case: str, step: tuple[str, Timing], times: dict[str, Timing], bar: float | None) -> Result:
    """How near a step is to its products alone, with as many threads."""
    alone = times[f"products {step[0].split()[0]}"]
    summary, beside = f"a step {format_timing(step[1])}, {step[0]}", f"its products alone {format_timing(alone)}"
    return Result(f"{case}, step beside its products", summary, beside, alone.over(step[1]), bar, note=_AROUND)


def _likeliest() -> Iterator[Result]:
    """A token with the 20 likeliest that a panel shows, beside one without."""
    model = load_network("lstm", 1)
    times = in_turns({"with": generating(model), "without": generating(model, top=0)})
    yield Result(
        f"{NAMES['lstm']}, a token with its {TOP} likeliest beside one without",
        f"{format_timing(times['with'])}, 1 thread",
        format_timing(times["without"]),
        times["with"].over(times["without"]),
        1.25,
        at_most=True,
        note=_SORTING,
    )


def sampling() -> Run:
    """Turning 10,000 logits into a token."""
    rng = np.random.default_rng(0)
    logits, uniform = (rng.normal(size=(1, 10_000)) * 2).astype(np.float32), np.array([0.5])
    count, rows = 5 * TOKENS, SamplingParams().row()
    return lambda: per_unit(lambda: [draw_tokens(weights(logits, rows), uniform) for _ in range(count)], count)


def pictures() -> Iterator[Result]:
    """One pixel at a time beside the whole image for every pixel, for one image and for 16; and beside its products."""
    for samples, bars in (
        (1, {"torch": 80, "compiled": None, "whole": 35}),
        (16, {"torch": 280, "compiled": None, "whole": 140}),
    ):
        runs: dict[str, Run] = {}
        count = max(4, PIXELS // samples)
        for threads in thread_counts(cores()):
            runs[f"ours {threads}"] = generating(load_network("pixelcnn", threads), count=SIDE * SIDE, samples=samples)
            runs[f"whole {threads}"] = generating(load_network("pixelcnn-whole", threads), count=count, samples=samples)
            runs |= {name: _with_threads(work, count, threads) for name, work in _whole_images(samples, threads)}
        times = in_turns(runs, rounds=3)
        ours = best(times, "ours")
        assert ours
        summary = f"a pixel {format_timing(ours[1])}, {ours[0]}"
        for kind, bar in bars.items():
            beside, ratio = _of_torch(f"{_WHOLE[kind]}, the whole image", best(times, kind), ours[1])
            case = f"PixelCNN 128x5, 28x28, {samples} image{'s' if samples > 1 else ''}, beside {_WHOLE[kind]}"
            yield Result(case, summary, beside, ratio, bar, note=_NODES)
    times = in_turns({"step 1": stepping(load_network("pixelcnn", 1)), "products 1": multiplying("pixelcnn", 1)})
    yield _beside_products("PixelCNN 128x5, 28x28, 1 image", ("1 thread", times["step 1"]), times, bar=None)


_WHOLE = {"torch": "PyTorch", "compiled": "PyTorch compiled", "whole": "onnxruntime"}


def _whole_images(samples: int, threads: int) -> Iterator[tuple[str, peers.Work]]:
    if machine.torch_version():
        yield f"torch {threads}", peers.whole_image(samples)
        if not peers.compile_trouble():
            yield f"compiled {threads}", peers.whole_image(samples, compile_it=True)
