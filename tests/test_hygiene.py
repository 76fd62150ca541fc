"""Imports run one way, tui -> core <- export, and the core stays light."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import tui_gen

ROOT = Path(tui_gen.__file__).parent
CORE = sorted(path.stem for path in ROOT.glob("*.py") if path.stem not in ("__init__", "__main__"))
HEAVY = ("numpy", "onnxruntime", "tokenizers", "textual", "torch", "PIL")


def loaded_after(code: str) -> set[str]:
    """Top-level modules that are loaded in a fresh interpreter after it ran this code."""
    report = "\nimport sys; print(*sorted({name.partition('.')[0] for name in sys.modules}))"
    done = subprocess.run([sys.executable, "-c", code + report], capture_output=True, text=True, check=True, timeout=60)
    return set(done.stdout.split())


def imports(path: Path) -> Iterator[str]:
    """The modules that a file imports anywhere, also inside functions."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} imports relatively"
            yield node.module or ""


def importers(folder: Path, package: str) -> set[str]:
    """Files of a folder that import a package."""
    return {
        str(path.relative_to(folder))
        for path in folder.rglob("*.py")
        if any(name == package or name.startswith(f"{package}.") for name in imports(path))
    }


def test_the_core_loads_neither_textual_nor_torch() -> None:
    loaded = loaded_after("\n".join(f"import tui_gen.{name}" for name in CORE))
    assert {"onnxruntime", "numpy", "tokenizers"} <= loaded
    assert loaded.isdisjoint({"textual", "torch", "export", "onnx"})


def test_the_command_line_alone_loads_nothing_heavy() -> None:
    assert loaded_after("import tui_gen.cli").isdisjoint(HEAVY)


def test_a_card_can_be_read_with_the_standard_library_alone() -> None:
    assert loaded_after("import tui_gen.card").isdisjoint(HEAVY)


@pytest.mark.parametrize(("package", "files"), [("export", set()), ("torch", {"bench/peers.py"}), ("onnx", set())])
def test_what_people_install_never_imports_what_trains(package: str, files: set[str]) -> None:
    assert importers(ROOT, package) == files


def test_the_benchmark_loads_torch_only_to_time_it() -> None:
    loaded = loaded_after("import tui_gen.bench.report, tui_gen.bench.machine as machine; machine.facts()")
    assert loaded.isdisjoint({"textual", "torch", "export", "onnx"})


def test_one_module_alone_imports_onnxruntime() -> None:
    assert importers(ROOT, "onnxruntime") == {"runtime.py"}


def test_only_the_screen_imports_textual_and_only_the_command_line_opens_the_screen() -> None:
    assert all(file.startswith("tui/") for file in importers(ROOT, "textual"))
    outside = {file for file in importers(ROOT, "tui_gen.tui") if not file.startswith("tui/")}
    assert outside == {"cli.py"}


def test_the_exporter_never_imports_the_screen() -> None:
    export = ROOT.parents[1] / "export"
    assert export.is_dir()
    assert importers(export, "tui_gen.tui") == set()
