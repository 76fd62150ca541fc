"""Where a checkpoint's files are: one file, the shards of an index, a distributed checkpoint, or a folder with one."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Any

from tui_gen.errors import TuiGenError
from tui_gen.files import MAX_BYTES, read_beginning, read_bytes
from tui_gen.json_fields import parse_json

from .foreign import CHECKPOINT_SUFFIXES, keras, listing, recognise_foreign

DISTRIBUTED = ".metadata"
"""The list of tensors in a folder of torch.distributed.checkpoint."""
_INDEX = ".index.json"
_PLAIN_NAME = re.compile(r"[^\x00-\x1f/\\\ud800-\udfff]+")
_LONGEST_NAME = 255
"""Bytes that a file system allows."""
_SHARD = re.compile(r"(.+?)[-_](\d{1,5})-of-(\d{1,5})(\.\w+)")
_BESIDE = re.compile(
    r"optim|sched|scaler|(^|[_.-])rng|random_state|custom_checkpoint|training_args|trainer_state|sampler|dataloader|"
    r"tokenizer|vocab|^meta\.pt$",
    re.IGNORECASE,
)
"""What trainers write beside a network."""
_FOREIGN_SUFFIXES = (".keras", ".h5", ".hdf5", ".tflite", ".msgpack", ".gz", ".zip")
"""Of files that say themselves what they are, in a folder without anything else."""
_DEPTH = 3
"""Folders within folders that are looked into, as loggers nest them."""
_MOST_FILES = 4096
_MOST_FOLDERS = 32
_MOST_ENTRIES = 10_000
"""Of a folder that are looked at."""
_MOST_JSON = 2**24
_NEW_DOWNLOAD = "fetch it and put it beside the others"


@dataclass(frozen=True)
class Location:
    """The files that together are a checkpoint."""

    files: tuple[Path, ...]
    """One, or all shards in the order of their names; of a distributed checkpoint its list first."""
    distributed: bool = False
    weight_map: Mapping[str, str] | None = None
    """Names of tensors with the shard that holds each, where there is an index."""
    facts: Mapping[str, Any] = field(default_factory=dict)
    """Settings that stand in other files of the folder."""
    notes: tuple[str, ...] = ()


def locate(path: Path) -> Location:
    """The files of the checkpoint that a path names.

    Raises TuiGenError, in one line, for a folder that holds none or several, for shards that are missing, and for an
    index that names files outside of its folder.
    """
    if path.is_dir():
        return _in_folder(path, depth=0)
    if path.name.endswith((_INDEX, ".json")) and path.is_file():
        return _of_index(path)
    if path.name == DISTRIBUTED or path.suffix == ".distcp":
        return replace(_in_folder(path.parent, depth=0), notes=(f"took the whole checkpoint in {path.parent}",))
    return _with_siblings(path)


def _in_folder(folder: Path, *, depth: int) -> Location:
    names = _names(folder)
    if any(name.endswith(".distcp") for name in names):
        return _distributed(folder, names)
    is_unpacked = {"data.pkl", "data", "version"} <= {*names}
    places = [] if is_unpacked else [folder / name for name in _checkpoints(folder, names)]
    if not places and depth < _DEPTH:
        places = [place for place in _folders(folder, names) if _holds_checkpoint(place, _DEPTH - depth - 1)]
        places = places or [folder / name for name in names if name.endswith(_FOREIGN_SUFFIXES)][:1]
    if len(places) != 1:
        raise TuiGenError(f"{folder} {_contents(folder, names, places)}")
    (place,) = places
    location = _in_folder(place, depth=depth + 1) if place.is_dir() else locate(place)
    facts = {**_settings(folder, names), **location.facts}
    return replace(location, facts=facts, notes=(f"took {place.name} of the folder", *location.notes))


def _names(folder: Path) -> list[str]:
    try:
        with os.scandir(folder) as entries:
            return sorted(entry.name for entry in islice(entries, _MOST_ENTRIES))
    except OSError as fault:
        raise TuiGenError(f"{folder} cannot be read: {fault.strerror}") from None


def _checkpoints(folder: Path, names: Iterable[str]) -> list[str]:
    """Names of files that may each be a network; one for all shards of it, and for all links to one file."""
    indexes = [name for name in names if name.endswith(_INDEX)]
    others = [name for name in names if _is_named_so(folder / name) and not _BESIDE.search(name)]
    files: dict[object, str] = {}
    for name in [*indexes, *others]:
        shard = _SHARD.fullmatch(name)
        stem = shard[1] if shard else name.removesuffix(_INDEX).rpartition(".")[0] if name.endswith(_INDEX) else ""
        suffix = Path(name.removesuffix(_INDEX)).suffix
        if (folder / name).is_file():
            files.setdefault((stem, suffix) if stem else os.path.realpath(folder / name), name)
    return _without_second_format([*files.values()])


def _is_named_so(path: Path) -> bool:
    """Whether a file is called like a checkpoint, or has a name without a dot and begins like one."""
    if "." in path.name or not path.is_file():
        return path.name.lower().endswith(CHECKPOINT_SUFFIXES)
    return read_beginning(path, 4).startswith(
        (b"PK\x03\x04", *(b"\x80" + bytes([protocol]) for protocol in range(2, 6)))
    )


def _without_second_format(names: list[str]) -> list[str]:
    """Hugging Face's folders have one network in two formats."""
    has_safetensors = any(name.startswith("model") and ".safetensors" in name for name in names)
    return [name for name in names if not (has_safetensors and name.startswith("pytorch_model"))]


