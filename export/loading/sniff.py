"""Recognises files that are no PyTorch checkpoints, and says what they are."""

from __future__ import annotations

import codecs
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
_TENSORFLOW_NAMES = (".index", ".pb", ".meta")
_SSTABLE = b"\x57\xfb\x80\x8b\x24\x75\x47\xdb"
"""The end of a table of TensorFlow's, whatever its name."""
_ONNX_FIELDS = (b"\x12", b"\x1a", b":")
"""What follows the version in a file of ONNX: producer, its version, or the graph."""
_OURS = (b"P", b"\x80")
"""What zip files and pickles begin with."""


def foreign(data: bytes, name: str) -> str:
    """What a file is that cannot be a checkpoint; empty if it may be one. name: of the file, in lower case."""
    known = next((what for magic, what in _MAGIC if data.startswith(magic)), "")
    return known or _of_other_frameworks(data, name) or _text(data)


def _of_other_frameworks(data: bytes, name: str) -> str:
    """By more than how the file begins."""
    named = data[:1] not in _OURS and (name.endswith(_TENSORFLOW_NAMES) or ".data-0000" in name)
    if named or data[-8:] == _SSTABLE:
        return _TENSORFLOW
    if data[:1] == b"\x08" and (name.endswith(".onnx") or data[2:3] in _ONNX_FIELDS or b"onnx" in data[:200].lower()):
        return "is an ONNX file already; the exporter reads PyTorch checkpoints"
    if name.endswith(".msgpack") or (data[0] & 0xF0 == 0x80 and data[1:2] > b"\x9f"):
        return "is a Flax file (MessagePack); only PyTorch networks are converted"
    if data[257:262] == b"ustar":
        return "is a tar archive, or a checkpoint of PyTorch before 0.1.10; unpack it, or save it anew"
    return ""


def _text(data: bytes) -> str:
    """Text is no checkpoint, but for the first protocol of pickle, whose text ends with a full stop."""
    head = data[:4096]
    if head.lstrip().lower().startswith((b"<!doctype html", b"<html")):
        return "is a web page; the download went wrong"
    if b"\0" in head or (data[-16:].rstrip()[-1:] == b"." and data[:1] in b"(cSI]d}l"):
        return ""
    try:
        codecs.getincrementaldecoder("utf-8")().decode(head)  # which may end inside of a character
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
    return "is a zip archive, but none of PyTorch's; unpack it if a checkpoint is inside"
