"""Files that cannot be a checkpoint: what each is, what that means, and what to type next."""

from __future__ import annotations

import codecs
import zipfile
import zlib
from collections.abc import Sequence

from tui_gen.terminal_text import scrub_line

CHECKPOINT_SUFFIXES = (
    *(".pt", ".pth", ".ckpt", ".bin", ".safetensors", ".tar", ".net", ".pkl", ".pickle", ".p", ".model", ".torch"),
    *(".pt2", ".jit", ".chkpt", ".weights", ".th", ".ptc", ".pyt", ".mdl", ".ptl", ".t7", ".dict", ".statedict"),
)
"""What files of checkpoints are called."""
HEAD, _SCANNED = 4096, 2**22
"""Bytes of a file that tell text from others, and in which words are looked for."""
ZEROS = "begins with nothing but zeros; the copy broke off: copy or download it again"
_SHOWN = 80
"""Characters of a stranger's text in a message."""
_LISTED = 6
_ONLY_PYTORCH = "only PyTorch networks are converted"

_GZIP = b"\x1f\x8b"
_FOREIGN_MAGIC = (
    (b"GGUF", "is a GGUF file, which holds a transformer; only recurrent networks and PixelCNNs are converted"),
    (b"\x93NUMPY", "is a NumPy array, not a checkpoint; save the network's state_dict with torch.save"),
    (_GZIP, "is compressed with gzip; unpack it first: gunzip < FILE > model.pt"),
    (b"BZh", "is compressed with bzip2; unpack it first"),
    (b"\xfd7zXZ", "is compressed with xz; unpack it first"),
    (b"\x28\xb5\x2f\xfd", "is compressed with zstd; unpack it first: unzstd FILE"),
    (b"\x04\x22\x4d\x18", "is compressed with lz4; unpack it first: unlz4 FILE"),
    (b"Rar!", "is a RAR archive; unpack it first"),
    (b"7z\xbc\xaf", "is a 7z archive; unpack it first"),
    (b"version https://git-lfs", "is a pointer of Git LFS, not the file itself; fetch it with `git lfs pull`"),
    *((bytes((4, 0, 0, 0, kind, 0, 0, 0)), f"is a Lua Torch file (.t7); {_ONLY_PYTORCH}") for kind in (1, 2, 3)),
    (b"\x89PNG", "is a picture"),
    (b"%PDF", "is a PDF document"),
    (b"\x7fELF", "is a program"),
    (b"SQLite format 3", "is a database of SQLite"),
    (b"PAR1", "is a table (Parquet)"),
)
_OF_WORDS = (
    (b"joblib.numpy_pickle", "is a file of joblib; load it where it was made and save the network with torch.save"),
    (b"StructuredToParameterName@@", f"is a file of PaddlePaddle; {_ONLY_PYTORCH}"),
)
"""Words that stand in the pickles of others."""
_OF_NAMES = (
    ((".mlmodel",), f"is a file of Core ML; {_ONLY_PYTORCH}"),
    ((".pdparams", ".pdopt", ".pdmodel"), f"is a file of PaddlePaddle; {_ONLY_PYTORCH}"),
)
"""Endings that nobody gives to a checkpoint of PyTorch."""
_HDF5 = b"\x89HDF\r\n\x1a\n"
_TRAININGS = (
    ((b"LSTM", b"lstm"), "recipes-lstm", "recipes.jsonl"),
    ((b'"GRU"', b"gru_cell", b"/gru"), "recipes-gru", "recipes.jsonl"),
    ((b"SimpleRNN", b"simple_rnn"), "recipes-rnn", "recipes.jsonl"),
    ((b"recurrent_kernel",), "recipes-lstm", "recipes.jsonl"),
    ((b"PixelConvLayer", b"pixel_conv", b"Conv2D", b"conv2d"), "fashion-book", "fashion_mnist"),
)
"""Words in a Keras file, the training of the trainer's that makes the same network, and the data it reads."""
_TENSORFLOW_NAMES = (".index", ".pb", ".meta")
_SSTABLE = b"\x57\xfb\x80\x8b\x24\x75\x47\xdb"
"""The end of a table of TensorFlow's, whatever its name."""
_ONNX_FIELDS = (b"\x12", b"\x1a", b":")
"""What follows the version in a file of ONNX: producer, its version, or the graph."""
_OURS = (b"P", b"\x80")
"""What zip files and pickles begin with."""


def recognise_foreign(data: bytes, name: str) -> str:
    """What a file is that cannot be a checkpoint; empty if it may be one. name: of the file, in lower case."""
    if data.startswith(_GZIP) and name.endswith((".tar.gz", ".tgz")):
        return "is a packed folder (tar, gzip); unpack it first: tar xzf FILE"
    known = [what for magic, what in _FOREIGN_MAGIC if data.startswith(magic)]
    known += [what for word, what in _OF_WORDS if data[:1] == b"\x80" and data.find(word, 0, _SCANNED) >= 0]
    known += [what for suffixes, what in _OF_NAMES if name.endswith(suffixes)]
    return next(iter(known), "") or _of_other_frameworks(data, name) or _text(data)


