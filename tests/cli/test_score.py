"""`tui-gen score` as a person or a script uses it."""

from __future__ import annotations

import json
import math
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.conftest import Run
from tests.support import toys
from tests.support.command_line import Interrupted

SHIPPED = Path(__file__).parents[2] / "models"


def lines(done: subprocess.CompletedProcess[bytes]) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """What `--format jsonl` said of each token, and of all."""
    assert done.returncode == 0, done.stderr
    *tokens, last = (json.loads(line) for line in done.stdout.splitlines())
    return tokens, last["total"]


def save(path: Path, levels: Any, *, alpha: int = 255) -> str:
    """A picture file of toy levels, white having the highest."""
    greys = np.array([0, 128, 255], dtype=np.uint8)[levels]
    opened = Image.fromarray(greys).convert("RGBA")
    opened.putalpha(alpha)
    opened.save(path)
    return str(path)


@pytest.mark.parametrize("model", ["shakespeare", "endless"])
def test_the_bits_are_those_that_generating_the_same_text_reported(model: str, tui_gen: Run) -> None:
    folder = str(SHIPPED / model) if model != "endless" else model
    prompt = {"shakespeare": "ROMEO:", "endless": "the dog"}[model]
    generated = tui_gen("generate", folder, prompt, "-l", "200", "--seed", "3", "--format", "jsonl")
    steps = [step for step in map(json.loads, generated.stdout.splitlines()) if step["text"]]  # the end has none
    text = "".join(step["text"] for step in steps)
    found, total = lines(tui_gen("score", folder, "-", "--prompt", prompt, "--format", "jsonl", stdin=text.encode()))
    assert [token["id"] for token in found] == [step["id"] for step in steps]
    assert [token["logprob"] for token in found] == pytest.approx([step["logprob"] for step in steps], abs=1e-4)
    expected = -sum(step["logprob"] for step in steps) / math.log(2)
    assert total["bits"] == pytest.approx(expected, abs=1e-3)
    assert sum(token["bits"] for token in found) == pytest.approx(expected, abs=1e-3)


def test_a_picture_has_the_bits_that_drawing_it_reported(tui_gen: Run, tmp_path: Path) -> None:
    command = ("generate", "image", "bright", "--seed", "5", "--format")
    tui_gen(*command, "png", "-o", str(tmp_path / "a.png"))
    steps = [json.loads(line) for line in tui_gen(*command, "jsonl").stdout.splitlines()]
    done = tui_gen("score", "image", str(tmp_path / "a.png"), "--prompt", "bright", "--format", "jsonl")
    found, total = lines(done)
    for key in ("index", "id", "row", "col"):
        assert [token[key] for token in found] == [step[key] for step in steps]
    assert [token["logprob"] for token in found] == pytest.approx([step["logprob"] for step in steps], abs=1e-5)
    assert total["bits_per_pixel"] == pytest.approx(total["bits"] / (toys.HEIGHT * toys.WIDTH), abs=1e-6)


def test_json_lines_hold_an_object_per_token_and_one_for_all_with_their_keys_in_order(
    tui_gen: Run, tmp_path: Path
) -> None:
    found, total = lines(tui_gen("score", "text", "-", "--format", "jsonl", stdin=b"The  cat\nsat.\n"))
    assert list(found[0]) == ["index", "id", "text", "bits", "logprob"]
    assert [token["text"] for token in found] == ["The", "  cat", "\nsat", "."]
    assert list(total) == ["tokens", "bits", "perplexity", "characters", "bits_per_character"]
    assert (total["tokens"], total["characters"]) == (4, 14)
    assert total["perplexity"] == pytest.approx(2 ** (total["bits"] / 4), abs=1e-5)
    picture = save(tmp_path / "a.png", toys.STRIPES)
    found, total = lines(tui_gen("score", "colour", picture, "--format", "jsonl"))
    assert list(found[0]) == ["index", "id", "row", "col", "channel", "bits", "logprob"]
    assert [found[-1][key] for key in ("row", "col", "channel")] == [toys.HEIGHT - 1, toys.WIDTH - 1, 2]
    assert list(total) == ["tokens", "bits", "perplexity", "pixels", "bits_per_pixel"]
    assert (total["tokens"], total["pixels"]) == (72, 24)


def test_the_text_is_followed_by_its_totals_and_a_table_of_surprises(tui_gen: Run) -> None:
    done = tui_gen("score", "text", "-", stdin=b"The cat sat.\nThe dog sat.")
    text, totals, table = done.stdout.decode().split("\n\n")
    assert text == "The cat sat.\nThe dog sat."
    assert [line[:19].strip() for line in totals.splitlines()] == ["tokens", "bits", "perplexity", "bits per character"]
    title, header, first, *rest = table.splitlines()
    assert (title, header.split()) == ("most surprising", ["TOKEN", "BITS", "TEXT", "AFTER"])
    assert first.split("  ")[0] == "7"
    assert first.endswith("“sat”  The cat sat.␊The dog")
    assert len(rest) == 7
    assert done.stderr == b""


