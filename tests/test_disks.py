"""A full disk and a kill leave what was saved before, and nothing half; once there is room, the same save works."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from export.folder import update_card, write_folder
from export.training import checkpoint
from tests.support import toys
from tests.support.export_training import trainer, training
from tests.support.full_disk import full_disk
from tests.support.journals import JournaledTree
from tui_gen.errors import TuiGenError
from tui_gen.files import replace_file, write_new
from tui_gen.library import LoadedModel, read_card
from tui_gen.runtime.placement import CachedMeasurement
from tui_gen.sessions.file import read_session
from tui_gen.sessions.history import PromptHistory

Save = Callable[[], object]


def _training(folder: Path) -> Save:
    run = trainer(training("names", folder), folder / "run", epochs=3)
    next(run.run())
    return run.save


def _model_folder(folder: Path) -> Save:
    model = toys.text_folder(folder / "model")
    content = {"graph": (model / "model.onnx").read_bytes(), "tokenizer": (model / "tokenizer.json").read_text()}
    return lambda: write_folder(model, card=read_card(model), log=[{"epoch": 1}] * 500, **content)  # type: ignore[arg-type]


def _card(folder: Path) -> Save:
    model = toys.learned(toys.text_folder(folder / "model"), "the cat", seconds=1.0)
    return lambda: update_card(model, replace(read_card(model), description="Measured since. " * 500))


def _own_file(folder: Path) -> Save:
    replace_file(folder / "notes", b"before" * 1000)
    return lambda: replace_file(folder / "notes", b"after" * 1000)


def _new_file(folder: Path) -> Save:
    return lambda: write_new(folder / "picture.png", b"x" * 10_000)


SAVES = {
    "a training": _training,
    "a model folder": _model_folder,
    "a card": _card,
    "a file of one's own": _own_file,
    "a new file": _new_file,
}


def _contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.mark.parametrize("size", [0, 1, 300, 2_000])
@pytest.mark.parametrize("name", SAVES)
def test_a_full_disk_is_told_in_a_line_and_harms_nothing(name: str, size: int, tmp_path: Path) -> None:
    save = SAVES[name](tmp_path)
    before = _contents(tmp_path)
    with full_disk(size), pytest.raises((TuiGenError, OSError), match=re.escape(str(tmp_path))) as error:
        save()
    assert "File too large" in str(error.value)
    assert "\n" not in str(error.value)
    assert _contents(tmp_path) == before
    save()
    assert not any(name.endswith(".tmp") for name in _contents(tmp_path))


def test_a_session_goes_on_without_its_file_and_what_stands_in_it_is_read(endless: LoadedModel, tmp_path: Path) -> None:
    tree = JournaledTree(endless, tmp_path)
    branch = tree.go(tree.start("the"), 10)
    path = tree.journal.path
    assert path
    whole = path.read_bytes()
    with full_disk(len(whole) + 20):
        tree.go(branch, 10)
    assert "the session is no longer kept in" in tree.journal.fault
    assert path.read_bytes().startswith(whole)
    session = read_session(path)
    assert session.cut
    assert session.records[1].positions < len(branch)
    tree.journal.save(tmp_path / "elsewhere.jsonl")
    assert read_session(tmp_path / "elsewhere.jsonl").records[1].positions == len(branch)


def test_prompts_and_measurements_are_kept_once_there_is_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    measurement, history = CachedMeasurement("threads", "a"), PromptHistory(tmp_path / "prompts.jsonl")
    history.add("names", "ma")
    with full_disk(30):
        history.add("names", "jo")
    assert [prompt.text for prompt in history.prompts()] == ["ma", "jo"]
    assert history.take_fault()
    with full_disk():
        measurement.write("4")
    assert measurement.read() is None
    later = PromptHistory(tmp_path / "prompts.jsonl")
    later.add("names", "li")
    measurement.write("4")
    assert ([prompt.text for prompt in later.prompts()], measurement.read()) == (["ma", "li"], "4")


SAVING = """
import sys
from pathlib import Path
from export.folder import write_folder
from tui_gen.library import read_card
model = Path(sys.argv[1])
content = {"graph": (model / "model.onnx").read_bytes(), "tokenizer": (model / "tokenizer.json").read_text()}
card = read_card(model)
print("begins", flush=True)
while True:
    write_folder(model, card=card, log=[{"epoch": 1}] * 1000, **content)
"""


def test_an_export_that_is_killed_leaves_a_whole_model_or_the_next_one_puts_it_back(tmp_path: Path) -> None:
    model = toys.text_folder(tmp_path / "models" / "model")
    content = {"graph": (model / "model.onnx").read_bytes(), "tokenizer": (model / "tokenizer.json").read_text()}
    card = read_card(model)
    for number in range(6):
        command = [sys.executable, "-c", SAVING, str(model)]
        with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
            assert process.stdout
            process.stdout.readline()
            time.sleep(0.01 + 0.007 * number)
            process.send_signal(signal.SIGKILL)
        write_folder(model, card=card, log=[], **content)  # type: ignore[arg-type]
        assert [path.name for path in model.parent.iterdir()] == ["model"]
    old = model.rename(model.with_name(".model.abcdefgh.old"))  # as a kill between the two renames leaves it
    with full_disk(100), pytest.raises(TuiGenError, match="cannot be written"):
        write_folder(model, card=card, log=[], **content)  # type: ignore[arg-type]
    assert not old.exists()
    assert read_card(model) == replace(card, sha256=read_card(model).sha256)


def test_a_checkpoint_that_is_saved_over_and_over_is_whole_when_it_is_killed(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.pt"
    saving = "import sys, torch\nfrom pathlib import Path\nfrom export.training.checkpoint import save\n"
    saving += "while True: save(Path(sys.argv[1]), {'weights': torch.ones(300_000)}); print(flush=True)"
    for number in range(4):
        command = [sys.executable, "-c", saving, str(path)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, env={**os.environ}) as process:
            assert process.stdout
            process.stdout.readline()
            time.sleep(0.003 * number)
            process.kill()
        assert checkpoint.load_values(path)["weights"].sum() == 300_000
    checkpoint.save(path, {})
    assert [file.name for file in tmp_path.iterdir()] == ["checkpoint.pt"]
