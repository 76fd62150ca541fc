"""`python -m export`: from a checkpoint, the trainer's own or somebody's, to a folder that plays."""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from onnx import ModelProto, numpy_helper
from torch import nn

from export.__main__ import main
from export.folder import FILES
from export.read import read
from export.reader import ReadOptions
from export.text.step import TextNetwork
from export.training import checkpoint
from tests.support.checkpoints import write_lstm
from tests.support.gated_networks import ColourGated, TutorialGated
from tests.support.picture_kinds import hole
from tests.support.single_stack_networks import sequential
from tests.support.strange_networks import NETWORKS, read_with_any_answer, strange
from tui_gen.errors import TuiGenError
from tui_gen.generation.generate import generate
from tui_gen.images.codec import ImageCodec
from tui_gen.library import LoadedModel, open_model
from tui_gen.sampling.params import SamplingParams
from tui_gen.scoring.score import score
from tui_gen.terminal_text import LONGEST
from tui_gen.text.codec import TextCodec

ROOT = Path(__file__).parents[2]
LETTERS = tuple("abcdefghijk .")


def test_the_command_line_writes_a_model_folder(
    adventurers_checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "deep" / "heroes"
    assert main([str(adventurers_checkpoint), "-o", str(folder), "--name", "heroes!"]) == 0
    output = capsys.readouterr()
    assert output.err == ""
    assert "Two-stack gated PixelCNN 2x8" in output.out
    assert f"play it with: tui-gen {folder}" in output.out
    assert {path.name for path in folder.iterdir()} == FILES
    assert [path.name for path in folder.parent.iterdir()] == ["heroes"]
    loaded_model = open_model(folder, provider="cpu")
    assert isinstance(loaded_model.codec, ImageCodec)
    assert loaded_model.card.name == "heroes!"
    assert loaded_model.codec.phrases == ("bow", "elf woman", "orc", "red cloak")
    prompt = loaded_model.codec.prompt(["elf woman, BOW", "orc"])
    steps = list(generate(loaded_model.model, prompt, SamplingParams(), length=42, seed=0))
    assert sum(not step.given[0] for step in steps) == 42


def test_the_player_says_what_the_training_log_shows(names: Path) -> None:
    """The same seeds, prompt and temperature give the samples of the last epoch."""
    loaded_model = open_model(names, provider="cpu")
    last = json.loads((names / "training.jsonl").read_text(encoding="utf-8").splitlines()[-1])
    knobs = SamplingParams(temperature=loaded_model.card.temperature)
    prompt = loaded_model.codec.prompt([last["prompt"]])
    for seed, sample in zip(last["seeds"], last["samples"], strict=True):
        steps = generate(loaded_model.model, prompt, knobs, length=20, seed=seed)
        assert loaded_model.codec.decode([int(step.tokens[0]) for step in steps]) == sample


def test_averaged_weights_are_exported(names: Path, names_checkpoint: Path) -> None:
    contents = checkpoint.load(names_checkpoint)
    tokens = np.array([[0, 7, 1, 9, 0]])
    net = checkpoint.load_network(contents["network"], contents["weights"])
    logits = net(torch.from_numpy(tokens[:, :-1]))[0].log_softmax(-1)
    expected = -logits[0, torch.arange(4), torch.from_numpy(tokens[0, 1:])].sum().item()
    assert -score(open_model(names, provider="cpu").model, tokens).sum() == pytest.approx(expected, abs=1e-4)
    assert any(not torch.equal(contents["weights"][name], raw) for name, raw in contents["raw_weights"].items())


def test_other_weights_of_the_file_are_exported_where_they_are_named(names_checkpoint: Path) -> None:
    _, reading = read(names_checkpoint, ReadOptions(assume={"weights": "raw_weights"}))
    contents, tokens = checkpoint.load(names_checkpoint), torch.tensor([[0, 7, 1, 9]])
    raw = checkpoint.load_network(contents["network"], contents["raw_weights"])
    torch.testing.assert_close(reading.build().network.sequence_logits(tokens), raw(tokens)[0])


def test_nothing_is_written_when_the_proof_fails(
    names_checkpoint: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def damage(network: TextNetwork) -> ModelProto:
        graph = right(network)
        bias = next(tensor for tensor in graph.graph.initializer if tensor.name == "output.bias")
        values = numpy_helper.to_array(bias).copy()
        values[3] += 1
        bias.CopyFrom(numpy_helper.from_array(values, bias.name))
        return graph

    right = TextNetwork.step_graph
    monkeypatch.setattr(TextNetwork, "step_graph", damage)
    assert main([str(names_checkpoint), "-o", str(tmp_path / "model")]) == 1
    fault = capsys.readouterr().err
    assert fault.startswith("python -m export: the exported model differs from PyTorch by 1 in its logits")
    assert fault.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


class CharacterModel(nn.Module):
    """Somebody's network."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(len(LETTERS), 8, 2, batch_first=True)
        self.fc = nn.Linear(8, len(LETTERS))


@pytest.fixture
def characters(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    path = tmp_path / "rnn_20_epoch.net"
    contents = {"n_hidden": 8, "n_layers": 2, "state_dict": CharacterModel().state_dict(), "tokens": LETTERS}
    torch.save(contents, path)
    return path


def _generate(loaded_model: LoadedModel, prompt: str, length: int, *, temperature: float = 0) -> list[int]:
    knobs = SamplingParams(temperature=temperature)
    steps = generate(loaded_model.model, loaded_model.codec.prompt([prompt]), knobs, length=length, seed=0)
    return [int(step.tokens[0]) for step in steps if not step.given[0]]


def test_a_text_checkpoint_becomes_a_model_that_types(
    characters: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(characters), "-o", str(tmp_path / "model")]) == 0
    output = capsys.readouterr().out
    assert "LSTM 2x8, reads and predicts 13 tokens" in output
    assert "in the file under tokens" in output
    assert "greedy tokens: 200 equal; decoded text equal" in output
    loaded_model = open_model(tmp_path / "model", provider="cpu")
    assert isinstance(loaded_model.codec, TextCodec)
    tokens = _generate(loaded_model, "abba", 5)
    net = CharacterModel()
    net.load_state_dict(torch.load(characters, weights_only=True)["state_dict"])
    ids = [int(token) for token in loaded_model.codec.prompt(["abba"])[0]]
    for token in tokens:
        one_hot = nn.functional.one_hot(torch.tensor([ids]), len(LETTERS)).float()
        assert int(net.fc(net.lstm(one_hot)[0])[0, -1].argmax()) == token
        ids.append(token)
    assert loaded_model.codec.decode(tokens) == "".join(LETTERS[token] for token in tokens)


def test_the_proof_and_the_guesses_stand_in_the_card(tmp_path: Path) -> None:
    torch.save({"state_dict": TutorialGated().state_dict()}, tmp_path / "epoch=9.ckpt")
    assert main([str(tmp_path / "epoch=9.ckpt"), "-o", str(tmp_path / "model"), "--size", "5x15"]) == 0
    facts = json.loads((tmp_path / "model" / "config.json").read_text(encoding="utf-8"))
    export = facts["export"]
    assert export["computes"] == "one token at a time"
    assert "the dilations of its layers after the first: 1,2,1,4,1,2,1" in export["assumed"]
    assert export["parity"]["relative_logit_difference"] < 1e-5
    assert facts["image"]["warm_up"] == [257] * 13
    assert max(layer.get("lead", 0) for layer in facts["image"]["layers"]) == 13
    readme = (tmp_path / "model" / "README.md").read_text(encoding="utf-8")
    assert "| assumed, for nothing says it |" in readme


def test_a_colour_model_draws_its_classes(tmp_path: Path) -> None:
    torch.manual_seed(1)
    torch.save(ColourGated().state_dict(), tmp_path / "params.pth")
    words = [str(tmp_path / "params.pth"), "-o", str(tmp_path / "model"), "--size", "4x8"]
    assert main([*words, "--assume", "crops=copies"]) == 0
    loaded_model = open_model(tmp_path / "model", provider="cpu")
    assert loaded_model.codec.phrases == ("class 0", "class 1", "class 2", "class 3")
    first, second = (
        _generate(loaded_model, name, loaded_model.codec.length(200), temperature=1) for name in ("class 1", "class 2")
    )
    assert len(first) == 4 * 8 * 3
    assert first != second


def test_a_hole_in_a_receptive_field_is_drawn_and_a_scaling_typed_as_it_is_printed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    torch.manual_seed(0)
    torch.save(hole().state_dict(), tmp_path / "net.pt")
    words = [str(tmp_path / "net.pt"), "-o", str(tmp_path / "model"), "--size", "5x7"]
    assert main(words) == 1
    assert "|-1..1|" in capsys.readouterr().err
    assert main([*words, "--scaling", "-1..1"]) == 0
    lines = capsys.readouterr().out.splitlines()
    warning = next(at for at, line in enumerate(lines) if line.startswith("warning"))
    assert "sees nothing of its own row" in lines[warning]
    assert lines[warning + 6].count("@") == 1  # below the four rows above


def test_inspect_converts_nothing(characters: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = sorted(tmp_path.iterdir())
    assert main(["inspect", str(characters)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "LSTM 2x8, reads and predicts 13 tokens"
    assert any("one-hot" in line for line in lines)
    assert sorted(tmp_path.iterdir()) == before


def test_of_a_long_token_the_beginning_and_the_end_are_shown(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write_lstm(tmp_path / "net.pt")
    torch.save({**torch.load(path), "itos": ["a" * 10**5, *"bcde"]}, path)
    assert main(["inspect", str(path)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert any("aaa…" in line for line in lines)
    assert max(map(len, lines)) == LONGEST


def test_a_name_that_is_no_utf8_is_written_as_far_as_it_can_be(tmp_path: Path) -> None:
    folder = tmp_path / os.fsdecode(b"caf\xe9")
    assert main([str(write_lstm(tmp_path / "net.pt")), "-o", str(folder)]) == 0
    assert open_model(folder, provider="cpu").card.name == "caf?"


@pytest.mark.skipif(not shutil.which("sh"), reason="needs a shell")
def test_a_closed_stdout_is_told(characters: Path) -> None:
    command = [sys.executable, "-m", "export", "inspect", str(characters)]
    done = subprocess.run(["sh", "-c", '"$@" >&-', "sh", *command], capture_output=True, check=False)
    assert (done.returncode, done.stdout) == (1, b"")
    assert done.stderr == b"python -m export: stdout cannot be written: Bad file descriptor\n"


def test_inspect_names_the_option_for_what_is_missing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torch.save(sequential().state_dict(), tmp_path / "net.pt")
    assert main(["inspect", str(tmp_path / "net.pt")]) == 0
    assert "not in the file: the size of the images (needed: --size HxW)" in capsys.readouterr().out
    assert main([str(tmp_path / "net.pt"), "-o", str(tmp_path / "model")]) == 1
    assert "tell it with --size HxW" in capsys.readouterr().err


def test_smaller_weights_are_proved_and_noted(
    characters: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(characters), "-o", str(tmp_path / "model"), "--dtype", "int8"]) == 0
    assert "KL divergence from fp32" in capsys.readouterr().out
    facts = json.loads((tmp_path / "model" / "config.json").read_text(encoding="utf-8"))
    assert facts["export"]["precision"]["dtype"] == "int8"
    assert "int8; KL divergence" in (tmp_path / "model" / "README.md").read_text(encoding="utf-8")
    open_model(tmp_path / "model", provider="cpu")


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["-o", "model"], "name a checkpoint file, or a --factory"),
        (["net.pt"], "the following arguments are required: -o"),
        (["net.pt", "-o", "m", "--size", "28"], "must be height x width, such as 28x28"),
        (["net.pt", "-o", "m", "--size", "5000x5000"], "must be at most 65,536 pixels, such as 256x256, not 5000x5000"),
        (["net.pt", "-o", "m", "--name", "x" * 301], "must have 1 to 300 characters, not 301"),
        (["net.pt", "-o", "m", "--levels", "1"], "must be a whole number from 2"),
        (["net.pt", "-o", "m", "--vocab-rule", "guess"], "invalid choice: 'guess'"),
        *(
            (["net.pt", "-o", "m", f"--guidance={scale}"], f"must be a number from 0 to 10, not '{scale}'")
            for scale in ("-1", "11", "nan", "much")
        ),
    ],
)
def test_wrong_usage_is_told(words: list[str], says: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as status:
        main(words)
    assert status.value.code == 2
    assert says in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (
            ["--assume", "bos=a", "--assume", "eos=.", "--assume", "bos=b"],
            "--assume bos=a and --assume bos=b contradict",
        ),
        (["--vocab", "bytes", "--vocab-rule", "sorted-words"], "--vocab and --vocab-rule both say"),
        (["--size", "28x28"], "--size says nothing of this network, which writes text"),
        (["--scaling", "/255"], "--scaling says nothing of this network"),
    ],
)
def test_options_that_contradict_or_say_nothing_are_told(
    words: list[str], says: str, characters: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["inspect", str(characters), *words]) == 1
    assert says in capsys.readouterr().err


def test_what_says_nothing_of_pictures_or_of_the_trainers_files_is_told(
    adventurers_checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "picture.pt"
    torch.save(sequential().state_dict(), path)
    for file, option in ((path, ["--vocab", "bytes"]), (adventurers_checkpoint, ["--levels", "4"])):
        assert main(["inspect", str(file), *option]) == 1
        assert f"{option[0]} says nothing of this network" in capsys.readouterr().err
    assert main(["inspect", str(adventurers_checkpoint), "--assume", "bos=a"]) == 1
    assert "bos=... is no question of this network" in capsys.readouterr().err


def test_weights_that_are_no_numbers_are_told_by_name(characters: Path, capsys: pytest.CaptureFixture[str]) -> None:
    state = torch.load(characters, weights_only=True)
    state["state_dict"]["fc.bias"][3] = float("nan")
    torch.save(state, characters)
    assert main(["inspect", str(characters)]) == 1
    assert "fc.bias holds NaN" in capsys.readouterr().err


def test_weights_of_no_size_are_told_by_name(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torch.save({"a.weight": torch.zeros(4, 0, 3, 3), "b.weight": torch.zeros(2, 4, 3, 3)}, tmp_path / "net.pt")
    assert main(["inspect", str(tmp_path / "net.pt")]) == 1
    assert "a.weight [4, 0, 3, 3] holds no numbers" in capsys.readouterr().err


@pytest.mark.parametrize("whole", [False, True], ids=["state dict", "module"])
def test_a_layer_that_was_saved_by_itself_is_read(
    whole: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    layer = nn.Conv2d(1, 2, 3)
    torch.save(layer if whole else layer.state_dict(), tmp_path / "layer.pt")
    assert main(["inspect", str(tmp_path / "layer.pt")]) == 0
    assert "(needed: --size HxW)" in capsys.readouterr().out


def test_a_file_beside_it_that_may_be_its_vocabulary_is_named(characters: Path) -> None:
    state = torch.load(characters, weights_only=True)["state_dict"]
    path = characters.with_name("bare.pt")
    torch.save(state, path)
    for name in ("notes.txt", "Char2Idx.json", "optimizer_meta.json"):
        (path.parent / name).write_text("{}")
    notes = " ".join(read(path, ReadOptions())[1].diagnosis.notes)
    assert f"Char2Idx.json beside it may be its vocabulary: --vocab {path.parent / 'Char2Idx.json'}" in notes
    assert "beside it" not in " ".join(read(characters, ReadOptions())[1].diagnosis.notes)


def test_a_wrong_answer_is_not_taken_for_a_wrong_part_of_the_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "stacks.pt"
    torch.save(TutorialGated().state_dict(), path)
    assert main(["inspect", str(path), "--assume", "gate=odd"]) == 1
    assert "weights=" not in capsys.readouterr().err


def test_a_corpus_that_speaks_against_the_reading_needs_force(
    characters: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    state = torch.load(characters, weights_only=True)
    state["state_dict"]["fc.bias"] = torch.tensor([0.0] * 12 + [20.0])  # it would write dots alone
    torch.save(state, characters)
    corpus = tmp_path / "text.txt"
    corpus.write_text("abba bad cab " * 200)
    words = [str(characters), "-o", str(tmp_path / "model"), "--corpus", str(corpus)]
    assert main(words) == 1
    assert "worse than blind guessing" in capsys.readouterr().err
    assert not (tmp_path / "model").exists()
    assert main([*words, "--force"]) == 0


ROUNDS = 40


@pytest.mark.parametrize("name", NETWORKS)
def test_networks_changed_at_random_are_read_or_refused(name: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    state, rng, path = NETWORKS[name]().state_dict(), random.Random(name), tmp_path / "strange.pt"
    faults = []
    for _ in range(ROUNDS):
        torch.save(strange(state, rng), path)
        try:
            network = read_with_any_answer(path).build().network
            network.sequence_logits(torch.from_numpy(network.random_tokens(1, np.random.default_rng(0))))
        except TuiGenError as fault:
            faults.append(str(fault))
    assert not any("\n" in fault for fault in faults)


@pytest.mark.parametrize(
    ("value", "says"),
    [
        (
            {"stoi": {"a": 0, "b": 1}, "itos": {0: "a", 1: "b"}},
            r"holds no weights of a network \(it holds stoi, itos\)",
        ),
        (torch.ones(3), r"holds no weights of a network \(none has a name\)"),
    ],
)
def test_a_file_without_weights_is_told_by_what_it_holds(value: object, says: str, tmp_path: Path) -> None:
    torch.save(value, tmp_path / "meta.pt")
    with pytest.raises(TuiGenError, match=f"{says}.*--vocab"):
        read(tmp_path / "meta.pt", ReadOptions())
