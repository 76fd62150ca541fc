"""`tui-gen look` as a person with a notebook uses it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from tests.conftest import Run
from tests.support import toys

SHIPPED = Path(__file__).parents[2] / "models"


def test_gates_and_states_come_as_arrays_with_the_tokens_and_their_scores(tui_gen: Run, tmp_path: Path) -> None:
    text = "What light through yonder window breaks?"
    done = tui_gen("look", str(SHIPPED / "shakespeare"), "-", "-o", str(tmp_path / "a.npz"), stdin=text.encode())
    assert done.returncode == 0
    assert not done.stdout
    assert b"41 tokens; embedding 64, layer0.reset_gate 256" in done.stderr
    with np.load(tmp_path / "a.npz") as arrays:
        assert arrays["tokens"].shape == arrays["logprobs"].shape == (len(text) + 1,)
        layers = {
            f"layer{number}.{name}"
            for number in (0, 1)
            for name in ("reset_gate", "update_gate", "candidate", "hidden")
        }
        assert set(arrays) == {"tokens", "logprobs", "embedding", *layers}
        assert all(arrays[name].shape == (len(text) + 1, 256) for name in layers)
        before = np.concatenate([np.zeros((1, 256)), arrays["layer1.hidden"][:-1]])
        update = arrays["layer1.update_gate"]
        expected = (1 - update) * arrays["layer1.candidate"] + update * before
        assert np.allclose(arrays["layer1.hidden"], expected, rtol=0, atol=1e-5)
        bits = -arrays["logprobs"][1:].sum() / np.log(2)
    scored = tui_gen("score", str(SHIPPED / "shakespeare"), "-", "--format", "jsonl", stdin=text.encode())
    total = json.loads(scored.stdout.splitlines()[-1])["total"]
    assert total["bits"] == pytest.approx(bits, abs=1e-3)


def test_what_a_prediction_rests_on_is_printed_a_token_a_line(tui_gen: Run) -> None:
    done = tui_gen("look", str(SHIPPED / "names"), "--influence", "5", stdin=b"annabel")
    lines = [line.split() for line in done.stdout.decode().splitlines()]
    assert [piece for _, piece in lines] == ["a", "n", "n", "a"]
    assert all(float(bits) > 0 for bits, _ in lines)


def test_a_model_without_names_says_so_and_gives_what_there_is(tui_gen: Run, tmp_path: Path) -> None:
    done = tui_gen("look", "text", "-o", str(tmp_path / "a.npz"), stdin=b"the cat sat")
    assert done.returncode == 0
    assert b"nothing inside has a name" in done.stderr
    with np.load(tmp_path / "a.npz") as arrays:
        assert set(arrays) == {"tokens", "logprobs"}
        assert arrays["tokens"].tolist() == [toys.END, toys.THE, toys.CAT, toys.SAT]


def test_a_picture_is_looked_into_by_its_file(tui_gen: Run, tmp_path: Path) -> None:
    tui_gen("generate", "image", "bright", "--format", "png", "-o", str(tmp_path / "a.png"))
    done = tui_gen("look", "image", str(tmp_path / "a.png"), "--prompt", "bright", "-o", str(tmp_path / "a.npz"))
    assert done.returncode == 0, done.stderr
    with np.load(tmp_path / "a.npz") as arrays:
        assert len(arrays["tokens"]) == 2 + toys.HEIGHT * toys.WIDTH


def test_what_a_pixel_rests_on_is_printed_by_row_and_column(tui_gen: Run, tmp_path: Path) -> None:
    tui_gen("generate", "image", "bright", "--format", "png", "-o", str(tmp_path / "a.png"))
    words = ("look", "image", str(tmp_path / "a.png"), "--prompt", "bright", "--influence")
    lines = tui_gen(*words, "1,2").stdout.decode().splitlines()
    places = [(row, column) for row in range(2) for column in range(toys.WIDTH) if (row, column) < (1, 2)]
    assert [line.split(maxsplit=1)[1] for line in lines] == [
        "the prompt",
        *(f"row {row}, column {column}" for row, column in places),
    ]
    assert float(lines[0].split()[0]) > 1
    assert lines == tui_gen(*words, f"{toys.WIDTH + 3}").stdout.decode().splitlines()
    done = tui_gen(*words, "1,2", "-o", str(tmp_path / "a.npz"))
    assert done.returncode == 0, done.stderr
    with np.load(tmp_path / "a.npz") as arrays:
        assert arrays["influence"].shape == (toys.HEIGHT, toys.WIDTH)
        assert arrays["prompt_influence"] == pytest.approx(float(lines[0].split()[0]), abs=1e-3)
    wrong = tui_gen(*words, "4,0")
    assert (wrong.returncode, b"or ROW,COLUMN from 0,0 to 3,5, not 4,0" in wrong.stderr) == (2, True)


@pytest.mark.parametrize(
    ("words", "status", "message"),
    [
        (("text",), 2, "name a file with -o, or a token with --influence"),
        (("text", "--influence", "1"), 2, "takes a token from 2 to 3 of this text, not 1"),
        (("image", "-o", "a.npz"), 2, "a picture is read from a file"),
        (("text", "nothing.txt", "-o", "a.npz"), 1, "nothing.txt cannot be read"),
    ],
)
def test_what_is_wrong_is_told_in_one_line(words: tuple[str, ...], status: int, message: str, tui_gen: Run) -> None:
    done = tui_gen("look", *words, stdin=b"the cat sat")
    assert (done.returncode, done.stdout) == (status, b"")
    assert message in done.stderr.decode()
    assert done.stderr.count(b"\n") == 1


def test_a_file_that_exists_is_left_as_it_is(tui_gen: Run, tmp_path: Path) -> None:
    (tmp_path / "a.npz").write_text("mine")
    done = tui_gen("look", "text", "-o", str(tmp_path / "a.npz"), stdin=b"the cat")
    assert done.returncode == 1
    assert (tmp_path / "a.npz").read_text() == "mine"
