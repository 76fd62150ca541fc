"""A foreign model is opened in a child process first."""

from __future__ import annotations

import os
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
