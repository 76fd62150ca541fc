"""A foreign model is opened in a child process first, which says what happened."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from tests.support import toys
from tui_gen import library
from tui_gen.errors import TuiGenError
from tui_gen.files import digest

CRASH = "import os, signal; os.kill(os.getpid(), signal.SIGSEGV)"


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache, so that every graph is new."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache"


def check(graph: bytes) -> None:
    library.check(graph, digest(graph), "1.0")


def verdicts(cache: Path) -> list[str]:
    return [path.name for path in cache.rglob("*") if path.is_file()]


def test_a_model_that_crashes_the_child_is_refused_every_time(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(library, "_CHILD", CRASH)
    for _ in range(2):
        with pytest.raises(TuiGenError, match=r"model\.onnx is refused: opening it crashes onnxruntime"):
            check(b"graph")
    assert verdicts(cache) == []


def test_a_model_that_hangs_is_refused(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(library, "_CHILD", "import time; time.sleep(60)")
    monkeypatch.setattr(library, "_SECONDS", 0.1)
    with pytest.raises(TuiGenError, match=r"refused: opening it takes more than 0\.1 s"):
        check(b"graph")


def test_a_model_that_passed_is_not_tried_again(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    check(toys.text_graph())
    assert len(verdicts(cache)) == 1
    monkeypatch.setattr(library, "_CHILD", CRASH)
    check(toys.text_graph())
    with pytest.raises(TuiGenError, match="crashes"):
        check(toys.text_graph(growth=2))


def test_a_file_that_is_merely_wrong_passes_for_the_model_itself_says_what_is_wrong(cache: Path) -> None:
    check(b"not a model")


def test_without_a_place_for_the_verdict_the_model_is_tried_each_time(cache: Path) -> None:
    cache.write_text("a file where the folder should be")
    check(b"not a model")


def test_the_child_runs_no_code_that_lies_beside_the_model(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("numpy", "onnxruntime", "tempfile", "tui_gen"):
        (tmp_path / f"{name}.py").write_text("open('executed', 'w').close()")
    monkeypatch.chdir(tmp_path)
    check(b"not a model")
    assert "executed" not in os.listdir(tmp_path)


def refusal(graph: bytes) -> str:
    with pytest.raises(TuiGenError) as caught:
        check(graph)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        (
            "raise ModuleNotFoundError(\"No module named 'numpy'\")",
            "No module named 'numpy'; install tui-gen again for",
        ),
        (
            "from tui_gen.errors import TuiGenError; raise TuiGenError('onnxruntime cannot be imported; reinstall it')",
            "onnxruntime cannot be imported; reinstall it",
        ),
        ("import os; os.remove(sys.argv[1]); open(sys.argv[1], 'rb')", "No such file or directory"),
        ("raise MemoryError", "there is too little memory; end other programs"),
        ("raise ValueError('one\\ntwo')", "one two (ValueError)"),
        ("sys.exit(3)", "it ended with exit status 3 and said nothing"),
    ],
)
def test_a_fault_that_is_not_the_models_is_told_as_what_it_is_and_the_model_is_tried_again(
    cache: Path, monkeypatch: pytest.MonkeyPatch, fault: str, message: str
) -> None:
    child = library._CHILD
    monkeypatch.setattr(library, "_CHILD", child.replace("from tui_gen.runtime.session import open_blindly", fault))
    refused = refusal(toys.text_graph())
    assert refused.startswith("model.onnx cannot be tried in a process of its own: ")
    assert message in refused
    assert "crash" not in refused
    assert verdicts(cache) == []
    monkeypatch.setattr(library, "_CHILD", child)
    check(toys.text_graph())
    assert len(verdicts(cache)) == 1


def test_the_exit_status_of_a_crash_on_windows_is_one(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(library, "_WINDOWS_EXCEPTION", 5)
    monkeypatch.setattr(library, "_CHILD", "import sys; sys.exit(5)")
    assert refusal(b"graph") == "model.onnx is refused: opening it crashes onnxruntime (exit status 5)"


def test_a_python_that_does_not_start_is_named(cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    assert f"{tmp_path / 'python'} does not start (" in refusal(b"graph")


def test_without_room_for_a_copy_of_the_model_the_folder_is_named(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "missing"))
    assert f"the folder for temporary files is {tmp_path / 'missing'}" in refusal(b"graph")
