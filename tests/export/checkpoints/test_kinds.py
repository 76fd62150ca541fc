"""Networks in the containers that strangers save them in, and among others: each is exact, asked about, or refused."""

from __future__ import annotations

import json
import os
import pickle
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
import torch.distributed.checkpoint as distributed
from torch import Tensor, nn
from torch.distributed.checkpoint import metadata as lists
from torch.distributed.checkpoint.filesystem import _StorageInfo
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.tensor import DTensor, Shard
from torch.optim.swa_utils import AveragedModel

from export.read import read
from export.reader import ReadOptions
from tests.support.kinds import Kind, Logits, check
from tests.support.single_stack_networks import sequential
from tests.support.text_networks import E, H, Usual, V

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*torch.jit.*"),
    pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning"),
    pytest.mark.filterwarnings("ignore:.*torch.ao.quantization.*"),
    pytest.mark.filterwarnings("ignore:torch.quantize_per"),
    pytest.mark.filterwarnings("ignore:torch.distributed is disabled"),
    pytest.mark.filterwarnings("ignore:The tensor attributes"),
]
State = dict[str, Tensor]
Save = Callable[[Path], tuple[Path, Logits]]


class Half(nn.Module):
    """The part of a language model behind its embedding, of a class of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.gru, self.out = nn.GRU(E, H, batch_first=True), nn.Linear(H, V)

    def forward(self, embedded: Tensor) -> Tensor:
        logits: Tensor = self.out(self.gru(embedded)[0])
        return logits


class Words(nn.Module):
    """Its embedding."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(V, E)

    def forward(self, tokens: Tensor) -> Tensor:
        embedded: Tensor = self.table(tokens)
        return embedded


class Layers(nn.Module):
    """In one Sequential, whose activation TorchScript keeps; the plain recurrent layer is one with ReLU."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.rnn = nn.Embedding(V, E), nn.RNN(E, H, 2, nonlinearity="relu", batch_first=True)
        self.head = nn.Sequential(nn.Linear(H, 6), nn.Dropout(), nn.Tanh(), nn.Linear(6, V))

    def forward(self, tokens: Tensor) -> Tensor:
        logits: Tensor = self.head(self.rnn(self.embed(tokens))[0])
        return logits


class Autoencoder(nn.Module):
    """A larger model with a prior inside, a network of its own."""

    def __init__(self, prior: nn.Module) -> None:
        super().__init__()
        self.encoder = nn.Sequential(nn.Conv2d(1, 4, 4, 2, 1), nn.ReLU(), nn.Conv2d(4, 4, 3, padding=1))
        self.codebook = nn.Embedding(8, 4)
        self.decoder = nn.Sequential(nn.ConvTranspose2d(4, 4, 4, 2, 1), nn.ReLU(), nn.Conv2d(4, 1, 3, padding=1))
        self.prior = prior


class Criterion(nn.Module):
    """A loss with weights."""

    def __init__(self) -> None:
        super().__init__()
        self.tail = nn.Linear(H, 40)


def _net() -> Usual:
    return Usual(nn.GRU(E, H)).eval()


def _renumbered(state: Mapping[str, Tensor]) -> State:
    """The same names and shapes with other numbers."""
    return {name: tensor + 1 for name, tensor in state.items()}


def _contents(contents: Callable[[Usual], Any], name: str = "model.pt") -> Save:
    """What a script hands to torch.save."""

    def save(folder: Path) -> tuple[Path, Logits]:
        net = _net()
        torch.save(contents(net), folder / name)
        return folder / name, net

    return save


def _named(name: Callable[[str], str], **beside: Tensor) -> Save:
    """A state dict with other names."""
    return _contents(lambda net: {**{name(key): tensor for key, tensor in net.state_dict().items()}, **beside})


def _halves(state: Mapping[str, Tensor]) -> list[State]:
    names = list(state)
    return [{name: state[name].clone() for name in names[start::2]} for start in (0, 1)]


def _shards(folder: Path, state: Mapping[str, Tensor], *, stem: str = "model", suffix: str = ".safetensors") -> Path:
    """Two shards and their index, as Hugging Face's trainers write them."""
    weight_map = {}
    for number, half in enumerate(_halves(state), 1):
        name = f"{stem}-{number:05}-of-00002{suffix}"
        write = safetensors.torch.save_file if suffix == ".safetensors" else torch.save
        write(half, folder / name)
        weight_map |= dict.fromkeys(half, name)
    index = folder / f"{stem}{suffix}.index.json"
    index.write_text(json.dumps({"metadata": {"total_size": 1}, "weight_map": weight_map}))
    return index


