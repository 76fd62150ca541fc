"""Finding and opening model folders."""

from __future__ import annotations

import os
import pickle
import tarfile
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest

from tests.support import hostile, toys
from tui_gen import library
from tui_gen.checkpoint import is_checkpoint
from tui_gen.errors import TuiGenError
from tui_gen.library import find_models, locate, needs_trust, open_model, search_path, shipped_folder
from tui_gen.runtime.model import Model


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two folders of models on $TUI_GEN_MODELS and no others: first/toy, second/toy, second/other."""
    for name in ("first/toy", "second/toy", "second/other"):
        toys.text_folder(tmp_path / name, architecture=name)
    toys.image_folder(tmp_path / "second" / "drawer")
    monkeypatch.setenv("TUI_GEN_MODELS", os.pathsep.join([str(tmp_path / "first"), "", str(tmp_path / "second")]))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setattr("tui_gen.library.shipped_folder", lambda: tmp_path / "shipped")
    return tmp_path


def refusal(folder: Path) -> str:
    with pytest.raises(TuiGenError) as caught:
        open_model(folder, provider="cpu")
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_models_are_found_by_kind_and_name_and_the_first_of_two_with_one_name_wins(installed: Path) -> None:
    entries = find_models()
    assert [entry.name for entry in entries] == ["other", "toy", "drawer"]
    assert entries[1].path == installed / "first" / "toy"
    assert entries[1].card
    assert entries[1].card.architecture == "first/toy"
    assert entries[1].size == len(toys.text_graph())


def test_the_environment_comes_before_the_persons_own_models_and_those_before_the_shipped(installed: Path) -> None:
    first, second, own, shipped = search_path()
    assert (first, second, shipped) == (installed / "first", installed / "second", installed / "shipped")
    mine = toys.text_folder(own / "mine")
    toys.text_folder(own / "toy")
    toys.text_folder(shipped / "mine")
    assert installed / "home" in own.parents
    assert locate("mine") == mine
    assert locate("toy") == installed / "first" / "toy"


def test_a_name_opens_like_its_folder_and_a_path_is_never_a_name(installed: Path) -> None:
    assert open_model("drawer", provider="cpu").path == installed / "second" / "drawer"
    assert open_model(str(installed / "first" / "toy"), provider="cpu").path == installed / "first" / "toy"
    with pytest.raises(TuiGenError, match=r"drawer.config\.json"):
        open_model(Path("drawer"))


def test_a_path_comes_before_a_name(installed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(toys.text_folder(installed / "here" / "toy").parent)
    assert locate("toy").resolve() == installed / "here" / "toy"


def test_a_name_that_cannot_be_a_folder_is_unknown_like_any_other(installed: Path) -> None:
    for name in ("x" * 5000, "a/b\x00c", "no/such/folder", "a prompt that is too long for a file's name " * 10):
        with pytest.raises(TuiGenError, match="there is no model"):
            locate(name)


def test_an_unknown_name_lists_the_models_that_there_are(
    tmp_path: Path, installed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(TuiGenError, match=r"there is no model 'tyo'.*installed: other, toy, drawer"):
        locate("tyo")
    monkeypatch.setenv("TUI_GEN_MODELS", str(tmp_path / "nowhere"))
    assert find_models() == []
    with pytest.raises(TuiGenError, match="installed: none"):
        locate("toy")


def test_a_folder_with_a_damaged_card_is_still_listed_with_its_fault_and_one_without_is_no_model(
    installed: Path,
) -> None:
    for name, content in (("broken", b"{"), ("worse", b"{"), ("half", None)):
        toys.spoil(toys.text_folder(installed / "second" / name), "config.json", content)
    *_, drawer, broken, worse = find_models()
    assert [entry.name for entry in (drawer, broken, worse)] == ["drawer", "broken", "worse"]
    assert broken.card is None
    assert "config.json: is not JSON" in broken.fault


@pytest.mark.parametrize("file", ["config.json", "model.onnx", "tokenizer.json"])
@pytest.mark.parametrize("content", [None, b"", b"\xff\xfe damaged"], ids=["missing", "empty", "damaged"])
def test_a_file_that_is_missing_or_spoilt_is_named_with_its_folder(
    file: str, content: bytes | None, tmp_path: Path
) -> None:
    message = refusal(toys.spoil(toys.text_folder(tmp_path / "toy"), file, content))
    assert str(tmp_path / "toy" / file) in message


def test_a_graph_other_than_the_card_describes_is_refused(tmp_path: Path) -> None:
    folder = toys.spoil(toys.text_folder(tmp_path / "toy"), "model.onnx", toys.text_graph(growth=9))
    assert "model.onnx is not the file that config.json describes (sha256 differs)" in refusal(folder)


def test_a_card_without_a_hash_vouches_for_nothing_and_the_file_itself_is_named(tmp_path: Path) -> None:
    folder = toys.text_folder(tmp_path / "toy", graph=b"not a model", sha256="")
    assert refusal(folder).startswith(f"{folder}: model.onnx cannot be opened")


def test_a_contract_that_is_broken_is_told_with_the_folder(tmp_path: Path) -> None:
    folder = toys.text_folder(tmp_path / "toy", graph=toys.renamed(toys.text_graph(), "token", "ids"))
    assert refusal(folder).startswith(f"{folder}: model.onnx: the first input must be 'token'")


@pytest.mark.parametrize("sort", [toys.text_folder, toys.image_folder])
def test_a_graph_that_says_what_it_is_opens_without_a_folder(sort: Callable[[Path], Path], tmp_path: Path) -> None:
    folder = sort(tmp_path / "toy")
    file = toys.lone_file(tmp_path / "alone.onnx", folder)
    whole, alone = open_model(folder, provider="cpu"), open_model(str(file), provider="cpu")
    assert alone.path == file
    assert replace(whole.card, sha256="") == alone.card
    prompts = ["the cat"] if whole.card.kind == "text" else ["bright"]
    assert alone.codec.prompt(prompts).tolist() == whole.codec.prompt(prompts).tolist()


def test_a_graph_in_its_folder_is_the_folders_model(tmp_path: Path) -> None:
    folder = toys.text_folder(tmp_path / "toy")
    assert locate(str(folder / "model.onnx")) == folder


@pytest.mark.parametrize(
    ("without", "says"),
    [
        (library.CARD_KEY, r"does not say what it is: its metadata has no tui-gen.card; put it into a folder"),
        (library.TOKENIZER_KEY, r"its tui-gen.tokenizer is missing"),
    ],
)
def test_a_graph_alone_says_what_it_lacks(without: str, says: str, tmp_path: Path) -> None:
    file = toys.lone_file(tmp_path / "alone.onnx", toys.text_folder(tmp_path / "toy"), without=without)
    assert says in refusal(file)


def test_a_file_that_is_called_a_graph_and_is_none_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "alone.onnx"
    for content in (b"not a graph", b"\x0a\x7fcut off", b"\x08" * 100_000):
        file.write_bytes(content)
        assert f"{file} " in refusal(file)


def test_a_picture_model_without_conditions_needs_no_tokenizer(tmp_path: Path) -> None:
    plain = {key: value for key, value in toys.IMAGE.items() if key != "conditions"}
    assert open_model(toys.image_folder(tmp_path / "plain", tokenizer="", image=plain), provider="cpu")
    assert "tokenizer.json is missing" in refusal(toys.image_folder(tmp_path / "prompted", tokenizer=""))


def test_a_pipe_in_the_place_of_a_file_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    folder = toys.text_folder(tmp_path / "pipe")
    (folder / "tokenizer.json").unlink()
    os.mkfifo(folder / "tokenizer.json")
    with pytest.raises(TuiGenError, match=r"tokenizer\.json is not a file"):
        open_model(folder)


@pytest.mark.parametrize("name", [b"state.count", b"logits"])
def test_names_that_are_no_text_are_the_models_fault(name: bytes, tmp_path: Path) -> None:
    graph = toys.text_graph().replace(name, b"\xff" + name[1:])
    folder = toys.text_folder(tmp_path / "odd", graph=graph)
    assert "model.onnx has names that are no text" in refusal(folder)


def test_logits_of_another_width_than_the_card_says_are_refused(tmp_path: Path) -> None:
    folder = toys.text_folder(tmp_path / "text")
    graph = onnx.load(folder / "model.onnx")
    graph.graph.output[0].type.tensor_type.shape.dim[1].dim_param = "width"  # which nobody can know beforehand
    last = next(node for node in graph.graph.node if "logits" in node.output)
    last.output[0] = "all"
    graph.graph.node.append(onnx.helper.make_node("Compress", ["all", "kept"], ["logits"], axis=1))
    graph.graph.initializer.append(onnx.numpy_helper.from_array(np.ones(8, dtype=bool), "kept"))
    card = replace(open_model(folder).card, vocab_size=5)
    model = Model(graph.SerializeToString(), card, provider="cpu")
    with pytest.raises(TuiGenError, match=r"could not run the model: .*\{1,5\}.*\{1,8\}"):
        model.step(np.array([0]), model.start(1))


def write_checkpoint(path: Path, form: str) -> Path:
    """A file as training scripts leave it, of this form."""
    content = {
        "pickle": pickle.dumps({"weight": 1}),
        "before torch 1.6": pickle.dumps(0x1950A86A20F9469CFC6C, protocol=2) + pickle.dumps(1001, protocol=2),
        "safetensors": (2).to_bytes(8, "little") + b"{}",
    }
    if form == "torch":
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("archive/data.pkl", b"\x80\2}q\0.")
            archive.writestr("archive/data/0", bytes(4))
    else:
        path.write_bytes(content[form])
    return path


@pytest.mark.parametrize(
    ("form", "name"),
    [
        ("torch", "some.pt"),
        ("torch", "net.net"),
        ("pickle", "weights.pkl"),
        ("before torch 1.6", "old.pth"),
        ("safetensors", "some.safetensors"),
    ],
)
def test_a_checkpoint_in_the_place_of_a_model_is_known_by_its_content(
    installed: Path, monkeypatch: pytest.MonkeyPatch, form: str, name: str
) -> None:
    monkeypatch.chdir(installed)
    write_checkpoint(installed / name, form)
    assert locate(name) == Path(name)
    assert is_checkpoint(name)


def test_a_folder_may_be_a_checkpoint(installed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(installed)
    for name in ("runs/mine", "theirs"):
        (installed / name).mkdir(parents=True)
    write_checkpoint(installed / "runs" / "mine" / "checkpoint.pt", "torch")
    write_checkpoint(installed / "theirs" / "model.safetensors", "safetensors")
    (installed / "theirs" / "config.json").write_text('{"hidden_size": 8}')  # as others have it
    assert locate("runs/mine") == Path("runs/mine/checkpoint.pt")
    assert locate("theirs") == Path("theirs")
    assert not is_checkpoint(shipped_folder() / "names")  # which keeps the weights that it was made of


def test_other_files_are_no_checkpoints(tmp_path: Path) -> None:
    (tmp_path / "empty.pt").touch()
    (tmp_path / "text.pt").write_text("a text\n")
    (tmp_path / "damaged.pt").write_bytes(b"PK\3\4 cut off")
    with zipfile.ZipFile(tmp_path / "plain.zip", "w") as archive:
        archive.writestr("notes.txt", "no weights")
    with tarfile.open(tmp_path / "plain.tar", "w") as archive:
        archive.add(tmp_path / "text.pt")
    os.mkfifo(tmp_path / "pipe.pt")
    assert not any(is_checkpoint(str(path)) for path in [*tmp_path.iterdir(), tmp_path, tmp_path / "missing"])
    assert not is_checkpoint("a\0b")


def test_who_exports_a_network_learns_whether_others_have_to_trust_it() -> None:
    assert needs_trust(hostile.endless(1).SerializeToString())
    assert not needs_trust(toys.text_graph())


def test_a_file_too_large_for_a_stranger_is_not_even_read(tmp_path: Path) -> None:
    folder = toys.text_folder(tmp_path / "toy")
    with (folder / "model.onnx").open("wb") as file:
        file.truncate(10**10)
    assert "model.onnx is larger than 400 MB; in a folder of its own, --trust opens it" in refusal(folder)
