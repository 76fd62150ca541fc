"""`tui-gen learned` of runs: by their folder, several beside each other, as JSON."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from tests.support import toys
from tests.support.command_line import run_main


def write_run(folder: Path, *losses: float | str | None) -> Path:
    folder.mkdir()
    entries = [
        {"epoch": number, "unit": "nats", "train_loss": loss, "validation_loss": None, "samples": ["x"], "seeds": [1]}
        for number, loss in enumerate(losses, 1)
    ]
    (folder / "training.jsonl").write_text("".join(json.dumps(entry) + "\n" for entry in entries), encoding="utf-8")
    return folder


def test_runs_are_compared_on_one_scale(tmp_path: Path) -> None:
    first = write_run(tmp_path / "first", 3.0, 2.0, "nan")
    second = write_run(tmp_path / "second", 4.0)
    done = run_main("learned", str(first), str(second))
    assert done.returncode == 0
    lines = done.stdout.decode().splitlines()
    assert lines[0].split() == ["EPOCH", "a", "first", "b", "second", "2.000", "4.000"]
    assert lines[1].split() == ["1", "3.000", "4.000", "a", "b"]
    assert lines[1].index(" a ") < lines[1].rindex("b")
    assert [line.split() for line in lines[2:4]] == [["2", "2.000", "-", "a"], ["3", "-", "-"]]


def test_a_run_is_told_to_scripts_without_what_is_no_number(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", 3.0, "inf")
    facts = json.loads(run_main("learned", str(run), "--json").stdout)
    assert (facts["name"], facts["unit"]) == ("run", "nats")
    assert [epoch["train_loss"] for epoch in facts["epochs"]] == [3.0, None]


def test_the_network_of_a_run_shows_the_log_of_the_run(tmp_path: Path) -> None:
    cats = toys.text_folder(tmp_path / "cats")
    run = write_run(tmp_path / "run", 3.0, 2.5)
    shutil.copytree(cats, run / "epochs" / "0001")
    shutil.copytree(cats, run / "model")
    for name in (run, run / "model", run / "epochs" / "0001"):
        assert "\n    2     2.500\n\n" in run_main("learned", str(name)).stdout.decode()
    assert "cats" in run_main("inspect", str(run)).stdout.decode()


def test_an_epoch_that_goes_on_and_a_training_that_began_anew_are_told_as_such(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", 3.0)
    with open(run / "training.jsonl", "a", encoding="utf-8") as log:
        log.write('{"epoch": 2, "train_loss": 2.0, "restart": true, "part": 0.124, "trouble": "no \\u001b[2J room"}\n')
    lines = run_main("learned", str(run)).stdout.decode().splitlines()
    assert lines[:2] == ["EPOCH  TRAINING", "    1     3.000"]
    assert lines[2].endswith("2.000  started again  after 12 % of its data  no ␛[2J room")
