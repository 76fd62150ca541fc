"""The exporter's commands: found by their entry points, told in a line where PyTorch is missing."""

from __future__ import annotations

import inspect
import sys
import tomllib
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from tui_gen.cli.main import main

GROUP = "tui_gen.commands"
PROJECT = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text(encoding="utf-8"))["project"]
POINTS = [EntryPoint(name, value, GROUP) for name, value in PROJECT["entry-points"][GROUP].items()]


@pytest.fixture
def points(monkeypatch: pytest.MonkeyPatch) -> list[EntryPoint]:
    """What is installed, instead of what really is; none at first."""
    points: list[EntryPoint] = []
    monkeypatch.setattr(
        "importlib.metadata.entry_points",
        lambda *, group, name: [point for point in points if (point.group, point.name) == (group, name)],
    )
    return points


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file that can be imported as `brought`, and is forgotten afterwards."""
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "brought", raising=False)
    return tmp_path / "brought.py"


def test_the_command_is_given_its_words_and_its_name(
    points: list[EntryPoint], module: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    module.write_text("def main(words, *, prog):\n    print(words, prog)\n    return 7\n")
    points.append(EntryPoint("train", "brought:main", GROUP))
    assert main(["train", "names", "--data", "x", "-v"]) == 7
    assert capsys.readouterr().out == "['names', '--data', 'x', '-v'] tui-gen train\n"


@pytest.mark.parametrize("missing", ["torch", "onnx.helper", "safetensors"])
def test_without_pytorch_it_says_in_a_line_what_to_install(
    points: list[EntryPoint], module: Path, capsys: pytest.CaptureFixture[str], missing: str
) -> None:
    module.write_text(f"raise ModuleNotFoundError('No module named {missing}', name='{missing}')\n")
    points.append(EntryPoint("export", "brought:main", GROUP))
    assert main(["export", "some.pt", "-o", "mine"]) == 1
    assert capsys.readouterr().err == (
        f"tui-gen: export needs PyTorch and ONNX, and {missing} is not installed; install them with: "
        "pip install 'tui-gen[export]'\n"
    )


def test_another_missing_module_is_a_fault_of_the_program(points: list[EntryPoint], module: Path) -> None:
    module.write_text("import nothing_of_this_name\n")
    points.append(EntryPoint("export", "brought:main", GROUP))
    with pytest.raises(ModuleNotFoundError, match="nothing_of_this_name"):
        main(["export"])


def test_without_the_exporter_it_says_what_to_install(
    points: list[EntryPoint], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["evaluate", "--help"]) == 1
    assert capsys.readouterr().err == (
        "tui-gen: evaluate is a command of the exporter, which is not installed; install it with: "
        "pip install 'tui-gen[export]'\n"
    )


@pytest.mark.parametrize("point", POINTS, ids=lambda point: point.name)
def test_what_the_project_declares_is_there(point: EntryPoint) -> None:
    assert list(inspect.signature(point.load()).parameters) == ["arguments", "prog"]


def test_each_command_of_the_exporter_is_one_of_the_command_line(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--help"])
    commands = capsys.readouterr().out
    assert all(f"  tui-gen {point.name} --help\n" in commands for point in POINTS)


@pytest.mark.parametrize("command", ["train", "evaluate", "adherence"])
def test_the_exporters_own_command_line_has_them_too(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    from export.__main__ import main as export_main

    with pytest.raises(SystemExit):
        export_main([command, "--help"])
    assert capsys.readouterr().out.startswith(f"usage: python -m export {command} [-h]")
