"""Checkpoints as models: what the exporter is asked, what of its answers is believed, and what is kept."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Run
from tests.support import toys
from tests.support.checkpoints import CELL, CHARACTERS, SIZE, Exporter, use, write_lstm
from tui_gen import checkpoint
from tui_gen.checkpoint import (
    Answers,
    Conversion,
    Diagnosis,
    Question,
    StoppedError,
    check_exporter,
    known_conversion,
    open_checkpoint,
)
from tui_gen.child import Ending
from tui_gen.errors import TuiGenError


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file whose content counts for nothing, and an empty cache."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    path = tmp_path / "epoch 1.pt"
    path.write_bytes(b"weights")
    return path


@pytest.fixture
def exporter(monkeypatch: pytest.MonkeyPatch) -> Exporter:
    """Which guesses a cell."""
    return use(Exporter(CELL), monkeypatch)


def test_a_file_is_converted_once_whatever_it_is_called(file: Path, exporter: Exporter, tmp_path: Path) -> None:
    first = open_checkpoint(file)
    assert (first.folder / "model.onnx").is_file()
    assert first.guesses == ["its cell: torch (to change it: --assume cell=own|torch)"]
    renamed = file.rename(tmp_path / "other.bin")
    assert open_checkpoint(renamed) == Conversion(renamed, first.folder, (), first.diagnosis)
    assert len(exporter.calls) == 1


@pytest.mark.parametrize("what", ["content", "answer", "file of an answer", "version"])
def test_it_is_converted_again_for_what_changes_the_model(
    file: Path, exporter: Exporter, what: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    vocabulary = tmp_path / "vocabulary.txt"
    vocabulary.write_text("a\nb\n")
    answers = (("--vocab", str(vocabulary)),)
    before = open_checkpoint(file, answers)
    if what == "content":
        file.write_bytes(b"others")
    elif what == "answer":
        answers = (*answers, ("--assume", "cell=own"))
    elif what == "file of an answer":
        vocabulary.write_text("b\na\n")
    else:
        monkeypatch.setattr(checkpoint, "__version__", "9.9")
    assert known_conversion(file, answers) is None
    assert open_checkpoint(file, answers).folder != before.folder
    assert len(exporter.calls) == 2


def test_the_exporter_is_asked_in_its_own_words(file: Path, exporter: Exporter) -> None:
    answers = (("--scaling", "-1..1"), ("--corpus", "a.txt"), ("--assume", "cell=own"), ("--corpus", "b.txt"))
    conversion = open_checkpoint(file, answers)
    told = ["--scaling=-1..1", "--assume=cell=own", "--corpus", "a.txt", "b.txt"]
    assert exporter.calls == [[str(file), *told, f"--output={conversion.folder}", "--name=epoch 1", "--json"]]
    assert conversion.command == (
        f"tui-gen export '{file}' --scaling=-1..1 --assume=cell=own --corpus a.txt b.txt -o 'models/epoch 1'"
    )


def test_what_a_person_answers_counts_from_then_on(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    exporter = use(Exporter(SIZE, CELL), monkeypatch)
    asked = list[bool]()

    def ask(diagnosis: Diagnosis) -> Answers:
        asked.extend(question.is_open for question in diagnosis.questions)
        return (("--size", "8x8"),)

    conversion = open_checkpoint(file, ask=ask)
    assert conversion.answers == (("--size", "8x8"),)
    assert known_conversion(file) == conversion
    assert open_checkpoint(file, ask=ask) == conversion
    assert asked == [True, False]
    assert "--size=8x8" in exporter.calls[-1]
    assert len(exporter.calls) == 2


def test_guesses_alone_are_nobodys_question(file: Path, exporter: Exporter) -> None:
    assert open_checkpoint(file, ask=lambda _: pytest.fail("nobody knows better")).answers == ()


@pytest.mark.parametrize(
    ("ending", "words"),
    [
        (Ending(1, "line x", "TuiGenError", "the file does not say its size"), "^the file does not say its size$"),
        (Ending(None), r"after 600 s, so it was given up; the last that it said: logits: equal$"),
        (Ending(-9), "crashed, perhaps for want of memory; the last that it said: logits: equal$"),
        (Ending(1, "", "ValueError", "odd \x1b[2J"), "epoch 1.pt: odd ␛"),
    ],
)
def test_why_it_failed_is_told(file: Path, ending: Ending, words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    use(Exporter(ending=ending), monkeypatch)
    with pytest.raises(TuiGenError, match=words):
        open_checkpoint(file)
    assert known_conversion(file) is None


def test_a_file_that_is_written_meanwhile_is_not_believed(file: Path, exporter: Exporter) -> None:
    exporter.during = lambda: file.write_bytes(b"newer")
    with pytest.raises(TuiGenError, match="was written while it was read"):
        open_checkpoint(file)


def test_it_ends_when_nobody_waits_for_it(file: Path, exporter: Exporter) -> None:
    with pytest.raises(StoppedError):
        open_checkpoint(file, is_stopped=lambda: True)


@pytest.mark.parametrize("damage", ["", "{", "[]", '{"folder": 1}', '{"folder": "../..", "answers": [1]}'])
def test_a_damaged_entry_counts_as_none(file: Path, exporter: Exporter, damage: str) -> None:
    folder = open_checkpoint(file).folder
    folder.with_suffix(".json").write_text(damage)
    assert known_conversion(file) is None
    assert open_checkpoint(file).folder == folder


def test_what_was_not_used_for_longest_makes_room(
    file: Path, exporter: Exporter, monkeypatch: pytest.MonkeyPatch
) -> None:
    folders = list[Path]()
    for number in range(3):
        file.write_bytes(b"weights" * number)
        folders.append(open_checkpoint(file).folder)
        os.utime(folders[-1], (number, number))
    monkeypatch.setattr(checkpoint, "_BUDGET", 2 * sum(path.stat().st_size for path in folders[0].iterdir()) + 1)
    file.write_bytes(b"")
    open_checkpoint(file)  # the first one again, which is used now
    file.write_bytes(b"newest")
    newest = open_checkpoint(file).folder
    assert {path for path in newest.parent.iterdir() if path.is_dir()} == {folders[0], newest}
    assert len([*newest.parent.glob("*.json")]) == 2


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"summary": 1}', '{"summary": "x", "missing": [1]}'])
def test_what_is_no_diagnosis_is_refused(text: str) -> None:
    with pytest.raises(TuiGenError):
        Diagnosis.from_json(text)


def test_a_diagnosis_is_a_strangers_text() -> None:
    facts: dict[str, Any] = {"summary": "x\x1b[2J", "facts": [["a\n", "b\x07"], 7], "notes": ["\x9b"], "missing": []}
    diagnosis = Diagnosis.from_json(json.dumps(facts))
    assert not any(sign in repr(diagnosis) for sign in ("\\x1b", "\\n", "\\x07", "\\x9b"))


def test_an_option_is_read_for_every_way_to_tell_it() -> None:
    question = Question(
        "what", "--vocab FILE, or --corpus FILE... --vocab-rule RULE and --assume order=A,B --unknown X"
    )
    assert question.fields == [
        ("--vocab", "", "FILE"),
        ("--corpus", "", "FILE..."),
        ("--vocab-rule", "", "RULE"),
        ("--assume", "order", "A,B"),
    ]


def test_without_pytorch_the_cure_is_told(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    for refused in (check_exporter, lambda: open_checkpoint(file)):
        with pytest.raises(TuiGenError, match=r"torch is not installed; install .*: pip install 'tui-gen\[export\]'$"):
            refused()


def test_the_exporter_itself_says_what_it_is_and_converts_it(file: Path) -> None:
    write_lstm(file)
    lines = list[str]()
    conversion = open_checkpoint(file, tell=lines.append)
    assert conversion.diagnosis.summary.startswith("LSTM 8, reads and predicts 5 tokens")
    assert ("vocabulary", "5 characters, in the file under itos") in conversion.diagnosis.facts
    assert any(line.startswith("greedy tokens:") for line in map(str.strip, lines))
    assert (conversion.folder / "config.json").is_file()
    with pytest.raises(TuiGenError, match=r"^--assume depth=\.\.\. is no question of this network"):
        open_checkpoint(file, (("--assume", "depth=3"),))


@pytest.mark.skipif(sys.platform != "linux", reason="what a process writes is limited on Linux alone")
def test_a_conversion_that_takes_too_much_memory_is_ended(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_lstm(file)
    monkeypatch.setattr(checkpoint, "_MEMORY", 2**25)
    monkeypatch.setattr(checkpoint, "_MEMORY_A_PROCESSOR", 0)
    with pytest.raises(TuiGenError, match="memory"):
        open_checkpoint(file)


def test_who_is_asked_answers_to_the_process_that_has_loaded_pytorch(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_lstm(file, itos=False)
    processes, start = list[object](), subprocess.Popen
    monkeypatch.setattr(subprocess, "Popen", lambda *words, **how: (processes.append(words), start(*words, **how))[1])
    conversion = open_checkpoint(file, ask=lambda _: (("--vocab", str(vocabulary_of(file))),))
    assert conversion.answers[0][0] == "--vocab"
    assert (conversion.folder / "model.onnx").is_file()
    assert known_conversion(file) == conversion
    assert sum("tui_gen.child" in str(words) for words in processes) == 1


def vocabulary_of(file: Path) -> Path:
    path = file.with_name("vocabulary.json")
    path.write_text(json.dumps([*CHARACTERS]))
    return path


def test_a_command_converts_it_and_says_on_what_it_rests(file: Path, exporter: Exporter, tui_gen: Run) -> None:
    file.write_bytes(b"\x80\2weights")
    first, second = (tui_gen("generate", str(file), "The", "-t", "0", "--seed", "7") for _ in range(2))
    assert first.stdout == second.stdout == f"the {toys.GREEDY_TEXT}\n".encode()
    assert first.stderr.decode().splitlines()[:3] == [
        f"tui-gen: converted {file}: LSTM 8",
        "tui-gen: assumed, its cell: torch (to change it: --assume cell=own|torch)",
        f"tui-gen: to keep it: tui-gen export '{file}' -o 'models/epoch 1'",
    ]
    assert b"converted" not in second.stderr
    inspected = tui_gen("inspect", str(file), "--assume", "cell=own").stdout.decode()
    assert f"made by         tui-gen export '{file}' --assume=cell=own -o" in inspected
    assert len(exporter.calls) == 2


def test_what_only_a_checkpoint_leaves_open_is_refused_for_a_model(toy_models: Path, tui_gen: Run) -> None:
    done = tui_gen("generate", str(toy_models / "text"), "--size", "8x8")
    assert (done.returncode, done.stderr.decode()) == (
        2,
        f"tui-gen: --size says what a checkpoint does not, and {toy_models / 'text'} is a model; leave it out\n",
    )


@pytest.mark.parametrize("words", [["--force"], ["--factory=net:build"], ["--dtype", "int8"]])
def test_what_only_the_exporters_command_does_is_told(file: Path, words: list[str], tui_gen: Run) -> None:
    file.write_bytes(b"\x80\2weights")
    for command in ([], ["generate"]):
        done = tui_gen(*command, *words, str(file))
        assert done.returncode == 2
        option = words[0].partition("=")[0]
        assert f"{option} is for tui-gen export FILE {option} ... -o models/NAME" in done.stderr.decode()


def test_beside_a_checkpoint_a_model_may_stand(file: Path, exporter: Exporter, toy_models: Path, tui_gen: Run) -> None:
    file.write_bytes(b"\x80\2weights")
    other = str(toy_models / "endless")
    done = tui_gen("generate", str(file), "the", "-l", "5", "--with", other, "--assume", "cell=own")
    assert done.returncode == 0, done.stderr
