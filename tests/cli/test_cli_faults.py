"""Every failure ends in one line on stderr that says what is wrong: status 2 for wrong usage, 1 for the rest."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import Run
from tests.support import toys
from tui_gen.runtime.cuda import missing_driver

without_cuda = pytest.mark.skipif(not missing_driver(), reason="this machine has an NVIDIA driver")


@pytest.fixture
def complaint(tui_gen: Run) -> Callable[..., tuple[int, str]]:
    """Runs a command that must fail; returns its status and its one line."""

    def run(*words: str) -> tuple[int, str]:
        done = tui_gen(*words)
        assert done.stdout == b""
        [line] = done.stderr.decode().splitlines()
        assert line.startswith("tui-gen")
        return done.returncode, line

    return run


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        ("generate text -t -1", "temperature must be from 0 to 10, not -1.0"),
        ("generate text -t nan", "temperature must be from 0 to 10, not nan"),
        ("generate text -t 11", "temperature must be from 0 to 10, not 11.0"),
        ("generate text -t warm", "invalid float value: 'warm'"),
        ("generate text --top-k -1", "top-k must be 0 (off) or more, not -1"),
        ("generate text --top-p 1.5", "top-p must be from 0 to 1, not 1.5"),
        ("generate text --min-p nan", "min-p must be from 0 to 1, not nan"),
        ("generate text -l -1", "must be a whole number of at least 0, not '-1'"),
        ("generate text -l many", "must be a whole number of at least 0, not 'many'"),
        ("generate text -n 0", "must be a whole number from 1 to 4096, not '0'"),
        ("generate text --seed -1", "must be a whole number of at least 0, not '-1'"),
        ("generate text --format png", "text writes text; --format png is for pictures"),
        ("generate image --format text", "use --format ascii, blocks, png, gif or jsonl"),
        ("generate text --format tiff", "invalid choice: 'tiff'"),
        ("generate text --provider tpu", "invalid choice: 'tpu'"),
        ("generate", "required: MODEL"),
        ("generate text two prompts", "unrecognized arguments: prompts"),
        ("inspect", "required: MODEL"),
        ("--nonsense", "unrecognized arguments: --nonsense"),
        ("text", "without one, use `tui-gen generate`"),
        ("", "without one, use `tui-gen generate`"),
    ],
)
def test_wrong_usage_is_status_2(words: str, reason: str, complaint: Callable[..., tuple[int, str]]) -> None:
    status, line = complaint(*words.split())
    assert (status, reason in line) == (2, True), line


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        ("generate tetx", "there is no model 'tetx', by name or as a folder; installed: endless, grimm, letters, "),
        ("inspect tetx", "there is no model 'tetx'"),
        ("generate letters xyz", "letters has never seen 'x'"),
        ("generate image red", "image cannot draw 'red'; it knows bright, deep dark"),
        ("generate text -o /no/such/folder/file", "/no/such/folder/file"),
        ("generate text -o /", "/"),
        pytest.param(
            "generate text --provider cuda", "CUDA cannot be used: no NVIDIA driver found", marks=without_cuda
        ),
    ],
)
def test_a_failure_is_status_1(words: str, reason: str, complaint: Callable[..., tuple[int, str]]) -> None:
    status, line = complaint(*words.split())
    assert (status, reason in line) == (1, True), line


@pytest.mark.parametrize("command", ["generate", "inspect"])
@pytest.mark.parametrize("file", ["config.json", "model.onnx", "tokenizer.json"])
def test_a_damaged_folder_is_named_with_its_file(
    command: str, file: str, tmp_path: Path, complaint: Callable[..., tuple[int, str]]
) -> None:
    folder = toys.spoil(toys.text_folder(tmp_path / "toy"), file, b"\x00damaged\nin two lines")
    status, line = complaint(command, str(folder))
    assert status == 1
    assert str(folder / file) in line


def test_a_prompt_in_place_of_the_model_is_an_unknown_model_however_long(
    complaint: Callable[..., tuple[int, str]],
) -> None:
    status, line = complaint("generate", "a prompt that is far too long for a file name " * 10)
    assert status == 1
    assert "there is no model" in line


def test_a_name_from_a_folder_cannot_talk_to_the_terminal(
    tmp_path: Path, complaint: Callable[..., tuple[int, str]]
) -> None:
    folder = toys.character_folder(tmp_path / "evil", name="\x1b]0;evil\x07\n")
    _, line = complaint("generate", str(folder), "xyz")
    assert "\x1b" not in line


def test_logits_that_are_not_finite_end_the_run_with_their_place(tui_gen: Run, tmp_path: Path) -> None:
    table = toys.BIGRAMS.copy()
    table[toys.CAT, 0] = float("nan")
    folder = toys.text_folder(tmp_path / "nan", graph=toys.text_graph(table))
    done = tui_gen("generate", str(folder), "the", "-t", "0")
    assert (done.returncode, done.stdout) == (1, b"the cat\n")
    assert done.stderr.decode().splitlines() == [
        "tui-gen: the model gave non-finite logits at token 3: its weights are damaged or it overflows"
    ]


def test_a_wrong_format_leaves_the_file_alone_that_it_would_have_replaced(
    tmp_path: Path, complaint: Callable[..., tuple[int, str]]
) -> None:
    (tmp_path / "precious").write_text("years of work")
    assert complaint("generate", "text", "--format", "png", "-o", str(tmp_path / "precious"))[0] == 2
    assert (tmp_path / "precious").read_text() == "years of work"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
def test_a_full_disk_is_told_in_one_line(complaint: Callable[..., tuple[int, str]]) -> None:
    for words in ("generate text", "generate image --format png"):
        status, line = complaint(*words.split(), "-o", "/dev/full")
        assert (status, "No space left on device" in line) == (1, True)


def test_verbose_shows_where_it_failed_and_ends_with_the_same_line(tui_gen: Run) -> None:
    quiet, verbose = (tui_gen("generate", "tetx", *option).stderr.decode() for option in ([], ["-v"]))
    assert verbose.startswith("Traceback (most recent call last):")
    assert "in locate" in verbose
    assert verbose.endswith(quiet)


def test_a_file_that_is_there_is_never_overwritten(tui_gen: Run, tmp_path: Path) -> None:
    kept = tmp_path / "kept.txt"
    kept.write_text("mine", encoding="utf-8")
    result = tui_gen("generate", "text", "-o", str(kept))
    assert result.returncode == 1
    assert b"exists already and is left as it is; choose another name" in result.stderr
    assert kept.read_text(encoding="utf-8") == "mine"
