"""Steps that do not end, and how they are ended."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

from tests.support import hostile
from tests.support.toys import WORDS
from tui_gen.card import ModelCard
from tui_gen.errors import TuiGenError
from tui_gen.runtime import watch
from tui_gen.runtime.model import Model
from tui_gen.runtime.watch import TICK, Run, Speed


@dataclass
class Options:
    """As onnxruntime's."""

    terminate: bool = False


def looks(run: Run, options: Options) -> int:
    """How often a run is found unchanged before it is ended."""
    run.count += 1
    count = 0
    while not options.terminate:
        run.look()
        count += 1
    return count


def test_a_run_may_take_the_longer_the_longer_those_before_took() -> None:
    patience = []
    for seconds in (0, 5, 12):
        options = Options()
        run = Run(options, Speed(), 1)
        run.count += 1
        for _ in range(int(seconds / TICK) + 1):
            run.look()
        assert not options.terminate
        run.count += 1
        run.look()
        patience.append(looks(run, options) * TICK)
    assert 9 < patience[0] < 16
    assert 100 < patience[1] < 130
    assert 240 < patience[2] < 270


def test_what_many_samples_take_is_no_hang() -> None:
    speed = Speed()
    single = Run(Options(), speed, 1)
    for _ in range(100):
        single.count += 200  # a hundred steps between two looks
        single.look()
    assert single.limit < 10
    assert Run(Options(), speed, 4096).limit > 100


def test_what_nobody_waits_for_any_more_is_ended_unless_it_ends_by_itself() -> None:
    options = Options()
    run = Run(options, Speed(), 1)
    run.count = 1
    run.abandon()
    run.count = 3  # the next one
    run.look()
    run.look()
    assert not options.terminate
    run.abandon()
    run.look()
    assert options.terminate
    assert run.take_reason() == "stopped"


def test_a_step_without_end_is_ended_and_the_model_can_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch, "_PATIENCE", 1.0)
    monkeypatch.setattr(watch, "_FACTOR", 1)
    card = ModelCard("endless", "text", "toy", len(WORDS), bos=0)
    model = Model(hostile.endless(3).SerializeToString(), card, provider="cpu")
    state, tokens = model.start(1), np.zeros(1, dtype=np.int64)
    for _ in range(2):
        _, state = model.step(tokens, state)
    for _ in range(2):
        with pytest.raises(TuiGenError, match="a step of the model did not end within 1 s, so it was ended"):
            model.step(tokens, state)
    logits, _ = model.step(tokens, model.start(1))
    assert logits.shape == (1, len(WORDS))
