"""Recognises files that are no PyTorch checkpoints, and says what they are."""

from __future__ import annotations

import zipfile

_MAGIC = (
    (b"\x89HDF\r\n\x1a\n", "is a Keras (HDF5) file; only PyTorch networks are converted"),
    (b"GGUF", "is a GGUF file, which holds a transformer; only recurrent networks and PixelCNNs are converted"),
    (b"\x93NUMPY", "is a NumPy array, not a checkpoint; save the network's state_dict with torch.save"),
    (b"\x1f\x8b", "is compressed with gzip; unpack it first"),
    (b"BZh", "is compressed with bzip2; unpack it first"),
    (b"\xfd7zXZ", "is compressed with xz; unpack it first"),
    (b"Rar!", "is a RAR archive; unpack it first"),
    (b"7z\xbc\xaf", "is a 7z archive; unpack it first"),
    (b"version https://git-lfs", "is a pointer of Git LFS, not the file itself; fetch it with `git lfs pull`"),
    (b"\x04\x00\x00\x00\x01\x00\x00\x00", "is a Lua Torch file (.t7); only PyTorch networks are converted"),
    (b"\x04\x00\x00\x00\x02\x00\x00\x00", "is a Lua Torch file (.t7); only PyTorch networks are converted"),
    (b"\x04\x00\x00\x00\x03\x00\x00\x00", "is a Lua Torch file (.t7); only PyTorch networks are converted"),
    (b"\x89PNG", "is a picture"),
    (b"%PDF", "is a PDF document"),
    (b"\x7fELF", "is a program"),
)
_TENSORFLOW = "is a TensorFlow file; only PyTorch networks are converted"


def foreign(data: bytes, name: str) -> str:
    """What a file is that cannot be a checkpoint; empty if it may be one. name: of the file."""
    for magic, what in _MAGIC:
        if data.startswith(magic):
            return what
    head = data[:512].lstrip().lower()
    if head.startswith((b"<!doctype html", b"<html")):
        return "is a web page; the download went wrong"
    if data[257:262] == b"ustar":
        return "is a tar archive, or a checkpoint of PyTorch before 0.1.10; unpack it, or save it anew"
    if name.endswith((".index", ".pb", ".meta")) or ".data-0000" in name:
        return _TENSORFLOW
    if name.endswith(".onnx") or (data[:1] == b"\x08" and b"onnx" in data[:200].lower()):
        return "is an ONNX file already; the exporter reads PyTorch checkpoints"
    return _text(data)


def _text(data: bytes) -> str:
    """Text is none of a checkpoint, but for the first protocol of pickle, whose text ends with a full stop."""
    head = data[:4096]
    if b"\0" in head or (data.rstrip()[-1:] == b"." and data[:1] in b"(cSI]d}l"):
        return ""
    try:
        head.decode("utf-8")
    except UnicodeDecodeError:
        return ""
    return "is a text file, not a checkpoint" if all(byte >= 9 for byte in head) else ""


def foreign_zip(archive: zipfile.ZipFile) -> str:
    """What a zip file is that holds no `data.pkl`, or one that does not hold plain values."""
    names = archive.namelist()
    if any("/code/" in name or name.endswith("constants.pkl") for name in names):
        return "is a TorchScript program; save the state_dict of the network that it was made from"
    if "metadata.json" in names and any(name.endswith(".weights.h5") for name in names):
        return "is a Keras file; only PyTorch networks are converted"
    if any(name.endswith(".npy") for name in names):
        return "holds NumPy arrays (.npz); save the network's state_dict with torch.save"
    if any(name.endswith("saved_model.pb") for name in names):
        return _TENSORFLOW
    return "is a zip archive without a checkpoint in it"
