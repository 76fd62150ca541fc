"""`tui-gen generate`: texts, pictures, completions and sweeps."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.conftest import Run
from tests.support import toys
from tui_gen.images.encode import png
from tui_gen.library import LoadedModel
from tui_gen.sampling.step import Step


def test_the_prompt_and_its_continuation_go_to_stdout_and_the_rest_to_stderr(tui_gen: Run) -> None:
    done = tui_gen("generate", "text", "The", "-t", "0", "--seed", "7")
    assert done.returncode == 0
    assert done.stdout.decode() == f"the {toys.GREEDY_TEXT}\n"
    [report] = done.stderr.decode().splitlines()
    assert report.startswith("tui-gen: text · CPU")
    assert "temperature 0 · seed 7 · 13 tokens in" in report


def test_a_seed_that_was_not_chosen_is_told_so_that_the_text_can_be_had_again(tui_gen: Run) -> None:
    first = tui_gen("generate", "endless", "-l", "60")
    seed = first.stderr.decode().split("seed ")[1].split()[0]
    again, other = (tui_gen("generate", "endless", "-l", "60", "--seed", number) for number in (seed, seed + "1"))
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


def test_unknown_words_are_told_and_the_run_goes_on(tui_gen: Run) -> None:
    done = tui_gen("generate", "text", "the zebra", "-t", "0")
    assert done.returncode == 0
    assert done.stdout.startswith(b"the <unk>.")
    assert done.stderr.startswith(b"tui-gen: text does not know zebra and reads it as unknown\n")


def test_a_dash_reads_the_prompt_from_stdin(tui_gen: Run) -> None:
    for stdin in (b"the cat\n", b"the cat", b"the\r\ncat\r\n"):
        assert tui_gen("generate", "text", "-", "-t", "0", stdin=stdin).stdout.startswith(b"the cat sat.")


def test_ctrl_c_writes_every_sample_as_far_as_it_came_also_to_a_file(
    tui_gen: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def interrupted(steps: Iterator[Step], bundle: type[list[Step]]) -> Iterator[list[Step]]:
        for step in islice(steps, 1 + 20):
            yield bundle([step])
        raise KeyboardInterrupt

    command = ("generate", "endless", "the", "-n", "2", "--seed", "3")
    whole = tui_gen(*command, "-l", "20")
    monkeypatch.setattr("tui_gen.cli.generate.frames", interrupted)
    done = tui_gen(*command, "-l", "1000000")
    assert (done.returncode, done.stdout) == (130, whole.stdout)
    assert b"seed 3 \xc2\xb7 40 tokens in" in done.stderr
    assert tui_gen(*command, "-l", "1000000", "-o", str(tmp_path / "out.txt")).returncode == 130
    assert (tmp_path / "out.txt").read_bytes() == whole.stdout


@pytest.fixture
def bright(tmp_path: Path, image: LoadedModel) -> Path:
    """A white picture for the toy model."""
    picture: Any = image.codec.picture(1)  # type: ignore[union-attr]
    picture.preset(np.full((toys.HEIGHT, toys.WIDTH), 2))
    (tmp_path / "bright.png").write_bytes(png(picture))
    return tmp_path / "bright.png"


def small(content: bytes, scale: int = 85) -> Any:
    """The pixels [height, width, 4] of a PNG that was enlarged."""
    with Image.open(io.BytesIO(content)) as opened:
        return np.asarray(opened)[::scale, ::scale].astype(int)


def test_a_png_goes_to_a_file_or_to_a_pipe(tui_gen: Run, tmp_path: Path) -> None:
    command = ("generate", "image", "bright", "-t", "0", "-n", "2", "--format", "png")
    assert tui_gen(*command, "-o", str(tmp_path / "two.png")).stdout == b""
    content = (tmp_path / "two.png").read_bytes()
    assert tui_gen(*command).stdout == content
    assert small(content).shape == (4, 13, 4)
    assert small(content)[0, 0].tolist() == [255, 255, 255, 255]


def test_what_is_erased_is_drawn_and_the_rest_stays(tui_gen: Run, bright: Path) -> None:
    parts = ("--erase", "rows:2-3", "--erase", "pixel:5,0")
    done = tui_gen("generate", "image", "-t", "0", "-n", "2", "--image", str(bright), *parts, "--format", "png")
    assert done.returncode == 0
    expected = np.full((4, 6), 255)
    expected[2:], expected[0, 5] = toys.STRIPE_GREYS[2:], toys.STRIPE_GREYS[0, 5]
    for left in (0, 7):
        np.testing.assert_array_equal(small(done.stdout)[:, left : left + 6, 0], expected)
    [report] = done.stderr.decode().splitlines()
    assert " 26 tokens in " in report


def test_transparent_pixels_are_free_so_a_picture_that_was_cut_short_can_be_gone_on_with(
    tui_gen: Run, tmp_path: Path
) -> None:
    cut = tmp_path / "cut.png"
    tui_gen("generate", "image", "bright", "-t", "0", "-l", "9", "--format", "png", "-o", str(cut))
    done = tui_gen("generate", "image", "-t", "0", "--image", str(cut), "--format", "png")
    pixels = small(done.stdout)[..., 0].ravel()
    assert (pixels[:9] == 255).all()
    assert (pixels[9:] == toys.STRIPE_GREYS.ravel()[9:]).all()


def test_the_length_of_a_completion_counts_what_is_drawn_and_0_shows_what_the_model_is_given(
    tui_gen: Run, bright: Path
) -> None:
    command = ("generate", "image", "--image", str(bright), "--erase", "rows:0-1", "-t", "0", "-l")
    assert tui_gen(*command, "0").stdout.decode().splitlines() == ["·" * 6, "@" * 6]
    assert b" 8 tokens in " in tui_gen(*command, "8").stderr


def test_json_lines_tell_the_places_of_what_was_drawn(tui_gen: Run, bright: Path) -> None:
    parts = ("--erase", "pixel:4,1", "--erase", "rows:3")
    done = tui_gen("generate", "image", "-n", "2", "--image", str(bright), *parts, "--format", "jsonl")
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    places = [(line["index"], line["row"], line["col"]) for line in lines if line["sample"] == 1]
    assert places == [(0, 1, 4), *((1 + col, 3, col) for col in range(6))]


def test_a_picture_with_nothing_free_is_remarked_upon(tui_gen: Run, bright: Path) -> None:
    done = tui_gen("generate", "image", "--image", str(bright))
    assert (done.returncode, done.stdout) == (0, b"@@@@@@\n@@@@@@\n")
    remark, report = done.stderr.decode().splitlines()
    assert remark.endswith("so all of it is kept; --erase says what to draw anew")
    assert " 0 tokens in " in report


def test_each_text_of_a_sweep_stands_under_its_value_and_equals_a_run_of_its_own(tui_gen: Run) -> None:
    command = ("generate", "text", "the", "--seed", "3")
    swept = tui_gen(*command, "--sweep", "temperature=0,1,3")
    alone = [tui_gen(*command, "-t", value).stdout.decode() for value in ("0", "1", "3")]
    headings = [f"--- temperature {value} ---\n" for value in ("0.00", "1.00", "3.00")]
    assert swept.stdout.decode() == "".join(map("".join, zip(headings, alone, strict=True)))
    assert b"temperature 0.00/1.00/3.00 \xc2\xb7 seed 3" in swept.stderr
    assert tui_gen(*command, "--sweep", "temperature=0").stdout.decode() == alone[0]


def test_json_lines_of_a_sweep_name_the_knob_and_its_value(tui_gen: Run) -> None:
    for model, place in (("endless", ["text"]), ("image", ["row", "col"])):
        done = tui_gen("generate", model, "-l", "4", "--sweep", "min_p=0.5,off", "--format", "jsonl")
        lines = [json.loads(line) for line in done.stdout.splitlines()]
        assert list(lines[0]) == ["sample", "knob", "value", "index", "id", *place, "logprob", "entropy", "ms"]
        assert {(line["sample"], line["knob"], line["value"]) for line in lines} == {(0, "min_p", 0.5), (1, "min_p", 0)}


@pytest.mark.parametrize(
    ("words", "status", "reason"),
    [
        ("text -t -1", 2, "temperature must be from 0 to 10, not -1.0"),
        ("text -t warm", 2, "invalid float value: 'warm'"),
        ("text --top-k -1", 2, "top-k must be 0 (off) or more, not -1"),
        ("text --top-p 1.5", 2, "top-p must be from 0 to 1, not 1.5"),
        ("text --min-p nan", 2, "min-p must be from 0 to 1, not nan"),
        ("text -l -1", 2, "must be a whole number of at least 0, not '-1'"),
        ("text -l many", 2, "must be a whole number of at least 0, not 'many'"),
        ("text -n 0", 2, "must be a whole number from 1 to 4096, not '0'"),
        ("text --seed -1", 2, "must be a whole number of at least 0, not '-1'"),
        ("text --format png", 2, "text writes text; --format png is for pictures"),
        ("text --format tiff", 2, "invalid choice: 'tiff'"),
        ("text --provider tpu", 2, "invalid choice: 'tpu'"),
        ("letters xyz", 1, "letters has never seen 'x'"),
        ("image red --image BRIGHT", 1, "image cannot draw 'red'; it knows bright, deep dark"),
        ("text --image BRIGHT", 2, "text writes text; --image and --erase are for models that draw pictures"),
        ("text --erase rows:1", 2, "text writes text; --image and --erase are for"),
        ("image --erase rows:1", 2, "--erase needs a picture to erase from; add --image FILE"),
        ("image --image BRIGHT --erase half", 2, "what to erase is rows:14-27, "),
        ("image --image BRIGHT --erase rows:3-4", 2, "3-4 is not inside the picture: columns 0-5, rows 0-3"),
        ("image --image /no/such/file", 1, "/no/such/file cannot be read: No such file or directory"),
        ("image --image /", 1, "/ is not a file"),
        ("text --sweep warmth", 2, "--sweep turns temperature, top-k, top-p or min-p, not 'warmth'"),
        ("text --sweep temperature -n 3", 2, "--sweep makes one sample of each value; leave out -n 3"),
        ("text --sweep temperature=0,11", 2, "temperature must be from 0 to 10, not 11.0"),
        ("text", 1, "precious exists already and is left as it is; choose another name"),
    ],
)
def test_a_run_that_cannot_be_is_told_in_one_line_and_no_file_is_touched(
    words: str, status: int, reason: str, tui_gen: Run, bright: Path, tmp_path: Path
) -> None:
    (tmp_path / "precious").write_text("years of work")
    done = tui_gen("generate", *words.replace("BRIGHT", str(bright)).split(), "-o", str(tmp_path / "precious"))
    assert (done.returncode, done.stdout) == (status, b"")
    [line] = done.stderr.decode().splitlines()
    assert reason in line
    assert (tmp_path / "precious").read_text() == "years of work"


def test_logits_that_are_not_finite_end_the_run_with_their_place(tui_gen: Run, tmp_path: Path) -> None:
    table = toys.BIGRAMS.copy()
    table[toys.CAT, 0] = float("nan")
    folder = toys.text_folder(tmp_path / "nan", graph=toys.text_graph(table))
    done = tui_gen("generate", str(folder), "the", "-t", "0")
    assert (done.returncode, done.stdout) == (1, b"the cat\n")
    assert done.stderr.decode().splitlines() == [
        "tui-gen: the model gave non-finite logits at position 3: its weights are damaged or it overflows"
    ]
