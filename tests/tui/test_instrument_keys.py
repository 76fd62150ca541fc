"""Everything is found: by its name, in the last line, in the help; by keyboard alone, on 80 columns and 24 lines."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.instrument import at_rest, branch, footer, grown, place, told, workspace
from tests.support.stage import Stage, on_stage
from tui_gen.tui.bindings import EXPLAINED_KEYS
from tui_gen.tui.dialogs.help import help_text
from tui_gen.tui.widgets.text_view import TextView

FOUND = {
    "inpainting": "complete a picture (inpainting)",
    "top-k": "knobs: top-k, top-p, min-p, samples, length, seed",
    "compare temp": "compare temperatures: five values of the selected knob",
    "bits": "surprise: bits per token, the most surprising ones",
    "gif": "save as text, PNG, GIF or session",
    "reproduces": "show the command that reproduces this",
    "rename": "branches: switch, compare, rename, delete",
    "anew": "generate anew from here",
    "slower": "slower: half the pace",
    "learned": "how the model learned, epoch by epoch",
}


async def test_every_action_is_found_by_what_a_person_would_call_it(models: Path) -> None:
    async with on_stage(models / "cats") as (stage, _):
        for typed, name in FOUND.items():
            await stage.press("ctrl+p")
            await stage.shows("Search")
            await stage.type(typed)
            await stage.shows(name)
            await stage.press("escape")
            await stage.hides("Search")


async def test_what_is_found_is_done(models: Path) -> None:
    async with on_stage(models / "cats", prompt="the", temperature=0.0) as (stage, _):
        await stage.run_to_end()
        await stage.press("ctrl+p")
        await stage.type("surprise")
        await stage.shows("the most surprising ones")
        await stage.press("down", "enter")
        await stage.shows("bits a token")


@pytest.mark.parametrize("size", [(80, 24), (120, 30)], ids=str)
async def test_the_last_line_says_what_the_keys_do_now(models: Path, size: tuple[int, int]) -> None:
    async with on_stage(models / "endless", prompt="the", pace=16, length=100_000, size=size) as (stage, _):
        await _says(stage, "enter generate")
        await stage.press("enter")
        await _says(stage, "esc stop", "space pause")
        await stage.until(lambda: grown(stage, 4))
        await stage.press("space")
        await stage.until(lambda: at_rest(stage))
        await _says(stage, "space go on", "←→ token")
        await stage.press("left")
        await _says(stage, "enter choose", "type a word", "esc leave")
        await stage.press("enter")
        await _says(stage, "↑↓ choose", "enter take", "esc back")
        await stage.press("f8")
        await _says(stage, "↑↓ select", "←→ turn", "0-9 type", "esc back")
        await stage.press("f3")
        await _says(stage, "enter open", "esc back")
        await stage.press("f4")
        await _says(stage, "enter switch", "c compare", "r rename", "del delete")
        await stage.press("escape", "escape", "escape")
        await stage.until(stage.told_of_the_end)
        await _says(stage, "enter generate", "←→ token")
        assert "esc stop" not in footer(stage)


async def test_the_help_names_all_keys_and_can_be_read_to_its_end(models: Path) -> None:
    assert all(key.shown in help_text() and key.meaning in " ".join(help_text().split()) for key in EXPLAINED_KEYS)
    async with on_stage(models / "cats") as (stage, _):
        await stage.press("f1")
        seen = set[str]()
        await stage.shows("WRITE OR DRAW")
        for _ in range(12):
            seen |= {line.strip(" │╭╮╰╯▁▂▃▄▅▆▇█▎▊") for line in stage.screen().split("\n")}
            await stage.press("pagedown")
        missing = [
            line for line in help_text().split("\n") if line.strip() and not any(line.strip() in s for s in seen)
        ]
        assert missing == []
        await stage.press("escape")
        await stage.shows("enter generate")


async def test_a_whole_visit_by_keyboard_alone_on_80_columns_and_24_lines(
    models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    async with on_stage(models / "endless", pace=64, length=100_000, size=(80, 24)) as (stage, _):
        await stage.type("the")
        await stage.press("enter")
        await stage.until(lambda: grown(stage, 6))
        await stage.press("space")
        await stage.until(lambda: at_rest(stage))
        await stage.press("left", "left", "enter", "down", "enter")
        await stage.until(lambda: branch(stage).name == "2" and grown(stage, 8))
        await stage.press("escape")
        await stage.until(stage.told_of_the_end)
        await stage.press("f4")
        await stage.shows("└ 2")
        assert place(stage, "└ 2")[0] < 20
        await stage.press("up", "enter")
        await stage.until(lambda: branch(stage).name == "1")
        await stage.press("f8", "down", "right", "escape", "f5")
        await stage.until(lambda: branch(stage).samples == 5 and stage.running)
        await stage.press("escape", "f6", "f6", "ctrl+s", "enter")
        await stage.until(lambda: told(stage) == "saved as endless-1.txt")
        assert len(workspace(stage).tree) == 3


OPENED = {
    "actions": ["ctrl+p"],
    "knobs": ["f8"],
    "save": ["ctrl+s"],
    "command": ["ctrl+r"],
    "learned": ["f9"],
    "panel": ["left", "enter"],
    "word": ["left", "d"],
    "rename": ["f4", "r"],
    "cursor": ["home"],
    "prompt": ["tab", "tab", "tab"],
}


async def test_escape_always_leads_back_to_the_text_and_then_to_the_prompt(models: Path) -> None:
    async with on_stage(models / "cats", prompt="the", temperature=0.0) as (stage, _):
        await stage.run_to_end()
        page = stage.page
        for name, keys in OPENED.items():
            stage.app.query_one(TextView).focus()
            await stage.until(lambda: isinstance(stage.app.focused, TextView))
            await stage.press(*keys)
            await stage.press("escape", "escape", "escape")
            await stage.until(lambda: stage.app.focused is stage.app.prompt_line)
            assert len(stage.app.screen_stack) == 1, name
            assert stage.app.walking.cursor is None, name
        assert stage.page == page
        assert list(workspace(stage).tree._branches) == ["1"]


async def _says(stage: Stage, *wanted: str) -> None:
    await stage.until(lambda: all(each in footer(stage) for each in (*wanted, "help", "^q quit")))
    assert len(footer(stage)) <= stage.app.size.width
