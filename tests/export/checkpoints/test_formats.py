"""Every file is read, or called by what it is; damage of any kind gives a checkpoint or one clean line."""

from __future__ import annotations

import io
import json
import pickle
import random
import resource
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
from torch import nn

from export.checkpoints.formats import read_zip
from export.checkpoints.load import load_checkpoint
from export.checkpoints.values import plain
from tests.support.damage import damaged, with_damaged_parts
from tui_gen.errors import TuiGenError

pytestmark = pytest.mark.filterwarnings("ignore:.*torch.jit.*")

FOREIGN = {
    "empty.pt": (b"", "is empty"),
    "notes.txt": (b"epoch 1: all is well\n", "is a text file"),
    "page.pt": (b"<!DOCTYPE html><html>404</html>", "is a web page"),
    "model.h5": (b"\x89HDF\r\n\x1a\n" + bytes(64), "is a Keras"),
    "model.t7": (b"\x04\x00\x00\x00\x01\x00\x00\x00" + bytes(64), "is a Lua Torch file"),
    "model.gguf": (b"GGUF" + bytes(64), "is a GGUF file"),
    "model.pb": (b"\x0a\x00" * 30, "is a TensorFlow file"),
    "model.onnx": (b"\x08\x08\x12\x07pytorch" + bytes(40), "is an ONNX file"),
    "flax.bin": (b"\x82\xa6params\x81\xa1a\xc0", "is a Flax file"),
    "model.ckpt": (bytes(99) + b"\x57\xfb\x80\x8b\x24\x75\x47\xdb", "is a TensorFlow file"),
    "old.pt": (bytes(257) + b"ustar" + bytes(300), "is a tar archive"),
    "mots.txt": ("é".encode() * 3000 + b"x", "is a text file"),
    "cut.safetensors": (b"\xff" + bytes(7) + b'{"a":', "is a damaged or incomplete safetensors file"),
    "pointer.pt": (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "is a pointer of Git LFS"),
    "model.pt.gz": (b"\x1f\x8b\x08" + bytes(40), "is compressed with gzip; .* gunzip < FILE > model.pt"),
    "zeros.pt": (bytes(6000), "begins with nothing but zeros; the copy broke off"),
    "missing.pt": (b"Entry not found", "is a text file, not a checkpoint; it begins with: Entry not found"),
    "denied.pt": (b"<?xml version='1.0'?><Error><Code>AccessDenied</Code></Error>", "is an XML page"),
    "model.tflite": (b"\x1c\x00\x00\x00TFL3" + bytes(40), "is a TensorFlow Lite file"),
    "model.mlmodel": (b"\x08\x04\x12\x10" + bytes(40), "is a file of Core ML"),
    "model.pdparams": (pickle.dumps({"a.weight": 0}), "is a file of PaddlePaddle"),
    "paddle.pt": (pickle.dumps({"StructuredToParameterName@@": {}}), "is a file of PaddlePaddle"),
    "arrays.pkl": (
        b"\x80\x04\x95\x30\0\0\0\0\0\0\0\x8c\x13joblib.numpy_pickle" + bytes(99),
        "is a file of joblib; .* with",
    ),
    "model.pt.zst": (b"\x28\xb5\x2f\xfd" + bytes(40), "is compressed with zstd; unpack it first"),
    "rows.pt": (b"SQLite format 3\0" + bytes(40), "is a database"),
    "noise.pt": (bytes(range(255, 0, -1)) * 9, "cannot be read"),
}


@pytest.mark.parametrize("name", FOREIGN)
def test_other_files_are_called_by_their_name(name: str, tmp_path: Path) -> None:
    content, says = FOREIGN[name]
    (tmp_path / name).write_bytes(content)
    with pytest.raises(TuiGenError, match=says) as error:
        load_checkpoint(tmp_path / name)
    assert "\n" not in str(error.value)


SAVED: dict[str, tuple[Callable[[Path], object], str]] = {
    "frozen": (lambda path: torch.jit.freeze(torch.jit.script(nn.Linear(2, 2)).eval()).save(path), "are frozen into"),
    "arrays": (lambda path: np.savez(str(path), a=np.ones(2)), "holds NumPy arrays"),
    "sparse": (lambda path: torch.save({"weight": torch.eye(3).to_sparse()}, path), "holds sparse tensors"),
    "meta": (lambda path: torch.save({"a": torch.empty(2, device="meta")}, path), "holds tensors without numbers"),
}


@pytest.mark.parametrize("name", SAVED)
def test_programs_arrays_and_unusual_tensors_are_called_by_their_name(name: str, tmp_path: Path) -> None:
    save, says = SAVED[name]
    save(tmp_path / "file.npz")
    with pytest.raises(TuiGenError, match=says):
        load_checkpoint(tmp_path / "file.npz")


def test_no_file_is_told(tmp_path: Path) -> None:
    for path, says in ((tmp_path / "missing", "cannot be read: No such file"), (tmp_path, "a folder .* it is empty")):
        with pytest.raises(TuiGenError, match=says):
            load_checkpoint(path)


