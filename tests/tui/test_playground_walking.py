"""Looking into a text: the distribution at a token, walking from token to token, and what surprised the model."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from textual import events

from tests.support import toys
from tests.support.driver import ScreenDriver, count_model_steps, on_screen
from tui_gen.sampling.params import SamplingParams
from tui_gen.scoring.branch_scores import BranchSurprisal
from tui_gen.scoring.score import band
from tui_gen.tui.widgets.text_view import TextView

TALL = (110, 44)


def under_cursor(driver: ScreenDriver) -> str:
    """What the cursor covers."""
    page = driver.app.query(TextView).first()
    style = page.get_component_rich_style("text-view--at-cursor")
    strips = [page.render_line(y) for y in range(page.size.height)]
    return "".join(segment.text for strip in strips for segment in strip if segment.style == style).strip()


def rows(now: list[str], raw: list[str]) -> list[str]:
    """How the panel's entries end."""
    return [f"{share:>7}{before:>7}" for share, before in zip(now, raw, strict=True)]


def entries(driver: ScreenDriver) -> dict[str, str]:
    """The ends of the panel's entries, by token."""
    ends = {line[2:].split(" ")[0]: line[-14:] for line in driver.panel.split("\n")[1:] if line[2:3].strip()}
    return {word: ends[word] for word in toys.WORDS if word in ends}


def bits(shares: list[float]) -> float:
    return -sum(share * math.log2(share) for share in shares if share)


async def test_the_panel_says_what_the_model_gave_each_token_and_what_the_knobs_make_of_it(models: Path) -> None:
    async with on_screen(models / "endless", prompt="the", length=3, temperature=0.5, size=TALL) as driver:
        await driver.run_to_end()
        await driver.press("left")
        await driver.shows("─ token 3 ─")
        now, raw = (driver.shares(4, SamplingParams(temperature)) for temperature in (0.5, 1.0))
        assert entries(driver) == dict(zip(toys.WORDS, rows(now, raw), strict=True))
        logits = driver.branch.look(4).logits[0].astype(np.float64)
        weights = [np.exp(logits / temperature) for temperature in (0.5, 1.0)]
        entropy = [bits((weight / weight.sum()).tolist()) for weight in weights]
        [said] = [line for line in driver.panel.split("\n") if "bits" in line]
        assert said.split()[-2:] == [f"{value:.2f}" for value in entropy]
        assert f"▸ {toys.WORDS[driver.tokens()[4]]} " in driver.panel


@pytest.mark.parametrize("key", ["space", "left"])
async def test_a_knob_turned_in_a_pause_redraws_the_panel_and_the_model_stands_still(
    models: Path, monkeypatch: pytest.MonkeyPatch, key: str
) -> None:
    async with on_screen(models / "endless", prompt="the", pace=16, length=100_000, size=TALL) as driver:
        await driver.pause_beyond(3, key)
        position = driver.length - (key == "left")
        await driver.shows(f"─ {'' if key == 'left' else 'next: '}token {position - 1} ─")
        await driver.until(lambda: (scores := driver.playground.side._scores) and not scores.behind)
        raw, steps = driver.shares(position, SamplingParams()), count_model_steps(monkeypatch)
        await driver.press("up", "up", "up", "up")
        await driver.shows("temperature 1.20")
        made = driver.length
        monkeypatch.undo()
        now = dict(zip(toys.WORDS, rows(driver.shares(position, SamplingParams(1.2)), raw), strict=True))
        await driver.until(lambda: entries(driver) == now)
        assert steps == []
        assert driver.length == made


async def test_what_a_knob_shows_is_what_the_next_token_is_drawn_from(models: Path) -> None:
    async with on_screen(models / "endless", prompt="the", pace=16, length=100_000, size=TALL) as driver:
        await driver.pause_beyond(3)
        await driver.press(*["down"] * 20)
        await driver.shows("temperature 0.00")
        before = driver.length
        await driver.until(lambda: "100.0%" in driver.panel and driver.panel.count("cut") == 7)
        [only] = [word for word, said in entries(driver).items() if "100.0%" in said]
        await driver.press("right")
        await driver.grows_to(before + 1)
        assert toys.WORDS[driver.tokens()[-1]] == only


@pytest.mark.parametrize("pace", [16, 64, 4096])
async def test_space_holds_the_run_and_right_makes_exactly_one(models: Path, pace: float) -> None:
    async with on_screen(models / "endless", prompt="the", pace=pace, length=100_000, size=TALL) as driver:
        await driver.pause_beyond(3)
        made = driver.length
        for more in range(1, 4):
            await driver.press("right")
            await driver.grows_to(made + more)
            await driver.shows(f"─ next: token {made + more - 1:,} ─")
        await driver.shows(f"paused at {made + 3 - 2:,} of 100,000")
        assert driver.page == " ".join(toys.WORDS[token] for token in driver.tokens()[1:]).replace(" .", ".")
        await driver.press("space")
        await driver.until(lambda: driver.length > made + 4)


