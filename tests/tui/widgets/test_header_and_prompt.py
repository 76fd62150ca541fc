"""The first and the last line keep what matters when there is little room; the prompt knows what the model knows."""

from __future__ import annotations

import os
import signal
import threading
from pathlib import Path

import pytest
from textual import events

from tests.support import toys
from tests.support.driver import on_screen
from tests.support.widget_app import alone
from tui_gen.library import LoadedModel, shipped_folder
from tui_gen.text.codec import TextCodec
from tui_gen.text.tokenizer import LocalEncoder
from tui_gen.tui.bindings import Context, pairs_now
from tui_gen.tui.widgets.header import Header, KeyBar
from tui_gen.tui.widgets.prompt import Prompt


@pytest.mark.parametrize("width", [30, 40, 50, 60, 80, 120])
async def test_no_fact_of_the_header_is_cut(text: LoadedModel, width: int) -> None:
    header = Header()
    async with alone(header, (width, 1)) as driver:
        header.show_model(text)
        header.show_rate(12345.6, 0.00012)
        await driver.settle()
        facts = driver.lines()[0].split("─ ")[-1].split(" · ")
        assert set(facts) <= {"text", "toy bigrams", "CPU", "12,346 tokens/s", "0.12 ms/step"}
        assert facts[0] == "text"


async def test_a_name_without_end_is_cut_to_the_line() -> None:
    header = Header()
    async with alone(header, (40, 1)) as driver:
        header.show("name" * 75, "architecture")
        await driver.settle()
        assert driver.lines()[0].startswith("tui-gen ── namename")
        assert driver.lines()[0].rstrip().endswith("…")


@pytest.mark.parametrize("width", [80, 60, 40, 30])
@pytest.mark.parametrize("now", [Context(walking=True, running=True, paused=True, made=True), Context(made=True)])
async def test_the_last_line_cuts_no_key_and_keeps_help_and_quit(width: int, now: Context) -> None:
    bar = KeyBar()
    async with alone(bar, (width, 10)) as driver:
        bar.show(now)
        await driver.settle()
        pairs = bar.render().plain.rstrip().split("  ")
    assert set(pairs) <= {f"{key} {meaning}" for key, meaning in pairs_now(now)}
    assert pairs[-2:] == ["? help", "^q quit"]
    assert len("  ".join(pairs)) <= width


async def test_lines_that_are_pasted_are_all_kept_and_read_as_lines(models: Path) -> None:
    async with on_screen(models / "letters") as driver:
        driver.playground.prompt.post_message(events.Paste("ab\r\nc\x1b[2J\n"))
        await driver.until(lambda: driver.playground.prompt.value)
        assert driver.playground.prompt.text == "ab\nc\u241b[2J"


async def test_unknown_words_are_marked_before_anything_runs_and_read_as_unknown(models: Path) -> None:
    async with on_screen(models / "cats") as driver:
        await driver.type("the zebra")
        prompt = driver.app.query_one(Prompt)
        assert prompt.unknown() == ["zebra"]
        styled = [segment.text for segment in prompt.render_line(0) if segment.style and segment.style.underline]
        assert "".join(styled) == "zebra"
        await driver.run_to_end()
        assert driver.page.startswith("the <unk>")


async def test_of_more_unknown_words_than_anyone_reads_all_is_marked_at_once(models: Path) -> None:
    async with on_screen(models / "cats", prompt="the zebra " * 2000) as driver:
        prompt = driver.app.query_one(Prompt)
        assert len(prompt._value.spans) == 1
        styled = [segment.text for segment in prompt.render_line(0) if segment.style and segment.style.underline]
        assert "the zebra" in "".join(styled)


async def test_a_tokenizer_that_multiplies_what_is_typed_harms_nothing(models: Path) -> None:
    hostile = toys.text_folder(models / "hostile", tokenizer=toys.multiplying("q"))
    async with on_screen(hostile) as driver:
        await driver.type("the quick")
        await driver.press("enter")
        await driver.until(lambda: "is not asked any more" in driver.notice)
        assert driver.playground.prompt.value == "the quick"
        await driver.press("f3", "home", "enter")
        await driver.until(lambda: driver.workspace.loaded_model.card.name == "cats")
        await driver.run_to_end()
        assert driver.page.startswith("the")


@pytest.mark.skipif(os.name == "nt", reason="a process cannot be stopped there")
async def test_keys_wait_for_no_tokenizer_and_what_was_asked_begins_when_it_has_answered(models: Path) -> None:
    foreign = toys.text_folder(models / "foreign")
    async with on_screen(foreign) as driver:
        encoder = driver.workspace.loaded_model.codec.tokenizer.encoder._encoder
        os.kill(encoder._process.pid, signal.SIGSTOP)
        await driver.type("the zebra")
        await driver.press("enter", "up", "end")
        assert "still reads what was typed; when it has, this begins" in driver.notice
        assert driver.playground.prompt.value == "the zebra"
        assert driver.params.temperature == 1.05
        await driver.press("escape", "backspace", "enter")
        os.kill(encoder._process.pid, signal.SIGCONT)
        await driver.until(lambda: driver.playground.run_view and driver.page.startswith("the <unk>"))
        assert len(driver.workspace.tree) == 1
        assert driver.playground.prompt.unknown() == ["zebr"]