def test_a_picture_is_told_by_its_totals_and_a_table(tui_gen: Run, tmp_path: Path) -> None:
    levels = toys.STRIPES.copy()
    levels[2, 4] = 1
    done = tui_gen("score", "image", save(tmp_path / "a.png", levels))
    totals, table = done.stdout.decode().split("\n\n")
    assert "bits per pixel" in totals
    header, first = table.splitlines()[1:3]
    assert header.split() == ["ROW", "COL", "BITS", "LEVEL"]
    assert [first.split()[column] for column in (0, 1, 3)] == ["2", "4", "1"]


def test_the_cards_prefix_is_put_before_the_prompt_and_never_before_the_text(tui_gen: Run, tmp_path: Path) -> None:
    folder = str(toys.text_folder(tmp_path / "prefixed", prompt_prefix="the dog "))
    scored = ("score", folder, "-", "--format", "jsonl")
    found, _ = lines(tui_gen(*scored, stdin=b"ran."))
    assert [token["text"] for token in found] == ["ran", "."]
    after, _ = lines(tui_gen(*scored, "--prompt", "ran", stdin=b"."))
    plain, _ = lines(tui_gen("score", "text", "-", "--format", "jsonl", stdin=b"the dog ran."))
    assert after[0]["bits"] == plain[3]["bits"]


def test_what_follows_an_end_token_is_a_new_text_and_that_is_said_once(tui_gen: Run) -> None:
    done = tui_gen("score", "letters", "-", "--format", "jsonl", stdin=b"ab\r\nab\nab\n")
    found, _ = lines(done)
    assert [token["bits"] for token in found] == [token["bits"] for token in found[:3]] * 3
    [line] = done.stderr.decode().splitlines()
    assert "after an end token of letters 2 times; what follows one is scored as a new text" in line


def test_unknown_words_are_scored_and_told_once(tui_gen: Run) -> None:
    done = tui_gen("score", "text", "-", "--format", "jsonl", stdin=b"the zebra sat. the zebra ran.")
    found, _ = lines(done)
    assert [token["id"] for token in found].count(toys.UNKNOWN) == 2
    assert [token["text"] for token in found if token["id"] == toys.UNKNOWN] == [" zebra", " zebra"]
    assert done.stderr == b"tui-gen: text does not know 2 words (zebra, ...) and scores them as unknown\n"


def test_a_file_and_stdin_are_scored_alike(tui_gen: Run, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"\xef\xbb\xbfthe cat sat.")
    assert (
        tui_gen("score", "text", str(tmp_path / "a.txt")).stdout
        == tui_gen("score", "text", "-", stdin=b"the cat sat.").stdout
    )


def test_each_line_is_scored_as_it_is_alone_and_all_come_to_what_their_sum_is(tui_gen: Run) -> None:
    texts = ["the cat sat.", "", "dog", "the dog ran. " * 20, "the\x1b[1m cat"] * 9
    command = ("score", "text", "-", "--lines", "--prompt", "the", "--format")
    done = tui_gen(*command, "jsonl", stdin="\r\n".join(texts).encode())
    found, total = lines(done)
    assert [list(text) for text in found] == [["sample", "prompt", "text", "tokens", "logprob", "ended"]] * len(texts)
    assert [(text["sample"], text["text"]) for text in found] == list(enumerate(texts))
    for text in found[:5]:
        logprob = 0.0
        if text["tokens"]:
            own = ("score", "text", "-", "--prompt", "the", "--format", "jsonl")
            logprob = -math.log(2) * lines(tui_gen(*own, stdin=text["text"].encode()))[1]["bits"]
        assert text["logprob"] == pytest.approx(logprob, abs=1e-4)
    assert total["bits"] == pytest.approx(-sum(text["logprob"] for text in found) / math.log(2), abs=1e-3)
    assert (total["tokens"], total["characters"]) == (sum(text["tokens"] for text in found), sum(map(len, texts)))
    assert done.stderr.count(b"scores them as unknown") == 1
    titles, first, *rest = tui_gen(*command, "text", stdin="\n".join(texts).encode()).stdout.decode().splitlines()
    assert titles.split() == ["BITS", "TOKENS", "PER", "CHARACTER"]
    assert first.split()[3:] == ["the", "cat", "sat."]
    assert "the␛[1m cat" in rest[3]
    assert rest[-4].startswith("tokens  ")
    empty = tui_gen(*command, "jsonl", stdin=b"\n\n")
    assert (empty.returncode, len(empty.stdout.splitlines())) == (1, 2)
    assert empty.stderr == b"tui-gen: nothing can be scored: all texts are empty\n"


