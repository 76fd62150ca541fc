"""Nothing of a file is ever run, a small file takes neither much memory nor time without end, and errors say why."""

from __future__ import annotations

import os
import pickle
import re
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from export.checkpoints.load import load_checkpoint
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
        "a function of one's own": (_Bomb(harmless, str(marker)), "test_unpickler.harmless"),
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
    with pytest.raises(TuiGenError, match=f"{re.escape(says)}.* refused") as error:
        load_checkpoint(path)
    assert "\n" not in str(error.value)
    assert not marker.exists()


def test_the_bombs_are_live(tmp_path: Path) -> None:
    for name, (bomb, _) in _bombs(tmp_path / "marker").items():
        process = pickle.loads(pickle.dumps(bomb))
        if name == "a class":
            process.wait()
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
    "inst of a function of one's own": (b"(V%b\nisomebodys\nhelper\n.", "somebodys.helper"),
    "obj of a function of one's own": (b"(csomebodys\nhelper\nV%b\no.", "somebodys.helper"),
    "newobj by name": (b"ccopyreg\n__newobj__\n(cos\nsystem\nV%b\ntR.", "os.system"),
    "a prepared call": (b"cfunctools\npartial\n(cos\nsystem\nV%b\ntR(tR.", "functools.partial of os.system"),
    "through a name of two lines": (
        b"\x80\x04\x8c\x05a\nb.c\x8c\x03d\ne\x93(V%b\ntR.",
        "a\u240ab.cd\u240ae|a\u240ab.c.d\u240ae",
    ),
    "through a container of another kind": (
        b"ctorch._tensor\n_rebuild_from_type_v2\n(cbuiltins\nlist\nN(V%b\ntNtR.",
        "builtins.list",
    ),
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
    with pytest.raises(TuiGenError, match=says if name != "persistent" else "damaged"):
        load_checkpoint(_zip(tmp_path / "bomb.pt", payload))
    assert not marker.exists()


def test_a_module_named_in_a_type_is_not_imported(tmp_path: Path) -> None:
    path = tmp_path / "import.pkl"
    path.write_bytes(b"\x80\x02}Vthis\ncthis\nWorld\n)\x81}bs.")
    load_checkpoint(path)
    assert "this" not in sys.modules  # Python's own, which prints when it is imported


def _zip(path: Path, pickled: bytes, compression: int = zipfile.ZIP_STORED, **storages: bytes) -> Path:
    with zipfile.ZipFile(path, "w", compression) as archive:
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
    checkpoint = load_checkpoint(_zip(tmp_path / "true.pt", _tensor("I2\nI2\n", "I2\nI1\n"), _0=bytes(16)))
    assert checkpoint.tensors["w"].tolist() == [[0, 0], [0, 0]]


def _memo(index: int) -> bytes:
    return b"h" + bytes([index])


def _doubled(start: bytes, step: bytes, *, before: bytes = b"", times: int = 60) -> bytes:
    """Puts what was made before twice into the next; before, step: what is done before and after pushing both."""
    steps = [before + _memo(at) * 2 + step + b"q" + bytes([at + 1]) + b"0" for at in range(times)]
    return b"\x80\x04" + start + b"q\x000" + b"".join(steps)


def _many(call: bytes, *, item: bytes = b"N", times: int = 20_000) -> bytes:
    """A hundred thousand values in a list, and a list of calls that would each copy them."""
    return b"\x80\x02](" + item * 100_000 + b"eq\x00](" + (call + b"h\x00\x85R") * times + b"e."


def _views(count: int) -> bytes:
    """Tensors of the same four million numbers."""
    one = _tensor("I4000000\n", "I1\n", count=4_000_000)[3:-2]  # the entry alone
    return (
        b"\x80\x02}("
        + b"".join(one.replace(b"\x01\x00\x00\x00w", b"\x05\x00\x00\x00%05d" % n, 1) for n in range(count))
        + b"u."
    )


