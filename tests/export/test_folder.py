"""The folder of an exported model: what stands in it, and that it is written whole or not at all."""

from __future__ import annotations

import hashlib
import json
import re
import shlex
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from huggingface_hub import ModelCard as HubCard
from tokenizers import Tokenizer

from export.__main__ import main
from export.convert import convert
from export.folder import FILES, update_card
from export.read import read
from export.reader import ReadOptions
from tui_gen.card import Quality
from tui_gen.errors import TuiGenError
from tui_gen.library import read_card


def test_config_json_tells_what_was_exported_and_how_it_was_proved(names: Path, names_checkpoint: Path) -> None:
    facts = json.loads((names / "config.json").read_text(encoding="utf-8"))
    assert facts["name"] == "first-names"
    assert (facts["kind"], facts["architecture"], facts["vocab_size"]) == ("text", "RNN 16", 13)
    assert facts["bos"] == facts["eos"] == 0
    assert facts["sha256"] == hashlib.sha256((names / "model.onnx").read_bytes()).hexdigest()
    assert facts["export"]["source_sha256"] == hashlib.sha256(names_checkpoint.read_bytes()).hexdigest()
    assert facts["export"]["opset"] == 18
    assert facts["export"]["parity"]["max_abs_logit_difference"] < 1e-5
    assert facts["export"]["parity"]["steps"] == 2200
    assert "--epochs 2 --batch-size 8 --learning-rate 0.05 --seed 0" in facts["export"]["trained_with"]


def test_the_log_and_the_readme_go_with_it(names: Path, names_checkpoint: Path) -> None:
    log = (names / "training.jsonl").read_text(encoding="utf-8")
    assert log == (names_checkpoint.parent / "training.jsonl").read_text(encoding="utf-8")
    readme = (names / "README.md").read_text(encoding="utf-8")
    assert "\n---\n\n# first-names\n" in readme
    assert "python -m export.train names" in readme
    assert len([line for line in readme.splitlines() if line.startswith(("| 1 |", "| 2 |"))]) == 2


def test_a_model_hub_finds_licence_data_and_figure_and_no_sign_breaks_them(names: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(names, tmp_path / "model"))
    card = read_card(folder)
    quality = Quality(1.25, "nats per character", 'held-out: "x" # \x85\u2028 😀')
    update_card(folder, replace(card, licence="CC-BY-4.0", quality=quality))
    data = HubCard.load(folder / "README.md").data
    assert (data.license, data.pipeline_tag, data.library_name) == ("cc-by-4.0", "text-generation", "tui-gen")
    assert {"onnx", "tui-gen", "rnn"} <= set(data.tags)
    assert data.datasets == ["names"]
    [result] = data.eval_results
    assert (result.metric_value, result.metric_type) == (1.25, "nats_per_character")
    assert result.metric_name == 'nats per character on held-out: "x" #    😀'
    update_card(folder, replace(card, licence="of my own"))
    data = HubCard.load(folder / "README.md").data
    assert (data.license, data.license_name, data.eval_results) == ("other", "of my own", None)


def test_other_readers_of_its_tokenizer_stand_an_unknown_piece(names: Path) -> None:
    tokenizer = Tokenizer.from_file(str(names / "tokenizer.json"))
    assert tokenizer.encode("a#").tokens == ["a", "<unk>"]
    assert json.loads((names / "tokenizer_config.json").read_text()) == {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "clean_up_tokenization_spaces": False,
        "bos_token": "\n",
        "eos_token": "\n",
        "unk_token": "<unk>",
    }
    transformers = pytest.importorskip("transformers")
    reader = transformers.PreTrainedTokenizerFast.from_pretrained(names)
    assert reader.convert_ids_to_tokens(reader("a#")["input_ids"]) == ["a", "<unk>"]


