"""Nothing of a file is ever run, whatever it asks for, and the error names what it asked for."""

from __future__ import annotations

import os
import pickle
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
    with pytest.raises(TuiGenError) as error:
        load_checkpoint(path)
    assert says in str(error.value)
    assert "refused" in str(error.value)
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
    with zipfile.ZipFile(tmp_path / "bomb.pt", "w") as archive:
        archive.writestr("bomb/data.pkl", payload)
    with pytest.raises(TuiGenError, match=says if name != "persistent" else "damaged"):
        load_checkpoint(tmp_path / "bomb.pt")
    assert not marker.exists()


def test_a_module_named_in_a_type_is_not_imported(tmp_path: Path) -> None:
    name = b"this"  # Python's own, which prints when it is imported
    path = tmp_path / "import.pkl"
    path.write_bytes(b"\x80\x02}V" + name + b"\nc" + name + b"\nWorld\n)\x81}b" + b"s.")
    load_checkpoint(path)
    assert "this" not in sys.modules
