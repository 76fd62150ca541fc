"""What `publish` makes of a network in the middle of its training, and what it leaves alone."""

from __future__ import annotations

import errno
import json
import os
import random
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations, weight_norm

from tests.support.full_disk import full_disk
from tui_gen import open_model, publish
from tui_gen.training_log import read_learning
from tui_gen.training_run import epoch_folders

fcntl = pytest.importorskip("fcntl")
CHARACTERS = [*"\nabcdefg"]


class Writer(nn.Module):
    """A character LSTM whose forward keeps its last state as an attribute, with a gradient."""

    def __init__(self, size: int = 8) -> None:
        super().__init__()
        self.embedding, self.rnn = nn.Embedding(len(CHARACTERS), size), nn.LSTM(size, size, batch_first=True)
        self.dropout, self.head = nn.Dropout(0.5), nn.Linear(size, len(CHARACTERS))
        self.last: Any = None
        self.trainer = sys  # what no copy can be made of

    def forward(self, tokens: Tensor, state: Any = None) -> tuple[Tensor, Any]:
        hidden, self.last = self.rnn(self.embedding(tokens), state)
        return self.head(self.dropout(hidden)), self.last


class Masked(nn.Conv2d):
    """The masked convolution that most scripts have."""

    def __init__(self, kind: str, *sizes: int) -> None:
        super().__init__(*sizes, padding=sizes[2] // 2)
        centre = sizes[2] // 2
        mask = torch.ones_like(self.weight)
        mask[:, :, centre, centre + (kind == "B") :] = 0
        mask[:, :, centre + 1 :] = 0
        self.register_buffer("mask", mask)

    def forward(self, planes: Tensor) -> Tensor:
        self.weight.data *= self.mask
        return super().forward(planes)


def painter() -> nn.Module:
    return nn.Sequential(Masked("A", 1, 6, 5), nn.ReLU(), Masked("B", 6, 6, 3), nn.ReLU(), nn.Conv2d(6, 3, 1))


def train(run: Path | None, steps: int = 4) -> tuple[list[Tensor], list[float], int]:
    """The weights after some steps, random numbers that follow, and how often a hook was called."""
    torch.manual_seed(3)
    random.seed(3)
    np.random.seed(3)
    net, calls = Writer(), list[int]()
    net.rnn.register_forward_hook(lambda *_: calls.append(1))
    optimizer = torch.optim.Adam(net.parameters())
    for step in range(steps):
        tokens = torch.randint(len(CHARACTERS), (2, 6))
        loss = net(tokens)[0].flatten(0, 1).logsumexp(0).sum()
        loss.backward()
        if run:
            publish(net, run, vocabulary=CHARACTERS, train_loss=loss.item(), length=5)
        assert net.training
        assert step % 2 or all(parameter.grad is not None for parameter in net.parameters())
        optimizer.step()
        optimizer.zero_grad()
    following = [torch.rand(()).item(), random.random(), float(np.random.rand())]
    return [parameter.detach().clone() for parameter in net.parameters()], following, len(calls)


def log_of(run: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (run / "training.jsonl").read_text(encoding="utf-8").splitlines()]


def test_a_training_goes_on_bit_for_bit_as_if_nothing_were_published(tmp_path: Path) -> None:
    weights, following, calls = train(None)
    published_weights, published_following, published_calls = train(tmp_path / "run")
    assert all(map(torch.equal, weights, published_weights))
    assert (following, calls) == (published_following, published_calls)
    assert [entry["epoch"] for entry in log_of(tmp_path / "run")] == [1, 2, 3, 4]


@pytest.mark.parametrize("norm", [None, weight_norm, parametrizations.weight_norm])
@pytest.mark.filterwarnings("ignore:.*weight_norm:FutureWarning")
def test_a_published_network_answers_as_the_live_one(norm: Any, tmp_path: Path) -> None:
    net = Writer()
    if norm:
        norm(net.head)
    publication = publish(net, tmp_path / "run", vocabulary=CHARACTERS, prompt="abc", unit="nats", length=9)
    assert publication.trouble == ""
    assert publication.difference is not None
    assert publication.difference < 1e-5
    played = open_model(str(tmp_path / "run"))
    tokens = torch.tensor([[1, 5, 2]])
    logits, state = np.zeros((1, 8)), played.model.start(1)
    for token in tokens[0].numpy():
        logits, state = played.model.step(np.array([token]), state)
    with torch.no_grad():
        assert logits[0] == pytest.approx(net.eval()(tokens)[0][0, -1].numpy(), abs=1e-5)
    assert played.card.name == "run"
    shutil.copytree(tmp_path / "run" / "model", tmp_path / "copy")
    assert open_model(tmp_path / "copy").name == "run · epoch 1"
    (entry,) = log_of(tmp_path / "run")
    assert len(entry["samples"]) == 4
    assert all(sample.startswith("abc") for sample in entry["samples"])


def test_a_picture_network_is_published_and_its_earlier_networks_are_kept(tmp_path: Path) -> None:
    net, run = painter(), tmp_path / "run"
    for _ in range(3):
        publication = publish(net, run, size=(5, 4), levels=3, scaling="level/(levels-1)", seeds=(7,))
        assert publication.trouble == ""
        with torch.no_grad():
            net[-1].bias += 1.0  # type: ignore[operator]
    assert [*epoch_folders(run)] == [1, 2]
    learning = read_learning(run, open_model(str(run)).card)
    assert [epoch.samples[0].shape for epoch in learning.epochs] == [(5, 4)] * 3  # type: ignore[union-attr]
    assert log_of(run)[0]["samples"] == log_of(run / "epochs" / "0001")[0]["samples"]


def test_what_cannot_be_converted_is_told_once_and_its_losses_are_noted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    for loss in (2.0, float("nan")):
        publication = publish(nn.Linear(2, 2), run, train_loss=loss, validation_loss=1.5)
        assert publication.folder is None
        assert "neither recurrent layers" in publication.trouble
    assert capsys.readouterr().err.count("neither recurrent layers") == 1
    assert [entry["train_loss"] for entry in log_of(run)] == [2.0, "nan"]
    learning = read_learning(run, None)
    assert [epoch.validation_loss for epoch in learning.epochs] == [1.5, 1.5]
    assert np.isnan(learning.epochs[1].train_loss)


def test_an_epoch_that_comes_again_after_a_crash_is_noted_once(tmp_path: Path) -> None:
    net, run = Writer(), tmp_path / "run"
    for epoch in (1, 2, 3):
        publish(net, run, vocabulary=CHARACTERS, epoch=epoch, train_loss=float(epoch), length=3)
    with open(run / "training.jsonl", "a", encoding="utf-8") as log:
        log.write('{"epoch": 4, "train_l')  # which a kill has cut
    assert len(read_learning(run, None)) == 3
    publish(net, run, vocabulary=CHARACTERS, epoch=3, train_loss=9.0, length=3)
    assert [(entry["epoch"], entry["train_loss"]) for entry in log_of(run)] == [(1, 1.0), (2, 2.0), (3, 9.0)]


@pytest.mark.parametrize(
    "line", [b"{", b"[" * 100_000, b"[]", b'{"epoch": "x"}', b"\xff{}", b'{"epoch": 1' + b"0" * 5000]
)
def test_a_log_of_somebody_else_is_told_and_left_as_it_is(line: bytes, tmp_path: Path) -> None:
    log = tmp_path / "training.jsonl"
    log.write_bytes(line + b"\n")
    trouble = publish(nn.Linear(2, 2), tmp_path, train_loss=1.0).trouble
    assert str(log) in trouble
    assert log.read_bytes() == line + b"\n"


def test_a_log_says_where_a_script_was_started_again(tmp_path: Path) -> None:
    program = (
        "import sys; from torch import nn; from tui_gen import publish\n"
        "for _ in range(2): publish(nn.Linear(2, 2), sys.argv[1], train_loss=1.0)"
    )
    for _ in range(2):
        subprocess.run([sys.executable, "-c", program, tmp_path], check=True)
    epochs = read_learning(tmp_path, None).epochs
    assert [(epoch.number, epoch.is_restart) for epoch in epochs] == [(1, False), (2, False), (3, True), (4, False)]


def test_networks_that_take_more_than_they_may_are_thinned_out(tmp_path: Path) -> None:
    net, run = Writer(), tmp_path / "run"
    for epoch in range(1, 9):
        validation = 0.0 if epoch == 5 else 1.0
        publish(net, run, vocabulary=CHARACTERS, validation_loss=validation, length=3)
    size = sum(file.stat().st_size for file in (run / "model").iterdir())
    publish(net, run, vocabulary=CHARACTERS, keep_mb=3.5 * size / 1e6, length=3)
    assert [*epoch_folders(run)] == [1, 2, 5]
    publish(net, run, vocabulary=CHARACTERS, keep_mb=0, length=3)
    assert [*epoch_folders(run)] == []


def test_a_second_training_into_one_run_is_refused_with_the_name_of_the_first(tmp_path: Path) -> None:
    program = (
        "import sys; from torch import nn; from tui_gen import publish\n"
        "print(publish(nn.Linear(2, 2), sys.argv[1], train_loss=1.0).trouble, flush=True); input()"
    )
    command = [sys.executable, "-c", program, str(tmp_path / "run")]
    first = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    assert first.stdin
    assert first.stdout
    with first:
        assert b"neither recurrent" in first.stdout.readline()
        second = publish(nn.Linear(2, 2), tmp_path / "run", train_loss=1.0)
        assert f"another training writes into {tmp_path / 'run'}: process {first.pid} on " in second.trouble
        first.stdin.close()
    assert len(log_of(tmp_path / "run")) == 1


def test_on_a_file_system_without_locks_a_training_publishes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: int) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr("fcntl.flock", refuse)
    assert "neither recurrent" in publish(nn.Linear(2, 2), tmp_path / "run", train_loss=1.0).trouble


