"""Files that are written and never take the place of another."""

from __future__ import annotations

import io
import os
import shutil
import sys
import threading
from pathlib import Path

import pytest

from tui_gen.errors import TuiGenError
from tui_gen.files import free_path, open_regular, read_bytes, replace_file, temporary_folder, write_new


def test_each_file_has_the_next_number_and_those_before_it_stay(tmp_path: Path) -> None:
    for number in range(1, 4):
        path = free_path(tmp_path, "recipes", ".txt")
        assert path.name == f"recipes-{number}.txt"
        write_new(path, b"%d" % number)
    assert [path.read_text() for path in sorted(tmp_path.iterdir())] == ["1", "2", "3"]


def test_a_gap_is_filled_and_another_suffix_counts_by_itself(tmp_path: Path) -> None:
    (tmp_path / "a-1.txt").touch()
    (tmp_path / "a-3.txt").touch()
    (tmp_path / "a-2.png").touch()
    assert free_path(tmp_path, "a", ".txt") == tmp_path / "a-2.txt"


def test_a_link_that_leads_nowhere_takes_a_name(tmp_path: Path) -> None:
    (tmp_path / "a-1.txt").symlink_to(tmp_path / "elsewhere")
    assert free_path(tmp_path, "a", ".txt").name == "a-2.txt"
    with pytest.raises(TuiGenError, match="exists already"):
        write_new(tmp_path / "a-1.txt", b"x")
    assert not (tmp_path / "elsewhere").exists()


@pytest.mark.parametrize(
    ("stem", "name"),
    [
        ("../../etc/passwd", "etc-passwd-1.txt"),
        ("/abs/olute", "abs-olute-1.txt"),
        ("\x1b]0;evil\x07\n", "0-evil-1.txt"),
        (".hidden", "hidden-1.txt"),
        ("", "output-1.txt"),
        ("né à 2", "né-à-2-1.txt"),
        ("long" * 100, "long" * 20 + "-1.txt"),
    ],
)
def test_a_models_name_cannot_lead_out_of_the_folder(stem: str, name: str, tmp_path: Path) -> None:
    assert free_path(tmp_path, stem, ".txt") == tmp_path / name


def test_of_those_who_write_a_file_at_the_same_time_one_does_and_the_others_are_told(tmp_path: Path) -> None:
    refusals: list[str] = []

    def write(word: bytes) -> None:
        try:
            write_new(tmp_path / "a", word)
        except TuiGenError as fault:
            refusals.append(str(fault))

    writers = [threading.Thread(target=write, args=(bytes([letter]),)) for letter in b"abcdefgh"]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert refusals == [f"{tmp_path / 'a'} exists already and is left as it is; choose another name"] * 7
    assert len((tmp_path / "a").read_bytes()) == 1


def test_what_cannot_be_written_is_told_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for folder, reason in ((tmp_path / "none", "No such file or directory"), (tmp_path / "file", "Not a directory")):
        with pytest.raises(TuiGenError, match=rf"a-1\.txt cannot be written: {reason}"):
            write_new(folder / "a-1.txt", b"x")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs pipes with names")
@pytest.mark.parametrize("place", ["pipe", "link to a device", "folder"])
def test_what_is_no_file_is_neither_waited_for_nor_read_without_end(place: str, tmp_path: Path) -> None:
    path = tmp_path / "file"
    if place == "pipe":
        os.mkfifo(path)
    elif place == "folder":
        path.mkdir()
    else:
        path.symlink_to("/dev/zero")
    with pytest.raises(TuiGenError, match="file is not a file"):
        read_bytes(path)
    for flags in (os.O_RDONLY, os.O_WRONLY | os.O_CREAT):
        with pytest.raises(OSError, match="file"):
            open_regular(path, flags, follow=False)


@pytest.mark.skipif(not hasattr(os, "SEEK_HOLE"), reason="this system tells nothing of holes")
def test_a_large_file_that_the_disk_has_little_of_is_not_read(tmp_path: Path) -> None:
    path, size = tmp_path / "model.onnx", 2**26
    with open(path, "wb") as file:
        file.truncate(size)
    with pytest.raises(TuiGenError, match=r"is not whole: of its 64 MiB only 0 are on the disk; copy or download it"):
        read_bytes(path)
    with open(path, "r+b") as file:
        file.write(bytes(size // 2))
    assert read_bytes(path) == bytes(size)


@pytest.mark.skipif(sys.platform == "win32", reason="has no such locks")
def test_temporary_folders_of_the_dead_are_removed_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    precious = tmp_path / "mine" / "precious"
    precious.mkdir(parents=True)
    with temporary_folder() as living:
        dead = living.with_name(f"{living.name}-dead")
        shutil.copytree(precious.parent, dead)
        (dead / "link").symlink_to(precious.parent)
        young = living.with_name(f"{living.name}-young")
        young.mkdir()
        link = living.with_name(f"{living.name}-link")
        link.symlink_to(precious.parent)
        for path in (living, dead, precious.parent):
            os.utime(path, (0, 0))
        os.utime(link, (0, 0), follow_symlinks=False)
        with temporary_folder():
            assert {path for path in tmp_path.iterdir() if not dead.exists()} >= {living, young, link}
    assert {*tmp_path.iterdir()} == {young, link, precious.parent}
    assert precious.exists()


def test_what_stands_where_the_new_content_is_written_is_not_followed(tmp_path: Path) -> None:
    precious, path = tmp_path / "precious", tmp_path / "notes"
    precious.write_text("mine")
    (tmp_path / "notes.tmp").symlink_to(precious)
    replace_file(path, b"new")
    assert (precious.read_text(), path.read_text()) == ("mine", "new")
    assert {entry.name for entry in tmp_path.iterdir()} == {"precious", "notes"}


def test_a_full_disk_leaves_no_half_of_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Full(io.FileIO):
        def write(self, content: object) -> int:
            raise OSError(28, "No space left on device")

    monkeypatch.setattr("builtins.open", Full)
    with pytest.raises(TuiGenError, match=r"a-1\.bin cannot be written: No space left on device"):
        write_new(tmp_path / "a-1.bin", b"x")
    assert list(tmp_path.iterdir()) == []
