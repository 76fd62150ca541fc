"""`tui-gen models` and `tui-gen inspect`."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import pytest

from tests.support import toys
from tui_gen.cli import inspect, models
from tui_gen.errors import UsageError

QUALITY = {"value": 1.25, "unit": "nats per token", "split": "test"}


def run_models(*words: str) -> int:
    parser = argparse.ArgumentParser()
    models.configure(parser)
    return models.run(parser.parse_args(words))


def run_inspect(*words: str) -> int:
    parser = argparse.ArgumentParser()
    inspect.configure(parser)
    return inspect.run(parser.parse_args([*words, "--provider", "cpu"]))


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Three models and no others: one good, one without figures, one damaged."""
    toys.text_folder(tmp_path / "good", quality=QUALITY, licence="MIT", description="Says little.")
    toys.image_folder(tmp_path / "plain")
    toys.spoil(toys.text_folder(tmp_path / "spoilt"), "config.json", b"{")
    monkeypatch.setenv("TUI_GEN_MODELS", str(tmp_path))
    monkeypatch.setattr("tui_gen.library.shipped_folder", lambda: tmp_path / "nowhere")
    return tmp_path


def test_the_table_tells_what_is_installed_and_what_is_wrong(
    installed: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_models() == 0
    head, good, plain, spoilt = capsys.readouterr().out.splitlines()
    assert head.split() == ["NAME", "KIND", "ARCHITECTURE", "SIZE", "QUALITY"]
    assert good.split(maxsplit=4) == ["good", "text", "toy", "bigrams", "0.0 MB  1.250 nats per token"]
    assert plain.split() == ["plain", "image", "toy", "stripes", "0.0", "MB"]
    assert "config.json: is not JSON" in spoilt


def test_json_has_the_same_facts_for_programs(installed: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_models("--json") == 0
    good, plain, spoilt = json.loads(capsys.readouterr().out)
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


def test_without_models_it_says_where_it_looked(
    installed: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TUI_GEN_MODELS", str(installed / "empty"))
    assert run_models() == 0
    assert f"no models; looked in {installed / 'empty'}, " in capsys.readouterr().out
    assert run_models("--json") == 0
    assert json.loads(capsys.readouterr().out) == []


def test_inspect_shows_the_card_the_graph_and_where_it_runs(
    installed: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_inspect("good") == 0
    shown = {line[:16].strip(): line[16:] for line in capsys.readouterr().out.splitlines()}
    assert (shown["name"], shown["licence"], shown["description"]) == ("good", "MIT", "Says little.")
    assert json.loads(shown["quality"]) == QUALITY
    assert shown["folder"] == str(installed / "good")
    assert shown["provider"] == "CPU"
    assert shown["inputs"] == "token: tensor(int64)[batch]"
    assert shown["outputs"] == "logits: tensor(float)[batch, 8]"


def test_an_audit_draws_what_the_model_sees_below_what_its_card_says(
    installed: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    toys.image_folder(installed / "looks", graph=toys.remembering_graph({1: 1.0, toys.WIDTH: 1.0}))
    assert run_inspect("looks", "--audit") == 0
    shown = capsys.readouterr().out.splitlines()
    assert shown[0] == "name            looks"
    assert shown[-6:-2] == ["------", "------", "--o#o-", "--#@.."]
    assert shown[-8] == "receptive field row 3, column 3 sees 2 of 21 earlier pixels; blind spot 2"


def test_an_audit_is_for_models_that_draw(installed: Path) -> None:
    with pytest.raises(UsageError, match="--audit is for models that draw; good writes text"):
        run_inspect("good", "--audit")


def test_what_a_card_says_reaches_the_terminal_scrubbed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = toys.text_folder(tmp_path / "evil", description="\x1b]0;evil\x07", architecture="\x1b[2J")
    assert run_inspect(str(folder)) == 0
    assert "\x1b" not in capsys.readouterr().out


def test_a_fault_or_label_with_newlines_keeps_to_its_row(installed: Path, capsys: pytest.CaptureFixture[str]) -> None:
    toys.text_folder(installed / "good", architecture="one\ntwo\x1b[2J")
    run_models()
    shown = capsys.readouterr().out
    assert len(shown.splitlines()) == 4
    assert "\x1b" not in shown