async def test_keys_are_answered_while_a_book_that_was_pasted_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    goes_on, encode = threading.Event(), LocalEncoder.encode
    monkeypatch.setattr(LocalEncoder, "encode", lambda *of: (len(of[1]) < 8000 or goes_on.wait()) and encode(*of))
    async with on_screen(shipped_folder() / "recipes", length=0, temperature=1.0) as driver:
        driver.playground.prompt.post_message(events.Paste("zzz tomato " * 2000))
        await driver.until(lambda: driver.playground.prompt.value)
        await driver.press("enter", "up")
        assert "still reads what was typed; when it has, this begins" in driver.notice
        assert driver.params.temperature == 1.05
        goes_on.set()
        await driver.until(lambda: driver.playground.run_view)
        assert len(driver.playground.prompt.unknown()) == 2000


async def test_a_prompt_is_read_once_however_often_it_is_drawn(models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with on_screen(models / "cats", prompt="the zebra") as driver:
        texts, unknown = list[str](), TextCodec.unknown
        monkeypatch.setattr(TextCodec, "unknown", lambda self, text: texts.append(text) or unknown(self, text))
        await driver.type(" s")
        for width in (100, 60, 90):
            await driver.resize(width, 24)
        assert texts == ["the zebra ", "the zebra s"]
        assert driver.playground.prompt.unknown() == ["zebra", "s"]


async def test_a_phrase_is_completed_after_a_comma(models: Path) -> None:
    async with on_screen(models / "stripes") as driver:
        await driver.type("bright, de")
        await driver.until(lambda: driver.app.query_one(Prompt)._suggestion)
        await driver.press("right")
        assert driver.app.query_one(Prompt).value == "bright, deep dark"


async def test_a_phrase_that_a_terminal_would_obey_is_not_suggested(models: Path) -> None:
    hostile = toys.phrase_tokenizer(("bright", "da\x1b]0;owned\x07"), first_id=toys.BRIGHT).to_str()
    async with on_screen(toys.image_folder(models / "hostile", tokenizer=hostile)) as driver:
        await driver.type("da")
        await driver.app.workers.wait_for_complete()
        await driver.settle()
        assert not driver.playground.prompt._suggestion
        await driver.hides("\x1b")


async def test_a_word_is_completed_at_the_end_of_the_line_and_there_are_others(models: Path) -> None:
    tokenizer = toys.word_tokenizer(["carrot carve cat a b c"], vocab_size=8, min_count=1).to_str()
    async with on_screen(toys.text_folder(models / "kitchen", tokenizer=tokenizer), prompt="a ca") as driver:
        prompt = driver.playground.prompt
        await driver.shows("a carrot")
        for word in ("a carve", "a cat", "a carrot", "a carve"):
            await driver.press("ctrl+@")
            await driver.shows(word)
        await driver.press("home", "end")
        assert prompt.value == "a ca"
        await driver.press("ctrl+@", "end")
        assert prompt.value == "a cat"


async def test_the_phrases_that_fit_are_said_while_a_prompt_is_typed(models: Path) -> None:
    async with on_screen(models / "stripes") as driver:
        await driver.shows("prompt: bright, deep dark")
        await driver.type("bright, ")
        await driver.shows("prompt: deep dark")
        await driver.type("de")
        await driver.shows("bright, deep dark")
        await driver.press("end")
        await driver.shows("─ prompt ─")


async def test_the_prompt_is_edited_as_in_a_shell(models: Path) -> None:
    async with on_screen(models / "cats", prompt="the cat, sat-down ran") as driver:
        prompt = driver.playground.prompt
        await driver.run_to_end()
        await driver.type("the cat, sat-down ran")
        await driver.press("ctrl+w", "alt+backspace")
        assert prompt.value == "the cat, "
        await driver.press("ctrl+a", "ctrl+k")
        assert prompt.value == ""
        await driver.press("ctrl+y", "ctrl+y")
        assert prompt.value == "the cat, the cat, "
        await driver.press("ctrl+a", "x", "ctrl+e", "y", "ctrl+w", "ctrl+w", "ctrl+u")
        assert prompt.value == ""
        await driver.press("ctrl+y")
        assert prompt.value == "xthe cat, the cat, y"
        assert not driver.notice


async def test_earlier_prompts_come_back_and_so_does_what_was_being_typed(models: Path) -> None:
    async with on_screen(models / "endless", prompt="the\u240acat", length=3) as driver:
        await driver.run_to_end()
    async with on_screen(models / "cats", prompt="the dog") as driver:
        prompt = driver.playground.prompt
        await driver.run_to_end()
        await driver.type("the cat")
        await driver.run_to_end()
        await driver.type("sa")
        await driver.press("alt+up")
        assert prompt.value == "the cat"
        await driver.press("alt+up", "alt+up")
        assert prompt.text == "the\ncat"
        await driver.shows("prompt of endless")
        await driver.press("alt+up")
        await driver.says("there is no earlier prompt")
        await driver.press("alt+down", "x", "alt+down", "alt+down")
        assert prompt.value == "sa"
        await driver.press("alt+down")
        await driver.says("there is no later prompt")
        await driver.press("alt+up", "alt+up")
        assert prompt.value == "the dogx"
        await driver.run_to_end()
        await driver.press("alt+up")
        assert prompt.value == "the cat"


async def test_a_prompt_that_the_model_cannot_read_is_only_found_in_the_palette(models: Path) -> None:
    async with on_screen(models / "cats", prompt="the [b]cat\x1b[2J") as driver:
        await driver.run_to_end()
    async with on_screen(models / "stripes", prompt="bright") as driver:
        await driver.run_to_end()
        await driver.press("alt+up")
        assert driver.playground.prompt.value == "bright"
        await driver.press("ctrl+p")
        await driver.type("prompt: cat")
        await driver.shows("prompt: the [b]cat\u241b[2J")
        await driver.shows("of cats")
        await driver.press("down", "enter")
        await driver.until(lambda: driver.playground.prompt.value == "the [b]cat\u241b[2J")