def test_a_full_disk_is_told_once_and_when_there_is_room_the_run_goes_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    net, run = Writer(), tmp_path / "run"
    first = publish(net, run, vocabulary=CHARACTERS, train_loss=1.0, length=3)
    log = (run / "training.jsonl").read_bytes()
    for size in (len(log) + 20, 2000):  # too little for a line, and for a network
        with full_disk(size):
            publication = publish(net, run, vocabulary=CHARACTERS, train_loss=2.0, length=3)
        assert publication.folder is None
        assert "the disk takes no more" in publication.trouble
        assert [entry["train_loss"] for entry in log_of(run)] == [1.0, 2.0][: 1 + (size == 2000)]
        assert open_model(str(run)).name == "run · epoch 1"
        assert [path.name for path in (run / "epochs").iterdir()] == []
    assert capsys.readouterr().err.count("the disk takes no more") == 1
    publication = publish(net, run, vocabulary=CHARACTERS, train_loss=3.0, length=3)
    assert (publication.folder, publication.trouble) == (first.folder, "")
    assert [entry["epoch"] for entry in log_of(run)] == [1, 2, 3]
    assert [entry.get("trouble", "")[:23] for entry in log_of(run)] == ["", "the disk takes no more ", ""]
    assert [*epoch_folders(run)] == [1]
    with full_disk(1000):
        publish(net, run, vocabulary=CHARACTERS, train_loss=4.0, length=3)
    assert "the disk takes no more" in capsys.readouterr().err  # which is another time


