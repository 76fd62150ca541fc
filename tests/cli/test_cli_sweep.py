"""`tui-gen generate --sweep`: the same prompt and random numbers at several values of one knob."""

from __future__ import annotations

import io
import json

import pytest
from PIL import Image

from tests.conftest import Run
from tests.support import toys


def test_each_text_stands_under_its_value_and_equals_a_run_of_its_own(tui_gen: Run) -> None:
    command = ("generate", "text", "the", "--seed", "3")
    swept = tui_gen(*command, "--sweep", "temperature=0,1,3")
    alone = [tui_gen(*command, "-t", value).stdout.decode() for value in ("0", "1", "3")]
    headings = [f"--- temperature {value} ---\n" for value in ("0.00", "1.00", "3.00")]
    assert swept.stdout.decode() == "".join(map("".join, zip(headings, alone, strict=True)))
    assert b"temperature 0.00/1.00/3.00 \xc2\xb7 seed 3" in swept.stderr


def test_without_values_five_stand_around_the_temperature_that_was_asked_for(tui_gen: Run) -> None:
    lines = tui_gen("generate", "text", "-t", "0.8", "--sweep", "temperature").stdout.decode().splitlines()
    headings = [line for line in lines if line.startswith("---")]
    assert headings == [f"--- temperature {value} ---" for value in ("0.20", "0.50", "0.80", "1.10", "1.40")]


def test_the_other_knobs_count_for_every_value(tui_gen: Run) -> None:
    shown = tui_gen("generate", "text", "the", "-t", "0", "--sweep", "top-k=2,off").stdout.decode()
    assert shown == f"--- top-k 2 ---\nthe {toys.GREEDY_TEXT}\n--- top-k off ---\nthe {toys.GREEDY_TEXT}\n"


def test_a_single_value_needs_no_heading(tui_gen: Run) -> None:
    assert tui_gen("generate", "text", "the", "--sweep", "temperature=0").stdout.decode() == f"the {toys.GREEDY_TEXT}\n"


def test_json_lines_name_the_knob_and_its_value(tui_gen: Run) -> None:
    for model, place in (("endless", ["text"]), ("image", ["row", "col"])):
        done = tui_gen("generate", model, "-l", "4", "--sweep", "min_p=0.5,off", "--format", "jsonl")
        lines = [json.loads(line) for line in done.stdout.splitlines()]
        assert list(lines[0]) == ["sample", "knob", "value", "index", "id", *place, "logprob", "entropy", "ms"]
        assert {(line["sample"], line["knob"], line["value"]) for line in lines} == {(0, "min_p", 0.5), (1, "min_p", 0)}


def test_pictures_stand_side_by_side(tui_gen: Run) -> None:
    command = ("generate", "image", "--seed", "5")
    swept = tui_gen(*command, "--sweep", "temperature=0,1,9", "--format", "ascii").stdout.decode()
    alone = [tui_gen(*command, "-t", value, "--format", "ascii").stdout.decode() for value in ("0", "1", "9")]
    rows = zip(*(shown.splitlines() for shown in alone), strict=True)
    assert swept.splitlines() == ["  ".join(part.ljust(toys.WIDTH) for part in row).rstrip() for row in rows]
    with Image.open(io.BytesIO(tui_gen(*command, "--sweep", "top-k", "--format", "png").stdout)) as opened:
        assert opened.size == (20 * 85, 4 * 85)  # top-k 1, 2 and off


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        ("--sweep warmth", "--sweep turns temperature, top-k, top-p or min-p, not 'warmth'"),
        ("--sweep temperature -n 3", "--sweep makes one sample of each value; leave out -n 3"),
        ("--sweep temperature=hot", "--sweep temperature takes numbers between commas, not 'hot'"),
        ("--sweep temperature=0,11", "temperature must be from 0 to 10, not 11.0"),
        ("--sweep", "argument --sweep: expected one argument"),
    ],
)
def test_wrong_usage_is_told_in_one_line(tui_gen: Run, words: str, reason: str) -> None:
    done = tui_gen("generate", "text", *words.split())
    assert (done.returncode, done.stdout) == (2, b"")
    [line] = done.stderr.decode().splitlines()
    assert reason in line
