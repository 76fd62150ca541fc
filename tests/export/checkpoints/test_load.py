"""Every form in which people save a network gives the same tensors by the same names."""

from __future__ import annotations

import json
import pickle
import sys
import types
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
from torch import Tensor, nn

from export.checkpoints.checkpoint import Choice
from export.checkpoints.load import load_checkpoint
from tui_gen.errors import TuiGenError

pytestmark = [
    pytest.mark.filterwarnings("ignore:Couldn't retrieve source code"),
    pytest.mark.filterwarnings("ignore:.*torch.jit.*"),
]


class Words:
    """A vocabulary of a class of its own, as training scripts have it."""

    def __init__(self) -> None:
        self.idx2word, self.word2idx = ["a", "b"], {"a": 0, "b": 1}


class RNNModel(nn.Module):
    """A network whose class is gone when its file is read."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder, self.rnn, self.decoder = nn.Embedding(10, 4), nn.GRU(4, 6, 2), nn.Linear(6, 10)
        self.register_buffer("start", torch.arange(3.0), persistent=False)
        self.rnn_type, self.nhid, self.words, self.nonlinearity = "GRU", 6, Words(), torch.tanh


@pytest.fixture
def net() -> RNNModel:
    torch.manual_seed(0)
    return RNNModel()


def _save(value: Any, path: Path, monkeypatch: pytest.MonkeyPatch, *, legacy: bool = False) -> Path:
    """torch.save, with the classes of this file in a module that nobody can import afterwards."""
    module = types.ModuleType("somebodys_model")
    for kind in (RNNModel, Words):
        monkeypatch.setattr(kind, "__module__", module.__name__)
        setattr(module, kind.__name__, kind)
    with monkeypatch.context() as context:
        context.setitem(sys.modules, module.__name__, module)
        torch.save(value, path, _use_new_zipfile_serialization=not legacy)
    return path


def _assert_same(tensors: Any, expected: dict[str, Tensor]) -> None:
    assert set(tensors) >= set(expected)
    for name, tensor in expected.items():
        assert torch.equal(tensors[name], tensor), name


@pytest.mark.parametrize("legacy", [False, True], ids=["zip", "legacy"])
def test_a_state_dict(legacy: bool, net: RNNModel, tmp_path: Path) -> None:
    torch.save(net.state_dict(), tmp_path / "net.pt", _use_new_zipfile_serialization=not legacy)
    checkpoint = load_checkpoint(tmp_path / "net.pt")
    _assert_same(checkpoint.tensors, net.state_dict())
    assert list(checkpoint.tensors) == list(net.state_dict())
    form = "PyTorch file of the format before 1.6" if legacy else "PyTorch zip file"
    assert checkpoint.form == f"{form}, state dict"


@pytest.mark.parametrize("legacy", [False, True], ids=["zip", "legacy"])
def test_a_whole_module_of_a_class_that_is_gone(
    legacy: bool, net: RNNModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = _save(net, tmp_path / "model.pt", monkeypatch, legacy=legacy)
    assert "somebodys_model" not in sys.modules
    checkpoint = load_checkpoint(path)
    _assert_same(checkpoint.tensors, {**net.state_dict(), "start": net.start})
    assert "whole module somebodys_model.RNNModel" in checkpoint.form
    assert [(where, facts.kind) for where, facts in checkpoint.modules.items()] == [
        ("", "somebodys_model.RNNModel"),
        ("encoder", "torch.nn.modules.sparse.Embedding"),
        ("rnn", "torch.nn.modules.rnn.GRU"),
        ("decoder", "torch.nn.modules.linear.Linear"),
    ]
    attributes = checkpoint.modules[""].attributes
    assert (attributes["rnn_type"], attributes["nhid"]) == ("GRU", 6)
    assert attributes["words"]["idx2word"] == ["a", "b"]
    assert attributes["words"]["word2idx"] == {"a": 0, "b": 1}
    assert checkpoint.modules["rnn"].attributes["num_layers"] == 2


def test_a_list_of_model_criterion_and_optimizer(
    net: RNNModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    optimizer = torch.optim.Adam(net.parameters())
    net.decoder(torch.ones(6)).sum().backward()
    optimizer.step()
    path = _save([net, nn.CrossEntropyLoss(), optimizer], tmp_path / "list.pt", monkeypatch, legacy=True)
    checkpoint = load_checkpoint(path)
    _assert_same(checkpoint.tensors, net.state_dict())
    assert "took the weights under 0" in checkpoint.notes


CONTENTS: dict[str, Any] = {
    "state_dict": lambda s: {"epoch": 3, "state_dict": s, "optimizer": {"state": {0: {"exp_avg": torch.ones(9, 9)}}}},
    "model": lambda s: {"model": s, "args": {"hidden": 6}},
    "model_state_dict": lambda s: {"model_state_dict": s, "ema_state_dict": {k: v + 1 for k, v in s.items()}},
    "deeper": lambda s: {"model": {"state_dict": s, "name": "x"}},
    "lightning": lambda s: {"state_dict": s, "hyper_parameters": {"hidden": 6}, "pytorch-lightning_version": "2.0"},
    "data parallel": lambda s: {"net": {f"module.{k}": v for k, v in s.items()}},
    "compiled": lambda s: {f"_orig_mod.{k}": v for k, v in s.items()},
    "parallel and compiled": lambda s: {"model": {f"_orig_mod.module.{k}": v for k, v in s.items()}},
    "partly compiled": lambda s: {k.replace("rnn.", "rnn._orig_mod."): v for k, v in s.items()},
    "wrapped": lambda s: {"state_dict": {f"model.{k}": v for k, v in s.items()}},
    "beside": lambda s: {**s, "epoch": 4},
    "averaged only": lambda s: {"ema": s},
    "parts": lambda s: {
        part: {k.removeprefix(part + "."): v for k, v in s.items() if k.startswith(part)}
        for part in ("encoder", "rnn", "decoder")
    },
}


@pytest.mark.parametrize("shape", CONTENTS)
def test_what_stands_around_a_state_dict(shape: str, net: RNNModel, tmp_path: Path) -> None:
    torch.save(CONTENTS[shape](net.state_dict()), tmp_path / "c.tar")
    checkpoint = load_checkpoint(tmp_path / "c.tar")
    _assert_same(checkpoint.tensors, net.state_dict())
    assert len(checkpoint.tensors) == len(net.state_dict())


def test_a_whole_module_in_the_wrappers_of_many_devices_and_of_the_compiler(
    net: RNNModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = _save(torch.compile(nn.DataParallel(net)), tmp_path / "wrapped.pt", monkeypatch)
    checkpoint = load_checkpoint(path)
    _assert_same(checkpoint.tensors, net.state_dict())
    assert (checkpoint.modules[""].kind, checkpoint.modules[""].attributes["nhid"]) == ("somebodys_model.RNNModel", 6)
    assert list(checkpoint.modules) == ["", "encoder", "rnn", "decoder"]


def test_tied_weights_stay_one(tmp_path: Path) -> None:
    parts = nn.ModuleDict({"a": nn.Embedding(4, 4), "b": nn.Linear(4, 4)})
    parts["b"].weight = parts["a"].weight
    torch.save(parts.state_dict(), tmp_path / "tied.pt")
    tensors = load_checkpoint(tmp_path / "tied.pt").tensors
    assert tensors["a.weight"].data_ptr() == tensors["b.weight"].data_ptr()


def test_plain_values_beside_the_weights_are_kept(net: RNNModel, tmp_path: Path) -> None:
    beside = {"tokens": ("x", "y"), "n_hidden": 6, "where": Path("data") / "x.txt", "scores": np.float64(0.5)}
    contents = {"state_dict": net.state_dict(), **beside, "ids": torch.tensor([4, 2]), "noise": torch.ones(2)}
    torch.save(contents, tmp_path / "c.net")
    facts = load_checkpoint(tmp_path / "c.net").facts
    assert facts == {"tokens": ("x", "y"), "n_hidden": 6, "where": "data/x.txt", "scores": 0.5, "ids": [4, 2]}


def test_the_names_of_one_layer_are_not_stripped(tmp_path: Path) -> None:
    state = {f"lstm.{name}": tensor for name, tensor in nn.LSTM(2, 3).state_dict().items()}
    torch.save(state, tmp_path / "one.pt")
    _assert_same(load_checkpoint(tmp_path / "one.pt").tensors, state)


def test_safetensors_with_their_metadata(net: RNNModel, tmp_path: Path) -> None:
    path = tmp_path / "net.safetensors"
    safetensors.torch.save_file(net.state_dict(), path, metadata={"rnn_type": "GRU"})
    checkpoint = load_checkpoint(path)
    _assert_same(checkpoint.tensors, net.state_dict())
    assert checkpoint.form == "safetensors file, state dict"
    assert checkpoint.facts["metadata"] == {"rnn_type": "GRU"}


def test_tensors_of_safetensors_stand_in_the_order_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "net.safetensors"
    safetensors.torch.save_file({f"layers.{at}.weight": torch.zeros(1) for at in range(30)}, path)
    data = path.read_bytes()
    header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    assert [f"layers.{name}" for name in load_checkpoint(path).tensors] == list(header)


def test_views_strides_and_number_types_survive(tmp_path: Path) -> None:
    base = torch.arange(24.0).view(4, 6)
    kinds = {f"weight.{i}": torch.ones(3).to(t) for i, t in enumerate((torch.float16, torch.bfloat16, torch.int64))}
    views = {"part": base[1:3, ::2], "turned": base.t(), "base": base, "wide": base[:1].expand(5, 6)}
    for legacy in (False, True):
        torch.save({**views, **kinds}, tmp_path / "views.pt", _use_new_zipfile_serialization=not legacy)
        _assert_same(load_checkpoint(tmp_path / "views.pt").tensors, {**views, **kinds})


def test_a_pickle_of_arrays_or_tensors_without_torch_save(net: RNNModel, tmp_path: Path) -> None:
    arrays = {"a.weight": np.arange(6, dtype=np.float32).reshape(2, 3), "b.bias": np.asfortranarray(np.ones((2, 2)))}
    for contents in (arrays, dict(net.state_dict())):
        (tmp_path / "plain.pkl").write_bytes(pickle.dumps(contents))
        expected = {name: torch.as_tensor(values) for name, values in contents.items()}
        _assert_same(load_checkpoint(tmp_path / "plain.pkl").tensors, expected)


def test_a_safetensors_file_has_no_key_that_its_weights_stand_under(net: RNNModel, tmp_path: Path) -> None:
    safetensors.torch.save_file(net.state_dict(), tmp_path / "net.safetensors")
    assert load_checkpoint(tmp_path / "net.safetensors").notes == ()


def test_an_average_of_the_weights_is_left_alone_and_told(net: RNNModel, tmp_path: Path) -> None:
    average = {name: tensor + 1 for name, tensor in net.state_dict().items()}
    torch.save({"ema_model": average, "model": net.state_dict()}, tmp_path / "two.pt")
    checkpoint = load_checkpoint(tmp_path / "two.pt")
    _assert_same(checkpoint.tensors, net.state_dict())
    assert checkpoint.notes == ("took the weights under model",)
    assert checkpoint.choice == Choice("model", ("ema_model",))


@pytest.mark.parametrize("legacy", [False, True], ids=["zip", "legacy"])
def test_a_truncated_file_is_told(legacy: bool, net: RNNModel, tmp_path: Path) -> None:
    path = tmp_path / "cut.pt"
    torch.save(net.state_dict(), path, _use_new_zipfile_serialization=not legacy)
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(TuiGenError, match=r"damaged|ends too early|not in the file"):
        load_checkpoint(path)


def test_vocabularies_of_numpy_are_texts_and_sets_are_no_vocabularies(tmp_path: Path) -> None:
    """A set has another order in every run, so no id can be told from it."""
    beside = {
        "idx2char": np.array(["a", "b", "\n"]),
        "classes": np.array(["x", "yy"], dtype=object),
        "chars": {"a", "b"},
        "config": types.SimpleNamespace(hidden=3),
    }
    torch.save({"state_dict": nn.LSTM(2, 3).state_dict(), **beside}, tmp_path / "c.pt")
    facts = load_checkpoint(tmp_path / "c.pt").facts
    assert facts["idx2char"] == ["a", "b", "\n"]
    assert facts["classes"] == ["x", "yy"]
    assert facts["chars"] == {"__class__": "builtins.set"}
    assert facts["config"]["hidden"] == 3


def test_a_list_of_tensors_is_numbered(tmp_path: Path) -> None:
    torch.save([torch.ones(2, 3), torch.zeros(3)], tmp_path / "params.pt")
    _assert_same(load_checkpoint(tmp_path / "params.pt").tensors, {"0": torch.ones(2, 3), "1": torch.zeros(3)})


def test_the_weights_of_a_file_with_several_can_be_chosen(tmp_path: Path) -> None:
    path = tmp_path / "two.pt"
    torch.save({"last_state": {"a.weight": torch.ones(2, 2)}, "best_state": {"a.weight": torch.zeros(2, 2)}}, path)
    assert load_checkpoint(path, weights="best_state").tensors["a.weight"].sum() == 0
    with pytest.raises(
        TuiGenError, match=r"two\.pt holds no weights under ema; there are: last_state .1 tensor, 4 numbers., best"
    ):
        load_checkpoint(path, weights="ema")