def _holds_checkpoint(folder: Path, depth: int) -> bool:
    """Whether there is one in a folder, or so many folders further down."""
    names = _names(folder)
    if any(name.endswith(".distcp") for name in names) or _checkpoints(folder, names):
        return True
    return depth > 0 and any(_holds_checkpoint(inner, depth - 1) for inner in _folders(folder, names))


def _folders(folder: Path, names: Iterable[str]) -> list[Path]:
    """Those within a folder that are neither hidden nor somewhere else, the first few."""
    inner = (folder / name for name in names if not name.startswith("."))
    return list(islice((path for path in inner if path.is_dir() and not path.is_symlink()), _MOST_FOLDERS))


def _settings(folder: Path, names: list[str]) -> dict[str, Any]:
    """Of a `config.json` beside the weights, unless it is a link to somewhere else."""
    if "config.json" not in names or not _is_inside(folder, "config.json"):
        return {}
    settings = _json(folder / "config.json")
    return {"config": settings} if isinstance(settings, dict) else {}


def _contents(folder: Path, names: list[str], places: list[Path]) -> str:
    """What a folder is that holds no checkpoint, or several."""
    if places:
        sizes = [f"{place.name}{_size(place)}" for place in sorted(places, key=_age)]
        return f"is a folder with several checkpoints: {listing(sizes)}; name one, such as {min(places, key=_age)}"
    what = f"it holds {listing(names)}" if names else "it is empty"
    return _recognise(folder, names) or (
        f"is a folder without a checkpoint: {what}; name the file that the training script saved"
    )


def _recognise(folder: Path, names: list[str]) -> str:
    """What else a folder is; empty if nothing is known of it."""
    if "saved_model.pb" in names:
        return keras("is a SavedModel of Keras", read_beginning(folder / "saved_model.pb", _MOST_JSON))
    index = next((name for name in names if name.endswith(".index")), "")
    if index:
        return keras("is a folder with a checkpoint of TensorFlow", read_beginning(folder / index, _MOST_JSON))
    if any(name.startswith(("mp_rank_", "zero_pp_rank_", "zero_to_fp32")) for name in names):
        return f"is a checkpoint of DeepSpeed; gather it into one file first: python zero_to_fp32.py {folder} model.pt"
    if "data.pkl" in names:
        return f"is a checkpoint that was unpacked; pack it again: python -m zipfile -c {folder.name}.pt {folder}/"
    is_model = {"model.onnx", "config.json"} <= {*names}
    return f"is a model already, not a checkpoint; play it with: tui-gen {folder}" if is_model else ""


def _age(place: Path) -> float:
    """Seconds; the newest has the least."""
    try:
        return -place.stat().st_mtime
    except OSError:
        return 0.0


def _size(place: Path) -> str:
    size = place.stat().st_size
    amount = f"{size / 1e6:.1f} MB" if size > 1e5 else f"{size / 1e3:.1f} kB"
    return f" ({amount})" if place.is_file() else "/"