def test_an_epoch_adds_a_line_and_leaves_the_others_as_they_are(tmp_path: Path) -> None:
    net, run = Writer(), tmp_path / "run"
    publish(net, run, vocabulary=CHARACTERS, validation_loss=0.5, length=3)
    file = (run / "training.jsonl").stat().st_ino
    os.link(run / "training.jsonl", tmp_path / "same")  # keeps the number of the file
    for epoch in (2, 3):
        publish(net, run, vocabulary=CHARACTERS, validation_loss=epoch, length=3)
    assert (run / "training.jsonl").stat().st_ino == file
    assert [entry["epoch"] for entry in log_of(run)] == [1, 2, 3]


def test_a_run_that_is_removed_is_begun_again_and_is_still_of_this_training_alone(tmp_path: Path) -> None:
    net, run = Writer(), tmp_path / "run"
    for _ in range(2):
        assert publish(net, run, vocabulary=CHARACTERS, train_loss=1.0, length=3).trouble == ""
        assert [entry["epoch"] for entry in log_of(run)] == [1]
        with open(run / "training.lock") as lock, pytest.raises(BlockingIOError):
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        shutil.rmtree(run)


def test_a_damaged_log_is_told_and_left_and_the_network_is_there(tmp_path: Path) -> None:
    run = tmp_path / "run"
    run.mkdir()
    (run / "training.jsonl").write_text("{\n{}\n", encoding="utf-8")
    publication = publish(Writer(), run, vocabulary=CHARACTERS, epoch=4, length=3)
    assert "line 1 is not JSON" in publication.trouble
    assert publication.folder == run / "model"
    assert (run / "training.jsonl").read_text(encoding="utf-8") == "{\n{}\n"
    assert open_model(str(run)).name == "run · epoch 4"