def test_several_files_are_scored_together_each_with_its_name(tui_gen: Run, tmp_path: Path) -> None:
    pictures = [save(tmp_path / f"{number}.png", toys.STRIPES * (number > 0)) for number in range(2)]
    found, total = lines(tui_gen("score", "image", *pictures, "--prompt", "bright", "--format", "jsonl"))
    assert [(picture["file"], picture["tokens"], picture["ended"]) for picture in found] == [
        (path, 24, False) for path in pictures
    ]
    alone = lines(tui_gen("score", "image", pictures[1], "--prompt", "bright", "--format", "jsonl"))[1]
    assert found[1]["logprob"] == pytest.approx(-alone["bits"] * math.log(2), abs=1e-4)
    assert total["pixels"] == 48
    (tmp_path / "a.txt").write_text("the cat sat.\nthe dog ran.\n")
    found, _ = lines(tui_gen("score", "text", str(tmp_path / "a.txt"), "-", "--format", "jsonl", stdin=b"dog"))
    assert [text["tokens"] for text in found] == [8, 1]


@pytest.mark.parametrize(
    ("words", "content", "status", "reason"),
    [
        ("text a.txt", b"", 1, "a.txt is empty: nothing can be scored"),
        ("text a.txt", b" \n\n", 1, "a.txt holds only white space: nothing can be scored"),
        ("text a.txt", b"caf\xe9", 1, "a.txt is not UTF-8 text: it goes wrong at byte 3; convert it to UTF-8"),
        ("text a.txt", b"a\0b", 1, "a.txt is not UTF-8 text: it has a NUL at byte 1; convert it to UTF-8"),
        ("letters a.txt", b"7", 1, "letters has never seen '7' (line 1, character 1 of a.txt); leave it out"),
        ("text missing", b"", 1, "missing cannot be read: No such file"),
        ("text .", b"", 1, ". is a folder; name a file"),
        ("image a.txt", b"the cat", 1, "a.txt is not an image"),
        ("image -", b"", 2, "a picture is read from a file, not from stdin"),
        ("image a.txt --prompt red", b"", 1, "image cannot draw 'red'; it knows bright, deep dark"),
        ("letters a.txt --prompt xyz", b"a", 1, "letters has never seen 'x'"),
        ("text a.txt --format png", b"the", 2, "invalid choice: 'png'"),
        ("text", b"", 2, "required: FILE"),
        (
            "letters a.txt --lines",
            b"ab\nb7",
            1,
            "letters has never seen '7' (line 2, character 2 of a.txt); leave it out",
        ),
        ("image a.txt --lines", b"", 2, "image draws pictures; --lines is for texts"),
        ("tetx a.txt", b"", 1, "there is no model 'tetx'"),
    ],
)
def test_a_failure_is_one_clear_line(
    words: str, content: bytes, status: int, reason: str, tmp_path: Path, tui_gen: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.txt").write_bytes(content)
    done = tui_gen("score", *words.split())
    [line] = done.stderr.decode().splitlines()
    assert (done.returncode, done.stdout) == (status, b"")
    assert reason in line


def test_transparent_pixels_cannot_be_scored(tui_gen: Run, tmp_path: Path) -> None:
    done = tui_gen("score", "image", save(tmp_path / "a.png", toys.STRIPES, alpha=0))
    assert (done.returncode, done.stdout) == (1, b"")
    assert done.stderr.endswith(b"a.png has transparent pixels, which no model predicts; fill them first\n")


def test_a_fault_in_the_middle_stands_below_what_was_scored(tui_gen: Run) -> None:
    done = tui_gen("score", "text", "-", stdin=b"the cat " * 20_000 + b"\xff")
    assert done.returncode == 1
    assert done.stdout.startswith(b"the cat the cat")
    assert done.stdout.endswith((b" the\n", b" cat\n"))
    assert done.stderr == b"tui-gen: stdin is not UTF-8 text: it goes wrong at byte 160000; convert it to UTF-8\n"


def test_ctrl_c_ends_it_and_what_was_read_is_scored(tui_gen: Run) -> None:
    done = tui_gen("score", "text", "-", stdin=Interrupted(b"the cat sat\n"))
    assert (done.returncode, done.stdout, done.stderr) == (130, b"the cat sat\n", b"")


@pytest.mark.parametrize(("variables", "coloured"), [({}, True), ({"NO_COLOR": "1"}, False), ({"TERM": "dumb"}, False)])
def test_a_terminal_shows_bits_as_colours_that_a_legend_names_unless_it_takes_none(
    variables: dict[str, str], coloured: bool, tui_gen: Run
) -> None:
    done = tui_gen("score", "text", "-", stdin=b"the cat sat the \x1b[1mcat", terminal=True, **variables)
    screen = done.stdout.decode()
    assert screen.startswith("the cat sat ")  # which the model expects
    assert ("\x1b[0;38;2;" in screen) == coloured
    assert "\x1b[1m" not in screen
    assert "␛" in screen
    assert screen.count("most surprising") == 1
    legend = "tui-gen: bits: plain below 1  yellow 1 to 3  orange 3 to 6  red 6 to 10  violet 10 and more\n"
    assert done.stderr.decode().startswith(legend) == coloured
