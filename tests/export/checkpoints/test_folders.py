"""Folders and lists of files say what they hold, and nothing in them makes the exporter look or grow elsewhere."""

from __future__ import annotations

import json
import pickle
import random
import resource
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from torch.distributed.checkpoint import metadata as lists
from torch.distributed.checkpoint.filesystem import _StorageInfo

from export.checkpoints.load import load_checkpoint
from tests.support.damage import count_refusals, damaged
from tui_gen.errors import TuiGenError

COUNT = 300


def _index(folder: Path, weight_map: Any) -> Path:
    path = folder / "model.safetensors.index.json"
    path.write_text(json.dumps({"weight_map": weight_map}))
    return path


def _shard(path: Path, **tensors: torch.Tensor) -> Path:
    safetensors.torch.save_file(tensors, path)
    return path


def _distributed(folder: Path, change: Callable[[lists.Metadata], object], *, size: tuple[int, ...] = (4, 3)) -> Path:
    """A distributed checkpoint of one tensor of 4 times 3 in two parts, with a lie. size: what the list says."""
    torch.save(torch.ones(2, 3), folder / "__0_0.distcp")
    length = (folder / "__0_0.distcp").stat().st_size
    entry = lists.TensorStorageMetadata(lists.TensorProperties(torch.float32), torch.Size(size), [])
    stored = {lists.MetadataIndex("w", torch.Size((row, 0))): _StorageInfo("__0_0.distcp", 0, length) for row in (0, 2)}
    (folder / "__0_0.distcp").write_bytes((folder / "__0_0.distcp").read_bytes() * 2)
    next(reversed(stored.values())).offset = length
    metadata = lists.Metadata({"w": entry}, {}, stored)
    change(metadata)
    (folder / ".metadata").write_bytes(pickle.dumps(metadata))
    return folder


def _places(metadata: lists.Metadata) -> list[Any]:
    return list((metadata.storage_data or {}).values())


def _truncated(path: Path, size: int) -> Path:
    with path.open("wb") as file:
        file.truncate(size)
    return path


def _link(path: Path, target: Path) -> Path:
    path.symlink_to(target)
    return path


def _holding(*names: str) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        for name in names:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(b"x")
        return folder

    return make


