"""A hundred hostile inputs of each kind do no harm; `python -m tests.fuzz` tries as many as there is time for."""

from __future__ import annotations

import pytest

pytest.importorskip("resource", reason="workers have limits that this system lacks")

from tests.fuzz.__main__ import DEATH, LATE, run
from tests.fuzz.injections import HARMLESS, SEQUENCES, raw, text_of
from tests.fuzz.kinds import KINDS
from tests.fuzz.worker import TRACEBACK
from tui_gen.terminal_text import scrub_line

_FEW = {"bombs": 5, "graphs": 15, "tokenizers": 15, "injections": 12, "monkey": 1, "hubs": 8}


@pytest.mark.parametrize("kind", KINDS)
def test_no_input_does_harm(kind: str) -> None:
    inputs = _FEW.get(kind, 100)
    campaign = run(kind, seed=0, seconds=300, inputs=inputs)
    assert campaign.harm == []
    assert campaign.outcomes.total() == inputs


HARMFUL = """
import sys, os, time
from tests.fuzz import kinds, worker
def harm(folder):
    def attempt(rng):
        acts = (lambda: None, lambda: [].pop(), lambda: os._exit(3), lambda: exec("while True: pass"))
        acts[next(numbers) % 4]()
    numbers = iter(range(int(sys.argv[3]), 100))
    return attempt
kinds.KINDS["harmful"] = harm
worker.main("harmful", 0, int(sys.argv[3]))
"""


def test_harm_is_counted_and_can_be_made_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.fuzz.__main__.PATIENCE", 1.0)
    monkeypatch.setattr("tests.fuzz.__main__.WORKER", ("-c", HARMFUL))
    campaign = run("harmful", seed=0, seconds=300, inputs=5)
    assert campaign.outcomes == {"read": 2, TRACEBACK: 1, DEATH: 1, LATE: 1}
    assert "python -m tests.fuzz harmful --seed 0 --input 2" in campaign.harm[1]


@pytest.mark.parametrize("kind", [kind for kind in SEQUENCES if kind != "size"])
def test_a_sequence_that_arrives_raw_is_seen_and_one_that_is_shown_is_not(kind: str) -> None:
    text = text_of(SEQUENCES[kind])
    baseline = f"\x1b[3;4H\x1b[1;38;2;1;2;3m{HARMLESS}\x1b[0m\r\n".encode()
    assert raw(text.encode("utf-8", "surrogateescape"), baseline)
    assert not raw(f"\x1b[5;6H{scrub_line(text)}\r\n".encode(), baseline)
