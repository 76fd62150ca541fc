"""The configuration: what is set, and what is wrong, with its place."""

from __future__ import annotations

import math
import os
from pathlib import Path

import pytest

from tui_gen.config import Config, config_path, read_config


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the configuration is looked for."""
    monkeypatch.setenv("TUI_GEN_CONFIG", str(tmp_path / "mine.toml"))
    return tmp_path / "mine.toml"


def test_it_is_in_the_platforms_place_unless_the_environment_names_another(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert config_path() == path
    monkeypatch.delenv("TUI_GEN_CONFIG")
    assert config_path().parts[-2:] == ("tui-gen", "config.toml")
    assert read_config() == Config()


def test_what_is_set_is_read(path: Path) -> None:
    path.write_text(
        '\ufefftheme = "nord"\r\ntemperature = 0\r\ntop_k = 5\npace = "unlimited"\nthreads = 2\n'
        '[keys]\ngenerate = "f2,ctrl+g"\nquit = ""\n[themes.mine]\nprimary = "red"\n[themes.mine.variables]\na = "b"\n',
        encoding="utf-8",
    )
    assert read_config() == Config(
        {"theme": "nord", "temperature": 0.0, "top_k": 5, "pace": math.inf, "threads": 2},
        {"generate": "f2,ctrl+g", "quit": ""},
        {"mine": {"primary": "red", "variables": {"a": "b"}}},
    )


@pytest.mark.parametrize(("line", "told"), [
    ("temperature = 11", "temperature must be a number from 0 to 10, not 11; the default counts"),
    ("temperature = nan", "temperature must be a number from 0 to 10, not nan; the default counts"),
    ("top_k = 1.5", "top_k must be a whole number of at least 0, not 1.5; the default counts"),
    ("samples = true", "samples must be a whole number from 1 to 4096, not True; the default counts"),
    ("pace = 0", 'pace must be "unlimited" or a number from 1 to 1000000, not 0; the default counts'),
    ('provider = "gpu"', "provider must be auto, cpu or cuda, not 'gpu'; the default counts"),
    ("model = 3", "model must be a name in quotes, not 3; the default counts"),
    ("thread = 2", "thread is no setting; did you mean threads?"),
    ("top-k = 2", "top-k is no setting; did you mean top_k?"),
    ("keys = 1", "keys must be a section, [keys]"),
    ("[keys]\nsave = 1", 'keys.save must be keys in quotes, such as "f2,ctrl+g", not 1; the default counts'),
    ("[themes]\nmine = 1", "themes.mine must be a section of colours, such as [themes.mine]; the default counts"),
    ('"a\\u001b[2J" = 1', "a␛[2J is no setting; tui-gen config --init lists all"),
])  # fmt: skip
def test_a_mistake_is_told_with_its_place_and_the_rest_counts(path: Path, line: str, told: str) -> None:
    path.write_text(f"seed = 7\n{line}\n", encoding="utf-8")
    config = read_config()
    assert config.faults == [told]
    assert config.values == {"seed": 7}


def test_of_what_is_no_toml_the_line_is_told(path: Path) -> None:
    path.write_text("seed = 7\nmodel = recipes\n", encoding="utf-8")
    config = read_config()
    assert config.faults == ["Invalid value (at line 2, column 9); nothing in the file counts"]
    assert config.values == {}


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (
            "a" + ".a" * 50_000 + " = 1",
            "the file has more than 64 KiB, or a line of more than 1000 characters; nothing is set",
        ),
        ("a = " + "[\n" * 5000, "maximum recursion depth exceeded"),
        ("x" * 2**17, "the file has more than 64 KiB"),
    ],
    ids=["dots", "nested", "large"],
)
def test_a_file_without_end_is_told_in_a_line(path: Path, text: str, told: str) -> None:
    path.write_text(text, encoding="utf-8")
    config = read_config()
    assert [fault[: len(told)] for fault in config.faults] == [told]


def test_a_file_that_cannot_be_read_is_told_and_an_empty_one_sets_nothing(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert read_config().faults == ["the file cannot be read: No such file or directory; nothing is set"]
    path.mkdir()
    assert read_config().faults == ["the file is not a file; nothing is set"]
    path.rmdir()
    path.write_bytes(b"\xff")
    assert read_config().faults == ["the file is not UTF-8 text; nothing is set"]
    path.write_bytes(b"")
    assert read_config() == Config()
    monkeypatch.setenv("TUI_GEN_CONFIG", os.devnull)
    assert read_config() == Config()
