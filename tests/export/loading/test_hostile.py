"""Nothing of a file is ever run, whatever it asks for, and the error names what it asked for."""

from __future__ import annotations

import io
import os
import pickle
import subprocess
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from export.loading.load import load_checkpoint
from tui_gen.errors import TuiGenError


class _Bomb:
    """Pickles as a call."""

    def __init__(self, function: Callable[..., Any], *arguments: Any) -> None:
        self._call = (function, arguments)

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return self._call


def harmless(path: str) -> None:
    """Looks like anybody's helper function."""
    Path(path).touch()


def _bombs(marker: Path) -> dict[str, tuple[_Bomb, str]]:
    touch = f"open({str(marker)!r}, 'w').close()"
    return {
        "os.system": (_Bomb(os.system, f"touch '{marker}'"), f"{os.system.__module__}.system"),
        "eval": (_Bomb(eval, touch), "builtins.eval"),
        "exec": (_Bomb(exec, touch), "builtins.exec"),
        "subprocess": (_Bomb(subprocess.call, ["touch", str(marker)]), "subprocess.call"),
        "a function of one's own": (_Bomb(harmless, str(marker)), "test_hostile.harmless"),
        "a class": (_Bomb(subprocess.Popen, ["touch", str(marker)]), "subprocess.Popen"),
    }


def _with_attribute(bomb: Any) -> torch.nn.Module:
    module = torch.nn.Linear(2, 2)
    module.secret = bomb
    return module


PLACES: dict[str, Callable[[Any], Any]] = {
    "alone": lambda bomb: bomb,
    "in a state dict": lambda bomb: {"a.weight": torch.ones(2), "b.weight": bomb},
    "nested": lambda bomb: {"state_dict": {"a.weight": torch.ones(2)}, "args": [{"x": (1, [bomb])}]},
    "in a module": _with_attribute,
    "as a key's neighbour": lambda bomb: [torch.nn.Linear(1, 1), bomb],
}


@pytest.mark.parametrize("legacy", [False, True], ids=["zip", "legacy"])
@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("name", list(_bombs(Path("x"))))
def test_a_call_is_refused_by_name(name: str, place: str, legacy: bool, tmp_path: Path) -> None:
    marker, path = tmp_path / "marker", tmp_path / "bomb.pt"
    bomb, says = _bombs(marker)[name]
    torch.save(PLACES[place](bomb), path, _use_new_zipfile_serialization=not legacy)
    with pytest.raises(TuiGenError) as told:
        load_checkpoint(path)
    assert says in str(told.value)
    assert "refused" in str(told.value)
    assert "\n" not in str(told.value)
    assert not marker.exists()


def test_the_bombs_are_live(tmp_path: Path) -> None:
    for name, (bomb, _) in _bombs(tmp_path / "marker").items():
        made = pickle.loads(pickle.dumps(bomb))
        if name == "a class":
            made.wait()
        assert (tmp_path / "marker").exists(), name
        (tmp_path / "marker").unlink()


OPCODES = {
    "global and reduce": (b"cos\nsystem\n(V%b\ntR.", "os.system"),
    "stack global": (b"\x80\x04\x8c\x05posix\x8c\x06system\x93(V%b\ntR.", "posix.system"),
    "inst": (b"(V%b\nios\nsystem\n.", "os.system"),
    "obj": (b"(cos\nsystem\nV%b\no.", "os.system"),
    "newobj": (b"\x80\x02cos\nsystem\n(V%b\nt\x81.", "os.system"),
    "newobj with names": (b"\x80\x04cos\nsystem\n(V%b\nt}\x92.", "os.system"),
    "build": (b"cos\nsystem\n}(V__dict__\nV%b\nub.", "os.system"),
    "extension": (b"\x80\x02\x82\x01.", "extension code 1"),
    "through a parameter": (b"ctorch._utils\n_rebuild_parameter\n(cos\nsystem\n(V%b\ntRtR.", "os.system"),
    "through a type": (b"ctorch._tensor\n_rebuild_from_type_v2\n(cos\nsystem\nN(V%b\ntNtR.", "os.system"),
    "through a reconstruction": (b"ccopyreg\n_reconstructor\n(cos\nsystem\nc__builtin__\nobject\nNtR.", "os.system"),
    "through a name inside": (b"cbuiltins\ngetattr\n(cos\nenviron\nVsystem\ntR(V%b\ntR.", "os.environ.system"),
    "of what it made": (b"cbuiltins\ngetattr\n(]Vappend\ntR.", "builtins.getattr"),
    "on a text": (b"\x80\x02Vos.system\n(V%b\ntR.", "str"),
    "persistent": (b"\x80\x02Pos.system\n.", "objects outside"),
}


