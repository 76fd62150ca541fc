from __future__ import annotations

from pathlib import Path

import pytest

from tests.support import toys


@pytest.fixture
def models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of toy models, which are the only ones besides those that ship."""
    folder = tmp_path / "models"
    toys.text_folder(folder / "cats", prompt_example="the cat", description="Writes about cats.")
    toys.endless_text_folder(folder / "endless")
    toys.character_folder(folder / "letters")
    toys.image_folder(folder / "stripes", prompt_example="bright", description="Draws stripes.")
    monkeypatch.setenv("TUI_GEN_MODELS", str(folder))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setattr("tui_gen.library.shipped_folder", lambda: tmp_path / "none")
    # tests/runtime/test_probe.py tries it; it takes 0.3 s each
    monkeypatch.setattr("tui_gen.runtime.probe.check", lambda *_, **__: None)
    return folder
