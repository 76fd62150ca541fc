"""`tui-gen doctor`: a report that can be published, whatever is missing."""

from __future__ import annotations

import getpass
import json
import os
import platform
import select
import subprocess
import sys
import threading
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Run
from tests.support import toys
from tui_gen import __version__
from tui_gen.errors import TuiGenError
from tui_gen.runtime.cuda import NO_DRIVER, Driver, missing_driver

without_windows = pytest.mark.skipif(sys.platform == "win32", reason="it has no pseudo terminals")
Report = Callable[..., dict[str, Any]]


@pytest.fixture
def report(tui_gen: Run, monkeypatch: pytest.MonkeyPatch) -> Report:
    """What the doctor says as JSON, where PyTorch must not be imported; its exit status must fit."""

    def examine(**variables: str) -> dict[str, Any]:
        monkeypatch.setitem(sys.modules, "torch", None)
        done = tui_gen("doctor", "--json", **variables)
        facts: dict[str, Any] = json.loads(done.stdout)
        assert (done.returncode, done.stderr) == (1 if facts["faults"] else 0, b"")
        return facts

    return examine


def test_the_report_has_versions_terminal_device_and_paths(report: Report, toy_models: Path) -> None:
    facts = report(COLORTERM="truecolor", TUI_GEN_MODELS=str(toy_models))
    versions = facts["versions"]
    assert (versions["tui-gen"], versions["python"]) == (__version__, platform.python_version())
    assert {name: versions[name] for name in ("numpy", "textual", "torch")} == {
        name: version(name) for name in ("numpy", "textual", "torch")
    }
    assert {"onnxruntime", "onnxruntime-gpu"} & versions.keys()
    assert (facts["terminal"]["COLORTERM"], facts["terminal"]["terminal on"]) == ("truecolor", "no stream")
    assert "CPU" in facts["device"]["runtime built for"]
    assert not missing_driver() or facts["device"]["runs on"] == f"CPU ({NO_DRIVER})"
    assert facts["paths"]["models"].startswith(str(toy_models))
    assert int(facts["models"]["others"]) == len(list(toy_models.iterdir()))
    assert facts["faults"] == []


def test_the_same_stands_in_lines_for_people(tui_gen: Run) -> None:
    lines = tui_gen("doctor").stdout.decode().splitlines()
    assert [line for line in lines if line[0] != " "] == [
        *("versions", "terminal", "device", "paths", "models", "faults")
    ]
    assert f"  {'tui-gen':20} {__version__}" in lines
    assert lines[-1] == "  none"


def test_neither_the_person_nor_the_machine_is_named(report: Report, tmp_path: Path) -> None:
    home = tmp_path / "ada"
    models = tmp_path / platform.node() / getpass.getuser() / "models"
    toys.spoil(toys.text_folder(models / "mine"), "config.json", b"{")
    (home / "own.toml").parent.mkdir()
    (home / "own.toml").write_text("seeds = 1")
    facts = report(HOME=str(home), TUI_GEN_CONFIG=str(home / "own.toml"), TUI_GEN_MODELS=str(models))
    place = f"{tmp_path}/HOST/USER/models"
    assert facts["paths"]["configuration"] == "~/own.toml"
    assert facts["paths"]["models"].startswith(f"{place}, ~/")
    configuration, model = facts["faults"]
    assert configuration == "~/own.toml: seeds is no setting; did you mean seed?"
    assert model.startswith(f"{place}/mine/config.json: is not JSON")


def test_what_cannot_be_imported_is_a_fault_and_the_rest_is_told(
    report: Report, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "tokenizers", None)
    facts = report()
    [fault] = facts["faults"]
    assert fault.startswith("tokenizers cannot be imported (")
    assert facts["versions"]["tokenizers"] == version("tokenizers")


@without_windows
@pytest.mark.parametrize("answer", [b"\x1bP>|foot(1.2)\x1b\\\x1b[?0u\x1b[?62;4c", b"\x1b[?1;2c"])
def test_a_terminal_is_asked_for_its_name_and_keyboard_protocol(
    program: Callable[..., dict[str, Any]], answer: bytes
) -> None:
    near, far = os.openpty()
    asked = bytearray()

    def reply() -> None:
        while not asked.endswith(b"\x1b[c"):
            asked.extend(os.read(near, 100))
        os.write(near, answer)

    terminal = threading.Thread(target=reply)
    terminal.start()
    done = subprocess.run(**program("doctor", "--json"), stdin=far, stdout=subprocess.PIPE, check=True, timeout=100)
    terminal.join()
    os.close(near)
    os.close(far)
    facts = json.loads(done.stdout)["terminal"]
    said = (facts["calls itself"], facts["keyboard protocol"])
    assert said == (("foot(1.2)", "yes") if b"foot" in answer else ("does not say", "no"))


@without_windows
def test_nothing_is_asked_of_a_terminal_without_escape_codes(program: Callable[..., dict[str, Any]]) -> None:
    near, far = os.openpty()
    done = subprocess.run(
        **program("doctor", "--json", TERM="dumb"), stdin=far, stdout=subprocess.PIPE, check=True, timeout=100
    )
    asked, _, _ = select.select([near], [], [], 0)
    os.close(near)
    os.close(far)
    assert asked == []
    assert json.loads(done.stdout)["terminal"]["keyboard protocol"] == "no"


@pytest.mark.parametrize(
    ("trouble", "runs_on"),
    [("libcublas.so.13 is missing", "CPU (libcublas.so.13 is missing)"), ("", "CPU or GPU 0, whichever is faster")],
)
def test_with_a_driver_a_graph_is_opened_on_the_gpu(
    report: Report, monkeypatch: pytest.MonkeyPatch, trouble: str, runs_on: str
) -> None:
    def open_cuda(graph: bytes, device: int) -> None:
        assert graph
        if trouble:
            raise TuiGenError(trouble)

    monkeypatch.setattr("tui_gen.runtime.cuda.driver", lambda: Driver((13, 0), ("NVIDIA A",)))
    monkeypatch.setattr("tui_gen.runtime.session.cuda_trouble", lambda device: "")
    monkeypatch.setattr("tui_gen.runtime.session.open_cuda", open_cuda)
    device = report()["device"]
    assert (device["GPU"], device["runs on"]) == ("NVIDIA A; CUDA 13.0", runs_on)
