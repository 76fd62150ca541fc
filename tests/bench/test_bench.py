"""The benchmark's parts: its networks are those of the exporter, its turns are turns, its verdicts are right."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from tests.conftest import Run
from tui_gen.bench import cases, networks, report, screen, timing
from tui_gen.bench.timing import Result, Timing, as_markdown, as_text, format_timing
from tui_gen.generation.generate import generate
from tui_gen.library import open_model
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
    embedding, rnn, output = networks.language_model(*cases.SIZES[name])
    count = sum(parameter.numel() for part in (rnn, output) for parameter in part.parameters())
    assert networks.weight_bytes(name) == 4 * count
    assert embedding.weight.shape == (networks.VOCABULARY, cases.SIZES[name][0])


def test_the_peers_run() -> None:
    for work in (networks.keeping_state, networks.whole_prefix):
        work(networks.language_model(4, 4, 1), 3)(2)
    networks.whole_image(2)(2)


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


def test_things_are_timed_in_turns_after_a_round_of_warming_up() -> None:
    calls: list[str] = []

    def run(name: str, seconds: Iterator[float]) -> timing.Run:
        return lambda: (calls.append(name), next(seconds))[1]

    found = timing.in_turns({"a": run("a", iter([9, 3, 1, 2])), "b": run("b", iter([9, 8, 4, 6]))}, rounds=3)
    assert calls == ["a", "b"] * 4
    assert found == {"a": Timing(2, 1, 3), "b": Timing(6, 4, 8)}
    assert found["b"].over(found["a"]) == 3


@pytest.mark.parametrize(
    ("row", "says"),
    [
        (Result("x", "", "p", 2.5, 2), "2.5 meets >= 2"),
        (Result("x", "", "p", 1.5, 2), "1.5 misses >= 2 by 25 %"),
        (Result("x", "", "p", 0.3, 0.15, at_most=True), "0.3 misses <= 0.15 by 100 %"),
        (Result("x", "", "p", 0.1, 0.15, at_most=True), "0.1 meets <= 0.15"),
        (Result("x", "", "p", 1.234), "1.23"),
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


def test_the_report_is_for_people_or_for_programs(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(report, "CASES", {"one": lambda: iter([Result("one", "1 us", "2 us", 2.0, 1)])})
    assert report.print_report([], form="text") == 0
    assert "one: 2 meets >= 1\n    1 us; 2 us\n" in capsys.readouterr().out
    assert report.print_report(["one"], form="json") == 0
    found = json.loads(capsys.readouterr().out)
    assert found["rows"][0]["ratio"] == 2
    assert found["rows"][0]["met"] is True
    assert {"processor", "onnxruntime", "torch"} <= found["machine"].keys()


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