async def test_left_pauses_and_goes_back_and_home_and_end_jump(models: Path) -> None:
    async with on_screen(models / "endless", prompt="the cat", pace=16, length=100_000) as driver:
        await driver.pause_beyond(7, "left")
        made = driver.tokens()
        for position in (len(made) - 1, len(made) - 2, len(made) - 3):
            await driver.shows(f"─ token {position - 2} ─")
            await driver.reads(f"▸ {toys.WORDS[made[position]]} ")
            assert under_cursor(driver) == toys.WORDS[made[position]]
            await driver.press("left")
        await driver.press("home")
        await driver.shows("─ prompt token 1 ─")
        await driver.until(lambda: "= given" in driver.panel and "= the" in driver.panel)
        assert under_cursor(driver) == "the"
        await driver.press("left")
        await driver.shows("─ prompt token 1 ─")
        await driver.press("end")
        await driver.shows(f"─ next: token {len(made) - 2} ─")
        assert driver.tokens() == made


async def test_the_end_of_a_run_is_where_right_makes_one_more(models: Path) -> None:
    async with on_screen(models / "endless", prompt="the", length=3) as driver:
        await driver.run_to_end()
        await driver.shows("complete: 3")
        await driver.press("end", "right")
        await driver.until(lambda: driver.length == 6 and driver.says_end())
        await driver.shows("─ next: token 5 ─")
        await driver.shows("complete: 4")


async def test_a_text_that_has_come_to_its_end_stays_as_it_is(models: Path) -> None:
    async with on_screen(models / "cats", prompt="the", temperature=0.0) as driver:
        await driver.run_to_end()
        made = driver.length
        await driver.press("end")
        await driver.shows(f"─ token {made - 2} ─")
        await driver.reads("▸ <end>")
        await driver.press("right", "right")
        await driver.shows(f"─ token {made - 2} ─")
        assert "go on" not in driver.footer
        assert driver.length == made


async def test_the_number_of_the_last_token_is_where_the_run_has_ended(models: Path) -> None:
    for samples, words in ((1, "the model ended at"), (3, "all ended by")):
        async with on_screen(models / "cats", prompt="the", samples=samples, seed=3, size=TALL) as driver:
            await driver.run_to_end()
            longest = int(driver.branch.live.sum(axis=0).argmax())
            await driver.press(*["greater_than_sign"] * longest, "end")
            number = driver.length - 2
            await driver.shows(f"{words} {number}")
            await driver.shows(f"─ token {number} ")


async def test_a_click_on_a_word_puts_the_cursor_there(models: Path) -> None:
    async with on_screen(models / "cats", prompt="the", temperature=0.0) as driver:
        await driver.run_to_end()
        x, y = driver.place("sat.")
        await driver.click((x + 1, y))
        await driver.shows("─ token 2 ─")
        await driver.reads("▸ sat")
        assert under_cursor(driver) == "sat"
        await driver.click(driver.place("the cat"))  # the first letter of all
        await driver.shows("─ prompt token 1 ─")


async def test_a_click_in_another_sample_shows_what_that_one_was_drawn_from(models: Path) -> None:
    async with on_screen(models / "endless", prompt="the", length=8, samples=2, seed=3, size=TALL) as driver:
        await driver.run_to_end()
        second = list(driver.app.query(TextView))[1]
        await driver.click(second, offset=(2, 1))
        await driver.until(lambda: driver.view.cursor and driver.view.sample == 1)
        at = driver.view.position
        assert at
        now = driver.shares(at, replace(driver.params), sample=1)
        await driver.until(lambda: entries(driver) == dict(zip(toys.WORDS, rows(now, now), strict=True)))
        assert driver.tokens(0) != driver.tokens(1)


@pytest.mark.parametrize("keys", [(), ("left", "left"), ("left", "escape")], ids=["ended", "walking", "left again"])
async def test_a_knob_turned_at_rest_redraws_the_distribution_at_once(models: Path, keys: tuple[str, ...]) -> None:
    async with on_screen(models / "endless", prompt="the", length=20, temperature=1.0, size=(120, 30)) as driver:
        await driver.run_to_end()
        await driver.press(*keys)
        position = driver.view.position or driver.length - 1
        await driver.press("down", "down", "down", "down")
        assert driver.params.temperature == pytest.approx(0.8)
        await driver.until(lambda: set(driver.shares(position, driver.params)) & set(driver.panel.split()))
        assert all(share in driver.panel for share in driver.shares(position, driver.params))


def read(driver: ScreenDriver) -> BranchSurprisal:
    """The surprisal of what is on the screen, read at once by the core."""
    surprise = BranchSurprisal(driver.branch, driver.workspace.loaded_model.codec)
    surprise.update()
    return surprise


def totals(driver: ScreenDriver, sample: int = 0) -> list[str]:
    """What the panel is to say first."""
    total = read(driver).totals(sample)
    return [f"{total.bits:,.0f} bits in {total.tokens:,} tokens", f"{total.bits / total.tokens:.2f} bits a token"]


