"""Cases that run whole models: long texts, many samples, many tokens at once; and two models compared."""

from __future__ import annotations

import os
import sys
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from itertools import islice, pairwise
from typing import Any

import numpy as np

from tui_gen.bench.cases import NAMES, TOKENS, best, generating, load_network
from tui_gen.bench.peers import Work, session_loop
from tui_gen.bench.timing import Lap, Result, Run, format_timing, in_turns, per_unit
from tui_gen.generation.generate import Sampled, Sampler, generate
from tui_gen.generation.pacing import frames
from tui_gen.generation.protocol import Endless, StateSource, StepModel
from tui_gen.library import LoadedModel, open_model, read_card, shipped_folder
from tui_gen.output.writers import writer_for
from tui_gen.runtime.model import Model
from tui_gen.runtime.placement import cores, thread_counts
from tui_gen.sampling.noise import Noise
from tui_gen.sampling.params import TEXT_LENGTH, Floats, Logits, SamplingParams, Tokens, probabilities
from tui_gen.sampling.step import Step
from tui_gen.scoring.score import score, score_texts

_SATURATED = (
    "the profile: from 16 samples on the product with 10,000 words takes the whole processor, and the logits of more "
    "samples no longer fit into its cache"
)
NEAR, FAR, WINDOW = 100, 100_000, 1_000
"""Positions in a text, the later of which is also the length of a text that is read; tokens that are timed at each."""
BATCHES = (1, 4, 16, 64, 256)
_PRODUCT = (
    "the profile: half of a token is the product with the 7,734 words of the vocabulary, at the processor's speed; the "
    "recurrence and the softmax take most of the rest"
)
_PYTHON = "the profile: what is not the session is a `Step` for each token, checks, and knobs that may be turned"
_TWICE = "the profile: each part pays onnxruntime's cost for each node anew"
_LEAVING = (
    "the profile: what does not shrink with the rows: onnxruntime's cost for each node, and Python's for each step"
)
LOGIT_TOLERANCE = 1e-4
"""A probability by which a random number may miss the border between two tokens for the choice to be a near-tie."""


def lengths() -> Iterator[Result]:
    """A token of a long text beside one of a short text; and the memory that the long one took."""
    loaded_model = open_model(shipped_folder() / "names")
    model = Endless(loaded_model.model)
    far = _text(model, loaded_model.card.bos)
    list(islice(far, WINDOW))
    before = _peak_megabytes()
    for _ in islice(far, FAR - WINDOW):
        pass
    growth = _peak_megabytes() - before
    rounds = 5
    near = [_text(model, loaded_model.card.bos) for _ in range(rounds + 1)]
    for text in near:
        list(islice(text, NEAR))
    queue = iter(near)
    times = in_turns({"near": lambda: _window(next(queue)), "far": lambda: _window(far)}, rounds=rounds)
    summary, beside = f"token {FAR:,}: {format_timing(times['far'])}", f"token {NEAR}: {format_timing(times['near'])}"
    yield Result(
        "names, a late token beside an early one", summary, beside, times["far"].over(times["near"]), 1.05, at_most=True
    )
    yield Result("names, memory for 100,000 tokens", f"{growth:.1f} MB more than for the first {WINDOW:,}", "")


def _text(model: Endless, bos: int) -> Iterator[Step]:
    return generate(model, np.full((1, 1), bos), SamplingParams(), length=FAR * 2, seed=0)


def _window(text: Iterator[Step]) -> Lap:
    return per_unit(lambda: [None for _ in islice(text, WINDOW)], WINDOW)


def _peak_megabytes() -> float:
    """The most memory that this process had so far; 0 where the system does not say."""
    if sys.platform == "win32":
        return 0.0
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (1e6 if sys.platform == "darwin" else 1e3)


