"""`tui-gen generate`: texts, pictures, completions and sweeps."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.conftest import Run
from tests.support import hostile, toys
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


@pytest.mark.parametrize(
    "words", ["text --trust The -t 0", "-t 0 --trust text The", "--trust text -t 0 -- The", "text The --trust -t 0"]
)
def test_the_prompt_stands_before_options_behind_them_or_between(tui_gen: Run, words: str) -> None:
    assert tui_gen("generate", *words.split()).stdout.decode() == f"the {toys.GREEDY_TEXT}\n"


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


def test_a_graph_without_its_folder_does_what_it_does_in_it(tui_gen: Run, toy_models: Path, tmp_path: Path) -> None:
    (tmp_path / "text.txt").write_text("the cat sat.")
    file = str(toys.lone_file(tmp_path / "alone.onnx", toy_models / "text"))
    for before, after in ((["generate"], ["the", "--seed", "7"]), (["score"], [str(tmp_path / "text.txt")])):
        alone, whole = (tui_gen(*before, model, *after) for model in (file, "text"))
        assert alone.stdout == whole.stdout != b""
    assert f"{'file':15} {file}" in tui_gen("inspect", file).stdout.decode()


def test_a_model_that_takes_all_memory_for_some_number_of_samples_is_told_in_a_line(
    tui_gen: Run, tmp_path: Path
) -> None:
    folder = str(toys.text_folder(tmp_path / "sudden", graph=hostile.sudden(5).SerializeToString()))
    assert tui_gen("generate", folder, "the", "-n", "4", "-l", "1").returncode == 0
    done = tui_gen("generate", folder, "the", "-n", "5", "-l", "1")
    assert done.returncode == 1
    assert done.stderr == b"tui-gen: there is not enough memory for a step of so many samples; ask for fewer\n"


def test_a_model_that_takes_all_memory_after_some_tokens_is_told_in_a_line(tui_gen: Run, tmp_path: Path) -> None:
    folder = str(toys.endless_text_folder(tmp_path / "late", graph=hostile.late(20).SerializeToString()))
    assert b"(its If) depends on the tokens that it reads" in tui_gen("generate", folder).stderr
    done = tui_gen("generate", folder, "the", "-l", "60", "--trust")
    assert done.returncode == 1
    assert done.stderr == b"tui-gen: there is not enough memory for a step of so many samples; ask for fewer\n"


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
    monkeypatch.setattr("tui_gen.generation.pacing.frames", interrupted)
    done = tui_gen(*command, "-l", "1000000")
    assert (done.returncode, done.stdout) == (130, whole.stdout)
    assert b"seed 3 \xc2\xb7 40 tokens in" in done.stderr
    assert tui_gen(*command, "-l", "1000000", "-o", str(tmp_path / "out.txt")).returncode == 130
    assert (tmp_path / "out.txt").read_bytes() == whole.stdout


def test_many_samples_are_a_line_each_in_a_pipe_and_numbered_on_a_terminal(tui_gen: Run) -> None:
    command = ("generate", "text", "the", "-n", "50", "--seed", "3")
    lines = tui_gen(*command).stdout.decode().splitlines()
    assert len(lines) == 50
    assert tui_gen(*command, "-0").stdout.decode().split("\0") == [*lines, ""]
    shown = tui_gen(*command, terminal=True).stdout.decode().splitlines()
    assert shown[::2] == [f"--- {number} of 50 ---" for number in range(1, 51)]
    assert shown[1::2] == lines


def test_a_sample_is_an_object_that_agrees_with_its_tokens(tui_gen: Run) -> None:
    command = ("generate", "text", "the", "-n", "8", "--seed", "3", "-t", "2", "-l", "6", "--format")
    tokens = [json.loads(line) for line in tui_gen(*command, "jsonl").stdout.splitlines()]
    samples = [json.loads(line) for line in tui_gen(*command, "samples").stdout.splitlines()]
    texts = tui_gen(*command, "text").stdout.decode().splitlines()
    assert [sample["tokens"] for sample in samples] == sorted(sample["tokens"] for sample in samples)
    assert sorted(sample["sample"] for sample in samples) == list(range(8))
    for sample in samples:
        assert list(sample) == ["sample", "prompt", "text", "tokens", "logprob", "ended"]
        own = [token for token in tokens if token["sample"] == sample["sample"]]
        assert (sample["prompt"], sample["text"], sample["tokens"]) == ("the", texts[sample["sample"]], len(own))
        assert sample["logprob"] == pytest.approx(sum(token["logprob"] for token in own), abs=1e-4)
        assert sample["ended"] == (own[-1]["id"] == toys.END)
    assert {sample["ended"] for sample in samples} == {True, False}


def test_any_samples_of_a_seed_can_be_drawn_by_their_numbers(tui_gen: Run) -> None:
    command = ("generate", "text", "the", "--seed", "3", "-t", "2")
    lines = tui_gen(*command, "-n", "12").stdout.splitlines()
    assert tui_gen(*command, "--first", "7", "-n", "4").stdout.splitlines() == lines[7:11]
    for form in ("samples", "jsonl"):
        rows = [json.loads(row) for row in tui_gen(*command, "--first", "11", "--format", form).stdout.splitlines()]
        assert {row["sample"] for row in rows} == {11}
    assert rows[0]["index"] == 0


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


def test_a_picture_as_an_object_has_its_levels_also_those_that_were_given(tui_gen: Run, bright: Path) -> None:
    command = ("generate", "image", "-t", "0", "--image", str(bright), "--erase", "rows:0-2", "--format", "samples")
    whole, cut = (json.loads(tui_gen(*command, *more).stdout) for more in ((), ("-l", "8")))
    assert list(whole) == ["sample", "prompt", "pixels", "tokens", "logprob", "ended"]
    assert whole["pixels"] == [*toys.STRIPES[:3].tolist(), [2] * 6]
    assert (whole["tokens"], whole["ended"]) == (18, True)
    assert cut["pixels"] == [
        toys.STRIPES[0].tolist(),
        [*toys.STRIPES[1, :2].tolist(), *[None] * 4],
        [None] * 6,
        [2] * 6,
    ]
    assert (cut["tokens"], cut["ended"]) == (8, False)


def test_a_length_of_more_than_a_picture_is_remarked_upon(tui_gen: Run) -> None:
    [remark, report] = tui_gen("generate", "image", "-l", "25").stderr.decode().splitlines()
    assert remark == "tui-gen: length 25 is a whole picture: one of image has 24 tokens"
    assert " 24 tokens in " in report


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
        done = tui_gen("generate", model, "-l", "4", "--sweep", "min_p=0.5,off", "--format", "samples")
        assert [json.loads(line)["value"] for line in done.stdout.splitlines()] == [0.5, 0]


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The folder of a model with the words of `endless`."""
    return str(toys.running_text_folder(tmp_path_factory.mktemp("models") / "running"))