def _distributed(folder: Path, names: list[str]) -> Location:
    parts = [name for name in names if name.endswith(".distcp")]
    if DISTRIBUTED not in names:
        raise TuiGenError(f"{folder} is a distributed checkpoint that lacks {DISTRIBUTED}; {_NEW_DOWNLOAD}")
    beside = ("meta.pt",) if "meta.pt" in names else ()
    files = [_inside(folder, name) for name in (DISTRIBUTED, *parts, *beside)]
    return _checked(folder, Location(tuple(files), distributed=True, facts=_settings(folder, names)))


def _of_index(path: Path) -> Location:
    content = read_beginning(path, _MOST_JSON)
    index = _json(path) if content.lstrip()[:1] == b"{" else None
    weight_map = index.get("weight_map") if isinstance(index, dict) else None
    if not isinstance(weight_map, dict) or not all(isinstance(name, str) for name in weight_map.values()):
        is_json = "is a JSON file, not an index of shards" if isinstance(index, dict) else "is damaged: it is no JSON"
        foreign = "" if content.lstrip()[:1] == b"{" else recognise_foreign(content, path.name)
        raise TuiGenError(f"{path} {foreign or is_json}; name the file with the weights")
    names = sorted(set(weight_map.values()))
    if len(names) > _MOST_FILES:
        raise TuiGenError(f"{path} names {len(names):,} shards; at most {_MOST_FILES:,} are read")
    files = tuple(_inside(path.parent, name) for name in names)
    return _checked(path, Location(files, weight_map=weight_map, notes=(f"read {len(names)} shards by {path.name}",)))


def _with_siblings(path: Path) -> Location:
    """A file, with the other shards of its network if its name says that it is one of several."""
    shard = _SHARD.fullmatch(path.name)
    if not shard or int(shard[3]) < 2:
        return Location((path,))
    stem, count, suffix = shard[1], int(shard[3]), shard[4]
    index = path.with_name(f"{stem}{suffix}{_INDEX}")
    if index.is_file():
        return _of_index(index)
    if count > _MOST_FILES:
        raise TuiGenError(f"{path} is one of {count:,} shards by its name; at most {_MOST_FILES:,} are read")
    start, end = path.name[: shard.start(2)], path.name[shard.end(2) :]
    first = 0 if int(shard[2]) == 0 or (path.parent / f"{start}{0:0{len(shard[2])}}{end}").exists() else 1
    names = [f"{start}{number:0{len(shard[2])}}{end}" for number in range(first, first + count)]
    missing = [name for name in names if not (path.parent / name).exists()]
    if missing:
        raise TuiGenError(
            f"{path} is one of {count} shards of a network; of them {listing(missing)} lack; {_NEW_DOWNLOAD}"
        )
    files = tuple(_inside(path.parent, name) for name in names)
    return _checked(path, Location(files, notes=(f"read all {count} shards: {listing(names)}",)))


def _inside(folder: Path, name: str) -> Path:
    """A file of a folder that another file names. Raises TuiGenError for one anywhere else, by a path or by a link."""
    if not _is_inside(folder, name):
        raise TuiGenError(
            f"{folder} names {listing([name])}, a file outside of the folder, which is refused; copy it into the folder"
        )
    return folder / name


def _is_inside(folder: Path, name: str) -> bool:
    """Hugging Face's cache keeps the files of `snapshots/REVISION` as links into `blobs`."""
    if not _PLAIN_NAME.fullmatch(name) or len(name.encode()) > _LONGEST_NAME:
        return False
    home = Path(os.path.realpath(folder))
    target = Path(os.path.realpath(folder / Path(name).name))
    return Path(name).name == name and target.parent in (home, home.parent.parent / "blobs")


def _checked(path: Path, location: Location) -> Location:
    """Raises TuiGenError if files are missing, or larger all together than a file may be."""
    missing = [file.name for file in location.files if not file.is_file()]
    if missing:
        raise TuiGenError(f"{path} lacks its part {listing(missing)}; {_NEW_DOWNLOAD}")
    if sum(file.stat().st_size for file in location.files) > MAX_BYTES:
        raise TuiGenError(f"{path} is larger than {MAX_BYTES} bytes in all")
    return location


def _json(path: Path) -> Any:
    """The value of a file; None for one that is large or no JSON."""
    try:
        return parse_json(read_bytes(path, most=_MOST_JSON))
    except TuiGenError:
        return None
