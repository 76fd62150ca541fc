"""A text that is to be read is the content of a file, or what is pasted."""

from __future__ import annotations

from pathlib import Path

import pytest

from tui_gen.errors import TuiGenError
from tui_gen.tui.dialogs.given_text import GivenText, given_text


def test_a_file_is_read_as_far_as_a_screen_shows_it_and_a_line_of_words_is_a_text(tmp_path: Path) -> None:
    (tmp_path / "short.txt").write_bytes(b"one two\r\nthree\n")
    (tmp_path / "long.txt").write_text("word " * 20_000)
    assert given_text(f" {tmp_path}/short.txt ") == GivenText("short.txt", "one two\nthree\n")
    long = given_text(f"{tmp_path}/long.txt")
    assert long.is_cut
    assert 64_000 < len(long.text) <= 65_536
    assert long.text.endswith(" word")
    assert given_text("to be\nor not") == GivenText("text", "to be\nor not")


def test_what_cannot_be_read_is_said(tmp_path: Path) -> None:
    (tmp_path / "picture.png").write_bytes(b"\x89PNG\0\xff")
    (tmp_path / "empty.txt").write_text(" \n")
    for line, fault in {
        "": "type the name of a file",
        "nowhere.txt": "there is no file 'nowhere.txt'",
        str(tmp_path): "there is no file",
        "x" * 5000: "there is no file 'xxx",
        f"{tmp_path}/picture.png": "picture.png is not UTF-8 text",
        f"{tmp_path}/empty.txt": "empty.txt holds no text",
    }.items():
        with pytest.raises(TuiGenError, match=fault):
            given_text(line)