def test_each_model_writes_what_it_writes_alone_under_its_name_and_their_divergence_is_told(
    tui_gen: Run, running: str
) -> None:
    words = ("the", "--seed", "3", "-l", "20", "-t", "1.2", "-n", "2")
    done = tui_gen("generate", "endless", *words, "--with", running, "--with", "endless")
    alone = [tui_gen("generate", model, *words).stdout.decode() for model in ("endless", running)]
    headings = ("--- endless ---\n", "--- running ---\n", "--- endless (2) ---\n")
    texts = (*alone, alone[0])
    assert done.stdout.decode() == "".join(map("".join, zip(headings, texts, strict=True)))
    lines = done.stderr.decode().splitlines()
    assert [line.split(" · ")[0] for line in lines[:3]] == [
        "tui-gen: endless",
        "tui-gen: running",
        "tui-gen: endless (2)",
    ]
    assert re.fullmatch(
        r"tui-gen: running: KL divergence from endless [\d.]+ bits over 40 tokens, 0.\d+ a token · 2 of 2 texts differ",
        lines[3],
    )
    assert lines[4].endswith("KL divergence from endless 0 bits over 40 tokens, 0 a token · 0 of 2 texts differ")


def test_json_lines_name_the_model_and_those_of_the_first_the_divergence_of_the_others(
    tui_gen: Run, running: str
) -> None:
    words = ("the", "--seed", "3", "-l", "9", "-n", "2", "--format", "jsonl")
    rows = [json.loads(line) for line in tui_gen("generate", "endless", *words, "--with", running).stdout.splitlines()]
    alone = [json.loads(line) for line in tui_gen("generate", running, *words).stdout.splitlines()]
    assert [row["model"] for row in rows] == ["endless"] * 18 + ["running"] * 18
    assert [(row["sample"], row["text"], row["logprob"]) for row in rows[18:]] == [
        (row["sample"], row["text"], row["logprob"]) for row in alone
    ]
    assert all(list(row["divergence"]) == ["running"] for row in rows[:18])
    cats = {row["divergence"]["running"] for row in rows[1:18] if row["sample"] == 0 and row["index"] == 1}
    assert max(cats) > 0
    total = re.search(
        rb"KL divergence from endless ([\d.]+) bits", tui_gen("generate", "endless", *words, "--with", running).stderr
    )
    assert total
    assert float(total[1]) == pytest.approx(sum(row["divergence"]["running"] for row in rows[:18]), rel=1e-3)


def test_texts_of_other_vocabularies_are_measured_in_bits_per_character(tui_gen: Run) -> None:
    done = tui_gen("generate", "text", "the", "-t", "0", "--with", "endless", "-l", "6")
    own, other = done.stderr.decode().splitlines()[-2:]
    assert re.fullmatch(r"tui-gen: text: [\d.]+ bits a character of its own text, 21 characters", own)
    assert re.match(r"tui-gen: endless: [\d.]+ bits a character of text's text, 21 characters · ", other)