def loops() -> Iterator[Result]:
    """Small shipped models, whose Python counts, beside the loop over `session.run` that one writes by hand."""
    for name in ("names", "shakespeare"):
        graph, bos = (shipped_folder() / name / "model.onnx").read_bytes(), read_card(shipped_folder() / name).bos
        runs: dict[str, Run] = {}
        for threads in thread_counts(cores()):
            runs[f"ours {threads}"] = generating(_shipped(name, threads), count=TOKENS, top=0, endless=True)
            runs[f"loop {threads}"] = _looping(session_loop(graph, bos, threads))
        times = in_turns(runs)
        ours, theirs = best(times, "ours"), best(times, "loop")
        assert ours
        assert theirs
        yield Result(
            f"{name}, beside a loop over session.run written by hand",
            f"a token {format_timing(ours[1])}, {ours[0]}",
            f"its softmax and its draw in NumPy {format_timing(theirs[1])}, {theirs[0]}",
            theirs[1].over(ours[1]),
            1,
            note=_PYTHON,
        )


def _looping(work: Work) -> Run:
    return lambda: per_unit(lambda: work(TOKENS), TOKENS)


def _shipped(name: str, threads: int, processors: int = 0) -> Model:
    folder = shipped_folder() / name
    graph = (folder / "model.onnx").read_bytes()
    return Model(graph, read_card(folder), provider="cpu", threads=threads, processors=processors)


def batches() -> Iterator[Result]:
    """Many samples at once: more and more of them, with several processors, and with rows that end."""
    yield _growth()
    yield from _several_processors() if cores() > 1 else ()
    yield _endings()


def _several_processors() -> Iterator[Result]:
    """64 pictures with one processor and with all that are tried."""
    for name in ("fashion", "adventurers"):
        counts = {"one": 1, "all": thread_counts(cores())[-1]}
        models = {kind: _shipped(name, 1, count) for kind, count in counts.items()}
        times = in_turns({kind: generating(model, count=60, samples=64, top=0) for kind, model in models.items()})
        one, together = times["one"], times["all"]
        ours = f"a step of all {format_timing(together)}, up to {counts['all']} processors"
        theirs = f"{format_timing(one)}, 1 processor"
        yield Result(f"{name}, 64 pictures, several processors beside one", ours, theirs, one.over(together), 0.95)
        assert one.processor
        assert together.processor
        yield Result(
            f"{name}, 64 pictures, the same for a second of a processor",
            ours,
            theirs,
            one.processor / together.processor,
            0.85,
            note=_TWICE,
        )


def _endings() -> Result:
    """64 recipes, whose rows end one after another, beside as many that all go on."""
    model, gains = _shipped("recipes", 1), []
    for seed in range(5):
        prompt = np.full((64, 1), model.card.bos, dtype=np.int64)
        alive = [int(step.live.sum()) for step in _steps(model, prompt, TEXT_LENGTH, seed)]
        runs = {
            "ending": _counted(model, prompt, len(alive), seed),
            "going on": _counted(Endless(model), prompt, len(alive), seed),
        }
        times = in_turns(runs, rounds=2)
        gains.append((times["going on"].over(times["ending"]), len(alive) * len(prompt) / sum(alive)))
    gain, possible = min(gains, key=lambda pair: pair[0] / pair[1])
    shares = ", ".join(f"{one / other:.2f}" for one, other in gains)
    return Result(
        "recipes, 64 texts of up to 300 tokens, what rows that end save, of what is possible",
        f"{gain:.2f} times as fast as if none ended; seeds 0 to 4: {shares}",
        f"steps x texts / living rows: {possible:.2f} times",
        gain / possible,
        0.8,
        note=_LEAVING,
    )


def _steps(model: StepModel, prompt: Tokens, length: int, seed: int) -> Iterator[Step]:
    return generate(model, prompt, SamplingParams(), length=length, seed=seed)


def _counted(model: StepModel, prompt: Tokens, length: int, seed: int) -> Run:
    return lambda: per_unit(lambda: deque(_steps(model, prompt, length, seed), maxlen=0), length)