def keras(what: str, content: bytes) -> str:
    """What a file of Keras is, and the training here that makes the same network as far as its words tell."""
    training = next((rest for words, *rest in _TRAININGS if any(word in content for word in words)), None)
    if training is None:
        return f"{what}; {_ONLY_PYTORCH}, and `tui-gen train --help` names the networks that can be trained here"
    name, data = training
    command = f"tui-gen train {name} --data {data} -o runs/{name}"
    return f"{what}; {_ONLY_PYTORCH}, but the book's network of this kind is trained here: {command}"


def _of_other_frameworks(data: bytes, name: str) -> str:
    """By more than how the file begins."""
    if data.startswith(_HDF5):
        return keras("is a Keras (HDF5) file", data)
    by_name = data[:1] not in _OURS and (name.endswith(_TENSORFLOW_NAMES) or ".data-0000" in name)
    if by_name or data[-8:] == _SSTABLE:
        return keras("is a TensorFlow file", data)
    if data[:1] == b"\x08" and (name.endswith(".onnx") or data[2:3] in _ONNX_FIELDS or b"onnx" in data[:200].lower()):
        return "is an ONNX file already; the exporter reads PyTorch checkpoints"
    is_flax = name.endswith(".msgpack") or (data[0] & 0xF0 == 0x80 and data[1:2] > b"\x9f")
    if is_flax or data[4:8] == b"TFL3":
        return f"is a {'Flax file (MessagePack)' if is_flax else 'TensorFlow Lite file'}; {_ONLY_PYTORCH}"
    if data[257:262] == b"ustar":
        return "is a tar archive, or a checkpoint of PyTorch before 0.1.10; unpack it, or save it anew"
    return ""


def _text(data: bytes) -> str:
    """Text is no checkpoint, but for the first protocol of pickle, whose text ends with a full stop."""
    head = data[:HEAD]
    start = head.removeprefix(codecs.BOM_UTF8).lstrip().lower()
    if start.startswith((b"<!doctype", b"<html", b"<head", b"<!--")):
        return "is a web page; the download went wrong: download the file itself, not the page about it"
    if start.startswith(b"<?xml"):
        return "is an XML page, such as a store answers with when a file is not there; download it again"
    if not head.strip(b"\0"):
        return ZEROS
    if b"\0" in head or (data[-16:].rstrip()[-1:] == b"." and data[:1] in b"(cSI]d}l"):
        return ""
    try:
        text = codecs.getincrementaldecoder("utf-8")().decode(head)  # which may end inside of a character
    except UnicodeDecodeError:
        return ""
    line = scrub_line(text.strip().partition("\n")[0][:_SHOWN])
    return f"is a text file, not a checkpoint; it begins with: {line}" if all(byte >= 9 for byte in head) else ""


def recognise_foreign_zip(archive: zipfile.ZipFile) -> str:
    """What a zip file is that holds no `data.pkl`."""
    names = archive.namelist()
    if "metadata.json" in names and any(name.endswith(".weights.h5") for name in names):
        return keras("is a Keras file", _beginning(archive, "config.json"))
    if any(name.endswith(".npy") for name in names):
        return "holds NumPy arrays (.npz); save the network's state_dict with torch.save"
    if any(name.endswith("saved_model.pb") for name in names):
        return keras("is a TensorFlow SavedModel in a zip file", b"")
    if any(name.endswith("/model.json") for name in names) and any("/tensors/" in name for name in names):
        return "is a TorchScript archive of PyTorch before 1.1; load it there and save its state_dict"
    return _other_zip(names)


def _other_zip(names: list[str]) -> str:
    if any("/.data/extern_modules" in f"/{name}" for name in names):
        return (
            "is an archive of torch.package, whose network only its own code can load; load it where it was made and "
            "save the network's state_dict"
        )
    inside = [name for name in names if name.endswith(CHECKPOINT_SUFFIXES)]
    if inside:
        return f"is a zip archive around {listing(inside)}; unpack it and name that file"
    return f"is a zip archive, but none of PyTorch's: it holds {listing(names) or 'nothing'}"


def _beginning(archive: zipfile.ZipFile, name: str) -> bytes:
    """Of a part; nothing of one that is not there, or damaged."""
    try:
        with archive.open(name) as part:
            return part.read(_SCANNED)
    except (KeyError, OSError, ValueError, NotImplementedError, RuntimeError, EOFError, zipfile.BadZipFile, zlib.error):
        return b""


def listing(names: Sequence[str]) -> str:
    """The first few names, for a message."""
    more = f", ... ({len(names)} in all)" if len(names) > _LISTED else ""
    return ", ".join(scrub_line(name[:_SHOWN]) for name in names[:_LISTED]) + more
