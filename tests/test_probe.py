"""A foreign model is opened in a child process first."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests import toys
from tui_gen import probe
from tui_gen.errors import TuiGenError

CRASH = "import os, signal; os.kill(os.getpid(), signal.SIGSEGV)"


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache, so that every graph is new."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache"


def verdicts(cache: Path) -> list[str]:
    return [path.name for path in cache.rglob("*") if path.is_file()]


def test_a_model_that_crashes_the_child_is_refused_every_time(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probe, "_CHILD", CRASH)
    for _ in range(2):
        with pytest.raises(TuiGenError, match=r"model\.onnx is refused: opening it crashes onnxruntime"):
            probe.check(b"graph", "1.0")
    assert verdicts(cache) == []


def test_a_model_that_hangs_is_refused(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probe, "_CHILD", "import time; time.sleep(60)")
    monkeypatch.setattr(probe, "_SECONDS", 0.1)
    with pytest.raises(TuiGenError, match=r"refused: opening it takes more than 0\.1 s"):
        probe.check(b"graph", "1.0")


def test_a_model_that_passed_is_not_tried_again(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    probe.check(toys.text_graph(), "1.0")
    assert len(verdicts(cache)) == 1
    monkeypatch.setattr(probe, "_CHILD", CRASH)
    probe.check(toys.text_graph(), "1.0")
    with pytest.raises(TuiGenError, match="crashes"):
        probe.check(toys.text_graph(growth=2), "1.0")


def test_a_file_that_is_merely_wrong_passes_for_the_model_itself_says_what_is_wrong(cache: Path) -> None:
    probe.check(b"not a model", "1.0")


def test_without_a_place_for_the_verdict_the_model_is_tried_each_time(cache: Path) -> None:
    cache.write_text("a file where the folder should be")
    probe.check(b"not a model", "1.0")


def test_the_child_runs_no_code_that_lies_beside_the_model(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("numpy", "onnxruntime", "tempfile", "tui_gen"):
        (tmp_path / f"{name}.py").write_text("open('executed', 'w').close()")
    monkeypatch.chdir(tmp_path)
    probe.check(b"not a model", "1.0")
    assert "executed" not in os.listdir(tmp_path)
