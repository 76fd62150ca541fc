"""A foreign graph is tried in a child process first, which says what happened."""

from __future__ import annotations

import os
import random
from contextlib import suppress
from pathlib import Path

import onnx
import pytest

from tests.fuzz.graphs import graphs
from tests.support import hostile, toys
from tui_gen.child import Ending
from tui_gen.errors import TuiGenError
from tui_gen.files import digest
from tui_gen.library import open_model, shipped_folder
from tui_gen.runtime import probe


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache, so that every graph is new."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache"


def check(graph: bytes | onnx.ModelProto, *, trust: bool = False) -> None:
    content = graph if isinstance(graph, bytes) else graph.SerializeToString()
    probe.check(content, digest(content), trust=trust)


def refused(graph: bytes | onnx.ModelProto, *, trust: bool = False) -> str:
    with pytest.raises(TuiGenError) as caught:
        check(graph, trust=trust)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def verdicts(cache: Path) -> list[str]:
    return [path.name for path in cache.rglob("*") if path.is_file()]


@pytest.mark.parametrize("trust", [False, True])
def test_a_step_that_ends_the_process_is_refused_every_time_and_a_shipped_model_is_not_tried(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, trust: bool
) -> None:
    folder = toys.text_folder(tmp_path / "toy", graph=hostile.abort().SerializeToString())
    for _ in range(2):
        with pytest.raises(TuiGenError, match=r"toy: model\.onnx is refused: its first step crashes onnxruntime"):
            open_model(folder, trust=trust)
    assert verdicts(cache) == []
    toys.text_folder(tmp_path / "toy")
    monkeypatch.setattr("tui_gen.library.shipped_folder", lambda: tmp_path)
    monkeypatch.setattr(probe, "run_in_child", lambda *_, **__: Ending(-6))
    assert open_model(folder, provider="cpu")


@pytest.mark.parametrize(
    ("graph", "says"),
    [
        (hostile.large(2**30), "its first step takes more than 2 GB of memory"),
        (hostile.growing(2**23), "a step after 100 tokens takes more than 2 GB of memory"),
    ],
    ids=["at once", "later"],
)
def test_a_step_that_takes_all_memory_is_refused(graph: onnx.ModelProto, says: str) -> None:
    assert says in refused(graph, trust=True)


def test_a_model_that_hangs_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probe, "_SECONDS", 3)
    assert "refused: its step 3 does not end within 3 s" in refused(hostile.endless(3), trust=True)


def test_what_somebody_vouches_for_opens_and_stays_refused_for_others(cache: Path) -> None:
    graph = hostile.endless(10**9)
    for _ in range(2):
        check(graph, trust=True)
        assert "it has the operator Loop, which" in refused(graph)
    assert len(verdicts(cache)) == 1


def test_a_model_that_passed_is_not_tried_again(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    check(toys.text_graph())
    assert len(verdicts(cache)) == 1
    monkeypatch.setattr(probe, "run_in_child", lambda *_, **__: Ending(-6))
    check(toys.text_graph())
    check(toys.text_graph(), trust=True)
    assert "crashes" in refused(toys.text_graph(growth=2))


def test_a_file_that_onnxruntime_merely_refuses_passes_for_it_says_itself_what_is_wrong() -> None:
    check(toys.renamed(toys.text_graph(), "logits", "result"))
    check(hostile.step([], result="token"))


def test_all_that_a_recurrent_network_can_do_is_tried() -> None:
    stages: list[str] = []
    probe.try_graph((shipped_folder() / "names" / "model.onnx").read_bytes(), stages.append)
    assert stages[:3] == ["opening it", "its first step", "its step 2"]
    assert stages[-3:] == ["reading many tokens at once", "scoring many tokens at once", "looking inside it"]
    assert "a step of two samples" in stages
    assert "a step after 1,000,000 tokens" in stages


def test_a_slow_network_is_tried_as_far_as_there_is_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probe, "_AT_LEISURE", 0)
    stages: list[str] = []
    probe.try_graph(toys.text_graph(), stages.append)
    assert stages == ["opening it", "its first step"]


def test_graphs_that_were_changed_at_random_do_no_harm(tmp_path: Path) -> None:
    attempt = graphs(tmp_path)
    for number in range(12):
        with suppress(TuiGenError):
            attempt(random.Random(f"graphs 0 {number}"))


def test_without_a_place_for_the_verdict_the_model_is_tried_each_time(cache: Path) -> None:
    cache.write_text("a file where the folder should be")
    check(toys.text_graph())


def test_the_child_runs_no_code_that_lies_beside_the_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("numpy", "onnxruntime", "tempfile", "tui_gen"):
        (tmp_path / f"{name}.py").write_text("open('executed', 'w').close()")
    monkeypatch.chdir(tmp_path)
    check(toys.text_graph())
    assert "executed" not in os.listdir(tmp_path)


@pytest.mark.parametrize(
    ("ending", "message"),
    [
        (Ending(1, "", "ImportError", "No module named 'numpy'"), "No module named 'numpy'; install tui-gen again for"),
        (Ending(1, "", "TuiGenError", "onnxruntime cannot be imported; reinstall it"), "imported; reinstall it"),
        (Ending(1, "", "MemoryError"), "there is too little memory; end other programs"),
        (Ending(1, "its first step", "ValueError", "one two"), "one two (ValueError)"),
        (Ending(3), "it ended with exit status 3 and said nothing"),
    ],
)
def test_a_fault_that_is_not_the_models_is_told_as_what_it_is_and_the_model_is_tried_again(
    cache: Path, monkeypatch: pytest.MonkeyPatch, ending: Ending, message: str
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(probe, "run_in_child", lambda *_, **__: ending)
        reason = refused(toys.text_graph())
    assert reason.startswith("model.onnx cannot be tried in a process of its own: ")
    assert message in reason
    assert verdicts(cache) == []
    check(toys.text_graph())
    assert len(verdicts(cache)) == 1