REFUSED: dict[str, tuple[Callable[[Path], Any], str]] = {
    "nothing": (lambda f: f, "is a folder without a checkpoint: it is empty; name the file"),
    "other files": (_holding("notes.txt", "loss.png"), "without a checkpoint: it holds loss.png, notes.txt; name"),
    "several folders": (_holding("a/model.pt", "b/model.pt"), "several checkpoints: [ab]/, [ab]/; name one, such as"),
    "a model": (_holding("model.onnx", "config.json"), "is a model already, .*; play it with: tui-gen "),
    "parts of DeepSpeed": (_holding("mp_rank_00/x", "zero_to_fp32.py"), "python zero_to_fp32.py .* model.pt"),
    "an unpacked checkpoint": (_holding("data.pkl", "version", "data/0"), "pack it again: python -m zipfile -c"),
    "a list of nothing": (_holding("__0_0.distcp"), r"lacks \.metadata; fetch it"),
    "settings for a checkpoint": (
        lambda f: _holding("config.json")(f) / "config.json",
        "is a text file, .*; name the file with",
    ),
    "an index of a missing shard": (lambda f: _index(f, {"w": "a.safetensors"}), "lacks its part a.safetensors; fetch"),
    "an index upwards": (lambda f: _index(f, {"w": "../a.safetensors"}), r"names \.\./a.safetensors, a file outside"),
    "an index from the root": (lambda f: _index(f, {"w": "/etc/passwd"}), "names /etc/passwd, a file outside"),
    "an index of itself by dots": (lambda f: _index(f, {"w": ".."}), r"names \.\., a file outside"),
    **{
        f"an index of {what}": (lambda f, name=name: _index(f, {"w": name}), "a file outside of the folder")
        for what, name in {
            "a name with a zero": "a\0b",
            "an endless name": "é" * 200,
            "half a character": "\ud800",
            "a name in two lines": "a\nb",
        }.items()
    },
    "a shard that is a link": (
        lambda f: (_link(f / "a.safetensors", Path("/etc/passwd")), _index(f, {"w": "a.safetensors"}))[1],
        "names a.safetensors, a file outside",
    ),
    "a shard that is a link to itself": (
        lambda f: (_link(f / "a.safetensors", Path("a.safetensors")), _index(f, {"w": "a.safetensors"}))[1],
        "lacks its part",
    ),
    "a shard that is a link to a device": (
        lambda f: _link(f / "model.pt", Path("/dev/zero")),
        "is not a file",
    ),
    "thousands of shards": (
        lambda f: _index(f, {str(n): f"{n}.pt" for n in range(9999)}),
        "names 9,999 shards; at most",
    ),
    "one of many thousand shards": (_holding("model-00001-of-99999.pt"), "is one of 99,999 shards by its name"),
    "shards that are huge together": (
        lambda f: [_index(f, {n: f"{n}.pt" for n in "ab"}), *(_truncated(f / f"{n}.pt", 2**30 + 2**29) for n in "ab")][
            0
        ],
        "is larger than 2147483648 bytes in all",
    ),
    "an index that is deep": (
        lambda f: (_index(f, {}), (f / "model.safetensors.index.json").write_text('{"weight_map":' + "[" * 100_000))[0],
        "it is no JSON",
    ),
    "an index of a tensor that is not there": (
        lambda f: (_shard(f / "a.safetensors", v=torch.ones(1)), _index(f, {"w": "a.safetensors"}))[1],
        "lacks 1 tensors that it lists, such as w",
    ),
    "shards that contradict each other": (
        lambda f: (
            _shard(f / "m-1-of-2.safetensors", w=torch.ones(1)),
            _shard(f / "m-2-of-2.safetensors", w=torch.zeros(1)),
            f,
        )[2],
        "has other numbers for w than an earlier shard",
    ),
    "a shard without tensors": (
        lambda f: (torch.save({"state_dict": 3}, f / "a.pt"), _index(f, {"w": "a.pt"}))[1],
        "a.pt is no shard: it holds no tensors by name",
    ),
    "a packed folder": (lambda f: ((f / "run.tar.gz").write_bytes(b"\x1f\x8b" + bytes(40)), f)[1], "tar xzf FILE"),
    "a shard that is a page": (
        lambda f: ((f / "a.safetensors").write_text("<html>"), _index(f, {"w": "a.safetensors"}))[1],
        "a.safetensors is a web page",
    ),
    "a list that asks to run something": (
        lambda f: (_distributed(f, lambda m: None), (f / ".metadata").write_bytes(b"cos\nsystem\n(Vls\ntR."))[0],
        "asks to run os.system, which is refused",
    ),
    "a listed tensor of terabytes": (lambda f: _distributed(f, lambda m: None, size=(2**40, 2**20)), "larger than its"),
    "a listed tensor of an impossible shape": (
        lambda f: _distributed(f, lambda m: None, size=(0, 2**61, 2**61)),
        "larger than its",
    ),
    "a list that lacks a part": (
        lambda f: _distributed(f, lambda m: (m.storage_data or {}).popitem()),
        "lacks parts of w, or has some twice",
    ),
    "a list of a part twice": (
        lambda f: _distributed(
            f, lambda m: (m.storage_data or {}).update({lists.MetadataIndex("w", torch.Size((1, 0))): _places(m)[0]})
        ),
        "lacks parts of w, or has some twice|ends too early",
    ),
    "a listed part elsewhere": (
        lambda f: _distributed(f, lambda m: setattr(_places(m)[0], "relative_path", "../__0_0.distcp")),
        r"lacks its part \.\./__0_0.distcp",
    ),
    "a listed part that is longer than its file": (
        lambda f: _distributed(f, lambda m: setattr(_places(m)[0], "length", 10**12)),
        "ends too early: __0_0.distcp is shorter",
    ),
    "a listed part at a place that does not fit": (
        lambda f: _distributed(f, lambda m: None, size=(3, 3)),
        "does not fit",
    ),
    "a list of another type of numbers": (
        lambda f: _distributed(
            f,
            lambda m: setattr(m.state_dict_metadata["w"], "properties", lists.TensorProperties(torch.int8)),
        ),
        "does not fit into the tensor",
    ),
    "a list that nests without end": (
        lambda f: _distributed(f, lambda m: setattr(m, "planner_data", {"w": ("a",) * 10_000})),
        "list of tensors is damaged",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_no_checkpoint_is_told_in_a_line(name: str, tmp_path: Path) -> None:
    make, says = REFUSED[name]
    place = make(tmp_path)
    with pytest.raises(TuiGenError, match=says) as error:
        load_checkpoint(place if isinstance(place, Path) else tmp_path)
    assert "\n" not in str(error.value)


def test_an_honest_list_is_read(tmp_path: Path) -> None:
    assert load_checkpoint(_distributed(tmp_path, lambda m: None)).tensors["w"].tolist() == [[1, 1, 1]] * 4


def test_a_name_of_very_many_wrappers_takes_no_time(tmp_path: Path) -> None:
    torch.save({"module." * 20_000 + name: torch.ones(2, 2) for name in ("a.weight", "b.weight")}, tmp_path / "deep.pt")
    assert len(load_checkpoint(tmp_path / "deep.pt").tensors) == 2


def test_links_to_one_file_are_one(tmp_path: Path) -> None:
    torch.save({"a.weight": torch.ones(2, 2)}, tmp_path / "epoch_3.pt")
    _link(tmp_path / "last.pt", Path("epoch_3.pt"))
    assert load_checkpoint(tmp_path).notes == ("took epoch_3.pt of the folder",)


@pytest.fixture
def little_memory() -> Iterator[None]:
    """Two gigabytes more than the process has, as an address space."""
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    size = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (size + 2**31, hard))
    yield
    resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


def test_a_checkpoint_lies_as_deep_as_loggers_put_it(tmp_path: Path) -> None:
    folder = _holding("lightning_logs/version_0/checkpoints/x.txt", "lightning_logs/version_0/hparams.yaml")(tmp_path)
    torch.save({"a.weight": torch.ones(2)}, folder / "lightning_logs/version_0/checkpoints/epoch=3.ckpt")
    (folder / "lightning_logs/last").symlink_to("version_0")
    assert list(load_checkpoint(folder).tensors) == ["a.weight"]


@pytest.mark.usefixtures("little_memory")
def test_damaged_folders_are_told_cleanly(tmp_path: Path) -> None:
    for kind in ("distributed", "shards"):
        (tmp_path / kind).mkdir()
    _distributed(tmp_path / "distributed", lambda m: None)
    _index(tmp_path / "shards", {n: f"{n}.safetensors" for n in "ab"})
    for name in "ab":
        _shard(tmp_path / "shards" / f"{name}.safetensors", **{name: torch.ones(20, 20)})
    rng, files, refusals = random.Random(0), [file for file in sorted(tmp_path.rglob("*")) if file.is_file()], 0
    for file in files:
        content = file.read_bytes()
        mutants = [damaged(content, rng, most=1) for _ in range(COUNT // len(files))]
        refusals += count_refusals(file, mutants, partial(load_checkpoint, file.parent))
        file.write_bytes(content)
    assert COUNT / 50 < refusals < COUNT * 49 / 50, "the damage should be neither always nor never fatal"
