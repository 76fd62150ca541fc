"""What all tests share: a home of their own, the toy models, and the command line."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import huggingface_hub.constants
import pytest

from tests.support import toys
from tests.support.browser import CHROMIUM, Browser
from tests.support.command_line import run_main
from tests.support.hub import REPO, Hub, files_of, serving
from tui_gen.library import LoadedModel, open_model

Run = Callable[..., "subprocess.CompletedProcess[bytes]"]


@pytest.fixture(scope="session", autouse=True)
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """An empty home directory, so that no test reads or leaves anything in the person's own."""
    home = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HOME", str(home))
        patch.setenv("TERM", "xterm-256color")
        for name in (
            "XDG_CACHE_HOME",
            "XDG_CONFIG_HOME",
            "XDG_DATA_HOME",
            "XDG_STATE_HOME",
            "TUI_GEN_CONFIG",
            "TUI_GEN_MODELS",
            "NO_COLOR",
            "COLUMNS",
            "HF_ENDPOINT",
            "HF_HUB_OFFLINE",
            "HF_TOKEN",
            "PYTHONPATH",
            "PYTHONUNBUFFERED",
        ):
            patch.delenv(name, raising=False)
        yield home


@pytest.fixture(scope="session")
def toy_models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with one model folder of each sort: text, endless, letters, image, colour, warmed (up)."""
    folder = tmp_path_factory.mktemp("models")
    toys.text_folder(folder / "text")
    toys.endless_text_folder(folder / "endless")
    toys.character_folder(folder / "letters")
    toys.image_folder(folder / "image")
    toys.colour_folder(folder / "colour")
    toys.warm_up_folder(folder / "warmed")
    return folder


@pytest.fixture
def served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """A hub with one model of two revisions, and an empty cache."""
    older = files_of(toys.text_folder(tmp_path / "older", architecture="older", graph=toys.text_graph(growth=-1.0)))
    newer = files_of(toys.text_folder(tmp_path / "newer", architecture="newer"))
    newer |= {"pytorch_model.bin": b"no file of the format", "notes/config.json": b"{}"}
    cache = tmp_path / "hub"
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(cache))
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    monkeypatch.setenv("HF_HUB_CACHE", str(cache))
    with serving(Hub(REPO, {"main": newer, "v1": older})) as served:
        monkeypatch.setenv("HF_ENDPOINT", served.address)
        yield served


def _opened(name: str) -> Any:
    @pytest.fixture(scope="session", name=name)
    def opened(toy_models: Path) -> LoadedModel:
        return open_model(toy_models / name, provider="cpu")

    return opened


text, endless, image, colour, warmed = map(_opened, ("text", "endless", "image", "colour", "warmed"))
"""The opened models: of text, of text that never ends, of pictures, of those with three tokens a pixel, and of those
that read two tokens before the first pixel."""


@pytest.fixture(scope="session")
def program(toy_models: Path) -> Callable[..., dict[str, Any]]:
    """What subprocess needs to start `tui-gen`, with the toy models installed."""

    def command(*arguments: str, **environment: str) -> dict[str, Any]:
        variables = {**os.environ, "TUI_GEN_MODELS": str(toy_models), **environment}
        return {"args": [sys.executable, "-m", "tui_gen", *arguments], "env": variables}

    return command


@pytest.fixture(scope="session")
def tui_gen(toy_models: Path) -> Run:
    """Calls `main` with the toy models installed; see `run_main`."""

    def run(*words: str, **options: Any) -> subprocess.CompletedProcess[bytes]:
        return run_main(*words, **{"TUI_GEN_MODELS": str(toy_models), **options})

    return run


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[Browser]:
    """A tab of Chromium, where there is one."""
    if not CHROMIUM:
        pytest.skip("needs Chromium")
    browser = Browser(tmp_path / "profile")
    yield browser
    browser.close()