def exported(**change: Any) -> bytes:
    """An archive of torch.export with one tensor of 2 times 3. change: of what its list says of the tensor."""
    numbers = {"dtype": 7, "sizes": [2, 3], "strides": [3, 1], "storage_offset": 0} | change
    meta = {
        key: [{"as_int": n} for n in value] if isinstance(value, list) else {"as_int": value}
        for key, value in numbers.items()
    } | {"dtype": numbers["dtype"]}
    entry = {"path_name": "weight_0", "is_param": True, "use_pickle": False, "tensor_meta": meta}
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("net/archive_format", "pt2")
        archive.writestr("net/models/model.json", "{}")
        archive.writestr("net/data/weights/weight_0", bytes(24))
        archive.writestr("net/data/weights/model_weights_config.json", json.dumps({"config": {"a.weight": entry}}))
    return out.getvalue()


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"sizes": [2**40, 3]}, "a tensor that is larger than the file"),
        ({"strides": [2**40, 1]}, "a tensor that is larger than the file"),
        ({"storage_offset": 7}, "a tensor that is larger than the file"),
        ({"sizes": [-2, 3]}, "is a damaged torch.export archive"),
        ({"dtype": 99}, "is a damaged torch.export archive"),
    ],
)
def test_an_exported_program_that_lies_is_told(change: dict[str, Any], says: str, tmp_path: Path) -> None:
    (tmp_path / "net.pt2").write_bytes(exported())
    assert load_checkpoint(tmp_path / "net.pt2").tensors["a.weight"].shape == (2, 3)
    (tmp_path / "net.pt2").write_bytes(exported(**change))
    with pytest.raises(TuiGenError, match=says):
        load_checkpoint(tmp_path / "net.pt2")


class Blocks(io.BytesIO):
    """A file that is never read as a whole."""

    def read(self, size: int | None = -1) -> bytes:
        content = super().read(size)
        assert len(content) <= 2**20
        return content


def test_a_zip_file_is_read_part_by_part() -> None:
    numbers, file = torch.arange(2**20), io.BytesIO()
    torch.save({"weight": numbers}, file)
    form, value = read_zip(Blocks(file.getvalue()))
    assert form == "PyTorch zip file"
    assert torch.equal(plain(value, file_size=2**23)["weight"], numbers)


def test_a_zip_file_of_very_many_parts_is_told_before_it_is_listed(tmp_path: Path) -> None:
    (tmp_path / "many.pt").write_bytes(b"PK\x03\x04" + b"PK\x01\x02" * 300_000)
    with pytest.raises(TuiGenError, match="holds more than 200,000 parts"):
        load_checkpoint(tmp_path / "many.pt")


@pytest.mark.parametrize("suffix", [".safetensors", ".pt", ".txt", ".h5", ".json5"])
def test_a_wrong_extension_does_no_harm(suffix: str, tmp_path: Path) -> None:
    for content in [*_originals()[:2], safetensors.torch.save({"a.weight": torch.ones(2)})]:
        (tmp_path / f"net{suffix}").write_bytes(content)
        assert load_checkpoint(tmp_path / f"net{suffix}").tensors


COUNT = 2000
MEMORY = 6 * 2**30
ROOT = Path(__file__).parents[3]


def _originals() -> list[bytes]:
    """Small files of every form."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Embedding(5, 3), nn.LSTM(3, 2), nn.Linear(2, 5))
    contents = {"state_dict": net.state_dict(), "vocab": {"a": 0, "b": 1}, "args": ("x", 1.5, None, True)}
    files = []
    for value in (contents, net, [net, nn.CrossEntropyLoss()]):
        for new in (True, False):
            stream = io.BytesIO()
            torch.save(value, stream, _use_new_zipfile_serialization=new)
            files.append(stream.getvalue())
    files.append(safetensors.torch.save(dict(net.state_dict())))
    scripted = io.BytesIO()
    torch.jit.save(torch.jit.script(net[0]), scripted)
    files += [scripted.getvalue(), exported()]
    arrays = {"weight": np.ones((2, 3)), "bias": torch.ones(2), "words": np.array(["a", "b"]), "seen": {1, 2}}
    files.extend(pickle.dumps(arrays, protocol) for protocol in (0, 2, 5))
    return files


def _mutants(count: int) -> Iterator[bytes]:
    rng, originals = random.Random(0), _originals()
    for index in range(count):
        data = originals[index % len(originals)]
        inside = data[:2] == b"PK" and rng.random() < 0.7
        yield with_damaged_parts(data, rng, "data.pkl", ".json", ".py") if inside else damaged(data, rng)


def fuzz(folder: Path) -> None:
    """Reads all mutants; anything but a checkpoint or a clean line ends it with a traceback."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    path, clean, refusals = folder / "mutant.pt", 0, 0
    for mutant in _mutants(COUNT):
        path.write_bytes(mutant)
        try:
            load_checkpoint(path)
            clean += 1
        except TuiGenError as fault:
            refusals += "\n" not in str(fault)
    print(clean, refusals)


def test_two_thousand_damaged_files_are_told_cleanly(tmp_path: Path) -> None:
    module = "tests.export.checkpoints.test_formats"
    code = f"from pathlib import Path; from {module} import fuzz; fuzz(Path({str(tmp_path)!r}))"
    command = [sys.executable, "-c", code]
    process = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert process.returncode == 0, process.stderr[-2000:]
    clean, refusals = map(int, process.stdout.split())
    assert clean + refusals == COUNT
    assert min(clean, refusals) > COUNT / 20, "the damage should be neither always nor never fatal"