def test_pictures_stand_beside_each_other_and_their_differing_pixels_are_counted(tui_gen: Run, tmp_path: Path) -> None:
    turned = toys.STRIPES.copy()
    turned[1, 2] = 1
    other = str(toys.image_folder(tmp_path / "turned", graph=toys.image_graph(turned)))
    words = ("generate", "image", "-t", "0", "-n", "2", "--with", other)
    done = tui_gen(*words, "--format", "png")
    pixels = small(done.stdout)[..., 0]
    assert pixels.shape == (9, 13)  # a row for each sample
    for top in (0, 5):
        np.testing.assert_array_equal(pixels[top : top + 4, :6], toys.STRIPE_GREYS)
        differing = np.argwhere(pixels[top : top + 4, 7:] != toys.STRIPE_GREYS)
        assert differing.tolist() == [[1, 2]]
    assert done.stderr.decode().splitlines()[-1].endswith("2 of 48 pixels differ")
    assert tui_gen(*words).stdout.decode().splitlines()[0] == "image   turned  image   turned"
    assert tui_gen(*words, "--format", "gif").stdout.startswith(b"GIF89a")


@pytest.mark.parametrize(
    ("words", "status", "reason"),
    [
        ("text --with image", 1, "text writes text and image draws pictures; models of one kind can be compared"),
        ("text --with text --with text --with text", 1, "at most 3 models are compared at once, not 4"),
        ("text the --with letters", 1, "letters has never seen 't'"),
        ("text --with nothing", 1, "there is no model 'nothing'"),
        ("image --with colour --format text", 2, "image draws pictures; use --format ascii"),
    ],
)
def test_what_cannot_be_compared_is_told_in_one_line_and_no_file_is_made(
    words: str, status: int, reason: str, tui_gen: Run, tmp_path: Path
) -> None:
    done = tui_gen("generate", *words.split(), "-o", str(tmp_path / "out"))
    assert (done.returncode, done.stdout) == (status, b"")
    [line] = done.stderr.decode().splitlines()
    assert reason in line
    assert not (tmp_path / "out").exists()


def test_the_first_models_temperature_counts_for_all_and_that_is_told(tui_gen: Run, tmp_path: Path) -> None:
    cold = str(toys.endless_text_folder(tmp_path / "cold", temperature=0))
    done = tui_gen("generate", cold, "the", "-l", "9", "--with", "endless")
    first, second = done.stdout.decode().split("--- endless ---\n")
    assert first == f"--- cold ---\n{second}"
    assert b"tui-gen: endless takes temperature 0 from cold\n" in done.stderr


def test_ctrl_c_in_a_comparison_leaves_what_was_made(
    tui_gen: Run, running: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(steps: Iterator[Step], bundle: type[list[Step]]) -> Iterator[list[Step]]:
        for step in islice(steps, 1 + 20):
            yield bundle([step])
        raise KeyboardInterrupt

    whole = tui_gen("generate", "endless", "the", "--seed", "3", "-l", "20")
    monkeypatch.setattr("tui_gen.output.comparison.frames", interrupted)
    done = tui_gen("generate", "endless", "the", "--seed", "3", "-l", "1000000", "--with", running)
    assert (done.returncode, done.stdout) == (130, b"--- endless ---\n" + whole.stdout)
    assert b"running: KL divergence from endless " in done.stderr


@pytest.mark.parametrize(
    ("words", "status", "reason"),
    [
        ("text -t -1", 2, "temperature must be from 0 to 10, not -1.0"),
        ("text -t warm", 2, "invalid float value: 'warm'"),
        ("text --top-k -1", 2, "top-k must be 0 (off) or more, not -1"),
        ("text --top-p 1.5", 2, "top-p must be from 0 to 1, not 1.5"),
        ("text --min-p nan", 2, "min-p must be from 0 to 1, not nan"),
        ("text -l -1", 2, "must be a whole number from 0 to 10000000, not '-1'"),
        ("text -l many", 2, "must be a whole number from 0 to 10000000, not 'many'"),
        ("text -n 0", 2, "must be a whole number from 1 to 4096, not '0'"),
        ("text --first -1", 2, "must be a whole number of at least 0, not '-1'"),
        ("text --first 5 --sweep top-k", 2, "leave out --sweep"),
        ("text --first 5 --with text", 2, "leave out --with"),
        ("text --seed -1", 2, "must be a whole number of at least 0, not '-1'"),
        ("text --format png", 2, "text writes text; --format png is for pictures"),
        ("text -0 --format samples", 2, "-0 ends texts with NUL; leave it out"),
        ("image -0", 2, "-0 ends texts with NUL; leave it out"),
        ("text --format tiff", 2, "invalid choice: 'tiff'"),
        ("text --provider tpu", 2, "invalid choice: 'tpu'"),
        ("letters xyz", 1, "letters has never seen 'x'"),
        ("image red --image BRIGHT", 1, "image cannot draw 'red'; it knows bright, deep dark"),
        ("text --image BRIGHT", 2, "text writes text; --image and --erase are for models that draw pictures"),
        ("text --erase rows:1", 2, "text writes text; --image and --erase are for"),
        ("image --erase rows:1", 2, "--erase needs a picture to erase from; add --image FILE"),
        ("image --image BRIGHT --erase half", 2, "what to erase is rows:14-27, "),
        ("image --image BRIGHT --erase rows:3-4", 2, "image: 3-4 is not inside the picture: columns 0-5, rows 0-3"),
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
