"""The command line as a person or a script uses it, in a process of its own."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
from PIL import Image

from tests.conftest import Run
from tests.support import toys
from tui_gen import __version__

BRIGHT_ROW = b"@" * toys.WIDTH


def test_generate_writes_the_prompt_and_its_continuation_to_stdout_and_the_rest_to_stderr(tui_gen: Run) -> None:
    done = tui_gen("generate", "text", "The", "-t", "0", "--seed", "7")
    assert done.returncode == 0
    assert done.stdout.decode() == f"the {toys.GREEDY_TEXT}\n"
    [report] = done.stderr.decode().splitlines()
    assert report.startswith("tui-gen: text · CPU")
    assert "temperature 0 · seed 7 · 13 tokens in" in report


def test_the_same_seed_gives_the_same_text_and_a_seed_that_was_not_chosen_is_told(tui_gen: Run) -> None:
    first = tui_gen("generate", "endless", "-l", "60")
    seed = first.stderr.decode().split("seed ")[1].split()[0]
    again, other = (tui_gen("generate", "endless", "-l", "60", "--seed", wanted) for wanted in (seed, seed + "1"))
    assert first.stdout == again.stdout != other.stdout


def test_the_cards_temperature_counts_unless_another_is_given(tui_gen: Run, tmp_path: Path) -> None:
    cold = str(toys.text_folder(tmp_path / "cold", temperature=0))
    assert tui_gen("generate", cold, "the").stdout.decode() == f"the {toys.GREEDY_TEXT}\n"
    assert b"temperature 1 \xc2\xb7" in tui_gen("generate", cold, "the", "-t", "1").stderr


def test_the_knobs_reach_the_run(tui_gen: Run) -> None:
    greedy = tui_gen("generate", "endless", "the", "-l", "30", "-t", "0").stdout
    for knob in (("--top-k", "1"), ("--top-p", "0"), ("--min-p", "1")):
        assert tui_gen("generate", "endless", "the", "-l", "30", "-t", "2", *knob).stdout == greedy


def test_the_length_counts_sampled_tokens_and_may_be_0(tui_gen: Run) -> None:
    assert tui_gen("generate", "endless", "the dog", "-l", "1", "-t", "0").stdout == b"the dog ran\n"
    assert tui_gen("generate", "endless", "the dog", "-l", "0").stdout == b"the dog\n"


def test_sample_3_is_the_same_whether_there_are_3_or_5(tui_gen: Run) -> None:
    three, five = (tui_gen("generate", "text", "-n", count, "--seed", "1").stdout.decode() for count in ("3", "5"))
    assert three.split("--- 3 of 3 ---\n")[1] == five.split("--- 3 of 5 ---\n")[1].split("--- 4")[0]


def test_unknown_words_are_told_and_the_run_goes_on(tui_gen: Run) -> None:
    done = tui_gen("generate", "text", "the zebra", "-t", "0")
    assert done.returncode == 0
    assert done.stdout.startswith(b"the <unk>.")
    assert done.stderr.startswith(b"tui-gen: text does not know zebra and reads it as unknown\n")


@pytest.mark.parametrize("stdin", [b"the cat\n", b"the cat", b"the\r\ncat\r\n"])
def test_a_dash_reads_the_prompt_from_stdin(tui_gen: Run, stdin: bytes) -> None:
    assert tui_gen("generate", "text", "-", "-t", "0", stdin=stdin).stdout.startswith(b"the cat sat.")


def test_bytes_that_are_no_text_are_an_unknown_word_on_stdin_and_on_the_command_line(tui_gen: Run) -> None:
    for locale in ("C.UTF-8", "C"):
        done = tui_gen("generate", "text", "-", stdin=b"the \xff\n", LC_ALL=locale)
        assert (done.returncode, done.stdout[:9]) == (0, b"the <unk>")
        done = tui_gen("generate", "text", "the \udcff", LC_ALL=locale)
        assert (done.returncode, done.stdout[:9]) == (0, b"the <unk>")


def test_json_lines_hold_one_object_per_token_with_its_keys_in_order(tui_gen: Run) -> None:
    done = tui_gen("generate", "text", "the", "-n", "2", "--format", "jsonl")
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert list(lines[0]) == ["sample", "index", "id", "text", "logprob", "entropy", "ms"]
    assert {line["sample"] for line in lines} == {0, 1}
    done = tui_gen("generate", "image", "--format", "jsonl")
    assert list(json.loads(done.stdout.splitlines()[8])) == [
        "sample", "index", "id", "row", "col", "logprob", "entropy", "ms",
    ]  # fmt: skip
    assert [json.loads(done.stdout.splitlines()[8])[key] for key in ("index", "row", "col")] == [8, 1, 2]


def test_a_picture_is_drawn_in_ascii_unless_the_output_is_a_terminal(tui_gen: Run) -> None:
    assert tui_gen("generate", "image", "bright", "-t", "0").stdout == BRIGHT_ROW + b"\n" + BRIGHT_ROW + b"\n"


def test_blocks_are_coloured_unless_no_color_is_set(tui_gen: Run) -> None:
    command = ("generate", "image", "bright", "-t", "0", "--format", "blocks")
    coloured, plain = tui_gen(*command), tui_gen(*command, NO_COLOR="1")
    assert coloured.stdout.decode().count("▀") == plain.stdout.decode().count("█") == 12
    assert b"\x1b[" in coloured.stdout
    assert b"\x1b" not in plain.stdout


def test_a_png_goes_to_a_file_or_to_a_pipe(tui_gen: Run, tmp_path: Path) -> None:
    command = ("generate", "image", "bright", "-t", "0", "-n", "2", "--format", "png")
    tui_gen(*command, "-o", str(tmp_path / "two.png"))
    content = (tmp_path / "two.png").read_bytes()
    assert tui_gen(*command).stdout == content
    with Image.open(io.BytesIO(content)) as opened:
        assert opened.size == (13 * 85, 4 * 85)
        assert opened.getpixel((0, 0)) == (255, 255, 255, 255)


def test_output_goes_to_the_file_that_is_named(tui_gen: Run, tmp_path: Path) -> None:
    done = tui_gen("generate", "text", "the", "-t", "0", "-o", str(tmp_path / "out.txt"))
    assert done.stdout == b""
    assert (tmp_path / "out.txt").read_text() == f"the {toys.GREEDY_TEXT}\n"


def test_models_lists_what_is_installed(tui_gen: Run, toy_models: Path) -> None:
    entries = {entry["name"]: entry for entry in json.loads(tui_gen("models", "--json").stdout)}
    assert entries["image"]["path"] == str(toy_models / "image")
    assert entries["image"]["kind"] == "image"
    rows = tui_gen("models").stdout.decode().splitlines()
    assert [row.split()[0] for row in rows[1:]] == list(entries)


def test_inspect_shows_the_graph_and_the_provider_really_used(tui_gen: Run) -> None:
    shown = tui_gen("inspect", "image", "--provider", "cpu").stdout.decode()
    assert "state.position: tensor(int64)[batch]" in shown
    assert "provider        CPU\n" in shown


def test_an_audit_tells_what_was_checked_and_a_leak_fails_it(tui_gen: Run, tmp_path: Path) -> None:
    done = tui_gen("inspect", "warmed", "--audit")
    assert (done.returncode, b"audit           changed 21 pixels" in done.stdout) == (0, True)
    done = tui_gen("inspect", "--audit", str(toys.image_folder(tmp_path / "leaky", graph=toys.image_graph(leaky=True))))
    assert done.returncode == 1
    assert b"tui-gen: samples of a batch influence each other: the logits at row" in done.stderr
    done = tui_gen("inspect", "text", "--audit")
    assert (done.returncode, done.stderr.count(b"\n"), done.stdout) == (2, 1, b"")


def test_help_and_version_go_to_stdout(tui_gen: Run) -> None:
    assert tui_gen("--version").stdout.decode() == f"tui-gen {__version__}\n"
    for words in (
        ["--help"],
        ["generate", "--help"],
        ["models", "--help"],
        ["inspect", "--help"],
        ["learned", "--help"],
    ):
        done = tui_gen(*words)
        assert (done.returncode, done.stderr) == (0, b"")
        assert done.stdout.startswith(b"usage: tui-gen")
