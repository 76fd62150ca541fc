"""The journal of a sitting: there after a crash, private, and never in the way."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.journals import JournaledTree, grow
from tui_gen.errors import TuiGenError
from tui_gen.library import LoadedModel
from tui_gen.sessions import records
from tui_gen.sessions.file import read_session
from tui_gen.sessions.journal import Journal
from tui_gen.sessions.journal_file import KEPT
from tui_gen.sessions.replay import replay
from tui_gen.sessions.session import SessionModel

RUN = """
import sys
from pathlib import Path
from tests.support.journals import JournaledTree, grow
from tui_gen.library import open_model
loaded_model = open_model(Path(sys.argv[1]), provider="cpu", threads=1)
workspace = JournaledTree(loaded_model, Path(sys.argv[2]))
branch = workspace.start("the")
while True:
    grow(branch, 50)
    workspace.now += 0.2
    workspace.journal.note_growth(branch)
    print(len(branch), flush=True)
"""

posix = pytest.mark.skipif(os.name != "posix", reason="modes and signals of POSIX")


def test_what_is_written_can_be_replayed_at_any_moment(endless: LoadedModel, tmp_path: Path) -> None:
    workspace = JournaledTree(endless, tmp_path)
    first = workspace.start("the")
    assert len(replay(read_session(workspace.file), endless).tree["1"]) == 1
    workspace.go(first, 40)
    workspace.leave(first, 30)
    replayed = replay(read_session(workspace.file), endless)
    assert replayed.exact
    assert replayed.tree["2"].tokens.tolist() == first.tokens[:30].tolist()


def test_a_running_branch_is_noted_once_a_second_and_where_another_one_leaves_it(
    endless: LoadedModel, tmp_path: Path
) -> None:
    workspace = JournaledTree(endless, tmp_path)
    branch, noted = workspace.start("the"), []
    for _ in range(30):
        grow(branch, 1)
        workspace.journal.note_growth(branch)
        noted.append(workspace.journal.session.records[1].positions)
        workspace.now += 0.125
    assert noted[:8] == [1] * 8
    assert noted[8] == 10
    assert len(set(noted)) == 4
    workspace.leave(branch, 31)
    assert replay(read_session(workspace.file), endless).exact


def test_nothing_is_written_where_nothing_happened(endless: LoadedModel, tmp_path: Path) -> None:
    workspace = JournaledTree(endless, tmp_path / "journals")
    assert workspace.journal.path is None
    assert not (tmp_path / "journals").exists()
    branch = workspace.go(workspace.start("the"), 10)
    size = workspace.file.stat().st_size
    for _ in range(5):
        workspace.now += 10
        workspace.journal.note_growth(branch, now=True)
        workspace.journal.note_shown(branch)
        workspace.journal.note_rename(branch)
    assert workspace.file.stat().st_size == size


@posix
def test_a_killed_program_leaves_a_session_that_can_be_replayed(
    toy_models: Path, endless: LoadedModel, tmp_path: Path
) -> None:
    command = [sys.executable, "-c", RUN, str(toy_models / "endless"), str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout
        for _ in range(40):
            process.stdout.readline()
        process.send_signal(signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL
    [path] = tmp_path.iterdir()
    replayed = replay(read_session(path), endless)
    assert replayed.exact
    assert len(replayed.tree["1"]) >= 35 * 50


@posix
def test_it_lies_in_the_persons_own_folder_and_nobody_else_reads_it(
    endless: LoadedModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    workspace = JournaledTree(endless, tmp_path)
    workspace.journal = Journal(endless)
    workspace.start("the")
    assert workspace.file.parent.name == "sessions"
    assert stat.S_IMODE(workspace.file.stat().st_mode) == 0o600
    assert stat.S_IMODE(workspace.file.parent.stat().st_mode) == 0o700


def test_its_name_is_harmless_whatever_the_models_is(endless: LoadedModel, tmp_path: Path) -> None:
    names = []
    for model in ("../../evil", "\x1b[31m\u202e" + "x" * 300, "...", "a b"):
        workspace = JournaledTree(endless, tmp_path / "journals")
        workspace.journal.session.models = [SessionModel(model, "text", "0" * 64)]
        workspace.start("the")
        assert workspace.file.parent == tmp_path / "journals"
        names.append(workspace.file.name)
    assert all(name.isascii() and name.isprintable() and len(name) < 80 for name in names), names
    assert len(set(names)) == 4


def test_the_newest_are_kept_and_other_files_are_left_alone(endless: LoadedModel, tmp_path: Path) -> None:
    (tmp_path / "mine.jsonl").write_text("mine")
    for day in range(1, KEPT + 11):
        path = tmp_path / f"2020-01-01-12{day:04}-old.jsonl"
        path.write_text("{}")
        os.utime(path, (day, day))
    os.utime(tmp_path / "2020-01-01-120001-old.jsonl")  # written to just now
    workspace = JournaledTree(endless, tmp_path)
    workspace.start("the")
    left = sorted(path.name for path in tmp_path.iterdir())
    assert len(left) == KEPT + 1
    assert {"mine.jsonl", workspace.file.name, "2020-01-01-120001-old.jsonl", "2020-01-01-120060-old.jsonl"} <= set(
        left
    )
    assert "2020-01-01-120005-old.jsonl" not in left


@posix
def test_one_that_still_grows_is_not_old(endless: LoadedModel, tmp_path: Path) -> None:
    workspace = JournaledTree(endless, tmp_path)
    workspace.start("the")
    for day in range(KEPT):
        (tmp_path / f"2020-01-01-12{day:04}-new.jsonl").write_text("{}")

    def is_spared() -> bool:
        os.utime(workspace.file, (1, 1))
        JournaledTree(endless, tmp_path).start("the")
        return workspace.file.exists()

    assert is_spared()
    assert workspace.journal._file
    workspace.journal._file.rewrite("{}")
    assert is_spared()
    workspace.journal.close()
    assert not is_spared()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
def test_a_full_disk_is_said_once_and_does_not_hurt(endless: LoadedModel, tmp_path: Path) -> None:
    workspace = JournaledTree(endless, tmp_path / "journals")
    branch = workspace.go(workspace.start("the"), 10)
    assert workspace.journal._file
    os.dup2(os.open("/dev/full", os.O_WRONLY), workspace.journal._file._file)
    workspace.go(branch, 10)
    fault = workspace.journal.fault
    assert fault.startswith("the session is no longer kept in")
    assert fault.endswith("No space left on device")
    workspace.rename(workspace.go(branch, 10), "still")
    assert workspace.journal.fault == fault
    replayed = replay(read_session(workspace.saved(tmp_path / "elsewhere.jsonl")), endless)
    assert replayed.tree["still"].tokens.tolist() == branch.tokens.tolist()


def test_a_folder_that_cannot_be_is_said_once_and_does_not_hurt(endless: LoadedModel, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    workspace = JournaledTree(endless, tmp_path / "file")
    workspace.go(workspace.start("the"), 10)
    workspace.journal.close()
    assert "the session is no longer kept in" in workspace.journal.fault
    assert workspace.journal.path is None


def test_a_sitting_that_outgrows_what_can_be_read_is_kept_up_to_there(
    endless: LoadedModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(records, "MAX_CELLS", 100)
    workspace = JournaledTree(endless, tmp_path)
    branch = workspace.go(workspace.start("the"), 60)
    workspace.go(branch, 60)
    workspace.go(workspace.leave(branch, 110), 10)
    workspace.rename(branch, "large")
    assert "the session can no longer be kept: 'positions' makes the session larger" in workspace.journal.fault
    assert len(replay(read_session(workspace.file), endless).tree["1"]) == 61
    with pytest.raises(TuiGenError, match="can no longer be kept"):
        workspace.journal.save(tmp_path / "saved.jsonl")


def test_a_saved_session_has_what_is_not_noted_yet_and_overwrites_nothing(endless: LoadedModel, tmp_path: Path) -> None:
    workspace = JournaledTree(endless, tmp_path / "journals")
    grow(workspace.start("the"), 1)
    path = workspace.saved(tmp_path / "saved.jsonl")
    assert len(replay(read_session(path), endless).tree["1"]) == 2
    with pytest.raises(TuiGenError, match="exists already and is left as it is; choose another name"):
        workspace.journal.save(path)


def test_two_sittings_in_one_second_have_two_files(endless: LoadedModel, tmp_path: Path) -> None:
    for _ in range(3):
        JournaledTree(endless, tmp_path).start("the")
    assert len(list(tmp_path.iterdir())) == 3
