"""Prompts that were used are there in the next session, whatever happens to their file."""

from __future__ import annotations

import json
import os
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tui_gen.sessions.history import LONGEST, MOST, PromptHistory


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "prompts.jsonl"


def texts(path: Path) -> list[str]:
    """As another session reads them."""
    return [prompt.text for prompt in PromptHistory(path).prompts()]


def test_another_session_has_the_prompts_with_their_models_and_newlines(path: Path) -> None:
    history, other = PromptHistory(path), PromptHistory(path)
    assert history.prompts() == []
    history.add("recipes", "rose cake")
    other.add("names", "an\nna \u202e")
    history.add("recipes", "  ")
    assert history.prompts() == other.prompts() == [("recipes", "rose cake"), ("names", "an\nna \u202e")]
    assert history.take_fault() == ""


def test_the_same_prompt_again_is_one_unless_another_came_between_or_another_model_read_it(path: Path) -> None:
    history, other = PromptHistory(path), PromptHistory(path)
    for each in (history, other):
        each.add("recipes", "rose cake")
    other.add("names", "rose cake")
    history.add("recipes", "rose cake")
    assert [prompt.model for prompt in history.prompts()] == ["recipes", "names", "recipes"]


def test_screens_that_add_at_the_same_time_lose_nothing(path: Path) -> None:
    def use(screen: int) -> None:
        history = PromptHistory(path)
        for number in range(50):
            history.add("recipes", f"{screen} {number}")

    with ThreadPoolExecutor(4) as screens:
        list(screens.map(use, range(4)))
    assert sorted(texts(path)) == sorted(f"{screen} {number}" for screen in range(4) for number in range(50))


@pytest.mark.parametrize(
    "damage", [b'{"model": "x", "te', b"\x00\xff\n", b"[1]\n", b'{"model": 1, "text": "x"}\n', b"[" * 100_000 + b"\n"]
)
def test_a_damaged_file_costs_only_its_damaged_lines(path: Path, damage: bytes) -> None:
    PromptHistory(path).add("recipes", "rose cake")
    with path.open("ab") as file:
        file.write(damage)
    assert texts(path) == ["rose cake"]
    PromptHistory(path).add("recipes", "apple pie")
    assert texts(path) == ["rose cake", "apple pie"]


def test_only_the_newest_stay_and_a_huge_prompt_does_not(path: Path) -> None:
    path.parent.mkdir()
    lines = [json.dumps({"model": "recipes", "text": f"{number}"}) for number in range(2 * MOST)]
    path.write_text("\n".join(lines) + "\n", encoding="ascii")
    history = PromptHistory(path)
    history.add("recipes", "the newest")
    assert texts(path) == [f"{number}" for number in range(MOST + 1, 2 * MOST)] + ["the newest"]
    assert len(path.read_bytes().splitlines()) <= MOST
    history.add("recipes", "x" * (LONGEST + 1))
    assert texts(path)[-1] == "the newest"


@pytest.mark.skipif(os.name != "posix", reason="modes of POSIX")
def test_nobody_else_can_read_them(path: Path) -> None:
    PromptHistory(path).add("recipes", "rose cake")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_where_they_cannot_be_kept_the_session_has_them_and_it_is_told_once(path: Path) -> None:
    path.mkdir(parents=True)
    history = PromptHistory(path)
    for text in ("rose cake", "apple pie"):
        history.add("recipes", text)
    assert [prompt.text for prompt in history.prompts()] == ["rose cake", "apple pie"]
    assert history.take_fault().startswith(f"prompts are not kept in {path}: ")
    assert history.take_fault() == ""
