"""`tui-gen models` and `tui-gen inspect`: what is installed, and what a model is."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import Run
from tests.support import toys
from tui_gen.cli.inspect import phrase_lines

QUALITY = {"value": 1.25, "unit": "nats per token", "split": "test"}


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Three models and no others: one good, one without figures, one damaged."""
    toys.text_folder(tmp_path / "good", quality=QUALITY, licence="MIT", description="Says little.")
    toys.image_folder(tmp_path / "plain")
    toys.spoil(toys.text_folder(tmp_path / "spoilt"), "config.json", b"{")
    monkeypatch.setattr("tui_gen.library.shipped_folder", lambda: tmp_path / "nowhere")
    return tmp_path


@pytest.fixture
def printed(installed: Path, tui_gen: Run) -> Callable[..., str]:
    """Runs a command where only those models are installed; returns what it prints."""

    def run(*words: str) -> str:
        done = tui_gen(*words, TUI_GEN_MODELS=str(installed))
        assert done.returncode == 0
        return done.stdout.decode()

    return run


def test_the_table_tells_what_is_installed_and_what_is_wrong(printed: Callable[..., str]) -> None:
    head, good, plain, spoilt = printed("models").splitlines()
    assert head.split() == ["NAME", "KIND", "ARCHITECTURE", "SIZE", "QUALITY"]
    assert good.split(maxsplit=4) == ["good", "text", "toy", "bigrams", "0.0 MB  1.250 nats per token"]
    assert plain.split() == ["plain", "image", "toy", "stripes", "0.0", "MB"]
    assert "config.json: is not JSON" in spoilt


def test_json_has_the_same_facts_for_programs(installed: Path, printed: Callable[..., str]) -> None:
    good, plain, spoilt = json.loads(printed("models", "--json"))
    assert good == {
        "name": "good",
        "path": str(installed / "good"),
        "bytes": len(toys.text_graph()),
        "kind": "text",
        "architecture": "toy bigrams",
        "quality": QUALITY,
    }
    assert plain["quality"] is None
    assert "config.json" in spoilt["error"]


def test_without_models_it_says_where_it_looked(installed: Path, tui_gen: Run) -> None:
    empty = str(installed / "empty")
    assert tui_gen("models", TUI_GEN_MODELS=empty).stdout.startswith(f"no models; looked in {empty}, ".encode())
    assert json.loads(tui_gen("models", "--json", TUI_GEN_MODELS=empty).stdout) == []


def test_inspect_shows_the_card_the_graph_and_where_it_runs(installed: Path, printed: Callable[..., str]) -> None:
    lines = printed("inspect", "good", "--provider", "cpu", "--threads", "3").splitlines()
    facts = {line[:16].strip(): line[16:] for line in lines}
    assert (facts["name"], facts["licence"], facts["description"]) == ("good", "MIT", "Says little.")
    assert json.loads(facts["quality"]) == QUALITY
    assert facts["folder"] == str(installed / "good")
    assert (facts["provider"], facts["threads"]) == ("CPU", "3")
    assert facts["inputs"] == "token: tensor(int64)[batch]"
    assert facts["outputs"] == "logits: tensor(float)[batch, 8]"


def test_inspect_lists_the_words_that_a_prompt_is_made_of_and_not_their_ids(printed: Callable[..., str]) -> None:
    lines = printed("inspect", "plain").splitlines()
    assert "prompt words    bright, deep dark" in lines
    [image] = [line for line in lines if line.startswith("image ")]
    assert "conditions" not in image


def test_lines_of_words_break_between_phrases(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    assert phrase_lines(["red hat", "t-shirt/top", "black horned helmet", "bow"]) == [
        "prompt words    red hat, t-shirt/top,",
        "                black horned helmet, bow",
    ]
    assert phrase_lines([f"word {number}" for number in range(1012)])[-1].endswith(" word 999, and 12 others")


def test_an_audit_draws_what_the_model_sees_below_what_its_card_says(
    installed: Path, printed: Callable[..., str]
) -> None:
    toys.image_folder(installed / "looks", graph=toys.remembering_graph({1: 1.0, toys.WIDTH: 1.0}))
    lines = printed("inspect", "looks", "--audit").splitlines()
    assert lines[0] == "name            looks"
    assert lines[-6:-2] == ["------", "------", "--o#o-", "--#@.."]
    assert lines[-9] == "receptive field row 3, column 3 sees 2 of 21 earlier pixels; blind spot 2"
    assert "the card does not tell" in lines[-8]


def test_a_leak_fails_an_audit_and_a_model_that_writes_has_none(tui_gen: Run, tmp_path: Path) -> None:
    leaky = toys.image_folder(tmp_path / "leaky", graph=toys.image_graph(leaky=True))
    done = tui_gen("inspect", "--audit", str(leaky))
    assert done.returncode == 1
    assert b"tui-gen: samples of a batch influence each other: the logits at row" in done.stderr
    done = tui_gen("inspect", "text", "--audit")
    assert (done.returncode, done.stdout) == (2, b"")
    assert done.stderr == b"tui-gen: --audit is for models that draw; text writes text\n"


def test_what_a_card_says_reaches_the_terminal_scrubbed_and_keeps_to_its_row(
    installed: Path, printed: Callable[..., str]
) -> None:
    toys.text_folder(installed / "good", description="\x1b]0;evil\x07", architecture="one\ntwo\x1b[2J")
    table = printed("models")
    assert len(table.splitlines()) == 4
    assert "\x1b" not in table + printed("inspect", "good")