def test_a_vocabulary_may_change_between_epochs(tmp_path: Path) -> None:
    """Of as many tokens in another order, and of another network with more of them, which is proved whole."""
    run, others = tmp_path / "run", [*"\nabcdefghij"]
    larger = Writer()
    larger.embedding, larger.head = nn.Embedding(len(others), 8), nn.Linear(8, len(others))
    of_epochs = ((Writer(), CHARACTERS), (Writer(), CHARACTERS), (Writer(), CHARACTERS[::-1]), (larger, others))
    for net, characters in of_epochs:
        assert publish(net, run, vocabulary=characters, length=3).trouble == ""
        vocabulary = open_model(str(run)).codec.vocabulary
        assert [vocabulary[character] for character in characters] == [*range(len(characters))]
    assert [entry["greedy_tokens"] > 0 for entry in (parity(run / "epochs" / "0002"), parity(run))] == [False, True]


def parity(model: Path) -> Any:
    return open_model(str(model)).card.export["parity"]


PAGE = (Path(__file__).parents[2] / "docs" / "runs.md").read_text(encoding="utf-8")
PROGRAMS = dict(re.findall(r"^## ([^\n]+)\n(?:(?!## )[^\n]*\n)*?```python\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL))
FEWER = {
    "range(1, 5)": "range(1, 3)",
    "range(1, 601)": "range(1, 5)",
    "step % 100": "step % 2",
    "(2000, ": "(100, ",
    "max_epochs=3": "max_epochs=1",
    "data[: len(data)": "data[:6500",
}
"""What a program does in the text, and in a test."""


@pytest.mark.parametrize(
    ("title", "run", "epochs"),
    [("A character LSTM", "characters", 2), ("A PixelCNN", "discs", 2), ("With Lightning", "lightning", 1)],
)
def test_each_program_of_the_page_publishes(title: str, run: str, epochs: int, tmp_path: Path) -> None:
    program = PROGRAMS[title]
    for many, few in FEWER.items():
        program = program.replace(many, few)
    assert len(PROGRAMS[title].splitlines()) < 40
    done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "tui-gen:" not in done.stderr
    assert [entry["epoch"] for entry in log_of(tmp_path / "runs" / run)] == [*range(1, epochs + 1)]
    assert open_model(str(tmp_path / "runs" / run)).card.name == run