def test_an_older_model_folder_is_replaced(
    names_checkpoint: Path, names: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    for name in FILES:
        (folder / name).write_text("old")
    assert main([str(names_checkpoint), "-o", str(folder), "--name", "first-names"]) == 0
    assert "in place of the model that was there" in capsys.readouterr().out
    assert (folder / "model.onnx").read_bytes() == (names / "model.onnx").read_bytes()
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_what_is_to_be_typed_next_can_be_pasted(
    names_checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "my odd $(name)'s"
    assert main([str(names_checkpoint), "-o", str(folder)]) == 0
    command = capsys.readouterr().out.splitlines()[-1].partition("play it with: ")[2]
    assert shlex.split(command) == ["tui-gen", str(folder)]


@pytest.mark.parametrize(
    "files", [["thesis.tex"], ["config.json", "package.json"], ["README.md"], [*FILES, "notes.txt"]]
)
def test_a_folder_that_holds_anything_else_is_left_alone(
    files: list[str], names_checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "precious"
    folder.mkdir()
    for name in files:
        (folder / name).write_text("mine")
    assert main([str(names_checkpoint), "-o", str(folder)]) == 1
    output = capsys.readouterr()
    assert "holds other things than a model, such as" in output.err
    assert output.out == ""  # nothing was read, converted or proved before
    assert {path.name: path.read_text() for path in folder.iterdir()} == dict.fromkeys(files, "mine")
    assert [path.name for path in tmp_path.iterdir()] == ["precious"]


@pytest.mark.parametrize(
    ("place", "value", "says"),
    [
        (("measured", "samples"), [{"text": 5, "temperature": 1}], "'measured.samples.text' must be text"),
        (("measured", "figures"), ["1"], "'measured.figures' must be an object"),
        (("export", "trained_with"), {}, "'export.trained_with' must be text"),
        (("export", "guidance"), "much", "'export.guidance' must be a number"),
        (("export", "precision"), {"dtype": "int8"}, "'export.precision.kl_divergence' is missing"),
        (("export", "trained_with"), "export.train", ""),
        (("description",), "half a \ud800", ""),
    ],
)
def test_a_card_of_a_stranger_is_rewritten_or_told_by_what_is_wrong_in_it(
    place: tuple[str, ...], value: object, says: str, names: Path, tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(names, tmp_path / "theirs"))
    facts = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    (facts.setdefault(place[0], {}) if len(place) > 1 else facts)[place[-1]] = value
    (folder / "config.json").write_text(json.dumps(facts))
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    if not says:
        update_card(folder, read_card(folder))
        assert read_card(folder).name == "first-names"
        return
    with pytest.raises(TuiGenError, match=re.escape(says)):
        update_card(folder, read_card(folder))
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_a_kill_between_the_two_cards_leaves_no_figure_that_only_people_read(
    names: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = Path(shutil.copytree(names, tmp_path / "model"))
    rename, renamed = Path.replace, list[Path]()

    def die_at_the_second(path: Path, target: Path) -> Path:
        if renamed:
            raise KeyboardInterrupt
        renamed.append(target)
        return rename(path, target)

    monkeypatch.setattr(Path, "replace", die_at_the_second)
    with pytest.raises(KeyboardInterrupt):
        update_card(folder, replace(read_card(folder), description="Measured since."))
    assert read_card(folder).description == "Measured since."
    assert "Measured since." not in (folder / "README.md").read_text(encoding="utf-8")


def test_a_file_in_the_way_is_left_alone(
    names_checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "taken"
    file.write_text("mine")
    for target in (file, file / "model"):
        assert main([str(names_checkpoint), "-o", str(target)]) == 1
        assert capsys.readouterr().err.count("\n") == 1
    assert file.read_text() == "mine"


def _export(source: Path, target: Path, *, name: str) -> None:
    _, reading = read(source, ReadOptions())
    convert(reading, target, source=source, name=name)


def test_an_interrupted_write_leaves_the_old_folder(
    names_checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "model"
    _export(names_checkpoint, folder, name="old")

    def fail(*_: object) -> str:
        raise TuiGenError("disk full")

    monkeypatch.setattr("export.folder.model_readme", fail)
    with pytest.raises(TuiGenError, match="disk full"):
        _export(names_checkpoint, folder, name="new")
    assert json.loads((folder / "config.json").read_text())["name"] == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["model"]
