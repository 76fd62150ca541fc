"""A file that cannot be read is called by its name."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from export.checkpoints.load import load_checkpoint
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
    "cut.safetensors": (b"\xff" + bytes(7) + b'{"a":', "is a damaged safetensors file"),
    "pointer.pt": (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "is a pointer of Git LFS"),
    "model.pt.gz": (b"\x1f\x8b\x08" + bytes(40), "is compressed with gzip"),
    "noise.pt": (bytes(range(255, 0, -1)) * 9, "cannot be read"),
}


@pytest.mark.parametrize("name", FOREIGN)
def test_other_files_are_called_by_their_name(name: str, tmp_path: Path) -> None:
    content, says = FOREIGN[name]
    (tmp_path / name).write_bytes(content)
    with pytest.raises(TuiGenError, match=says) as error:
        load_checkpoint(tmp_path / name)
    assert "\n" not in str(error.value)


def test_torchscript_and_arrays_are_called_by_their_name(tmp_path: Path) -> None:
    torch.jit.script(nn.Linear(2, 2)).save(tmp_path / "script.pt")
    np.savez(tmp_path / "arrays.npz", a=np.ones(2))
    with pytest.raises(TuiGenError, match="is a TorchScript program"):
        load_checkpoint(tmp_path / "script.pt")
    with pytest.raises(TuiGenError, match="holds NumPy arrays"):
        load_checkpoint(tmp_path / "arrays.npz")


def test_sparse_and_quantised_tensors_are_told(tmp_path: Path) -> None:
    torch.save({"weight": torch.eye(3).to_sparse()}, tmp_path / "sparse.pt")
    torch.save({"weight": torch.empty(2, device="meta")}, tmp_path / "meta.pt")
    for name, says in (("sparse", "holds sparse tensors"), ("meta", "holds tensors without numbers")):
        with pytest.raises(TuiGenError, match=says):
            load_checkpoint(tmp_path / f"{name}.pt")


@pytest.mark.parametrize("target", ["missing", "folder"])
def test_no_file_is_told(target: str, tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    with pytest.raises(TuiGenError, match=r"cannot be read: No such file|is not a file"):
        load_checkpoint(tmp_path / target)
