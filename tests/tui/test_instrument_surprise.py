"""What surprised the model in a text, and the same noise at five values of a knob."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from textual import events

from tests.support import toys
from tests.support.instrument import at_rest, branch, footer, grown, lines, panel, tokens, workspace
from tests.support.stage import Stage, headless_text, on_stage
from tui_gen.scoring.branch_scores import BranchSurprisal
from tui_gen.scoring.score import band
from tui_gen.tui.widgets.text_view import TextView

TALL = (110, 44)


def said(stage: Stage) -> str:
    """The panel of surprise as it can be read."""
    return "\n".join(lines(stage, stage.app.side.surprise))


def read(stage: Stage) -> BranchSurprisal:
    """The same, read at once by the core."""
    assert stage.app.loaded_model
    surprise = BranchSurprisal(branch(stage), stage.app.loaded_model.codec)
    surprise.update()
    return surprise


def totals(stage: Stage, sample: int = 0) -> list[str]:
    """What the panel is to say first."""
    total = read(stage).totals(sample)
    return [f"{total.bits:,.0f} bits in {total.tokens:,} tokens", f"{total.bits / total.tokens:.2f} bits a token"]


async def test_the_totals_of_a_finished_run_are_what_the_core_computes(models: Path) -> None:
    async with on_stage(models / "cats", prompt="the", seed=5, size=TALL) as (stage, _):
        await stage.run_to_end()
        await stage.press("f6")
        await stage.until(lambda: all(line in said(stage) for line in totals(stage)))
        await stage.shows(f"perplexity {read(stage).totals(0).perplexity:.2f}")
        await stage.press("f6")
        await stage.shows(f"─ token {len(branch(stage)) - 1} ─")
        assert not said(stage)


async def test_a_run_under_way_is_read_along(models: Path) -> None:
    async with on_stage(models / "endless", prompt="the", pace=64, length=100_000, size=TALL) as (stage, _):
        await stage.press("enter")
        await stage.until(lambda: grown(stage, 3))
        await stage.press("f6")
        await stage.shows("bits a token")
        first = said(stage)
        await stage.until(lambda: grown(stage, 20) and said(stage) != first)
        await stage.press("space")
        await stage.until(lambda: at_rest(stage))
        await stage.until(lambda: all(line in said(stage) for line in totals(stage)))


async def test_every_token_is_marked_by_its_bits(models: Path) -> None:
    async with on_stage(models / "endless", prompt="the", seed=5, length=40, size=TALL) as (stage, _):
        await stage.run_to_end()
        await stage.press("f6")
        await stage.until(lambda: totals(stage)[0] in said(stage))
        await stage.until(lambda: _marks(stage) == _bands(read(stage).bits[:, 0].tolist()))
        assert len(set(_marks(stage))) > 1
        await stage.press("f6")
        await stage.until(lambda: len(set(_marks(stage))) < 2)


async def test_a_text_that_was_pasted_is_read_without_a_word_being_made(models: Path) -> None:
    async with on_stage(models / "cats", length=0, size=TALL) as (stage, _):
        stage.app.prompt_line.post_message(events.Paste("the cat ran. the dog dog sat."))
        await stage.until(lambda: stage.app.prompt_line.value)
        await stage.run_to_end()
        await stage.press("f6")
        await stage.shows("no token is made yet")
        given = read(stage).totals(0, "given")
        await stage.shows(f"given: {given.bits:.0f} bits in 9 tokens")
        assert branch(stage).given.all()
        await stage.until(lambda: _marks(stage) == _bands(read(stage).bits[:, 0].tolist()))


async def test_one_of_the_ten_most_surprising_tokens_is_chosen_and_walked_to(models: Path) -> None:
    async with on_stage(models / "endless", prompt="the", seed=5, length=60, size=TALL) as (stage, _):
        await stage.run_to_end()
        await stage.press("f6")
        await stage.until(lambda: totals(stage)[0] in said(stage))
        peaks = read(stage).top(0)
        found = [line.split() for line in said(stage).split("\n") if line[-5:].strip().isdigit()]
        assert [int(row[-1]) for row in found] == [peak.position - 1 for peak in peaks]
        await stage.until(lambda: stage.app.focused is not None)
        while not stage.app.side.surprise.has_focus_within:
            await stage.press("tab")
        await stage.press("down", "down", "enter")
        await stage.until(lambda: stage.app.walking.cursor and stage.app.walking.cursor.position == peaks[2].position)
        await stage.press("escape", "f6")
        await stage.shows(f"─ token {peaks[2].position} ─")
        await stage.until(lambda: f"▸ {toys.WORDS[peaks[2].token]} " in panel(stage))


async def test_the_last_line_says_what_the_keys_do_in_the_panel_of_surprise(models: Path) -> None:
    async with on_stage(models / "endless", prompt="the", length=60, size=TALL) as (stage, _):
        await stage.run_to_end()
        await stage.press("f6")
        while not stage.app.side.surprise.has_focus_within:
            await stage.press("tab")
        await stage.until(lambda: "esc back" in footer(stage))
        assert "0-9 type" not in footer(stage)


async def test_f5_shows_the_same_noise_at_five_temperatures(models: Path) -> None:
    async with on_stage(models / "cats", prompt="the", seed=5, size=(200, 40)) as (stage, _):
        await stage.press("f5")
        await stage.until(stage.told_of_the_end)
        values = (0.4, 0.7, 1.0, 1.3, 1.6)
        for value in values:
            await stage.shows(f"temperature {value:.2f}──")
        pages = [page.text for page in stage.app.query(TextView)]
        assert pages == [headless_text(models / "cats", "the", seed=5, temperature=value) for value in values]
        assert len(set(pages)) > 2


async def test_on_a_narrow_screen_five_columns_have_the_room_of_the_panels(models: Path) -> None:
    async with on_stage(models / "cats", prompt="the", seed=5, size=(80, 24)) as (stage, _):
        await stage.press("f5")
        await stage.until(stage.told_of_the_end)
        for value in ("0.40", "0.70", "1.00", "1.30", "1.60"):
            await stage.shows(value)
        assert not stage.app.side.display


async def test_f5_sweeps_the_selected_knob(models: Path) -> None:
    async with on_stage(models / "cats", prompt="the", seed=5, size=(200, 40)) as (stage, _):
        await stage.press("f8", "down", "f5")
        await stage.until(stage.told_of_the_end)
        for value in (1, 2, 3, 5):
            await stage.shows(f"top-k {value}─")
        await stage.shows("top-k off─")
        pages = [page.text for page in stage.app.query(TextView)]
        assert pages[0] == "the " + toys.GREEDY_TEXT
        assert pages[4] == headless_text(models / "cats", "the", seed=5)
    async with on_stage(models / "cats", prompt="the", seed=5) as (stage, _):
        for number, top_k in enumerate((1, 2, 3, 5, 8)):
            stage.params.top_k = top_k
            await stage.run_to_end()
            assert stage.page == pages[number]
            await stage.press("escape")


async def test_a_column_of_a_sweep_is_left_like_any_run_and_keeps_its_value(models: Path) -> None:
    async with on_stage(models / "endless", prompt="the", seed=5, length=8, size=(200, 40)) as (stage, _):
        await stage.press("f5")
        await stage.until(stage.told_of_the_end)
        await stage.press("home", "right", "right")
        await stage.shows("─ token 3")
        await stage.type("dog")
        await stage.press("enter")
        await stage.until(lambda: branch(stage).name == "2" and stage.told_of_the_end())
        await stage.shows("temperature 0.40──")
        assert tokens(branch(stage), 0)[3] == toys.DOG
        assert np.array_equal(branch(stage).tokens[:, 1:], workspace(stage).tree["1"].tokens[:, 1:])


def _marks(stage: Stage) -> list[int]:
    """The bands of the words on the page, in order."""
    page = stage.app.query(TextView).first()
    looks = [page.get_component_rich_style(f"text-view--band-{number}") for number in range(5)]
    strips = [page.render_line(y) for y in range(len(page._body.lines))]
    segments = [segment for strip in strips for segment in strip if segment.text.strip()]
    return [looks.index(segment.style) for segment in segments if segment.style in looks]


def _bands(bits: list[float]) -> list[int]:
    return [band(value) for value in bits]