def _growth() -> Result:
    model = load_network("lstm", 1)
    runs: dict[str, Run] = {
        str(samples): generating(model, count=max(4, 100 // samples), samples=samples) for samples in BATCHES
    }
    times = in_turns(runs, rounds=3)
    rates = [int(name) / timing.median for name, timing in times.items()]
    least_growth = min(later / earlier for earlier, later in pairwise(rates))
    curve = ", ".join(f"{samples}: {rate:,.0f}" for samples, rate in zip(BATCHES, rates, strict=True))
    summary = f"tokens a second at so many samples, 1 thread: {curve}"
    return Result(
        f"{NAMES['lstm']}, least growth from one batch to the next", summary, "", least_growth, 1.0, note=_SATURATED
    )


class _StepOnly:
    """A model without its ways to read many tokens at once."""

    read = draw = score = None

    def __init__(self, model: StepModel) -> None:
        self.eos, self.rows_may_leave, self.start, self.step = model.eos, False, model.start, model.step
        self.mixes_rows = model.mixes_rows


def readings() -> Iterator[Result]:
    """Through `generate`, as a prompt; and through `score`; both beside single steps on as many processors: one. And
    texts of unequal length together.
    """
    yield _unequal("names", 7)
    yield _unequal("recipes", 80)
    model = _shipped("recipes-lstm", 1)
    text = np.random.default_rng(0).integers(1, model.card.vocab_size, (1, FAR))
    for what, work, bar, note in (("reading", _read, 5, ""), ("scoring", score, 3, _PRODUCT)):
        runs: dict[str, Run] = {
            "ours": _timer(work, model, text),
            "steps": _timer(work, _StepOnly(model), text[:, :WINDOW]),
        }
        times = in_turns(runs, rounds=3)
        yield Result(
            f"recipes-lstm, {what} a text of {FAR:,} tokens on one processor",
            f"a token {format_timing(times['ours'])}",
            f"step by step {format_timing(times['steps'])}",
            times["steps"].over(times["ours"]),
            bar,
            note=note,
        )


def _unequal(name: str, length: int) -> Result:
    """Texts of many lengths, that on average, scored in batches and one by one."""
    model, rng = _shipped(name, 1), np.random.default_rng(0)
    texts = [rng.integers(1, model.card.vocab_size, length) for length in 1 + rng.geometric(1 / length, 256)]
    tokens = sum(map(len, texts))
    runs: dict[str, Run] = {
        "together": lambda: per_unit(lambda: score_texts(model, texts), tokens),
        "alone": lambda: per_unit(lambda: [score(model, text[None]) for text in texts], tokens),
    }
    times = in_turns(runs, rounds=3)
    return Result(
        f"{name}, scoring 256 texts of some {length} tokens together, beside one by one",
        f"a token {format_timing(times['together'])}",
        f"{format_timing(times['alone'])}",
        times["alone"].over(times["together"]),
    )


def writings() -> Iterator[Result]:
    """Samples as JSON lines beside the same as text, by what the processor does for model and writer together."""
    for name, samples in (("names", 1024), ("recipes", 64)):
        loaded_model = open_model(shipped_folder() / name, provider="cpu", threads=1)
        times = in_turns(
            {form: partial(_written, loaded_model, form, samples) for form in ("text", "samples", "jsonl")}
        )
        for form, unit, bar in (("samples", "sample", 1.3), ("jsonl", "token", 2.0)):
            ours, text = times[form].processor, times["text"].processor
            assert ours
            assert text
            yield Result(
                f"{name}, {samples} samples as JSON, an object a {unit}, beside text, for the processor",
                f"a sample {format_timing(times[form])}",
                f"{format_timing(times['text'])}",
                ours / text,
                bar,
                at_most=True,
            )


def _written(loaded_model: LoadedModel, form: str, samples: int) -> Lap:
    prompt = loaded_model.codec.prompt([""] * samples)

    def write() -> None:
        with open(os.devnull, "wb") as file:
            steps = generate(loaded_model.model, prompt, SamplingParams(), length=TEXT_LENGTH, seed=0)
            writer = writer_for(loaded_model, form, samples, file)
            for bundle in frames(steps, writer.bundle):
                writer.write(bundle)
            writer.close()

    return per_unit(write, samples)


def _read(model: StepModel, text: Tokens) -> None:
    for _ in generate(model, text, SamplingParams(), length=0, seed=0):
        pass


def _timer(work: Callable[[Any, Tokens], object], model: StepModel, text: Tokens) -> Run:
    return lambda: per_unit(lambda: work(model, text), text.shape[1])


@dataclass(frozen=True)
class Flip:
    """A position where, after the same tokens and by the same random number, one model draws another token."""

    index: int
    tokens: tuple[int, int]
    probabilities: tuple[tuple[float, float], tuple[float, float]]
    """Of both tokens, by the one model and by the other."""
    distance: float
    """Of the random number from the border between the tokens; of a greedy choice, between the probabilities."""

    @property
    def is_near_tie(self) -> bool:
        """Whether rounding decided."""
        return self.distance < LOGIT_TOLERANCE

    def __str__(self) -> str:
        one, other = ("/".join(f"{share:.7f}" for share in pair) for pair in self.probabilities)
        return f"token {self.index}: {self.tokens[0]} or {self.tokens[1]}, {one} by the one and {other} by the other"


@dataclass
class ModelComparison:
    """How far two models differ over the same tokens."""

    tokens: int = 0
    largest: float = 0.0
    """The largest difference between two logits."""
    flips: list[Flip] = field(default_factory=list)


def compare(one: Model, other: Model, *, tokens: int, params: SamplingParams, seed: int = 0) -> ModelComparison:
    """Runs both over the same tokens, those that `one` draws; pictures are begun again when they are full."""
    comparison, noise, rows = ModelComparison(), Noise(seed, 1), params.row()
    everyone = np.ones(1, dtype=bool)
    area = one.card.image.area if one.card.image else tokens
    samplers = Sampler(one), Sampler(other)
    for index in range(tokens):
        if index % area == 0:
            token, states = np.array([one.card.bos]), list[StateSource]([one.start(1), other.start(1)])
        uniform = noise.uniform(everyone)
        turns = [
            sampler.sample(index + 1, token, state, uniform, rows)
            for sampler, state in zip(samplers, states, strict=True)
        ]
        _note(comparison, index + 1, turns, uniform, params)
        token, states = turns[0].tokens, [turn.state for turn in turns]
    return comparison


def _note(
    comparison: ModelComparison, index: int, turns: list[Sampled], uniform: Floats, params: SamplingParams
) -> None:
    logits = [_logits(turn) for turn in turns]
    comparison.tokens += 1
    comparison.largest = max(comparison.largest, float(np.abs(logits[0] - logits[1]).max()))
    pair = (int(turns[0].tokens[0]), int(turns[1].tokens[0]))
    if pair[0] != pair[1]:
        shares = [probabilities(row, params if params.temperature else SamplingParams())[0] for row in logits]
        of_both = [(float(row[pair[0]]), float(row[pair[1]])) for row in shares]
        plain = probabilities(logits[0], SamplingParams())[0]
        distance = abs(float(plain[pair[0]] - plain[pair[1]]))
        if params.temperature and all(of_both[0]):  # else the greater one is taken, or kept by a filter
            distance = _distance(shares[0], pair, float(uniform[0]))
        comparison.flips.append(Flip(index, pair, (of_both[0], of_both[1]), distance))


def _distance(shares: Floats, pair: tuple[int, int], uniform: float) -> float:
    borders = shares.cumsum()[min(pair) : max(pair)]
    return float(np.abs(borders - uniform).min())


def _logits(turn: Sampled) -> Logits:
    return turn.logits() if callable(turn.logits) else turn.logits


def greedy(model: Model, *, tokens: int) -> Tokens:
    """The likeliest tokens one after another, int64[tokens]; they may go on past an end token or a full picture."""
    ids, token, sampler = [], np.array([model.card.bos]), Sampler(model)
    state: StateSource = model.start(1)
    for index in range(tokens):
        turn = sampler.sample(index + 1, token, state, np.zeros(1), SamplingParams(0).row())
        token, state = turn.tokens, turn.state
        ids.append(token)
    return np.concatenate(ids)
