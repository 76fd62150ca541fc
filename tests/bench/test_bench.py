"""The benchmark's parts: its networks are those of the exporter, its turns are turns, its verdicts are right."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import pytest

from tests.conftest import Run
from tui_gen.bench import cases, machine, networks, peers, report, screen, timing
from tui_gen.bench.machine import IdleLoop
from tui_gen.bench.timing import Lap, Result, Timing, as_markdown, as_text, format_timing
from tui_gen.generation.generate import generate
from tui_gen.library import open_model, shipped_folder
from tui_gen.sampling.params import SamplingParams

NAMES = ("lstm", "lstm2", "lstm-int8", "lstm2-int8", "pixelcnn", "pixelcnn-whole")


@pytest.mark.parametrize("name", NAMES)
def test_a_network_filled_with_weights_runs_and_is_always_the_same(name: str) -> None:
    model, again = cases.load_network(name, 1), cases.load_network(name, 1)
    tokens = np.array([1], dtype=np.int64)
    logits, _ = model.step(tokens, model.start(1))
    assert np.isfinite(logits).all()
    assert np.ptp(logits) > 0
    assert np.array_equal(logits, again.step(tokens, again.start(1))[0])


@pytest.mark.parametrize("name", ["lstm", "lstm2"])
def test_the_peers_have_as_many_weights(name: str) -> None:
    embedding, rnn, output = peers.language_model(*cases.SIZES[name])
    count = sum(parameter.numel() for part in (rnn, output) for parameter in part.parameters())
    assert networks.weight_bytes(name) == 4 * count
    assert embedding.weight.shape == (networks.VOCABULARY, cases.SIZES[name][0])


def test_the_peers_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.compile", lambda function=None, **_: function or (lambda step: step))  # takes seconds
    for work in (peers.keeping_state, peers.compiled, peers.whole_prefix):
        work(peers.language_model(4, 4, 2), 3)(2)
    for compile_it in (False, True):
        peers.whole_image(2, compile_it=compile_it)(2)
    for name in ("names", "shakespeare"):
        peers.session_loop((shipped_folder() / name / "model.onnx").read_bytes(), 0, 1)(2)


def test_a_missing_compiler_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("No working\nC++ compiler found")

    monkeypatch.setattr("torch.compile", lambda function: broken)
    peers.compile_trouble.cache_clear()
    times = {"eager 1": Timing(3e-3, 3e-3, 3e-3), "ours 1": Timing(1e-3, 1e-3, 1e-3)}
    rows = list(cases._beside_torch("LSTM", "ours", times, {"eager": 2.0, "compiled": 1.5}))
    assert [row.verdict for row in rows] == ["3 meets >= 2", "not measured"]
    assert rows[1].peer == "torch.compile does not work here: No working C++ compiler found"
    peers.compile_trouble.cache_clear()


@pytest.mark.parametrize("name", ["lstm", "lstm2", "pixelcnn"])
def test_the_products_alone_are_those_of_the_step(name: str) -> None:
    specs = {key: np.prod(facts["shape"]) for key, facts in networks._specs(name).items()}
    others = {"embedding", "rows+columns"} | {key for key in specs if key.endswith((".B", ".bias"))}
    weights = onnx.load_from_string(networks.products(name)).graph.initializer
    assert {weight.name: np.prod(weight.dims) for weight in weights} == {
        key: size for key, size in specs.items() if key not in others
    }
    cases.multiplying(name, 1, count=2)()


def test_the_committed_networks_are_what_the_exporter_writes(tmp_path: Path) -> None:
    code = (
        "import pathlib, sys; sys.path.insert(0, 'bench'); import templates; "
        f"templates.FOLDER = pathlib.Path({str(tmp_path)!r}); templates.main()"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, cwd=Path(__file__).parents[2])
    written, committed = (json.loads((f / "weights.json").read_text()) for f in (tmp_path, networks.FOLDER))
    shapes = [
        {
            name: {key: (facts["type"], facts["shape"]) for key, facts in tensors.items()}
            for name, tensors in found.items()
        }
        for found in (written, committed)
    ]
    assert shapes[0] == shapes[1]


def test_things_are_timed_in_turns_after_a_round_of_warming_up(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []
    monkeypatch.setattr(machine.IDLE_LOOP, "measure", lambda: calls.append("idle loop"))

    def run(name: str, seconds: Iterator[float], part: float | None) -> timing.Run:
        return lambda: (calls.append(name), Lap(wall := next(seconds), part and part * wall))[1]

    timings = timing.in_turns({"a": run("a", iter([9, 3, 1, 2]), 2), "b": run("b", iter([9, 8, 4, 6]), None)}, rounds=3)
    assert calls == ["a", "b"] + ["idle loop", "a", "idle loop", "b"] * 3
    assert timings == {"a": Timing(2, 1, 3, 4), "b": Timing(6, 4, 8)}
    assert timings["b"].over(timings["a"]) == 3


def test_a_busy_machine_is_noticed_and_judges_nothing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    laps = iter([(1.0, 0.5), (1.0, 0.5), (1.0, 0.8), (1.0, 0.98), (1.0, 1.01)])
    monkeypatch.setattr(machine, "_loop", lambda _: next(laps))
    monkeypatch.setattr(machine, "cores", lambda: 1)
    monkeypatch.setattr(report, "IDLE_LOOP", IdleLoop())
    row = Result("one", "", "p", 2, 1)
    monkeypatch.setattr(report, "CASES", {"busy": lambda: iter([row, row]), "calm": lambda: iter([row])})
    report.print_report([], form="json")
    rows = json.loads(capsys.readouterr().out)["rows"]
    assert [round(row["busy"], 6) for row in rows] == [0.5, 0.4, 0.01]
    assert [row["met"] for row in rows] == [None, None, True]


@pytest.mark.parametrize(
    ("row", "says"),
    [
        (Result("x", "", "p", 2.5, 2), "2.5 meets >= 2"),
        (Result("x", "", "p", 1.5, 2), "1.5 misses >= 2 by 25 %"),
        (Result("x", "", "p", 0.3, 0.15, at_most=True), "0.3 misses <= 0.15 by 100 %"),
        (Result("x", "", "p", 0.1, 0.15, at_most=True), "0.1 meets <= 0.15"),
        (Result("x", "", "p", 1.234), "1.23"),
        (Result("x", "", "p", 2.5, 2, busy=0.1), "2.5 meets >= 2"),
        (Result("x", "", "p", 2.5, 2, busy=0.34), "2.5 not judged (>= 2): others had 34% of the processors"),
        (Result("x", "", "p", 1.5, busy=0.34), "1.5"),
        (Result("x", "", "PyTorch is not installed"), "not measured"),
        (Result("x", "3 MB", ""), ""),
    ],
)
def test_a_verdict_says_by_how_much(row: Result, says: str) -> None:
    assert row.verdict == says


def test_rows_fit_the_terminal_and_make_a_table() -> None:
    row = Result("a case of many words " * 3, "ours " * 10, "theirs " * 10, 1, 2, note="because " * 8)
    assert max(map(len, as_text(row, 60).splitlines())) <= 60
    table = as_markdown([row]).splitlines()
    assert table[2].endswith("| 1 misses >= 2 by 50 % |")
    assert table[-1].startswith("- a case of many words")
    assert format_timing(Timing(0.000123, 0.0001, 0.002)) == "123 us (100 to 2000)"
    assert format_timing(Timing(0.0123, 0.01, 0.02)) == "12.3 ms (10 to 20)"
    assert format_timing(Timing(0.000123, 0.0001, 0.002, 0.00024)) == "123 us (100 to 2000; processor 240)"


def test_the_report_is_for_people_or_for_programs(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(machine, "_loop", lambda _: (1.0, 1.0))
    monkeypatch.setattr(report, "CASES", {"one": lambda: iter([Result("one", "1 us", "2 us", 2.0, 1)])})
    assert report.print_report([], form="text") == 0
    assert "one: 2 meets >= 1\n    1 us; 2 us\n" in capsys.readouterr().out
    assert report.print_report(["one"], form="json") == 0
    found = json.loads(capsys.readouterr().out)
    assert found["rows"][0]["ratio"] == 2
    assert found["rows"][0]["met"] is True
    assert {"processor", "caches", "load", "onnxruntime", "torch"} <= found["machine"].keys()


def test_the_command_line_names_the_cases(tui_gen: Run) -> None:
    refused = tui_gen("bench", "everything")
    assert refused.returncode == 2
    assert f"there is no case 'everything'; there are: {', '.join(report.CASES)}".encode() in refused.stderr


def test_the_likeliest_tokens_come_in_order() -> None:
    model = cases.load_network("pixelcnn", 1)
    step = next(generate(model, np.full((2, 1), 4), SamplingParams(), length=1, seed=0))
    for count in (1, 3, 4, 20):
        best = np.argsort(-step.probs[1], kind="stable")[:count]
        assert step.likeliest(count, sample=1).tolist() == best.tolist()


def test_the_telltale_model_draws_its_first_token_only_at_temperature_0() -> None:
    with screen.telltale() as folder:
        loaded_model = open_model(folder, provider="cpu", threads=1)
    for temperature, stays in ((0.0, True), (0.05, False)):
        steps = generate(
            loaded_model.model, loaded_model.codec.prompt([""]), SamplingParams(temperature), length=20, seed=0
        )
        assert all((loaded_model.codec.token_text(int(step.tokens[0])) == "stays") == stays for step in steps)


@pytest.mark.skipif(not screen.AVAILABLE, reason="needs a POSIX terminal")
def test_a_terminal_is_read_until_what_is_awaited_comes() -> None:
    code = "print('ready'); print('got', input()); input()"
    with screen.Terminal([sys.executable, "-c", code]) as opened:
        _, ready = opened.until(rb"rea(dy)")
        assert ready[1] == b"dy"
        opened.type("keys\r")
        when, _ = opened.until(b"got keys", after=ready.end())
        assert when > opened.began
        with pytest.raises(TimeoutError, match="more"):
            opened.until(b"more", seconds=0.1)
        opened.type("\r")
        assert opened.wait() == 0