def _sharded(named: str = "", *, suffix: str = ".safetensors", without: str = "", **kinds: str) -> Save:
    """named: what of the folder is given to the exporter. without: a file that is missing."""

    def save(folder: Path) -> tuple[Path, Logits]:
        net = _net()
        _shards(folder, net.state_dict(), suffix=suffix, **kinds)
        if without:
            (folder / without).unlink()
        return folder / named, net

    return save


def _in_a_cache(folder: Path) -> tuple[Path, Logits]:
    """Links into another folder, as in Hugging Face's cache, and two formats of the same network."""
    net, blobs, snapshot = _net(), folder / "blobs", folder / "snapshots" / "main"
    for place in (blobs, snapshot):
        place.mkdir(parents=True)
    _shards(blobs, net.state_dict())
    for file in blobs.iterdir():
        (snapshot / file.name).symlink_to(Path("../../blobs") / file.name)
    torch.save(net.state_dict(), snapshot / "pytorch_model.bin")
    return snapshot, net


def _beside_a_trainers_files(folder: Path) -> tuple[Path, Logits]:
    """A folder in a folder, with what accelerate and the trainers of Hugging Face write."""
    net, inner = _net(), folder / "checkpoint-500"
    inner.mkdir()
    safetensors.torch.save_file(net.state_dict(), inner / "model.safetensors")
    for name in ("optimizer.bin", "scheduler.pt", "rng_state.pth", "training_args.bin", "random_states_0.pkl"):
        torch.save({}, inner / name)
    (inner / "trainer_state.json").write_text("{}")
    return folder, net


def _of_several(folder: Path) -> tuple[Path, Logits]:
    """A checkpoint an epoch."""
    net = _net()
    for epoch in (1, 2):
        torch.save(net.state_dict(), folder / f"epoch_{epoch}.pt")
        os.utime(folder / f"epoch_{epoch}.pt", (epoch, epoch))
    return folder, net


def _with_settings(folder: Path) -> tuple[Path, Logits]:
    """What tensors cannot tell stands in `config.json` beside them."""
    net = Usual(nn.RNN(E, H, nonlinearity="relu"))
    _shards(folder, net.state_dict())
    (folder / "config.json").write_text(json.dumps({"nonlinearity": "relu"}))
    return folder, net


def _distributed(contents: Callable[[Usual], Mapping[str, Any]], named: str = "") -> Save:
    def save(folder: Path) -> tuple[Path, Logits]:
        net = _net()
        distributed.save({**contents(net)}, checkpoint_id=folder, no_dist=True)
        return folder / named, net

    return save