_LAST = _memo(60)
_PATH = b"X\x40\x00\x00\x00" + b"x" * 64
_COLLIDING = b"".join(b"\x8a\x0b" + ((2**61 - 1) * n).to_bytes(11, "little") + b"N" for n in range(1, 50_000))
_DIGITS = b"\x8b\x20\x4e\x00\x00" + b"\x7f" * 20_000
_MANY_VALUES, _LONG_KEY, _LARGE = (
    "more values than a checkpoint",
    "key that is nested without end",
    "impossibly large number",
)
ENDLESS = {
    "doubles sixty times": (_doubled(b"]", b"\x86") + _LAST + b".", _MANY_VALUES),
    "doubles forty times in an object": (
        _doubled(b"]", b"\x86\x81", before=b"csomebodys\nVocab\n", times=40) + _memo(40) + b".",
        _MANY_VALUES,
    ),
    "doubles sixty times as a key": (_doubled(b")", b"\x86") + b"}" + _LAST + b"Ns.", _LONG_KEY),
    "doubles sixty times as a key of pairs": (
        _doubled(b")", b"\x86") + b"ccollections\nOrderedDict\n]" + _LAST + b"N\x86a\x85R.",
        _LONG_KEY,
    ),
    "doubles sixty times in a set": (_doubled(b")", b"\x86") + b"\x8f(" + _LAST + b"\x90.", ""),
    "doubles sixty times in a frozen set": (_doubled(b")", b"\x86") + b"(" + _LAST + b"\x91.", ""),
    "doubles sixty times in a set of old": (_doubled(b")", b"\x86") + b"cbuiltins\nset\n]" + _LAST + b"a\x85R.", ""),
    "a name in a name without end": (
        b"\x80\x02" + b"cbuiltins\ngetattr\n" * 2_000 + b"cmath\nsin\n" + b"X\x01\x00\x00\x00a\x86R" * 2_000 + b".",
        "more letters than any name",
    ),
    "doubles a path": (
        _doubled(_PATH, b"\x86R", before=b"cpathlib\nPosixPath\n") + _LAST + b".",
        "a path that is none",
    ),
    "copies a list again and again": (_many(b"cbuiltins\ntuple\n"), "more copies"),
    "copies a dict's pairs again and again": (_many(b"ccollections\nOrderedDict\n", item=b")N\x86"), "more copies"),
    "keys that fall into one place": (b"\x80\x02}(" + _COLLIDING + b"u.", _LARGE),
    "nests a hundred thousand lists": (b"\x80\x02" + b"]" * 100_000 + b"a" * 99_999 + b".", "nested"),
    "nests a hundred thousand tuples": (b"\x80\x02)" + b"\x85" * 100_000 + b".", "nested"),
    "begins a million containers": (b"\x80\x02" + b"(" * 1_000_000, "nested"),
    "makes a million objects": (b"\x80\x02ca\nb\nq\x00](" + b"h\x00)\x81" * 1_000_000 + b"e.", _MANY_VALUES),
    "makes seven million numbers and drops them": (b"\x80\x02" + b"N0" * 3_500_000 + b"N.", _MANY_VALUES),
    "a number of many digits": (b"\x80\x02}V0\n" + _DIGITS + b"s.", "a number of 159,999 bits"),
    "a key of many digits": (b"\x80\x02}" + _DIGITS + b"Ns.", _LARGE),
    "a byte array of sixteen gigabytes": (b"\x80\x05\x96" + (2**34).to_bytes(8, "little") + b".", "damaged"),
    "a text of four gigabytes": (b"\x80\x02X\xff\xff\xff\xff.", "damaged"),
    "bytes of exabytes": (b"\x80\x04\x8e" + b"\xff" * 7 + b"\x7f.", "damaged"),
    "a frame of exabytes": (b"\x80\x04\x95" + b"\xff" * 7 + b"\x7f.", "damaged"),
    "a forged memo index": (b"\x80\x02]r\xff\xff\xff\x7f.", ""),
    "refers to itself": (b"\x80\x02]q\x00h\x00a.", ""),
    "a container whose method is replaced": (
        b"\x80\x02ccollections\nOrderedDict\n)R}X\x05\x00\x00\x00itemsNsb.",
        "",
    ),
}


@pytest.mark.parametrize("name", ENDLESS)
def test_what_never_ends_is_told(name: str, tmp_path: Path) -> None:
    pickled, says = ENDLESS[name]
    path = tmp_path / "endless.pkl"
    path.write_bytes(pickled)
    if not says:
        assert not load_checkpoint(path).tensors
        return
    with pytest.raises(TuiGenError, match=says) as error:
        load_checkpoint(path)
    assert "\n" not in str(error.value)


def test_many_tensors_of_the_same_numbers_are_told(tmp_path: Path) -> None:
    few = load_checkpoint(_zip(tmp_path / "few.pt", _views(3), _0=bytes(16_000_000))).tensors
    assert [tensor.numel() for tensor in few.values()] == [4_000_000] * 3
    with pytest.raises(TuiGenError, match="larger than the file"):
        load_checkpoint(_zip(tmp_path / "many.pt", _views(100), _0=bytes(16_000_000)))


@pytest.mark.parametrize(("parts", "size"), [(1, 80_000_000), (9, 8_000_000)], ids=["one part", "many parts"])
def test_a_zip_bomb_is_told(parts: int, size: int, tmp_path: Path) -> None:
    entries = b"".join(_tensor("I2\n", "I1\n")[3:-2].replace(b"\x000X", b"\x00%dX" % n) for n in range(parts))
    storages = {f"_{number}": bytes(size) for number in range(parts)}
    path = _zip(tmp_path / "bomb.pt", b"\x80\x02](" + entries + b"e.", zipfile.ZIP_DEFLATED, **storages)
    with pytest.raises(TuiGenError, match="unpacks to far more than its own size"):
        load_checkpoint(path)