def marks(driver: ScreenDriver) -> list[int]:
    """The bands of the words on the page, in order."""
    page = driver.app.query(TextView).first()
    looks = [page.get_component_rich_style(f"text-view--band-{number}") for number in range(5)]
    strips = [page.render_line(y) for y in range(len(page._body.lines))]
    segments = [segment for strip in strips for segment in strip if segment.text.strip()]
    return [looks.index(segment.style) for segment in segments if segment.style in looks]


def bands(surprisal: BranchSurprisal) -> list[int]:
    """What they are to be."""
    return [band(bits) for bits in surprisal.bits[:, 0].tolist()]


async def test_the_totals_of_a_finished_run_are_what_the_core_computes(models: Path) -> None:
    async with on_screen(models / "cats", prompt="the", seed=5, size=TALL) as driver:
        await driver.run_to_end()
        await driver.press("f6")
        await driver.until(lambda: all(line in driver.surprisal for line in totals(driver)))
        await driver.shows(f"perplexity {read(driver).totals(0).perplexity:.2f}")
        await driver.press("f6")
        await driver.shows(f"─ token {driver.length - 2} ─")
        assert not driver.surprisal


async def test_a_run_under_way_is_read_along(models: Path) -> None:
    async with on_screen(models / "endless", prompt="the", pace=64, length=100_000, size=TALL) as driver:
        await driver.grow_beyond(3)
        await driver.press("f6")
        await driver.shows("bits a token")
        first = driver.surprisal
        await driver.until(lambda: driver.length > 20 and driver.surprisal != first)
        await driver.press("space")
        await driver.stands_still()
        await driver.until(lambda: all(line in driver.surprisal for line in totals(driver)))


async def test_every_token_is_marked_by_its_bits(models: Path) -> None:
    async with on_screen(models / "endless", prompt="the", seed=5, length=40, size=TALL) as driver:
        await driver.run_to_end()
        await driver.press("f6")
        await driver.until(lambda: totals(driver)[0] in driver.surprisal)
        await driver.until(lambda: marks(driver) == bands(read(driver)))
        assert len(set(marks(driver))) > 1
        await driver.press("f6")
        await driver.until(lambda: len(set(marks(driver))) < 2)


async def test_a_text_that_was_pasted_is_read_without_a_word_being_made(models: Path) -> None:
    async with on_screen(models / "cats", length=0, size=TALL) as driver:
        driver.playground.prompt.post_message(events.Paste("the cat ran. the dog dog sat."))
        await driver.until(lambda: driver.playground.prompt.value)
        await driver.run_to_end()
        await driver.press("f6")
        await driver.shows("no token is made yet")
        given = read(driver).totals(0, "given")
        await driver.shows(f"given: {given.bits:.0f} bits in 9 tokens")
        assert driver.branch.given.all()
        await driver.until(lambda: marks(driver) == bands(read(driver)))


def listed_numbers(driver: ScreenDriver) -> list[int]:
    """The numbers of the tokens that the panel of surprisal lists."""
    return [int(line.split()[-1]) for line in driver.surprisal.split("\n") if line[-5:].strip().isdigit()]


async def test_one_of_the_ten_most_surprising_tokens_is_chosen_and_walked_to(models: Path) -> None:
    async with on_screen(models / "endless", prompt="the", seed=5, length=60, size=TALL) as driver:
        await driver.run_to_end()
        await driver.press("f6")
        await driver.until(lambda: totals(driver)[0] in driver.surprisal)
        peaks = read(driver).top(0)
        numbers = [peak.position - 1 for peak in peaks]
        await driver.until(lambda: listed_numbers(driver) == numbers)
        while not driver.playground.side.surprisal.has_focus_within:
            await driver.press("tab")
        assert "esc back" in driver.footer
        assert "0-9 type" not in driver.footer
        await driver.press("down", "down", "enter")
        await driver.until(lambda: driver.view.cursor and driver.view.cursor.position == peaks[2].position)
        await driver.press("escape", "f6")
        await driver.shows(f"─ token {peaks[2].position - 1} ─")
        await driver.until(lambda: f"▸ {toys.WORDS[peaks[2].token]} " in driver.panel)


async def test_a_large_screen_always_shows_the_surprisal_of_every_token_and_a_small_one_reads_nothing(
    models: Path,
) -> None:
    async with on_screen(models / "endless", prompt="the", seed=5, length=40, size=(200, 60)) as driver:
        await driver.run_to_end()
        strip = driver.playground.side.strip
        made = read(driver).totals(0)
        await driver.shows(f"surprise of each token, in bits · {made.bits / made.tokens:.2f} on average")
        await driver.until(lambda: all(line in driver.surprisal for line in totals(driver)))
        assert len(set(marks(driver))) < 2
        await driver.click(strip, offset=(1 + 4 + 10, 3))
        assert driver.view.position == 11
        await driver.shows(f"token 10: {read(driver).bits[10, 0]:.1f}")
        await driver.press("f6")
        await driver.until(lambda: len(set(marks(driver))) > 2)
        await driver.press("enter")
        await driver.shows("rank ")
        assert driver.surprisal
        await driver.resize(80, 24)
        await driver.press("escape", "f6")
        await driver.hides("surprise")
        assert driver.playground.side._scores is None