def distributed_by_two(folder: Path, state: Mapping[str, Tensor], *, lacking: str = "") -> Path:
    """A distributed checkpoint of two processes, each of which wrote half of the rows of every tensor.

    lacking: a tensor whose second half is not listed.
    """
    described: dict[str, Any] = {}
    stored: dict[Any, Any] = {}
    for rank in range(2):
        content = b""
        for name, tensor in state.items():
            part, at = tensor.chunk(2)[rank].clone(), rank * -(-len(tensor) // 2)
            torch.save(part, folder / "part")
            written = (folder / "part").read_bytes()
            offset = torch.Size([at] + [0] * (tensor.ndim - 1))
            chunk = lists.ChunkStorageMetadata(offset, part.shape)
            properties = lists.TensorProperties(tensor.dtype)
            entry = described.setdefault(name, lists.TensorStorageMetadata(properties, tensor.shape, []))
            entry.chunks.append(chunk)
            if not (rank and name == lacking):
                place = _StorageInfo(f"__{rank}_0.distcp", len(content), len(written))
                stored[lists.MetadataIndex(name, offset, rank)] = place
            content += written
        (folder / f"__{rank}_0.distcp").write_bytes(content)
    (folder / "part").unlink()
    (folder / ".metadata").write_bytes(pickle.dumps(lists.Metadata(described, {}, stored)))
    return folder


def _by_two(folder: Path) -> tuple[Path, Logits]:
    net = _net()
    return distributed_by_two(folder, {f"_orig_mod.{name}": item for name, item in net.state_dict().items()}), net


def _with_lightnings_settings(folder: Path) -> tuple[Path, Logits]:
    """Lightning keeps what is no tensor in a file beside."""
    net = Usual(nn.RNN(E, H, nonlinearity="relu"))
    distributed.save({"model": net.state_dict()}, checkpoint_id=folder, no_dist=True)
    torch.save({"hyper_parameters": {"nonlinearity": "relu"}, "epoch": 3}, folder / "meta.pt")
    return folder, net


def _spread(processes: int) -> Save:
    """FSDP's tensors as the first of several processes has them."""

    def save(folder: Path) -> tuple[Path, Logits]:
        net = _net()
        torch.distributed.init_process_group("gloo", store=torch.distributed.HashStore(), rank=0, world_size=1)
        try:
            mesh = DeviceMesh("cpu", [0])
            state = {name: _share(tensor, mesh, processes) for name, tensor in net.state_dict().items()}
            torch.save(state, folder / "rank0.pt")
        finally:
            torch.distributed.destroy_process_group()
        return folder / "rank0.pt", net

    return save


def _share(tensor: Tensor, mesh: DeviceMesh, processes: int) -> Tensor:
    local = tensor.chunk(processes)[0].clone()
    return DTensor.from_local(local, mesh, [Shard(0)], run_check=False, shape=tensor.shape, stride=tensor.stride())


def _program(make: Callable[[nn.Module], torch.jit.ScriptModule]) -> Save:
    def save(folder: Path) -> tuple[Path, Logits]:
        net = Layers().eval()
        torch.jit.save(make(net), folder / "program.pt")
        return folder / "program.pt", net

    return save


def _traced(net: nn.Module) -> torch.jit.ScriptModule:
    return torch.jit.trace(net, torch.zeros(1, 4, dtype=torch.long))  # type: ignore[no-any-return]


def _exported(folder: Path) -> tuple[Path, Logits]:
    net = Usual(nn.RNN(E, H, nonlinearity="relu")).eval()
    program = torch.export.export(net, (torch.zeros(1, 4, dtype=torch.long),))
    torch.export.save(program, folder / "network.pt2")
    return folder / "network.pt2", net


def _quantised(folder: Path) -> tuple[Path, Logits]:
    net = torch.ao.quantization.quantize_dynamic(_net(), {nn.GRU, nn.Linear}, dtype=torch.qint8)
    torch.save(net.state_dict(), folder / "small.pt")
    return folder / "small.pt", net


def _halved(folder: Path) -> tuple[Path, Logits]:
    """Rounded to half precision: no tensor is left of what was rounded."""
    net = torch.ao.quantization.quantize_dynamic(_net(), {nn.GRU, nn.Linear}, dtype=torch.float16)
    torch.save(net.state_dict(), folder / "half.pt")
    return folder / "half.pt", net


def _modules(contents: Callable[[Words, Half], Any]) -> Save:
    """Whole modules side by side."""

    def save(folder: Path) -> tuple[Path, Logits]:
        words, half = Words(), Half()
        torch.save(contents(words, half), folder / "modules.pt")
        return folder / "modules.pt", lambda tokens: half(words(tokens))

    return save


def _torchs_modules(folder: Path) -> tuple[Path, Logits]:
    net = _net()
    torch.save({name: getattr(net, name) for name in net.names} | {"epoch": 3}, folder / "parts.pt")
    return folder / "parts.pt", net


def _prior(folder: Path) -> tuple[Path, Logits]:
    net = _net()
    torch.save({"state_dict": Autoencoder(net).state_dict(), "epoch": 1}, folder / "vae.ckpt")
    return folder / "vae.ckpt", net


_PICTURES = ReadOptions(size=(6, 6), scaling="level/(levels-1)")


def _pictures(contents: Callable[[nn.Module], Mapping[str, Tensor]]) -> Save:
    """A network of pictures, 6 times 6 pixels of 8 levels, in one Sequential."""

    def save(folder: Path) -> tuple[Path, Logits]:
        net = sequential().eval()
        torch.save(contents(net), folder / "pictures.pt")
        return folder / "pictures.pt", lambda levels: net(levels.view(-1, 1, 6, 6) / 7).flatten(2).transpose(1, 2)

    return save


def _with_average(net: nn.Module) -> State:
    state = net.state_dict()
    copy = {f"net_ema.{name}": tensor + (0.1 if "weight" in name else 0) for name, tensor in state.items()}
    return {**{f"net.{name}": tensor for name, tensor in state.items()}, **copy}


def _file(name: str, content: bytes) -> Save:
    def save(folder: Path) -> tuple[Path, Logits]:
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(content)
        return folder / name.partition("/")[0], _net()

    return save


def _zip_of_keras(folder: Path) -> tuple[Path, Logits]:
    import zipfile

    with zipfile.ZipFile(folder / "lstm.keras", "w") as archive:
        archive.writestr("metadata.json", "{}")
        archive.writestr("config.json", json.dumps({"config": {"layers": [{"class_name": "LSTM"}]}}))
        archive.writestr("model.weights.h5", b"")
    return folder / "lstm.keras", _net()


_INNER = {
    "in data parallel": lambda name: f"module.{name}",
    "compiled, then in data parallel": lambda name: f"module._orig_mod.{name}",
    "in data parallel, then compiled": lambda name: f"_orig_mod.module.{name}",
    "compiled and in data parallel in Lightning": lambda name: f"model._orig_mod.module.{name}",
    "in data parallel in Lightning": lambda name: f"model.module.{name}",
    "in two modules of one's own": lambda name: f"model.net.{name}",
    "of Lightning's Fabric": lambda name: f"_forward_module.model.{name}",
    "of FSDP": lambda name: f"_fsdp_wrapped_module.{name.replace('rnn.', 'rnn._fsdp_wrapped_module.')}",
    "of FSDP with checkpoints of activations, compiled": lambda name: (
        f"_orig_mod._fsdp_wrapped_module.{name.replace('rnn.', 'rnn._checkpoint_wrapped_module.')}"
    ),
}
_QUESTION = "does not say which is to be played; tell it with --assume weights="
_BOOK = "the book's network of this kind is trained here: tui-gen train "
_TRAINED = "save the state_dict of the network before it is quantised"

KINDS = [
    *(Kind(f"a state dict {wrapped}", _named(name)) for wrapped, name in _INNER.items()),
    Kind("shards by their index", _sharded("model.safetensors.index.json")),
    Kind("shards by their folder", _sharded()),
    Kind("shards of torch.save by their folder", _sharded(suffix=".bin", stem="pytorch_model")),
    Kind(
        "shards of torch.save by one of them",
        _sharded("pytorch_model-00002-of-00002.bin", suffix=".bin", stem="pytorch_model"),
    ),
    Kind(
        "shards without an index", _sharded("model-00001-of-00002.safetensors", without="model.safetensors.index.json")
    ),
    Kind("shards without an index by their folder", _sharded(without="model.safetensors.index.json")),
    Kind(
        "a shard alone",
        _sharded("model-00001-of-00002.safetensors", without="model-00002-of-00002.safetensors"),
        "refused",
        "lacks its part model-00002-of-00002.safetensors; fetch it",
    ),
    Kind("shards in Hugging Face's cache", _in_a_cache),
    Kind("settings beside shards", _with_settings),
    Kind("one network among a trainer's files", _beside_a_trainers_files),
    Kind(
        "a folder of several",
        _of_several,
        "refused",
        r"several checkpoints: epoch_\d.pt .*; name one, such as .*epoch_2.pt",
    ),
    Kind("a distributed checkpoint", _distributed(lambda net: net.state_dict())),
    Kind("a distributed checkpoint by one of its files", _distributed(lambda net: net.state_dict(), "__0_0.distcp")),
    Kind(
        "a distributed checkpoint with an optimizer",
        _distributed(
            lambda net: {
                "model": net.state_dict(),
                "optimizer": torch.optim.Adam(net.parameters()).state_dict(),
                "epoch": 3,
            }
        ),
    ),
    Kind("a distributed checkpoint of two processes", _by_two),
    Kind("a distributed checkpoint of Lightning", _with_lightnings_settings),
    Kind("tensors spread over one process", _spread(1)),
    Kind("tensors spread over two processes", _spread(2), "refused", r"save them whole: get_model_state_dict"),
    Kind("a scripted program", _program(torch.jit.script)),
    Kind("a traced program", _program(_traced)),
    Kind("an exported program", _exported),
    Kind(
        "a frozen program",
        _program(lambda net: torch.jit.freeze(torch.jit.script(net))),
        "refused",
        "save the state_dict",
    ),
    Kind("quantised to eight bits", _quantised, "refused", _TRAINED),
    Kind("rounded to half precision by quantising", _halved, "refused", _TRAINED),
    Kind("an averaged model of PyTorch", _contents(lambda net: AveragedModel(net).state_dict())),
    Kind(
        "an average under another key",
        _contents(lambda net: {"net": net.state_dict(), "ema": {"module": _renumbered(net.state_dict())}}),
    ),
    Kind(
        "an average in the same state dict",
        _contents(
            lambda net: {
                "step": torch.tensor(3),
                **{f"online_model.{key}": tensor for key, tensor in net.state_dict().items()},
                **{f"ema_model.module.{key}": tensor for key, tensor in _renumbered(net.state_dict()).items()},
            }
        ),
    ),
    Kind(
        "an average whose names lost their dots, asked for",
        _contents(
            lambda net: {
                **{f"model.{key}": tensor for key, tensor in _renumbered(net.state_dict()).items()},
                **{f"model_ema.{key.replace('.', '')}": tensor for key, tensor in net.state_dict().items()},
                "model_ema.decay": torch.tensor(0.9),
            }
        ),
        options=ReadOptions(assume={"weights": "model_ema"}),
    ),
    Kind(
        "an optimizer alone",
        _contents(lambda net: {"state": {0: {"exp_avg": torch.ones(2)}}, "param_groups": [{"lr": 0.1}]}),
        "refused",
        "holds the state of an optimizer and no network; name the file",
    ),
    Kind(
        "the last and the best",
        _contents(lambda net: {"last": _renumbered(net.state_dict()), "best": net.state_dict()}),
        "asked",
        _QUESTION + r"last\|best",
        {"weights": "best"},
    ),
    Kind(
        "student and teacher in one state dict",
        _contents(
            lambda net: {
                **{f"student.{key}": tensor for key, tensor in net.state_dict().items()},
                **{f"teacher.{key}": tensor for key, tensor in _renumbered(net.state_dict()).items()},
            }
        ),
        "asked",
        _QUESTION + r"student\|teacher",
        {"weights": "student"},
    ),
    Kind("the same network twice", _contents(lambda net: {"whole": net, "state": net.state_dict()})),
    Kind(
        "whole modules of one's own side by side",
        _modules(lambda words, half: {"rnn": half, "embed": words}),
        "asked",
        r"rnn \(Half, 6 tensors, 382 numbers\), embed \(Words, 1 tensor, 55 numbers\); .* weights=rnn,embed to join",
        {"weights": "rnn,embed"},
    ),
    Kind(
        "a list of whole modules",
        _modules(lambda words, half: [words, half, Criterion()]),
        "asked",
        "weights=0,1 to join",
        {"weights": "0,1"},
    ),
    Kind("whole modules of PyTorch's side by side", _torchs_modules),
    Kind(
        "model, criterion and optimizer", _contents(lambda net: [net, Criterion(), torch.optim.SGD(net.parameters())])
    ),
    Kind("the prior of a larger model", _prior, "asked", r"weights=NAME, of .*prior \(7 tensors", {"weights": "prior"}),
    Kind(
        "the prior of a larger model of pictures",
        _pictures(lambda net: Autoencoder(net).state_dict()),
        "asked",
        r"weights=NAME, of .*prior \(",
        {"weights": "prior"},
        _PICTURES,
    ),
    Kind("an average in the same state dict of pictures", _pictures(_with_average), options=_PICTURES),
    Kind("a zip file of Keras", _zip_of_keras, "refused", _BOOK + "recipes-lstm --data recipes.jsonl"),
    Kind(
        "a file of Keras", _file("g.h5", b'\x89HDF\r\n\x1a\n {"class_name": "GRU"}'), "refused", _BOOK + "recipes-gru"
    ),
    Kind(
        "a file of Keras in a folder", _file("runs/g.h5", b"\x89HDF\r\n\x1a\n LSTM"), "refused", _BOOK + "recipes-lstm"
    ),
    Kind("a folder of Keras", _file("m/saved_model.pb", b"\x08\x01 conv2d"), "refused", _BOOK + "fashion-book"),
    Kind(
        "a checkpoint of TensorFlow", _file("c/ckpt.index", b"\0 recurrent_kernel"), "refused", _BOOK + "recipes-lstm"
    ),
]


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_is_exact_or_asked_or_refused(kind: Kind, tmp_path: Path) -> None:
    check(kind, tmp_path)


def test_a_copy_that_is_left_alone_is_a_guess_that_can_be_changed(tmp_path: Path) -> None:
    torch.save({"net": _net().state_dict(), "ema": _renumbered(_net().state_dict())}, tmp_path / "both.pt")
    guess = read(tmp_path / "both.pt", ReadOptions())[1].diagnosis.missing[0]
    assert (guess.option, guess.default) == ("--assume weights=ema", "net")
    told = read(tmp_path / "both.pt", ReadOptions(assume={"weights": "ema"}))[1].diagnosis
    assert not any("networks" in missing.what for missing in told.missing)
