"""`tui-gen config`, and what the screen and the commands take from the configuration."""

from __future__ import annotations

import argparse
import math
import re
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Run
from tui_gen.cli import play
from tui_gen.config import SETTINGS, read_config
from tui_gen.library import find_models
from tui_gen.sampling.params import SamplingParams
from tui_gen.tui.bindings import KEYS
from tui_gen.tui.keymap import Keymap
from tui_gen.tui.knob_state import Settings


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, toy_models: Path) -> Path:
    """Where the configuration is looked for; toy models are installed."""
    monkeypatch.setenv("TUI_GEN_CONFIG", str(tmp_path / "some" / "mine.toml"))
    monkeypatch.setenv("TUI_GEN_MODELS", str(toy_models))
    (tmp_path / "some").mkdir()
    return tmp_path / "some" / "mine.toml"


def settings(*words: str) -> Settings:
    """What the screen would be given."""
    parser = argparse.ArgumentParser()
    play.configure(parser)
    return play.settings_of(parser.parse_args(words), read_config(), find_models())


def test_the_path_is_printed_and_whether_there_is_a_file_is_told(tui_gen: Run, path: Path) -> None:
    path.parent.rmdir()
    done = tui_gen("config")
    assert (done.returncode, done.stdout.decode()) == (0, f"{path}\n")
    assert done.stderr == b"tui-gen: there is no such file yet; tui-gen config --init writes one\n"
    assert tui_gen("config", "--init").stdout.decode() == f"{path}\n"
    assert tui_gen("config").stderr == b""
    before = path.read_bytes()
    again = tui_gen("config", "--init")
    assert (again.returncode, again.stdout, path.read_bytes()) == (1, b"", before)
    assert again.stderr.decode().startswith(f"tui-gen: {path} is there already")


def test_all_mistakes_are_told_also_those_that_only_the_screen_knows(tui_gen: Run, path: Path) -> None:
    settings = 'theme = "nrod"\nmodel = "nope"\nseeds = 1\n'
    path.write_text(f'{settings}[keys]\nsave = "f99"\n[themes.mine]\nprimary = "rde"\n')
    done = tui_gen("config")
    assert done.returncode == 1
    first, second, *others = done.stderr.decode().splitlines()
    assert first == "tui-gen: seeds is no setting; did you mean seed?"
    assert second.startswith("tui-gen: model: there is no model 'nope'")
    assert others == [
        """tui-gen: themes.mine.primary must be a colour such as "#ffa62b" or "orange", not 'rde'""",
        "tui-gen: theme: there is no theme 'nrod'; did you mean nord?",
        "tui-gen: keys.save: there is no key 'f99'; did you mean f9?",
    ]


def test_the_file_that_is_written_lists_everything_at_its_default(tui_gen: Run, path: Path) -> None:
    tui_gen("config", "--init")
    assert read_config().values == {}
    text = path.read_text(encoding="utf-8")
    assert all(re.search(rf"^#{setting.name} = .*  # \w", text, re.MULTILINE) for setting in SETTINGS)
    path.write_text(re.sub(r"^#(?! )", "", text, flags=re.MULTILINE), encoding="utf-8")
    config = read_config()
    assert config.faults == []
    assert {*config.values} == {setting.name for setting in SETTINGS}
    assert {*config.keys} == {key.id for key in KEYS if key.id}
    keymap = Keymap(config.keys)
    assert (keymap.faults, keymap.keys) == ([], KEYS)
    unset = {"temperature": 1.0, "length": 300, "pace": math.inf, "threads": 2}  # their defaults are no values
    written, default = settings(), Settings(Path())
    assert config.values.items() >= unset.items()
    assert (written.params, written.seed, written.samples) == (default.params, default.seed, default.samples)
    assert (written.provider, written.device) == (default.provider, default.device)


@pytest.mark.parametrize("page", ["configuration.md", "howto/class.md"])
def test_the_example_of_a_page_has_no_mistakes(page: str, tui_gen: Run, path: Path) -> None:
    text = (Path(__file__).parents[2] / "docs" / page).read_text(encoding="utf-8")
    path.write_text(re.findall(r"^```toml\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)[-1], encoding="utf-8")
    assert read_config().keys or read_config().values
    assert tui_gen("config").stderr == b""


def test_the_command_line_wins_over_the_configuration_and_that_over_the_card(path: Path, toy_models: Path) -> None:
    path.write_text('model = "endless"\ntemperature = 0.3\ntop_k = 5\nsamples = 4\nseed = 7\npace = 100\nthreads = 2\n')
    for words, expected in {
        (): ("endless", 0.3, SamplingParams(0.3, 5), 4, 7, 2),
        ("text", "-t", "0", "--top-k", "0", "-n", "1", "--seed", "1", "--threads", "1"): (
            "text", 0.0, SamplingParams(0.0), 1, 1, 1),
    }.items():  # fmt: skip
        found = settings(*words)
        facts: tuple[Any, ...] = (found.temperature, found.params, found.samples, found.seed, found.threads)
        assert (found.folder.name, *facts) == expected
        assert (found.rate, found.length, found.faults) == (100, None, [])


def test_a_first_model_that_cannot_be_played_is_told_and_another_one_is(path: Path) -> None:
    path.write_text('model = "recipse"\n')
    found = settings()
    assert found.folder.name == "recipes"
    [fault] = found.faults
    assert fault.startswith("model: there is no model 'recipse'")


def test_commands_take_where_the_model_runs_and_nothing_else(tui_gen: Run, path: Path) -> None:
    words = ("generate", "text", "the", "--seed", "1")
    plain = tui_gen(*words).stdout
    path.write_text("temperature = 0\nlength = 1\nsamples = 3\nseed = 9\nthreads = 2\n")
    assert tui_gen(*words).stdout == plain
    assert b"threads         2\n" in tui_gen("inspect", "text").stdout
    assert b"threads         1\n" in tui_gen("inspect", "text", "--threads", "1").stdout


def test_commands_tell_a_mistake_on_stderr_and_go_on(tui_gen: Run, path: Path) -> None:
    path.write_text("threads = 0\n")
    done = tui_gen("inspect", "text")
    assert done.returncode == 0
    assert done.stderr.decode().startswith(f"tui-gen: {path}: threads must be a whole number from 1 to 256, not 0;")