@pytest.mark.parametrize("name", OPCODES)
def test_every_opcode_that_could_run_something_is_refused(name: str, tmp_path: Path) -> None:
    code, says = OPCODES[name]
    marker, path = tmp_path / "marker", tmp_path / "bomb.pkl"
    payload = code.replace(b"%b", f"touch '{marker}'".encode())
    path.write_bytes(payload)
    with pytest.raises(TuiGenError, match=says):
        load_checkpoint(path)
    with zipfile.ZipFile(tmp_path / "bomb.pt", "w") as archive:
        archive.writestr("bomb/data.pkl", payload)
    with pytest.raises(TuiGenError, match=says if name != "persistent" else "damaged"):
        load_checkpoint(tmp_path / "bomb.pt")
    assert not marker.exists()


def _zip(path: Path, pickled: bytes, **storages: bytes) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", pickled)
        for key, data in storages.items():
            archive.writestr(f"archive/data/{key[1:]}", data)
    return path


def _tensor(size: str, stride: str, *, offset: int = 0, count: int = 4) -> bytes:
    """A pickle of one tensor over four numbers, whatever it claims to be."""
    return (
        b"\x80\x02}X\x01\x00\x00\x00wctorch._utils\n_rebuild_tensor_v2\n(("
        b"X\x07\x00\x00\x00storagectorch\nFloatStorage\nX\x01\x00\x00\x000X\x03\x00\x00\x00cpu"
        + f"I{count}\ntQI{offset}\n({size}t({stride}tI00\n}}tRs.".encode()
    )


LIES = {
    "a huge shape": (_tensor("I1000000000\nI1000000000\n", "I1000000000\nI1\n"), "larger than the file"),
    "a huge stride": (_tensor("I2\n", "I1000000000000\n"), "larger than the file"),
    "repeated for ever": (_tensor("I1000000000000\n", "I0\n"), "larger than the file"),
    "a huge offset": (_tensor("I2\n", "I1\n", offset=10**15), "larger than the file"),
    "a negative size": (_tensor("I-2\n", "I1\n"), "impossible shape"),
    "a text for a size": (_tensor("Vx\n", "I1\n"), "impossible shape"),
    "too many dimensions": (_tensor("I1\n" * 100, "I1\n" * 100), "impossible shape"),
    "a size without stride": (_tensor("I2\nI2\n", "I1\n"), "impossible shape"),
}


@pytest.mark.parametrize("name", LIES)
def test_a_tensor_that_lies_about_its_size_is_told(name: str, tmp_path: Path) -> None:
    pickled, says = LIES[name]
    with pytest.raises(TuiGenError, match=says):
        load_checkpoint(_zip(tmp_path / "lie.pt", pickled, _0=bytes(16)))


def test_an_honest_one_is_read(tmp_path: Path) -> None:
    found = load_checkpoint(_zip(tmp_path / "true.pt", _tensor("I2\nI2\n", "I2\nI1\n"), _0=bytes(16)))
    assert found.tensors["w"].tolist() == [[0, 0], [0, 0]]


def test_a_zip_bomb_is_told(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "bomb.pt", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a/data.pkl", _tensor("I2\n", "I1\n"))
        archive.writestr("a/data/0", bytes(300_000_000))
    with pytest.raises(TuiGenError, match="unpacks to 300,000,000 bytes"):
        load_checkpoint(tmp_path / "bomb.pt")


def _billion_laughs() -> bytes:
    stream = io.BytesIO()
    stream.write(b"\x80\x02]q\x00")
    for index in range(1, 100):
        stream.write(b"](" + b"h" + bytes([index - 1]) + b"h" + bytes([index - 1]) + b"eq" + bytes([index]))
    return stream.getvalue() + b"."


ENDLESS = {
    "refers to itself": b"\x80\x02]q\x00h\x00a.",
    "doubles a hundred times": _billion_laughs(),
    "nests a hundred thousand lists": b"\x80\x02" + b"]" * 100_000 + b"a" * 99_999 + b".",
    "a forged memo index": b"\x80\x02]r\xff\xff\xff\x7f.",
    "a text of four gigabytes": b"\x80\x02X\xff\xff\xff\xff.",
    "bytes of exabytes": b"\x80\x04\x8e" + b"\xff" * 7 + b"\x7f.",
    "a frame of exabytes": b"\x80\x04\x95" + b"\xff" * 7 + b"\x7f.",
}


@pytest.mark.parametrize("name", ENDLESS)
def test_what_never_ends_is_told(name: str, tmp_path: Path) -> None:
    path = tmp_path / "endless.pkl"
    path.write_bytes(ENDLESS[name])
    try:
        tensors, told = load_checkpoint(path).tensors, ""
    except TuiGenError as fault:
        tensors, told = {}, str(fault)
    assert not tensors
    assert "\n" not in told
